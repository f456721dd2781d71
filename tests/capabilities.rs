//! Capabilities that change the bytes of commands and results: what a client agreed on is what it gets, from whatever
//! connection its statements run on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors, is_tested,
    raw::{Answer, Card, MODERN, Raw, code, error},
    relay::Line,
};
use weir::{
    protocol::Capabilities,
    sandbox::{Cluster, Flavor},
};

/// What changes bytes and not every server has.
const EXTRAS: Capabilities = Capabilities::DEPRECATE_EOF
    .with(Capabilities::OPTIONAL_RESULTSET_METADATA)
    .with(Capabilities::QUERY_ATTRIBUTES)
    .with(Capabilities::PROGRESS)
    .with(Capabilities::STMT_BULK_OPERATIONS)
    .with(Capabilities::EXTENDED_METADATA)
    .with(Capabilities::CACHE_METADATA)
    .with(Capabilities::BULK_UNIT_RESULTS);

/// Every statement on another server: Weir's connections differ, what the client gets does not.
const HINTS: [&str; 2] = ["/* weir:writer */", "/* weir:reader */"];

async fn start(flavor: Flavor, tables: &[&str]) -> Bed {
    let bed = Bed::start(flavor, "").await;
    let mut raw = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
    for table in tables {
        raw.run(table).await;
    }
    bed.cluster.wait_caught_up().await.unwrap();
    bed
}

