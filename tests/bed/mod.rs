//! A test bed: real servers, and Weir in front of them in this process.
#![allow(dead_code, reason = "every test binary uses its part of the bed")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test bed that cannot be set up fails the test")]

pub mod dns;
pub mod fake;
pub mod folder;
pub mod http;
pub mod load;
pub mod process;
pub mod raw;
pub mod readers;
pub mod relay;
pub mod stock;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub use folder::Folder;
use relay::Relay;

use mysql_async::{Conn, OptsBuilder, SslOpts, prelude::*};
use weir::{
    app::{self, Running, Source},
    config::{self, ProcessSecrets, State},
    sandbox::{Cluster, Flavor, Installation},
    telemetry::{Pin, Reason},
};

/// How long a condition may take to come true on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The server families to test with: those that are installed, and those that `WEIR_REQUIRE` names, which must be.
pub fn flavors() -> Vec<Flavor> {
    Flavor::ALL.into_iter().filter(|flavor| is_tested(*flavor)).collect()
}

/// Whether a server family is one of [`flavors`].
pub fn is_tested(flavor: Flavor) -> bool {
    let required = std::env::var("WEIR_REQUIRE").unwrap_or_default();
    let found = Installation::find(flavor).is_some();
    assert!(found || !required.split(',').any(|name| name == flavor.name()), "{flavor} is required and missing");
    if !found {
        eprintln!("skipped: {flavor} is not installed");
    }
    found
}

/// A writer, replicas, and Weir in front of them.
pub struct Bed {
    pub cluster: Cluster,
    pub weir: Running,
    folder: Folder,
}

impl Bed {
    /// A writer `db0` and two replicas `db1`, `db2`, and a config with `extra` behind the basics of [`basics`].
    pub async fn start(flavor: Flavor, extra: &str) -> Self {
        let cluster = Cluster::start(flavor, 2).await.unwrap();
        Self::with(cluster, extra).await
    }

    /// Weir in front of servers that are there.
    pub async fn with(cluster: Cluster, extra: &str) -> Self {
        let text = basics(&cluster) + extra;
        Self::with_config(cluster, &text).await
    }

    /// Weir with a relay in front of each server, in the order of [`Cluster::servers`].
    pub async fn with_relays(cluster: Cluster, extra: &str) -> (Self, Vec<Relay>) {
        // A relay looks into what passes.
        let mut text = basics(&cluster) + "[tls.server]\nmode = \"disabled\"\n" + extra;
        let mut relays = Vec::new();
        for server in cluster.servers() {
            let relay = Relay::start(server.address()).await;
            text = text.replace(&server.address().to_string(), &relay.address.to_string());
            relays.push(relay);
        }
        (Self::with_config(cluster, &text).await, relays)
    }

    /// Weir with exactly this config, in a file that can be edited, when it knows its servers.
    pub async fn with_config(cluster: Cluster, text: &str) -> Self {
        let folder = Folder::new("bed");
        let path = PathBuf::from(folder.file("weir.toml", text));
        let config = config::parse(text, &ProcessSecrets).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let weir = app::start(config, Source::File(path)).await.unwrap();
        let bed = Self { cluster, weir, folder };
        // On a busy machine Weir opens its doors before the first probes are back.
        until("every server serves", async || bed.is_complete()).await;
        bed
    }

    /// Whether every server is up that is to serve, and the cluster's replicas get reads.
    fn is_complete(&self) -> bool {
        let cluster = self.weir.context.cluster.load();
        let replicas: Vec<_> = (1..=self.cluster.replicas.len()).map(|number| format!("db{number}")).collect();
        cluster.members.iter().filter(|member| member.state == State::Active).all(|member| {
            let replica = replicas.iter().any(|name| name == member.server.id.as_str());
            member.up && (member.fresh || !replica)
        })
    }

    /// The config file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("weir.toml")
    }

    /// Replaces the config file, at once.
    pub fn edit(&self, text: &str) {
        let new = self.folder.file("new.toml", text);
        std::fs::rename(new, self.config_file()).unwrap();
    }

    pub fn port(&self) -> u16 {
        self.weir.addresses.listeners[0].unwrap().port()
    }

    /// Options for the user `app` in the schema `app`, through Weir.
    pub fn options(&self) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port())
            // The driver would ask for the server's own socket, and go round Weir.
            .prefer_socket(false)
            .user(Some("app"))
            .pass(Some("app-secret"))
            .db_name(Some("app"))
    }

    pub async fn connect(&self) -> Conn {
        Conn::new(self.options()).await.unwrap()
    }

    pub async fn connect_tls(&self) -> Conn {
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        Conn::new(self.options().ssl_opts(Some(tls))).await.unwrap()
    }

    /// Statements that were routed for a reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.weir.context.metrics.reason(reason)
    }

    /// Times that a session was pinned for a reason.
    pub fn pinned(&self, pin: Pin) -> u64 {
        self.weir.context.metrics.pin(pin)
    }

    /// Reads and other statements that a server has served.
    pub fn served(&self, name: &str) -> (u64, u64) {
        let metrics = self.weir.context.metrics.server(name);
        (metrics.total(|shard| &shard.reads), metrics.total(|shard| &shard.writes))
    }

    /// Whether a server gets reads.
    pub fn serves(&self, name: &str) -> bool {
        let cluster = self.weir.context.cluster.load();
        let member = cluster.members.iter().find(|member| member.server.id.as_str() == name).unwrap();
        member.up && member.fresh
    }

    /// Waits until a server gets reads, or gets none any more.
    pub async fn until_serves(&self, name: &str, expected: bool) {
        until(&format!("{name} serves: {expected}"), || async { self.serves(name) == expected }).await;
    }

    /// The name of the writer.
    pub fn writer(&self) -> Option<String> {
        let cluster = self.weir.context.cluster.load();
        cluster.writer().map(|place| cluster.members[place].server.id.to_string())
    }

    /// Ends Weir and the servers.
    pub async fn stop(self) {
        self.weir.shut_down();
        self.weir.ended().await;
    }
}

/// A config for a cluster: one listener on any port, the servers, the user `app`, the probe's user, doors on any port.
pub fn basics(cluster: &Cluster) -> String {
    let mut text = String::from("[[listeners]]\naddress = \"127.0.0.1:0\"\n");
    for (number, server) in cluster.servers().enumerate() {
        let role = if number == 0 { "writer" } else { "replica" };
        text.push_str(&format!(
            "[[servers]]\nname = \"db{number}\"\naddress = \"127.0.0.1:{}\"\nrole = \"{role}\"\n",
            server.port()
        ));
    }
    text.push_str("[[users]]\nname = \"app\"\npassword = \"app-secret\"\n");
    text.push_str("[probe]\nuser = \"probe\"\npassword = \"probe-secret\"\ninterval = \"200ms\"\n");
    text.push_str("[admin]\nconsole = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n");
    text
}

/// Waits until `condition` holds; fails the test if it does not within [`PATIENCE`].
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The port of the server that answers a statement.
pub async fn answering_port(conn: &mut Conn, hint: &str) -> u16 {
    conn.query_first(format!("{hint}SELECT @@port")).await.unwrap().unwrap()
}

/// Resident memory of this process, which Weir is part of, MiB.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The number and SQLSTATE of an error that a server sent.
pub fn server_error(error: &mysql_async::Error) -> (u16, String) {
    match error {
        mysql_async::Error::Server(error) => (error.code, error.state.clone()),
        other => panic!("not a server's error: {other}"),
    }
}
