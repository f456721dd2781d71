//! `KILL` names Weir's ids: who may stop whom. How a statement is stopped on its server is `beside`'s business.

use std::sync::Arc;

use super::session::{End, Session};
use crate::{
    config::Route,
    context::{Kill, SessionHandle},
    protocol::ServerError,
    sql::{self, Victim},
};

impl Session {
    /// Runs a text that has a `KILL`; None: it names no session, and is the server's business.
    pub async fn kill_by_text(&mut self, sql: &[u8]) -> Option<Result<(), End>> {
        let own = self.entry.handle.id.into();
        match sql::victim(sql, self.mode()) {
            Victim::OwnSession => Some(self.kill(own, Kill::Session).await),
            Victim::OwnQuery => Some(self.kill(own, Kill::Query).await),
            Victim::Session(id) => Some(self.kill(id, Kill::Session).await),
            Victim::Query(id) => Some(self.kill(id, Kill::Query).await),
            Victim::Other => None,
            // The server would take one of Weir's ids for one of its own.
            Victim::Unclear => Some(self.send_error(&unclear_kill()).await),
        }
    }

    /// The session with an id of Weir's, or with one of the writer's connections, if that is what the session knows. Any
    /// other connection of a server may be somebody else's by now.
    fn named(&self, id: u32) -> Option<Arc<SessionHandle>> {
        let sessions = &self.worker.context.sessions;
        sessions.find(id).or_else(|| {
            let cluster = self.worker.cluster();
            let place = match &self.route {
                Route::Server(server) => cluster.place_of(server.as_str().as_bytes()),
                _ => cluster.writer(),
            };
            sessions.find_known_by(&cluster.members.get(place?)?.server, id)
        })
    }

    /// Kills a session of this Weir. Users may kill what is theirs.
    pub async fn kill(&mut self, id: u64, what: Kill) -> Result<(), End> {
        let found = u32::try_from(id).ok().and_then(|id| self.named(id));
        match found {
            None => self.send_error(&ServerError::unknown_thread(id)).await,
            Some(handle) if handle.user() != *self.identity.user => {
                self.send_error(&ServerError::kill_denied(id)).await
            }
            // Whoever kills himself is interrupted in it.
            Some(handle) if handle.id == self.entry.handle.id => match what {
                Kill::Query => self.send_error(&ServerError::interrupted()).await,
                Kill::Session | Kill::Drain | Kill::Shutdown => {
                    Err(End::Error(ServerError::connection_killed(self.mode().dialect)))
                }
            },
            Some(handle) => {
                handle.kill(what);
                self.send_ok().await
            }
        }
    }
}

/// The answer to a `KILL` of which only the server could say whom it names.
pub fn unclear_kill() -> ServerError {
    ServerError::not_supported("KILL of anything but one number, or beside other statements")
}
