//! What one probe found out about a server: plain values, and how the rows of `SHOW REPLICA STATUS` become one
//! answer. Leaves asking to `probe` and judging to `health`.

use std::time::Duration;

use crate::{protocol::gtid::Position, sql::Dialect};

/// One server as a probe saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// `@@version`, as the server says it.
    pub version: String,
    pub dialect: Dialect,
    /// The low byte of its default collation's id, as in its greeting. None: it does not tell.
    pub collation: Option<u8>,
    /// What other servers call it: `@@server_uuid` (MySQL) or `@@server_id` (MariaDB).
    pub identity: String,
    /// `read_only` or `super_read_only`.
    pub read_only: bool,
    pub replication: Replication,
    /// What the server says of its delay, in whole seconds; the greatest of its channels. None: it cannot tell.
    pub lag: Option<Duration>,
    /// The `identity` of each server it replicates from.
    pub sources: Vec<String>,
    /// Its default isolation level promises that reads can be repeated.
    pub repeatable_reads: bool,
    /// What it has executed. None: GTIDs are off.
    pub position: Option<Position>,
    /// The grant the probe's user lacks, as `GRANT` would name it; replication is then unknown.
    pub missing_grant: Option<String>,
    /// Whether the probe's connection is encrypted.
    pub tls: bool,
}

/// Whether a server follows another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// The probe's user may not ask.
    Unknown,
    NotAReplica,
    Running,
    /// It applies what it has, but gets nothing new: its source is unreachable or its receiver was stopped.
    Disconnected {
        why: String,
    },
    /// It applies nothing.
    Stopped {
        why: String,
    },
}

/// One row of `SHOW REPLICA STATUS`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Channel {
    /// `Yes`, `No`, `Connecting`, `Preparing`.
    pub receiver: String,
    /// `Yes`, `No`.
    pub applier: String,
    pub receiver_error: String,
    pub applier_error: String,
    /// `Seconds_Behind_Source`.
    pub seconds_behind: Option<u64>,
    pub source: String,
}

impl Replication {
    /// The state of the channel that is worst off.
    pub(super) fn of(channels: &[Channel]) -> Self {
        let stopped = channels.iter().find(|channel| channel.applier != "Yes");
        let disconnected = channels.iter().find(|channel| channel.receiver != "Yes");
        match (stopped, disconnected) {
            _ if channels.is_empty() => Self::NotAReplica,
            (Some(channel), _) => Self::Stopped { why: why(&channel.applier_error, "the applier is stopped") },
            (None, Some(channel)) => {
                let fallback = format!("the receiver's state is {:?}", channel.receiver);
                Self::Disconnected { why: why(&channel.receiver_error, &fallback) }
            }
            (None, None) => Self::Running,
        }
    }
}

/// The delay of the channel furthest behind; None if one of them cannot tell, or there is none.
pub(super) fn greatest_lag(channels: &[Channel]) -> Option<Duration> {
    let lags: Option<Vec<u64>> = channels.iter().map(|channel| channel.seconds_behind).collect();
    lags?.into_iter().max().map(Duration::from_secs)
}

fn why(error: &str, fallback: &str) -> String {
    if error.is_empty() { fallback.to_owned() } else { error.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(receiver: &str, applier: &str, seconds_behind: Option<u64>) -> Channel {
        let (receiver, applier) = (receiver.to_owned(), applier.to_owned());
        Channel {
            receiver,
            applier,
            seconds_behind,
            receiver_error: "refused".into(),
            applier_error: "duplicate key".into(),
            source: "1".into(),
        }
    }

    #[test]
    fn channels_to_one_answer() {
        let stopped = || Replication::Stopped { why: "duplicate key".into() };
        let disconnected = || Replication::Disconnected { why: "refused".into() };
        let cases = [
            (vec![], Replication::NotAReplica, None),
            (vec![channel("Yes", "Yes", Some(3))], Replication::Running, Some(3)),
            (vec![channel("Yes", "Yes", None)], Replication::Running, None),
            (vec![channel("Yes", "Yes", Some(3)), channel("Yes", "Yes", Some(7))], Replication::Running, Some(7)),
            (vec![channel("Yes", "Yes", Some(3)), channel("Yes", "Yes", None)], Replication::Running, None),
            (vec![channel("Connecting", "Yes", None)], disconnected(), None),
            (vec![channel("Preparing", "Yes", None)], disconnected(), None),
            (vec![channel("No", "Yes", None)], disconnected(), None),
            (vec![channel("Yes", "No", None)], stopped(), None),
            (vec![channel("No", "No", None)], stopped(), None),
            (vec![channel("Connecting", "Yes", None), channel("Yes", "No", None)], stopped(), None),
        ];
        for (channels, replication, lag) in cases {
            assert_eq!(Replication::of(&channels), replication, "{channels:?}");
            assert_eq!(greatest_lag(&channels), lag.map(Duration::from_secs), "{channels:?}");
        }
    }
}
