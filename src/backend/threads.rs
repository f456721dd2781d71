//! The ids that a server gives to the connections of its pool, and who has each of them: whom a `KILL` of one means.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use super::ServerConnection;

/// The connections of one pool that are open.
#[derive(Debug, Default)]
pub struct Threads {
    open: Mutex<BTreeMap<u32, Arc<AtomicU32>>>,
}

/// A connection's place among them, which it leaves when this is dropped.
#[derive(Debug)]
pub struct Thread {
    threads: Arc<Threads>,
    id: u32,
    /// The session that has it now.
    session: Arc<AtomicU32>,
}

impl Threads {
    /// Enters a connection that nobody has yet.
    pub fn enter(self: &Arc<Self>, id: u32) -> Thread {
        let session = Arc::new(AtomicU32::new(ServerConnection::NOBODY));
        // A server that has restarted counts anew, before all of its old connections are known to be gone.
        self.open().insert(id, session.clone());
        Thread { threads: self.clone(), id, session }
    }

    /// The session that has a connection, or [`ServerConnection::NOBODY`]; None: the pool has no such connection.
    pub fn session_of(&self, id: u32) -> Option<u32> {
        self.open().get(&id).map(|session| session.load(Relaxed))
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<AtomicU32>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Thread {
    fn is_used_by(&self, session: u32) {
        self.session.store(session, Relaxed);
    }
}

impl ServerConnection {
    /// Says which session has it from now on, or [`Self::NOBODY`].
    pub fn is_used_by(&self, session: u32) {
        if let Some(entry) = &self.entry {
            entry.is_used_by(session);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let mut open = self.threads.open();
        if open.get(&self.id).is_some_and(|session| Arc::ptr_eq(session, &self.session)) {
            open.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_whose_it_is_now() {
        let threads = Arc::<Threads>::default();
        assert_eq!(threads.session_of(7), None);
        let old = threads.enter(7);
        assert_eq!(threads.session_of(7), Some(ServerConnection::NOBODY));
        old.is_used_by(1);
        assert_eq!(threads.session_of(7), Some(1));
        // The server has restarted, and gives the number to another one.
        let new = threads.enter(7);
        new.is_used_by(2);
        old.is_used_by(3);
        drop(old);
        assert_eq!(threads.session_of(7), Some(2));
        drop(new);
        assert_eq!(threads.session_of(7), None);
    }
}
