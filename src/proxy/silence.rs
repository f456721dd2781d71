//! Replies that do not come, or stop coming, while the server is well: a request or a reply that got lost on the way is
//! told from a statement that takes its time by asking the server whether it still works on it. (A server that is not
//! well is found dead by its probes, which wakes whoever waits for it: `watch`.)
//!
//! That a packet has begun and does not end tells nothing by itself: servers send what fills their buffer, to the byte,
//! and work on the next rows then, for as long as those take. Nor does it tell that nothing has come at all.

use std::{cell::Cell, time::Instant};

use tokio::task::JoinHandle;

use super::beside::Beside;

/// What is being waited for. Told by who reads.
#[derive(Debug, Default)]
pub struct Silence {
    /// There is nothing to do but wait for the server.
    waiting: Cell<bool>,
    /// How often this changed.
    moves: Cell<u64>,
}

impl Silence {
    /// The server has a command of Weir's own.
    pub fn expects_own(&self) {
        self.waiting.set(true);
        self.moves.set(self.moves.get() + 1);
    }

    /// The server gets the client's command, and may take its time to do so.
    pub fn expects_reply(&self) {
        self.moved();
    }

    /// All was sent, and nothing more has come of the reply yet.
    pub fn begins(&self) {
        self.waiting.set(true);
    }

    /// A part of the reply has come.
    pub fn is_broken(&self) {
        self.moved();
    }

    fn moved(&self) {
        self.waiting.set(false);
        self.moves.set(self.moves.get() + 1);
    }
}

/// Looks at a silence again and again.
#[derive(Debug)]
pub struct Vigil {
    moves: u64,
    since: Instant,
    inquiry: Option<JoinHandle<bool>>,
    /// The server has said before that it is done. What it sent may have been on its way then.
    done: bool,
}

impl Vigil {
    pub fn new(now: Instant) -> Self {
        Self { moves: 0, since: now, inquiry: None, done: false }
    }

    /// Whether the rest of the reply will never come. Asks the server when it is time to, and tells at a later look.
    pub async fn is_in_vain(&mut self, silence: &Silence, beside: &Beside<'_>, now: Instant) -> bool {
        let Some(patience) = beside.patience() else { return false };
        let moves = silence.moves.get();
        let again = Self { moves, ..Self::new(now) };
        if !silence.waiting.get() || moves != self.moves {
            *self = again;
            return false;
        }
        match &mut self.inquiry {
            None if now >= self.since + patience => self.inquiry = Some(beside.is_at_work()),
            Some(inquiry) if inquiry.is_finished() => match inquiry.await {
                Ok(false) if self.done => return true,
                Ok(false) => *self = Self { done: true, ..again },
                Ok(true) | Err(_) => *self = again,
            },
            _ => {}
        }
        false
    }
}
