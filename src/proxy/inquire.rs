//! What a server is asked once it has answered, because its reply had no room for it.
//!
//! Errors carry neither status nor changes; EOF packets carry no changes; and a report of `character_set_connection`
//! leaves out the collation. The client has its reply by then and does not wait.

use std::sync::Arc;

use tokio::time::timeout;

use super::{
    observe::Exchanged,
    request::Request,
    session::{End, Held, OWN_COMMAND, Session},
};
use crate::{
    backend::{ConnectError, Reports, ServerConnection},
    protocol::{Capabilities, Malformed, OkPacket, Status, code, query_attributes},
    session::{Boundary, Fate, Pins},
    sql::{Called, Dialect, Effects, Kind, Statement, called, sets_only_tracking},
    telemetry::Pin,
};

/// Ends a transaction of Weir's own doing, whatever `completion_type` the session has.
pub const ROLLBACK: &str = "ROLLBACK AND NO CHAIN NO RELEASE";

/// That a reply may have left out what its statement changed.
#[derive(Debug, Clone, Copy)]
pub struct Doubt {
    kind: Kind,
    effects: Effects,
    failed: bool,
}

impl Doubt {
    /// What a report may be about that comes with the reply to `statement`.
    pub fn spread(doubt: Option<Self>, statement: Statement<'_>) -> Statement<'_> {
        let Some(Self { kind, effects, .. }) = doubt else { return statement };
        Statement { kind: statement.kind.max(kind), effects: statement.effects.with(effects), ..statement }
    }
}

impl Session {
    /// Notes that a request may have changed what the client is told, or ran before that was looked at.
    pub fn note_tracking(&mut self, request: &Request<'_>) {
        if request.ran().effects.has(Effects::SESSION_TRACKING) {
            if !self.only_tracks(request) {
                // What else it did was not reported, and what comes will not be.
                self.state.set_pin(Pin::SessionTracking, true);
            }
            self.unread.get_or_insert_default().tracks = true;
        } else if self.unread.as_ref().is_some_and(|unread| unread.tracks) {
            // It asked about the statement before, so that nothing else was asked before it ran.
            let Statement { kind, effects, .. } = request.ran();
            let harmless = matches!(kind, Kind::Read | Kind::Diagnostics) && !kind.may_run_stored_code(effects);
            if !harmless {
                self.state.set_pin(Pin::SessionTracking, true);
            }
        }
    }

    /// Notes that the reply to `statement` may have left out what it changed. `before` is what pins the session.
    pub fn note_doubt(&mut self, statement: &Statement<'_>, exchanged: &Exchanged, before: Pins) {
        let harmless = statement.kind == Kind::Read && statement.effects == Effects::NONE;
        let silent = match exchanged.error {
            Some(_) => !harmless || !self.state.autocommit() || !before.is_empty(),
            None => exchanged.ended_by_eof && statement.kind.may_run_stored_code(statement.effects),
        };
        if silent {
            let failed = exchanged.error.is_some() || self.doubt.is_some_and(|doubt| doubt.failed);
            let Statement { kind, effects, .. } = Doubt::spread(self.doubt, *statement);
            // What a `SET` left behind that failed is not what its text says.
            let effects = effects.without(Effects::VARIABLE_LITERAL);
            self.doubt = Some(Doubt { kind, effects, failed });
        }
        if exchanged.error.is_some() && may_have_changed(statement) && self.mode().dialect == Dialect::MariaDb {
            self.untold.expect();
        }
    }

    /// Whether there is something to learn from the held connection that replies did not tell.
    pub fn must_inquire(&self) -> bool {
        let unclear = self.state.insert_id().is_none() && self.state.fate() == Fate::Return;
        self.doubt.is_some() || self.unread.is_some() || unclear || self.state.collation_unknown()
    }

    /// Whether the session has perhaps ended on its server.
    pub(super) fn may_have_ended_unheard(&self) -> bool {
        self.unread.as_ref().is_some_and(|unread| unread.ended)
    }

    /// Learns it. None: the connection broke, and is gone.
    pub async fn inquire(&mut self, mut held: Held) -> Result<Option<Held>, End> {
        if !self.must_inquire() {
            return Ok(Some(held));
        }
        let may_have_ended = self.may_have_ended_unheard();
        let asked = timeout(OWN_COMMAND, self.ask(&mut held)).await;
        match asked.unwrap_or(Err(ConnectError::Timeout(OWN_COMMAND))) {
            Ok(()) => Ok(Some(held)),
            Err(_) if may_have_ended => {
                held.lease.discard();
                Err(End::Client)
            }
            Err(cause) => self.give_up(held, &cause).map(|()| None),
        }
    }

    /// Gives up a connection that did not answer a question of Weir's own.
    pub(super) fn give_up(&mut self, held: Held, cause: &ConnectError) -> Result<(), End> {
        tracing::info!(server = %held.server.id, %cause, "a server connection broke after a reply");
        let pinned = self.state.fate() != Fate::Return;
        held.lease.discard();
        self.state.lose_connection();
        if pinned { Err(End::Client) } else { Ok(()) }
    }

    /// Whether a statement that names `session_track_…` does nothing else that servers would report.
    fn only_tracks(&self, request: &Request<'_>) -> bool {
        let Statement { kind, effects, .. } = request.ran();
        match kind {
            _ if effects.has(Effects::MULTI) => false,
            Kind::Read => !kind.may_run_stored_code(effects),
            Kind::Set => sets_only_tracking(request.sql, self.mode()),
            _ => false,
        }
    }

