//! How often Weir goes to a server for what an application does: as often as the application goes to Weir, but where this
//! table says otherwise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, basics, flavors, relay::Relay};
use mysql_async::{Conn, Params, prelude::*};
use weir::sandbox::{Cluster, Flavor};

const SCHEMA: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
    "INSERT INTO t VALUES (1, 1), (2, 2)",
    "CREATE PROCEDURE nothing() BEGIN DO 0; END",
    "CREATE PROCEDURE writes() BEGIN UPDATE t SET v = v + 1 WHERE id = 1; SELECT v FROM t WHERE id = 1; END",
    "CREATE FUNCTION computes() RETURNS INT NO SQL RETURN 1",
];

/// What an application does again and again, and how many round trips more it costs each time: a question behind the reply,
/// which the client does not wait for, or a second opinion from the writer. `!`: it fails; `?`: it is prepared.
const CASES: &[(&str, usize)] = &[
    ("SELECT * FROM t WHERE id = 1", 0),
    ("?SELECT * FROM t WHERE id = 1", 0),
    ("SELECT computes()", 0),
    ("INSERT INTO t (v) VALUES (3)", 0),
    ("?INSERT INTO t (v) VALUES (3)", 0),
    ("INSERT INTO t (v) VALUES (3); SELECT LAST_INSERT_ID()", 0),
    ("INSERT INTO t (id, v) VALUES (1, 1) ON DUPLICATE KEY UPDATE v = 5", 0),
    ("UPDATE t SET v = v + 1 WHERE id = 1", 0),
    ("BEGIN; SELECT * FROM t WHERE id = 1 FOR UPDATE; UPDATE t SET v = v + 1 WHERE id = 1; COMMIT", 0),
    ("SET autocommit = 0; SELECT * FROM t WHERE id = 1; COMMIT; SET autocommit = 1", 0),
    ("CALL nothing()", 1),
    ("CALL writes()", 1),
    ("?CALL writes()", 1),
    ("SET NAMES utf8mb4; SELECT * FROM t WHERE id = 1", 1),
    ("SET @uid = 5; UPDATE t SET v = @uid WHERE id = 1; SELECT @uid", 0),
    ("!SELECT nonsense", 1),
    ("INSERT IGNORE INTO t VALUES (1, 1)", 0),
    ("INSERT IGNORE INTO t VALUES (1, 1); SHOW WARNINGS", 0),
    ("SELECT 1/0; SHOW WARNINGS", 0),
    ("UPDATE t SET v = 7 WHERE id = 1; SELECT ROW_COUNT()", 0),
    ("SELECT GET_LOCK('l', 0); SELECT RELEASE_LOCK('l')", 2),
    ("CREATE TEMPORARY TABLE mine (id INT); SELECT * FROM t; DROP TEMPORARY TABLE mine", 0),
];

/// A cluster of which every round trip is heard.
async fn relayed(flavor: Flavor, extra: &str) -> (Bed, Vec<Relay>) {
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    // Nobody but the sessions is to be counted.
    let mut text = basics(&cluster).replace("200ms", "1h")
        + "[tls.server]\nmode = \"disabled\"\n[reads]\nconsistency = \"eventual\"\n[pool]\nlinger = \"10s\"\n"
        + extra;
    let mut relays = Vec::new();
    for server in cluster.servers() {
        server.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
        let relay = Relay::start(server.address()).await;
        text = text.replace(&server.address().to_string(), &relay.address.to_string());
        relays.push(relay);
    }
    (Bed::with_config(cluster, &text).await, relays)
}

async fn run(conn: &mut Conn, sql: &str) {
    match sql.split_at(1) {
        ("!", sql) => drop(conn.query_drop(sql).await.expect_err(sql)),
        ("?", sql) => conn.exec_drop(sql, ()).await.unwrap_or_else(|error| panic!("{sql}: {error}")),
        _ => conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")),
    }
}

