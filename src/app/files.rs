//! Open files: every client and every server connection is one, and a process may have only so many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// The console's clients, requests over HTTP, listeners, log, what the runtimes need, and some to spare.
const OTHERS: u64 = 200;
/// Per server, beside its pool: the probe, and connections that kill a statement.
const PER_SERVER: u64 = 4;

/// A config that needs more open files than this process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "limits.max_clients ({clients}) and the servers' max_connections (in all {connections}) need {needed} open files, \
     and this process may have {allowed}: lower them, or raise the limit (`ulimit -Hn`, systemd's LimitNOFILE, \
     Docker's --ulimit nofile)"
)]
pub struct TooFew {
    clients: u64,
    connections: u64,
    needed: u64,
    allowed: u64,
}

/// Asks for as many open files as the system lets this process have. Returns how many it may have then.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return allowed();
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::info!(from = current, to = allowed(), "raised the limit of open files"),
        Err(error) => tracing::warn!(limit = current, %error, "cannot raise the limit of open files"),
    }
    allowed()
}

/// How many files this process may have open.
pub fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether `allowed` open files are enough for all that a config allows.
///
/// # Errors
/// They are not.
pub fn check(config: &Config, allowed: u64) -> Result<(), TooFew> {
    let clients = u64::from(config.limits.max_clients);
    let connections = config.servers.iter().map(|server| u64::from(server.max_connections)).sum();
    let needed = clients + connections + PER_SERVER * config.servers.len() as u64 + OTHERS;
    match needed <= allowed {
        true => Ok(()),
        false => Err(TooFew { clients, connections, needed, allowed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Address, Role, Server};

    #[test]
    fn what_a_config_needs() {
        let server =
            |max_connections| Server { max_connections, ..Server::new(Address::Unix("/a".into()), Role::Writer) };
        let mut config = Config { servers: vec![], ..Config::default() };
        config.limits.max_clients = 1000;
        let cases = [(vec![], 1200), (vec![server(100)], 1304), (vec![server(100), server(50)], 1358)];
        for (servers, needed) in cases {
            config.servers = servers;
            assert_eq!(check(&config, needed), Ok(()), "{needed}");
            let error = check(&config, needed - 1).unwrap_err().to_string();
            assert!(error.contains(&format!("need {needed} open files")), "{needed}: {error}");
        }
    }
}
