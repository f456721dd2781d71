//! The session loop: reads one command after the other, and ends the session in good order.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Worker,
    dedicated::Dedicated,
    inquire::{Doubt, ROLLBACK},
    insert_id::UnclearInsertId,
    library::Library,
    parked::Parked,
    prepared::ClientStatements,
    recall::{LastUsed, names},
    texts::Unread,
    worker::Snapshot,
};
use crate::{
    backend::{ConnectError, Identity, Lease, Server},
    config::Route,
    context::{Calls, Entry, Kill},
    net::{PacketStream, ReadError, Scratch},
    protocol::{Capabilities, Command, OkPacket, ServerError, Status, greeting::Nonce},
    session::{Fate, SessionState, Tracking, Untold},
    telemetry::Pin,
};

/// How long a server may take to answer a command of Weir's own, and a client to take Weir's last word.
pub const OWN_COMMAND: Duration = Duration::from_secs(5);

/// One client's session.
pub struct Session {
    pub(super) worker: Rc<Worker>,
    pub(super) client: PacketStream,
    /// Its place in the registry.
    pub(super) entry: Entry,
    pub(super) calls: Rc<Calls>,
    /// The client's address without port, as in error texts and rules.
    pub(super) host: String,
    pub(super) route: Route,
    /// What client and Weir agreed on.
    pub(super) capabilities: Capabilities,
    pub(super) library: Library,
    pub(super) identity: Snapshot<Identity>,
    /// The greeting's. Some clients prove a change of user with it, whatever they are asked.
    pub(super) nonce: Nonce,
    pub(super) state: SessionState,
    /// What the client chose to be told of its session; None: it has not chosen.
    pub(super) tracking: Option<Arc<Tracking>>,
    /// What of it the client has yet to hear.
    pub(super) untold: Untold,
    pub(super) held: Option<Held>,
    /// The connection that it holds, while a request runs beside it.
    pub(super) parked: Option<Parked>,
    /// The held connection is a replica's, with a transaction that `autocommit=0` opened for reads.
    pub(super) reading: bool,
    /// The connections that it does not share.
    pub(super) dedicated: Dedicated,
    pub(super) last_used: Option<LastUsed>,
    /// What the held connection is to be asked before anybody else gets it.
    pub(super) doubt: Option<Doubt>,
    pub(super) unread: Option<Unread>,
    /// The user's sessions ask for counts of rows or warnings.
    pub(super) asks: bool,
    /// Where the insert id is to be found when the session does not know it.
    pub(super) unclear_insert_id: Option<UnclearInsertId>,
    pub(super) statements: ClientStatements,
    /// Of the last statement that ran on a server; an error counts as one.
    pub(super) warnings: u16,
    /// When the command came, or its reply ended. The clock is not asked more often than that.
    pub(super) now: std::time::Instant,
}

/// The server connection that a pinned session keeps.
pub struct Held {
    pub lease: Lease,
    pub server: Arc<Server>,
}

impl Held {
    /// Resets the connection, so that somebody else may have it. None: it could not be, and is closed.
    ///
    /// A transaction that `XA PREPARE` prepared outlives a connection that is closed. From one that is reset MariaDB takes
    /// only its name: nobody could end it any more. Such a connection refuses a `ROLLBACK`.
    pub async fn reset(mut self, scratch: &Scratch) -> Option<Self> {
        let connection = self.lease.connection_mut();
        let reset = async {
            match connection.query(ROLLBACK, scratch).await {
                Err(ConnectError::Refused(error)) if is_of_unprepared_xa(&error) => {}
                ended => _ = ended?,
            }
            connection.reset(scratch).await
        };
        if matches!(timeout(OWN_COMMAND, reset).await, Ok(Ok(()))) {
            self.lease.connection_mut().used = std::time::Instant::now();
            return Some(self);
        }
        self.lease.discard();
        None
    }
}

/// Whether a `ROLLBACK` was refused for an `XA` transaction that a reset ends.
fn is_of_unprepared_xa(refused: &ServerError) -> bool {
    let states: [&[u8]; 3] = [b"ACTIVE", b"IDLE", b"ROLLBACK ONLY"];
    states.iter().any(|state| names(&refused.message, state))
}

/// Why a session ends.
#[derive(Debug)]
pub enum End {
    /// The client said so, or went away.
    Client,
    /// This error is the last that the client hears.
    Error(ServerError),
}

impl Session {
    pub(super) async fn live(mut self) {
        let end = loop {
            if let Err(end) = self.serve_command().await {
                break end;
            }
        };
        self.end(end).await;
    }

    /// Says the last word, if there is one, and closes.
    pub async fn end(mut self, end: End) {
        if let End::Error(error) = end {
            // Said to a client that asked nothing, it is read as the answer to what it asks next, which is number 1.
            self.client.sequence = self.client.sequence.max(1);
            // The client may be gone, in which case nobody needs the error.
            let _ = timeout(OWN_COMMAND, self.send_error(&error)).await;
        }
        // The connection may have broken, and is gone then.
        let _ = self.move_on().await;
        self.leave();
        let _ = timeout(OWN_COMMAND, self.client.shutdown()).await;
    }

    async fn serve_command(&mut self) -> Result<(), End> {
        let mut payload = Vec::new();
        if self.lingers() {
            self.linger().await?;
        }
        if let Err(refused) = self.read_command(&mut payload).await? {
            return self.send_error(&refused).await;
        }
        self.now = std::time::Instant::now();
        self.worker.spin.go_on(self.now);
        self.worker.shard().bytes_in.add(payload.len() as u64 + 4);
        let served = match Command::parse(&payload, self.capabilities) {
            Ok(command) => self.dispatch(command, &payload).await,
            Err(_) => self.send_error(&self.malformed_packet()).await,
        };
        self.worker.scratch.leave_spare(payload);
        served?;
        self.settle();
        Ok(())
    }

