//! What the sessions know of the servers: an immutable snapshot, swapped whole when health, topology or config change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{Links, Pool, shelf::Ages};
use crate::{
    config::{self, Balance, Rank, Role, ServerId, State},
    protocol::{Capabilities, ServerVersion, gtid::Position},
    routing::Candidate,
    sql::{Dialect, Mode, StoredCode},
    telemetry::ServerMetrics,
};

/// A server behind us: what lives on from snapshot to snapshot.
#[derive(Debug)]
pub struct Server {
    pub id: ServerId,
    pub address: config::Address,
    pub pool: Arc<Pool>,
    pub metrics: Arc<ServerMetrics>,
    /// What it is known to have executed; only grows.
    position: ArcSwapOption<Position>,
    /// What its probes have told of that.
    told: ArcSwapOption<Told>,
    /// The monitor found it dead: whoever waits for it need not.
    down: AtomicBool,
    /// When it last did not get to a position in time.
    late: ArcSwapOption<Instant>,
    report: ArcSwap<Report>,
}

/// What probes have told of a server's position.
#[derive(Debug)]
struct Told {
    /// What the first one told, and when it had.
    first: Arc<(Instant, Position)>,
    /// When the last one began.
    asked: Instant,
    /// What the server has executed between the two.
    news: Position,
}

/// What a server has executed that it may have been told until some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// All of it is in this. What was there before anybody could write through Weir is not.
    Within(Position),
    /// The next probe tells.
    Awaited,
    /// Nobody can tell: there are no GTIDs, or were none then.
    Unknown,
}

/// How long nobody waits for a server that was late.
const LATE: Duration = Duration::from_secs(1);

/// What the last probe said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub version: Option<String>,
    pub read_only: Option<bool>,
    pub lag: Option<Duration>,
    /// `up`, `lagging`, `unknown`, or `down` with the cause.
    pub health: String,
}

impl Server {
    pub fn new(config: &config::Server, metrics: Arc<ServerMetrics>, ages: Ages) -> Self {
        let pool = Pool::new(config.address.clone(), metrics.clone(), config.max_connections, ages);
        Self {
            id: config.id.clone(),
            address: config.address.clone(),
            pool: Arc::new(pool),
            metrics,
            position: ArcSwapOption::empty(),
            told: ArcSwapOption::empty(),
            down: AtomicBool::new(false),
            late: ArcSwapOption::empty(),
            report: ArcSwap::default(),
        }
    }

    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    pub fn set_report(&self, report: Report) {
        self.report.store(Arc::new(report));
    }

    /// Whether nobody answers there. (A server that answers its probes with errors is not asked for new work, either,
    /// but what runs there goes on.)
    pub fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Relaxed);
    }

    /// A session waited in vain until it has what that session wrote.
    pub fn note_late(&self, now: Instant) {
        self.late.store(Some(Arc::new(now)));
    }

    /// Whether it is not worth waiting for: a session did so in vain a moment ago.
    pub fn was_late(&self, now: Instant) -> bool {
        self.late.load().as_ref().is_some_and(|late| now.saturating_duration_since(**late) < LATE)
    }

    pub fn position(&self) -> Option<Arc<Position>> {
        self.position.load_full()
    }

    /// Whether it is known to have executed all of `required`.
    pub fn covers(&self, required: &Position) -> bool {
        self.position.load().as_ref().is_some_and(|position| position.covers(required))
    }

    /// It is known to have executed `executed`, too.
    pub fn advance(&self, executed: &Position) {
        self.position.rcu(|known| match known {
            Some(known) if known.covers(executed) => Some(known.clone()),
            Some(known) => {
                let mut merged = Position::clone(known);
                merged.merge(executed);
                Some(Arc::new(merged))
            }
            None => Some(Arc::new(executed.clone())),
        });
    }

    /// It is another server now (its identity changed), so that what it had says nothing.
    pub fn forget_position(&self) {
        self.position.store(None);
        self.told.store(None);
    }

    /// A probe that began at `asked` was told that it has executed `executed`, or that it has no GTIDs.
    pub fn tell(&self, asked: Instant, executed: Option<&Position>) {
        let Some(executed) = executed else { return self.told.store(None) };
        self.advance(executed);
        let first = match self.told.load().as_deref() {
            Some(told) => told.first.clone(),
            None => Arc::new((Instant::now(), executed.clone())),
        };
        let news = executed.since(&first.1);
        self.told.store(Some(Arc::new(Told { first, asked, news })));
    }

    /// What it has executed that was over by `moment`.
    pub fn executed_by(&self, moment: Instant) -> Executed {
        match self.told.load().as_deref() {
            Some(told) if moment < told.first.0 => Executed::Unknown,
            Some(told) if told.asked <= moment => Executed::Awaited,
            Some(told) => Executed::Within(told.news.clone()),
            None => Executed::Unknown,
        }
    }
}

