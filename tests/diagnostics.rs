//! What a statement says of the one before it is about this session's, though others use the same server connection.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, basics, flavors, server_error, until};
use mysql_async::{Conn, prelude::*};
use weir::{
    sandbox::{Cluster, Flavor},
    telemetry::Pin,
};

#[tokio::test]
async fn the_last_insert_id_is_the_sessions_own() {
    for flavor in flavors() {
        // With one worker, sessions take turns on the same connection.
        let bed = Bed::start(flavor, "[runtime]\nworkers = 1\n").await;
        let (mut one, mut two, mut none) = (bed.connect().await, bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE parent (id INT PRIMARY KEY AUTO_INCREMENT)").await.unwrap();
        one.query_drop("CREATE TABLE child (parent INT)").await.unwrap();
        one.query_drop("INSERT INTO parent VALUES (NULL)").await.unwrap();
        two.query_drop("INSERT INTO parent VALUES (NULL), (NULL)").await.unwrap();
        for (conn, id) in [(&mut one, 1), (&mut two, 2), (&mut none, 0)] {
            for sql in ["SELECT LAST_INSERT_ID()", "SELECT @@last_insert_id", "SELECT @@identity"] {
                let found: Option<u64> = conn.query_first(sql).await.unwrap();
                assert_eq!(found, Some(id), "{flavor}: {sql}");
            }
            let found: Option<u64> = conn.exec_first("SELECT LAST_INSERT_ID() + ?", (0,)).await.unwrap();
            assert_eq!(found, Some(id), "{flavor}: prepared");
            conn.query_drop("INSERT INTO child VALUES (LAST_INSERT_ID())").await.unwrap();
        }
        let parents: Vec<u64> = one.query("SELECT /* weir:writer */ parent FROM child ORDER BY parent").await.unwrap();
        assert_eq!(parents, [0, 1, 2], "{flavor}");
        drop((one, two, none));
        bed.stop().await;
    }
}

#[tokio::test]
async fn the_last_insert_id_is_the_sessions_own_when_others_get_its_connection_before_it_is_clear() {
    for flavor in flavors() {
        let bed = narrow(flavor, &NARROW.replace("linger = \"10m\"", "linger = \"20ms\"")).await;
        let (mut one, alike) = (bed.connect().await, bed.connect().await);
        // For whom the connection is closed, as it is not agreed upon so.
        let unlike = Conn::new(bed.options().client_found_rows(true)).await.unwrap();
        one.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT UNIQUE)").await.unwrap();
        for mut other in [alike, unlike] {
            one.query_drop("TRUNCATE t").await.unwrap();
            one.query_drop("INSERT INTO t (v) VALUES (6)").await.unwrap();
            let cases = [
                // The id is named, and the error keeps the connection from being asked.
                ("SELECT 6; REPLACE INTO t (id, v) VALUES (5, 8); DROP TABLE missing", 1),
                ("INSERT INTO t (v) VALUES (6)", 1),
                // The first row was made.
                ("INSERT INTO t (v) VALUES (60), (6)", 9),
            ];
            for (sql, expected) in cases {
                one.query_drop(sql).await.expect_err(sql);
                other.query_drop("INSERT INTO t (v) VALUES (NULL)").await.unwrap();
                let told: Option<u64> = one.query_first("SELECT LAST_INSERT_ID()").await.unwrap();
                assert_eq!(told, Some(expected), "{flavor}: {sql}");
            }
        }
        drop(one);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_whose_statements_fail_stays_with_its_connections() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "[runtime]\nworkers = 1\n").await;
        let mut conn = bed.connect().await;
        for _ in 0..20 {
            conn.query_drop("INSERT INTO nowhere VALUES (1)").await.unwrap_err();
            conn.query_drop("SELECT * FROM nowhere").await.unwrap_err();
        }
        for member in &bed.weir.context.cluster.load().members {
            let (idle, used) = member.server.pool.counts();
            assert!(idle + used <= 2, "{flavor}: {idle} + {used} connections to {}", member.server.id);
        }
        drop(conn);
        bed.stop().await;
    }
}