    /// Learns what the client chose to be told, and lets the connection report everything again.
    async fn follow_tracking(&mut self, held: &mut Held) -> Result<(), ConnectError> {
        let (connection, scratch) = (held.lease.connection_mut(), self.worker.scratch.clone());
        connection.mark_dirty();
        let mut chosen = connection.ask_tracking(&scratch).await?;
        let outside = !self.state.in_transaction();
        if !outside {
            chosen = chosen.with_gtids_of(self.tracking.as_deref().unwrap_or(&connection.tracking));
        }
        if chosen.is_part_of_all() && !self.state.pins().has(Pin::SessionTracking) {
            self.tracking = Some(Arc::new(chosen));
            return connection.track_all(outside, &scratch).await;
        }
        self.state.set_pin(Pin::SessionTracking, true);
        Ok(())
    }

    async fn ask(&mut self, held: &mut Held) -> Result<(), ConnectError> {
        if let Some(unread) = self.unread.take() {
            let tracks = unread.tracks;
            if unread.ended {
                held.lease.connection_mut().mark_dirty();
                held.lease.connection_mut().command(&[code::PING], &self.worker.scratch).await?;
            }
            self.ask_about_text(held, unread).await?;
            if tracks {
                self.follow_tracking(held).await?;
            }
        }
        if let Some(doubt) = self.doubt.take() {
            let Doubt { kind, effects, failed } = doubt;
            let may_have_changed = may_have_changed(&Statement { kind, effects, hint: None });
            held.lease.connection_mut().mark_dirty();
            let connection = held.lease.connection_mut();
            self.observe_command(connection, doubt, &[&[code::PING]]).await?;
            // MariaDB keeps what failed code, or the part of a SET that did not fail, has changed for its next report, and a
            // ping reports nothing.
            let mute = connection.dialect() == Dialect::MariaDb && self.state.fate() == Fate::Return;
            if failed && may_have_changed && mute {
                let capabilities = connection.capabilities;
                let [begin, rollback] =
                    ["BEGIN", ROLLBACK].map(|sql| query_attributes::query(capabilities, sql.as_bytes()));
                self.observe_command(connection, doubt, &[&begin, &rollback]).await?;
            }
        }
        if self.state.fate() == Fate::Return {
            self.ask_insert_id(held).await?;
        }
        if self.state.collation_unknown() {
            let scratch = self.worker.scratch.clone();
            let mut reply =
                held.lease.connection_mut().query("SELECT @@collation_connection LIMIT 1", &scratch).await?;
            let row = reply.rows.pop().unwrap_or_default();
            self.state.learn_collation(row.into_iter().next().flatten().as_deref().ok_or(Malformed("collation"))?);
        }
        Ok(())
    }

    /// Runs commands whose OK packets tell the session's state.
    async fn observe_command(
        &mut self,
        connection: &mut ServerConnection,
        doubt: Doubt,
        commands: &[&[u8]],
    ) -> Result<(), ConnectError> {
        let scratch = self.worker.scratch.clone();
        for payload in connection.told(commands, &scratch).await? {
            let ok = OkPacket::parse(&payload)?;
            let before = self.state.in_explicit_transaction();
            self.state.observe(&ok, doubt.kind, doubt.effects);
            let boundary = Boundary::of(before, self.state.in_explicit_transaction(), false);
            self.keep_untold(connection, &ok, boundary);
        }
        Ok(())
    }

    /// Commits the session's transaction, for a statement that commits it before anything else.
    pub(super) async fn commit(&mut self, connection: &mut ServerConnection) -> Result<(), ConnectError> {
        let commit = query_attributes::query(connection.capabilities, b"COMMIT AND NO CHAIN NO RELEASE");
        let ended = Doubt { kind: Kind::Transaction, effects: Effects::NONE, failed: false };
        self.observe_command(connection, ended, &[&commit]).await
    }

    /// Whether a request may change something of the session by itself, and not only what is told of transactions.
    pub fn may_change_session(&self, request: &Request<'_>) -> bool {
        const CHANGING: Effects =
            Effects::LEAVING_CODE.with(Effects::USER_VARIABLE).with(Effects::TEMPORARY_TABLE).with(Effects::MULTI);
        let Statement { kind, effects, .. } = request.ran();
        if self.untold.is_empty() || effects.any(CHANGING) {
            return true;
        }
        match kind {
            Kind::Write => {
                effects.has(Effects::UNKNOWN_FUNCTION) && called(request.sql, self.mode()) != Called::Nothing
            }
            Kind::Read | Kind::Diagnostics | Kind::Begin(_) | Kind::Transaction => false,
            _ => true,
        }
    }

    /// Keeps what the client would have been told of a report that only Weir has heard.
    fn keep_untold(&mut self, connection: &ServerConnection, ok: &OkPacket<'_>, boundary: Boundary) {
        if !ok.status.has(Status::SESSION_STATE_CHANGED) || !self.capabilities.has(Capabilities::SESSION_TRACK) {
            return;
        }
        let tracking = self.tracking.as_deref().unwrap_or(&connection.tracking);
        let told = match connection.reports {
            Reports::All => tracking.told(ok.changes, boundary),
            Reports::Chosen => Some(ok.changes.to_vec()),
        };
        self.untold.keep(&told.unwrap_or_default(), connection.dialect());
    }
}

/// Whether a statement that failed may have changed something of the session before that.
fn may_have_changed(statement: &Statement<'_>) -> bool {
    let Statement { kind, effects, .. } = *statement;
    kind.may_run_stored_code(effects) || kind == Kind::Set || effects.has(Effects::MULTI)
}
