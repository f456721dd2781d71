//! The counters of one running Weir, and how they stay off each other's cache lines.
//!
//! Every number here only grows; what goes up and down (sessions open, connections in use) is a difference of two of
//! them or is asked of the application when somebody looks. Counters of the data path are kept once per worker and
//! added up when read. Nothing in here has a name or a format: that is [`super::exposition`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{Pin, Reason};

/// A number that only grows. Relaxed: a reader may see two counters a moment apart.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that only grows, and that only one thread adds to at a time, which costs it no locked instruction.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    pub fn add(&self, n: u64) {
        self.0.store(self.value().wrapping_add(n), Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Keeps its content alone on its cache lines (two of them: CPUs fetch lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// Everything that is counted. Built once by the application and shared.
#[derive(Debug)]
pub struct Metrics {
    shards: Box<[Padded<Shard>]>,
    servers: RwLock<BTreeMap<String, Arc<ServerMetrics>>>,
    /// Clients turned away before they had a session (`limits.max_clients`).
    pub clients_refused: Counter,
    pub reloads_ok: Counter,
    pub reloads_failed: Counter,
}

impl Metrics {
    /// `workers`: how many threads will count at the same time. Zero is taken as one.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: padded(workers),
            servers: RwLock::default(),
            clients_refused: Counter::default(),
            reloads_ok: Counter::default(),
            reloads_failed: Counter::default(),
        }
    }

    /// The counters that the worker of this index counts with, and nobody else. Any index is valid: those past the end
    /// share a shard.
    pub fn shard(&self, worker: usize) -> &Shard {
        nth(&self.shards, worker)
    }

    /// The sum of one counter over all workers: `metrics.total(|shard| &shard.retries)`.
    pub fn total(&self, counter: impl Fn(&Shard) -> &Tally) -> u64 {
        self.shards.iter().map(|shard| counter(&shard.0).value()).sum()
    }

    /// How many statements went where they went for this reason.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.total(|shard| shard.reason(reason))
    }

    /// How many times a session was pinned for this reason.
    pub fn pin(&self, pin: Pin) -> u64 {
        self.total(|shard| shard.pin(pin))
    }

    /// How many statements there were: every statement has exactly one reason.
    pub fn statements(&self) -> u64 {
        Reason::ALL.iter().map(|reason| self.reason(*reason)).sum()
    }

    /// How many sessions are open now.
    pub fn clients(&self) -> u64 {
        // Ended is read first: a session that ends in between must not make the difference negative.
        let ended = self.total(|shard| &shard.clients_ended);
        self.total(|shard| &shard.clients_accepted).saturating_sub(ended)
    }

    /// The counters of the server of this name, new ones if it was not known.
    pub fn server(&self, name: &str) -> Arc<ServerMetrics> {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        match servers.get(name) {
            Some(known) => known.clone(),
            None => {
                let new = Arc::new(ServerMetrics::new(self.shards.len()));
                servers.insert(name.to_owned(), new.clone());
                new
            }
        }
    }

    /// Stops reporting a server that was removed from the configuration.
    pub fn forget(&self, name: &str) {
        self.servers.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Every known server with its counters, by name.
    pub fn servers(&self) -> Vec<(String, Arc<ServerMetrics>)> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        servers.iter().map(|(name, metrics)| (name.clone(), metrics.clone())).collect()
    }
}

/// What one worker counts.
#[derive(Debug)]
pub struct Shard {
    reasons: [Tally; Reason::ALL.len()],
    pins: [Tally; Pin::ALL.len()],
    pub clients_accepted: Tally,
    /// Counted once for every client accepted, whatever ended it.
    pub clients_ended: Tally,
    pub login_failures: Tally,
    /// From clients, command bytes with their packet headers.
    pub bytes_in: Tally,
    /// To clients.
    pub bytes_out: Tally,
    /// Statements sent a second time because the first provably had no effect.
    pub retries: Tally,
    /// Reads that had to wait on a replica for the session's own writes.
    pub freshness_waits: Tally,
    /// Those of them that gave up waiting.
    pub freshness_timeouts: Tally,
    /// Times that no server connection was free at once.
    pub lease_waits: Tally,
    /// Those of them that gave up waiting.
    pub lease_timeouts: Tally,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            reasons: std::array::from_fn(|_| Tally::default()),
            pins: std::array::from_fn(|_| Tally::default()),
            clients_accepted: Tally::default(),
            clients_ended: Tally::default(),
            login_failures: Tally::default(),
            bytes_in: Tally::default(),
            bytes_out: Tally::default(),
            retries: Tally::default(),
            freshness_waits: Tally::default(),
            freshness_timeouts: Tally::default(),
            lease_waits: Tally::default(),
            lease_timeouts: Tally::default(),
        }
    }
}

impl Shard {
    /// Statements that were routed for this reason.
    pub fn reason(&self, reason: Reason) -> &Tally {
        &self.reasons[reason as usize]
    }

    /// Times that a session was pinned for this reason.
    pub fn pin(&self, pin: Pin) -> &Tally {
        &self.pins[pin as usize]
    }
}

/// What is counted about one server.
#[derive(Debug)]
pub struct ServerMetrics {
    shards: Box<[Padded<ServerShard>]>,
    pub connects: Counter,
    pub connect_failures: Counter,
}

impl ServerMetrics {
    fn new(workers: usize) -> Self {
        Self { shards: padded(workers), connects: Counter::default(), connect_failures: Counter::default() }
    }

