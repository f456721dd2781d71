//! What OK packets tell a client of its session is what the client asked to be told, and nothing of what Weir asks for
//! itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Card, MODERN, Raw},
    until,
};
use weir::{
    protocol::{Capabilities, Change, OkPacket, changes},
    sandbox::Flavor,
    telemetry::Pin,
};

/// What sessions do after they have asked for something.
const LIFE: &[&str] = &[
    "SET time_zone = '+01:00'",
    "SET NAMES latin1",
    "SET sql_mode = 'ANSI'",
    "SET sql_mode = DEFAULT, NAMES utf8mb4",
    "USE other",
    "USE app",
    "SELECT 1",
    "SELECT COUNT(*) FROM t",
    "BEGIN",
    "SELECT COUNT(*) FROM t",
    "INSERT INTO t VALUES ()",
    "COMMIT",
    "START TRANSACTION READ ONLY",
    "SELECT COUNT(*) FROM t",
    "ROLLBACK",
    "SET autocommit = 0",
    "INSERT INTO t VALUES ()",
    "ROLLBACK",
    "SET autocommit = 1",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "BEGIN",
    "SAVEPOINT a",
    "ROLLBACK",
    "INSERT INTO t VALUES ()",
    "DELETE FROM t",
    "SELECT * FROM missing",
    "SET sql_mode = 'nonsense'",
    "SET autocommit = 0",
    "SELECT COUNT(*) FROM t",
    "BEGIN",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "COMMIT",
    "SET autocommit = 1",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE",
    "BEGIN",
    "ALTER TABLE t COMMENT 'ends it'",
    "SET @a = 1",
    "SELECT 1; USE app; SET time_zone = '+02:00'; SELECT 2",
    "CREATE TEMPORARY TABLE mine (id INT)",
    "LOCK TABLES t READ",
    "UNLOCK TABLES",
];

const TRACKERS: [&str; 4] = [
    "session_track_schema",
    "session_track_state_change",
    "session_track_transaction_info",
    "session_track_system_variables",
];

/// What sessions ask for, each in a session of its own.
fn questions(flavor: Flavor) -> Vec<Vec<&'static str>> {
    let mut questions = vec![
        vec![],
        vec!["SET session_track_schema = OFF"],
        vec!["SET SESSION session_track_state_change = ON"],
        vec!["SET @@session_track_transaction_info = 'STATE'"],
        vec!["SET @@session.session_track_transaction_info = CHARACTERISTICS"],
        vec!["SET session_track_transaction_info = STATE", "SET session_track_transaction_info = OFF"],
        vec!["SET session_track_system_variables = ''"],
        vec!["SET session_track_system_variables = 'sql_mode,autocommit'"],
        vec!["SET session_track_system_variables = ' SQL_MODE , time_zone'"],
        vec!["SET session_track_system_variables = '*'"],
        vec!["SET session_track_system_variables = 'no_such_variable,sql_mode'"],
        vec!["SET session_track_system_variables = NULL"],
        vec!["SET session_track_schema = 7"],
        vec!["SET session_track_state_change = 1", "SET session_track_state_change = DEFAULT"],
        vec!["SET session_track_schema = 0", "SET session_track_system_variables = 'sql_mode'"],
        // Together with something else.
        vec!["SET session_track_state_change = 1, time_zone = '+03:00'"],
        vec!["SET session_track_state_change = 1; SET time_zone = '+03:00'; SELECT @@time_zone"],
        vec!["SET session_track_schema = 1 - 1"],
        vec!["SET session_track_schema = @@session_track_state_change"],
        vec!["SET session_track_system_variables = CONCAT(@@session_track_system_variables, ',sql_mode')"],
    ];
    if flavor == Flavor::MySql9 {
        questions.push(vec!["SET session_track_gtids = OWN_GTID"]);
        questions.push(vec!["SET session_track_gtids = ALL_GTIDS"]);
        questions.push(vec!["SET session_track_gtids = OWN_GTID", "SET session_track_gtids = OFF"]);
    }
    questions
}

/// A packet as text. Positions are those of two sessions, and differ.
fn shown(packet: &[u8]) -> String {
    let ok = match packet.first() {
        Some(0 | 0xFE) if packet.len() >= 7 => OkPacket::parse(packet).ok(),
        _ => None,
    };
    let Some(ok) = ok else { return packet.escape_ascii().to_string() };
    let told = changes(ok.changes).map(Result::unwrap).map(|change| match change {
        Change::Gtids(_) => "gtids".to_owned(),
        Change::Variable { name: name @ (b"last_gtid" | b"statement_id" | b"gtid_seq_no"), .. } => {
            name.escape_ascii().to_string()
        }
        Change::Variable { name, value } => format!("{}={}", name.escape_ascii(), value.escape_ascii()),
        Change::Schema(name) => format!("schema {}", name.escape_ascii()),
        Change::Characteristics(sql) => format!("characteristics {}", sql.escape_ascii()),
        Change::TransactionState(letters) => format!("transaction {}", letters.escape_ascii()),
        Change::State => "state".to_owned(),
    });
    let told: Vec<_> = told.collect();
    let insert_id = ok.insert_id > 0;
    let length = if told.iter().any(|change| change.contains("gtid") || change == "statement_id") {
        0
    } else {
        ok.changes.len()
    };
    format!("{:x} {} {insert_id} {:x} {length} {told:?}", packet[0], ok.affected_rows, ok.status.0)
}

