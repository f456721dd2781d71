//! Statements that ask about the one before: `SHOW WARNINGS`, `ROW_COUNT()`, `FOUND_ROWS()`, `LAST_INSERT_ID()`, …
//!
//! They run on the connection that ran the statement they ask about, as long as nobody else has used it since. The pool
//! passes over a connection that left warnings, an error or a count of found rows for a while, unless there is no other.
//! If somebody else has used it, the answer is that of a connection that has done nothing, never somebody else's; only
//! the insert id is carried over. It is what the OK packet said, unless the statement may have named that id itself or ran
//! a procedure: then the server is asked before anybody else gets the connection.

use std::sync::Arc;

use tokio::time::timeout;

use super::{
    observe::Exchanged,
    request::{Body, Request},
    session::{Held, OWN_COMMAND, Session},
};
use crate::{
    backend::{Alignment, ConnectError, Lease, Server, ServerConnection},
    net::Scratch,
    routing::{Decision, Target},
    sql::{Dialect, Effects, Kind, Mode, Statement, gives_insert_id, made_insert_id},
    telemetry::Reason,
};

/// Leaves no warnings, which MariaDB keeps until a statement uses a table, and no found rows.
const FORGET: &[u8] = b"SELECT 1 FROM (SELECT 1) AS nothing LIMIT 0";

/// The connection that ran the session's last statement.
#[derive(Debug, Clone)]
pub struct LastUsed {
    server: Arc<Server>,
    thread: u32,
}

impl LastUsed {
    fn of(held: &Held) -> Self {
        Self { server: held.server.clone(), thread: held.lease.connection().thread }
    }

    pub(super) fn is(&self, held: &Held) -> bool {
        self.thread == held.lease.connection().thread && self.server.id == held.server.id
    }
}

/// An insert id that only the connection of the last insert knows.
#[derive(Debug)]
pub struct UnclearInsertId {
    at: LastUsed,
    /// What it is if nobody can be asked.
    likely: u64,
    /// What the session's was before.
    before: u64,
    /// What the connection's was before; None: not known.
    others: Option<u64>,
    /// What the reply told; 0: nothing.
    told: u64,
}

