//! `reads.transactions = "reads-before-write"`: sessions with `autocommit=0` read on replicas until they write, and see
//! what they would see on one server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, flavors, readers::broken_bed, relay::Line, until};
use mysql_async::{Conn, prelude::*};
use weir::{sandbox::Flavor, telemetry::Reason};

const READS_FIRST: &str = "[reads]\ntransactions = \"reads-before-write\"\n";

/// A session as Python's drivers and Django open it.
async fn session(bed: &Bed) -> Conn {
    let mut conn = bed.connect().await;
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
    conn.query_drop("SET autocommit = 0").await.unwrap();
    conn
}

async fn started(flavor: Flavor, extra: &str) -> Bed {
    let bed = Bed::start(flavor, extra).await;
    let mut conn = bed.connect().await;
    conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await.unwrap();
    conn.query_drop("INSERT INTO t VALUES (1, 10)").await.unwrap();
    bed.cluster.wait_caught_up().await.unwrap();
    // A new server has none, and then nobody can wait for them.
    until("GTIDs are known", async || bed.weir.context.cluster.load().has_positions).await;
    bed
}

async fn value(conn: &mut Conn) -> Option<i32> {
    conn.query_first("SELECT v FROM t WHERE id = 1").await.unwrap()
}

/// Reads that replicas have served, once the counters have come to rest at `expected`.
async fn read_on_replicas(bed: &Bed, expected: u64, what: &str) {
    until(what, async || bed.served("db1").0 + bed.served("db2").0 == expected).await;
}

