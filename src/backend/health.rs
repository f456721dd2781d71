//! Whether a server is up and fresh enough for reads, and what share of its weight it gets. Pure: `now` is an
//! argument.
//!
//! Decides from probe results and from failures that sessions report. Leaves to others which server is the writer,
//! and whether a replica has what one session needs.

use std::time::{Duration, Instant};

use super::observation::{Observation, Replication};
use crate::protocol::gtid::Position;

/// When a server changes its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Good probes in a row before a server that was down is up.
    pub rise: u32,
    /// Failures in a row before a server that was up is down.
    pub fall: u32,
    /// A replica further behind gets no reads.
    pub max_lag: Duration,
    /// How long a server that returns takes to get its whole weight.
    pub slow_start: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Not probed yet.
    Unknown,
    Up,
    Down {
        /// The last failure.
        cause: String,
    },
}

/// How a server's data compare with the writer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Nobody can tell: the server does not know its delay and GTIDs prove nothing. Gets no reads.
    Unknown,
    /// Within `max_lag`.
    Fresh,
    /// Beyond `max_lag`. Gets no reads.
    Lagging,
}

/// The cluster's writer at the time of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer<'a> {
    /// There is none, or it is down.
    Gone,
    /// The newest position known of it. None: GTIDs are off.
    Up(Option<&'a Position>),
}

impl<'a> Writer<'a> {
    fn position(self) -> Option<&'a Position> {
        match self {
            Self::Up(position) => position,
            Self::Gone => None,
        }
    }
}

/// The health of one server over time.
#[derive(Debug, Clone)]
pub struct Monitor {
    policy: Policy,
    health: Health,
    freshness: Freshness,
    /// Good probes in a row.
    good: u32,
    /// Failures in a row.
    bad: u32,
    /// Those of them, in a row, to which nobody answered.
    silent: u32,
    last_failure: Option<Instant>,
    /// The writer's position at the probe before.
    reference: Option<Position>,
    /// News of the writer that the server has not got, and when they were noticed.
    awaited: Option<(Instant, Position)>,
    /// The delay that the server itself told last, and when.
    told: Option<(Instant, Duration)>,
    service: Service,
}

/// How long a server has been able to serve reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// Never until now.
    New,
    /// Since it was first probed: no slow start, or nobody would serve in the beginning.
    Full,
    /// Not now.
    Away,
    /// Again, since then.
    Returned(Instant),
}

/// Failures closer together than this are one event seen by many sessions, and count once.
const BURST: Duration = Duration::from_millis(100);

