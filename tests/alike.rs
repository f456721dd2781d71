//! Sequences of commands that once were answered otherwise through Weir than by a server, each as short as it gets:
//! random sessions (`differential`) found them. Every packet of every reply is compared.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "alike/again.rs"]
mod again;
mod bed;
#[path = "alike/sequences.rs"]
mod sequences;
#[path = "alike/shared.rs"]
mod shared;
#[path = "alike/told.rs"]
mod told;
#[path = "alike/types.rs"]
mod types;

use again::AGAIN;
use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code},
};
use sequences::{
    SEQUENCES,
    Say::{self, Bare, BareLatest, Beside, Change, Execute, Long, Partly, Ping, Prepare, Query, Reset},
};
use shared::SHARED;
use told::TOLD;
use weir::{
    protocol::{self, Capabilities, OkPacket},
    sandbox::Cluster,
};

#[tokio::test]
async fn what_once_differed_is_alike() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        let untold = MODERN.without(Capabilities::SESSION_TRACK);
        let classic = untold.without(Capabilities::DEPRECATE_EOF);
        for (capabilities, sequences) in [(untold, SEQUENCES), (classic, SEQUENCES), (untold, AGAIN), (MODERN, TOLD)] {
            compare(&bed, capabilities, sequences).await;
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn what_once_differed_beside_others_is_alike() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "[runtime]\nworkers = 1\n").await;
        compare(&bed, MODERN.without(Capabilities::SESSION_TRACK), SHARED).await;
        bed.stop().await;
    }
}

/// What the servers have in their own configuration, what a session does first, and what may end it.
const ENDINGS: &[(&str, &str, &str)] = &[
    ("NO_CHAIN", "DO 1", "COMMIT"),
    ("NO_CHAIN", "DO 1", "COMMIT RELEASE"),
    ("NO_CHAIN", "BEGIN", "ROLLBACK RELEASE"),
    ("NO_CHAIN", "SET completion_type = 2", "COMMIT"),
    ("NO_CHAIN", "SET completion_type = 'RELEASE'", "COMMIT NO RELEASE"),
    ("NO_CHAIN", "SET completion_type = CONCAT('RE', 'LEASE')", "ROLLBACK"),
    ("NO_CHAIN", "DO 1", "COMMIT RELEASE; DO 1"),
    ("NO_CHAIN", "DO 1", "DO 1; COMMIT RELEASE"),
    ("NO_CHAIN", "DO 1", "DO 1; COMMIT RELEASE; DO 1"),
    ("NO_CHAIN", "DO 1", "DO 1; COMMIT NO RELEASE; DO 1"),
    ("NO_CHAIN", "DO 1", "BEGIN; INSERT INTO t (v) VALUES (1); ROLLBACK RELEASE; DO missing()"),
    ("NO_CHAIN", "DO 1", "DO missing(); COMMIT RELEASE"),
    ("NO_CHAIN", "DO 1", "SET completion_type = 2; COMMIT; DO 1"),
    ("NO_CHAIN", "DO 1", "SET completion_type = 1; COMMIT; DO 1"),
    ("NO_CHAIN", "SET completion_type = 2", "DO 1; COMMIT; DO 1"),
    ("NO_CHAIN", "SET completion_type = 2", "DO 1; COMMIT NO RELEASE; DO 1"),
    ("NO_CHAIN", "SET completion_type = 2", "SET completion_type = 0; COMMIT; DO 1"),
    ("NO_CHAIN", "SET completion_type = 2", "CREATE TABLE IF NOT EXISTS d (id INT)"),
    ("NO_CHAIN", "SET completion_type = 2", "BEGIN; SAVEPOINT s; ROLLBACK TO s; RELEASE SAVEPOINT s"),
    ("NO_CHAIN", "CREATE PROCEDURE p() COMMIT RELEASE", "CALL p()"),
    ("NO_CHAIN", "CREATE PROCEDURE p() BEGIN COMMIT RELEASE; INSERT INTO t (v) VALUES (1); END", "CALL p()"),
    ("NO_CHAIN", "CREATE PROCEDURE p() COMMIT", "SET completion_type = 2; CALL p()"),
    ("NO_CHAIN", "CREATE PROCEDURE p() BEGIN SET completion_type = 2; COMMIT; END", "CALL p()"),
    ("NO_CHAIN", "CREATE PROCEDURE p() COMMIT", "SET completion_type = 2; CALL p(); DO 1"),
    ("NO_CHAIN", "PREPARE s FROM 'COMMIT'", "SET completion_type = 2; EXECUTE s"),
    ("RELEASE", "DO 1", "COMMIT"),
    ("RELEASE", "DO 1", "BEGIN"),
    ("RELEASE", "BEGIN", "ROLLBACK"),
    ("RELEASE", "DO 1", "COMMIT NO RELEASE"),
    ("RELEASE", "DO 1", "DO 1; COMMIT; DO 1"),
    ("RELEASE", "SET completion_type = 0", "COMMIT"),
    ("RELEASE", "SET completion_type = DEFAULT", "COMMIT"),
    ("RELEASE", "CREATE PROCEDURE p() COMMIT", "CALL p()"),
    ("CHAIN", "DO 1", "COMMIT"),
    ("CHAIN", "BEGIN", "COMMIT; DO 1"),
    ("CHAIN", "BEGIN", "COMMIT RELEASE"),
    ("CHAIN", "BEGIN", "ROLLBACK AND NO CHAIN"),
];