async fn start(flavor: Flavor) -> Bed {
    let bed = Bed::start(flavor, "").await;
    let mut raw = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
    raw.run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)").await;
    bed.cluster.writer.exec("CREATE DATABASE other").await.unwrap();
    bed.cluster.writer.exec("GRANT ALL ON other.* TO 'app'@'%'").await.unwrap();
    bed.cluster.wait_caught_up().await.unwrap();
    bed
}

/// What a client is told in a whole session.
async fn story(port: u16, card: &Card, asked: &[&str], hint: &str) -> Vec<(String, Vec<String>)> {
    let mut raw = Raw::connect(port, card).await.unwrap();
    raw.run("DELETE FROM t").await;
    let lists = [
        "SHOW VARIABLES LIKE 'session_track%'",
        "/* of one family */ SELECT * FROM information_schema.session_variables WHERE variable_name LIKE 'session_track%'",
        "/* of the other */ SELECT * FROM performance_schema.session_variables WHERE variable_name LIKE 'session_track%'",
    ];
    let looks = TRACKERS.map(|name| format!("SELECT @@{name}")).into_iter().chain(lists.map(str::to_owned));
    let looks: Vec<String> = looks.collect();
    let life: Vec<String> = LIFE.iter().map(|sql| format!("{hint}{sql}")).collect();
    let mut said = Vec::new();
    let statements = asked.iter().map(|sql| sql.to_string()).chain(looks.clone()).chain(life).chain(looks.clone());
    for sql in statements.collect::<Vec<_>>() {
        let reply = raw.query(&sql).await;
        said.push((sql, reply.iter().map(|packet| shown(packet)).collect()));
    }
    raw.ask(b"\x1F", bed::raw::Answer::Results).await;
    for sql in looks.iter().map(String::as_str).chain(["USE app", "SET sql_mode = 'ANSI'"]) {
        let reply = raw.query(sql).await;
        said.push((format!("after a reset: {sql}"), reply.iter().map(|packet| shown(packet)).collect()));
    }
    said
}

#[tokio::test]
async fn clients_are_told_what_they_asked_for() {
    let mut wrong = Vec::new();
    for flavor in flavors() {
        let bed = start(flavor).await;
        let without = MODERN.without(Capabilities::SESSION_TRACK);
        for capabilities in [MODERN, MODERN.without(Capabilities::DEPRECATE_EOF), without] {
            let card = Card::app(capabilities);
            for asked in questions(flavor) {
                let direct = story(bed.cluster.writer.port(), &card, &asked, "").await;
                bed.cluster.wait_caught_up().await.unwrap();
                let through = story(bed.port(), &card, &asked, "").await;
                for ((sql, direct), (_, through)) in direct.iter().zip(&through) {
                    // A connection that had this tracker before does not tell everything once more.
                    let once_more = sql == "SET session_track_gtids = ALL_GTIDS";
                    if direct != through && !once_more {
                        wrong.push(format!("{flavor} {capabilities:?} {asked:?}: {sql}\n  {direct:?}\n  {through:?}"));
                    }
                }
            }
        }
        bed.stop().await;
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_choice_is_its_sessions_own_and_pins_nobody() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let card = Card::app(MODERN);
        let [mut one, mut other] =
            [Raw::connect(bed.port(), &card).await.unwrap(), Raw::connect(bed.port(), &card).await.unwrap()];
        one.run("SET session_track_state_change = 1").await;
        for hint in ["", "/* weir:reader */", "/* weir:server=db1 */"] {
            for (raw, told) in [(&mut one, true), (&mut other, false)] {
                let reply = raw.run(format!("{hint} SET sql_mode = 'ANSI'")).await;
                assert_eq!(shown(&reply[0]).contains("state"), told, "{flavor} {hint}: {reply:x?}");
                let value = raw.value(format!("{hint} SELECT @@session_track_state_change")).await;
                assert_eq!(value, if told { b"1" } else { b"0" }, "{flavor} {hint}");
            }
        }
        assert_eq!(bed.pinned(Pin::SessionTracking), 0, "{flavor}");
        // What is committed while nobody tells positions is waited for nevertheless.
        one.run("SET session_track_system_variables = '', time_zone = '+01:00'").await;
        until("the session is pinned", async || bed.pinned(Pin::SessionTracking) == 1).await;
        for round in 0..4 {
            one.run("INSERT INTO t VALUES ()").await;
            one.ask(b"\x1F", bed::raw::Answer::Results).await;
            let count = one.value("SELECT COUNT(*) FROM t").await;
            assert_eq!(String::from_utf8(count).unwrap(), (round + 1).to_string(), "{flavor}");
            one.run("SET session_track_system_variables = '', time_zone = '+01:00'").await;
        }
        // A session that is pinned would be waited for.
        drop((one, other));
        bed.stop().await;
    }
}
