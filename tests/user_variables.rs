//! User variables that were set to literals travel with their session and are nobody else's, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw},
};
use weir::{
    sandbox::{Cluster, Flavor},
    telemetry::{Pin, Reason},
};

/// A bed with one connection to each server for everybody.
async fn narrow(flavor: Flavor) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
    cluster.writer.exec("INSERT INTO app.t VALUES (1), (2), (3)").await.unwrap();
    cluster.wait_caught_up().await.unwrap();
    let config = bed::basics(&cluster).replace("role =", "max_connections = 1\nrole =");
    Bed::with_config(cluster, &config).await
}

async fn log_in(port: u16) -> Raw {
    Raw::connect(port, &Card::app(MODERN)).await.unwrap()
}

/// All that a server says of `@a`, columns and rows, and of what it is worth in an expression.
async fn look(raw: &mut Raw, hint: &str) -> Vec<Vec<u8>> {
    let questions = [
        "SELECT @a",
        "SELECT HEX(@a), CHARSET(@a), COLLATION(@a), COERCIBILITY(@a), @a = 'X', @a + 0, CONCAT(@a, 'x')",
        "SELECT id FROM t WHERE id = @a",
    ];
    let mut seen = Vec::new();
    for question in questions {
        let mut reply = raw.run(format!("{hint}{question}")).await;
        // Status and warnings are not the variable's.
        reply.pop();
        seen.extend(reply);
    }
    seen
}

/// Statements that set `@a`, and their settings. `RESET` stands for the command.
const CASES: &[&str] = &[
    "SET @a = 1",
    "SET @a = -1",
    "SET @a = +1.50",
    "SET @a = 1e3",
    "SET @a = 18446744073709551615",
    "SET @a = 0x41",
    "SET @a = x'41'",
    "SET @a = b'1000001'",
    "SET @a = TRUE",
    "SET @a = NULL",
    "SET @a = 1; SET @a = NULL",
    "SET @a = 'x'; SET @a = NULL; SET @a = NULL",
    "SET @a = NULL; SET @a = 2",
    "SET @a = 1; SET @A := 'x'; SET @`a` = 2.5",
    "SET @a = 'text'",
    "SET @a = ''",
    "SET @a = 'it''s\\n\\%', @b = 2",
    "SET @a = \"it's\"",
    "SET @a = '\u{e9}\u{1f600}'",
    "SET NAMES latin1; SET @a = 'abc'; SET NAMES utf8mb4",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin; SET @a = 'abc'; SET NAMES latin1",
    "SET NAMES utf8mb3; SET @a = '\u{e9}'",
    "SET character_set_connection = latin1; SET @a = 'abc'",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SET @a = 'C:\\new'; SET sql_mode = ''",
    "SET sql_mode = 'ANSI_QUOTES'; SET @a = 'x'; SET sql_mode = ''",
    "SET @a = 2, time_zone = '+01:00'",
    "SET @b = 1; RESET; SET @a = 'abc'",
    "SET @a = 1; RESET",
    "SET @a = 1; RESET; SET @a = NULL",
];

async fn run(raw: &mut Raw, statements: &str) {
    for sql in statements.split("; ") {
        match sql {
            "RESET" => drop(raw.ask(b"\x1F", Answer::One).await),
            sql => drop(raw.run(sql).await),
        }
    }
    // Character sets that a reset leaves alike in both.
    raw.ask(b"\x0E", Answer::One).await;
}

#[tokio::test]
async fn variables_are_everywhere_what_they_were_set_to() {
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let mut bystander = log_in(bed.port()).await;
        let nothing = look(&mut log_in(bed.cluster.writer.port()).await, "").await;
        for statements in CASES {
            let mut direct = log_in(bed.cluster.writer.port()).await;
            run(&mut direct, statements).await;
            let expected = look(&mut direct, "").await;
            let mut raw = log_in(bed.port()).await;
            run(&mut raw, statements).await;
            for hint in ["/* weir:writer */", "/* weir:server=db1 */", ""] {
                assert_eq!(look(&mut raw, hint).await, expected, "{flavor}: {statements} {hint}");
                if bed.weir.context.sessions.find(raw.id).unwrap().view(std::time::Instant::now()).pin.is_none() {
                    let others = look(&mut bystander, hint).await;
                    assert_eq!(others, nothing, "{flavor}: {statements} {hint}: somebody else's");
                }
            }
            assert_eq!(raw.ask(b"\x0E", Answer::One).await.len(), 1);
            drop(raw);
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn reads_of_what_travels_run_on_replicas() {
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let mut raw = log_in(bed.port()).await;
        let before = (bed.pinned(Pin::UserVariable), bed.count(Reason::UserVariable));
        raw.run("SET @a = 2, @b = 'x'").await;
        let reads = bed.served("db1").0;
        assert_eq!(raw.value("SELECT id FROM t WHERE id = @a AND @b = 'x'").await, b"2", "{flavor}");
        // What was counted is known with the next answer.
        raw.ask(b"\x0E", Answer::One).await;
        assert_eq!(bed.served("db1").0, reads + 1, "{flavor}: by the replica");
        // Nobody knows where this one was set.
        raw.run("SELECT @c").await;
        raw.ask(b"\x0E", Answer::One).await;
        assert_eq!(bed.served("db1").0, reads + 1, "{flavor}: by the writer");
        let now = (bed.pinned(Pin::UserVariable), bed.count(Reason::UserVariable));
        assert_eq!(now, (before.0, before.1 + 1), "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn many_sessions_with_variables_share_one_connection() {
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let mut sessions = Vec::new();
        for number in 0..10 {
            let mut raw = log_in(bed.port()).await;
            let variable = if number % 2 == 0 { "uid" } else { "tenant" };
            if number < 8 {
                raw.run(format!("SET @{variable} = {number}")).await;
            }
            sessions.push(raw);
        }
        for round in 0..3 {
            for (number, raw) in sessions.iter_mut().enumerate() {
                let hint = ["", "/* weir:writer */", "/* weir:server=db1 */"][(number + round) % 3];
                let row = raw.row(format!("{hint}SELECT @uid, @tenant")).await;
                let own = (number < 8).then(|| number.to_string().into_bytes());
                let expected = if number % 2 == 0 { vec![own, None] } else { vec![None, own] };
                assert_eq!(row, expected, "{flavor}: session {number}");
            }
        }
        bed.stop().await;
    }
}