#[tokio::test]
async fn a_session_ends_where_a_servers_does() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        for part in ENDINGS.chunk_by(|(one, ..), (next, ..)| one == next) {
            for server in bed.cluster.servers() {
                server.exec(&format!("SET GLOBAL completion_type = '{}'", part[0].0)).await.unwrap();
            }
            // Connections keep what was configured when they were opened.
            let cluster = bed.weir.context.cluster.load();
            cluster.members.iter().for_each(|member| member.server.pool.drop_idle());
            for (configured, before, text) in part {
                let direct = ending(bed.cluster.writer.port(), "direct", before, text).await;
                let weir = ending(bed.port(), "behind", before, text).await;
                assert_eq!(weir, direct, "{flavor}, configured {configured}: {before}; {text}");
            }
        }
        bed.stop().await;
    }
}

/// Nothing tells Weir what the text does.
#[tokio::test]
async fn a_session_that_a_text_ended_by_name_ends_with_its_next_statement() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        raw.run("PREPARE s FROM 'COMMIT RELEASE'").await;
        raw.run("EXECUTE s").await;
        let (replies, lasts) = raw.run_while_it_lasts("DO 1").await;
        assert_eq!((code(&replies).0, lasts), (2013, false), "{flavor}");
        bed.stop().await;
    }
}

/// What is said to the last text, and whether the session goes on behind it.
async fn ending(port: u16, schema: &str, before: &str, text: &str) -> (Vec<String>, bool) {
    let mut raw = connected(port, MODERN, schema).await;
    raw.run(before).await;
    let (replies, lasts) = raw.run_while_it_lasts(text).await;
    (self::text(&replies), lasts)
}

async fn compare(bed: &Bed, capabilities: Capabilities, sequences: &[(&str, &[Say])]) {
    for (why, sequence) in sequences {
        let direct = play(bed.cluster.writer.port(), capabilities, "direct", sequence).await;
        let weir = play(bed.port(), capabilities, "behind", sequence).await;
        for ((say, direct), weir) in sequence.iter().zip(&direct).zip(&weir) {
            assert_eq!(text(weir), text(direct), "{}: {why}: {say:?}", bed.cluster.flavor());
        }
    }
}

/// A session in a new schema, with a table `t`.
async fn connected(port: u16, capabilities: Capabilities, schema: &str) -> Raw {
    let mut raw = Raw::connect(port, &Card::app(capabilities)).await.unwrap();
    for sql in ["DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}", "USE {}"] {
        raw.run(sql.replace("{}", schema)).await;
    }
    raw.run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)").await;
    raw
}

