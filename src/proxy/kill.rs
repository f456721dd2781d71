//! `KILL` names Weir's ids: who may stop whom, and how a statement on a server is stopped.

use std::{rc::Rc, sync::Arc, time::Instant};

use tokio::task::JoinHandle;

use super::{
    Worker,
    session::{End, Session},
};
use crate::{
    backend::{ConnectError, Identity, Server, ServerConnection},
    context::Kill,
    protocol::ServerError,
    sql::{self, Victim},
};

impl Session {
    /// Runs a text that has a `KILL`; None: it names no session, and is the server's business.
    pub async fn kill_by_text(&mut self, sql: &[u8]) -> Option<Result<(), End>> {
        match sql::victim(sql, self.mode()) {
            Victim::Session(id) => Some(self.kill(id, Kill::Session).await),
            Victim::Query(id) => Some(self.kill(id, Kill::Query).await),
            Victim::Other => None,
            // The server would take one of Weir's ids for one of its own.
            Victim::Unclear => Some(self.send_error(&unclear_kill()).await),
        }
    }

    /// Kills a session of this Weir. Users may kill what is theirs.
    pub async fn kill(&mut self, id: u64, what: Kill) -> Result<(), End> {
        let found = u32::try_from(id).ok().and_then(|id| self.worker.context.sessions.find(id));
        match found {
            None => self.send_error(&ServerError::unknown_thread(id)).await,
            Some(handle) if handle.user() != *self.identity.user => {
                self.send_error(&ServerError::kill_denied(id)).await
            }
            // Whoever kills himself is interrupted in it.
            Some(handle) if handle.id == self.entry.handle.id => match what {
                Kill::Query => self.send_error(&ServerError::interrupted()).await,
                Kill::Session | Kill::Drain | Kill::Shutdown => Err(End::Error(ServerError::interrupted())),
            },
            Some(handle) => {
                handle.kill(what);
                self.send_ok().await
            }
        }
    }

    /// What stops the statement that runs on `thread` of a server.
    pub fn killer<'a>(&self, server: &'a Arc<Server>, thread: u32) -> Killer<'a> {
        Killer { server, identity: self.identity.clone(), thread, worker: self.worker.clone() }
    }
}

/// The answer to a `KILL` of which only the server could say whom it names.
pub fn unclear_kill() -> ServerError {
    ServerError::not_supported("KILL of anything but one number, or beside other statements")
}

/// Stops a statement over a connection of its own.
pub struct Killer<'a> {
    server: &'a Arc<Server>,
    identity: Arc<Identity>,
    thread: u32,
    worker: Rc<Worker>,
}

impl Killer<'_> {
    /// Sends the `KILL QUERY`. Whoever uses the connection for something else must wait for the end of this first, or the
    /// next statement is killed.
    pub fn kill(&self) -> JoinHandle<()> {
        let Self { server, identity, thread, worker } = self;
        let (server, identity, thread, worker) = ((*server).clone(), identity.clone(), *thread, worker.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = kill_query(&server, identity, thread, &worker).await {
                tracing::warn!(server = %server.id, %error, "a statement could not be killed on its server");
            }
        })
    }
}

async fn kill_query(
    server: &Server,
    identity: Arc<Identity>,
    thread: u32,
    worker: &Worker,
) -> Result<(), ConnectError> {
    let links = worker.cluster().links.clone();
    let scratch = &worker.scratch;
    let mut connection = ServerConnection::open(&server.address, identity, &links, scratch, Instant::now()).await?;
    let sql = format!("KILL QUERY {thread}");
    let limit = links.connect_timeout;
    let killed = tokio::time::timeout(limit, connection.query(&sql, scratch)).await;
    killed.map_err(|_| ConnectError::Timeout(limit))?.map(drop)
}
