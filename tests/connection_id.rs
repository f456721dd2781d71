//! `CONNECTION_ID()` as a part of more: the id stays the session's, and whoever knows it may kill by it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::Instant;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
    until,
};
use tokio::time::timeout;
use weir::sandbox::{Cluster, Flavor};

const SCHEMA: &[&str] = &[
    "CREATE TABLE app.locks (id BIGINT UNSIGNED PRIMARY KEY)",
    "CREATE TABLE app.audit (id BIGINT UNSIGNED)",
    "CREATE TABLE app.audited (v INT)",
    "CREATE TRIGGER app.audits AFTER INSERT ON app.audited FOR EACH ROW INSERT INTO app.audit VALUES (CONNECTION_ID())",
    "CREATE VIEW app.mine AS SELECT id FROM app.locks WHERE id = CONNECTION_ID()",
    "CREATE FUNCTION app.me() RETURNS BIGINT UNSIGNED NOT DETERMINISTIC NO SQL RETURN CONNECTION_ID()",
    "CREATE PROCEDURE app.tell() SELECT CONNECTION_ID()",
];

async fn start(flavor: Flavor) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    cluster.writer.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
    cluster.writer.exec("CREATE USER other@'%' IDENTIFIED BY 'other-secret'").await.unwrap();
    for sql in SCHEMA {
        cluster.writer.exec(sql).await.unwrap();
    }
    cluster.wait_caught_up().await.unwrap();
    let extra = "[[users]]\nname = \"other\"\npassword = \"other-secret\"\n[timeouts]\ndrain = \"100ms\"\n";
    Bed::with(cluster, extra).await
}

async fn connect(bed: &Bed) -> Raw {
    Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap()
}

/// The first value of each result that has one.
async fn told(raw: &mut Raw, sql: &str) -> String {
    String::from_utf8(raw.value(sql).await).unwrap()
}

/// A session that keeps the connection which somebody else has used last.
async fn takes_the_connection(bed: &Bed) -> Raw {
    let mut taker = connect(bed).await;
    taker.run("BEGIN").await;
    taker.run("SELECT COUNT(*) FROM locks FOR UPDATE").await;
    taker
}

/// Why the session holds a connection, once the statement before is wholly dealt with.
async fn pin(bed: &Bed, raw: &mut Raw) -> Option<&'static str> {
    assert_eq!(error(&raw.ask(b"\x0E", Answer::One).await), None);
    bed.weir.context.sessions.find(raw.id).unwrap().view(Instant::now()).pin
}