/// Plays a sequence in a schema of its own.
async fn play(port: u16, capabilities: Capabilities, schema: &str, sequence: &[Say]) -> Vec<Vec<Vec<u8>>> {
    let mut raw = connected(port, capabilities, schema).await;
    let mut other = Raw::connect(port, &Card::app(capabilities)).await.unwrap();
    other.run(format!("USE {schema}")).await;
    let mut replies = Vec::new();
    for say in sequence {
        replies.push(match say {
            Query(sql) => raw.query(sql).await,
            Beside(sql) => other.run(sql).await,
            Prepare(sql) => prepare(&mut raw, sql).await,
            Execute(texts) => {
                let texts: Vec<_> = texts.iter().copied().map(Some).collect();
                raw.ask(&execute(*raw.statements.last().unwrap(), &texts), Answer::Results).await
            }
            Partly(texts) => raw.ask(&execute(*raw.statements.last().unwrap(), texts), Answer::Results).await,
            Bare(parameters) => {
                let command = bare(*raw.statements.last().unwrap(), parameters);
                raw.ask(&command, Answer::Results).await
            }
            BareLatest(parameters) => raw.ask(&bare(u32::MAX, parameters), Answer::Results).await,
            Long(parameter, data) => {
                let id = raw.statements.last().unwrap().to_le_bytes();
                raw.ask(&[&[0x18][..], &id, &[*parameter, 0], data.as_bytes()].concat(), Answer::Nothing).await
            }
            // Without the number of warnings, which MySQL tells of the statement before.
            Ping => {
                let mut reply = raw.ask(b"\x0E", Answer::One).await;
                reply[0][5..7].fill(0);
                reply
            }
            Reset => raw.ask(b"\x1F", Answer::One).await,
            Change(collation) => {
                let command = [b"\x11app\0\0\0", &[*collation, 0][..], b"mysql_clear_password\0"].concat();
                raw.change_user(&command, "app-secret").await.unwrap();
                Vec::new()
            }
        });
    }
    replies
}

/// Without the id, which the server is free to choose.
async fn prepare(raw: &mut Raw, sql: &str) -> Vec<Vec<u8>> {
    let mut reply = raw.ask(&[b"\x16", sql.as_bytes()].concat(), Answer::Prepare).await;
    if let Some([0, id @ ..]) = reply.first_mut().map(Vec::as_mut_slice) {
        id[..4].fill(0);
    }
    reply
}

fn execute(statement: u32, texts: &[Option<&str>]) -> Vec<u8> {
    let mut payload = [&[0x17][..], &statement.to_le_bytes(), &[0, 1, 0, 0, 0]].concat();
    if texts.is_empty() {
        return payload;
    }
    payload.extend(vec![0; texts.len().div_ceil(8)]);
    payload.push(1);
    payload.extend([254, 0].repeat(texts.len()));
    payload.extend(texts.iter().flatten().flat_map(|text| [&[text.len() as u8], text.as_bytes()].concat()));
    payload
}

fn bare(statement: u32, parameters: &[u8]) -> Vec<u8> {
    [&[0x17][..], &statement.to_le_bytes(), &[0, 1, 0, 0, 0], parameters].concat()
}

/// Packets to be read by people; the schemas have one name.
fn text(reply: &[Vec<u8>]) -> Vec<String> {
    reply.iter().map(|packet| readable(packet).replace("direct", "behind")).collect()
}

/// In what order a server tells of several changes is its own: two of one version differ.
fn readable(packet: &[u8]) -> String {
    let told =
        packet.strip_prefix(b"\0").and_then(|_| OkPacket::parse(packet).ok()).filter(|ok| !ok.changes.is_empty());
    let Some(ok) = told else { return packet.escape_ascii().to_string() };
    let readable = |change| match change {
        protocol::Change::Variable { name, value } => format!("{}={}", name.escape_ascii(), value.escape_ascii()),
        protocol::Change::Schema(name) => format!("schema {}", name.escape_ascii()),
        other => format!("{other:?}"),
    };
    let mut told: Vec<_> = protocol::changes(ok.changes).map(|change| readable(change.unwrap())).collect();
    told.sort_unstable();
    format!("{:?} {told:?}", OkPacket { changes: &[], ..ok })
}
