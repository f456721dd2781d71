//! What the demo did, as tables for people; and whether that is what a read/write splitter should have done.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::ensure;

use super::workload::Seen;
use crate::telemetry::{Metrics, Reason};

/// Where the statements went, and why.
pub struct Report<'a> {
    pub metrics: &'a Metrics,
    pub seen: Arc<Seen>,
}

/// Fails unless every replica served reads and no replica was written to.
pub fn check(metrics: &Metrics) -> anyhow::Result<()> {
    for (name, server) in metrics.servers() {
        let (reads, writes) = (server.total(|shard| &shard.reads), server.total(|shard| &shard.writes));
        if name == "writer" {
            ensure!(writes > 0, "the writer served no write");
        } else {
            ensure!(reads > 0, "{name} served no read");
            ensure!(writes == 0, "{name} served {writes} writes");
        }
    }
    Ok(())
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:>10} {:>10} {:>14}", "SERVER", "READS", "WRITES", "TRANSACTIONS")?;
        let mut servers = self.metrics.servers();
        servers.sort_by_key(|(name, _)| (name != "writer", name.clone()));
        for (name, server) in servers {
            let [reads, writes, transactions] = [
                server.total(|shard| &shard.reads),
                server.total(|shard| &shard.writes),
                server.total(|shard| &shard.transactions),
            ]
            .map(grouped);
            writeln!(f, "{name:<22} {reads:>10} {writes:>10} {transactions:>14}")?;
        }
        writeln!(f, "\n{:<22} {:>10}   WHERE, AND WHY", "REASON", "STATEMENTS")?;
        let mut reasons: Vec<_> = Reason::ALL.iter().map(|reason| (self.metrics.reason(*reason), *reason)).collect();
        reasons.sort_by_key(|(count, reason)| (std::cmp::Reverse(*count), *reason));
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "{:<22} {:>10}   {}", reason.label(), grouped(count), meaning(reason))?;
        }
        self.checked(f)
    }
}

impl Report<'_> {
    fn checked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = grouped(self.metrics.total(|shard| &shard.freshness_waits));
        let seen = |counter: &AtomicU64| grouped(counter.load(Relaxed));
        writeln!(f, "\nChecked by the clients themselves, all as on a single server:")?;
        writeln!(
            f,
            "{:>10}  own writes read back at once ({waits} waited for a replica)",
            seen(&self.seen.own_writes)
        )?;
        writeln!(f, "{:>10}  transfers with SELECT … FOR UPDATE", seen(&self.seen.transfers))?;
        writeln!(f, "{:>10}  sums in read-only transactions on replicas", seen(&self.seen.audits))?;
        write!(f, "{:>10}  temporary tables with user variables", seen(&self.seen.drafts))
    }
}

/// Where a statement with this reason went, in words.
fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Read => "replica: a plain read",
        Reason::WriterShare => "writer: its share of the reads",
        Reason::NoReplica => "writer: no replica could serve the read",
        Reason::Freshness => "writer: no replica had the session's own writes in time",
        Reason::ReadOnlyTransaction => "replica: START TRANSACTION READ ONLY",
        Reason::Write => "writer: changes data or schema",
        Reason::Begin => "writer: opens a transaction",
        Reason::Transaction => "where the transaction is open",
        Reason::AutocommitOff => "writer: every statement may open a transaction",
        Reason::LockingRead => "writer: SELECT … FOR UPDATE and its like",
        Reason::Lock => "writer: takes or gives back a lock",
        Reason::UserVariable => "writer: reads or sets a user variable",
        Reason::SystemVariable => "writer: reads a system variable",
        Reason::File => "writer: touches a file of the server",
        Reason::UnknownFunction => "writer: calls a function with unknown effects",
        Reason::Sequence => "writer: advances a sequence",
        Reason::Diagnostics => "where the statement ran that it asks about",
        Reason::ConnectionState => "writer: asks about its connection",
        Reason::SessionStatement => "writer: changes the session (SET, USE)",
        Reason::TemporaryTable => "writer: makes a temporary table",
        Reason::Unknown => "writer: not understood, so no risk is taken",
        Reason::Pinned => "the connection that holds the session's temporary table, variable or lock",
        Reason::Hint => "where a comment in the statement says",
        Reason::Rule => "where a rule of the config says",
        Reason::Route => "where the listener's route says",
        Reason::Local => "answered by Weir itself",
        Reason::Rejected => "nowhere: a rule refuses it",
    }
}

/// A number as people read it: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(grouped(number), text, "{number}");
        }
    }

    #[test]
    fn a_demo_without_reads_on_a_replica_or_with_writes_there_fails() {
        let cases = [
            ([(1, 1), (5, 0), (5, 0)], None),
            ([(1, 1), (5, 0), (0, 0)], Some("replica2 served no read")),
            ([(1, 1), (5, 1), (5, 0)], Some("replica1 served 1 writes")),
            ([(1, 0), (5, 0), (5, 0)], Some("the writer served no write")),
        ];
        for (served, problem) in cases {
            let metrics = Metrics::new(1);
            for (name, (reads, writes)) in ["writer", "replica1", "replica2"].into_iter().zip(served) {
                metrics.server(name).shard(0).reads.add(reads);
                metrics.server(name).shard(0).writes.add(writes);
            }
            let found = check(&metrics).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), problem, "{served:?}");
        }
    }
}