    /// The counters that the worker of this index counts with; see [`Metrics::shard`].
    pub fn shard(&self, worker: usize) -> &ServerShard {
        nth(&self.shards, worker)
    }

    /// The sum of one counter over all workers.
    pub fn total(&self, counter: impl Fn(&ServerShard) -> &Tally) -> u64 {
        self.shards.iter().map(|shard| counter(&shard.0).value()).sum()
    }

    /// The latency of all workers.
    pub fn latency(&self) -> Latency {
        let mut latency = Latency { buckets: [0; BUCKETS], sum: Duration::ZERO };
        for shard in &self.shards {
            let histogram = &shard.0.latency;
            for (sum, bucket) in latency.buckets.iter_mut().zip(&histogram.buckets) {
                *sum += bucket.value();
            }
            latency.sum += Duration::from_nanos(histogram.nanos.value());
        }
        latency
    }
}

/// What one worker counts about one server.
#[derive(Debug, Default)]
pub struct ServerShard {
    /// Statements that only read.
    pub reads: Tally,
    /// Every other statement but what begins and ends transactions.
    pub writes: Tally,
    /// Transactions begun, explicit ones.
    pub transactions: Tally,
    /// Statements answered with an error, and connections lost.
    pub errors: Tally,
    /// From the first byte of the statement out to the last byte of its reply to the client.
    pub latency: Histogram,
}

/// Upper bound of the first bucket: 2^4 µs.
const FIRST_BOUND_LOG2: u32 = 4;
/// Bounds from 16 µs to 2^24 µs (16.8 s), each twice the one before, and one bucket for what is slower.
const BUCKETS: usize = 22;

/// Durations in buckets whose bounds double.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Tally; BUCKETS],
    nanos: Tally,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].inc();
        self.nanos.add(nanos);
    }
}

/// The bucket whose bounds hold a duration: `bounds[i - 1] < duration <= bounds[i]`.
fn bucket_of(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1000);
    // The number of doublings from the first bound: ⌈log2(micros)⌉ - 4.
    let log2_ceil = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (log2_ceil.saturating_sub(FIRST_BOUND_LOG2) as usize).min(BUCKETS - 1)
}

/// What a histogram held when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    buckets: [u64; BUCKETS],
    sum: Duration,
}

impl Latency {
    /// How many were observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Of all that were observed.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// For every bucket its upper bound (None: no bound) and how many were not above it: cumulative.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounded = |i: usize| i + 1 < BUCKETS;
        self.buckets.iter().enumerate().scan(0, move |seen, (i, in_bucket)| {
            *seen += in_bucket;
            let bound = bounded(i).then(|| Duration::from_micros(1 << (i as u32 + FIRST_BOUND_LOG2)));
            Some((bound, *seen))
        })
    }
}

fn padded<T: Default>(workers: usize) -> Box<[Padded<T>]> {
    (0..workers.max(1)).map(|_| Padded::default()).collect()
}

fn nth<T>(shards: &[Padded<T>], worker: usize) -> &T {
    &shards[worker.min(shards.len() - 1)].0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_between_its_bounds() {
        let micros = |n: u64| Duration::from_micros(n);
        let cases = [
            (Duration::ZERO, Some(micros(16))),
            (micros(16), Some(micros(16))),
            (Duration::from_nanos(16_001), Some(micros(32))),
            (micros(32), Some(micros(32))),
            (micros(33), Some(micros(64))),
            (micros(1 << 24), Some(micros(1 << 24))),
            (micros((1 << 24) + 1), None),
            (Duration::MAX, None),
        ];
        for (duration, bound) in cases {
            let metrics = ServerMetrics::new(1);
            metrics.shard(0).latency.observe(duration);
            let latency = metrics.latency();
            let first = latency.cumulative().find(|(_, seen)| *seen == 1).map(|(bound, _)| bound);
            assert_eq!(first, Some(bound), "{duration:?}");
            assert_eq!(latency.cumulative().last(), Some((None, 1)), "{duration:?}");
        }
    }

    #[test]
    fn shards_are_added_up() {
        let metrics = Metrics::new(2);
        for worker in [0, 1, 1, 7] {
            metrics.shard(worker).reason(Reason::Read).inc();
            metrics.shard(worker).pin(Pin::Cursor).add(2);
            metrics.shard(worker).clients_accepted.inc();
        }
        metrics.shard(1).reason(Reason::Write).inc();
        metrics.shard(0).clients_ended.inc();
        assert_eq!((metrics.reason(Reason::Read), metrics.pin(Pin::Cursor)), (4, 8));
        assert_eq!((metrics.statements(), metrics.clients()), (5, 3));
    }

    #[test]
    fn a_server_keeps_its_counters_until_it_is_forgotten() {
        let metrics = Metrics::new(3);
        metrics.server("db1").shard(2).reads.inc();
        assert_eq!(metrics.server("db1").total(|shard| &shard.reads), 1);
        metrics.forget("db1");
        assert!(metrics.servers().is_empty());
        assert_eq!(metrics.server("db1").total(|shard| &shard.reads), 0);
    }

    #[test]
    fn no_two_workers_share_a_cache_line() {
        let metrics = Metrics::new(2);
        let at = |worker| std::ptr::from_ref(metrics.shard(worker)) as usize;
        assert_eq!((at(0) % 128, at(1) % 128), (0, 0));
    }
}
