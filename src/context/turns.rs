//! How many statements of one rule run at once (`max_concurrency`), and whose turn is next.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Semaphore;

use crate::config::Config;

/// The rules that limit how many of their statements run at once.
#[derive(Debug, Default)]
pub struct Turns(BTreeMap<String, Turn>);

/// One rule's places. Waiters get them in the order in which they came.
#[derive(Debug, Clone)]
struct Turn {
    limit: u32,
    places: Arc<Semaphore>,
}

impl Turns {
    /// What a config asks for. A rule that `before` knows with the same limit keeps its places; with another limit it
    /// starts with all of them free, so that for a moment more statements may run.
    pub fn new(config: &Config, before: &Self) -> Self {
        let turn = |name: &str, limit: u32| match before.0.get(name) {
            Some(turn) if turn.limit == limit => turn.clone(),
            _ => Turn { limit, places: Arc::new(Semaphore::new(limit as usize)) },
        };
        let limited = config.rules.iter().filter_map(|rule| Some((rule, rule.max_concurrency?)));
        Self(limited.map(|(rule, limit)| (rule.name.clone(), turn(&rule.name, limit))).collect())
    }

    /// The places of a rule; None: it has no limit.
    pub fn of(&self, rule: &str) -> Option<Arc<Semaphore>> {
        self.0.get(rule).map(|turn| turn.places.clone())
    }
}
