//! What all sessions of one worker thread share. A session lives on one worker from its login to its end.

use std::{cell::RefCell, ops::Deref, rc::Rc, sync::Arc};

use arc_swap::{ArcSwap, Cache};

use super::spin::Spin;
use crate::{
    backend::{Cluster, PreparedText, Texts},
    config::{self, Config},
    context::Context,
    net::Scratch,
    routing::{Balancer, Candidate},
    session::Settings,
    sql::Mode,
    telemetry::Shard,
};

/// The size of the read buffer, bytes: the measured best for big results.
const SCRATCH: usize = 256 * 1024;

/// One worker, shared by its sessions.
#[derive(Debug)]
pub struct Worker {
    pub index: usize,
    pub context: Arc<Context>,
    pub scratch: Scratch,
    config: RefCell<Latest<ConfigOf, Config>>,
    cluster: RefCell<Latest<ClusterOf, Cluster>>,
    balance: RefCell<Balance>,
    texts: RefCell<Texts>,
    pub spin: Rc<Spin>,
}

/// A snapshot that this worker's sessions share. They count themselves in memory that no other worker writes to: each
/// statement asks several times.
pub type Snapshot<T> = Rc<Arc<T>>;

/// The newest snapshot.
#[derive(Debug)]
struct Latest<A, T> {
    cache: Cache<A, Arc<T>>,
    shared: Snapshot<T>,
}

impl<A: Deref<Target = ArcSwap<T>>, T> Latest<A, T> {
    fn new(place: A) -> Self {
        let mut cache = Cache::new(place);
        let shared = Rc::new(cache.load().clone());
        Self { cache, shared }
    }

    fn get(&mut self) -> &Snapshot<T> {
        let newest = self.cache.load();
        if !Arc::ptr_eq(newest, &self.shared) {
            self.shared = Rc::new(newest.clone());
        }
        &self.shared
    }
}

#[derive(Debug)]
struct ConfigOf(Arc<Context>);

impl Deref for ConfigOf {
    type Target = ArcSwap<Config>;
    fn deref(&self) -> &Self::Target {
        &self.0.config
    }
}

#[derive(Debug)]
struct ClusterOf(Arc<Context>);

impl Deref for ClusterOf {
    type Target = ArcSwap<Cluster>;
    fn deref(&self) -> &Self::Target {
        &self.0.cluster
    }
}

#[derive(Debug, Default)]
struct Balance {
    balancer: Balancer,
    generation: u64,
    candidates: Vec<Candidate>,
}

impl Worker {
    pub fn new(index: usize, context: Arc<Context>) -> Rc<Self> {
        let spin = Spin::new(context.config.load().runtime.spin);
        Rc::new(Self {
            index,
            scratch: Scratch::new(SCRATCH),
            config: RefCell::new(Latest::new(ConfigOf(context.clone()))),
            cluster: RefCell::new(Latest::new(ClusterOf(context.clone()))),
            balance: RefCell::default(),
            texts: RefCell::default(),
            spin,
            context,
        })
    }

    /// The config of this moment.
    pub fn config(&self) -> Snapshot<Config> {
        self.config.borrow_mut().get().clone()
    }

    /// The servers at this moment.
    pub fn cluster(&self) -> Snapshot<Cluster> {
        self.cluster.borrow_mut().get().clone()
    }

    /// How the servers read texts, but for what a session has set.
    pub fn mode(&self) -> Mode {
        self.cluster.borrow_mut().get().mode
    }

    /// A text that is to be prepared, as all sessions of this worker have it.
    pub fn prepared_text(&self, sql: &[u8], settings: &Settings) -> Arc<PreparedText> {
        self.texts.borrow_mut().share(sql, settings)
    }

    /// This worker's counters.
    pub fn shard(&self) -> &Shard {
        self.context.metrics.shard(self.index)
    }

    /// Picks one of the candidates that `fill` lists.
    pub fn pick(
        &self,
        cluster: &Cluster,
        balance: config::Balance,
        fill: impl FnOnce(&mut Vec<Candidate>),
    ) -> Option<usize> {
        let mut state = self.balance.borrow_mut();
        let Balance { balancer, generation, candidates } = &mut *state;
        if *generation != cluster.generation {
            *generation = cluster.generation;
            balancer.reset();
        }
        fill(candidates);
        balancer.pick(candidates, balance)
    }
}
