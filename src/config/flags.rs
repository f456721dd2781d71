//! The quick command line to the same [`Config`] that a file gives.

use super::{
    Address, Config, InvalidValue, Listener, Problem, Problems, Role, SecretSource, Server, User,
    field::{MAX_WEIGHT, to_listen_address, to_server_address},
    secret, validate,
};

/// What `weir run` takes instead of a file, unparsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `HOST:PORT`
    pub writer: Option<String>,
    /// `HOST:PORT[?weight=N]`
    pub replicas: Vec<String>,
    pub user: Option<String>,
    /// Name of the environment variable with the user's password; without it the password is empty.
    pub password_env: Option<String>,
    /// Addresses, each with route `split`; none stands for the default one.
    pub listen: Vec<String>,
}

/// Builds the configuration that the flags stand for; everything they do not say has its default.
///
/// # Errors
/// Every problem, with the flag as its key.
pub fn from_flags(flags: &Flags, source: &impl SecretSource) -> Result<Config, Problems> {
    let mut reading = Reading::default();
    let mut config = Config::default();
    if let Some(address) = &flags.writer {
        config
            .servers
            .extend(reading.good("--writer", to_server_address(address)).map(|a| Server::new(a, Role::Writer)));
    } else {
        reading.problem("--writer", "is missing");
    }
    for replica in &flags.replicas {
        config.servers.extend(reading.good("--replica", parse_replica(replica)));
    }
    match &flags.user {
        Some(name) if !name.is_empty() => {
            let password = flags
                .password_env
                .as_deref()
                .and_then(|variable| reading.good("--password-env", secret::variable(source, variable)));
            config.users.push(User::new(name, password.unwrap_or_default()));
        }
        _ => reading.problem("--user", "is missing"),
    }
    if !flags.listen.is_empty() {
        let addresses = flags.listen.iter().filter_map(|text| reading.good("--listen", to_listen_address(text)));
        config.listeners = addresses.map(Listener::new).collect();
    }
    reading.finish(config)
}

fn parse_replica(text: &str) -> Result<Server, InvalidValue> {
    let (address, query) = match text.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (text, None),
    };
    let address: Address = to_server_address(address)?;
    let mut server = Server::new(address, Role::Replica);
    if let Some(query) = query {
        let weight = query.strip_prefix("weight=").and_then(|weight| weight.parse().ok());
        server.weight = weight
            .filter(|weight| *weight <= MAX_WEIGHT)
            .ok_or_else(|| InvalidValue::new(format!("`?{query}` is not understood: write it as `?weight=50`")))?;
    }
    Ok(server)
}

#[derive(Default)]
struct Reading(Vec<Problem>);

impl Reading {
    fn problem(&mut self, flag: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { place: None, key: flag.into(), message: message.into() });
    }

    fn good<T>(&mut self, flag: &str, result: Result<T, impl ToString>) -> Option<T> {
        result.map_err(|error| self.problem(flag, error.to_string())).ok()
    }

    /// Checks across flags come last and only of good flags: they speak of keys, which are turned into flags here.
    fn finish(mut self, config: Config) -> Result<Config, Problems> {
        if self.0.is_empty() {
            let servers = (0..config.servers.len())
                .map(|index| (format!("servers[{index}].address"), if index == 0 { "--writer" } else { "--replica" }));
            let listeners =
                (0..config.listeners.len()).map(|index| (format!("listeners[{index}].address"), "--listen"));
            let flags: Vec<_> = servers.chain(listeners).collect();
            let in_flags = |text: &str| flags.iter().fold(text.to_owned(), |text, (key, flag)| text.replace(key, flag));
            for (key, message) in validate::check(&config) {
                self.problem(in_flags(&key), in_flags(&message));
            }
        }
        if self.0.is_empty() { Ok(config) } else { Err(Problems(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use std::{env::VarError, io, path::Path};

    use super::{super::Secret, *};

    struct Variables;

    impl SecretSource for Variables {
        fn variable(&self, name: &str) -> Result<String, VarError> {
            if name == "PW" { Ok("s3cret".into()) } else { Err(VarError::NotPresent) }
        }

        fn file(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn flags(writer: &str, replicas: &[&str], listen: &[&str]) -> Flags {
        Flags {
            writer: Some(writer.into()),
            replicas: replicas.iter().map(|text| (*text).into()).collect(),
            user: Some("app".into()),
            password_env: Some("PW".into()),
            listen: listen.iter().map(|text| (*text).into()).collect(),
        }
    }

    #[test]
    fn flags_and_a_file_give_the_same() {
        let text = r#"
            [[listeners]]
            address = "0.0.0.0:3306"
            [[servers]]
            address = "db1:3306"
            role = "writer"
            [[servers]]
            address = "db2:3306"
            role = "replica"
            weight = 50
            [[servers]]
            address = "[::1]:3307"
            role = "replica"
            [[users]]
            name = "app"
            password = "s3cret"
        "#;
        let given = flags("db1:3306", &["db2:3306?weight=50", "[::1]:3307"], &["0.0.0.0:3306"]);
        assert_eq!(from_flags(&given, &Variables), super::super::parse(text, &Variables));
    }

    #[test]
    fn a_writer_and_a_user_are_enough() {
        let given = Flags { writer: Some("db1:3306".into()), user: Some("root".into()), ..Flags::default() };
        let config = from_flags(&given, &Variables).expect("both are given");
        assert_eq!(config.listeners, Config::default().listeners);
        assert_eq!(config.users, [User::new("root", Secret::default())]);
    }

    #[test]
    fn bad_flags() {
        let unknown = Flags { password_env: Some("NONE".into()), ..flags("db1:3306", &[], &[]) };
        for (given, problems) in [
            (Flags::default(), "--writer: is missing\n--user: is missing"),
            (unknown, "--password-env: the environment variable NONE is not set"),
            (
                flags("db1", &["db2:0"], &["srv:x"]),
                "--writer: `db1` is not an address: the port is missing, as in `db1.example:3306`\n\
                 --replica: a server's port is from 1 to 65535\n\
                 --listen: cannot listen on a DNS SRV name",
            ),
            (
                flags("db1:1", &["db2:1?wieght=1"], &[]),
                "--replica: `?wieght=1` is not understood: write it as `?weight=50`",
            ),
            (
                flags("db1:1", &["db2:1?weight=-1"], &[]),
                "--replica: `?weight=-1` is not understood: write it as `?weight=50`",
            ),
            (flags("db1:1", &["db1:1"], &[]), "--replica: `db1:1` is used twice, first by --writer"),
            (flags("db1:1", &[], &["a:1", "a:1"]), "--listen: `a:1` is used twice, first by --listen"),
            (
                flags("db1:1", &[], &["127.0.0.1:6032"]),
                "admin.console: `127.0.0.1:6032` is used twice, first by --listen",
            ),
        ] {
            let found = from_flags(&given, &Variables).map_err(|found| found.to_string());
            assert_eq!(found, Err(problems.into()), "{given:?}");
        }
    }
}
