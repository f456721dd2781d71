//! Every command of the protocol: Weir's reply is, packet by packet, what a real server answers to the same client.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw},
};
use weir::{
    protocol::{Capabilities, OkPacket, ServerError, Status, changes},
    sandbox::{Cluster, Flavor},
};

/// One command of a script.
enum Ask {
    Query(&'static str),
    /// A whole payload.
    Command(&'static [u8], Answer),
    Prepare(&'static str),
    /// A command of the n-th prepared statement: its code, and what follows the id.
    Statement(u8, usize, &'static [u8], Answer),
}

use Answer::{Nothing, One, Results, Rows};
use Ask::{Command, Prepare, Query, Statement};

const PING: u8 = 0x0E;
const EXECUTE: u8 = 0x17;
const LONG_DATA: u8 = 0x18;
const CLOSE: u8 = 0x19;
const RESET: u8 = 0x1A;
const FETCH: u8 = 0x1C;

const SCRIPT: &[Ask] = &[
    Query("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20), b BLOB)"),
    Query("INSERT INTO t (v, b) VALUES ('one', NULL), ('two', x'00FF'), (NULL, 'c')"),
    Query("CREATE PROCEDURE two_results() BEGIN SELECT id FROM t ORDER BY id; SELECT v FROM t WHERE id = 1; END"),
    Query("CREATE PROCEDURE one_out(OUT x INT) BEGIN SELECT 'first'; SET x = 7; END"),
    // Text queries, multi-results, multi-statements.
    Query("SELECT * FROM t ORDER BY id"),
    Query("SELECT * FROM t WHERE id > 100"),
    Query("SELECT NULL, '', 1.5, 'x\0y'"),
    Query("CALL two_results()"),
    Query("SELECT 1; SELECT id FROM t WHERE id = 2; UPDATE t SET v = 'zwei' WHERE id = 2; SELECT 4"),
    Query("SELECT 1; SELECT * FROM missing; SELECT 3"),
    Query("UPDATE t SET v = v"),
    Query("SELEKT"),
    Query(""),
    Query("-- nothing"),
    Query("SELECT * FROM missing"),
    Query("SHOW TABLES LIKE 't'"),
    Query("DO 1"),
    // What is told of the session.
    Query("SET NAMES latin1"),
    Query("SET sql_mode = 'ANSI_QUOTES'"),
    Query("SELECT \"id\" FROM \"t\" WHERE id = 1"),
    Query("SET sql_mode = DEFAULT, NAMES utf8mb4"),
    Query("SET time_zone = '+03:00', @x = 1"),
    Query("SET autocommit = 0"),
    Query("SET autocommit = 1"),
    Query("BEGIN"),
    Query("INSERT INTO t (v) VALUES ('gone')"),
    Query("ROLLBACK"),
    Query("START TRANSACTION READ ONLY"),
    Query("COMMIT"),
    // Schemas.
    Command(b"\x02app2", One),
    Query("SELECT DATABASE()"),
    Command(b"\x02missing", One),
    Query("SELECT DATABASE()"),
    Query("USE app"),
    Query("USE missing"),
    Command(b"\x02", One),
    // Small commands.
    Command(&[PING], One),
    Command(b"\x04t\0", Rows),
    Command(b"\x04t\0i%", Rows),
    Command(b"\x04missing\0", Rows),
    Command(b"\x1B\x01\0", One),
    Query("SELECT 1; SELECT 2"),
    Command(b"\x1B\0\0", One),
    Query("SELECT 1; SELECT 2"),
    Command(b"\x1B\x07\0", One),
    Command(b"\x1F", One),
    Query("SELECT @x, @@time_zone, DATABASE()"),
    // Prepared statements.
    Prepare("SELECT id, v FROM t WHERE id >= ? ORDER BY id"),
    Statement(EXECUTE, 0, b"\0\x01\0\0\0\0\x01\x03\0\x01\0\0\0", Results),
    Statement(EXECUTE, 0, b"\0\x01\0\0\0\0\0\x03\0\0\0", Results),
    Statement(EXECUTE, 0, b"\0\x01\0\0\0\x01\0", Results),
    Prepare("INSERT INTO t (v) VALUES (?)"),
    Statement(LONG_DATA, 1, b"\0\0long ", Nothing),
    Statement(LONG_DATA, 1, b"\0\0data", Nothing),
    Statement(EXECUTE, 1, b"\0\x01\0\0\0\0\x01\xFC\0", Results),
    Query("SELECT v FROM t WHERE v LIKE 'long%'"),
    Statement(LONG_DATA, 1, b"\0\0forgotten", Nothing),
    Statement(RESET, 1, b"", One),
    Statement(EXECUTE, 1, b"\0\x01\0\0\0\x01\x01\xFC\0", Results),
    Query("SELECT COUNT(*) FROM t WHERE v = 'forgotten'"),
    Prepare("SELECT ?, ?"),
    Statement(EXECUTE, 2, b"\0\x01\0\0\0\0\0\x03\0\0\0\x03\0\0\0", Results),
    Prepare("SELECT 1"),
    Statement(EXECUTE, 3, b"\0\x01\0\0\0", Results),
    Statement(EXECUTE, 3, b"\0\x01\0\0\0", Results),
    Prepare("CALL one_out(?)"),
    Statement(EXECUTE, 4, b"\0\x01\0\0\0\0\x01\x03\0\0\0\0\0", Results),
    Prepare("DO 1"),
    Statement(EXECUTE, 5, b"\0\x01\0\0\0", Results),
    Command(b"\x16SELEKT", Answer::Prepare),
    Command(b"\x16SELECT * FROM missing", Answer::Prepare),
    // Cursors: two at a time.
    Statement(EXECUTE, 0, b"\x01\x01\0\0\0\0\x01\x03\0\x01\0\0\0", Results),
    Statement(EXECUTE, 3, b"\x01\x01\0\0\0", Results),
    Statement(FETCH, 0, b"\x01\0\0\0", Rows),
    Statement(FETCH, 3, b"\x0A\0\0\0", Rows),
    Statement(FETCH, 0, b"\x01\0\0\0", Rows),
    Query("SELECT 'between'"),
    Statement(FETCH, 0, b"\x0A\0\0\0", Rows),
    Statement(FETCH, 0, b"\x0A\0\0\0", Rows),
    Statement(FETCH, 1, b"\x01\0\0\0", Rows),
    Statement(EXECUTE, 0, b"\x01\x01\0\0\0\0\x01\x03\0\x01\0\0\0", Results),
    Statement(RESET, 0, b"", One),
    Statement(FETCH, 0, b"\x01\0\0\0", Rows),
    Statement(CLOSE, 0, b"", Nothing),
    Statement(EXECUTE, 0, b"\0\x01\0\0\0\0\x01\x03\0\x01\0\0\0", Results),
    Statement(FETCH, 0, b"\x01\0\0\0", Rows),
    Statement(RESET, 0, b"", One),
    // An error that long data belongs to takes it along.
    Prepare("SELECT ? = (SELECT 1 UNION SELECT 2)"),
    Statement(LONG_DATA, 6, b"\0\0x", Nothing),
    Statement(EXECUTE, 6, b"\0\x01\0\0\0\0\x01\xFC\0", Results),
    // Commands that no client sends any more, or only replicas do.
    Command(b"\x05missing", One),
    Command(b"\x0B", One),
    Command(b"\x0F", One),
    Command(b"\x10", One),
    Command(b"\xFF", One),
    Command(b"\x77", One),
    Query("SELECT 'still here'"),
];

/// What must be equal of a packet.
#[derive(Debug, PartialEq)]
enum Part {
    Ok { header: u8, affected: u64, insert_id: u64, status: u16, warnings: u16, info: String },
    Error(u16, String),
    Other(Vec<u8>),
}

/// `first` is the command's byte.
fn part(packet: &[u8], command: u8) -> Part {
    let status = |status: Status| status.without(Status::SESSION_STATE_CHANGED).0;
    match packet.first() {
        Some(0xFF) => {
            let ServerError { code, state, .. } = ServerError::parse(packet).unwrap();
            Part::Error(code, String::from_utf8(state.to_vec()).unwrap())
        }
        Some(0xFE) if packet.len() == 5 => {
            let eof = OkPacket::parse_eof(packet).unwrap();
            Part::Other([&eof.warnings.to_le_bytes()[..], &status(eof.status).to_le_bytes()].concat())
        }
        Some(&header @ (0x00 | 0xFE)) if is_ok(packet) => {
            let OkPacket { affected_rows: affected, insert_id, warnings, status: flags, info, .. } =
                OkPacket::parse(packet).unwrap();
            // A ping tells the warnings of the statement before, which may have run elsewhere.
            let warnings = if command == PING { 0 } else { warnings };
            let info = String::from_utf8_lossy(info).into_owned();
            Part::Ok { header, affected, insert_id, status: status(flags), warnings, info }
        }
        _ => Part::Other(packet.to_vec()),
    }
}

/// Whether a packet with an OK's first byte is one, not a row in binary.
fn is_ok(packet: &[u8]) -> bool {
    OkPacket::parse(packet).is_ok_and(|ok| {
        let mut again = Vec::new();
        ok.put(&mut again, packet[0]);
        again == packet
    })
}

/// What the OK packets of a reply tell of the session, in any order.
fn told(reply: &[Vec<u8>]) -> Vec<String> {
    let oks = reply.iter().filter(|packet| matches!(packet[0], 0x00 | 0xFE) && is_ok(packet));
    let tell = |packet: &Vec<u8>| {
        changes(OkPacket::parse(packet).unwrap().changes).map(|change| format!("{change:?}")).collect::<Vec<_>>()
    };
    let mut told: Vec<String> = oks.flat_map(tell).collect();
    told.sort();
    told
}

/// Runs the script; returns the replies.
async fn play(bed: &Bed, port: u16, capabilities: Capabilities) -> Vec<Vec<Vec<u8>>> {
    for old in ["TABLE t", "PROCEDURE two_results", "PROCEDURE one_out"] {
        bed.cluster.writer.exec(&format!("DROP {}", old.replace(' ', " IF EXISTS app."))).await.unwrap();
    }
    // The default collation of its character set: columns tell a connection's own, and pooled ones keep no other.
    let collation = if bed.cluster.flavor() == Flavor::MySql9 { 255 } else { 45 };
    let mut raw = Raw::connect(port, &Card { collation, ..Card::app(capabilities) }).await.unwrap();
    let mut replies = Vec::new();
    for ask in SCRIPT {
        replies.push(match ask {
            Query(sql) => raw.query(sql).await,
            Command(payload, answer) => raw.ask(payload, *answer).await,
            Prepare(sql) => {
                raw.prepare(sql).await;
                Vec::new()
            }
            Statement(code, nth, rest, answer) => {
                let id = raw.statements[*nth].to_le_bytes();
                raw.ask(&[&[*code], &id[..], rest].concat(), *answer).await
            }
        });
    }
    replies
}

fn name(ask: &Ask) -> String {
    match ask {
        Query(sql) => (*sql).to_owned(),
        Command(payload, _) => format!("command {payload:02x?}"),
        Prepare(sql) => format!("prepare {sql}"),
        Statement(code, nth, rest, _) => format!("command {code:#x} of statement {nth} with {rest:02x?}"),
    }
}

#[tokio::test]
async fn replies_are_those_of_a_server() {
    let kinds = [
        ("modern", MODERN),
        ("with EOF packets", MODERN.without(Capabilities::DEPRECATE_EOF)),
        ("untracked", MODERN.without(Capabilities::SESSION_TRACK)),
        ("old", Capabilities::MULTI_RESULTS.with(Capabilities::MULTI_STATEMENTS).with(Capabilities::PS_MULTI_RESULTS)),
    ];
    let mut wrong = Vec::new();
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        for (kind, capabilities) in kinds {
            let direct = play(&bed, bed.cluster.writer.port(), capabilities).await;
            let weir = play(&bed, bed.port(), capabilities).await;
            for ((direct, weir), ask) in direct.iter().zip(&weir).zip(SCRIPT) {
                let command = if let Command(payload, _) = ask { payload[0] } else { 0 };
                let parts = |reply: &[Vec<u8>]| reply.iter().map(|packet| part(packet, command)).collect::<Vec<_>>();
                let (parts, tellings) = ([parts(direct), parts(weir)], [told(direct), told(weir)]);
                if parts[0] != parts[1] || tellings[0] != tellings[1] {
                    let ask = name(ask);
                    wrong.push(format!("{flavor}, {kind} client: {ask}\n{parts:?}\n{tellings:?}"));
                }
            }
        }
        bed.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
