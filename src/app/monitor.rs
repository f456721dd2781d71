//! Watches the servers: one probe task for each, whose results become health, topology and the next cluster snapshot.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};

use super::servers;
use crate::{
    backend::{
        Cluster, Report, Server, UNKNOWN_COLLATION,
        driver::Target,
        health::{Freshness, Health, Monitor, Policy, Writer},
        observation::Observation,
        probe::{self, ProbeError},
    },
    config::{Config, Role, ServerId, State},
    context::Context,
    protocol::{Capabilities, ServerVersion},
    sql::Mode,
};

/// A server that comes back gets its full share of the reads after this long.
const SLOW_START: Duration = Duration::from_secs(10);
/// A server that failed a probe is asked again this soon.
const QUICK: Duration = Duration::from_millis(200);

/// What a probe task reports.
pub struct Probed {
    id: ServerId,
    /// When the probe began.
    asked: Instant,
    result: Result<Observation, ProbeError>,
}

/// What is known of all servers, and the tasks that ask them.
pub struct Servers {
    context: Arc<Context>,
    watched: BTreeMap<ServerId, Watched>,
    results: mpsc::Sender<Probed>,
}

struct Watched {
    server: Arc<Server>,
    monitor: Monitor,
    last: Option<Observation>,
    probing: Probing,
    /// Probe now.
    poke: Arc<Notify>,
    task: JoinHandle<()>,
}

/// How a server is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Probing {
    /// None: there is no user to ask as.
    target: Option<Target>,
    interval: Duration,
    timeout: Duration,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watched {
    fn new(server: &Arc<Server>, policy: Policy, probing: Probing, results: mpsc::Sender<Probed>) -> Self {
        let poke = Arc::new(Notify::new());
        let task = tokio::task::spawn_local(ask(server.id.clone(), probing.clone(), poke.clone(), results));
        Self { server: server.clone(), monitor: Monitor::new(policy), last: None, probing, poke, task }
    }

    /// Goes on with what is known of the server, and asks it differently from now on.
    fn follow(&mut self, policy: Policy, probing: Probing, results: mpsc::Sender<Probed>) {
        self.monitor.set_policy(policy);
        if self.probing != probing {
            self.task.abort();
            self.task =
                tokio::task::spawn_local(ask(self.server.id.clone(), probing.clone(), self.poke.clone(), results));
            self.probing = probing;
        }
    }
}

impl Servers {
    /// Starts watching the servers of the context's cluster. The receiver gets what [`Self::probed`] takes.
    pub fn new(context: Arc<Context>) -> (Self, mpsc::Receiver<Probed>) {
        let (results, receiver) = mpsc::channel(64);
        let mut servers = Self { context, watched: BTreeMap::new(), results };
        servers.follow_config();
        (servers, receiver)
    }

    /// Watches what the config and the cluster name now, and nothing else.
    pub fn follow_config(&mut self) {
        let config = self.context.config.load_full();
        let cluster = self.context.cluster.load_full();
        self.watched.retain(|id, watched| {
            let member = cluster.members.iter().find(|member| member.server.id == *id);
            member.is_some_and(|member| Arc::ptr_eq(&member.server, &watched.server) && member.state != State::Offline)
        });
        for (member, server) in cluster.members.iter().zip(&config.servers) {
            if member.state == State::Offline {
                member.server.set_report(Report { health: "unknown".to_owned(), ..Report::default() });
                continue;
            }
            let target = Target::for_probes(&config, server);
            let probing = Probing { target, interval: config.probe.interval, timeout: config.probe.timeout };
            let results = self.results.clone();
            match self.watched.get_mut(&server.id) {
                Some(watched) => watched.follow(policy(&config), probing, results),
                None => {
                    let watched = Watched::new(&member.server, policy(&config), probing, results);
                    self.watched.insert(server.id.clone(), watched);
                }
            }
        }
        self.publish(Instant::now());
    }

    /// A session met a failure: look at the server now.
    pub fn suspect(&self, id: &ServerId) {
        if let Some(watched) = self.watched.get(id) {
            watched.poke.notify_one();
        }
    }