#[tokio::test]
async fn the_id_stays_the_sessions_own() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        for (writes, reads) in [
            ("INSERT INTO locks VALUES (CONNECTION_ID())", "SELECT COUNT(*) FROM locks WHERE id = CONNECTION_ID()"),
            ("INSERT INTO locks SELECT connection_id ( )", "SELECT COUNT(*) FROM mine"),
            ("INSERT INTO locks VALUES (me())", "SELECT COUNT(*) FROM locks WHERE id = me()"),
            ("INSERT INTO audited VALUES (1)", "SELECT COUNT(*) FROM audit WHERE id = CONNECTION_ID()"),
            (
                "INSERT INTO audit VALUES (0); INSERT INTO locks VALUES (CONNECTION_ID())",
                "SELECT COUNT(*) FROM locks WHERE id = CONNECTION_ID()",
            ),
        ] {
            let mut session = connect(&bed).await;
            session.run(writes).await;
            let mut taker = takes_the_connection(&bed).await;
            assert_eq!(told(&mut session, reads).await, "1", "{flavor}: {writes}; {reads}");
            assert_eq!(pin(&bed, &mut session).await, Some("connection-id"), "{flavor}: {writes}");
            taker.run("ROLLBACK").await;
            session.run("DELETE FROM locks").await;
            session.run("DELETE FROM audit").await;
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn every_way_to_ask_tells_the_same_id() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        for first in ["SELECT CONNECTION_ID(), VERSION()", "CALL tell()", "SELECT CAST(CONNECTION_ID() AS CHAR)"] {
            let mut session = connect(&bed).await;
            let id = told(&mut session, first).await;
            let mut taker = takes_the_connection(&bed).await;
            let prepared = session.prepare("SELECT CONNECTION_ID()").await;
            for sql in [
                "SELECT CONNECTION_ID()",
                "SELECT CONNECTION_ID() + 0",
                "SELECT id FROM information_schema.processlist WHERE id = CONNECTION_ID()",
                "SELECT IS_USED_LOCK(CONCAT('l', GET_LOCK('l1', 0)))",
            ] {
                assert_eq!(told(&mut session, sql).await, id, "{flavor}: {first}; {sql}");
            }
            let execute = [b"\x17", &prepared.to_le_bytes()[..], b"\0\x01\0\0\0"].concat();
            let reply = session.ask(&execute, Answer::Results).await;
            let expected = [&[0, 0][..], &id.parse::<u32>().unwrap().to_le_bytes()].concat();
            assert_eq!(reply[reply.len() - 2][..6], expected, "{flavor}: {first}, prepared");
            taker.run("ROLLBACK").await;
            // The session begins anew, and is one that was told nothing.
            assert_eq!(error(&session.ask(b"\x1F", Answer::One).await), None);
            assert_eq!(told(&mut session, "SELECT CONNECTION_ID()").await, session.id.to_string(), "{flavor}");
            assert_eq!(pin(&bed, &mut session).await, None, "{flavor}: {first}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn other_reads_go_on_running_on_replicas() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut session = connect(&bed).await;
        let id = told(&mut session, "SELECT CONNECTION_ID(), 1").await;
        bed.until_serves("db1", true).await;
        let before = bed.served("db1").0;
        for _ in 0..3 {
            session.run("SELECT COUNT(*) FROM locks").await;
            assert_eq!(told(&mut session, "SELECT CONNECTION_ID(), 1").await, id, "{flavor}");
        }
        assert_eq!(bed.served("db1").0, before + 3, "{flavor}");
        // A transaction that only reads does not bind the session to its replica.
        let mut session = connect(&bed).await;
        session.run("START TRANSACTION READ ONLY").await;
        session.run("SELECT COUNT(*) FROM locks").await;
        let id = told(&mut session, "SELECT CONNECTION_ID(), 1").await;
        session.run("COMMIT").await;
        session.run("INSERT INTO locks VALUES (CONNECTION_ID())").await;
        assert_eq!(told(&mut session, "SELECT id FROM mine").await, id, "{flavor}");
        // Nor does a question to one replica.
        let mut session = connect(&bed).await;
        session.run("/* weir:server=db1 */ SELECT CONNECTION_ID(), 1").await;
        session.run("INSERT INTO audit VALUES (1)").await;
        // What only looks like it tells nobody's id.
        for sql in ["SELECT UUID_SHORT()", "SHOW PROCESSLIST", "SELECT 'CONNECTION_ID()'", "SELECT CONNECTION_ID()"] {
            session.run(sql).await;
            assert_eq!(pin(&bed, &mut session).await, None, "{flavor}: {sql}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn the_id_is_one_to_kill() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut killer = connect(&bed).await;
        let card = Card { user: "other", password: "other-secret", schema: None, ..Card::app(MODERN) };
        let mut stranger = Raw::connect(bed.port(), &card).await.unwrap();
        for by_command in [false, true] {
            let mut victim = connect(&bed).await;
            let id = told(&mut victim, "SELECT CONNECTION_ID() + 0").await;
            assert_eq!(code(&stranger.query(format!("KILL {id}")).await).0, 1095, "{flavor}");
            assert_eq!(code(&victim.query(format!("KILL QUERY {id}")).await).0, 1317, "{flavor}: oneself");
            assert_eq!(told(&mut victim, "SELECT CONNECTION_ID() + 0").await, id, "{flavor}");
            killer.run(format!("KILL QUERY {id}")).await;
            if by_command {
                let command = [&[0x0C][..], &id.parse::<u32>().unwrap().to_le_bytes()].concat();
                assert_eq!(error(&killer.ask(&command, Answer::One).await), None, "{flavor}");
            } else {
                killer.run(format!("KILL CONNECTION {id}")).await;
            }
            timeout(bed::PATIENCE, async { while !victim.is_closed().await {} }).await.unwrap();
            // The connection is on its way back to the pool, and is closed there.
            until("the connection that is nobody's is closed", async || {
                let late = error(&killer.query(format!("KILL {id}")).await);
                assert!(late.as_ref().is_none_or(|error| error.code == 1094), "{flavor}: {late:?}");
                late.is_none()
            })
            .await;
        }
        // The connection of who has forgotten its id is whose it is then.
        let mut victim = connect(&bed).await;
        let id = told(&mut victim, "SELECT CONNECTION_ID() + 0").await;
        assert_eq!(error(&victim.ask(b"\x1F", Answer::One).await), None);
        let mut taker = takes_the_connection(&bed).await;
        assert_eq!(told(&mut taker, "SELECT CONNECTION_ID() + 0").await, id, "{flavor}");
        killer.run(format!("KILL {id}")).await;
        timeout(bed::PATIENCE, async { while !taker.is_closed().await {} }).await.unwrap();
        assert_eq!(told(&mut victim, "SELECT 'alive'").await, "alive", "{flavor}");
        bed.stop().await;
    }
}
