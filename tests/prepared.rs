//! Prepared statements through Weir: many of one text, cursors beside each other, on connections that change.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
};
use weir::{
    protocol::{Capabilities, Status},
    sandbox::{Cluster, Flavor},
};

async fn start(flavor: Flavor, extra: &str) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
    cluster.writer.exec("INSERT INTO app.t VALUES (1), (2), (3), (4), (5)").await.unwrap();
    cluster.wait_caught_up().await.unwrap();
    Bed::with(cluster, &format!("[timeouts]\ndrain = \"100ms\"\n{extra}")).await
}

fn execute(id: u32, flags: u8, parameters: &[u8]) -> Vec<u8> {
    [&[0x17][..], &id.to_le_bytes(), &[flags, 1, 0, 0, 0], parameters].concat()
}

fn with_id(command: u8, id: u32, rest: &[u8]) -> Vec<u8> {
    [&[command][..], &id.to_le_bytes(), rest].concat()
}

fn fetch(id: u32, rows: u32) -> Vec<u8> {
    with_id(0x1C, id, &rows.to_le_bytes())
}

/// The only column of rows in binary, an `INT` or a `BIGINT` with a small value.
fn ids(reply: &[Vec<u8>]) -> Vec<i32> {
    let rows = reply.iter().filter(|packet| packet[0] == 0 && matches!(packet.len(), 6 | 10));
    rows.map(|row| i32::from_le_bytes(row[2..6].try_into().unwrap())).collect()
}

