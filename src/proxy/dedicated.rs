//! The server connections that a session keeps for itself; statements go where they would go anyway. While
//! `pool.multiplex = false`, there is one of every server that it has used, until the session ends, or the server is
//! drained or down. Else there are those on which it has a cursor open, until that is closed: one of a server, or two if
//! it wrote meanwhile and had to wait for the server to catch up.

use std::sync::Arc;

use super::session::{Held, Session};
use crate::{
    backend::{Cluster, Server, ServerConnection},
    net::Scratch,
    telemetry::Pin,
};

/// Connections that no other session gets, clean but for cursors.
#[derive(Default)]
pub struct Dedicated {
    kept: Vec<Held>,
    /// The session has been counted as one that shares nothing.
    counted: bool,
}

impl Dedicated {
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Why the session has connections here.
    pub fn pin(&self) -> Option<Pin> {
        match self.with_cursors().next() {
            Some(_) => Some(Pin::Cursor),
            None => (!self.is_empty()).then_some(Pin::Dedicated),
        }
    }

    /// The servers on which cursors are open.
    pub fn with_cursors(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.kept.iter().filter(|held| held.lease.connection().has_cursor()).map(|held| &held.server)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.kept.iter_mut()
    }

    /// Takes the connection of a server, if it is alive and still suits the session.
    pub fn take(&mut self, server: &Arc<Server>, suits: impl Fn(&ServerConnection) -> bool) -> Option<Held> {
        let suits = |held: &Held| suits(held.lease.connection());
        // One that does not suit is of no use any more but for its cursors.
        let mut held = self.take_that(|held| {
            Arc::ptr_eq(&held.server, server) && (suits(held) || !held.lease.connection().has_cursor())
        })?;
        if !held.lease.connection_mut().packets.is_quiet() {
            held.lease.discard();
            return None;
        }
        suits(&held).then_some(held)
    }

    /// Takes the first connection that is meant.
    pub fn take_that(&mut self, is_meant: impl Fn(&Held) -> bool) -> Option<Held> {
        let place = self.kept.iter().position(is_meant)?;
        Some(self.kept.swap_remove(place))
    }

    /// Gives back what is kept for a cursor that is closed by now.
    pub fn settle(&mut self, multiplex: bool) {
        self.kept.retain_mut(|held| {
            let connection = held.lease.connection_mut();
            if !connection.has_cursor() {
                connection.prove_clean();
            }
            !multiplex || !connection.is_clean()
        });
    }

    /// Gives up the connections that are of no use now that the config or the servers have changed.
    pub fn review(&mut self, cluster: &Cluster, multiplex: bool) {
        for held in std::mem::take(&mut self.kept) {
            if held.server.is_down() {
                held.lease.discard();
            } else if held.lease.connection().has_cursor() || !multiplex && cluster.is_active(&held.server) {
                self.kept.push(held);
            }
        }
    }

    /// Resets every connection. Those that cannot be are closed.
    pub async fn reset(self, scratch: &Scratch) -> Self {
        let mut kept = Vec::new();
        for held in self.kept {
            kept.extend(held.reset(scratch).await);
        }
        Self { kept, ..self }
    }
}

impl Session {
    /// Gives a clean connection back if sessions share them, or puts it aside for this session's next statement. One with a
    /// cursor is put aside in any case.
    pub(super) fn put_aside(&mut self, mut held: Held) {
        if self.statements.any_cursor() && held.lease.connection().has_cursor() {
            // Nobody else may have it, whatever becomes of the session.
            held.lease.connection_mut().mark_dirty();
            self.dedicated.kept.push(held);
            return;
        }
        if self.worker.config().pool.multiplex || !self.worker.cluster().is_active(&held.server) {
            return;
        }
        if !std::mem::replace(&mut self.dedicated.counted, true) {
            self.worker.shard().pin(Pin::Dedicated).inc();
        }
        self.dedicated.kept.push(held);
    }
}