impl UnclearInsertId {
    /// The session's insert id when the connection's is `id`.
    fn settled(&self, id: Option<u64>) -> u64 {
        match id {
            Some(id) if self.others == Some(id) && (id == 0 || self.told != id) => self.before,
            id => id.unwrap_or(self.likely),
        }
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

    /// Learns what `LAST_INSERT_ID()` gives after a statement, or that only its connection knows.
    pub fn learn_insert_id(&mut self, held: &mut Held, request: &Request<'_>, exchanged: &Exchanged) {
        let id = match insert_id(request, exchanged, || self.mode()) {
            InsertId::Unchanged => return,
            InsertId::Made(id) => Some(id),
            InsertId::Unclear => None,
        };
        if id.is_none() {
            self.unclear_insert_id = Some(self.unclear(held, exchanged.insert_id));
        }
        held.lease.connection_mut().insert_id = id;
        self.state.set_insert_id(id);
    }

    /// What is known when a statement on `held`, whose reply told `told`, may have changed the insert id.
    fn unclear(&self, held: &Held, told: u64) -> UnclearInsertId {
        let earlier = self.unclear_insert_id.as_ref();
        let known = self.state.insert_id().or(earlier.map(|unclear| unclear.likely)).unwrap_or_default();
        let likely = if told == 0 { known } else { told };
        // Unless the session is still where it was unclear before.
        let (before, others) = match earlier.filter(|unclear| self.state.insert_id().is_none() && unclear.at.is(held)) {
            Some(unclear) => (unclear.before, unclear.others),
            None => (known, held.lease.connection().insert_id),
        };
        UnclearInsertId { at: LastUsed::of(held), likely, before, others, told }
    }

    /// Asks a connection that is about to be given away for the insert id, if nobody else knows it. One that left
    /// something else to ask about is not asked, as that would be gone.
    pub async fn ask_insert_id(&mut self, held: &mut Held) -> Result<(), ConnectError> {
        if self.state.insert_id().is_some() || held.lease.connection().asked_back {
            return Ok(());
        }
        if let Some(unclear) = self.unclear_insert_id.take_if(|unclear| unclear.at.is(held)) {
            let told = held.lease.connection_mut().ask_insert_id(&self.worker.scratch).await?;
            self.state.set_insert_id(Some(unclear.settled(Some(told))));
        }
        Ok(())
    }

    /// Asks the held connection, which the session is about to leave, for the insert id if nobody else knows it.
    pub async fn keep_insert_id(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        // One that does not answer is dirty, and does not outlive its transaction.
        let _ = timeout(OWN_COMMAND, self.ask_insert_id(&mut held)).await;
        self.held = Some(held);
    }

    /// Finds out the insert id for a statement that names it. If the connection that knows it has gone to somebody else,
    /// it is what is likely.
    pub async fn find_insert_id(&mut self, sql: &[u8]) {
        if self.state.insert_id().is_some() || !names_insert_id(sql) {
            return;
        }
        // Where the statement will run, and not a moment before it: other answers would change.
        let known_there = |held: &Held| {
            self.unclear_insert_id.as_ref().is_some_and(|it| it.at.is(held) && it.others == Some(it.before))
        };
        if self.held.as_ref().is_some_and(known_there) {
            return;
        }
        let Some(unclear) = self.unclear_insert_id.take() else { return self.state.set_insert_id(Some(0)) };
        let scratch = self.worker.scratch.clone();
        let told = match &mut self.held {
            Some(held) if unclear.at.is(held) => asked(held.lease.connection_mut(), &scratch).await,
            _ => {
                let LastUsed { server, thread } = &unclear.at;
                let dedicated = self.dedicated.take_that(|held| unclear.at.is(held));
                let pooled = || server.pool.recall(*thread, self.entry.handle.id);
                match dedicated.or_else(|| pooled().map(|lease| Held { lease, server: server.clone() })) {
                    Some(mut held) => {
                        let told = asked(held.lease.connection_mut(), &scratch).await;
                        if told.is_some() {
                            held.lease.connection_mut().prove_clean();
                            self.put_aside(held);
                        }
                        told
                    }
                    None => None,
                }
            }
        };
        self.state.set_insert_id(Some(unclear.settled(told)));
    }

    /// Gives a connection the session's insert id in front of a statement after which only a comparison with what it was
    /// tells whether the statement changed it.
    fn prepare_insert_id(
        &self,
        connection: &mut ServerConnection,
        statement: &Statement<'_>,
        sql: &[u8],
        front: &mut Alignment,
    ) {
        let unclear = self.unclear_insert_id.as_ref();
        let mine = connection.last_session == self.entry.handle.id;
        let here = mine && unclear.is_some_and(|unclear| unclear.at.thread == connection.thread);
        let own = self.state.insert_id().or(unclear.map(|unclear| unclear.likely)).unwrap_or_default();
        let needed = match connection.insert_id {
            None if self.asks => true,
            None => statement.kind == Kind::Write || hides_insert_id(statement),
            Some(id) if id == own => false,
            Some(_) if self.asks => true,
            Some(_) => hides_insert_id(statement) || statement.kind == Kind::Write && names(sql, b"returning"),
        };
        if needed && !here {
            let set = format!("SET last_insert_id={own}");
            front.query(connection.capabilities, set.as_bytes());
            connection.insert_id = Some(own);
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
            let another = connection.last_session != self.entry.handle.id;
            if another && (connection.warned || self.asks) {
                front.query(connection.capabilities, FORGET);
                connection.warned = false;
            }
            self.prepare_insert_id(connection, statement, sql, front);
            return Ok(());
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
            front.query(connection.capabilities, format!("SET last_insert_id={id}").as_bytes());
            connection.insert_id = Some(id);
        }
        Ok(())
    }
}

/// Whether what a statement does to the insert id cannot be told from its reply and its text.
fn hides_insert_id(statement: &Statement<'_>) -> bool {
    let Statement { kind, effects, .. } = *statement;
    let stored = kind == Kind::Write && effects.has(Effects::UNKNOWN_FUNCTION);
    stored || matches!(kind, Kind::TextPrepared | Kind::Unknown) || effects.has(Effects::MULTI) && kind > Kind::Read
}

/// What a statement did to the insert id.
enum InsertId {
    Unchanged,
    Made(u64),
    Unclear,
}

fn insert_id(request: &Request<'_>, exchanged: &Exchanged, mode: impl FnOnce() -> Mode) -> InsertId {
    let Statement { kind, effects, .. } = request.ran();
    let parameters = match &request.body {
        Body::Execute { execute, .. } => execute.parameters,
        Body::BulkExecute { bulk, .. } => bulk.parameters,
        _ => b"",
    };
    let (id, many) = (exchanged.insert_id, effects.has(Effects::MULTI));
    // What functions and triggers do to it ends with them.
    let unclear = match kind {
        Kind::Write if exchanged.error.is_some() => true,
        Kind::Set => names_insert_id(request.sql),
        // Its rows leave no room for the id.
        Kind::Write if names(request.sql, b"returning") => true,
        _ => {
            let gives = effects.has(Effects::DIAGNOSTICS) && gives_insert_id(request.sql);
            hides_insert_id(&request.ran()) || many && id != 0 || gives
        }
    };
    // Two rows are affected by the update of one that was there.
    let updated = || exchanged.affected_rows != 1 && names(request.sql, b"duplicate");
    if unclear {
        InsertId::Unclear
    } else if id == 0 {
        InsertId::Unchanged
    } else if !updated() && made_insert_id(request.sql, mode(), id, parameters) {
        InsertId::Made(id)
    } else {
        InsertId::Unclear
    }
}

async fn asked(connection: &mut ServerConnection, scratch: &Scratch) -> Option<u64> {
    timeout(OWN_COMMAND, connection.ask_insert_id(scratch)).await.ok().and_then(Result::ok)
}

/// Whether the text has a name of the last insert id in it.
pub fn names_insert_id(sql: &[u8]) -> bool {
    names(sql, b"last_insert_id") || names(sql, b"identity")
}

/// Whether the text has the word in it, in whatever part.
pub fn names(sql: &[u8], name: &[u8]) -> bool {
    sql.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

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