/// One server's part in a snapshot.
#[derive(Debug, Clone)]
pub struct Member {
    pub server: Arc<Server>,
    pub role: Role,
    pub state: State,
    pub groups: Vec<String>,
    /// Its configured share of the reads.
    pub weight: u32,
    /// Its share of the reads now, as it starts slowly.
    pub effective_weight: u32,
    /// It answers probes and takes logins.
    pub up: bool,
    /// It is fresh enough for reads.
    pub fresh: bool,
    pub rank: Option<Rank>,
    /// Others whose turn is before its own serve the reads.
    pub stands_by: bool,
}

impl Member {
    fn takes_new_leases(&self) -> bool {
        self.up && self.state == State::Active
    }

    /// Whether its turn is before the other's.
    fn precedes(&self, other: &Self) -> bool {
        let (Some(own), Some(other)) = (&self.rank, &other.rank) else { return false };
        own.name == other.name && own.priority < other.priority
    }
}

/// The servers at one moment.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub members: Vec<Member>,
    /// The place of the writer.
    pub writer: Option<usize>,
    pub links: Arc<Links>,
    /// How the servers read SQL.
    pub mode: Mode,
    /// The version that clients are greeted with.
    pub version: String,
    /// The collation that clients are greeted with: some choose their own by it.
    pub collation: u8,
    /// What changes bytes of commands or results and not every server has, as far as these have it.
    pub extras: Capabilities,
    /// Whether commits can be followed by their GTIDs. Without, reads after a write go to the writer for a while.
    pub has_positions: bool,
    /// Some server's default isolation level promises that reads can be repeated.
    pub repeatable_reads: bool,
    /// The code that is stored in the writer.
    pub stored: Arc<StoredCode>,
    /// Grows with every snapshot.
    pub generation: u64,
}

/// The version that clients are greeted with before any server has told its own.
pub const UNKNOWN_VERSION: &str = "8.0.36-weir";

/// The collation that clients are greeted with where no server's is known: utf8mb4_general_ci.
pub const UNKNOWN_COLLATION: u8 = 45;

impl Cluster {
    /// Nobody is known to be up yet.
    pub fn new(members: Vec<Member>, links: Arc<Links>) -> Self {
        let mode = Mode { dialect: Dialect::MySql, version: 80_036, ansi_quotes: false, no_backslash_escapes: false };
        Self {
            members,
            writer: None,
            links,
            mode,
            version: UNKNOWN_VERSION.to_owned(),
            collation: UNKNOWN_COLLATION,
            extras: ServerVersion::parse(UNKNOWN_VERSION.as_bytes()).extras(),
            has_positions: false,
            repeatable_reads: true,
            stored: Arc::default(),
            generation: 0,
        }
    }

    /// The writer, if it takes statements.
    pub fn writer(&self) -> Option<usize> {
        self.writer.filter(|&place| self.members.get(place).is_some_and(Member::takes_new_leases))
    }

    /// [`Self::writer`], if it is another one than `server`.
    pub fn writer_but(&self, server: &Server) -> Option<usize> {
        self.writer().filter(|_| !self.is_writer(server))
    }

