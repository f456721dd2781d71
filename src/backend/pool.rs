//! The pool of one server: [`Shelf`]'s bookkeeping with real connections and tasks that wait.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    ConnectError, Identity, Links, Place, PreparedText, ServerConnection,
    shelf::{Ages, LAST_RESORT, Put, Shelf, Take},
    threads::Threads,
};
use crate::{
    config::Address,
    net::Scratch,
    session::Settings,
    telemetry::{ServerMetrics, Tally},
};

/// One server's connections. Shared by all workers; the lock is held for a few instructions and never across a wait.
#[derive(Debug)]
pub struct Pool {
    address: Address,
    metrics: Arc<ServerMetrics>,
    shelf: Mutex<Shelf<Box<ServerConnection>, oneshot::Sender<Grant>>>,
    threads: Arc<Threads>,
}

/// What a waiter gets.
#[derive(Debug)]
enum Grant {
    Connection(Lease),
    Permit(Permit),
}

/// What a session gets at once.
enum Taken {
    Use(Box<ServerConnection>),
    /// Open one; the connection in it must be closed to make room.
    Open(Option<Box<ServerConnection>>),
    /// A place in the queue.
    Turn(oneshot::Receiver<Grant>),
}

/// What a session looks for in a connection.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub identity: &'a Arc<Identity>,
    pub settings: &'a Arc<Settings>,
    pub statement: Option<&'a Arc<PreparedText>>,
    pub worker: usize,
    /// The id of the session that looks.
    pub session: u32,
}

/// Why no connection was had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("every connection to the server was in use until the deadline")]
    Exhausted,
    #[error("whoever asked for a connection is gone")]
    Abandoned,
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// How long a connection is left for its session to ask about its last statement.
const ASKED_BACK: Duration = Duration::from_secs(10);

impl Wish<'_> {
    /// How well a connection suits; None: it cannot be used.
    fn score(&self, connection: &ServerConnection) -> Option<u32> {
        if !connection.identity.fits(self.identity) || !connection.settings.can_become(self.settings) {
            return None;
        }
        let worker = connection.worker == self.worker;
        let settings = Arc::ptr_eq(&connection.settings, self.settings) || connection.settings == *self.settings;
        let statement = self.statement.is_none_or(|text| connection.statements.has(text));
        let own = connection.last_session == self.session;
        if !own && connection.asked_back && connection.used.elapsed() < ASKED_BACK {
            return Some(LAST_RESORT);
        }
        if connection.settings.must_be_reset(self.settings) {
            return Some(LAST_RESORT + 1);
        }
        Some(LAST_RESORT + 2 + u32::from(worker) + 2 * u32::from(settings) + 4 * u32::from(statement))
    }

    const BEST: u32 = 9;
}

