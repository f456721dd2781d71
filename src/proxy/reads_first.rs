//! Transactions that nobody said `BEGIN` to (`autocommit=0`), and `reads.transactions = "reads-before-write"`: they begin
//! on a replica and go on there until a statement needs the writer.
//!
//! What the application gets is what `READ COMMITTED` promises: every statement sees what was committed when it began, on
//! the server where it runs, and no less than the session's own writes. Reads that must be repeatable cannot be: the
//! writer has no view of the replica's moment. So sessions with a higher isolation level stay with the writer.

use tokio::time::timeout;

use super::{
    inquire::ROLLBACK,
    recall::names,
    session::{Held, OWN_COMMAND, Session},
};
use crate::{
    config::{Config, Transactions},
    net::Scratch,
    protocol::Status,
    routing::Implicit,
    session::Pins,
    sql::{Access, Dialect, Effects, Kind, Statement},
    telemetry::Pin,
};

impl Session {
    /// The transaction that the next statement is in, or opens, without `BEGIN`.
    pub(super) fn implicit_transaction(&self, config: &Config) -> Implicit {
        if self.state.autocommit() {
            return Implicit::None;
        }
        let only_transaction = || self.state.pins().without(Pins::of(Pin::Diagnostics)) == Pins::of(Pin::Transaction);
        let reads_first = config.reads.transactions == Transactions::ReadsBeforeWrite
            && !self.state.repeatable_reads(self.worker.cluster().repeatable_reads);
        match (&self.held, reads_first) {
            // What has begun so goes on so, whatever a reload or a `SET` has changed meanwhile.
            (Some(_), _) if self.reading && only_transaction() => Implicit::Reading,
            (None, true) => Implicit::ReadsFirst,
            _ => Implicit::OnWriter,
        }
    }

    /// Whether a statement ends the `START TRANSACTION READ ONLY` that runs on a replica, and does something that replicas
    /// do not do; if the replica [understands](Self::is_understood) it.
    pub(super) fn leaves_read_only_transaction(&self, statement: &Statement<'_>, sql: &[u8]) -> bool {
        let locks = || sql.trim_ascii_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"lock"));
        let ends = match statement.kind {
            // In MySQL the next transaction is read-only like the one that BEGIN ends, unless it says otherwise.
            Kind::Begin(Access::ReadWrite) => self.mode().dialect == Dialect::MariaDb || names(sql, b"write"),
            // Others of the kind leave the transaction alone.
            Kind::Lock => locks(),
            Kind::Ddl => !statement.effects.has(Effects::TEMPORARY_TABLE),
            _ => false,
        };
        // Of several statements the first may belong to it.
        ends && !statement.effects.has(Effects::MULTI) && self.is_in_read_only_transaction_on_replica()
    }

    /// Whether a statement in a `START TRANSACTION READ ONLY` that runs on a replica leaves something behind that other
    /// sessions look for on the writer, such as a lock, or that would bind the session to the replica. The transaction goes
    /// on with it on the writer, where it sees what is committed by then.
    pub(super) fn moves_read_only_transaction(&self, statement: &Statement<'_>) -> bool {
        const LEAVING: Effects = Effects::ADVISORY_LOCK
            .with(Effects::GLOBAL_LOCK)
            .with(Effects::USER_VARIABLE)
            .with(Effects::SEQUENCE)
            .with(Effects::TEMPORARY_TABLE)
            .with(Effects::HANDLER)
            .with(Effects::ROLE)
            .with(Effects::CONNECTION_ID)
            .with(Effects::LEAVING_CODE);
        (statement.effects.any(LEAVING) || statement.kind == Kind::TextPrepared)
            && self.is_in_read_only_transaction_on_replica()
    }

    fn is_in_read_only_transaction_on_replica(&self) -> bool {
        self.state.status().has(Status::IN_READ_ONLY_TRANSACTION)
            && self.state.pins().without(Pins::of(Pin::Diagnostics)) == Pins::of(Pin::Transaction)
            && self.held.as_ref().is_some_and(|held| !self.worker.cluster().is_writer(&held.server))
    }

    /// Whether the replica understands the statement, which would not end the transaction otherwise.
    pub(super) async fn is_understood(&mut self, sql: &[u8]) -> bool {
        let Some(held) = &mut self.held else { return true };
        let parsed = timeout(OWN_COMMAND, held.lease.connection_mut().parses(sql, &self.worker.scratch)).await;
        // The transaction is lost with its connection.
        !matches!(parsed, Ok(Ok(false)))
    }

    /// Ends the transaction on the replica, which has changed nothing, for a statement that needs the writer.
    pub(super) async fn stop_reading(&mut self) {
        self.reading = false;
        self.state.lose_connection();
        let Some(mut held) = self.held.take() else { return };
        let (scratch, shared) = (self.worker.scratch.clone(), self.worker.config().pool.multiplex);
        if held.lease.connection().has_cursor() {
            if end_transaction(&mut held, &scratch).await {
                self.put_aside(held);
            }
            return;
        }
        // The statement does not wait for it.
        tokio::task::spawn_local(async move {
            if !shared {
                return drop(held.reset(&scratch).await);
            }
            end_transaction(&mut held, &scratch).await;
        });
    }
}

/// Ends the transaction on a connection, which is clean then. False: it is of no use any more.
async fn end_transaction(held: &mut Held, scratch: &Scratch) -> bool {
    let connection = held.lease.connection_mut();
    let ended = matches!(timeout(OWN_COMMAND, connection.query(ROLLBACK, scratch)).await, Ok(Ok(_)));
    if ended {
        connection.prove_clean();
    }
    ended
}
