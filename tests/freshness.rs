//! No session reads data older than its own writes, however late the replicas are; and what the other degrees of
//! consistency promise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::Duration;

use bed::{Bed, flavors, server_error, until};
use mysql_async::{Conn, prelude::*};
use weir::{sandbox::Flavor, telemetry::Reason};

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT)";

async fn value(conn: &mut Conn) -> Option<u32> {
    conn.query_first("SELECT v FROM t WHERE id = 1").await.unwrap()
}

/// Writes and reads in turn.
async fn write_and_read(conn: &mut Conn, values: std::ops::Range<u32>, what: &str) {
    for new in values {
        conn.query_drop(format!("UPDATE t SET v = {new} WHERE id = 1")).await.unwrap();
        assert_eq!(value(conn).await, Some(new), "{what}");
    }
}

async fn bed_with_table(flavor: Flavor, extra: &str) -> (Bed, Conn) {
    let bed = Bed::start(flavor, extra).await;
    let mut conn = bed.connect().await;
    conn.query_drop(TABLE).await.unwrap();
    conn.query_drop("INSERT INTO t VALUES (1, 0)").await.unwrap();
    bed.cluster.wait_caught_up().await.unwrap();
    (bed, conn)
}

#[tokio::test]
async fn late_replicas_never_show_old_data_and_serve_again() {
    for flavor in flavors() {
        let (bed, mut conn) = bed_with_table(flavor, "[reads]\nwait_timeout = \"100ms\"\n").await;
        // One that is late, and within `max_lag`: the other one serves.
        bed.cluster.delay(0, 5).await.unwrap();
        let (before, mut rounds) = (bed.served("db2").0, 1..);
        until(&format!("{flavor}: the replica in time serves"), async || {
            let next = rounds.next().unwrap();
            write_and_read(&mut conn, next..next + 1, "one replica is late").await;
            bed.served("db2").0 > before
        })
        .await;

        // Both late: the writer.
        bed.cluster.delay(1, 5).await.unwrap();
        let before = bed.count(Reason::Freshness);
        until(&format!("{flavor}: the writer serves for freshness' sake"), async || {
            let next = rounds.next().unwrap();
            write_and_read(&mut conn, next..next + 1, "both replicas are late").await;
            bed.count(Reason::Freshness) > before
        })
        .await;

        // Both stopped: not even `START REPLICA` later shows old data.
        for replica in [0, 1] {
            bed.cluster.delay(replica, 0).await.unwrap();
            bed.cluster.stop_sql_thread(replica).await.unwrap();
        }
        write_and_read(&mut conn, 1060..1090, "both replicas stand still").await;
        for replica in [0, 1] {
            bed.cluster.start_sql_thread(replica).await.unwrap();
            write_and_read(&mut conn, 1090..1110, "replicas start again").await;
        }
        for name in ["db1", "db2"] {
            let before = bed.served(name).0;
            until(&format!("{flavor}: {name} serves reads again"), async || {
                assert_eq!(value(&mut conn).await, Some(1109), "{flavor}");
                bed.served(name).0 > before
            })
            .await;
        }
        drop(conn);
        bed.stop().await;
    }
}