    /// Takes in one result and publishes what follows from it.
    pub fn probed(&mut self, probed: Probed) {
        let now = Instant::now();
        let writer_position = self.writer_position();
        let Some(watched) = self.watched.get_mut(&probed.id) else { return };
        let before = watched.monitor.health().clone();
        match probed.result {
            Ok(observation) => {
                let writer = writer_position.as_ref().map_or(Writer::Gone, |position| Writer::Up(position.as_ref()));
                watched.monitor.observed(now, &observation, writer);
                if watched.last.as_ref().is_some_and(|last| last.identity != observation.identity) {
                    watched.server.forget_position();
                }
                watched.server.tell(probed.asked, observation.position.as_ref());
                watched.last = Some(observation);
            }
            Err(error) => {
                tracing::debug!(server = %probed.id, %error, "probe failed");
                match error.is_answer() {
                    true => watched.monitor.refused(now, &error.to_string()),
                    false => watched.monitor.failed(now, &error.to_string()),
                }
            }
        }
        let down = matches!(watched.monitor.health(), Health::Down { .. });
        let dead = watched.monitor.is_dead();
        let died = dead && !watched.server.is_down();
        watched.server.set_down(dead);
        watched.server.set_report(report(watched));
        if before != *watched.monitor.health() {
            note_health(&probed.id, watched.monitor.health());
            if down {
                watched.server.pool.drop_idle();
            }
        }
        if died {
            self.context.sessions.all().iter().for_each(|handle| handle.wake());
        }
        self.publish(now);
    }

    /// The writer's position, if there is a writer.
    fn writer_position(&self) -> Option<Option<crate::protocol::gtid::Position>> {
        let cluster = self.context.cluster.load();
        let writer = cluster.members.get(cluster.writer?)?;
        let watched = self.watched.get(&writer.server.id)?;
        Some(watched.last.as_ref().and_then(|last| last.position.clone()))
    }

    /// Whether every server has answered or failed once.
    pub fn all_probed(&self) -> bool {
        let known = |watched: &Watched| *watched.monitor.health() != Health::Unknown;
        self.watched.values().all(known)
    }

    /// Publishes a snapshot if anything routes differently now.
    pub fn publish(&mut self, now: Instant) {
        let old = self.context.cluster.load_full();
        let mut new = Cluster::clone(&old);
        for member in &mut new.members {
            let Some(watched) = self.watched.get(&member.server.id) else {
                (member.up, member.fresh) = (false, false);
                continue;
            };
            member.up = *watched.monitor.health() == Health::Up;
            member.fresh = watched.monitor.serves_reads();
            member.effective_weight = watched.monitor.effective_weight(member.weight, now);
        }
        new.writer = self.find_writer(&new, old.writer);
        new.take_turns();
        if let Some(last) = self.reference(&new) {
            let version = ServerVersion::parse(last.version.as_bytes());
            new.mode = Mode { dialect: last.dialect, version: version.number, ..new.mode };
            new.version.clone_from(&last.version);
            new.collation = last.collation.unwrap_or(UNKNOWN_COLLATION);
            new.has_positions = last.position.is_some();
            new.extras = self.common(version.extras());
        }
        let mut seen = self.watched.values().filter_map(|watched| watched.last.as_ref()).peekable();
        new.repeatable_reads = seen.peek().is_none() || seen.any(|last| last.repeatable_reads);
        if new.routes_like(&old) {
            return;
        }
        let name = |cluster: &Cluster| {
            cluster.writer.and_then(|place| cluster.members.get(place)).map(|member| member.server.id.clone())
        };
        let (before, after) = (name(&old), name(&new));
        if before != after {
            let text = |id: Option<ServerId>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
            tracing::info!(before = text(before), after = text(after), "the writer changed");
        }
        self.context.publish(new);
    }

