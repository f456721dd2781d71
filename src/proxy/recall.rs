//! Statements that ask about the one before: `SHOW WARNINGS`, `ROW_COUNT()`, `FOUND_ROWS()`, `LAST_INSERT_ID()`, …
//!
//! They run on the connection that ran the statement they ask about, as long as nobody else has used it since. The pool
//! passes over a connection that left warnings, an error or a count of found rows for a while, unless there is no other.
//! If somebody else has used it, the answer is that of a connection that has done nothing, never somebody else's; only
//! the insert id is carried over. What is carried is what the OK packet said, which is not `LAST_INSERT_ID()` for an
//! explicit value in an `AUTO_INCREMENT` column, nor for an insert inside a procedure.

use std::sync::Arc;

use super::session::{Held, Session};
use crate::{
    backend::{Alignment, ConnectError, Server, ServerConnection},
    routing::{Decision, Target},
    sql::{Effects, Kind, Statement},
    telemetry::Reason,
};

/// The connection that ran the session's last statement.
#[derive(Debug)]
pub struct LastUsed {
    server: Arc<Server>,
    thread: u32,
}

/// Whether a statement asks about the one before.
pub fn asks_back(statement: &Statement<'_>) -> bool {
    statement.kind == Kind::Diagnostics || statement.effects.has(Effects::DIAGNOSTICS)
}

impl Session {
    /// Takes the connection of the last statement again, for a statement that asks about it.
    pub fn recall<'a>(&mut self, statement: &Statement<'_>, decision: Decision<'a>) -> Decision<'a> {
        let told = matches!(decision.reason, Reason::Hint | Reason::Rule);
        if decision.target == Target::Held || told || !asks_back(statement) {
            return decision;
        }
        let Some(last) = &self.last_used else { return decision };
        let cluster = self.worker.cluster();
        let place = cluster.place_of(last.server.id.as_str().as_bytes());
        let reads = matches!(statement.kind, Kind::Read | Kind::Diagnostics);
        if place.is_none() || !reads && place != cluster.writer() {
            return decision;
        }
        let server = last.server.clone();
        let dedicated = self.dedicated.take(&server, &self.identity, self.state.settings()).map(|held| held.lease);
        match dedicated.or_else(|| server.pool.recall(last.thread, self.entry.handle.id)) {
            Some(lease) => {
                self.held = Some(Held { lease, server });
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
        match &mut self.last_used {
            Some(last) if Arc::ptr_eq(&last.server, &held.server) => last.thread = connection.thread,
            last => *last = Some(LastUsed { server: held.server.clone(), thread: connection.thread }),
        }
    }

    /// Makes a connection answer for this session: one that somebody else has used forgets that.
    pub async fn disown(
        &self,
        connection: &mut ServerConnection,
        statement: &Statement<'_>,
        sql: &[u8],
        front: &mut Alignment,
    ) -> Result<(), ConnectError> {
        if !asks_back(statement) {
            return Ok(());
        }
        let own = connection.last_session == self.entry.handle.id;
        let insert_id = names_insert_id(sql);
        if !own && !insert_id && connection.last_session != ServerConnection::NOBODY {
            connection.reset(&self.worker.scratch).await?;
            connection.mark_dirty();
        }
        if insert_id && (!own || connection.insert_id != self.state.insert_id()) {
            let set = format!("SET last_insert_id={}", self.state.insert_id());
            front.query(connection.capabilities, set.as_bytes());
            connection.insert_id = self.state.insert_id();
        }
        Ok(())
    }
}

/// Whether the text has a name of the last insert id in it.
fn names_insert_id(sql: &[u8]) -> bool {
    let has = |name: &[u8]| sql.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
    has(b"last_insert_id") || has(b"identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_insert_id() {
        let cases = [
            ("SELECT LAST_INSERT_ID()", true),
            ("INSERT INTO t VALUES (last_insert_id())", true),
            ("SELECT @@identity", true),
            ("SELECT ROW_COUNT()", false),
            ("", false),
        ];
        for (sql, expected) in cases {
            assert_eq!(names_insert_id(sql.as_bytes()), expected, "{sql}");
        }
    }
}
