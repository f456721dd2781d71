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
    backend::ConnectError,
    protocol::{Malformed, OkPacket, code, query_attributes},
    session::{Fate, Pins},
    sql::{Dialect, Effects, Kind, Statement, sets_only_tracking},
    telemetry::Pin,
};

impl Session {
    /// Learns from the connection that ran a request what its reply did not tell, and its text if that is `unread`. `before`
    /// is what pinned the session then. None: the connection broke, and is gone.
    pub async fn inquire(
        &mut self,
        mut held: Held,
        request: &Request<'_>,
        exchanged: &Exchanged,
        before: Pins,
        unread: bool,
    ) -> Result<Option<Held>, End> {
        let statement = request.ran();
        let tracking = statement.effects.has(Effects::SESSION_TRACKING);
        if tracking && !self.only_tracks(request) {
            // What else it did was not reported, and what comes will not be.
            self.state.set_pin(Pin::SessionTracking, true);
        }
        let silent = self.is_silent(&statement, exchanged, before);
        let unclear = self.state.insert_id().is_none() && self.state.fate() == Fate::Return;
        if !silent && !unclear && !unread && !tracking && !self.state.collation_unknown() {
            return Ok(Some(held));
        }
        let ask = async {
            if unread {
                self.ask_about_text(&mut held, request, exchanged).await?;
            }
            self.ask(&mut held, &statement, exchanged, silent).await
        };
        let asked = timeout(OWN_COMMAND, ask).await;
        match asked.unwrap_or(Err(ConnectError::Timeout(OWN_COMMAND))) {
            Ok(()) => Ok(Some(held)),
            Err(cause) => {
                tracing::info!(server = %held.server.id, %cause, "a server connection broke after a reply");
                let pinned = self.state.fate() != Fate::Return;
                held.lease.discard();
                self.state.lose_connection();
                self.statements.lose_cursors();
                if pinned { Err(End::Client) } else { Ok(None) }
            }
        }
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
        let chosen = connection.ask_tracking(&scratch).await?;
        if chosen.is_part_of_all() && !self.state.pins().has(Pin::SessionTracking) {
            self.tracking = Some(Arc::new(chosen));
            return connection.track_all(&scratch).await;
        }
        self.state.set_pin(Pin::SessionTracking, true);
        Ok(())
    }

    /// Whether the reply may have left out what the statement changed.
    fn is_silent(&self, statement: &Statement<'_>, exchanged: &Exchanged, before: Pins) -> bool {
        let harmless = statement.kind == Kind::Read && statement.effects == Effects::NONE;
        match exchanged.error {
            Some(_) => !harmless || !self.state.autocommit() || !before.is_empty(),
            None => exchanged.ended_by_eof && statement.kind.may_run_stored_code(statement.effects),
        }
    }

    async fn ask(
        &mut self,
        held: &mut Held,
        statement: &Statement<'_>,
        exchanged: &Exchanged,
        silent: bool,
    ) -> Result<(), ConnectError> {
        if statement.effects.has(Effects::SESSION_TRACKING) {
            self.follow_tracking(held).await?;
        }
        if silent {
            let stored_code = statement.kind.may_run_stored_code(statement.effects);
            let failed = exchanged.error.is_some();
            held.lease.connection_mut().mark_dirty();
            self.observe_command(held, statement, &[&[code::PING]]).await?;
            // MariaDB keeps what failed code, or the part of a SET that did not fail, has changed for its next report, and a
            // ping reports nothing.
            let mute = held.lease.connection().dialect() == Dialect::MariaDb && self.state.fate() == Fate::Return;
            if failed && (stored_code || statement.kind == Kind::Set) && mute {
                let capabilities = held.lease.connection().capabilities;
                let [begin, rollback] =
                    ["BEGIN", "ROLLBACK"].map(|sql| query_attributes::query(capabilities, sql.as_bytes()));
                self.observe_command(held, statement, &[&begin, &rollback]).await?;
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
        held: &mut Held,
        statement: &Statement<'_>,
        commands: &[&[u8]],
    ) -> Result<(), ConnectError> {
        let scratch = self.worker.scratch.clone();
        // What a `SET` left behind that failed is not what its text says.
        let effects = statement.effects.without(Effects::VARIABLE_LITERAL);
        for payload in held.lease.connection_mut().told(commands, &scratch).await? {
            self.state.observe(&OkPacket::parse(&payload)?, statement.kind, effects);
        }
        Ok(())
    }
}
