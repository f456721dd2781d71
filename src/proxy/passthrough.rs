//! `auth = "passthrough"`: asks the writer about users whom Weir does not know. What is remembered of them, and how often
//! the writer is asked, is [`crate::context::Proven`]'s.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::time::{sleep_until, timeout};

use super::{Worker, login::Accounts, refusals::is_passing};
use crate::{
    backend::{ConnectError, Identity, Links, Place, Server, accounts},
    context::Proven,
    protocol::{
        Capabilities, ProxyHeader, ServerError,
        auth::{Account, Credential, LoginError, Stored, Verdict},
        login::Attributes,
    },
    sql::Dialect,
};

/// MySQL from here on has no `mysql_native_password`, so that what it has stored does not matter.
const WITHOUT_NATIVE: u32 = 90_000;
/// A writer that was not there may be there after this long, without the cluster having changed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// utf8mb4_general_ci.
const COLLATION: u8 = 45;

/// The users of the config, and behind them those of the writer.
pub struct Users {
    worker: Rc<Worker>,
    /// What servers are told of the client.
    origin: Option<ProxyHeader>,
}

impl Users {
    pub fn new(worker: Rc<Worker>, origin: Option<ProxyHeader>) -> Self {
        Self { worker, origin }
    }

    /// Asks the writer, on behalf of a client that has `arrived`. While there is none it waits, at most for
    /// `failover.hold` and half of the time that a login has.
    async fn ask<T>(
        &self,
        arrived: Instant,
        ask: impl AsyncFn(&Server, &Links) -> Result<T, ConnectError>,
    ) -> Result<T, Unasked> {
        let config = self.worker.config();
        let deadline = arrived + config.failover.hold.min(config.timeouts.handshake / 2);
        let mut current = self.worker.context.generation.subscribe();
        loop {
            let cluster = self.worker.cluster();
            if let Some(writer) = cluster.writer().and_then(|place| cluster.members.get(place)) {
                let place = self.worker.context.proven.place().await;
                let asked = ask(&writer.server, &cluster.links).await;
                drop(place);
                match asked {
                    Ok(answer) => return Ok(answer),
                    Err(ConnectError::Login(error)) => return Err(Unasked::Login(error)),
                    Err(ConnectError::Refused(error)) => return Err(Unasked::Login(LoginError::Refused(error))),
                    Err(error) => {
                        tracing::info!(server = %writer.server.id, %error, "cannot ask about a user");
                        self.worker.context.report_failure(&writer.server.id, &error);
                    }
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Unasked::NoWriter);
            }
            let generation = cluster.generation;
            // Either way it is time to look.
            let _ = timeout(left.min(LOOK_AGAIN), current.wait_for(|current| *current != generation)).await;
        }
    }

    fn identity(&self, user: &str, credential: Credential, origin: Option<ProxyHeader>) -> Arc<Identity> {
        let capabilities = Capabilities::PROTOCOL_41;
        let (user, attributes) = (user.into(), Attributes::of_weir());
        Arc::new(Identity { user, credential, capabilities, collation: COLLATION, origin, attributes })
    }

    async fn log_in(&self, arrived: Instant, user: &[u8], credential: &Credential) -> Verdict {
        let user = String::from_utf8_lossy(user);
        let identity = self.identity(&user, credential.clone(), self.origin);
        let asked = self.ask(arrived, async |server, links| {
            accounts::prove(Place::of(&server.address), &identity, links, &self.worker.scratch).await
        });
        match asked.await {
            Ok(()) => Verdict::Right,
            Err(Unasked::NoWriter) => Verdict::Error(no_writer()),
            Err(Unasked::Login(LoginError::Refused(error))) if matches!(error.code, 1045 | 1698) => Verdict::Wrong,
            Err(Unasked::Login(LoginError::Refused(error))) => Verdict::Error(error),
            Err(Unasked::Login(error)) => {
                tracing::warn!(%error, "the writer could not be asked whether a password is right");
                Verdict::Wrong
            }
        }
    }
}

/// Why there is no answer.
enum Unasked {
    NoWriter,
    Login(LoginError),
}

#[async_trait(?Send)]
impl Accounts for Users {
    fn find(&self, user: &[u8]) -> Option<Account> {
        self.worker.context.account(user, self.origin, Instant::now())
    }

    async fn look_up(&self, user: &[u8]) -> Result<Stored, ServerError> {
        let mode = self.worker.mode();
        let config = self.worker.config();
        let (Some(probe), true) =
            (config.probe_user(), mode.dialect == Dialect::MariaDb || mode.version < WITHOUT_NATIVE)
        else {
            return Ok(Stored::UNTOLD);
        };
        let (proven, key) = (&self.worker.context.proven, Proven::key(user, self.origin));
        let arrived = Instant::now();
        let turn = proven.turn(&key, arrived, config.passthrough.max_users);
        let _turn = turn.lock().await;
        if let Some(stored) = proven.stored(&key, arrived) {
            return Ok(stored);
        }
        sleep_until(proven.next_look(&key).unwrap_or(arrived).into()).await;
        let password = Credential::from(&probe.password.unwrap_or_default());
        let identity = self.identity(&probe.name, password, None);
        let then = Instant::now();
        let asked = self.ask(arrived, async |server, links| {
            accounts::look_up(Place::of(&server.address), identity.clone(), user, links, &self.worker.scratch).await
        });
        let stored = match asked.await {
            Ok(stored) => stored,
            Err(Unasked::NoWriter) => return Err(no_writer()),
            Err(Unasked::Login(error)) => {
                tracing::debug!(%error, "the probe's user may not read the writer's accounts");
                Stored::UNTOLD
            }
        };
        if stored.native.is_empty() {
            // A digest is of no use any more, and the client could not be asked for the password itself before.
            proven.forget_digest(&key);
        }
        proven.store(&key, stored.clone(), then);
        Ok(stored)
    }

    async fn prove(&self, user: &[u8], credential: &Credential) -> Verdict {
        let limits = self.worker.config().passthrough.clone();
        let (proven, key) = (&self.worker.context.proven, Proven::key(user, self.origin));
        let arrived = Instant::now();
        let turn = proven.turn(&key, arrived, limits.max_users);
        let _turn = turn.lock().await;
        // Whoever had the turn before may have asked the same.
        if proven.known(&key, Instant::now(), limits.ttl).as_ref() == Some(credential) {
            return Verdict::Right;
        }
        if let Some(verdict) = proven.refused(&key, credential, arrived) {
            return verdict;
        }
        sleep_until(proven.next_proof(&key).unwrap_or(arrived).into()).await;
        let then = Instant::now();
        let verdict = self.log_in(arrived, user, credential).await;
        match &verdict {
            // What was right when it was asked may be wrong since.
            Verdict::Right => proven.learn(&key, credential.clone(), then),
            Verdict::Error(error) if is_passing(error) || error.code == no_writer().code => {}
            Verdict::Wrong | Verdict::Error(_) => {
                proven.refuse(&key, credential.clone(), verdict.clone(), then);
            }
        }
        verdict
    }
}

fn no_writer() -> ServerError {
    ServerError::no_server("no writer is available to check the password")
}
