//! What is done about a running statement over a second connection to its server: it is stopped, or asked about.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{Worker, session::Session, worker::Snapshot};
use crate::backend::{ConnectError, Identity, Place, Server, ServerConnection};

impl Session {
    /// What can be done about the statement that runs on a connection.
    pub fn beside<'a>(&self, server: &'a Arc<Server>, connection: &ServerConnection) -> Beside<'a> {
        let ServerConnection { thread, peer, instance, .. } = *connection;
        Beside { server, identity: self.identity.clone(), thread, peer, instance, worker: self.worker.clone() }
    }
}

/// A second way to the server that has a thread.
pub struct Beside<'a> {
    server: &'a Arc<Server>,
    identity: Snapshot<Identity>,
    thread: u32,
    peer: Option<SocketAddr>,
    instance: u64,
    worker: Rc<Worker>,
}

impl Beside<'_> {
    /// Sends a `KILL QUERY`. Whoever uses the connection for something else must wait for the end of this first, or the
    /// next statement is killed.
    pub fn kill(&self) -> JoinHandle<()> {
        self.send(format!("KILL QUERY {}", self.thread))
    }

    /// Ends the thread, which would not hear that its connection is closed.
    pub fn kill_thread(&self) -> JoinHandle<()> {
        self.send(format!("KILL {}", self.thread))
    }

    fn send(&self, sql: String) -> JoinHandle<()> {
        let order = self.order();
        tokio::task::spawn_local(async move {
            let id = order.server.id.clone();
            if let Err(error) = order.run(&sql).await {
                tracing::warn!(server = %id, %error, "a statement could not be killed on its server");
            }
        })
    }

    /// Asks whether the thread is there and at work; true if nobody knows. A server whose thread pool is so full that
    /// the statement waits for its turn there says that it is not, if it finds a turn for the question.
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

    /// How long a server may be silent before it is asked; None: for ever.
    pub fn patience(&self) -> Option<Duration> {
        self.worker.config().timeouts.server_silence
    }

    fn order(&self) -> Order {
        let (server, identity, worker) = (self.server.clone(), Arc::clone(&self.identity), self.worker.clone());
        Order { server, identity, peer: self.peer, instance: self.instance, worker }
    }
}

/// One query over a connection that is opened for it.
struct Order {
    server: Arc<Server>,
    identity: Arc<Identity>,
    peer: Option<SocketAddr>,
    instance: u64,
    worker: Rc<Worker>,
}

impl Order {
    async fn run(self, sql: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>, ConnectError> {
        let Self { server, identity, peer, instance, worker } = self;
        let links = worker.cluster().links.clone();
        // The name may lead to another server by now, whose threads are others.
        let place = Place { address: &server.address, peer };
        let mut connection = ServerConnection::open(place, identity, &links, &worker.scratch, Instant::now()).await?;
        if connection.instance != instance {
            return Err(ConnectError::Another);
        }
        let limit = links.connect_timeout;
        let reply = tokio::time::timeout(limit, connection.query(sql, &worker.scratch)).await;
        Ok(reply.map_err(|_| ConnectError::Timeout(limit))??.rows)
    }
}