impl Monitor {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            health: Health::Unknown,
            freshness: Freshness::Unknown,
            good: 0,
            bad: 0,
            silent: 0,
            last_failure: None,
            reference: None,
            awaited: None,
            told: None,
            service: Service::New,
        }
    }

    /// After a reload: counts and state stay, the next result is judged by the new policy.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// A probe succeeded. The very first result decides at once, so that Weir is ready after one round.
    pub fn observed(&mut self, now: Instant, observation: &Observation, writer: Writer<'_>) {
        (self.bad, self.silent) = (0, 0);
        self.last_failure = None;
        self.good = self.good.saturating_add(1);
        if self.health == Health::Unknown || self.good >= self.policy.rise {
            self.health = Health::Up;
        }
        self.follow(now, observation, writer);
        self.told = observation.lag.map(|lag| (now, lag)).or(self.told);
        self.freshness = self.judge(now, observation, writer);
        self.reference = writer.position().cloned();
        self.note_service(now);
    }

    /// A probe was answered with an error: the server gets nothing new, and what runs there may go on.
    pub fn refused(&mut self, now: Instant, cause: &str) {
        self.failed(now, cause);
        self.silent = 0;
    }

    /// A probe failed, or a session could not connect. Not for a connection that broke in use: a `KILL` does that too.
    pub fn failed(&mut self, now: Instant, cause: &str) {
        if self.last_failure.is_some_and(|last| now.saturating_duration_since(last) < BURST) {
            return;
        }
        self.last_failure = Some(now);
        self.good = 0;
        self.bad = self.bad.saturating_add(1);
        self.silent = self.silent.saturating_add(1);
        if self.health != Health::Up || self.bad >= self.policy.fall {
            self.health = Health::Down { cause: cause.to_owned() };
            self.note_service(now);
        }
    }

    /// Whether nobody answers there any more, so that what runs there will not end.
    pub fn is_dead(&self) -> bool {
        matches!(self.health, Health::Down { .. }) && self.silent >= self.policy.fall
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Whether it may get reads at all; whether it has a session's own writes is checked on top.
    pub fn serves_reads(&self) -> bool {
        self.health == Health::Up && self.freshness == Freshness::Fresh
    }

    /// The share of reads it gets now: a server that returned starts with a tenth of `configured` and grows to all
    /// of it within `slow_start`. Only a weight of 0 gives 0.
    pub fn effective_weight(&self, configured: u32, now: Instant) -> u32 {
        let Service::Returned(since) = self.service else { return configured };
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= self.policy.slow_start {
            return configured;
        }
        let share = (elapsed.as_secs_f64() / self.policy.slow_start.as_secs_f64()).max(0.1);
        let weight = (f64::from(configured) * share) as u32;
        weight.max(configured.min(1))
    }

    /// Notes which news of the writer the server does not have yet. Only news count: a replica may lack ancient
    /// GTIDs for good, for instance of a domain or a server that is no more.
    fn follow(&mut self, now: Instant, observation: &Observation, writer: Writer<'_>) {
        let (Some(position), Some(newest)) = (&observation.position, writer.position()) else {
            self.awaited = None;
            return;
        };
        // What a new writer has not got was lost in a failover, and nobody will ever get it.
        self.awaited.take_if(|(_, news)| position.covers(news) || !newest.covers(news));
        if self.awaited.is_none() {
            let news = self.reference.as_ref().map(|reference| newest.since(reference));
            self.awaited = news.filter(|news| !position.covers(news)).map(|news| (now, news));
        }
    }

    /// Leaves at `max_lag`, returns at four fifths of it: a replica around the limit does not come and go.
    ///
    /// - A replica whose source has silently gone believes for up to a minute that it has everything; that the writer's
    ///   news do not arrive shows earlier.
    /// - Where the server cannot tell its delay (replication stopped or cut, no grant), GTIDs can: with all that the
    ///   writer had at the probe before, it is about one interval behind.
    /// - Where replication is cut, the delay cannot have grown faster than time since the server last told it. So a
    ///   replica whose source just died is as fresh as it was, before the source is found dead.
    /// - Without a writer the last verdict stays: replicas that lost their source are as fresh as data can be, and
    ///   reads go on during a failover.
    fn judge(&self, now: Instant, observation: &Observation, writer: Writer<'_>) -> Freshness {
        let waits = self.awaited.as_ref().map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since));
        let lag = match observation.replication {
            Replication::NotAReplica => Some(Duration::ZERO),
            _ => observation.lag,
        };
        match lag.map(|lag| lag.max(waits)) {
            Some(lag) if lag > self.policy.max_lag => Freshness::Lagging,
            Some(lag) if self.freshness == Freshness::Lagging && lag > self.policy.max_lag * 4 / 5 => {
                Freshness::Lagging
            }
            Some(_) => Freshness::Fresh,
            None if self.has_reference(observation) => Freshness::Fresh,
            None if writer == Writer::Gone => self.freshness,
            None if self.greatest_delay(now, observation).is_some_and(|lag| lag.max(waits) <= self.policy.max_lag) => {
                Freshness::Fresh
            }
            None => Freshness::Unknown,
        }
    }

    fn greatest_delay(&self, now: Instant, observation: &Observation) -> Option<Duration> {
        let cut = matches!(observation.replication, Replication::Disconnected { .. });
        let (at, lag) = self.told.filter(|_| cut)?;
        Some(lag + now.saturating_duration_since(at))
    }

    fn has_reference(&self, observation: &Observation) -> bool {
        match (&observation.position, &self.reference) {
            (Some(position), Some(reference)) => position.covers(reference),
            _ => false,
        }
    }

    fn note_service(&mut self, now: Instant) {
        self.service = match (self.service, self.serves_reads()) {
            (Service::New, true) => Service::Full,
            (Service::Away, true) => Service::Returned(now),
            (Service::New, false) => Service::New,
            (_, false) => Service::Away,
            (Service::Full | Service::Returned(_), true) => return,
        };
    }
}

#[cfg(test)]
mod tests;
