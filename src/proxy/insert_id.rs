//! The session's own insert id, which `LAST_INSERT_ID()` gives, whatever connection its statements run on.
//!
//! It is what the OK packet said, unless the statement may have named that id itself or ran a procedure: then the server is
//! asked before anybody else gets the connection. What it was before is told from what another session left there by giving
//! the connection the session's own first, wherever both may come to be the same.

use std::sync::{Arc, OnceLock, Weak};

use tokio::time::timeout;

use super::{
    observe::Exchanged,
    recall::{LastUsed, asks_back, names},
    request::Request,
    session::{End, Held, OWN_COMMAND, Session},
};
use crate::{
    backend::{Alignment, ConnectError, Server, ServerConnection},
    net::Scratch,
    sql::{Effects, Kind, Mode, Statement, gives_insert_id, made_insert_id},
};

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
    /// What the connection's is, if another session has come to use it since.
    left: Arc<OnceLock<u64>>,
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

impl Session {
    /// Learns what `LAST_INSERT_ID()` gives after a statement, or that only its connection knows.
    pub fn learn_insert_id(&mut self, held: &mut Held, request: &Request<'_>, exchanged: &Exchanged) {
        let id = match insert_id(request, exchanged, || self.mode()) {
            InsertId::Unchanged => return,
            InsertId::Made(id) => Some(id),
            InsertId::Unclear => None,
        };
        let wanted = match id {
            Some(_) => Weak::new(),
            None => {
                let unclear = self.unclear(held, exchanged.insert_id);
                Arc::downgrade(&self.unclear_insert_id.insert(unclear).left)
            }
        };
        let connection = held.lease.connection_mut();
        (connection.insert_id, connection.wanted_insert_id) = (id, wanted);
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
        UnclearInsertId { at: LastUsed::of(held), likely, before, others, told, left: Arc::default() }
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

    /// Whether a statement names the insert id, and the session does not know it.
    pub fn lacks_insert_id(&self, sql: &[u8]) -> bool {
        self.state.insert_id().is_none() && names_insert_id(sql)
    }

    /// Finds out the insert id for a statement that names it. If the connection that knows it is gone, it is what is likely.
    pub async fn find_insert_id(&mut self) -> Result<(), End> {
        // Where the statement will run, and not a moment before it: other answers would change.
        let known_there = |held: &Held| {
            self.unclear_insert_id.as_ref().is_some_and(|it| it.at.is(held) && it.others == Some(it.before))
        };
        if self.held.as_ref().is_some_and(known_there) {
            return Ok(());
        }
        let mut held = self.held.take();
        let settled =
            self.settle_insert_id(held.as_mut().map(|held| (&*held.server, held.lease.connection_mut()))).await;
        match (settled, held) {
            (Err(cause), Some(held)) => self.give_up(held, &cause),
            (_, held) => {
                self.held = held;
                Ok(())
            }
        }
    }

    /// Asks the connection that knows the insert id, which may be `here`, for it.
    ///
    /// # Errors
    /// That one is of no use any more.
    async fn settle_insert_id(&mut self, here: Option<(&Server, &mut ServerConnection)>) -> Result<(), ConnectError> {
        let Some(unclear) = self.unclear_insert_id.take() else {
            self.state.set_insert_id(Some(0));
            return Ok(());
        };
        let (told, broken) = match here.filter(|(server, connection)| self.is_at(&unclear, server, connection)) {
            Some((_, connection)) => {
                let asked = timeout(OWN_COMMAND, connection.ask_insert_id(&self.worker.scratch)).await;
                match asked.unwrap_or(Err(ConnectError::Timeout(OWN_COMMAND))) {
                    Ok(id) => (Some(id), None),
                    Err(ConnectError::Refused(_)) => (None, None),
                    Err(error) => (None, Some(error)),
                }
            }
            None => (self.ask_elsewhere(&unclear).await.or_else(|| unclear.left.get().copied()), None),
        };
        self.state.set_insert_id(Some(unclear.settled(told)));
        broken.map_or(Ok(()), Err)
    }

    /// Asks the connection that knows the insert id, which is at rest. None: another session has it, or nobody.
    async fn ask_elsewhere(&mut self, unclear: &UnclearInsertId) -> Option<u64> {
        let LastUsed { server, thread } = &unclear.at;
        let dedicated = self.dedicated.take_that(|held| unclear.at.is(held));
        let pooled = || server.pool.recall(*thread, self.entry.handle.id);
        let mut held = dedicated.or_else(|| pooled().map(|lease| Held { lease, server: server.clone() }))?;
        let connection = held.lease.connection_mut();
        let asked = timeout(OWN_COMMAND, connection.ask_insert_id(&self.worker.scratch)).await;
        let told = asked.ok().and_then(Result::ok)?;
        connection.prove_clean();
        self.put_aside(held);
        Some(told)
    }

    /// Whether it is this connection, which the session has, that knows the insert id.
    fn is_at(&self, unclear: &UnclearInsertId, server: &Server, connection: &ServerConnection) -> bool {
        connection.last_session == self.entry.handle.id && unclear.at.is_to(server, connection)
    }

    /// Whether the insert id must be known before a statement runs: what it was is not to be told any more behind it.
    fn must_settle_insert_id(&self, server: &Server, connection: &ServerConnection, request: &Request<'_>) -> bool {
        let Some(unclear) = &self.unclear_insert_id else { return false };
        if self.state.insert_id().is_some() {
            return false;
        }
        match unclear.others {
            _ if !self.is_at(unclear, server, connection) => {
                let ran = request.ran();
                self.asks || matches!(ran.kind, Kind::Write | Kind::Ddl) || hides_insert_id(&ran)
            }
            Some(others) => others != unclear.before && self.may_tell(request, others),
            None => false,
        }
    }

    /// Whether a reply to the request that tells `id` would leave open whether it made that.
    fn may_tell(&self, request: &Request<'_>, id: u64) -> bool {
        let kind = request.ran().kind;
        let may_insert = kind == Kind::Ddl || kind == Kind::Write && !only_changes_rows(request.sql);
        let misleads = || names(request.sql, b"duplicate") || names(request.sql, b"ignore");
        may_insert && (misleads() || !made_insert_id(request.sql, self.mode(), id, request.parameters()))
    }

    /// The insert id that a connection must have in front of a request, as it has another now and the request may tell
    /// that by itself. It is nothing that the request needs.
    pub fn guarded_insert_id(&self, connection: &ServerConnection, request: &Request<'_>) -> Option<u64> {
        let own = self.state.insert_id()?;
        let others = connection.insert_id.filter(|id| *id != own && *id != 0)?;
        (!asks_back(&request.statement) && self.may_tell(request, others)).then_some(own)
    }

    /// Gives a connection the session's insert id in front of a statement after which only a comparison with what it was
    /// tells whether the statement changed it.
    pub(super) async fn prepare_insert_id(
        &mut self,
        server: &Server,
        connection: &mut ServerConnection,
        request: &Request<'_>,
        front: &mut Alignment,
    ) -> Result<(), ConnectError> {
        // Neither a fetch nor a read beside the connection that is set aside changes what that one knows.
        if request.fetches() || self.parked.is_some() {
            return Ok(());
        }
        if self.must_settle_insert_id(server, connection, request) {
            self.settle_insert_id(Some((server, &mut *connection))).await?;
        }
        let (statement, sql) = (&request.statement, request.sql);
        let unclear = self.unclear_insert_id.as_ref();
        let here = unclear.is_some_and(|unclear| self.is_at(unclear, server, connection));
        let own = self.state.insert_id().or(unclear.map(|unclear| unclear.likely)).unwrap_or_default();
        let needed = match connection.insert_id {
            None if self.asks => true,
            None => statement.kind == Kind::Write || hides_insert_id(statement),
            Some(id) if id == own => false,
            Some(_) if self.asks => true,
            Some(_) => hides_insert_id(statement) || statement.kind == Kind::Write && tells_no_insert_id(sql),
        };
        if needed && !here {
            front.query(connection.capabilities, set_insert_id(own).as_bytes());
            connection.insert_id = Some(own);
        }
        Ok(())
    }
}

pub(super) fn set_insert_id(id: u64) -> String {
    format!("SET last_insert_id={id}")
}

/// Reads the reply to [`set_insert_id`]. The statement behind it runs even if somebody asked the server to stop this.
pub(super) async fn read_insert_id(
    connection: &mut ServerConnection,
    id: u64,
    scratch: &Scratch,
) -> Result<(), ConnectError> {
    connection.insert_id = match connection.read_reply(scratch).await {
        Ok(_) => Some(id),
        Err(ConnectError::Refused(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(())
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
    let (id, many) = (exchanged.insert_id, effects.has(Effects::MULTI));
    // What functions and triggers do to it ends with them.
    let unclear = match kind {
        Kind::Write if exchanged.error.is_some() => true,
        Kind::Set => names_insert_id(request.sql),
        Kind::Write if tells_no_insert_id(request.sql) => true,
        _ => {
            let gives = effects.has(Effects::DIAGNOSTICS) && gives_insert_id(request.sql);
            hides_insert_id(&request.ran()) || many && id != 0 || gives
        }
    };
    // Two rows are affected by the update of one that was there.
    let updated = || exchanged.affected_rows != 1 && names(request.sql, b"duplicate");
    // What was to be the id of a row that is ignored, with a warning, is told and nobody's.
    let ignored = || exchanged.warnings > 0 && names(request.sql, b"ignore");
    if unclear {
        InsertId::Unclear
    } else if id == 0 {
        InsertId::Unchanged
    } else if !updated() && !ignored() && made_insert_id(request.sql, mode(), id, request.parameters()) {
        InsertId::Made(id)
    } else {
        InsertId::Unclear
    }
}

/// Whether the reply to a write has no room for the id: there are rows in its place, or servers do not tell it of a file.
fn tells_no_insert_id(sql: &[u8]) -> bool {
    names(sql, b"returning") || names(sql, b"infile")
}

/// Whether a write makes no rows.
fn only_changes_rows(sql: &[u8]) -> bool {
    let verb = sql.trim_ascii_start().get(..6).unwrap_or_default();
    verb.eq_ignore_ascii_case(b"update") || verb.eq_ignore_ascii_case(b"delete")
}

/// Whether the text has a name of the last insert id in it.
pub fn names_insert_id(sql: &[u8]) -> bool {
    names(sql, b"last_insert_id") || names(sql, b"identity")
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
