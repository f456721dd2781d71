//! What ends a conversation with a server before its reply is complete: a kill, a time limit, a server that is dead or has
//! lost the reply on the way.

use std::{
    cell::Cell,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::sleep};

use super::{
    beside::Beside,
    exchange::Failure,
    silence::{Silence, Vigil},
};
use crate::{
    backend::Server,
    context::{Calls, Kill},
    protocol::{ServerError, Shape},
};

/// What a conversation and who watches over it tell each other.
#[derive(Debug, Default)]
pub struct Signals {
    /// The statement has run longer than it may.
    pub overdue: Cell<bool>,
    pub silence: Silence,
}

/// Watches over one conversation.
pub struct Watch<'a> {
    pub calls: Rc<Calls>,
    pub server: &'a Server,
    pub beside: &'a Beside<'a>,
    pub shape: Shape,
    pub signals: &'a Signals,
    /// The server is asked to stop.
    pub killing: Option<JoinHandle<()>>,
}

impl Watch<'_> {
    /// Waits for the end of a conversation that began at `begun`. Past the limit the server is asked to stop.
    pub async fn over(
        &mut self,
        mut conversation: Pin<&mut impl Future<Output = Result<(), Failure>>>,
        limit: Option<Duration>,
        begun: Instant,
    ) -> Result<(), Failure> {
        let mut vigil = Vigil::new(begun);
        let late = async {
            match limit {
                Some(limit) => sleep(limit).await,
                None => pending().await,
            }
        };
        tokio::pin!(late);
        loop {
            tokio::select! {
                biased;
                result = &mut conversation => return result,
                () = self.calls.called() => {
                    if let Some(failure) = self.woken(&mut vigil).await {
                        return Err(failure);
                    }
                }
                () = &mut late, if !self.signals.overdue.get() => {
                    self.signals.overdue.set(true);
                    self.kill();
                }
            }
        }
    }

    /// Why the conversation is given up now that the session was woken; None: it goes on.
    async fn woken(&mut self, vigil: &mut Vigil) -> Option<Failure> {
        let events = self.shape == Shape::Events;
        match self.calls.asked() {
            Some(Kill::Query) => {
                self.kill();
                None
            }
            Some(Kill::Session) => Some(Failure::Killed(ServerError::interrupted())),
            Some(Kill::Shutdown) => Some(Failure::Killed(ServerError::shutdown())),
            // Events never end by themselves, and a replica takes up again elsewhere.
            Some(Kill::Drain) if events => Some(Failure::Killed(ServerError::shutdown())),
            // Woken to look: the monitor found the server dead.
            _ if self.server.is_down() => Some(broken("the server stopped answering")),
            // Woken to look: it takes long.
            _ if !events && vigil.is_in_vain(&self.signals.silence, self.beside, Instant::now()).await => {
                // The server would not hear that its connection is closed, which may hold locks.
                drop(self.beside.kill_thread());
                Some(broken("the server is done, and what it said does not come"))
            }
            _ => None,
        }
    }

    /// Asks the server to stop. A request that is on its way does for another: of two, the one that is waited for might not
    /// be the last to arrive.
    fn kill(&mut self) {
        if self.killing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.killing = Some(self.beside.kill());
        }
    }

    /// Whether there is something to [end](Self::end).
    pub fn has_to_end(&self, result: &Result<(), Failure>) -> bool {
        self.killing.is_some() || result.is_err()
    }

    /// Sees to it that no statement runs on for nobody, and that whoever has the connection next is not killed.
    pub async fn end(self, result: &Result<(), Failure>) {
        match (result, self.killing) {
            (Err(Failure::Client), _) => drop(self.beside.kill()),
            // Weir may end with its last session, and this must be sent before. A panic was reported.
            (Err(Failure::Killed(_)), _) => drop(self.beside.kill().await),
            // The connection must not be anybody else's before. A panic was reported.
            (Ok(_) | Err(Failure::Unprepared(_) | Failure::Request(_)), Some(killing)) => drop(killing.await),
            _ => {}
        }
    }
}

/// The connection is of no use any more. How far the reply came, whoever sent it on knows.
fn broken(cause: &str) -> Failure {
    Failure::Server { cause: cause.to_owned(), sent: 0, boundary: None }
}
