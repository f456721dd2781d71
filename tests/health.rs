//! Servers die, freeze, drag, talk nonsense and break in the middle of a reply; clients hang up and stop reading.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bed::{
    Bed,
    fake::{Fake, Script, error, packet},
    flavors,
    relay::{Fault, Line, Relay},
    server_error, until,
};
use mysql_async::{Conn, prelude::*};
use tokio::{sync::watch, task::JoinHandle};
use weir::{
    sandbox::{Cluster, Flavor},
    telemetry::Reason,
};

/// Rows of `t`, with values over 100 kB in all.
const ROWS: u32 = 500;

async fn fill(bed: &Bed) -> Conn {
    let mut conn = bed.connect().await;
    conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT)").await.unwrap();
    let rows = vec![format!("('{}')", "x".repeat(300)); ROWS as usize].join(",");
    conn.query_drop(format!("INSERT INTO t (v) VALUES {rows}")).await.unwrap();
    bed.cluster.wait_caught_up().await.unwrap();
    conn
}

/// Sessions that read all the time, and stop at the first error or wrong answer.
struct Readers {
    reads: Arc<AtomicU32>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), String>>>,
}

impl Readers {
    async fn start(bed: &Bed, count: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let reads = Arc::new(AtomicU32::new(0));
        let mut tasks = Vec::new();
        for number in 0..count {
            let (mut conn, stopped, reads) = (bed.connect().await, stopped.clone(), reads.clone());
            tasks.push(tokio::spawn(async move {
                while !*stopped.borrow() {
                    let id = number + 1;
                    let answer =
                        conn.query_first::<(u32, u32), _>(format!("SELECT id, LENGTH(v) FROM t WHERE id = {id}"));
                    let answer = answer.await.map_err(|error| error.to_string())?;
                    if answer != Some((id, 300)) {
                        return Err(format!("a wrong answer: {answer:?}"));
                    }
                    reads.fetch_add(1, Relaxed);
                }
                Ok(())
            }));
        }
        Self { reads, stop, tasks }
    }

    /// Waits until that many more reads were answered.
    async fn go_on(&self, count: u32, what: &str) {
        let target = self.reads.load(Relaxed) + count;
        until(&format!("reads go on: {what}"), async || {
            self.reads.load(Relaxed) >= target || self.tasks.iter().any(JoinHandle::is_finished)
        })
        .await;
    }

    async fn end(self, what: &str) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap().unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

const QUICK_PROBES: &str = "[timeouts]\nconnect = \"2s\"\n";

/// Breaks the first replica in one way and mends it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Killed,
    Frozen,
    Stopped,
    PortClosed,
    Silent,
}

impl Trouble {
    const ALL: [Self; 5] = [Self::Killed, Self::Frozen, Self::Stopped, Self::PortClosed, Self::Silent];

    async fn begin(self, bed: &Bed, relay: &Relay) {
        let replica = &bed.cluster.replicas[0];
        match self {
            Self::Killed => replica.kill().await.unwrap(),
            Self::Frozen => replica.freeze().unwrap(),
            Self::Stopped => replica.stop().await.unwrap(),
            Self::PortClosed => relay.set(Line::Closed),
            Self::Silent => relay.set(Line::Silent),
        }
    }

    async fn end(self, bed: &Bed, relay: &Relay) {
        let replica = &bed.cluster.replicas[0];
        match self {
            Self::Killed | Self::Stopped => replica.start().await.unwrap(),
            Self::Frozen => replica.thaw().unwrap(),
            Self::PortClosed | Self::Silent => relay.set(Line::Open),
        }
    }
}

#[tokio::test]
async fn a_replica_leaves_and_returns_and_no_client_notices() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 2).await.unwrap();
        let (bed, relays) = Bed::with_relays(cluster, QUICK_PROBES).await;
        drop(fill(&bed).await);
        let readers = Readers::start(&bed, 6).await;
        for trouble in Trouble::ALL {
            let what = format!("{flavor} {trouble:?}");
            bed.until_serves("db1", true).await;
            trouble.begin(&bed, &relays[1]).await;
            bed.until_serves("db1", false).await;
            readers.go_on(30, &what).await;
            trouble.end(&bed, &relays[1]).await;
            bed.until_serves("db1", true).await;
            let member = bed.weir.context.cluster.load().members[1].clone();
            assert!(member.effective_weight < member.weight, "{what}: it starts slowly");
            let before = bed.served("db1").0;
            until(&format!("{what}: it serves again"), async || {
                bed.served("db1").0 > before || readers.tasks.iter().any(JoinHandle::is_finished)
            })
            .await;
        }
        relays[1].set(Line::Slow(Duration::from_millis(200)));
        readers.go_on(30, "a replica is slow").await;
        readers.end(flavor.name()).await;
        bed.stop().await;
    }
}

