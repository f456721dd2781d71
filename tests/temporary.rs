//! Sessions with temporary tables: what touches them stays on their connection, other reads run on replicas, on real
//! servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code},
};
use weir::{sandbox::Cluster, telemetry::Pin};

const SCHEMA: &[&str] = &[
    "CREATE TABLE app.t (id INT PRIMARY KEY, v VARCHAR(10))",
    "INSERT INTO app.t VALUES (1, 'base'), (2, 'base')",
    "CREATE TABLE app2.t (id INT PRIMARY KEY)",
    "INSERT INTO app2.t VALUES (7)",
    "CREATE TABLE app.other (id INT PRIMARY KEY)",
    "INSERT INTO app.other VALUES (5)",
    "CREATE VIEW app.v AS SELECT id, v FROM app.t",
    "SET GLOBAL log_bin_trust_function_creators = 1",
    "CREATE FUNCTION app.counts() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM app.mine)",
    "CREATE SQL SECURITY INVOKER VIEW app.counted AS SELECT app.counts() AS n",
];

/// One writer and one replica, with one connection each for everybody.
async fn start(flavor: weir::sandbox::Flavor) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    for sql in SCHEMA {
        cluster.writer.exec(sql).await.unwrap();
    }
    cluster.wait_caught_up().await.unwrap();
    // A session is still pinned when its test is over.
    Bed::with(cluster, "[timeouts]\ndrain = \"100ms\"\n").await
}

async fn log_in(bed: &Bed) -> Raw {
    Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap()
}

/// Whether the replica served a statement. What was counted is known with the next answer.
async fn on_replica(bed: &Bed, raw: &mut Raw, sql: &str) -> bool {
    let before = bed.served("db1").0;
    raw.query(sql).await;
    raw.ask(b"\x0E", Answer::One).await;
    bed.served("db1").0 > before
}

fn pin(bed: &Bed, raw: &Raw) -> Option<&'static str> {
    bed.weir.context.sessions.find(raw.id).unwrap().view(std::time::Instant::now()).pin
}

