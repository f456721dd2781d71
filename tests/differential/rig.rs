//! The two sides, and the clients that play one script after the other on both.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use mysql_async::prelude::*;
use tokio::task::JoinSet;
use weir::sandbox::{Cluster, Flavor};

use super::{
    bed::{self, Bed},
    compare, generate,
    play::{Seen, play},
    script::Script,
    shrink::shrink,
};

/// Clients at a time, and the connections that they share on each server: far fewer, so that each is used by all.
const CLIENTS: usize = 8;
const CONNECTIONS: u32 = 4;

/// How often a script is played before it counts as one that shows no difference: some need the others' help.
const TRIES: usize = 2;

/// How often a script is played that meets a deadlock each time.
const DEADLOCKS: usize = 5;

/// Which sessions to play.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub first: u64,
    pub sessions: u64,
    /// After how many different sessions to stop.
    pub most: usize,
}

/// What was played, and found.
#[derive(Debug, Default)]
pub struct Report {
    sessions: u64,
    statements: u64,
    errors: u64,
    pub differences: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, statements, errors, differences } = self;
        write!(f, "{sessions} sessions, {statements} commands, {errors} errors, {} differ", differences.len())
    }
}

/// One server, and Weir in front of three.
pub struct Rig {
    flavor: Flavor,
    single: Cluster,
    bed: Bed,
}

impl Rig {
    pub async fn start(flavor: Flavor) -> Self {
        let (single, cluster) = tokio::join!(Cluster::start(flavor, 0), Cluster::start(flavor, 2));
        let (single, cluster) = (single.unwrap(), cluster.unwrap());
        for server in single.servers().chain(cluster.servers()) {
            server.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
            server.exec("SET GLOBAL innodb_lock_wait_timeout = 1").await.unwrap();
            server.exec("SET GLOBAL lock_wait_timeout = 20").await.unwrap();
        }
        let basics = bed::basics(&cluster).replace("role =", &format!("max_connections = {CONNECTIONS}\nrole ="));
        let bed = Bed::with_config(cluster, &(basics + "[pool]\nacquire_timeout = \"5m\"\nlinger = \"5m\"\n")).await;
        // From now on Weir knows that this user asks.
        bed.connect().await.query_drop("SELECT ROW_COUNT()").await.unwrap();
        Self { flavor, single, bed }
    }

    pub async fn stop(self) {
        self.bed.stop().await;
    }

    /// Plays the sessions of a plan.
    pub async fn run(&self, plan: &Plan) -> Report {
        let shared = Arc::new(Shared {
            flavor: self.flavor,
            ports: (self.single.writer.port(), self.bed.port()),
            plan: plan.clone(),
            next: AtomicU64::new(plan.first),
            enough: AtomicBool::new(false),
            report: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let shared = shared.clone();
            clients.spawn_local(async move { shared.client(&format!("s{number}")).await });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *shared.report.lock().unwrap())
    }
}

/// What the clients have in common.
struct Shared {
    flavor: Flavor,
    /// Of the single server and of Weir.
    ports: (u16, u16),
    plan: Plan,
    next: AtomicU64,
    enough: AtomicBool,
    report: Mutex<Report>,
}

impl Shared {
    /// One client after the other, in a schema of their own.
    async fn client(&self, schema: &str) {
        let Plan { seed, first, sessions, most } = self.plan;
        while !self.enough.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= first + sessions {
                return;
            }
            let script = generate::script(seed, number, schema);
            let (direct, weir) = self.play(&script, schema).await;
            let found = compare::difference(self.flavor, &script, &direct, &weir);
            {
                let mut report = self.report.lock().unwrap();
                report.sessions += 1;
                report.statements += weir.replies.len() as u64;
                report.errors += weir.replies.iter().filter(|reply| bed::raw::error(reply).is_some()).count() as u64;
            }
            let Some(found) = found else { continue };
            let text = self.explain(script, schema, found).await;
            let text = format!("session {number} of seed {seed} in {schema}:\n{text}");
            println!("{text}");
            let mut report = self.report.lock().unwrap();
            report.differences.push(text);
            self.enough.store(report.differences.len() >= most, Ordering::Relaxed);
        }
    }

    /// Plays a script on both sides; anew, when one of them met a deadlock: a session has none with itself, but those
    /// beside it make and drop tables, too, which in MySQL lock rows of the data dictionary.
    async fn play(&self, script: &Script, schema: &str) -> (Seen, Seen) {
        let (direct, weir) = self.ports;
        let script = Arc::new(script.clone());
        let once = || async {
            let (script, again) = (script.clone(), script.clone());
            tokio::join!(play(direct, script, schema.to_owned()), play(weir, again, schema.to_owned()))
        };
        let mut seen = once().await;
        for _ in 1..DEADLOCKS {
            if !seen.0.deadlocked() && !seen.1.deadlocked() {
                break;
            }
            seen = once().await;
        }
        seen
    }

    async fn differs(&self, script: &Script, schema: &str) -> Option<String> {
        for _ in 0..TRIES {
            let (direct, weir) = self.play(script, schema).await;
            let found = compare::difference(self.flavor, script, &direct, &weir);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The shortest script that shows a difference, and the difference.
    async fn explain(&self, script: Script, schema: &str, found: String) -> String {
        let mut last = found;
        let short = shrink(script, async |shorter| match self.differs(shorter, schema).await {
            Some(found) => {
                last = found;
                true
            }
            None => false,
        })
        .await;
        format!("{short}{last}")
    }
}
