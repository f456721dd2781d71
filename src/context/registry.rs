//! The sessions that are there, so that operators can see them and clients can kill them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::SessionView;
use crate::{
    backend::Server,
    protocol::login::Attributes,
    telemetry::{Pin, Reason},
};

/// The smallest id of a session. No server counts its connections that far, so that an id of Weir's that reaches a
/// server, as from inside a procedure, names nobody there, nor does a server's id name one of Weir's sessions. There is
/// a bit above it for the clients that take ids for signed.
const FIRST: u32 = 1 << 30;

/// So many characters of a program's name are kept.
const MOST_OF_PROGRAM: usize = 64;

/// Every session by its id.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<BTreeMap<u32, Arc<SessionHandle>>>,
    /// How many there were.
    entered: AtomicU32,
}

/// A session as others see it.
#[derive(Debug)]
pub struct SessionHandle {
    pub id: u32,
    pub client: String,
    live: Mutex<Live>,
    /// What it was asked: a bit for each [`Kill`].
    kill: AtomicU8,
    /// Something was asked, or there is something to look at.
    called: AtomicBool,
    /// Wakes the session's task.
    waker: Mutex<Option<Waker>>,
}

#[derive(Debug, Clone)]
struct Live {
    user: String,
    /// What the client calls itself: its connection attribute `program_name`.
    program: Option<String>,
    schema: Option<String>,
    phase: &'static str,
    since: Instant,
    /// The last one.
    server: Option<Arc<Server>>,
    /// It runs a statement there, or holds one of its connections.
    on_server: bool,
    /// Where it keeps connections for cursors.
    cursors: Vec<Arc<Server>>,
    pin: Option<Pin>,
    reason: Option<Reason>,
    statements: u64,
}

impl Live {
    fn is_on(&self, server: &Arc<Server>) -> bool {
        self.server.as_ref().is_some_and(|last| Arc::ptr_eq(last, server))
    }

    fn keeps<'a>(&mut self, pin: Option<Pin>, cursors: impl Iterator<Item = &'a Arc<Server>>) {
        self.pin = pin;
        self.cursors.clear();
        self.cursors.extend(cursors.cloned());
    }

    fn has_run_since(&self, before: Instant) -> bool {
        self.phase == RUNNING && self.since <= before
    }
}

/// The phase of a session whose statement is on a server.
const RUNNING: &str = "running";

/// What a session was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// The statement it runs.
    Query = 1,
    /// Itself.
    Session = 2,
    /// Itself once it holds no transaction: Weir is shutting down.
    Drain = 4,
    /// Itself, because Weir or the server whose connection it holds goes away.
    Shutdown = 8,
}

impl Registry {
    /// Enters a session under the next free id.
    pub fn enter(self: &Arc<Self>, client: String) -> Entry {
        let mut sessions = self.sessions();
        let id = loop {
            let id = FIRST + self.entered.fetch_add(1, Relaxed) % FIRST;
            if !sessions.contains_key(&id) {
                break id;
            }
        };
        let live = Live {
            user: String::new(),
            program: None,
            schema: None,
            phase: "login",
            since: Instant::now(),
            server: None,
            on_server: false,
            cursors: Vec::new(),
            pin: None,
            reason: None,
            statements: 0,
        };
        let handle = SessionHandle {
            id,
            client,
            live: Mutex::new(live),
            kill: AtomicU8::new(0),
            called: AtomicBool::new(false),
            waker: Mutex::default(),
        };
        let handle = Arc::new(handle);
        sessions.insert(id, handle.clone());
        Entry { registry: self.clone(), handle }
    }

    /// Whether an id is one that sessions get, and servers do not.
    pub fn may_give(&self, id: u32) -> bool {
        (FIRST..2 * FIRST).contains(&id)
    }

