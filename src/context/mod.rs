//! What every session and every operator's door is handed: what Weir knows (snapshots, registry, counters) and what it
//! can be asked to do ([`Control`]). The doors and the sessions never talk to each other; both ask the application.

mod control;
mod looks;
mod proven;
mod registry;
mod turns;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, watch};

pub use control::{Control, ControlError, Reply, ServerView, SessionView};
pub use looks::Looks;
pub use proven::Proven;
pub use registry::{Calls, Entry, Kill, Registry, SessionHandle};
pub use turns::Turns;

use crate::{
    backend::Cluster,
    config::{Auth, ClientPlugin, Config, ServerId},
    protocol::{
        ProxyHeader,
        auth::{Account, Authority, Credential, Plugin, RsaKey},
        gtid::Position,
    },
    telemetry::Metrics,
};

/// The longest name that a server lets an account have, bytes.
const LONGEST_NAME: usize = 512;

/// One running Weir. There are no statics: two can run in one process.
#[derive(Debug)]
pub struct Context {
    pub config: ArcSwap<Config>,
    pub cluster: ArcSwap<Cluster>,
    /// Tells of a new cluster snapshot: its generation.
    pub generation: watch::Sender<u64>,
    pub metrics: Arc<Metrics>,
    pub sessions: Arc<Registry>,
    pub control: mpsc::Sender<Control>,
    /// Failures that sessions met: the server and the cause.
    pub failures: mpsc::Sender<(ServerId, String)>,
    /// For passwords over unencrypted connections.
    pub rsa: RsaKey,
    /// None: TLS is disabled towards clients.
    pub tls: ArcSwapOption<rustls::ServerConfig>,
    /// The limits of the rules.
    pub turns: ArcSwap<Turns>,
    /// Users whom the writer let in.
    pub proven: Proven,
    /// At the code that is stored in the servers.
    pub looks: Looks,
    /// What was committed through this Weir, for `consistency = "global"`.
    committed: Mutex<Option<Position>>,
    /// When some session last wrote without being told a position.
    unseen_write: Mutex<Option<Instant>>,
    /// Users whose sessions have asked for counts of rows or warnings.
    askers: Mutex<HashSet<Arc<str>>>,
}

impl Context {
    /// `cluster` is what is known at the start.
    pub fn new(
        config: Arc<Config>,
        cluster: Cluster,
        metrics: Arc<Metrics>,
        control: mpsc::Sender<Control>,
        failures: mpsc::Sender<(ServerId, String)>,
        rsa: RsaKey,
    ) -> Self {
        Self {
            turns: ArcSwap::from_pointee(Turns::new(&config, &Turns::default())),
            config: ArcSwap::new(config),
            generation: watch::Sender::new(cluster.generation),
            cluster: ArcSwap::from_pointee(cluster),
            metrics,
            sessions: Arc::default(),
            control,
            failures,
            rsa,
            tls: ArcSwapOption::empty(),
            proven: Proven::default(),
            looks: Looks::default(),
            committed: Mutex::default(),
            unseen_write: Mutex::default(),
            askers: Mutex::default(),
        }
    }

    /// Publishes a new snapshot.
    pub fn publish(&self, mut cluster: Cluster) {
        let generation = self.cluster.load().generation + 1;
        cluster.generation = generation;
        self.cluster.store(Arc::new(cluster));
        self.generation.send_replace(generation);
    }

    /// A session met a failure of a server. Lost if many come at once: one is enough to make the monitor look.
    pub fn report_failure(&self, server: &ServerId, cause: impl ToString) {
        let _ = self.failures.try_send((server.clone(), cause.to_string()));
    }

    /// The account that a user's name leads to. `origin` is what servers are told of the client.
    pub fn account(&self, name: &[u8], origin: Option<ProxyHeader>, now: Instant) -> Option<Account> {
        let config = self.config.load();
        let listed = config.users.iter().find(|user| user.name.as_bytes() == name);
        let Some(user) = listed.filter(|user| user.password.is_some()) else {
            // What other bytes mean depends on the client's character set.
            let judged = config.auth == Auth::Passthrough && name.is_ascii() && name.len() <= LONGEST_NAME;
            let known = || self.proven.known(&Proven::key(name, origin), now, config.passthrough.ttl);
            return judged.then(|| Account::of_server(known()));
        };
        let plugin = user.plugin.map(|plugin| match plugin {
            ClientPlugin::Native => Plugin::Native,
            ClientPlugin::CachingSha2 => Plugin::CachingSha2,
            ClientPlugin::Ed25519 => Plugin::Ed25519,
        });
        Some(Account {
            credentials: user.passwords().map(Credential::from).collect(),
            plugin,
            authority: Authority::Weir,
        })
    }

    /// Everything that is known to prove a user to servers, who judge it themselves, however old it is.
    pub fn credentials(&self, name: &str, origin: Option<ProxyHeader>, now: Instant) -> Vec<Credential> {
        let account = self.account(name.as_bytes(), origin, now).unwrap_or_default();
        let proven = || self.proven.known(&Proven::key(name.as_bytes(), origin), now, Duration::MAX);
        match account.authority {
            Authority::Weir => account.credentials,
            Authority::Server => proven().into_iter().collect(),
        }
    }

    /// How many sessions the user may have at once, if there are more of them.
    pub fn too_many_of(&self, user: &str) -> Option<u32> {
        let config = self.config.load();
        let limit = config.users.iter().find(|known| known.name == user)?.max_clients?;
        (self.sessions.count_of(user) > limit as usize).then_some(limit)
    }

    /// A session of the user asked for a count of rows or warnings; others of the user will.
    pub fn note_asker(&self, user: &Arc<str>) {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner).insert(user.clone());
    }

    pub fn is_asker(&self, user: &str) -> bool {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner).contains(user)
    }

    /// Adds what was committed.
    pub fn commit(&self, position: &Position) {
        let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *committed {
            Some(known) if known.covers(position) => {}
            Some(known) => known.require(position),
            None => *committed = Some(position.clone()),
        }
    }

    /// A session wrote without being told a position.
    pub fn wrote_unseen(&self, now: Instant) {
        *self.unseen_write.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    pub fn unseen_write(&self) -> Option<Instant> {
        *self.unseen_write.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written unseen until `written`, and not later, is known to be in `position`.
    pub fn found_unseen(&self, written: Instant, position: &Position) {
        self.commit(position);
        let mut unseen = self.unseen_write.lock().unwrap_or_else(PoisonError::into_inner);
        unseen.take_if(|last| *last <= written);
    }

    pub fn committed(&self) -> Option<Position> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