/// One connection to each server, kept for as long as it takes to ask.
const NARROW: &str = "[runtime]\nworkers = 1\n[pool]\nlinger = \"10m\"\nacquire_timeout = \"10m\"\n";

async fn narrow(flavor: Flavor, extra: &str) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let text = basics(&cluster).replace("role =", "max_connections = 1\nrole =") + extra;
    Bed::with_config(cluster, &text).await
}

#[tokio::test]
async fn a_statement_can_be_asked_about_while_others_want_its_connection() {
    for flavor in flavors() {
        let bed = narrow(flavor, NARROW).await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await.unwrap();
        // From here on Weir knows that this user asks.
        one.query_drop("SELECT ROW_COUNT()").await.unwrap();
        one.query_drop("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await.unwrap();
        let waits = || bed.weir.context.metrics.total(|shard| &shard.lease_waits);
        for sql in ["DO 1", "INSERT INTO t VALUES (9, 9)", "DELETE FROM t WHERE id = 9"] {
            one.query_drop("UPDATE t SET v = v + 1 WHERE id < 3").await.unwrap();
            let before = waits();
            let waiting = tokio::spawn(async move {
                other.query_drop(sql).await.unwrap();
                other
            });
            until("the other one waits", async || waits() > before).await;
            assert_eq!(one.query_first("SELECT ROW_COUNT()").await.unwrap(), Some(2), "{flavor}: {sql}");
            // What does not ask lets the connection go.
            let ids: Vec<u32> = one.query("SELECT id FROM t").await.unwrap();
            other = waiting.await.unwrap();
            assert_eq!(one.query_first("SELECT FOUND_ROWS()").await.unwrap(), Some(ids.len()), "{flavor}: {sql}");
            let error = one.query_drop("INSERT INTO t VALUES (1, 1)").await.unwrap_err();
            let errors: Vec<(String, u16, String)> = one.query("SHOW ERRORS").await.unwrap();
            assert_eq!(errors[0].1, server_error(&error).0, "{flavor}");
            assert!(bed.pinned(Pin::Diagnostics) > 0, "{flavor}");
            one.query_drop("SELECT 1").await.unwrap();
        }
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn what_weir_asks_on_behalf_of_others_is_told_to_nobody() {
    for flavor in flavors() {
        let bed = narrow(flavor, "[runtime]\nworkers = 1\n").await;
        let mut conn = bed.connect().await;
        conn.query_drop("DO 1").await.unwrap();
        // The writer is asked for the schema on the one connection.
        let elsewhere = Conn::new(bed.options().db_name(Some("no_such_schema"))).await;
        assert_eq!(server_error(&elsewhere.unwrap_err()).0, 1049, "{flavor}");
        let warnings: Vec<(String, u16, String)> = conn.query("SHOW WARNINGS").await.unwrap();
        assert_eq!(warnings, [], "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn who_does_not_ask_in_time_gets_nothing_of_others() {
    for flavor in flavors() {
        let bed = narrow(flavor, &NARROW.replace("linger = \"10m\"", "linger = \"20ms\"")).await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("SELECT /* weir:writer */ CAST('mine' AS SIGNED)").await.unwrap();
        // It waits for no more than the connection.
        other.query_drop("SELECT /* weir:writer */ CAST('yours' AS SIGNED)").await.unwrap();
        other.query_drop("SELECT /* weir:writer */ CAST('yours' AS SIGNED)").await.unwrap();
        for sql in ["SELECT /* weir:writer */ 1", "DO 1"] {
            // Uses no table, so that MariaDB leaves the warnings of before.
            one.query_drop(sql).await.unwrap();
            let warnings: Vec<(String, u16, String)> = one.query("SHOW WARNINGS").await.unwrap();
            assert_eq!(warnings, [], "{flavor}: after {sql}");
            other.query_drop("SELECT /* weir:writer */ CAST('yours' AS SIGNED)").await.unwrap();
        }
        drop((one, other));
        bed.stop().await;
    }
}