    pub fn find(&self, id: u32) -> Option<Arc<SessionHandle>> {
        self.sessions().get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<SessionHandle>> {
        self.sessions().values().cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.sessions().len()
    }

    /// Makes those look whose statement has run since `before`.
    pub fn wake_long(&self, before: Instant) {
        self.sessions().values().filter(|handle| handle.live().has_run_since(before)).for_each(|handle| handle.wake());
    }

    /// The sessions of one user.
    pub fn count_of(&self, user: &str) -> usize {
        self.sessions().values().filter(|handle| handle.live().user == user).count()
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<SessionHandle>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place in the registry, which it leaves when this is dropped.
#[derive(Debug)]
pub struct Entry {
    registry: Arc<Registry>,
    pub handle: Arc<SessionHandle>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.sessions().remove(&self.handle.id);
    }
}

impl SessionHandle {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client is who it says, and waits with its first statement.
    pub fn logged_in(&self, user: &str, schema: Option<&[u8]>, attributes: &Attributes, now: Instant) {
        let mut live = self.live();
        let program = attributes.value(b"program_name").map(String::from_utf8_lossy);
        live.program = program.map(|name| name.chars().take(MOST_OF_PROGRAM).collect());
        live.user = user.to_owned();
        live.schema = schema.map(|name| String::from_utf8_lossy(name).into_owned());
        live.phase = "idle";
        live.since = now;
    }

    pub fn statement_begins(&self, reason: Reason, server: &Arc<Server>, now: Instant) {
        let mut live = self.live();
        live.phase = RUNNING;
        live.since = now;
        live.on_server = true;
        if !live.is_on(server) {
            live.server = Some(server.clone());
        }
        live.reason = Some(reason);
        live.statements += 1;
    }

    /// The statement is over; `held`: the server whose connection the session holds. For the rest see [`Self::keeps`].
    pub fn statement_ends<'a>(
        &self,
        schema: Option<&[u8]>,
        held: Option<&Arc<Server>>,
        pin: Option<Pin>,
        cursors: impl Iterator<Item = &'a Arc<Server>>,
        now: Instant,
    ) {
        let mut live = self.live();
        live.phase = "idle";
        live.since = now;
        live.on_server = held.is_some();
        if let Some(held) = held.filter(|held| !live.is_on(held)) {
            live.server = Some(held.clone());
        }
        live.keeps(pin, cursors);
        if live.schema.as_deref().map(str::as_bytes) != schema {
            live.schema = schema.map(|name| String::from_utf8_lossy(name).into_owned());
        }
    }

    /// Why it shares less than it could, and the servers whose connections it keeps for `cursors`.
    pub fn keeps<'a>(&self, pin: Option<Pin>, cursors: impl Iterator<Item = &'a Arc<Server>>) {
        self.live().keeps(pin, cursors);
    }

    pub fn user(&self) -> String {
        self.live().user.clone()
    }

    pub fn view(&self, now: Instant) -> SessionView {
        let mut live = self.live().clone();
        SessionView {
            id: self.id,
            user: live.user,
            program: live.program,
            client: self.client.clone(),
            schema: live.schema,
            phase: live.phase,
            since: now.saturating_duration_since(live.since),
            server: live.server.filter(|_| live.on_server).or(live.cursors.pop()).map(|server| server.id.to_string()),
            pin: live.pin.map(Pin::label),
            decision: live.reason.map_or_else(String::new, |reason| reason.label().to_owned()),
            statements: live.statements,
        }
    }

    /// Asks the session to stop something.
    pub fn kill(&self, what: Kill) {
        self.kill.fetch_or(what as u8, Relaxed);
        self.wake();
    }

    /// The strongest of what was asked. A request to kill the statement is answered once.
    pub fn asked(&self) -> Option<Kill> {
        let asked = self.kill.load(Relaxed);
        let strongest = [Kill::Shutdown, Kill::Session, Kill::Query, Kill::Drain];
        let what = strongest.into_iter().find(|what| asked & *what as u8 != 0)?;
        if what == Kill::Query {
            self.kill.fetch_and(!(what as u8), Relaxed);
        }
        Some(what)
    }

    /// Makes a running statement look whether its server is still alive and at work.
    pub fn wake(&self) {
        self.called.store(true, Release);
        if let Some(waker) = &*self.waker() {
            waker.wake_by_ref();
        }
    }

    /// Whether it runs a statement on a server, holds one of its connections, or keeps one for a cursor.
    pub fn holds(&self, server: &Arc<Server>) -> bool {
        let live = self.live();
        live.on_server && live.is_on(server) || live.cursors.iter().any(|kept| Arc::ptr_eq(kept, server))
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What others ask of a session, as the session itself waits for it. It does so several times in each statement, so that
/// it hands over its waker only when that has changed.
#[derive(Debug)]
pub struct Calls {
    handle: Arc<SessionHandle>,
    /// The waker that the handle has.
    known: RefCell<Option<Waker>>,
}

impl Calls {
    pub fn new(entry: &Entry) -> Self {
        Self { handle: entry.handle.clone(), known: RefCell::default() }
    }

    /// Waits until the session was called. Cancel-safe: a call that comes while nobody waits is kept.
    pub async fn called(&self) {
        poll_fn(|cx| self.poll_called(cx)).await;
    }

    fn poll_called(&self, cx: &Context<'_>) -> Poll<()> {
        let mut known = self.known.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *known = Some(cx.waker().clone());
            self.handle.waker().clone_from(&known);
        }
        let called = &self.handle.called;
        if called.load(Acquire) && called.swap(false, AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// [`SessionHandle::asked`].
    pub fn asked(&self) -> Option<Kill> {
        self.handle.asked()
    }

    /// Waits until a statement that has not reached a server is to be given up: everything but a drain, which lets it run.
    /// Cancel-safe, as [`Self::called`].
    pub async fn stopped(&self) -> Kill {
        loop {
            self.called().await;
            match self.asked() {
                Some(Kill::Drain) | None => {}
                Some(what) => return what,
            }
        }
    }
}

#[cfg(test)]
mod tests;