    /// What all servers have of the writer's capabilities. For those without query attributes, these are taken out; who
    /// has which definitions of columns is Weir's affair.
    fn common(&self, writer: Capabilities) -> Capabilities {
        let versions = self.watched.values().filter_map(|watched| watched.last.as_ref()).map(|last| &last.version);
        let extras = versions.map(|version| ServerVersion::parse(version.as_bytes()).extras());
        let of_weir = Capabilities::QUERY_ATTRIBUTES.with(Capabilities::CACHE_METADATA);
        extras.fold(writer, Capabilities::intersect).with(writer.intersect(of_weir))
    }

    /// The server whose version and position stand for all.
    fn reference(&self, cluster: &Cluster) -> Option<&Observation> {
        let writer = cluster.writer.and_then(|place| cluster.members.get(place));
        let up = || cluster.members.iter().find(|member| member.up);
        self.watched.get(&writer.or_else(up)?.server.id)?.last.as_ref()
    }

    /// A configured writer that is not read-only; else a server with role `auto` that is not; else one of those that are
    /// drained. The one that was the writer before is preferred.
    fn find_writer(&self, cluster: &Cluster, before: Option<usize>) -> Option<usize> {
        let writable = |place: &usize| {
            let Some(member) = cluster.members.get(*place) else { return false };
            let last = self.watched.get(&member.server.id).and_then(|watched| watched.last.as_ref());
            member.up && last.is_some_and(|last| !last.read_only)
        };
        let those = |(state, role): (State, Role)| {
            let wanted = |&place: &usize| (cluster.members[place].state, cluster.members[place].role) == (state, role);
            (0..cluster.members.len()).filter(wanted).filter(writable).collect::<Vec<_>>()
        };
        let states = [State::Active, State::Drain];
        let order = states.into_iter().flat_map(|state| [(state, Role::Writer), (state, Role::Auto)]);
        let candidates = order.map(those).find(|found| !found.is_empty()).unwrap_or_default();
        if candidates.len() > 1 {
            tracing::error!(count = candidates.len(), "several servers take writes; one of them is used");
        }
        before.filter(|place| candidates.contains(place)).or_else(|| candidates.first().copied())
    }
}

fn policy(config: &Config) -> Policy {
    Policy { rise: config.probe.rise, fall: config.probe.fall, max_lag: config.reads.max_lag, slow_start: SLOW_START }
}

fn report(watched: &Watched) -> Report {
    let health = match watched.monitor.health() {
        Health::Unknown => "unknown".to_owned(),
        Health::Down { cause } => format!("down: {cause}"),
        Health::Up if watched.monitor.freshness() == Freshness::Lagging => "lagging".to_owned(),
        Health::Up => "up".to_owned(),
    };
    let last = watched.last.as_ref();
    Report {
        version: last.map(|last| last.version.clone()),
        read_only: last.map(|last| last.read_only),
        lag: last.and_then(|last| last.lag),
        health,
    }
}

fn note_health(id: &ServerId, health: &Health) {
    match health {
        Health::Down { cause } => tracing::warn!(server = %id, %cause, "a server is down"),
        Health::Up => tracing::info!(server = %id, "a server is up"),
        Health::Unknown => {}
    }
}

/// Probes one server for ever.
async fn ask(id: ServerId, probing: Probing, poke: Arc<Notify>, results: mpsc::Sender<Probed>) {
    let Some(target) = probing.target else { return };
    let mut connection = None;
    loop {
        let asked = Instant::now();
        let result = probe::probe(&mut connection, &target, probing.timeout).await;
        let pause = if result.is_ok() { probing.interval } else { QUICK.min(probing.interval) };
        if results.send(Probed { id: id.clone(), asked, result }).await.is_err() {
            return;
        }
        // Either way it is time for the next probe.
        let _ = timeout(pause, poke.notified()).await;
    }
}

/// Does what has to be done from time to time: old connections are closed, and long statements looked after.
pub async fn sweep(context: Arc<Context>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        context.cluster.load().expire(servers::now());
        let patience = context.config.load().timeouts.server_silence;
        if let Some(before) = patience.and_then(|patience| Instant::now().checked_sub(patience)) {
            context.sessions.wake_long(before);
        }
    }
}
