//! What all sessions of one worker thread share. A session lives on one worker from its login to its end.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use crate::{
    backend::Cluster,
    context::Context,
    net::Scratch,
    routing::{Balancer, Candidate},
    telemetry::Shard,
};

/// The size of the read buffer, bytes: the measured best for big results.
const SCRATCH: usize = 256 * 1024;

/// One worker. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Worker {
    pub index: usize,
    pub context: Arc<Context>,
    pub scratch: Scratch,
    balance: Rc<RefCell<Balance>>,
}

#[derive(Debug, Default)]
struct Balance {
    balancer: Balancer,
    generation: u64,
    candidates: Vec<Candidate>,
}

impl Worker {
    pub fn new(index: usize, context: Arc<Context>) -> Self {
        Self { index, context, scratch: Scratch::new(SCRATCH), balance: Rc::default() }
    }

    /// This worker's counters.
    pub fn shard(&self) -> &Shard {
        self.context.metrics.shard(self.index)
    }

    /// Lets `fill` list the candidates and picks one of those that `fits`; if none fits, one of those in `fallback`.
    pub fn pick(
        &self,
        cluster: &Cluster,
        balance: crate::config::Balance,
        fill: impl FnOnce(&mut Vec<Candidate>),
        fits: impl Fn(&Candidate) -> bool,
    ) -> Option<usize> {
        let mut state = self.balance.borrow_mut();
        let Balance { balancer, generation, candidates } = &mut *state;
        if *generation != cluster.generation {
            *generation = cluster.generation;
            balancer.reset();
        }
        fill(candidates);
        candidates.retain(fits);
        balancer.pick(candidates, balance)
    }
}
