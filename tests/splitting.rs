//! Reads go to replicas, everything else to the writer, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, flavors, until};
use mysql_async::prelude::*;
use weir::telemetry::Reason;

#[tokio::test]
async fn reads_are_spread_and_writes_are_not() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "").await;
        let mut conn = bed.connect().await;
        conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)").await.unwrap();
        conn.query_drop("INSERT INTO t (v) VALUES (1), (2)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        let mut fresh = bed.connect().await;
        for _ in 0..20 {
            let count: Option<u32> = fresh.query_first("SELECT COUNT(*) FROM t").await.unwrap();
            assert_eq!(count, Some(2), "{flavor}");
        }
        // A statement is counted a moment after its reply.
        until("reads and writes of the replicas are counted", async || {
            ["db1", "db2"].map(|name| bed.served(name)) == [(10, 0); 2]
        })
        .await;
        assert_eq!((bed.count(Reason::Read), bed.count(Reason::Write)), (20, 2), "{flavor}");
        drop((conn, fresh));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_reads_its_own_writes() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "[reads]\nwait_timeout = \"20s\"\n").await;
        let mut conn = bed.connect().await;
        conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await.unwrap();
        conn.query_drop("INSERT INTO t VALUES (1, 0)").await.unwrap();
        for value in 1..50 {
            conn.exec_drop("UPDATE t SET v = ? WHERE id = 1", (value,)).await.unwrap();
            let seen: Option<u32> = conn.exec_first("SELECT v FROM t WHERE id = ?", (1,)).await.unwrap();
            assert_eq!(seen, Some(value), "{flavor}");
        }
        until("replicas have served reads", async || bed.served("db1").0 + bed.served("db2").0 > 0).await;
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn texts_that_cannot_be_trusted_go_to_the_writer() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "").await;
        let cases = [
            ("SET NAMES gbk", "SELECT 'é'", Reason::Unknown),
            ("SET NAMES gbk", "SELECT 1", Reason::Read),
            ("SET NAMES utf8mb4", "SELECT 1", Reason::Read),
            ("USE performance_schema", "SELECT 1", Reason::ConnectionState),
        ];
        // Until something was written, a server cannot be told from one without GTIDs.
        bed.cluster.writer.exec("CREATE TABLE app.t (id INT)").await.unwrap();
        until("positions are known", async || bed.weir.context.cluster.load().has_positions).await;
        let mut conn = bed.connect().await;
        for (before, read, reason) in cases {
            conn.query_drop(before).await.unwrap();
            let counted = bed.count(reason);
            conn.query_drop(read).await.unwrap();
            until(before, async || bed.count(reason) == counted + 1).await;
        }
        drop(conn);
        bed.stop().await;
    }
}