#[tokio::test]
async fn without_replicas_the_writer_serves_unless_it_may_not() {
    for flavor in flavors() {
        for (fallback, expected) in [("true", Ok(Some(ROWS))), ("false", Err(2003))] {
            let extra = format!("[reads]\nwriter_fallback = {fallback}\n[failover]\nhold = \"1s\"\n");
            let bed = Bed::start(flavor, &extra).await;
            let mut conn = fill(&bed).await;
            for (replica, name) in bed.cluster.replicas.iter().zip(["db1", "db2"]) {
                replica.kill().await.unwrap();
                bed.until_serves(name, false).await;
            }
            let answer = conn.query_first::<u32, _>("SELECT COUNT(*) FROM t").await;
            assert_eq!(answer.map_err(|error| server_error(&error).0), expected, "{flavor}: fallback {fallback}");
            if fallback == "true" {
                // A statement is counted when it is over, which the client hears first.
                until("the read is counted", async || bed.count(Reason::NoReplica) == 1).await;
            }
            conn.query_drop("DELETE FROM t WHERE id = 1").await.unwrap();
            drop(conn);
            bed.stop().await;
        }
    }
}

/// One replica, whose relay breaks, and a writer behind another: what was broken goes to the writer.
async fn broken_bed(flavor: Flavor, extra: &str) -> (Bed, Vec<Relay>, Conn) {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let (bed, relays) = Bed::with_relays(cluster, extra).await;
    let conn = fill(&bed).await;
    (bed, relays, conn)
}

