//! Throw-away database servers: a writer and GTID replicas on loopback, gone when dropped. The demo, the tests and
//! the benchmarks run on them.
//!
//! This module decides how a local `mariadbd` or `mysqld` is found, initialised, started, connected into a
//! replication tree and broken on purpose. What is asked of the servers is left to the caller.
//!
//! ```no_run
//! # async fn example() -> Result<(), weir::sandbox::SandboxError> {
//! use weir::sandbox::{Cluster, Flavor};
//!
//! let cluster = Cluster::start(Flavor::MariaDb, 2).await?;
//! cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await?;
//! cluster.wait_caught_up().await?;
//! cluster.replicas[0].exec("SELECT * FROM app.t").await?;
//! # Ok(())
//! # }
//! ```

mod cluster;
mod data;
mod error;
mod folder;
mod install;
mod process;
mod server;

pub use cluster::Cluster;
pub use error::SandboxError;
pub use install::{Flavor, Installation};
pub use server::{Mode, Server};

/// A login: name and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub name: &'static str,
    pub password: &'static str,
}

/// What applications log in with: everything except being above `read_only`.
pub const APP: Account = Account { name: "app", password: "app-secret" };

/// What probes log in with: may ask for replication state, owns no data.
pub const PROBE: Account = Account { name: "probe", password: "probe-secret" };

/// What replicas log in to their writer with.
pub const REPLICATION: Account = Account { name: "replication", password: "replication-secret" };

/// The databases that exist from the start.
pub const DATABASES: [&str; 2] = ["app", "app2"];