#[tokio::test]
async fn a_statement_has_as_many_parameters_as_servers_take() {
    const MOST: u16 = u16::MAX;
    for flavor in flavors() {
        let bed = start(flavor, "").await;
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let rows = vec!["(?,?,?,?,?)"; usize::from(MOST) / 5].join(",");
        raw.run("CREATE TABLE many (a INT, b INT, c DATE, d VARCHAR(9), e VARCHAR(9))").await;
        let id = raw.prepare(&format!("INSERT INTO many VALUES {rows}")).await;
        // All of them are texts.
        let nulls = vec![0; usize::from(MOST).div_ceil(8)];
        let types = b"\xFD\0".repeat(MOST.into());
        for values in [&b"\x011\x017\x0A2020-02-03\x01a\0"[..], b"\x012\x0212\x0A2020-02-03\x01b\x01c"] {
            let parameters = [&nulls[..], b"\x01", &types, &values.repeat(usize::from(MOST) / 5)].concat();
            let inserted = raw.ask(&execute(id, 0, &parameters), Answer::Results).await;
            assert_eq!(error(&inserted), None, "{flavor}");
        }
        let sums = raw.row("SELECT COUNT(*), SUM(a), SUM(b) FROM many").await;
        let expected = [2, 3, 19].map(|each| Some((each * u32::from(MOST) / 5).to_string().into_bytes()));
        assert_eq!(sums, expected, "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn cursors_stand_beside_each_other_whatever_else_is_prepared() {
    for flavor in flavors() {
        let bed = start(flavor, "").await;
        for capabilities in [MODERN, MODERN.without(Capabilities::DEPRECATE_EOF)] {
            let mut raw = Raw::connect(bed.port(), &Card::app(capabilities)).await.unwrap();
            let sql = "SELECT id FROM t ORDER BY id";
            // Two statements of the same text, each with its own cursor.
            let [one, two] = [raw.prepare(sql).await, raw.prepare(sql).await];
            assert_ne!(one, two);
            for id in [one, two] {
                assert_eq!(error(&raw.ask(&execute(id, 1, b""), Answer::Results).await), None, "{flavor}");
            }
            assert_eq!(ids(&raw.ask(&fetch(one, 2), Answer::Rows).await), [1, 2], "{flavor}");
            assert_eq!(ids(&raw.ask(&fetch(two, 1), Answer::Rows).await), [1], "{flavor}");
            // More statements than a server connection keeps.
            for number in 0..300 {
                let id = raw.prepare(&format!("SELECT {number}")).await;
                assert_eq!(error(&raw.ask(&execute(id, 0, b""), Answer::Results).await), None, "{flavor}");
            }
            assert_eq!(ids(&raw.ask(&fetch(one, 2), Answer::Rows).await), [3, 4], "{flavor}");
            raw.send(&with_id(0x19, one, b"")).await;
            assert_eq!(ids(&raw.ask(&fetch(two, 9), Answer::Rows).await), [2, 3, 4, 5], "{flavor}");
            // Its end gave it back: it runs again, with and without a cursor.
            assert_eq!(ids(&raw.ask(&execute(two, 0, b""), Answer::Results).await), [1, 2, 3, 4, 5], "{flavor}");
            raw.ask(&execute(two, 1, b""), Answer::Results).await;
            raw.ask(&execute(two, 1, b""), Answer::Results).await;
            assert_eq!(ids(&raw.ask(&fetch(two, 9), Answer::Rows).await), [1, 2, 3, 4, 5], "{flavor}");
            assert_eq!(code(&raw.ask(&execute(one, 0, b""), Answer::Results).await).0, 1243, "{flavor}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn cursors_leave_nothing_on_the_server() {
    for flavor in flavors() {
        let bed = start(flavor, "").await;
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let many = raw.prepare("SELECT id FROM t ORDER BY id").await;
        let fails = raw.prepare("SELECT id FROM t WHERE id = (SELECT id FROM t)").await;
        let none = raw.prepare("DO 1").await;
        for round in 0..200 {
            raw.ask(&execute(many, 1, b""), Answer::Results).await;
            if round % 2 == 0 {
                raw.ask(&fetch(many, 9), Answer::Rows).await;
            }
            assert_eq!(error(&raw.ask(&execute(none, 1, b""), Answer::Results).await), None, "{flavor}");
            raw.ask(&execute(fails, 1, b""), Answer::Results).await;
            if round % 3 == 0 {
                raw.ask(&with_id(0x1A, many, b""), Answer::One).await;
            }
        }
        raw.run("DO 1").await;
        let mut open = 0;
        for server in bed.cluster.servers() {
            let rows = server.rows("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'").await.unwrap();
            open += rows[0].get::<u32, _>(1).unwrap();
        }
        assert!(open < 12, "{flavor}: {open} statements are open on the servers");
        bed.stop().await;
    }
}

#[tokio::test]
async fn long_data_is_used_up_by_the_execute_that_fails() {
    for flavor in flavors() {
        let bed = start(flavor, "").await;
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let sql = "SELECT LENGTH(?) FROM t WHERE id = (SELECT id FROM t AS u WHERE u.id <= ?)";
        let id = raw.prepare(sql).await;
        let parameters = |number: u8| [b"\0\x01\xFC\0\x03\0", &[number, 0, 0, 0][..]].concat();
        raw.send(&with_id(0x18, id, b"\0\0four")).await;
        assert_eq!(code(&raw.ask(&execute(id, 0, &parameters(2)), Answer::Results).await).0, 1242, "{flavor}");
        raw.send(&with_id(0x18, id, b"\0\0four")).await;
        assert_eq!(ids(&raw.ask(&execute(id, 0, &parameters(1)), Answer::Results).await), [4], "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn long_data_that_a_failed_execute_leaves_behind_meets_nobody_else() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 0).await.unwrap();
        cluster.writer.exec("CREATE TABLE app.texts (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT)").await.unwrap();
        let basics = bed::basics(&cluster).replace("role =", "max_connections = 1\nrole =");
        let bed = Bed::with_config(cluster, &basics).await;
        let sql = "INSERT INTO texts (id, v) VALUES (?, ?)";
        // For a parameter that is not there; beside one whose value is missing.
        for (parameter, failing) in [(9, &b"\0\x01\xFC\0\xFC\0\x010\x03own"[..]), (1, b"\0\x01\xFC\0\xFC\0")] {
            let mut two = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            let own = execute(two.prepare(sql).await, 0, b"\0\x01\xFC\0\xFC\0\x010\x03own");
            let mut one = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            let id = one.prepare(sql).await;
            one.send(&with_id(0x18, id, &[&[parameter, 0][..], b"another's"].concat())).await;
            let failed = code(&one.ask(&execute(id, 0, failing), Answer::Results).await).0;
            assert!(matches!(failed, 1210 | 1835), "{flavor}: {failed}");
            assert_eq!(error(&two.ask(&own, Answer::Results).await), None, "{flavor}: parameter {parameter}");
        }
        let rows = bed.cluster.writer.rows("SELECT v FROM app.texts").await.unwrap();
        let texts: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(texts, ["own", "own"], "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn executes_that_are_cut_short_fail_as_with_a_server() {
    for flavor in flavors() {
        let bed = start(flavor, "").await;
        for capabilities in [MODERN, MODERN.with(Capabilities::QUERY_ATTRIBUTES)] {
            let card = Card::app(capabilities);
            let mut direct = Raw::connect(bed.cluster.writer.port(), &card).await.unwrap();
            let mut weir = Raw::connect(bed.port(), &card).await.unwrap();
            // With attributes: how many parameters, and their names.
            let body: &[u8] = match capabilities.has(Capabilities::QUERY_ATTRIBUTES) && flavor == Flavor::MySql9 {
                true => b"\x08\x01\0\0\0\x02\0\x01\xFE\0\0\xFE\0\0\x01a\x01b",
                false => b"\0\x01\0\0\0\0\x01\xFE\0\xFE\0\x01a\x01b",
            };
            for length in 0..body.len() {
                let seen = [cut(&mut direct, body, length).await, cut(&mut weir, body, length).await];
                assert_eq!(seen[1], seen[0], "{flavor}: {}", body[..length].escape_ascii());
            }
        }
        bed.stop().await;
    }
}

/// The replies to an execute of two texts whose body is cut to `length`, with long data for the second, and to a whole one.
async fn cut(raw: &mut Raw, body: &[u8], length: usize) -> [Vec<Vec<u8>>; 2] {
    let id = raw.prepare("SELECT CONCAT(?, ?)").await;
    raw.send(&with_id(0x18, id, b"\x01\0long")).await;
    let short = raw.ask(&with_id(0x17, id, &body[..length]), Answer::Results).await;
    [short, raw.ask(&with_id(0x17, id, body), Answer::Results).await]
}

#[tokio::test]
async fn statements_follow_their_session_to_any_connection() {
    for flavor in flavors() {
        let bed = start(flavor, "").await;
        let mut sessions = Vec::new();
        for _ in 0..6 {
            let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            let id = raw.prepare("SELECT id FROM t WHERE id >= ? ORDER BY id").await;
            sessions.push((raw, id));
        }
        for round in 0..20_u8 {
            for (place, (raw, id)) in sessions.iter_mut().enumerate() {
                let from = (usize::from(round) + place) as u8 % 5 + 1;
                let types: &[u8] = if round == 0 { b"\0\x01\x03\0" } else { b"\0\0" };
                let reply = raw.ask(&execute(*id, 0, &[types, &[from, 0, 0, 0]].concat()), Answer::Results).await;
                let expected: Vec<i32> = (i32::from(from)..=5).collect();
                assert_eq!(ids(&reply), expected, "{flavor}: round {round}, session {place}");
                assert_eq!(reply.last().unwrap()[3] & Status::MORE_RESULTS.0 as u8, 0);
            }
            // In a transaction the writer prepares it, too.
            let (raw, id) = &mut sessions[usize::from(round) % 6];
            raw.run("BEGIN").await;
            let reply = raw.ask(&execute(*id, 0, b"\0\0\x05\0\0\0"), Answer::Results).await;
            assert_eq!(ids(&reply), [5], "{flavor}: round {round}, in a transaction");
            raw.run("COMMIT").await;
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_that_prepares_without_end_is_stopped() {
    let flavor = flavors()[0];
    let extra = "[limits]\nmax_prepared = 2000\nmax_packet = \"1MiB\"\n";
    let bed = start(flavor, extra).await;
    let before = bed::resident();
    let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
    for number in 0..100_000 {
        let reply = raw.ask(format!("\x16SELECT {number}, id FROM t").as_bytes(), Answer::Prepare).await;
        assert_eq!(error(&reply).is_some(), number >= 2000, "{number}");
    }
    assert_eq!(code(&raw.ask(b"\x16SELECT 1", Answer::Prepare).await), (1461, "42000".to_owned()));
    let grown = bed::resident().saturating_sub(before);
    assert!(grown < 32, "memory grew by {grown} MiB");
    let mut open = 0;
    for server in bed.cluster.servers() {
        let rows = server.rows("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'").await.unwrap();
        open += rows[0].get::<u32, _>(1).unwrap();
    }
    assert!(open < 600, "{open} statements are open on the servers");
    // Each of them still runs, prepared again where it has been forgotten.
    for id in [raw.statements[0], raw.statements[1999]] {
        assert_eq!(error(&raw.ask(&execute(id, 0, b""), Answer::Results).await), None);
    }
    // Long texts are counted by their length.
    let mut other = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
    let long = format!("\x16SELECT '{}'", "x".repeat(300 << 10));
    let refused = |reply: &[Vec<u8>]| error(reply).map(|error| error.code);
    for expected in [None, None, None, Some(1461)] {
        assert_eq!(refused(&other.ask(long.as_bytes(), Answer::Prepare).await), expected);
    }
    other.send(&with_id(0x19, other.statements[0], b"")).await;
    assert_eq!(refused(&other.ask(long.as_bytes(), Answer::Prepare).await), None, "one was closed");
    bed.stop().await;
}