#[tokio::test]
async fn reads_of_other_tables_run_on_replicas() {
    const CASES: &[(&str, bool)] = &[
        ("SELECT * FROM other", true),
        ("SELECT * FROM app2.t", true),
        ("(SELECT id FROM other) UNION SELECT id FROM app2.t", true),
        ("SELECT * FROM v WHERE id = 1", true),
        ("/* weir:reader */ SELECT * FROM other", true),
        ("/* weir:writer */ SELECT * FROM other", false),
        ("SELECT * FROM t", false),
        ("SELECT * FROM `app`.`T`", false),
        ("SELECT * FROM other JOIN t ON t.id = other.id", false),
        ("SELECT id FROM other WHERE id IN (SELECT id FROM t)", false),
        ("WITH x AS (SELECT * FROM t) SELECT * FROM x", false),
        ("SHOW COLUMNS FROM t", false),
        ("SHOW TABLES", false),
        ("DESCRIBE t", false),
        ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'app'", false),
        ("SELECT * FROM other FOR UPDATE", false),
        ("SELECT * FROM other; SELECT * FROM t", false),
    ];
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut raw = log_in(&bed).await;
        raw.run("CREATE TEMPORARY TABLE t (id INT, v VARCHAR(10))").await;
        raw.run("INSERT INTO t VALUES (1, 'mine')").await;
        for (sql, expected) in CASES {
            assert_eq!(on_replica(&bed, &mut raw, sql).await, *expected, "{flavor}: {sql}");
            assert_eq!(pin(&bed, &raw), Some(Pin::TemporaryTable.label()), "{flavor}: {sql}");
            assert_eq!(raw.value("SELECT v FROM t WHERE id = 1").await, b"mine", "{flavor}: behind {sql}");
        }
        // A view knows no temporary tables.
        assert_eq!(raw.value("SELECT v FROM v WHERE id = 1").await, b"base", "{flavor}");
        // By prepared statements, too.
        let statement = raw.prepare("SELECT id FROM other").await;
        let before = bed.served("db1").0;
        raw.ask(&[b"\x17", &statement.to_le_bytes()[..], b"\0\x01\0\0\0"].concat(), Answer::Results).await;
        raw.ask(b"\x0E", Answer::One).await;
        assert_eq!(bed.served("db1").0, before + 1, "{flavor}");
        assert!(!on_replica(&bed, &mut raw, "SELECT counts()").await, "{flavor}: it may do anything");
        // Own writes are seen.
        for id in 10..20 {
            raw.run(format!("INSERT INTO other VALUES ({id})")).await;
            assert_eq!(raw.value(format!("SELECT id FROM other WHERE id = {id}")).await, id.to_string().as_bytes());
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn what_else_is_pinned_or_unclear_stays() {
    const SESSIONS: &[&str] = &[
        "CREATE TEMPORARY TABLE t (id INT); BEGIN",
        "CREATE TEMPORARY TABLE t (id INT); SET autocommit = 0",
        "CREATE TEMPORARY TABLE t (id INT); SET @a = (SELECT 1)",
        "CREATE TEMPORARY TABLE x (id INT); ALTER TABLE x ADD v INT, RENAME TO t",
    ];
    for flavor in flavors() {
        let bed = start(flavor).await;
        for statements in SESSIONS {
            let mut raw = log_in(&bed).await;
            for sql in statements.split("; ") {
                raw.run(sql).await;
            }
            assert!(!on_replica(&bed, &mut raw, "SELECT * FROM other").await, "{flavor}: {statements}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_read_that_no_replica_serves_needs_no_second_connection() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut raw = log_in(&bed).await;
        raw.run("CREATE TEMPORARY TABLE mine (id INT)").await;
        bed.cluster.replicas[0].kill().await.unwrap();
        bed.until_serves("db1", false).await;
        assert_eq!(raw.value("SELECT id FROM other").await, b"5", "{flavor}");
        assert_eq!(pin(&bed, &raw), Some("temporary-table"), "{flavor}");
        let pools = bed.weir.context.cluster.load();
        assert_eq!(pools.members[0].server.pool.counts(), (0, 1), "{flavor}: it ran where the table is");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_function_behind_a_view_finds_the_table() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut raw = log_in(&bed).await;
        raw.run("CREATE TEMPORARY TABLE mine (id INT)").await;
        raw.run("INSERT INTO mine VALUES (1), (2), (3)").await;
        assert_eq!(raw.value("SELECT n FROM counted").await, b"3", "{flavor}");
        // What is nowhere is nowhere.
        assert_eq!(code(&raw.query("SELECT * FROM nowhere").await).0, 1146, "{flavor}");
        assert_eq!(raw.value("SELECT COUNT(*) FROM mine").await, b"3", "{flavor}");
        raw.run("DROP TABLE mine").await;
        assert!(matches!(code(&raw.query("SELECT n FROM counted").await).0, 1146 | 1356), "{flavor}");
        raw.ask(b"\x0E", Answer::One).await;
        assert_eq!(pin(&bed, &raw), None, "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn questions_about_a_read_beside_are_asked_where_it_ran() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut raw = log_in(&bed).await;
        raw.run("CREATE TEMPORARY TABLE mine (id INT)").await;
        raw.run("INSERT INTO mine VALUES (1), (2), (3)").await;
        raw.run("SELECT CAST('x' AS SIGNED), id FROM other").await;
        let warnings = raw.run("SHOW WARNINGS").await;
        assert!(warnings.iter().any(|packet| packet.windows(9).any(|text| text == b"Truncated")), "{flavor}");
        raw.run("UPDATE mine SET id = 9").await;
        assert_eq!(raw.value("SELECT ROW_COUNT()").await, b"3", "{flavor}: where the table is");
        raw.run("SELECT * FROM app2.t").await;
        assert_eq!(raw.value("SELECT FOUND_ROWS()").await, b"1", "{flavor}: on the replica");
        bed.stop().await;
    }
}