    pub fn is_writer(&self, server: &Server) -> bool {
        self.writer.and_then(|place| self.members.get(place)).is_some_and(|writer| writer.server.id == server.id)
    }

    /// Whether a server is one of these, and neither drained nor offline.
    pub fn is_active(&self, server: &Arc<Server>) -> bool {
        self.members.iter().any(|member| Arc::ptr_eq(&member.server, server) && member.state == State::Active)
    }

    pub fn place_of(&self, name: &[u8]) -> Option<usize> {
        let found = |member: &Member| member.server.id.as_str().as_bytes() == name;
        self.members.iter().position(found).filter(|&place| self.members[place].takes_new_leases())
    }

    /// Who may serve a plain read, of those whose place `fits`: fresh replicas with a weight, and the writer if it has one.
    pub fn readers(&self, balance: Balance, fits: impl Fn(usize) -> bool, found: &mut Vec<Candidate>) {
        self.candidates(balance, found, |place, member| member.weight > 0 && fits(place));
    }

    /// Who may serve a read of a group, likewise. Weights of 0 take part if all are 0.
    pub fn group(&self, name: &[u8], balance: Balance, fits: impl Fn(usize) -> bool, found: &mut Vec<Candidate>) {
        let is_in = |member: &Member| member.groups.iter().any(|group| group.as_bytes() == name);
        self.candidates(balance, found, |place, member| is_in(member) && fits(place));
    }

    /// Finds out who stands by: of the servers of one SRV name only those with the lowest priority serve reads, of those that
    /// can.
    pub fn take_turns(&mut self) {
        let serves = |place, member: &Member| {
            member.takes_new_leases() && (member.fresh || self.writer == Some(place)) && member.weight > 0
        };
        let stands_by = |member: &Member| {
            let before = |(place, other): (usize, &Member)| other.precedes(member) && serves(place, other);
            self.members.iter().enumerate().any(before)
        };
        let stand_by: Vec<bool> = self.members.iter().map(stands_by).collect();
        for (member, stands_by) in self.members.iter_mut().zip(stand_by) {
            member.stands_by = stands_by;
        }
    }

    fn candidates(&self, balance: Balance, found: &mut Vec<Candidate>, wanted: impl Fn(usize, &Member) -> bool) {
        found.clear();
        found.extend(self.members.iter().enumerate().filter_map(|(place, member)| {
            let fresh = member.fresh || self.writer == Some(place);
            if !(member.takes_new_leases() && fresh && !member.stands_by && wanted(place, member)) {
                return None;
            }
            // Only this balance needs the pool's lock.
            let outstanding = match balance {
                Balance::RoundRobin => 0,
                Balance::LeastOutstanding => member.server.pool.counts().1,
            };
            Some(Candidate { place, weight: member.effective_weight, outstanding })
        }));
    }

    /// Whether `other` routes the same way, so that nobody needs to hear of it.
    pub fn routes_like(&self, other: &Self) -> bool {
        let key = |member: &Member| {
            let Member { server, role, state, groups, weight, effective_weight, up, fresh, rank, stands_by } =
                member.clone();
            let serves = (up, fresh, stands_by);
            (Arc::as_ptr(&server) as usize, role, state, groups, (weight, effective_weight), serves, rank)
        };
        self.writer == other.writer
            && self.mode == other.mode
            && self.version == other.version
            && self.collation == other.collation
            && self.extras == other.extras
            && self.has_positions == other.has_positions
            && self.repeatable_reads == other.repeatable_reads
            && Arc::ptr_eq(&self.links, &other.links)
            && self.members.len() == other.members.len()
            && self.members.iter().zip(&other.members).all(|(one, other)| key(one) == key(other))
    }

    /// Closes idle connections that are too old.
    pub fn expire(&self, now: Instant) {
        for member in &self.members {
            member.server.pool.expire(now);
        }
    }
}
