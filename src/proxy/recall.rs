//! Statements that ask about the one before: `SHOW WARNINGS`, `ROW_COUNT()`, `FOUND_ROWS()`, `LAST_INSERT_ID()`, …
//!
//! They run on the connection that ran the statement they ask about, as long as nobody else has used it since. The pool
//! passes over a connection that left warnings, an error or a count of found rows for a while, unless there is no other.
//! If somebody else has used it, the answer is that of a connection that has done nothing, never somebody else's; only
//! the insert id (`insert_id`) is carried over.

use std::sync::Arc;

use super::{
    insert_id::{names_insert_id, set_insert_id},
    request::Request,
    session::{Held, Session},
};
use crate::{
    backend::{Alignment, ConnectError, Lease, Server, ServerConnection},
    routing::{Decision, Target},
    sql::{Dialect, Effects, Kind, Statement},
    telemetry::Reason,
};

/// Leaves no warnings, which MariaDB keeps until a statement uses a table, and no found rows.
const FORGET: &[u8] = b"SELECT 1 FROM (SELECT 1) AS nothing LIMIT 0";

/// The connection that ran the session's last statement.
#[derive(Debug, Clone)]
pub struct LastUsed {
    pub(super) server: Arc<Server>,
    pub(super) thread: u32,
}

impl LastUsed {
    pub(super) fn of(held: &Held) -> Self {
        Self { server: held.server.clone(), thread: held.lease.connection().thread }
    }

    pub(super) fn is(&self, held: &Held) -> bool {
        self.is_to(&held.server, held.lease.connection())
    }

    /// Whether it is this one to `server`.
    pub(super) fn is_to(&self, server: &Server, connection: &ServerConnection) -> bool {
        self.thread == connection.thread && self.server.id == server.id
    }
}

/// Whether a statement asks about the one before.
pub fn asks_back(statement: &Statement<'_>) -> bool {
    statement.kind == Kind::Diagnostics || statement.effects.has(Effects::DIAGNOSTICS)
}

/// What a statement that asks about the one before may do on a replica, if that ran there. One that sets a variable would
/// pin the session to it; locks and all else are the writer's.
const ASKS_REPLICAS: Effects = Effects::DIAGNOSTICS
    .with(Effects::CALC_FOUND_ROWS)
    .with(Effects::SYSTEM_VARIABLE)
    .with(Effects::SERVER_VARIABLE)
    .with(Effects::MULTI);

/// Whether a statement that asks about the one before may run where that ran, if this was a replica.
pub fn asks_replicas(statement: &Statement<'_>) -> bool {
    matches!(statement.kind, Kind::Read | Kind::Diagnostics) && ASKS_REPLICAS.has(statement.effects)
}

impl Session {
    /// Takes the connection of the last statement again, for a statement that asks about it.
    pub fn recall<'a>(&mut self, statement: &Statement<'_>, decision: Decision<'a>) -> Decision<'a> {
        let told = matches!(decision.reason, Reason::Hint | Reason::Rule);
        if decision.target == Target::Held || told || !asks_back(statement) {
            return decision;
        }
        if self.held.is_some() {
            return Decision { target: Target::Held, reason: decision.reason };
        }
        let Some(last) = &self.last_used else { return decision };
        let cluster = self.worker.cluster();
        let place = cluster.place_of(last.server.id.as_str().as_bytes());
        if place.is_none() || !asks_replicas(statement) && place != cluster.writer() {
            return decision;
        }
        let server = last.server.clone();
        // COM_SET_OPTION may have made the session another kind of client meanwhile.
        let fits = |lease: &Lease| lease.connection().identity.fits(&self.identity);
        let dedicated = self.dedicated.take_that(|held| last.is(held) && fits(&held.lease));
        let pooled = || server.pool.recall(last.thread, self.entry.handle.id).filter(fits);
        match dedicated.or_else(|| pooled().map(|lease| Held { lease, server: server.clone() })) {
            Some(held) => {
                self.held = Some(held);
                Decision { target: Target::Held, reason: decision.reason }
            }
            None => decision,
        }
    }

    /// Notes that the session has used the connection last, and whether it left something to ask about.
    pub fn note_use(&mut self, held: &mut Held, leaves_diagnostics: bool) {
        let connection = held.lease.connection_mut();
        connection.last_session = self.entry.handle.id;
        connection.used = self.now;
        connection.asked_back = leaves_diagnostics;
        connection.warned |= leaves_diagnostics && connection.dialect() == Dialect::MariaDb;
        match &mut self.last_used {
            Some(last) if Arc::ptr_eq(&last.server, &held.server) => last.thread = connection.thread,
            last => *last = Some(LastUsed::of(held)),
        }
    }

    /// Makes a connection answer for this session: one that somebody else has used forgets that.
    pub async fn disown(
        &mut self,
        server: &Server,
        connection: &mut ServerConnection,
        request: &Request<'_>,
        front: &mut Alignment,
    ) -> Result<(), ConnectError> {
        let (statement, sql) = (&request.statement, request.sql);
        if !asks_back(statement) {
            let another = connection.last_session != self.entry.handle.id;
            if another && (connection.warned || self.asks) {
                front.query(connection.capabilities, FORGET);
                connection.warned = false;
            }
            return self.prepare_insert_id(server, connection, request, front).await;
        }
        let own = connection.last_session == self.entry.handle.id;
        let insert_id = names_insert_id(sql);
        if !own && !insert_id && connection.last_session != ServerConnection::NOBODY {
            connection.reset(&self.worker.scratch).await?;
            connection.mark_dirty();
        }
        if insert_id
            && (!own || connection.insert_id != self.state.insert_id())
            && let Some(id) = self.state.insert_id()
        {
            front.query(connection.capabilities, set_insert_id(id).as_bytes());
            connection.insert_id = Some(id);
        }
        Ok(())
    }
}

/// Whether the text has the word in it, in whatever part.
pub fn names(sql: &[u8], name: &[u8]) -> bool {
    sql.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Mode;

    #[test]
    fn only_questions_go_to_replicas() {
        let mode = Mode { dialect: Dialect::MySql, version: 90_700, ansi_quotes: false, no_backslash_escapes: false };
        let cases = [
            ("SHOW WARNINGS", true),
            ("SELECT FOUND_ROWS(), @@warning_count", true),
            ("SELECT 1; SHOW ERRORS", true),
            ("SELECT ROW_COUNT() FROM t FOR UPDATE", false),
            ("SELECT ROW_COUNT(), GET_LOCK('a', 0)", false),
            ("SELECT ROW_COUNT(), price_of(7)", false),
            ("SELECT ROW_COUNT() INTO @n", false),
            ("GET DIAGNOSTICS @n = NUMBER", false),
            ("DELETE FROM t WHERE id = LAST_INSERT_ID()", false),
        ];
        for (sql, expected) in cases {
            assert_eq!(asks_replicas(&crate::sql::classify(sql.as_bytes(), mode)), expected, "{sql}");
        }
    }
}
