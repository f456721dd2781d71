//! What makes a session keep its server connection, and what ends that, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../bed/mod.rs"]
mod bed;

mod endings;
mod statements;
mod unreported;

use std::time::Instant;

use bed::Bed;
use mysql_async::{Conn, prelude::*};
use weir::sandbox::Flavor;

/// Tables, routines and a role for every test.
const SCHEMA: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
    "INSERT INTO t VALUES (1, 1), (2, 2)",
    "CREATE TABLE triggered (id INT PRIMARY KEY)",
    "CREATE TRIGGER sets BEFORE INSERT ON triggered FOR EACH ROW SET @trigger = 1",
    "CREATE PROCEDURE nothing() BEGIN DO 0; END",
    "CREATE PROCEDURE opens() BEGIN START TRANSACTION; INSERT INTO t VALUES (50, 0); END",
    "CREATE PROCEDURE opens_and_fails() BEGIN START TRANSACTION; INSERT INTO t VALUES (51, 0); \
     SIGNAL SQLSTATE '45000'; END",
    "CREATE PROCEDURE sets_and_fails() BEGIN SET @inside = 1; SIGNAL SQLSTATE '45000'; END",
    "CREATE PROCEDURE sets_both() BEGIN SET @inside = 1; SET SESSION time_zone = '+01:00'; END",
    "CREATE PROCEDURE sets_and_selects() BEGIN SET @inside = 1; SELECT 1; END",
    "CREATE FUNCTION sets_it() RETURNS INT NO SQL BEGIN SET @inside = 1; RETURN 1; END",
    "CREATE FUNCTION computes() RETURNS INT NO SQL RETURN 1",
    "CREATE FUNCTION sets_and_fails() RETURNS INT NO SQL BEGIN SET @inside = 1; SIGNAL SQLSTATE '45000'; RETURN 1; END",
    "CREATE PROCEDURE selects_into() BEGIN SELECT 1 INTO @hidden; END",
    "CREATE PROCEDURE assigns() BEGIN DECLARE n INT; SET n = (SELECT @hidden := 3); END",
    "CREATE PROCEDURE locks() BEGIN DO GET_LOCK('hidden', 0); END",
    "CREATE PROCEDURE takes_role() BEGIN SET ROLE reporting; END",
    "CREATE PROCEDURE calls() BEGIN CALL selects_into(); END",
    "CREATE PROCEDURE runs(text TEXT) BEGIN SET @text = text; PREPARE s FROM @text; EXECUTE s; DEALLOCATE PREPARE s; END",
    "CREATE PROCEDURE unscoped() BEGIN SET @@time_zone = '+01:00'; END",
    "CREATE PROCEDURE sets_session() BEGIN SET SESSION group_concat_max_len = 2048; END",
    "CREATE PROCEDURE sets_mode() BEGIN SET SESSION sql_mode = 'ANSI'; END",
    "CREATE PROCEDURE makes_table() BEGIN CREATE TEMPORARY TABLE hidden (id INT); END",
    "CREATE PROCEDURE writes(v INT) BEGIN DECLARE n INT; SELECT COUNT(*) INTO n FROM t; UPDATE t SET v = n; END",
    "CREATE ROLE reporting",
    "GRANT reporting TO app@'%'",
];

async fn with_schema(flavor: Flavor) -> Bed {
    let bed = Bed::start(flavor, "").await;
    bed.cluster.writer.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
    let mut conn = bed.connect().await;
    for sql in SCHEMA {
        conn.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    bed.cluster.wait_caught_up().await.unwrap();
    bed
}

/// Why a session holds a connection, as the operator sees it.
fn pin_of(bed: &Bed, id: u32) -> Option<&'static str> {
    bed.weir.context.sessions.find(id).unwrap().view(Instant::now()).pin
}

/// The same once the statement before is wholly dealt with, which it is when the next command is answered.
async fn pin(bed: &Bed, conn: &mut Conn) -> Option<&'static str> {
    conn.ping().await.unwrap();
    pin_of(bed, conn.id())
}

/// Runs statements separated by `;`. Those behind a `!` must fail.
async fn run(conn: &mut Conn, statements: &str) {
    for sql in statements.split(';').map(str::trim).filter(|sql| !sql.is_empty()) {
        match sql.strip_prefix('!') {
            Some(sql) => drop(conn.query_drop(sql).await.expect_err(sql)),
            None => conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")),
        }
    }
}
