//! The writer dies, is demoted, comes back: what clients notice of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::{Duration, Instant};

use bed::{
    Bed, PATIENCE, basics, flavors,
    raw::{Card, MODERN, Raw},
    server_error, until,
};
use mysql_async::{Conn, prelude::*};
use weir::{
    sandbox::{Cluster, Flavor, Mode},
    telemetry::Reason,
};

/// Servers whose role is told by `read_only`, and a table `t` with one row.
async fn bed(flavor: Flavor, extra: &str) -> Bed {
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    let text = basics(&cluster).replace("role = \"writer\"", "role = \"auto\"");
    let text = text.replace("role = \"replica\"", "role = \"auto\"") + extra;
    let bed = Bed::with_config(cluster, &text).await;
    let mut conn = bed.connect().await;
    conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)").await.unwrap();
    conn.query_drop("INSERT INTO t (v) VALUES (0)").await.unwrap();
    bed.cluster.wait_caught_up().await.unwrap();
    bed
}

async fn count(conn: &mut Conn, v: u32) -> Option<u32> {
    conn.query_first(format!("SELECT COUNT(*) FROM t WHERE v = {v}")).await.unwrap()
}

#[tokio::test]
async fn writes_wait_for_the_new_writer() {
    for flavor in flavors() {
        let mut bed = bed(flavor, "[failover]\nhold = \"60s\"\n").await;
        assert_eq!(bed.writer().as_deref(), Some("db0"), "{flavor}");
        // Sessions from before, with pooled connections to the old writer.
        let mut old = Vec::new();
        for _ in 0..5 {
            let mut conn = bed.connect().await;
            conn.query_drop("UPDATE t SET v = 0").await.unwrap();
            old.push(conn);
        }
        let mut inside = bed.connect().await;
        inside.query_drop("BEGIN").await.unwrap();
        inside.query_drop("INSERT INTO t (v) VALUES (666)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();

        let mut reading = bed.connect().await;
        bed.cluster.writer.kill().await.unwrap();
        let mut running: Vec<_> = old
            .into_iter()
            .map(|mut conn| {
                tokio::spawn(async move { conn.query_drop("INSERT INTO t (v) VALUES (1)").await.map(|()| conn) })
            })
            .collect();
        let (code, _) = server_error(&inside.query_drop("SELECT 1").await.unwrap_err());
        assert_eq!(code, 2013, "{flavor}: the transaction is lost");
        assert!(inside.query_drop("SELECT 1").await.is_err(), "{flavor}: and its session ends with it");
        // Reads go on.
        assert_eq!(count(&mut reading, 666).await, Some(0), "{flavor}");

        bed.cluster.promote(0).await.unwrap();
        for task in running.drain(..) {
            let mut conn = task.await.unwrap().unwrap_or_else(|error| panic!("{flavor}: a held write: {error}"));
            conn.query_drop("UPDATE t SET v = 2 WHERE v = 1 LIMIT 1").await.unwrap();
        }
        assert_eq!(bed.writer().as_deref(), Some("db1"), "{flavor}");
        let mut conn = bed.connect().await;
        assert_eq!(conn.query_first("/* weir:writer */ SELECT COUNT(*) FROM t WHERE v = 2").await.unwrap(), Some(5));

        // The old writer returns, writable for a moment: nobody writes to it.
        bed.cluster.replicas[0].start().await.unwrap();
        until("the old writer is up", async || {
            let cluster = bed.weir.context.cluster.load();
            cluster.members[0].up
        })
        .await;
        conn.query_drop("INSERT INTO t (v) VALUES (3)").await.unwrap();
        assert_eq!(bed.writer().as_deref(), Some("db1"), "{flavor}");
        bed.cluster.rejoin(0).await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        let before = bed.served("db0").0;
        until(&format!("{flavor}: the old writer serves as a replica"), async || {
            assert_eq!(count(&mut conn, 3).await, Some(1), "{flavor}");
            bed.served("db0").0 > before
        })
        .await;
        drop((conn, reading, inside));
        bed.stop().await;
    }
}

#[tokio::test]
async fn every_acknowledged_write_is_there_once() {
    for flavor in flavors() {
        let mut bed = bed(flavor, "[failover]\nhold = \"60s\"\n").await;
        // What a server acknowledged and did not send to a replica before it was killed is lost by replication, not by
        // Weir. So the writer is demoted in good order while sessions write.
        let mut tasks = Vec::new();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        for session in 1..=8_u32 {
            let mut conn = bed.connect().await;
            let stopped = stopped.clone();
            tasks.push(tokio::spawn(async move {
                let mut written = 0;
                while !*stopped.borrow() {
                    conn.query_drop(format!("INSERT INTO t (v) VALUES ({session})"))
                        .await
                        .map_err(|error| (written, error))?;
                    written += 1;
                }
                Ok::<u32, (u32, mysql_async::Error)>(written)
            }));
        }
        until("writes run", async || bed.count(Reason::Write) > 50).await;
        let root = &bed.cluster.writer;
        root.set_mode(Mode::ReadOnly).await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        bed.cluster.promote(0).await.unwrap();
        let before = bed.count(Reason::Write);
        until("writes go on", async || bed.count(Reason::Write) > before + 20).await;
        stop.send_replace(true);
        let mut conn = bed.connect().await;
        for (session, task) in (1..).zip(tasks) {
            let written =
                task.await.unwrap().unwrap_or_else(|(written, error)| panic!("{flavor}: after {written}: {error}"));
            let found: Option<u32> = conn
                .query_first(format!("/* weir:writer */ SELECT COUNT(*) FROM t WHERE v = {session}"))
                .await
                .unwrap();
            assert_eq!(found, Some(written), "{flavor}: rows of session {session}");
        }
        assert_eq!(bed.writer().as_deref(), Some("db1"), "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn the_hold_ends_with_a_clear_error() {
    for flavor in flavors() {
        let bed = bed(flavor, "[failover]\nhold = \"1s\"\n").await;
        let mut conn = bed.connect().await;
        bed.cluster.writer.kill().await.unwrap();
        for statement in ["INSERT INTO t (v) VALUES (1)", "BEGIN", "CREATE TABLE other (id INT)"] {
            let begun = Instant::now();
            let (code, state) = server_error(&conn.query_drop(statement).await.unwrap_err());
            assert_eq!((code, state.as_str()), (2003, "HY000"), "{flavor}: {statement}");
            assert!(begun.elapsed() >= Duration::from_millis(900), "{flavor}: {statement} was held");
            assert!(begun.elapsed() < PATIENCE, "{flavor}: {statement} was held too long");
        }
        assert_eq!(count(&mut conn, 1).await, Some(0), "{flavor}: the session lives on and reads");
        let (code, _) = server_error(&conn.query_drop("SELECT * FROM nowhere").await.unwrap_err());
        assert_eq!(code, 1146, "{flavor}: what a replica does not have, as the writer cannot be asked");
        bed.cluster.writer.start().await.unwrap();
        until(&format!("{flavor}: writes go on"), async || {
            conn.query_drop("INSERT INTO t (v) VALUES (1)").await.is_ok()
        })
        .await;
        assert_eq!(count(&mut conn, 1).await, Some(1), "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_demoted_writers_refusal_is_heard_where_nothing_else_can_be_done() {
    for flavor in flavors() {
        let bed = bed(flavor, "[failover]\nhold = \"1s\"\n").await;
        let [mut free, mut inside, mut calling, mut waiting] =
            [bed.connect().await, bed.connect().await, bed.connect().await, bed.connect().await];
        calling.query_drop("CREATE PROCEDURE p() INSERT INTO t (v) VALUES (9)").await.unwrap();
        inside.query_drop("BEGIN").await.unwrap();
        inside.query_drop("INSERT INTO t (v) VALUES (7)").await.unwrap();
        inside.query_drop("ROLLBACK").await.unwrap();
        inside.query_drop("BEGIN").await.unwrap();
        // Its probes still take it for the writer at the first of these statements.
        bed.cluster.writer.set_mode(Mode::ReadOnly).await.unwrap();
        let (code, _) = server_error(&calling.query_drop("CALL p()").await.unwrap_err());
        assert!([1290, 1836, 2003].contains(&code), "{flavor}: a procedure is not sent again: {code}");
        let (code, _) = server_error(&inside.query_drop("INSERT INTO t (v) VALUES (7)").await.unwrap_err());
        assert!([1290, 1836].contains(&code), "{flavor}: in a transaction: {code}");
        inside.query_drop("ROLLBACK").await.unwrap();
        let (code, _) = server_error(&free.query_drop("INSERT INTO t (v) VALUES (7)").await.unwrap_err());
        assert!([1290, 1836, 2003].contains(&code), "{flavor}: nobody takes it: {code}");
        // The same server takes writes again, whenever that is noticed.
        let text = std::fs::read_to_string(bed.config_file()).unwrap();
        bed.edit(&text.replace("hold = \"1s\"", "hold = \"60s\""));
        until("it is held for longer", async || bed.weir.context.config.load().failover.hold.as_secs() == 60).await;
        let waiting = tokio::spawn(async move { waiting.query_drop("INSERT INTO t (v) VALUES (8)").await });
        bed.cluster.writer.set_mode(Mode::ReadWrite).await.unwrap();
        waiting.await.unwrap().unwrap_or_else(|error| panic!("{flavor}: a held write: {error}"));
        assert_eq!(count(&mut free, 7).await, Some(0), "{flavor}");
        drop((free, inside, calling));
        bed.stop().await;
    }
}

/// A client that sends an INSERT and goes away as soon as Weir deals with it.
async fn ask_and_hang_up(bed: &Bed, sql: &str) {
    let before = bed.weir.context.sessions.count();
    let mut raw = Raw::connect(bed.port(), &Card { schema: None, ..Card::app(MODERN) }).await.unwrap();
    raw.send(&[b"\x03", sql.as_bytes()].concat()).await;
    // A pipelined ping is no hang-up.
    raw.send(b"\x0E").await;
    let silent = tokio::time::timeout(Duration::from_millis(200), raw.is_closed()).await;
    assert!(silent.is_err(), "{sql}: it waits");
    assert_eq!(bed.weir.context.sessions.count(), before + 1, "{sql}");
    drop(raw);
    until(&format!("{sql}: the session is gone"), async || bed.weir.context.sessions.count() == before).await;
}

#[tokio::test]
async fn whoever_hangs_up_while_waiting_is_not_waited_for() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    cluster.writer.exec("CREATE TABLE app.t (v INT)").await.unwrap();
    let text = basics(&cluster).replace("role =", "max_connections = 1\nrole =")
        + "[failover]\nhold = \"10m\"\n[pool]\nacquire_timeout = \"10m\"\n\
           [[rules]]\nname = \"one\"\nregex = 'one'\nmax_concurrency = 1\n";
    let bed = Bed::with_config(cluster, &text).await;
    let mut inside = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
    inside.run("BEGIN").await;
    // For the only connection.
    ask_and_hang_up(&bed, "INSERT INTO app.t VALUES (1)").await;
    inside.send(b"\x03SELECT SLEEP(600) /* one */").await;
    until("it runs", async || bed.weir.context.turns.load().of("one").unwrap().available_permits() == 0).await;
    // For a turn.
    ask_and_hang_up(&bed, "INSERT INTO app.t VALUES (1) /* one */").await;
    drop(inside);
    until("the other is gone, too", async || bed.weir.context.sessions.count() == 0).await;
    // For a writer.
    bed.cluster.writer.kill().await.unwrap();
    until("there is no writer", async || bed.writer().is_none()).await;
    ask_and_hang_up(&bed, "INSERT INTO app.t VALUES (1)").await;
    bed.cluster.writer.start().await.unwrap();
    let mut conn = bed.connect().await;
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM t").await.unwrap(), Some(0), "nothing was run for nobody");
    drop(conn);
    bed.stop().await;
}

#[tokio::test]
async fn a_session_that_is_pinned_to_a_former_writer_ends() {
    for flavor in flavors() {
        let mut bed = bed(
            flavor,
            "[failover]\nhold = \"60s\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\nroute = \"server:db2\"\n",
        )
        .await;
        let [mut pinned, mut inside] = [bed.connect().await, bed.connect().await];
        for conn in [&mut pinned, &mut inside] {
            conn.query_drop("CREATE TEMPORARY TABLE mine (id INT)").await.unwrap();
            conn.query_drop("INSERT INTO t (v) VALUES (1)").await.unwrap();
        }
        inside.query_drop("BEGIN").await.unwrap();
        bed.cluster.writer.set_mode(Mode::ReadOnly).await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        bed.cluster.promote(0).await.unwrap();
        until("db1 is the writer", async || bed.writer().as_deref() == Some("db1")).await;
        // What it is pinned for works on.
        pinned.query_drop("SELECT COUNT(*) FROM mine").await.unwrap();
        let (code, _) = server_error(&pinned.query_drop("INSERT INTO t (v) VALUES (2)").await.unwrap_err());
        assert!([1290, 1836].contains(&code), "{flavor}: {code}");
        let over = pinned.query_drop("SELECT 1").await.unwrap_err();
        assert!(matches!(over, mysql_async::Error::Io(_) | mysql_async::Error::Driver(_)), "{flavor}: {over}");
        bed.connect().await.query_drop("INSERT INTO t (v) VALUES (2)").await.unwrap();
        // A transaction is the client's to end.
        let (code, _) = server_error(&inside.query_drop("INSERT INTO t (v) VALUES (3)").await.unwrap_err());
        assert!([1290, 1836].contains(&code), "{flavor}: {code}");
        inside.query_drop("ROLLBACK").await.unwrap();
        // Whoever asked for a server that takes no writes is not sent away for it.
        let port = bed.weir.addresses.listeners[1].unwrap().port();
        let mut replica = Conn::new(bed.options().tcp_port(port)).await.unwrap();
        replica.query_drop("SELECT GET_LOCK('l', 0)").await.unwrap();
        let (code, _) = server_error(&replica.query_drop("INSERT INTO t (v) VALUES (4)").await.unwrap_err());
        assert!([1290, 1836].contains(&code), "{flavor}: {code}");
        replica.query_drop("SELECT 1").await.unwrap();
        drop((pinned, inside, replica));
        bed.stop().await;
    }
}

#[tokio::test]
async fn drivers_connect_while_there_is_no_writer() {
    for flavor in flavors() {
        let bed = bed(flavor, "[failover]\nhold = \"1h\"\n").await;
        bed.cluster.writer.kill().await.unwrap();
        until("there is no writer", async || bed.writer().is_none()).await;
        // This driver asks for variables first.
        let mut conn = bed.connect().await;
        let mode: Option<(String, u64)> = conn.query_first("SELECT @@sql_mode, @@max_allowed_packet").await.unwrap();
        assert!(mode.is_some(), "{flavor}");
        assert_eq!(count(&mut conn, 0).await, Some(1), "{flavor}");
        bed.cluster.writer.start().await.unwrap();
        until("there is a writer", async || bed.writer().is_some()).await;
        let port: Option<u16> = conn.query_first("SELECT @@port").await.unwrap();
        assert_eq!(port, Some(bed.cluster.writer.port()), "{flavor}: what tells servers apart is the writer's");
        drop(conn);
        bed.stop().await;
    }
}