/// Statements that write, and what reads must see right after: each row of `t` is one writer's.
const WRITES: &[(&str, &[&str], &str)] = &[
    ("autocommit", &["INSERT INTO t VALUES (10, 1)"], "SELECT COUNT(*) FROM t WHERE id = 10"),
    ("a transaction", &["BEGIN", "INSERT INTO t VALUES (11, 1)", "COMMIT"], "SELECT COUNT(*) FROM t WHERE id = 11"),
    (
        "autocommit off",
        &["SET autocommit = 0", "INSERT INTO t VALUES (12, 1)", "COMMIT", "SET autocommit = 1"],
        "SELECT COUNT(*) FROM t WHERE id = 12",
    ),
    (
        "an implicit commit",
        &["BEGIN", "INSERT INTO t VALUES (13, 1)", "BEGIN", "ROLLBACK"],
        "SELECT COUNT(*) FROM t WHERE id = 13",
    ),
    (
        "a commit by switching autocommit on",
        &["SET autocommit = 0", "INSERT INTO t VALUES (14, 1)", "SET autocommit = 1"],
        "SELECT COUNT(*) FROM t WHERE id = 14",
    ),
    ("DDL", &["CREATE TABLE made (id INT)"], "SELECT COUNT(*) = 0 FROM made"),
    ("a procedure", &["CALL put(15)"], "SELECT COUNT(*) FROM t WHERE id = 15"),
    (
        "a text that is prepared",
        &["PREPARE s FROM 'INSERT INTO t VALUES (16, 1)'", "EXECUTE s", "DEALLOCATE PREPARE s"],
        "/* weir:reader */ SELECT COUNT(*) FROM t WHERE id = 16",
    ),
    (
        "several statements",
        &["INSERT INTO t VALUES (17, 1); SELECT 1; INSERT INTO t VALUES (18, 1)"],
        "SELECT COUNT(*) = 2 FROM t WHERE id IN (17, 18)",
    ),
    ("a function that writes", &["SELECT put_function(19)"], "SELECT COUNT(*) FROM t WHERE id = 19"),
    (
        "a savepoint",
        &[
            "BEGIN",
            "INSERT INTO t VALUES (20, 1)",
            "SAVEPOINT a",
            "INSERT INTO t VALUES (21, 1)",
            "ROLLBACK TO a",
            "COMMIT",
        ],
        "SELECT COUNT(*) FROM t WHERE id IN (20, 21)",
    ),
    (
        "a temporary table in between",
        &["CREATE TEMPORARY TABLE x (id INT)", "INSERT INTO t VALUES (22, 1)", "DROP TEMPORARY TABLE x"],
        "SELECT COUNT(*) FROM t WHERE id = 22",
    ),
    (
        "XA",
        &["XA START 'x'", "INSERT INTO t VALUES (23, 1)", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"],
        "SELECT COUNT(*) FROM t WHERE id = 23",
    ),
];

#[tokio::test]
async fn own_writes_by_every_means_are_read() {
    for flavor in flavors() {
        let (bed, mut conn) = bed_with_table(flavor, "[reads]\nwait_timeout = \"50ms\"\n").await;
        let routines = [
            "CREATE PROCEDURE put(n INT) INSERT INTO t VALUES (n, 1)",
            "CREATE PROCEDURE put_and_fail(n INT) BEGIN INSERT INTO t VALUES (n, 1); SIGNAL SQLSTATE '45000'; END",
            "CREATE FUNCTION put_function(n INT) RETURNS INT NOT DETERMINISTIC MODIFIES SQL DATA \
             BEGIN INSERT INTO t VALUES (n, 1); RETURN 1; END",
        ];
        for server in bed.cluster.servers() {
            server.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
        }
        for routine in routines {
            conn.query_drop(routine).await.unwrap();
        }
        bed.cluster.wait_caught_up().await.unwrap();
        for replica in [0, 1] {
            bed.cluster.delay(replica, 9).await.unwrap();
        }
        for (what, statements, read) in WRITES {
            // A session of its own, so that no earlier write helps.
            let mut conn = bed.connect().await;
            for statement in *statements {
                conn.query_drop(*statement).await.unwrap();
            }
            let seen: Option<u32> = conn.query_first(*read).await.unwrap();
            assert_eq!(seen, Some(1), "{flavor}: {what}");
        }

        let mut conn = bed.connect().await;
        conn.exec_drop("INSERT INTO t VALUES (?, 1)", (30,)).await.unwrap();
        let seen: Option<u32> = conn.exec_first("SELECT COUNT(*) FROM t WHERE id = ?", (30,)).await.unwrap();
        assert_eq!(seen, Some(1), "{flavor}: a prepared statement");

        let mut conn = bed.connect().await;
        conn.query_drop("INSERT INTO t VALUES (31, 1)").await.unwrap();
        conn.query_drop("START TRANSACTION READ ONLY").await.unwrap();
        let seen: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t WHERE id = 31").await.unwrap();
        assert_eq!(seen, Some(1), "{flavor}: in a transaction that only reads");
        conn.query_drop("COMMIT").await.unwrap();

        let mut conn = bed.connect().await;
        conn.query_drop("INSERT INTO t VALUES (32, 1)").await.unwrap();
        conn.reset().await.unwrap();
        let seen: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t WHERE id = 32").await.unwrap();
        assert_eq!(seen, Some(1), "{flavor}: after a reset of the connection");

        for (what, first, failing, id) in [
            ("a procedure that failed after it wrote", "DO 1", "CALL put_and_fail(33)", 33),
            ("several statements of which the last failed", "DO 1", "INSERT INTO t VALUES (34, 1); SELECT nothing", 34),
            ("a transaction that failing DDL committed", "BEGIN; INSERT INTO t VALUES (35, 1)", "TRUNCATE none", 35),
        ] {
            let mut conn = bed.connect().await;
            conn.query_drop(first).await.unwrap();
            conn.query_drop(failing).await.unwrap_err();
            let seen = conn.query_first(format!("SELECT COUNT(*) FROM t WHERE id = {id}")).await.unwrap();
            assert_eq!(seen, Some(1), "{flavor}: {what}");
        }
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn eventual_reads_leave_a_replica_that_lags() {
    for flavor in flavors() {
        let extra = "[reads]\nconsistency = \"eventual\"\nmax_lag = \"1s\"\n";
        let (bed, mut conn) = bed_with_table(flavor, extra).await;
        bed.until_serves("db1", true).await;
        bed.cluster.delay(0, 60).await.unwrap();
        let mut new = 0;
        until(&format!("{flavor}: the lagging replica leaves"), async || {
            new += 1;
            conn.query_drop(format!("UPDATE t SET v = {new}")).await.unwrap();
            !bed.serves("db1")
        })
        .await;
        let before = bed.served("db1").0;
        for _ in 0..10 {
            value(&mut conn).await;
        }
        assert_eq!(bed.served("db1").0, before, "{flavor}");
        bed.cluster.delay(0, 0).await.unwrap();
        bed.until_serves("db1", true).await;
        until(&format!("{flavor}: the replica serves again"), async || {
            value(&mut conn).await;
            bed.served("db1").0 > before
        })
        .await;
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn global_reads_see_what_others_wrote() {
    for flavor in flavors() {
        let extra = "[reads]\nwait_timeout = \"50ms\"\n\
                     [[rules]]\nname = \"strict\"\ntables = [\"t\"]\nconsistency = \"global\"\n";
        let (bed, mut writing) = bed_with_table(flavor, extra).await;
        for replica in [0, 1] {
            bed.cluster.delay(replica, 5).await.unwrap();
        }
        let mut reading = bed.connect().await;
        for new in 1..20 {
            writing.query_drop(format!("UPDATE t SET v = {new}")).await.unwrap();
            assert_eq!(value(&mut reading).await, Some(new), "{flavor}");
        }
        drop((writing, reading));
        bed.stop().await;
    }
}

/// Switches GTIDs off on running servers, and lets the replicas follow by file and position.
async fn switch_gtids_off(bed: &Bed) {
    let cluster = &bed.cluster;
    for mode in ["ON_PERMISSIVE", "OFF_PERMISSIVE"] {
        for server in cluster.servers() {
            if mode == "OFF_PERMISSIVE" && server.id() != cluster.writer.id() {
                server.exec("STOP REPLICA").await.unwrap();
                server.exec("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0").await.unwrap();
                server.exec("START REPLICA").await.unwrap();
            }
            server.exec(&format!("SET GLOBAL gtid_mode = {mode}")).await.unwrap();
        }
    }
    for server in cluster.servers() {
        server.exec("SET GLOBAL gtid_mode = OFF").await.unwrap();
    }
}

#[tokio::test]
async fn without_gtids_the_writer_serves_for_a_while() {
    if !flavors().contains(&Flavor::MySql9) {
        return;
    }
    let (bed, mut conn) = bed_with_table(Flavor::MySql9, "").await;
    switch_gtids_off(&bed).await;
    until("the probes see that there are no GTIDs", async || !bed.weir.context.cluster.load().has_positions).await;
    drop(conn);
    conn = bed.connect().await;
    // Only time tells, so that on a slow machine a read may come too late to prove anything.
    let mut new = 0;
    for (what, prepared) in [("after a transaction", false), ("after a prepared statement", true)] {
        until(&format!("the writer serves a read {what}"), async || {
            let before = bed.count(Reason::Freshness);
            new += 1;
            if prepared {
                conn.exec_drop("UPDATE t SET v = ?", (new,)).await.unwrap();
            } else {
                let update = format!("UPDATE t SET v = {new}");
                for statement in ["BEGIN", &update, "COMMIT"] {
                    conn.query_drop(statement).await.unwrap();
                }
            }
            value(&mut conn).await;
            bed.count(Reason::Freshness) > before
        })
        .await;
    }
    // The margin is one of time, and knows nothing of a machine that stands still.
    for replica in &bed.cluster.replicas {
        until("it is replicated", async || replica.rows("SELECT v FROM app.t").await.unwrap()[0].get(0) == Some(new))
            .await;
    }
    let before = bed.served("db1").0;
    until("the replicas serve again, with what was written", async || {
        assert_eq!(value(&mut conn).await, Some(new));
        tokio::time::sleep(Duration::from_millis(50)).await;
        bed.served("db1").0 > before
    })
    .await;
    drop(conn);
    bed.stop().await;
}

/// How many connections to replicas were opened so far.
fn connections(bed: &Bed) -> u64 {
    ["db2", "db3"].map(|name| bed.weir.context.metrics.server(name).connects.value()).iter().sum()
}

/// Replicas that serve what they have, and get nothing more for ten minutes.
async fn bed_with_late_replicas(flavor: Flavor, reads: &str) -> (Bed, Conn) {
    let (bed, mut conn) = bed_with_table(flavor, &format!("[reads]\nmax_lag = \"1h\"\n{reads}")).await;
    for replica in [0, 1] {
        bed.cluster.delay(replica, 600).await.unwrap();
    }
    until("replicas serve", async || {
        let before = bed.count(Reason::Read);
        value(&mut conn).await;
        bed.count(Reason::Read) > before
    })
    .await;
    (bed, conn)
}

#[tokio::test]
async fn what_a_replica_does_not_have_yet_the_writer_has() {
    for flavor in flavors() {
        let (bed, mut conn) = bed_with_late_replicas(flavor, "").await;
        // Somebody else's migration.
        for change in [
            "CREATE TABLE app.new (v INT)",
            "ALTER TABLE app.t ADD COLUMN w INT DEFAULT 7, ADD INDEX by_w (w)",
            "CREATE DATABASE other",
            "CREATE TABLE other.t (v INT)",
            "CREATE FUNCTION app.seven() RETURNS INT DETERMINISTIC RETURN 7",
            "CREATE VIEW app.seen AS SELECT app.seven() AS v",
        ] {
            bed.cluster.writer.exec(change).await.unwrap();
        }
        for sql in [
            "SELECT COUNT(*) FROM new",
            "SELECT MAX(w) FROM t",
            "SELECT COUNT(*) FROM t FORCE INDEX (by_w)",
            "SELECT COUNT(*) FROM other.t",
            "SELECT * FROM seen",
            "SHOW COLUMNS FROM new",
        ] {
            let before = bed.count(Reason::Freshness);
            conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{flavor}: {sql}: {error}"));
            conn.exec_drop(sql, ()).await.unwrap_or_else(|error| panic!("{flavor}: {sql}, prepared: {error}"));
            until(sql, async || bed.count(Reason::Freshness) >= before + 2).await;
        }
        // What nobody has is the writer's error, which can be asked about.
        let error = server_error(&conn.query_drop("SELECT * FROM nowhere").await.unwrap_err());
        assert_eq!(error.0, 1146, "{flavor}: {error:?}");
        let warning: Option<(String, u16, String)> = conn.query_first("SHOW WARNINGS").await.unwrap();
        assert_eq!(warning.map(|(level, code, _)| (level, code)), Some(("Error".into(), 1146)), "{flavor}");
        // The replicas go on, on the connections that they have.
        let opened = connections(&bed);
        let before = bed.count(Reason::Read);
        for _ in 0..20 {
            assert_eq!(value(&mut conn).await, Some(0), "{flavor}");
            conn.query_drop("SELECT w FROM t").await.unwrap();
        }
        until("the replicas serve what they have", async || bed.count(Reason::Read) == before + 20).await;
        // A replica that came into use meanwhile was connected to.
        assert!(connections(&bed) <= opened + 2, "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_replica_answers_for_itself_where_the_writer_is_not_to_read() {
    for flavor in flavors() {
        let (bed, mut conn) = bed_with_late_replicas(flavor, "writer_fallback = false\n").await;
        bed.cluster.writer.exec("CREATE TABLE app.new (v INT)").await.unwrap();
        for sql in ["SELECT COUNT(*) FROM new", "/* weir:server=db2 */ SELECT COUNT(*) FROM new"] {
            let error = server_error(&conn.query_drop(sql).await.unwrap_err());
            assert_eq!(error.0, 1146, "{flavor}: {sql}: {error:?}");
        }
        drop(conn);
        bed.stop().await;
    }
}