#[tokio::test]
async fn an_application_pays_for_its_own_round_trips() {
    const TIMES: usize = 4;
    for flavor in flavors() {
        let (bed, relays) = relayed(flavor, "").await;
        let mut one = bed.connect().await;
        for sql in SCHEMA {
            one.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        bed.cluster.wait_caught_up().await.unwrap();
        let mut wrong = Vec::new();
        for (statements, more) in CASES {
            let mut asked = 0;
            for round in 0..TIMES + 2 {
                // The first rounds open connections and prepare statements.
                if round == 2 {
                    // What is asked behind a reply is asked before the next.
                    one.ping().await.unwrap();
                    asked = 0;
                    relays.iter().for_each(Relay::listen);
                }
                for sql in statements.split("; ") {
                    run(&mut one, sql).await;
                    asked += 1;
                }
            }
            one.ping().await.unwrap();
            let heard: Vec<String> = relays.iter().flat_map(Relay::heard).collect();
            if heard.len() != asked + more * TIMES {
                wrong.push(format!("{statements}: {} for {asked}\n  {}", heard.len(), heard.join("\n  ")));
            }
            one.reset().await.unwrap();
        }
        assert!(wrong.is_empty(), "{flavor}:\n{}", wrong.join("\n"));
        bed.stop().await;
    }
}

#[tokio::test]
async fn who_inserts_after_others_pays_no_more() {
    const TIMES: usize = 4;
    for flavor in flavors() {
        // With one worker, sessions take turns on the same connection.
        let (bed, relays) = relayed(flavor, "[runtime]\nworkers = 1\n").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT) AUTO_INCREMENT = 100").await.unwrap();
        other.query_drop("INSERT INTO t (v) VALUES (3)").await.unwrap();
        relays.iter().for_each(Relay::listen);
        for _ in 0..TIMES {
            one.query_drop("INSERT INTO t (v) VALUES (3) ON DUPLICATE KEY UPDATE v = 5").await.unwrap();
            other.query_drop("INSERT INTO t (v) VALUES (3)").await.unwrap();
        }
        let heard: Vec<String> = relays.iter().flat_map(Relay::heard).collect();
        assert_eq!(heard.len(), 2 * TIMES, "{flavor}:\n  {}", heard.join("\n  "));
        // They use one connection.
        let own = heard.iter().filter(|bytes| bytes.contains("SET last_insert_id=")).count();
        assert_eq!(own, TIMES, "{flavor}:\n  {}", heard.join("\n  "));
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn who_shares_a_prepared_text_pays_no_more() {
    const TIMES: usize = 4;
    for flavor in flavors() {
        let (bed, relays) = relayed(flavor, "[runtime]\nworkers = 1\n").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9))").await.unwrap();
        one.query_drop("INSERT INTO t VALUES (1, 'a')").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        // What each binds: the same types, others, and none.
        let cases: [(&str, [Params; 2]); 5] = [
            ("SELECT * FROM t WHERE id = ?", [(1,).into(), (2,).into()]),
            ("SELECT * FROM t WHERE id = ? AND v = ?", [(1, "a").into(), (1, None::<i32>).into()]),
            ("SELECT ?", [(1,).into(), (2,).into()]),
            ("SELECT ?", [(1,).into(), ("a",).into()]),
            ("UPDATE t SET v = ? WHERE id = ?", [(1.5, "1").into(), (None::<i32>, 1).into()]),
        ];
        for (sql, [mine, others]) in cases {
            for round in 0..TIMES + 2 {
                // The first rounds prepare statements.
                if round == 2 {
                    relays.iter().for_each(Relay::listen);
                }
                one.exec_drop(sql, mine.clone()).await.unwrap();
                other.exec_drop(sql, others.clone()).await.unwrap();
            }
            let heard: Vec<String> = relays.iter().flat_map(Relay::heard).collect();
            assert_eq!(heard.len(), 2 * TIMES, "{flavor}: {sql}:\n  {}", heard.join("\n  "));
        }
        drop((one, other));
        bed.stop().await;
    }
}
