//! The server connections that a session keeps for itself while `pool.multiplex = false`: one of each server that it has
//! used, until the session ends, or the server is drained or down. Statements go where they would go anyway.

use std::sync::Arc;

use super::session::{Held, Session};
use crate::{
    backend::{Cluster, Identity, Server},
    net::Scratch,
    session::Settings,
    telemetry::Pin,
};

/// Clean connections that no other session gets.
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

    /// Takes the connection of a server, if it is alive and still suits the session.
    pub fn take(&mut self, server: &Arc<Server>, identity: &Identity, settings: &Settings) -> Option<Held> {
        let place = self.kept.iter().position(|held| Arc::ptr_eq(&held.server, server))?;
        let mut held = self.kept.swap_remove(place);
        let connection = held.lease.connection_mut();
        if !connection.packets.is_quiet() {
            held.lease.discard();
            return None;
        }
        (connection.identity.fits(identity) && connection.settings.can_become(settings)).then_some(held)
    }

    /// Gives up the connections that are of no use now that the config or the servers have changed.
    pub fn review(&mut self, cluster: &Cluster, multiplex: bool) {
        for held in std::mem::take(&mut self.kept) {
            if held.server.is_down() {
                held.lease.discard();
            } else if !multiplex && cluster.is_active(&held.server) {
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
    /// Gives a clean connection back if sessions share them, or puts it aside for this session's next statement.
    pub(super) fn put_aside(&mut self, held: Held) {
        if self.worker.config().pool.multiplex || !self.worker.cluster().is_active(&held.server) {
            return;
        }
        if !std::mem::replace(&mut self.dedicated.counted, true) {
            self.worker.shard().pin(Pin::Dedicated).inc();
        }
        self.dedicated.kept.push(held);
    }
}