    /// Reads one command. One that is too large is refused, and the session lives on.
    async fn read_command(&mut self, payload: &mut Vec<u8>) -> Result<Result<(), ServerError>, End> {
        let (idle, limit) = {
            let config = self.worker.config();
            let in_transaction = config.timeouts.transaction_idle.filter(|_| self.state.in_transaction());
            (in_transaction.or(config.timeouts.client_idle), config.limits.max_packet)
        };
        let deadline = idle.map(|idle| Instant::now() + idle);
        self.client.sequence = 0;
        let free = self.held.is_none() && self.dedicated.with_cursors().next().is_none();
        let read = self.client.read_command(&self.worker.scratch, payload, limit);
        tokio::pin!(read);
        loop {
            match self.calls.asked() {
                Some(Kill::Session) => return Err(End::Error(ServerError::interrupted())),
                Some(Kill::Shutdown) => return Err(End::Error(ServerError::shutdown())),
                Some(Kill::Drain) if free => return Err(End::Error(ServerError::shutdown())),
                // There is no statement to kill.
                Some(Kill::Query) => continue,
                // It waits for the transaction.
                Some(Kill::Drain) | None => {}
            }
            let wait = async {
                match deadline {
                    Some(deadline) => timeout_at(deadline, &mut read).await,
                    None => Ok((&mut read).await),
                }
            };
            tokio::select! {
                biased;
                result = wait => return match result {
                    Ok(Ok(())) => Ok(Ok(())),
                    Ok(Err(ReadError::TooLarge(_))) => Ok(Err(ServerError::packet_too_large())),
                    Ok(Err(ReadError::OutOfOrder)) => Err(End::Error(ServerError::packets_out_of_order())),
                    Ok(Err(ReadError::Closed | ReadError::Io(_))) => Err(End::Client),
                    Err(_) => Err(End::Error(ServerError::idle_timeout())),
                },
                () = self.calls.called() => {
                    self.dedicated.review(&self.worker.cluster(), self.worker.config().pool.multiplex);
                    if self.held.is_none() {
                        self.entry.handle.keeps(self.dedicated.pin(), self.dedicated.with_cursors());
                    }
                }
            }
        }
    }

    /// Why the session holds a connection.
    pub fn pin(&self) -> Option<Pin> {
        self.held.as_ref()?;
        match self.state.fate() {
            Fate::Keep(pin) => Some(pin),
            Fate::Return => Some(Pin::Dedicated),
        }
    }

    /// Gives the held connection back once nothing pins it.
    pub fn settle(&mut self) {
        if self.state.fate() == Fate::Return
            && let Some(mut held) = self.held.take()
        {
            held.lease.connection_mut().prove_clean();
            self.put_aside(held);
        }
        if !self.dedicated.is_empty() {
            self.dedicated.settle(self.worker.config().pool.multiplex);
        }
        let (schema, held) = (self.state.settings().schema(), self.held.as_ref().map(|held| &held.server));
        let pin = self.pin().or_else(|| self.dedicated.pin());
        self.entry.handle.statement_ends(schema, held, pin, self.dedicated.with_cursors(), self.now);
    }

    /// Gives the connection that the session holds back, without making anybody wait.
    fn leave(&mut self) {
        let (held, dedicated) = (self.take_held(), std::mem::take(&mut self.dedicated));
        if held.is_none() && dedicated.is_empty() {
            return;
        }
        let scratch = self.worker.scratch.clone();
        tokio::task::spawn_local(async move {
            if let Some(held) = held {
                drop(held.reset(&scratch).await);
            }
            // Who does not share connections may not trust what servers report.
            drop(dedicated.reset(&scratch).await);
        });
    }

    /// Takes the held connection, if a reset can make it forget the session; else it is closed.
    fn take_held(&mut self) -> Option<Held> {
        let held = self.held.take()?;
        if self.state.pins().has(Pin::Replication) {
            held.lease.discard();
            return None;
        }
        Some(held)
    }

    /// Makes the session's connections forget it: its transaction and its locks have ended then.
    pub async fn let_go(&mut self) {
        (self.doubt, self.unread) = (None, None);
        let scratch = self.worker.scratch.clone();
        self.dedicated = std::mem::take(&mut self.dedicated).reset(&scratch).await;
        if let Some(held) = self.take_held()
            && let Some(held) = held.reset(&scratch).await
        {
            self.put_aside(held);
        }
    }

    /// Sends an OK of Weir's own.
    pub async fn send_ok(&mut self) -> Result<(), End> {
        let status = self.state.status();
        self.send_ok_status(status).await
    }

    async fn send_ok_status(&mut self, status: Status) -> Result<(), End> {
        let told = self.untold.tell(None, self.mode().dialect, false);
        let status = if told.is_some() { status.with(Status::SESSION_STATE_CHANGED) } else { status };
        let changes = told.unwrap_or_default();
        let ok = OkPacket { affected_rows: 0, insert_id: 0, status, warnings: 0, info: b"", changes: &changes };
        let mut payload = Vec::with_capacity(8);
        ok.put(&mut payload, 0);
        self.client.write_payload(&payload).await.map_err(|_| End::Client)
    }

    /// Tells the client of an error, which is the end of some.
    pub async fn send_error(&mut self, error: &ServerError) -> Result<(), End> {
        let Some(told) = self.library.told(error) else { return Err(End::Client) };
        let payload = told.payload(self.capabilities);
        self.client.write_payload(&payload).await.map_err(|_| End::Client)
    }
}