#[tokio::test]
async fn clients_are_offered_what_their_servers_have() {
    for flavor in flavors() {
        let bed = start(flavor, &[]).await;
        let direct = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
        let through = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let [direct, through] = [direct, through].map(|raw| raw.greeting().capabilities.intersect(EXTRAS));
        assert_eq!(through, direct, "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_lacks_what_a_client_was_promised_does_not_serve_it() {
    for (flavor, promised) in
        [(Flavor::MariaDb, Capabilities::EXTENDED_METADATA), (Flavor::MySql9, Capabilities::DEPRECATE_EOF)]
    {
        if !is_tested(flavor) {
            continue;
        }
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        let ports: Vec<_> = cluster.servers().map(|server| server.port().to_string().into_bytes()).collect();
        let (bed, relays) = Bed::with_relays(cluster, "").await;
        bed.until_serves("db1", true).await;
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN.with(promised))).await.unwrap();
        let mut other = Raw::connect(bed.port(), &Card::app(MODERN.without(promised))).await.unwrap();
        relays[1].set(Line::Lacking(promised));
        assert_eq!(
            raw.value("/* weir:reader */ SELECT @@port").await,
            ports[0],
            "{flavor}: the writer serves reads then"
        );
        assert_eq!(other.value("/* weir:reader */ SELECT @@port").await, ports[1], "{flavor}: who was promised less");
        // A connection that the pool has was opened before.
        let old = raw.value("/* weir:writer */ SELECT 1").await;
        assert_eq!(old, b"1", "{flavor}");
        relays[0].set(Line::Lacking(promised));
        // No pooled connection is of this kind.
        let card = Card::app(MODERN.with(promised).with(Capabilities::FOUND_ROWS));
        let refused = match Raw::connect(bed.port(), &card).await {
            Err(error) => error,
            Ok(mut new) => error(&new.query("/* weir:writer */ SELECT 1").await).unwrap(),
        };
        let text = String::from_utf8_lossy(&refused.message).into_owned();
        assert!(text.contains(&format!("{promised:?}")), "{flavor}: {text}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn columns_are_described_as_each_client_asked() {
    if !is_tested(Flavor::MariaDb) {
        return;
    }
    let table = "CREATE TABLE t (j JSON, p POINT, u UUID, i INET6, n INT)";
    let bed = start(Flavor::MariaDb, &[table, "INSERT INTO t VALUES ('{}', POINT(1, 2), UUID(), '::1', 5)"]).await;
    let extended = MODERN.with(Capabilities::EXTENDED_METADATA);
    let kinds = [extended, MODERN, extended.without(Capabilities::DEPRECATE_EOF).with(Capabilities::PROGRESS)];
    let mut described = Vec::new();
    for capabilities in kinds {
        let mut direct = Raw::connect(bed.cluster.writer.port(), &Card::app(capabilities)).await.unwrap();
        let mut through = Raw::connect(bed.port(), &Card::app(capabilities)).await.unwrap();
        for hint in HINTS {
            let sql = format!("{hint} SELECT * FROM t");
            let expected = direct.run(&sql).await;
            assert_eq!(through.run(&sql).await, expected, "{capabilities:?} {sql}");
            let mut prepared = Vec::new();
            for raw in [&mut direct, &mut through] {
                let mut definitions = raw.ask(&[b"\x16", sql.as_bytes()].concat(), Answer::Prepare).await;
                let id = *raw.statements.last().unwrap();
                definitions.remove(0);
                let execute = [&[0x17][..], &id.to_le_bytes(), b"\0\x01\0\0\0"].concat();
                prepared.push((definitions, raw.ask(&execute, Answer::Results).await));
            }
            assert_eq!(prepared[1], prepared[0], "{capabilities:?} {sql}");
            described.push(expected);
        }
    }
    let names_json = |reply: &Vec<Vec<u8>>| reply[1].windows(4).any(|part| part == b"json");
    assert_eq!(described.iter().map(names_json).collect::<Vec<_>>(), [true, true, false, false, true, true]);
    bed.stop().await;
}

#[tokio::test]
async fn progress_is_reported_to_those_who_asked() {
    if !is_tested(Flavor::MariaDb) {
        return;
    }
    let bed = start(Flavor::MariaDb, &["CREATE TABLE t (n INT PRIMARY KEY)"]).await;
    for (capabilities, told) in [(Capabilities::PROGRESS, true), (Capabilities::NONE, false)] {
        for modern in [MODERN, MODERN.without(Capabilities::DEPRECATE_EOF)] {
            let mut raw = Raw::connect(bed.port(), &Card::app(modern.with(capabilities))).await.unwrap();
            raw.run("TRUNCATE t").await;
            raw.run("INSERT INTO t SELECT seq FROM seq_1_to_3000").await;
            assert_eq!(raw.reports, 0, "{capabilities:?}");
            let reply = raw.run("ALTER TABLE t ENGINE=InnoDB, ALGORITHM=COPY").await;
            assert_eq!(reply.len(), 1, "{capabilities:?}: {reply:x?}");
            assert_eq!(raw.reports > 0, told, "{capabilities:?}");
            // Between the columns and the rows, too.
            raw.run("OPTIMIZE TABLE t").await;
            let id = raw.prepare("ALTER TABLE t FORCE, ALGORITHM=COPY").await;
            let before = raw.reports;
            let execute = [&[0x17][..], &id.to_le_bytes(), b"\0\x01\0\0\0"].concat();
            assert_eq!(error(&raw.ask(&execute, Answer::Results).await), None);
            assert_eq!(raw.reports > before, told, "{capabilities:?}: prepared");
            assert_eq!(raw.value("SELECT COUNT(*) FROM t").await, b"3000");
        }
    }
    bed.stop().await;
}

#[tokio::test]
async fn definitions_are_left_out_for_whom_they_are_left_out() {
    if !is_tested(Flavor::MySql9) {
        return;
    }
    let bed = start(Flavor::MySql9, &["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"]).await;
    let optional = MODERN.with(Capabilities::OPTIONAL_RESULTSET_METADATA);
    let kinds = [optional, optional.without(Capabilities::DEPRECATE_EOF)];
    for capabilities in kinds {
        let mut direct = Raw::connect(bed.cluster.writer.port(), &Card::app(capabilities)).await.unwrap();
        // Two of the kind, which share connections: one is to have definitions when the other has none.
        let mut through = Raw::connect(bed.port(), &Card::app(capabilities)).await.unwrap();
        let mut other = Raw::connect(bed.port(), &Card::app(capabilities)).await.unwrap();
        for value in ["FULL", "NONE", "FULL", "NONE", "DEFAULT"] {
            let set = format!("SET resultset_metadata = {value}");
            assert_eq!(through.run(&set).await, direct.run(&set).await, "{capabilities:?} {set}");
            for hint in HINTS {
                let context = format!("{capabilities:?} {value} {hint}");
                for sql in ["SELECT * FROM t", "SELECT * FROM t WHERE id > 9", "SHOW WARNINGS"] {
                    let sql = format!("{hint} {sql}");
                    assert_eq!(through.run(&sql).await, direct.run(&sql).await, "{context} {sql}");
                }
                let sql = format!("{hint} SELECT id, ? FROM t");
                let mut prepared = Vec::new();
                for raw in [&mut direct, &mut through] {
                    let mut definitions = raw.ask(&[b"\x16", sql.as_bytes()].concat(), Answer::Prepare).await;
                    let id = *raw.statements.last().unwrap();
                    definitions[0][1..5].fill(0);
                    let execute = [&[0x17][..], &id.to_le_bytes(), b"\0\x01\0\0\0\0\x01\x03\0\x05\0\0\0"].concat();
                    prepared.push((definitions, raw.ask(&execute, Answer::Results).await));
                }
                assert_eq!(prepared[1], prepared[0], "{context} {sql}");
                // What Weir asks by itself: an alignment, the insert id, what an error left behind.
                other.run("SET time_zone = '+01:00', NAMES latin1 COLLATE latin1_german1_ci").await;
                assert_eq!(code(&other.query("INSERT INTO t VALUES (1)").await).0, 1062, "{context}");
                other.run("SELECT LAST_INSERT_ID(7)").await;
                other.run("SET time_zone = DEFAULT, NAMES utf8mb4").await;
                assert_eq!(code(&through.query("INSERT INTO t VALUES (1)").await).0, 1062, "{context}");
                assert_eq!(other.value(format!("{hint} SELECT COUNT(*) FROM t")).await, b"2", "{context}");
            }
        }
        assert_eq!(error(&other.query("SET resultset_metadata = FULL").await), None);
    }
    // Who cannot do without may not ask for it.
    let mut replies = Vec::new();
    for port in [bed.cluster.writer.port(), bed.port()] {
        let mut unaware = Raw::connect(port, &Card::app(MODERN)).await.unwrap();
        replies.push(unaware.query("SET resultset_metadata = NONE").await);
    }
    assert_eq!(replies[1], replies[0]);
    bed.stop().await;
}
