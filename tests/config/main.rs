//! A configuration as an operator meets it: the shipped files, the messages, the differences.

mod differences;
mod problems;
mod shipped;

use std::{env::VarError, io, path::Path, time::Duration};

use proptest::prelude::*;
use weir::config::*;

/// Environment and files of a test.
struct World;

impl SecretSource for World {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        match name {
            "APP_DB_PASSWORD" | "APP_DB_OLD_PASSWORD" => Ok("from env".into()),
            "PROBE_PASSWORD" => Ok("of the probe".into()),
            "BINARY" => Err(VarError::NotUnicode("s3cret".into())),
            _ => Err(VarError::NotPresent),
        }
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("/run/secrets/reports") => Ok("from file\n".into()),
            Some("/crlf") => Ok("from file\r\n".into()),
            Some("/bare") => Ok("from file".into()),
            Some("/two") => Ok("from file\n\n".into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

const SERVERS: &str = r#"
[[servers]]
name = "db1"
address = "db1:3306"
role = "writer"
[[servers]]
name = "db2"
address = "db2:3306"
role = "replica"
groups = ["analytics"]
"#;

const USERS: &str = r#"
[[users]]
name = "app"
password = "s3cret"
"#;

fn read(text: &str) -> Result<Config, String> {
    parse(text, &World).map_err(|problems| problems.to_string())
}

/// Reads `text` added to two servers and a user.
fn read_added(text: &str) -> Result<Config, String> {
    read(&format!("{SERVERS}{USERS}{text}"))
}

fn good(text: &str) -> Config {
    read_added(text).expect(text)
}

/// The message without its place, for tables in which the place says nothing.
fn unplaced(problems: &str) -> String {
    let lines = problems.lines().map(|line| match line.split_once(": ") {
        Some((place, rest)) if place.starts_with("line ") => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn local_writer(name: &str) -> Server {
    let address = Address::Tcp { host: "127.0.0.1".into(), port: 3306 };
    Server { id: ServerId::new(name), ..Server::new(address, Role::Writer) }
}

fn app_user() -> User {
    User::new("app", Secret::new("from env".into()))
}

#[test]
fn defaults_are_what_they_are_said_to_be() {
    let config = Config::default();
    let seconds = Duration::from_secs;
    let port = |port| Address::Tcp { host: "127.0.0.1".into(), port };
    assert_eq!(config.listeners, [Listener::new(port(6033))]);
    assert_eq!((config.admin.console, config.admin.http), (Some(port(6032)), Some(port(6080))));
    assert_eq!((config.probe.interval, config.probe.timeout), (seconds(1), seconds(2)));
    assert_eq!((config.probe.rise, config.probe.fall), (2, 2));
    assert_eq!((config.reads.consistency, config.reads.balance), (Consistency::Session, Balance::RoundRobin));
    assert_eq!((config.reads.max_lag, config.reads.wait_timeout), (seconds(10), Duration::from_millis(500)));
    assert_eq!((config.auth, config.passthrough.ttl, config.passthrough.max_users), (Auth::Users, seconds(60), 10_000));
    assert_eq!(config.failover.hold, seconds(10));
    assert_eq!((config.pool.idle_timeout, config.pool.max_age), (seconds(300), seconds(3600)));
    assert_eq!((config.timeouts.connect, config.timeouts.handshake), (seconds(3), seconds(10)));
    assert_eq!((config.timeouts.client_idle, config.timeouts.transaction_idle), (None, None));
    assert_eq!((config.timeouts.drain, config.timeouts.drain_delay), (seconds(30), Duration::ZERO));
    assert_eq!((config.limits.max_clients, config.limits.max_packet), (4096, 67_108_864));
}

#[test]
fn weight_follows_the_role() {
    for (role, weight) in [("writer", 0), ("replica", 100), ("auto", 100)] {
        let servers = format!("[[servers]]\naddress = \"x:1\"\nrole = \"{role}\"\nstate = \"offline\"");
        let config = good(&servers);
        assert_eq!(config.servers[2].weight, weight, "{role}");
        let config = good(&format!("{servers}\nweight = 7"));
        assert_eq!(config.servers[2].weight, 7, "{role}");
    }
}

#[test]
fn secrets_come_from_three_places() {
    for (line, secret) in [
        ("password = 'plain'", "plain"),
        ("password = ''", ""),
        ("password_env = 'APP_DB_PASSWORD'", "from env"),
        ("password_file = '/run/secrets/reports'", "from file"),
        ("password_file = '/crlf'", "from file"),
        ("password_file = '/bare'", "from file"),
        ("password_file = '/two'", "from file\n"),
    ] {
        let config = read(&format!("{SERVERS}[[users]]\nname = 'app'\n{line}")).expect(line);
        assert_eq!(config.users[0].password.as_ref().map(Secret::expose), Some(secret), "{line}");
    }
}

#[test]
fn the_probe_takes_the_password_of_a_listed_user() {
    for (section, user, password) in [
        ("", None, ""),
        ("probe.user = 'app'", Some("app"), "s3cret"),
        ("probe = { user = 'app', password = 'own' }", Some("app"), "own"),
        ("probe = { user = 'x', password_env = 'PROBE_PASSWORD' }", Some("x"), "of the probe"),
    ] {
        let probe = read(&format!("{section}{SERVERS}{USERS}")).expect(section).probe;
        assert_eq!((probe.user.as_deref(), probe.password.expose()), (user, password), "{section}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text: String) {
        if let Err(problems) = parse(&text, &World) {
            prop_assert_eq!(problems.to_string().split('\n').count(), problems.0.len());
        }
    }

    /// Texts that come nearer to a configuration than arbitrary ones: lines of the reference, cut and mixed.
    #[test]
    fn no_mixture_of_lines_panics(picks in prop::collection::vec((0..400usize, 0..80usize), 0..40)) {
        let reference = include_str!("../../config/weir.toml").replace("\n# ", "\n");
        let lines: Vec<&str> = reference.lines().collect();
        let text: String = picks
            .iter()
            .map(|(line, length)| lines[line % lines.len()].chars().take(length % 80).chain(['\n']).collect::<String>())
            .collect();
        match parse(&text, &World) {
            Ok(config) => prop_assert_eq!(diff(&config, &config), []),
            Err(problems) => prop_assert_eq!(problems.to_string().lines().count(), problems.0.len()),
        }
    }
}