impl Pool {
    pub fn new(address: Address, metrics: Arc<ServerMetrics>, limit: u32, ages: Ages) -> Self {
        Self { address, metrics, shelf: Mutex::new(Shelf::new(limit, ages)), threads: Arc::default() }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<Box<ServerConnection>, oneshot::Sender<Grant>>> {
        // The bookkeeping does not panic half-way; a poisoned lock says nothing of its content.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Idle and used connections.
    pub fn counts(&self) -> (u32, u32) {
        let shelf = self.shelf();
        (shelf.idle_count(), shelf.used_count())
    }

    /// Whether a connection is to be had at once, unless somebody else is quicker.
    pub fn has_room(&self) -> bool {
        self.shelf().has_room()
    }

    pub fn set_limits(self: &Arc<Self>, limit: u32, ages: Ages) {
        let served = self.shelf().set_limits(limit, ages);
        for waiter in served {
            // A waiter that gave up drops the permit, which goes to the next one.
            drop(waiter.send(Grant::Permit(Permit(Some(self.clone())))));
        }
    }

    /// Closes idle connections now and the others when they come back. Who waits is told at once that there is none.
    pub fn close(&self) {
        let closed = self.shelf().close();
        drop(closed);
    }

    /// Closes idle connections now and the others when they come back, and lets new ones be opened: the way to the server
    /// has changed.
    pub fn renew(&self, now: Instant) {
        let idle = self.shelf().renew(now);
        drop(idle);
    }

    /// Closes idle connections: their server died.
    pub fn drop_idle(&self) {
        let idle = self.shelf().clear();
        drop(idle);
    }

    pub fn reopen(&self) {
        self.shelf().reopen();
    }

    /// Closes what was idle too long.
    pub fn expire(&self, now: Instant) {
        let expired = self.shelf().expire(now);
        drop(expired);
    }

    /// The session that has the connection which the server calls `thread`, or [`ServerConnection::NOBODY`]; None: it is
    /// no connection of this pool.
    pub fn session_of(&self, thread: u32) -> Option<u32> {
        self.threads.session_of(thread)
    }

    /// Closes the idle connection `thread`, if that is a `user`'s; None: whosever it is.
    pub fn close_idle(self: &Arc<Self>, thread: u32, user: Option<&str>) -> bool {
        let idle = self.shelf().take_that(|connection| {
            connection.thread == thread && user.is_none_or(|user| *connection.identity.user == *user)
        });
        let Some(connection) = idle else { return false };
        Lease::new(self, connection).discard();
        true
    }

    /// Leases an idle connection. None: no idle one is to be used.
    pub fn lease_idle(self: &Arc<Self>, wish: Wish<'_>) -> Option<Lease> {
        loop {
            let connection = self.shelf().take_idle(Wish::BEST, |connection| wish.score(connection))?;
            if let Some(lease) = self.bring(connection, wish.worker) {
                lease.connection().is_used_by(wish.session);
                return Some(lease);
            }
        }
    }

    /// Brings an idle connection to a worker. None: it was of no use any more, and is closed.
    fn bring(self: &Arc<Self>, mut connection: Box<ServerConnection>, worker: usize) -> Option<Lease> {
        // What has arrived is known where it was used last, so this comes before it moves.
        let fit = connection.packets.is_quiet() && connection.move_to(worker).is_ok();
        let lease = Lease::new(self, connection);
        if fit {
            return Some(lease);
        }
        lease.discard();
        None
    }

    /// Leases a connection: an idle one, a new one, or the next that comes back before `deadline`.
    pub async fn lease(
        self: &Arc<Self>,
        wish: Wish<'_>,
        links: &Links,
        scratch: &Scratch,
        deadline: Instant,
        waits: &Tally,
    ) -> Result<Lease, LeaseError> {
        let lease = loop {
            match self.take(wish) {
                Taken::Use(connection) => {
                    if let Some(lease) = self.bring(connection, wish.worker) {
                        break lease;
                    }
                }
                Taken::Open(closed) => {
                    let permit = Permit(Some(self.clone()));
                    if let Some(mut closed) = closed {
                        closed.retire(wish.worker, links, scratch).await;
                    }
                    break self.open(permit, wish, links, scratch).await?;
                }
                Taken::Turn(turn) => {
                    waits.inc();
                    match await_turn(turn, deadline).await? {
                        Grant::Permit(permit) => break self.open(permit, wish, links, scratch).await?,
                        Grant::Connection(mut lease) => {
                            let connection = lease.connection_mut();
                            if wish.score(connection).is_some() && connection.move_to(wish.worker).is_ok() {
                                break lease;
                            }
                            connection.retire(wish.worker, links, scratch).await;
                            let permit = lease.into_permit();
                            break self.open(permit, wish, links, scratch).await?;
                        }
                    }
                }
            }
        };
        lease.connection().is_used_by(wish.session);
        Ok(lease)
    }

    /// Leases the idle connection `thread` again, if `session` was the last to use it.
    pub fn recall(self: &Arc<Self>, thread: u32, session: u32) -> Option<Lease> {
        let mut connection =
            self.shelf().take_that(|connection| connection.thread == thread && connection.last_session == session)?;
        let quiet = connection.packets.is_quiet();
        let lease = Lease::new(self, connection);
        if quiet {
            lease.connection().is_used_by(session);
            return Some(lease);
        }
        lease.discard();
        None
    }

    /// Takes a connection or a place in the queue, under one lock: what comes back in between would find nobody waiting.
    fn take(&self, wish: Wish<'_>) -> Taken {
        let mut shelf = self.shelf();
        match shelf.take(Wish::BEST, |connection| wish.score(connection)) {
            Take::Use(connection) => Taken::Use(connection),
            Take::Open(closed) => Taken::Open(closed),
            Take::Wait => {
                let (sender, receiver) = oneshot::channel();
                shelf.wait(sender, oneshot::Sender::is_closed);
                Taken::Turn(receiver)
            }
        }
    }

    async fn open(
        self: &Arc<Self>,
        mut permit: Permit,
        wish: Wish<'_>,
        links: &Links,
        scratch: &Scratch,
    ) -> Result<Lease, LeaseError> {
        let opened =
            ServerConnection::open(Place::of(&self.address), wish.identity.clone(), links, scratch, Instant::now())
                .await;
        let mut connection = opened.inspect_err(|_| self.metrics.connect_failures.inc())?;
        connection.worker = wish.worker;
        connection.entry = Some(self.threads.enter(connection.thread));
        self.metrics.connects.inc();
        permit.0 = None;
        Ok(Lease::new(self, Box::new(connection)))
    }

    fn put(self: &Arc<Self>, connection: Box<ServerConnection>) {
        connection.is_used_by(ServerConnection::NOBODY);
        let (opened, used) = (connection.opened, connection.used);
        let mut put = self.shelf().put(connection, opened, used);
        loop {
            match put {
                Put::Shelved => return,
                Put::Close(connection) => {
                    drop(connection);
                    return self.forget();
                }
                // A waiter that gave up in the meantime sends the lease back in the error; its drop would come here
                // again with the next waiter, so the connection is taken out and offered once more.
                Put::Give(waiter, connection) => match waiter.send(Grant::Connection(Lease::new(self, connection))) {
                    Ok(()) => return,
                    Err(Grant::Connection(lease)) => {
                        let Some(connection) = lease.into_connection() else { return };
                        put = self.shelf().put(connection, opened, used);
                    }
                    Err(Grant::Permit(_)) => return,
                },
            }
        }
    }

    fn forget(self: &Arc<Self>) {
        let mut waiter = self.shelf().forget();
        while let Some(next) = waiter {
            match next.send(Grant::Permit(Permit(Some(self.clone())))) {
                Ok(()) => return,
                Err(Grant::Permit(mut permit)) => {
                    permit.0 = None;
                    waiter = self.shelf().forget();
                }
                Err(Grant::Connection(_)) => return,
            }
        }
    }
}

async fn await_turn(turn: oneshot::Receiver<Grant>, deadline: Instant) -> Result<Grant, LeaseError> {
    match tokio::time::timeout_at(deadline.into(), turn).await {
        Ok(Ok(grant)) => Ok(grant),
        _ => Err(LeaseError::Exhausted),
    }
}

/// The right to open one connection, which is counted as open. Dropping it gives the right to someone else.
#[derive(Debug)]
struct Permit(Option<Arc<Pool>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.forget();
        }
    }
}

