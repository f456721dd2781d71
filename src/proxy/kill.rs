//! `KILL` names Weir's ids: who may stop whom. How a statement is stopped on its server is `beside`'s business.

use std::sync::Arc;

use tokio::time::timeout;

use super::{
    request::Request,
    session::{End, OWN_COMMAND, Session},
};
use crate::{
    backend::{Server, ServerConnection},
    context::{Kill, SessionHandle},
    protocol::{ServerError, Shape, query_attributes},
    routing::{self, Implicit, Situation, Target},
    sql::{self, Effects, Kind, Statement, Victim},
    telemetry::Pin,
};

const KILL: Statement<'static> = Statement { kind: Kind::Kill, effects: Effects::KILL, hint: None };

/// Asks whether the account may kill what is another's: in MySQL, in MariaDB, and of old in both.
const MAY_KILL_ALL: &str = "SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES \
    WHERE PRIVILEGE_TYPE IN ('CONNECTION_ADMIN','CONNECTION ADMIN','SUPER') \
    AND GRANTEE=CONCAT('''',REPLACE(CURRENT_USER(),'@','''@'''),'''')";

/// What an id names.
enum Named {
    Session(Arc<SessionHandle>),
    /// A connection of a server's pool, which no session has.
    Idle(Arc<Server>),
    /// A connection to the server that is not Weir's.
    Foreign,
    Nobody,
}

impl Session {
    /// Runs a text that has a `KILL`; None: it names nothing of Weir's, and is the server's business.
    pub async fn kill_by_text(&mut self, statement: &Statement<'_>, sql: &[u8]) -> Option<Result<(), End>> {
        let own = self.entry.handle.id.into();
        let (id, what) = match sql::victim(sql, self.mode()) {
            Victim::OwnSession => (own, Kill::Session),
            Victim::OwnQuery => (own, Kill::Query),
            Victim::Session(id) => (id, Kill::Session),
            Victim::Query(id) => (id, Kill::Query),
            Victim::Other => return None,
            // The server would take one of Weir's ids for one of its own.
            Victim::Unclear => return Some(self.send_error(&unclear_kill()).await),
        };
        match self.named(id, statement) {
            Named::Foreign => None,
            named => Some(self.kill(named, id, what).await),
        }
    }

    /// Runs `COM_PROCESS_KILL`, which MySQL does not know any more.
    pub async fn kill_by_command(&mut self, id: u32) -> Result<(), End> {
        match self.named(id.into(), &KILL) {
            Named::Foreign => {
                let sql = format!("KILL {id}");
                let payload = query_attributes::query(self.capabilities, sql.as_bytes());
                let plain = Request::plain(&payload, Shape::Results, KILL);
                self.run(&mut Request { sql: sql.as_bytes(), ..plain }).await
            }
            named => self.kill(named, id.into(), Kill::Session).await,
        }
    }

    /// What an id names: a session, by Weir's id or by that of the connection which it has at this moment. A server's ids
    /// are those of the server that would run the `KILL`, as it runs the session's `SHOW PROCESSLIST`.
    fn named(&self, id: u64, statement: &Statement<'_>) -> Named {
        let Ok(id) = u32::try_from(id) else { return Named::Foreign };
        let sessions = &self.worker.context.sessions;
        if let Some(handle) = sessions.find(id) {
            return Named::Session(handle);
        }
        let Some(server) = self.killing_server(statement) else { return Named::Nobody };
        match server.pool.session_of(id) {
            None if sessions.may_give(id) => Named::Nobody,
            None => Named::Foreign,
            Some(ServerConnection::NOBODY) => Named::Idle(server),
            Some(session) => sessions.find(session).map_or(Named::Nobody, Named::Session),
        }
    }

    /// The server that would run a `KILL`; None: there is none, or it could be one as well as another.
    fn killing_server(&self, statement: &Statement<'_>) -> Option<Arc<Server>> {
        let held = self.pin().filter(|pin| *pin != Pin::Diagnostics);
        let situation = Situation { route: &self.route, held, transaction: Implicit::None };
        let cluster = self.worker.cluster();
        let place = match routing::route(&situation, statement, None).target {
            Target::Held => return self.held.as_ref().map(|held| held.server.clone()),
            Target::Writer | Target::Any => cluster.writer(),
            Target::Server(name) => cluster.place_of(name),
            Target::Reader | Target::Group(_) | Target::Reject => None,
        };
        Some(cluster.members.get(place?)?.server.clone())
    }

    /// Kills what is Weir's. Users may kill what is theirs, and some what is others'.
    async fn kill(&mut self, named: Named, id: u64, what: Kill) -> Result<(), End> {
        let handle = match named {
            Named::Session(handle) => handle,
            Named::Idle(server) => return self.kill_idle(&server, id, what).await,
            Named::Foreign | Named::Nobody => return self.send_error(&ServerError::unknown_thread(id)).await,
        };
        // Whoever kills himself is interrupted in it.
        if handle.id == self.entry.handle.id {
            return match what {
                Kill::Query => self.send_error(&ServerError::interrupted()).await,
                Kill::Session | Kill::Drain | Kill::Shutdown => {
                    Err(End::Error(ServerError::connection_killed(self.mode().dialect)))
                }
            };
        }
        if handle.user() != *self.identity.user && !self.may_kill_all().await? {
            return self.send_error(&ServerError::kill_denied(id)).await;
        }
        handle.kill(what);
        self.send_ok().await
    }

    /// Closes a connection that no session has. It runs no query that could be killed.
    async fn kill_idle(&mut self, server: &Server, id: u64, what: Kill) -> Result<(), End> {
        let user = self.identity.user.clone();
        let close = |user| u32::try_from(id).is_ok_and(|thread| server.pool.close_idle(thread, user));
        let done = what == Kill::Query || close(Some(&user)) || self.may_kill_all().await? && close(None);
        match done {
            true => self.send_ok().await,
            false => self.send_error(&ServerError::unknown_thread(id)).await,
        }
    }

    /// Whether the servers would let the session's user kill what is others'.
    async fn may_kill_all(&mut self) -> Result<bool, End> {
        let Some(mut lease) = self.borrow().await? else { return Ok(false) };
        let connection = lease.connection_mut();
        connection.mark_dirty();
        connection.last_session = ServerConnection::WEIR;
        let asked = timeout(OWN_COMMAND, connection.query(MAY_KILL_ALL, &self.worker.scratch)).await;
        let Ok(Ok(reply)) = asked else { return Ok(false) };
        connection.prove_clean();
        let count = reply.rows.into_iter().flatten().flatten().next();
        Ok(count.is_some_and(|count| count != b"0"))
    }
}

/// The answer to a `KILL` of which only the server could say whom it names.
pub fn unclear_kill() -> ServerError {
    ServerError::not_supported("KILL of anything but one number, or beside other statements")
}
