//! One probe of one server: connect or keep the connection, ask, and put the answers together.
//!
//! Leaves judging to `health`, when to probe to its caller. Asks nothing that needs a grant except the state of
//! replication, and does without that when the grant is missing.

use std::time::Duration;

use mysql_async::{Conn, Error, Row, prelude::Queryable};

use super::{
    driver::{self, ConnectError, Target},
    observation::{Channel, Observation, Replication, greatest_lag},
};
use crate::{
    protocol::gtid::{GtidError, Position},
    sql::Dialect,
};

/// A probe that failed, as a cause of being down.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("cannot ask for {what}: {error}")]
    Query { what: &'static str, error: Error },
    #[error("the server's answer has no {0}")]
    Missing(&'static str),
    #[error("the server's position is {0}")]
    Position(#[from] GtidError),
}

impl ProbeError {
    /// The server answers, and refuses: that a probe cannot look does not say that statements do not run.
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Connect(ConnectError::Driver { error: Error::Server(_), .. })
                | Self::Query { error: Error::Server(_), .. }
                | Self::Missing(_)
                | Self::Position(_)
        )
    }

    /// Nobody answers at the address at all, whoever asks.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Connect(ConnectError::Srv | ConnectError::Unreachable(_)))
    }
}

/// Probes the server, over `conn` if there is one. `conn` holds the connection afterwards, or nothing if the probe
/// failed: the next probe then starts with a new one.
///
/// Not cancel-safe in the sense of finishing; a cancelled probe leaves no connection behind.
///
/// # Errors
/// The server cannot be reached or logged in to, does not answer in time, or answers what cannot be read.
pub async fn probe(conn: &mut Option<Conn>, target: &Target, timeout: Duration) -> Result<Observation, ProbeError> {
    let kept = conn.take();
    let asking = async {
        let mut asked = match kept {
            Some(kept) => kept,
            None => driver::connect(target).await?,
        };
        let observation = observe(&mut asked).await?;
        Ok::<_, ProbeError>((asked, observation))
    };
    let (asked, observation) =
        tokio::time::timeout(timeout, asking).await.map_err(|_| ProbeError::Timeout(timeout))??;
    *conn = Some(asked);
    Ok(observation)
}

const BASICS: &str = "SELECT @@version AS version, @@global.read_only AS read_only, \
                      (SELECT id FROM information_schema.collations WHERE collation_name = @@global.collation_server) \
                      AS collation";

/// Asks over a connection whose state is as after the login.
///
/// # Errors
/// See [`probe`].
pub async fn observe(conn: &mut Conn) -> Result<Observation, ProbeError> {
    let row = one(conn, "its version", BASICS).await?;
    let version = text(&row, &["version"]).ok_or(ProbeError::Missing("version"))?;
    let read_only = is_on(&text(&row, &["read_only"]).ok_or(ProbeError::Missing("read_only"))?);
    let dialect = if version.contains("MariaDB") { Dialect::MariaDb } else { Dialect::MySql };

    let (channels, missing_grant) = match channels(conn, dialect).await {
        Ok(channels) => (Some(channels), None),
        Err(error) => (None, Some(missing_grant(error)?)),
    };
    let replication = channels.as_deref().map_or(Replication::Unknown, Replication::of);
    let channels = channels.unwrap_or_default();
    let Nature { identity, isolation, position } = match dialect {
        Dialect::MySql => mysql_nature(conn).await?,
        Dialect::MariaDb => mariadb_nature(conn, read_only, &replication).await?,
    };
    Ok(Observation {
        version,
        dialect,
        collation: text(&row, &["collation"]).and_then(|id| id.parse::<u32>().ok()).map(|id| id as u8),
        identity,
        repeatable_reads: !isolation.starts_with("READ-"),
        read_only,
        replication,
        lag: greatest_lag(&channels),
        sources: channels.into_iter().map(|channel| channel.source).collect(),
        position,
        missing_grant,
        tls: conn.opts().ssl_opts().is_some(),
    })
}

async fn channels(conn: &mut Conn, dialect: Dialect) -> Result<Vec<Channel>, Error> {
    let statement = match dialect {
        Dialect::MariaDb => "SHOW ALL SLAVES STATUS",
        Dialect::MySql if conn.server_version() >= (8, 0, 22) => "SHOW REPLICA STATUS",
        Dialect::MySql => "SHOW SLAVE STATUS",
    };
    Ok(conn.query::<Row, _>(statement).await?.iter().map(channel).collect())
}

