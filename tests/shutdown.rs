//! The end of a Weir: nobody new, a goodbye for the idle, time for transactions, and an exit in time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bed::{Folder, PATIENCE, basics, flavors, http, process::Process, server_error, until};
use mysql_async::{Conn, OptsBuilder, prelude::*};
use weir::sandbox::Cluster;

/// The binary in front of a writer, with a Unix socket beside its TCP port.
struct Front {
    weir: Process,
    /// None: no server family is installed.
    cluster: Cluster,
    folder: Folder,
    address: SocketAddr,
}

impl Front {
    async fn start(extra: &str) -> Option<Self> {
        let cluster = Cluster::start(flavors().into_iter().next()?, 0).await.unwrap();
        cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
        let folder = Folder::new("shutdown");
        let socket = format!("[[listeners]]\naddress = \"unix:{}/socket\"\n", folder.path().display());
        let file = folder.file("weir.toml", &format!("{}{socket}{extra}", basics(&cluster)));
        let weir = Process::start(&["run", "--config", &file]);
        let address = weir.address("listening").await;
        Some(Self { weir, cluster, folder, address })
    }

    fn options(&self) -> OptsBuilder {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.address.port());
        options.prefer_socket(false).user(Some("app")).pass(Some("app-secret")).db_name(Some("app"))
    }

    async fn connect(&self) -> Conn {
        Conn::new(self.options()).await.unwrap()
    }

    /// Waits for the end, which must be an orderly one.
    async fn exit(mut self) -> String {
        let status = self.weir.exit().await;
        assert_eq!(status.code(), Some(0), "{}", self.weir.log());
        assert!(!self.folder.path().join("socket").exists(), "the socket's file is left");
        self.weir.log()
    }
}

/// The error that ends a session.
async fn last_word(conn: &mut Conn) -> mysql_async::Error {
    let mut error = None;
    until("the session is told to end", async || {
        error = conn.query_drop("SELECT 1").await.err();
        error.is_some()
    })
    .await;
    error.unwrap()
}

#[tokio::test]
async fn a_transaction_may_end_and_the_idle_are_sent_away() {
    let Some(front) = Front::start("[timeouts]\ndrain_delay = \"1s\"\ndrain = \"60s\"\n").await else {
        return;
    };
    let door = front.weir.address("HTTP is open").await;
    assert_eq!(http::get(door, "/readyz").await.0, 200);
    let (mut idle, mut served) = (front.connect().await, front.connect().await);
    let mut busy = front.connect().await;
    busy.query_drop("BEGIN").await.unwrap();
    busy.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    let signalled = Instant::now();
    front.weir.signal("TERM");
    until("readiness is false", || async { http::get(door, "/readyz").await.0 == 503 }).await;
    // During the delay everything goes on: who sends clients here has not noticed yet.
    let goes_on = served.query_drop("SELECT 1").await.is_ok() && Conn::new(front.options()).await.is_ok();
    assert!(goes_on || signalled.elapsed() >= Duration::from_secs(1), "it ends before its time");
    assert_eq!(http::get(door, "/livez").await.0, 200);
    until("nobody new is let in", || async { Conn::new(front.options()).await.is_err() }).await;
    assert!(signalled.elapsed() >= Duration::from_secs(1), "the delay is waited for");
    // Whoever asks before the news gets there has an answer.
    let error = last_word(&mut idle).await;
    assert_eq!(server_error(&error), (1053, "08S01".to_owned()), "{error}");
    // The transaction goes on, and its commit is its last statement.
    busy.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    busy.query_drop("COMMIT").await.unwrap();
    // A free session is closed.
    last_word(&mut busy).await;
    let rows = front.cluster.writer.rows("SELECT COUNT(*) FROM app.t").await.unwrap();
    assert_eq!(rows[0].get::<u32, _>(0), Some(2));
    let log = front.exit().await;
    assert!(log.contains("shut down cut=0"), "{log}");
}

#[tokio::test]
async fn at_the_deadline_the_rest_is_cut() {
    let Some(front) = Front::start("[timeouts]\ndrain = \"1s\"\n").await else { return };
    let (mut waiting, mut running, mut stuck) = (front.connect().await, front.connect().await, front.connect().await);
    waiting.query_drop("BEGIN").await.unwrap();
    waiting.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    let running = tokio::spawn(async move { running.query_drop("SELECT SLEEP(100)").await.unwrap_err() });
    // It waits for a lock within a transaction. Whoever has the lock is not cut, or the insert might succeed first.
    let mut holder = front.cluster.writer.connect().await.unwrap();
    holder.query_drop("BEGIN").await.unwrap();
    holder.query_drop("INSERT INTO app.t VALUES (2)").await.unwrap();
    let stuck = tokio::spawn(async move {
        stuck.query_drop("BEGIN").await.unwrap();
        stuck.query_drop("INSERT INTO t VALUES (2)").await.unwrap_err()
    });
    until("all three run", || async {
        // By their texts: servers list a statement for a moment after they have answered it.
        let list = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app' \
                    AND (info LIKE 'SELECT SLEEP%' OR info LIKE 'INSERT INTO t VALUES (2)%')";
        front.cluster.writer.rows(list).await.unwrap()[0].get::<u32, _>(0) == Some(2)
    })
    .await;
    front.weir.signal("TERM");
    for cut in [running, stuck] {
        let error = tokio::time::timeout(PATIENCE, cut).await.unwrap().unwrap();
        assert_eq!(server_error(&error), (1053, "08S01".to_owned()), "{error}");
    }
    let error = waiting.query_drop("COMMIT").await.unwrap_err();
    assert_eq!(server_error(&error), (1053, "08S01".to_owned()), "{error}");
    until("what was cut is rolled back", || async {
        let rows = front.cluster.writer.rows("SELECT COUNT(*) FROM app.t").await.unwrap();
        rows[0].get::<u32, _>(0) == Some(0)
    })
    .await;
    let log = front.exit().await;
    assert!(log.contains("shut down cut=3"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let Some(front) = Front::start("[timeouts]\ndrain = \"1h\"\n").await else { return };
        let mut busy = front.connect().await;
        busy.query_drop("BEGIN").await.unwrap();
        busy.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        front.weir.signal(first);
        front.weir.logged("shutting down").await;
        front.weir.signal(second);
        let log = front.exit().await;
        assert!(log.contains("ending at once cut=1"), "{first} {second}: {log}");
    }
}

#[tokio::test]
async fn a_session_that_waits_for_a_server_does_not_hold_up_the_end() {
    let extra = "[timeouts]\ndrain = \"1s\"\n[failover]\nhold = \"10m\"\n";
    let Some(front) = Front::start(extra).await else { return };
    let mut waiting = front.connect().await;
    front.cluster.writer.kill().await.unwrap();
    front.weir.logged("a server is down").await;
    let waiting = tokio::spawn(async move { waiting.query_drop("INSERT INTO t VALUES (1)").await.unwrap_err() });
    let console = front.weir.address("the console is open").await;
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(console.port()).prefer_socket(false);
    let mut console = Conn::new(options.user(Some("admin"))).await.unwrap();
    console.query_drop("SHUTDOWN").await.unwrap();
    let error = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(server_error(&error), (1053, "08S01".to_owned()), "{error}");
    // The console answers to the end.
    drop(console);
    front.exit().await;
}
