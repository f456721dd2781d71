//! The connection that a session holds, set aside with what binds the session to it, while a request runs beside it: a read
//! that touches none of the session's temporary tables (`temporary`), or a fetch from a cursor elsewhere (`cursors`).

use std::sync::Arc;

use super::{
    inquire::Doubt,
    request::Request,
    session::{End, Held, Session},
    texts::Unread,
};
use crate::{backend::Server, config::Config, protocol::Status, session::Aside};

/// A connection that is set aside.
pub struct Parked {
    held: Held,
    aside: Aside,
    doubt: Option<Doubt>,
    unread: Option<Unread>,
}

impl Parked {
    /// Where it is.
    pub fn server(&self) -> &Arc<Server> {
        &self.held.server
    }

    /// The flags of the transaction on it.
    pub fn transaction(&self) -> Status {
        self.aside.transaction()
    }
}

impl Session {
    /// Runs a request as if the session held nothing, or `place` and nothing for it.
    pub(super) async fn run_beside(
        &mut self,
        place: Option<Held>,
        config: &Config,
        request: &mut Request<'_>,
    ) -> Result<(), End> {
        if let Some(held) = std::mem::replace(&mut self.held, place) {
            let (doubt, unread) = (self.doubt.take(), self.unread.take());
            self.parked = Some(Parked { held, aside: self.state.set_aside(), doubt, unread });
        }
        let mut ran = self.run_where_held(config, request).await;
        // Where the session is at home, it is asked as ever.
        if ran.is_ok() && self.parked.is_some() {
            // What it left is asked for at once, so that nothing of it is taken for the other connection's.
            ran = self.move_on().await;
        }
        if let Some(mut held) = self.unpark() {
            held.lease.connection_mut().prove_clean();
            self.put_aside(held);
        }
        ran
    }

    /// Goes back to the connection that was set aside. Returns the one that the session has used meanwhile, if nothing of
    /// the session is left on it; a function in a view may have left something, and it is gone.
    pub(super) fn unpark(&mut self) -> Option<Held> {
        let Parked { held, aside, doubt, unread } = self.parked.take()?;
        (self.doubt, self.unread) = (doubt, unread);
        let free = self.state.take_back(aside);
        let used = self.held.replace(held)?;
        if free {
            return Some(used);
        }
        used.lease.discard();
        None
    }
}