#[tokio::test]
async fn a_transaction_reads_on_a_replica_until_it_writes() {
    for flavor in flavors() {
        let bed = started(flavor, &format!("{READS_FIRST}wait_timeout = \"20s\"\n")).await;
        let mut conn = session(&bed).await;
        for round in 1..=3 {
            let what = format!("{flavor}: transaction {round}");
            assert_eq!(value(&mut conn).await, Some(9 + round), "{what}");
            assert_eq!(value(&mut conn).await, Some(9 + round), "{what}");
            read_on_replicas(&bed, 2 * round as u64, &what).await;
            conn.query_drop("UPDATE t SET v = v + 1 WHERE id = 1").await.unwrap();
            assert_eq!(value(&mut conn).await, Some(10 + round), "{what}: its own write");
            conn.query_drop("SAVEPOINT a").await.unwrap();
            conn.query_drop("UPDATE t SET v = 0").await.unwrap();
            conn.query_drop("ROLLBACK TO a").await.unwrap();
            conn.query_drop("COMMIT").await.unwrap();
            read_on_replicas(&bed, 2 * round as u64, &what).await;
        }
        // A rollback, and transactions that end where they began.
        conn.query_drop("INSERT INTO t VALUES (2, 0)").await.unwrap();
        conn.query_drop("ROLLBACK").await.unwrap();
        for end in ["COMMIT", "ROLLBACK"] {
            let count: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
            assert_eq!(count, Some(1), "{flavor}: {end}");
            conn.query_drop(end).await.unwrap();
        }
        read_on_replicas(&bed, 8, "the last two").await;
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn what_begins_on_a_replica_goes_on_as_on_one_server() {
    for flavor in flavors() {
        let bed = started(flavor, READS_FIRST).await;
        // Each: a statement behind a first read, and whether a savepoint of it is known afterwards.
        let statements = [
            "SAVEPOINT a",
            "SELECT v FROM t WHERE id = 1 FOR UPDATE",
            "SET @a = 1",
            "CREATE TEMPORARY TABLE mine (a INT)",
            "SELECT GET_LOCK('l', 0)",
            "BEGIN",
            "DELETE FROM t WHERE id = 7",
            "/* weir:writer */ SELECT v FROM t",
        ];
        for statement in statements {
            let mut conn = session(&bed).await;
            value(&mut conn).await;
            conn.query_drop(statement).await.unwrap();
            conn.query_drop("INSERT INTO t VALUES (9, 9)").await.unwrap();
            match statement {
                "SAVEPOINT a" => conn.query_drop("ROLLBACK TO SAVEPOINT a").await.unwrap(),
                "SET @a = 1" => assert_eq!(conn.query_first("SELECT @a").await.unwrap(), Some(1), "{flavor}"),
                "CREATE TEMPORARY TABLE mine (a INT)" => conn.query_drop("SELECT * FROM mine").await.unwrap(),
                _ => {}
            }
            conn.query_drop("ROLLBACK").await.unwrap();
            assert_eq!(value(&mut conn).await, Some(10), "{flavor}: {statement}");
            drop(conn);
        }
        // Settings that are made meanwhile stay, wherever the session goes.
        let mut conn = session(&bed).await;
        value(&mut conn).await;
        conn.query_drop("SET time_zone = '+05:00'").await.unwrap();
        conn.query_drop("UPDATE t SET v = 10").await.unwrap();
        let zone: Option<String> = conn.query_first("SELECT @@time_zone").await.unwrap();
        assert_eq!(zone.as_deref(), Some("+05:00"), "{flavor}");
        conn.query_drop("SET autocommit = 1").await.unwrap();
        conn.query_drop("INSERT INTO t VALUES (3, 3)").await.unwrap();
        drop(conn);
        let count = "/* weir:writer */ SELECT COUNT(*) FROM t";
        let kept: Option<u32> = bed.connect().await.query_first(count).await.unwrap();
        assert_eq!(kept, Some(2), "{flavor}: it is committed");
        bed.stop().await;
    }
}

#[tokio::test]
async fn reads_that_must_be_repeatable_stay_on_the_writer() {
    for flavor in flavors() {
        let bed = started(flavor, READS_FIRST).await;
        for level in ["", "REPEATABLE READ", "SERIALIZABLE"] {
            let mut conn = bed.connect().await;
            if !level.is_empty() {
                conn.query_drop(format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}")).await.unwrap();
            }
            conn.query_drop("SET autocommit = 0").await.unwrap();
            assert_eq!(value(&mut conn).await, Some(10), "{flavor}: {level}");
            drop(conn);
        }
        until("all are counted", async || bed.count(Reason::AutocommitOff) == 3).await;
        read_on_replicas(&bed, 0, "no replica has read").await;
        // Unless all servers' default is lower.
        for server in bed.cluster.servers() {
            server.exec("SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
        }
        until("the default is known", async || !bed.weir.context.cluster.load().repeatable_reads).await;
        for member in &bed.weir.context.cluster.load().members {
            member.server.pool.drop_idle();
        }
        let mut conn = bed.connect().await;
        conn.query_drop("SET autocommit = 0").await.unwrap();
        assert_eq!(value(&mut conn).await, Some(10), "{flavor}");
        read_on_replicas(&bed, 1, "a replica has read").await;
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_replica_that_dies_while_it_reads_is_not_missed() {
    for flavor in flavors() {
        let (bed, relays, mut filler) = broken_bed(flavor, READS_FIRST).await;
        bed.until_serves("db1", true).await;
        let mut conn = session(&bed).await;
        let count = "SELECT COUNT(*) FROM t WHERE id <= 5";
        assert_eq!(conn.query_first(count).await.unwrap(), Some(5), "{flavor}");
        until("the replica has read", async || bed.served("db1").0 > 0).await;
        relays[1].set(Line::Closed);
        assert_eq!(conn.query_first(count).await.unwrap(), Some(5), "{flavor}: another server");
        conn.query_drop("DELETE FROM t WHERE id = 1").await.unwrap();
        conn.query_drop("COMMIT").await.unwrap();
        assert_eq!(filler.query_first(count).await.unwrap(), Some(4), "{flavor}");
        drop((conn, filler));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_transaction_begins_no_earlier_than_the_sessions_own_writes() {
    for flavor in flavors() {
        let bed = started(flavor, READS_FIRST).await;
        for replica in [0, 1] {
            bed.cluster.stop_sql_thread(replica).await.unwrap();
        }
        let mut conn = session(&bed).await;
        for new in 20..25 {
            conn.query_drop(format!("UPDATE t SET v = {new}")).await.unwrap();
            conn.query_drop("COMMIT").await.unwrap();
            assert_eq!(value(&mut conn).await, Some(new), "{flavor}");
            conn.query_drop("ROLLBACK").await.unwrap();
        }
        drop(conn);
        bed.stop().await;
    }
}