#[tokio::test]
async fn a_reply_that_breaks_is_repeated_or_ends_cleanly() {
    for flavor in flavors() {
        let (bed, relays, _conn) = broken_bed(flavor, "").await;
        // Each case: the fault, and whether the client gets its answer all the same.
        let cases = [
            (Fault::CutRequest, true),
            (Fault::CutAtBoundary(0), true),
            (Fault::CutAtBoundary(20_000), false),
            (Fault::CutInPacket(20_000), false),
        ];
        for (fault, whole) in cases {
            let what = format!("{flavor}: {fault:?}");
            bed.until_serves("db1", true).await;
            let mut conn = bed.connect().await;
            relays[1].on("/*here*/", fault.clone());
            let answer = conn.query::<(u32, String), _>("/*here*/ SELECT id, v FROM t ORDER BY id").await;
            assert!(!relays[1].is_armed(), "{what}: the statement went there");
            match answer {
                Ok(rows) => {
                    assert!(whole, "{what}: an answer");
                    assert!((1..=ROWS).eq(rows.iter().map(|(id, _)| *id)), "{what}");
                    assert!(rows.iter().all(|(_, v)| *v == "x".repeat(300)), "{what}");
                }
                Err(mysql_async::Error::Server(error)) => assert_eq!((whole, error.code), (false, 2013), "{what}"),
                Err(mysql_async::Error::Io(_)) => assert!(!whole, "{what}"),
                Err(error) => panic!("{what}: garbage: {error:?}"),
            }
        }
        // At a boundary there is room for an error, and the session lives on.
        bed.until_serves("db1", true).await;
        let mut conn = bed.connect().await;
        relays[1].on("/*here*/", Fault::CutAtBoundary(20_000));
        let answer = conn.query_drop("/*here*/ SELECT id, v FROM t ORDER BY id").await;
        assert_eq!(server_error(&answer.unwrap_err()).0, 2013, "{flavor}");
        let count: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
        assert_eq!(count, Some(ROWS), "{flavor}");
        drop((conn, _conn));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_never_repeated() {
    for flavor in flavors() {
        let (bed, relays, mut conn) = broken_bed(flavor, "").await;
        for server in bed.cluster.servers() {
            server.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
        }
        let function = "CREATE FUNCTION put(n INT) RETURNS INT NOT DETERMINISTIC MODIFIES SQL DATA \
                        BEGIN INSERT INTO t VALUES (n, 'f'); RETURN 1; END";
        conn.query_drop(function).await.unwrap();
        // Each case: where it breaks, the statement, and how often it was executed.
        let cases = [
            (Fault::CutAtBoundary(0), "/*here*/ INSERT INTO t VALUES (1001, 'a')", 1),
            (Fault::CutRequest, "/*here*/ INSERT INTO t VALUES (1002, 'b')", 0),
            (Fault::CutAtBoundary(0), "/*here*/ SELECT put(1003)", 1),
            (Fault::CutAtBoundary(0), "/*here*/ DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1004, 'c')", 1),
        ];
        for (id, (fault, statement, times)) in (1001..).zip(cases) {
            let what = format!("{flavor}: {fault:?} {statement}");
            relays[0].on("/*here*/", fault);
            let failed = conn.query_drop(statement).await.unwrap_err();
            assert_eq!(server_error(&failed), (2013, "HY000".to_owned()), "{what}");
            // The session lives on, and reads what it may have written.
            let seen: Option<u32> = conn.query_first(format!("SELECT COUNT(*) FROM t WHERE id = {id}")).await.unwrap();
            assert_eq!(seen, Some(times), "{what}");
        }
        // In a transaction the session ends with its connection.
        conn.query_drop("BEGIN").await.unwrap();
        conn.query_drop("INSERT INTO t VALUES (1005, 'd')").await.unwrap();
        relays[0].on("/*here*/", Fault::CutAtBoundary(0));
        let failed = conn.query_drop("/*here*/ SELECT COUNT(*) FROM t").await.unwrap_err();
        assert_eq!(server_error(&failed).0, 2013, "{flavor}: a read in a transaction");
        assert!(conn.query_drop("SELECT 1").await.is_err(), "{flavor}: the connection is closed");
        let mut conn = bed.connect().await;
        let seen: Option<u32> =
            conn.query_first("/* weir:writer */ SELECT COUNT(*) FROM t WHERE id = 1005").await.unwrap();
        assert_eq!(seen, Some(0), "{flavor}: the transaction is undone");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn statements_on_a_server_that_freezes_come_back() {
    for flavor in flavors() {
        let (bed, relays, conn) = broken_bed(flavor, "[failover]\nhold = \"60s\"\n").await;
        let mut reading = bed.connect().await;
        let mut begun = bed.connect().await;
        let mut inside = bed.connect().await;
        inside.query_drop("START TRANSACTION READ ONLY").await.unwrap();
        inside.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
        // A reply of which the client has seen the beginning, and one of which it has seen nothing.
        relays[1].on("/*begun*/", Fault::Stall(20_000));
        let begun = tokio::spawn(async move { begun.query_drop("/*begun*/ SELECT id, v FROM t ORDER BY id").await });
        until("the reply has begun", async || !relays[1].is_armed()).await;
        relays[1].on("/*fresh*/", Fault::Stall(0));
        let fresh =
            tokio::spawn(async move { reading.query_first::<u32, _>("/*fresh*/ SELECT COUNT(*) FROM t").await });
        until("the other reply has not", async || !relays[1].is_armed()).await;
        bed.cluster.replicas[0].freeze().unwrap();
        assert_eq!(fresh.await.unwrap().unwrap(), Some(ROWS), "{flavor}: it was repeated");
        match begun.await.unwrap() {
            Err(mysql_async::Error::Io(_)) => {}
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 2013, "{flavor}"),
            other => panic!("{flavor}: a reply that had begun: {other:?}"),
        }
        // A transaction that comes with its next statement after the server was found dead.
        let failed = inside.query_drop("SELECT COUNT(*) FROM t").await.unwrap_err();
        assert_eq!(server_error(&failed).0, 2013, "{flavor}");
        bed.cluster.replicas[0].thaw().unwrap();

        // A write in flight on the writer: its error comes once the writer is found dead, and it may have been executed.
        let mut writing = bed.connect().await;
        relays[0].on("/*write*/", Fault::Stall(0));
        let write = tokio::spawn(async move {
            let failed = writing.query_drop("/*write*/ INSERT INTO t VALUES (1001, 'a')").await.unwrap_err();
            assert_eq!(server_error(&failed).0, 2013);
            writing.query_first::<u32, _>("SELECT COUNT(*) FROM t WHERE id = 1001").await
        });
        until("the write was sent", async || !relays[0].is_armed()).await;
        bed.cluster.writer.freeze().unwrap();
        until("the writer is down", async || bed.writer().is_none()).await;
        bed.cluster.writer.thaw().unwrap();
        assert_eq!(write.await.unwrap().unwrap(), Some(1), "{flavor}");
        drop((conn, inside));
        bed.stop().await;
    }
}

/// What a server may say instead of its greeting, or after the login.
fn scripts() -> Vec<(&'static str, Script)> {
    let giant = b"\xFF\xFF\xFF\0\x0A8.0.36".to_vec();
    vec![
        ("another protocol", Script::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
        ("a giant length", Script::Say(giant.clone())),
        ("a giant greeting without end", Script::Repeat(giant.clone())),
        ("zeros without end", Script::Repeat(vec![0; 4096])),
        ("nothing", Script::Say(vec![])),
        ("nothing, and closes", Script::SayAndClose(vec![])),
        ("half a header", Script::SayAndClose(b"\x4A\0".to_vec())),
        ("half a greeting", Script::SayAndClose(b"\x4A\0\0\0\x0A8.0.36\0\x07".to_vec())),
        ("a wrong sequence number", Script::Say(packet(7, b"\x0A8.0.36\0"))),
        ("too many connections", Script::SayAndClose(packet(0, b"\xFF\x10\x04Too many connections"))),
        ("host is blocked", Script::SayAndClose(packet(0, &error(1129, "Host is blocked")))),
        ("an empty answer to the login", Script::AfterLogin(packet(2, b""))),
        ("a giant answer to the login", Script::AfterLogin(giant)),
        ("an answer out of order", Script::AfterLogin(packet(9, b"\0\0\0\x02\0\0\0"))),
        ("an unknown plugin", Script::AfterLogin(packet(2, b"\xFEno_such_plugin\0abc"))),
        ("a question without end", Script::AfterLogin(packet(2, b"\x01\x04"))),
        ("a refused login", Script::AfterLogin(packet(2, &error(1045, "Access denied")))),
        ("silence after the OK", Script::AfterLogin(packet(2, b"\0\0\0\x02\0\0\0"))),
    ]
}

#[tokio::test]
async fn a_replica_that_talks_nonsense_to_new_connections_is_passed_over() {
    let flavor = flavors()[0];
    // The probes keep their connection, so that the replica stays up; new connections meet the nonsense.
    let extra = "[timeouts]\nconnect = \"300ms\"\n[pool]\nidle_timeout = \"1ms\"\n";
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let (bed, relays) = Bed::with_relays(cluster, extra).await;
    let mut conn = fill(&bed).await;
    let server = bed.weir.context.cluster.load().members[1].server.clone();
    for (what, script) in scripts() {
        bed.until_serves("db1", true).await;
        let fake = Fake::start(script).await;
        relays[1].set(Line::Diverted(fake.address));
        server.pool.drop_idle();
        let before = server.metrics.connect_failures.value();
        until(&format!("{what} is met"), async || {
            let count: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
            assert_eq!(count, Some(ROWS), "{what}");
            server.metrics.connect_failures.value() > before
        })
        .await;
        conn.query_drop("UPDATE t SET v = REPEAT('x', 300) WHERE id = 1").await.unwrap();
        relays[1].set(Line::Open);
    }
    drop(conn);
    bed.stop().await;
}

#[tokio::test]
async fn nonsense_instead_of_a_reply_costs_one_connection() {
    let flavor = flavors()[0];
    let (bed, relays, mut conn) = broken_bed(flavor, "").await;
    let readers = Readers::start(&bed, 3).await;
    let giant = b"\xFE\xFF\xFF\x01\0".to_vec();
    let definitions = [packet(1, b"\x01"), packet(2, b"\x03def"), packet(9, b"\x03abc")].concat();
    let trailing = [packet(1, b"\0\0\0\x02\0\0\0"), b"more".to_vec()].concat();
    let cases: &[(&str, Vec<u8>)] = &[
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("a wrong sequence number", packet(7, b"\0\0\0\x02\0\0\0")),
        ("a giant OK", giant),
        ("an empty packet", packet(1, b"")),
        ("an OK cut short", packet(1, b"\0\xFC")),
        ("an error cut short", packet(1, b"\xFF\x01")),
        ("a wrong number within the reply", definitions),
        ("bytes behind the end", trailing),
        ("a request for a local file", packet(1, b"\xFB/etc/passwd")),
        ("a column count without end", packet(1, b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")),
        ("half a header", b"\x07\0".to_vec()),
    ];
    for (what, reply) in cases {
        relays[0].on("/*here*/", Fault::Replace(reply.clone()));
        let written = conn.query_drop("/*here*/ INSERT INTO t (v) VALUES ('n')").await;
        match written {
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 2013, "{what}"),
            // The reply had begun as a proper one does.
            Err(mysql_async::Error::Io(_)) => conn = bed.connect().await,
            // The reply was whole: what follows it spoils the connection only.
            Ok(()) if *what == "bytes behind the end" => {}
            other => panic!("{what}: {other:?}"),
        }
        until("the replica serves", async || bed.serves("db1")).await;
        relays[1].on("/*here*/", Fault::Replace(reply.clone()));
        let read = conn.query_first::<u32, _>("/*here*/ SELECT COUNT(*) FROM t WHERE v <> 'n'").await;
        match read {
            Ok(None) if *what == "bytes behind the end" => {}
            Ok(count) => assert_eq!(count, Some(ROWS), "{what}"),
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 2013, "{what}"),
            Err(mysql_async::Error::Io(_)) => conn = bed.connect().await,
            other => panic!("{what}: {other:?}"),
        }
        readers.go_on(5, what).await;
    }
    readers.end("other sessions").await;
    drop(conn);
    bed.stop().await;
}

#[tokio::test]
async fn the_query_of_a_client_that_hangs_up_is_killed() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "").await;
        for (hint, server) in [("writer", &bed.cluster.writer), ("server=db1", &bed.cluster.replicas[0])] {
            let mut conn = bed.connect().await;
            let asking = tokio::spawn(async move {
                conn.query_drop(format!("/* weir:{hint} */ SELECT SLEEP(600), 'unmistakable'")).await
            });
            let runs = async || {
                let rows = server.rows("SHOW FULL PROCESSLIST").await.unwrap();
                rows.iter().any(|row| {
                    let text: Option<String> = row.get("Info").unwrap();
                    text.is_some_and(|text| text.contains("unmistakable"))
                })
            };
            until(&format!("{flavor} {hint}: it runs"), runs).await;
            asking.abort();
            until(&format!("{flavor} {hint}: it is killed"), async || !runs().await).await;
        }
        bed.stop().await;
    }
}

/// Resident memory of this process, which Weir is part of, MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_its_own_reply_only() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "[runtime]\nworkers = 1\n").await;
        drop(fill(&bed).await);
        let before = resident();
        let mut lazy = Vec::new();
        for _ in 0..4 {
            let mut conn = bed.connect().await;
            // 200 MB each, of which nobody reads more than a few rows.
            let big = "SELECT a.id, REPEAT('y', 100000) FROM t a, t b WHERE b.id <= 4";
            let mut result = conn.query_iter(big).await.unwrap();
            assert!(result.next().await.unwrap().is_some(), "{flavor}");
            drop(result);
            lazy.push(conn);
        }
        let readers = Readers::start(&bed, 4).await;
        readers.go_on(200, "beside clients that do not read").await;
        readers.end("beside clients that do not read").await;
        let grown = resident().saturating_sub(before);
        assert!(grown < 64, "{flavor}: memory grew by {grown} MiB");
        drop(lazy);
        bed.stop().await;
    }
}

/// Processes that do nothing but take the processors' time, for a minute at most.
struct Busy(Vec<std::process::Child>);

impl Busy {
    fn start(count: usize) -> Self {
        let one = || Command::new("timeout").args(["60", "sh", "-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..count).map(|_| one()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // `timeout` passes the signal on to what it runs, unless it is killed itself.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

#[tokio::test]
async fn every_session_advances_beside_busy_processes() {
    let flavor = flavors()[0];
    let bed = Bed::start(flavor, "").await;
    drop(fill(&bed).await);
    let sessions: Vec<Readers> = {
        let mut sessions = Vec::new();
        for _ in 0..24 {
            sessions.push(Readers::start(&bed, 1).await);
        }
        sessions
    };
    let busy = Busy::start(40);
    for (number, session) in sessions.iter().enumerate() {
        session.go_on(3, &format!("session {number}")).await;
    }
    drop(busy);
    for session in sessions {
        session.end("beside busy processes").await;
    }
    bed.stop().await;
}