/// A session's use of one connection. Dropping it gives the connection back if it is proven clean, and closes it
/// otherwise.
#[derive(Debug)]
pub struct Lease {
    /// None only while it is being dropped.
    connection: Option<Box<ServerConnection>>,
    pool: Arc<Pool>,
}

impl Lease {
    fn new(pool: &Arc<Pool>, connection: Box<ServerConnection>) -> Self {
        Self { connection: Some(connection), pool: pool.clone() }
    }

    pub fn connection(&self) -> &ServerConnection {
        self.connection.as_deref().expect("a lease has its connection until it is dropped")
    }

    pub fn connection_mut(&mut self) -> &mut ServerConnection {
        self.connection.as_deref_mut().expect("a lease has its connection until it is dropped")
    }

    /// Closes the connection whatever its state.
    pub fn discard(mut self) {
        self.connection_mut().mark_dirty();
    }

    fn into_connection(mut self) -> Option<Box<ServerConnection>> {
        self.connection.take()
    }

    fn into_permit(self) -> Permit {
        let pool = self.pool.clone();
        drop(self.into_connection());
        Permit(Some(pool))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(connection) if connection.is_clean() => self.pool.put(connection),
            Some(connection) => {
                drop(connection);
                self.pool.forget();
            }
            None => {}
        }
    }
}