fn channel(row: &Row) -> Channel {
    let field = |names: &[&str]| text(row, names).unwrap_or_default();
    Channel {
        receiver: field(&["Replica_IO_Running", "Slave_IO_Running"]),
        applier: field(&["Replica_SQL_Running", "Slave_SQL_Running"]),
        receiver_error: field(&["Last_IO_Error"]),
        applier_error: field(&["Last_SQL_Error"]),
        seconds_behind: text(row, &["Seconds_Behind_Source", "Seconds_Behind_Master"])
            .and_then(|text| text.parse().ok()),
        source: field(&["Source_UUID", "Master_UUID", "Master_Server_Id"]),
    }
}

/// What to grant when the server refused to tell about replication; any other error stays one.
fn missing_grant(error: Error) -> Result<String, ProbeError> {
    const ER_SPECIFIC_ACCESS_DENIED_ERROR: u16 = 1227;
    match error {
        Error::Server(error) if error.code == ER_SPECIFIC_ACCESS_DENIED_ERROR => {
            let mariadb = error.message.contains("SLAVE MONITOR") || error.message.contains("REPLICA MONITOR");
            Ok(if mariadb { "SLAVE MONITOR" } else { "REPLICATION CLIENT" }.to_owned())
        }
        error => Err(ProbeError::Query { what: "the state of replication", error }),
    }
}

/// What each family says in words of its own.
struct Nature {
    identity: String,
    /// `READ-COMMITTED`, `REPEATABLE-READ`, …
    isolation: String,
    position: Option<Position>,
}

async fn mysql_nature(conn: &mut Conn) -> Result<Nature, ProbeError> {
    let statement = "SELECT @@server_uuid AS identity, @@global.transaction_isolation AS isolation, \
                     @@global.gtid_mode AS mode, @@global.gtid_executed AS executed";
    let row = one(conn, "its GTIDs", statement).await?;
    let identity = text(&row, &["identity"]).ok_or(ProbeError::Missing("server_uuid"))?;
    let isolation = text(&row, &["isolation"]).ok_or(ProbeError::Missing("transaction_isolation"))?;
    let mode = text(&row, &["mode"]).unwrap_or_default();
    if !mode.starts_with("ON") {
        return Ok(Nature { identity, isolation, position: None });
    }
    let executed = text(&row, &["executed"]).ok_or(ProbeError::Missing("gtid_executed"))?;
    Ok(Nature { identity, isolation, position: Some(Position::parse_mysql(executed.as_bytes())?) })
}

/// A replica has what it applied (`gtid_slave_pos`): its binary log may name transactions of its own. A server that
/// is no replica has both what it applied in former times and what it wrote since.
async fn mariadb_nature(conn: &mut Conn, read_only: bool, replication: &Replication) -> Result<Nature, ProbeError> {
    let statement = "SELECT @@server_id AS identity, @@global.tx_isolation AS isolation, \
                     @@global.gtid_slave_pos AS applied, @@global.gtid_binlog_pos AS written, @@global.log_bin AS logs";
    let row = one(conn, "its GTIDs", statement).await?;
    let identity = text(&row, &["identity"]).ok_or(ProbeError::Missing("server_id"))?;
    let isolation = text(&row, &["isolation"]).ok_or(ProbeError::Missing("tx_isolation"))?;
    let applied = text(&row, &["applied"]).ok_or(ProbeError::Missing("gtid_slave_pos"))?;
    let mut position = Position::parse_mariadb(applied.as_bytes())?;
    let follows = match replication {
        Replication::NotAReplica => false,
        // A writer may keep the stopped channel of the time before its promotion.
        Replication::Stopped { .. } | Replication::Unknown => read_only,
        Replication::Running | Replication::Disconnected { .. } => true,
    };
    if !follows {
        let written = text(&row, &["written"]).unwrap_or_default();
        position.merge(&Position::parse_mariadb(written.as_bytes())?);
    }
    // Whoever writes a binary log has GTIDs, if none yet.
    let has_gtids = follows || text(&row, &["logs"]).is_some_and(|logs| is_on(&logs)) || !position.is_empty();
    Ok(Nature { identity, isolation, position: has_gtids.then_some(position) })
}

async fn one(conn: &mut Conn, what: &'static str, statement: &str) -> Result<Row, ProbeError> {
    let row = conn.query_first::<Row, _>(statement).await.map_err(|error| ProbeError::Query { what, error })?;
    row.ok_or(ProbeError::Missing(what))
}

/// The first of the columns that is there and not NULL; bytes that are not UTF-8 are replaced.
fn text(row: &Row, names: &[&str]) -> Option<String> {
    let bytes = names.iter().find_map(|name| row.get_opt::<Option<Vec<u8>>, _>(*name))?.ok()??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `0`/`1`, or a word: since MariaDB 12 `read_only` has several degrees, and all but `OFF` refuse an application's
/// writes.
fn is_on(value: &str) -> bool {
    !matches!(value, "0" | "OFF")
}
