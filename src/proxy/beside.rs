//! What is done about a running statement over a second connection to its server: it is stopped, or asked about.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{Worker, session::Session};
use crate::backend::{ConnectError, Identity, Place, Server, ServerConnection};

impl Session {
    /// What can be done about the statement that runs on a connection.
    pub fn beside<'a>(&self, server: &'a Arc<Server>, connection: &ServerConnection) -> Beside<'a> {
        let (thread, peer) = (connection.thread, connection.peer);
        Beside { server, identity: self.identity.clone(), thread, peer, worker: self.worker.clone() }
    }
}

/// A second way to the server that has a thread.
pub struct Beside<'a> {
    server: &'a Arc<Server>,
    identity: Arc<Identity>,
    thread: u32,
    peer: Option<SocketAddr>,
    worker: Rc<Worker>,
}

impl Beside<'_> {
    /// Sends a `KILL QUERY`. Whoever uses the connection for something else must wait for the end of this first, or the
    /// next statement is killed.
    pub fn kill(&self) -> JoinHandle<()> {
        let (order, thread) = (self.order(), self.thread);
        tokio::task::spawn_local(async move {
            let id = order.server.id.clone();
            if let Err(error) = order.run(&format!("KILL QUERY {thread}")).await {
                tracing::warn!(server = %id, %error, "a statement could not be killed on its server");
            }
        })
    }

    /// Asks whether the thread is there and at work; true if nobody knows.
    pub fn is_at_work(&self) -> JoinHandle<bool> {
        let (order, thread) = (self.order(), self.thread.to_string());
        tokio::task::spawn_local(async move {
            let id = order.server.id.clone();
            // Users see their own threads. The columns are the same everywhere: Id, User, Host, db, Command, …
            match order.run("SHOW PROCESSLIST").await {
                Ok(rows) => rows.iter().any(|row| {
                    let field = |place: usize| row.get(place).and_then(Option::as_deref);
                    field(0) == Some(thread.as_bytes()) && field(4) != Some(b"Sleep")
                }),
                Err(error) => {
                    tracing::warn!(server = %id, %error, "a server could not be asked for a statement");
                    true
                }
            }
        })
    }

    /// How long a server may pause in the middle of a reply before it is asked; None: for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.worker.config().timeouts.server_silence
    }

    fn order(&self) -> Order {
        let Self { server, identity, peer, worker, .. } = self;
        Order { server: (*server).clone(), identity: identity.clone(), peer: *peer, worker: worker.clone() }
    }
}

/// One query over a connection that is opened for it.
struct Order {
    server: Arc<Server>,
    identity: Arc<Identity>,
    peer: Option<SocketAddr>,
    worker: Rc<Worker>,
}

impl Order {
    async fn run(self, sql: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ConnectError> {
        let Self { server, identity, peer, worker } = self;
        let links = worker.cluster().links.clone();
        // The name may lead to another server by now, whose threads are others.
        let place = Place { address: &server.address, peer };
        let mut connection = ServerConnection::open(place, identity, &links, &worker.scratch, Instant::now()).await?;
        let limit = links.connect_timeout;
        let reply = tokio::time::timeout(limit, connection.query(sql, &worker.scratch)).await;
        Ok(reply.map_err(|_| ConnectError::Timeout(limit))??.rows)
    }
}
