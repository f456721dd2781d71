//! What can go wrong with a throw-away server. Every error names the server and, where the server may know more, ends
//! with the tail of its log.

use std::{io, path::PathBuf, time::Duration};

use super::Flavor;

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("no {0} server is on this machine; `.ci/install {0}` brings one")]
    NotInstalled(Flavor),
    #[error("{what} {path}: {source}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("starting {program}: {source}")]
    Spawn { program: PathBuf, source: io::Error },
    #[error("initialising the data folder of {flavor} {version} failed; its log ends with:\n{log}")]
    Initialise { flavor: Flavor, version: String, log: String },
    #[error("{server} went away while starting; its log ends with:\n{log}")]
    Died { server: String, log: String },
    #[error("{server} did not {what} within {limit:?}; its log ends with:\n{log}")]
    Timeout { server: String, what: &'static str, limit: Duration, log: String },
    #[error("{server} is not running")]
    NotRunning { server: String },
    #[error("{server} is running already")]
    Running { server: String },
    #[error("{server}: {sql}: {source}")]
    Sql { server: String, sql: String, source: mysql_async::Error },
    #[error("signalling process {pid} of {server}: {reason}")]
    Signal { server: String, pid: u32, reason: String },
    #[error("no port of loopback is free")]
    NoPort,
}

impl SandboxError {
    /// For `map_err`: a file operation that failed.
    pub(super) fn file(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
