//! What a parameter is taken for is a matter of what was bound to one's own statement, whoever uses the connection.

use std::fmt::Write;

use super::bed::{
    Bed, basics, flavors,
    raw::{Answer, Card, MODERN, Raw, code},
};
use weir::{
    protocol::Capabilities,
    sandbox::{Cluster, Flavor},
};

/// A type, its sign, a value; None: NULL.
type Value = (&'static str, u8, u8, Option<&'static [u8]>);

const VALUES: &[Value] = &[
    ("number", 0x03, 0, Some(b"\xE3\0\0\0")),
    ("unsigned", 0x08, 0x80, Some(b"\x05\0\0\0\0\0\0\0")),
    ("double", 0x05, 0, Some(b"\0\0\0\0\0\0\x29\x40")),
    ("decimal", 0xF6, 0, Some(b"\x0612.345")),
    ("date", 0x0A, 0, Some(b"\x04\xE4\x07\x02\x03")),
    ("datetime", 0x0C, 0, Some(b"\x07\xE4\x07\x02\x03\x04\x05\x06")),
    ("time", 0x0B, 0, Some(b"\x08\0\0\0\0\0\x02\x03\x04")),
    ("text", 0xFD, 0, Some(b"\x03abc")),
    ("digits", 0xFE, 0, Some(b"\x03227")),
    ("negative digits", 0xFE, 0, Some(b"\x02-5")),
    ("digits with a point", 0xFE, 0, Some(b"\x0412.5")),
    ("the most digits", 0xFD, 0, Some(b"\x139223372036854775807")),
    ("more digits", 0xFD, 0, Some(b"\x139223372036854775808")),
    ("midnight", 0xFD, 0, Some(b"\x132020-02-03 00:00:00")),
    ("bytes", 0xFC, 0, Some(b"\x04blob")),
    ("NULL", 0x06, 0, None),
    ("no number", 0x03, 0, None),
];

const SHAPES: &[&str] = &[
    "SELECT ?",
    "SELECT ?, ?, ?",
    "SELECT COALESCE(?, ?)",
    "SELECT CONCAT(?, 'x'), ? + 1",
    "SELECT IF(n = ?, ?, ?) FROM t",
    "SELECT ? UNION SELECT ?",
    "SELECT x.a FROM (SELECT ? AS a) x",
    "SELECT * FROM t WHERE n = ?",
    "SELECT * FROM t WHERE u = ? AND s = ?",
    "SELECT n FROM t WHERE d IN (?, ?)",
    "SELECT n FROM t ORDER BY ?",
    "SELECT n FROM t LIMIT ?",
    "INSERT INTO t (n, s) VALUES (?, ?)",
    "UPDATE t SET d = ?, f = ? WHERE n = ?",
    "SET time_zone = ?",
];

/// Where a date gets a text that is none: MySQL goes on with the value of the execute before, whosever that was. Here such
/// an execute has a statement of its own, which knows nothing of what came before it. The two values.
const KEPT: &[(&str, &str)] = &[("date", "negative digits")];

#[tokio::test]
async fn a_parameter_is_what_its_own_client_bound() {
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let mut direct = two(bed.cluster.writer.port(), "direct").await;
        let mut weir = two(bed.port(), "behind").await;
        let mut wrong = String::new();
        for shape in SHAPES {
            for (first, value) in VALUES.iter().enumerate() {
                for then in [1, 5].map(|turn| (first + turn) % VALUES.len()) {
                    // What somebody else binds in between.
                    let beside =
                        [3 * first + 5 * then + 1, first + 7 * then].map(|place| &VALUES[place % VALUES.len()]);
                    let own = [value, &VALUES[then]];
                    if KEPT.contains(&(own[0].0, own[1].0)) {
                        continue;
                    }
                    let expected = replies(&mut direct, shape, own, beside);
                    let (expected, found) = tokio::join!(expected, replies(&mut weir, shape, own, beside));
                    if expected != found {
                        let names = |values: [&Value; 2]| values.map(|value| value.0).join(", ");
                        let _ = writeln!(wrong, "{shape}: {} beside {}", names(own), names(beside));
                        let _ = writeln!(wrong, "  {expected:?}\n  {found:?}");
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{flavor}:\n{wrong}");
        bed.stop().await;
    }
}

/// All use one connection to each server.
async fn narrow(flavor: Flavor) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let one = basics(&cluster).replace("role =", "max_connections = 1\nrole =");
    Bed::with_config(cluster, &(one + "[runtime]\nworkers = 1\n[pool]\nlinger = \"1ms\"\n")).await
}

async fn two(port: u16, schema: &str) -> [Raw; 2] {
    [connect(port, schema).await, connect(port, schema).await]
}

async fn connect(port: u16, schema: &str) -> Raw {
    let mut raw = Raw::connect(port, &Card::app(MODERN.without(Capabilities::SESSION_TRACK))).await.unwrap();
    for sql in ["CREATE DATABASE IF NOT EXISTS {}", "USE {}"] {
        raw.run(sql.replace("{}", schema)).await;
    }
    let columns = "n INT, u BIGINT UNSIGNED, s VARCHAR(50), d DATE, f DOUBLE";
    raw.run(format!("CREATE TABLE IF NOT EXISTS t ({columns})")).await;
    raw.run("INSERT INTO t VALUES (227, 5, 'abc', '2020-02-03', 12.5)").await;
    raw
}

/// The replies to two executes of one statement. Somebody else executes the same text before each.
async fn replies([raw, other]: &mut [Raw; 2], shape: &str, own: [&Value; 2], beside: [&Value; 2]) -> Vec<Vec<String>> {
    let count = shape.matches('?').count();
    let ids = [raw.prepare(shape).await, other.prepare(shape).await];
    let mut replies = Vec::new();
    for (value, beside) in own.into_iter().zip(beside) {
        other.ask(&execute(ids[1], beside, count), Answer::Results).await;
        let reply = raw.ask(&execute(ids[0], value, count), Answer::Results).await;
        // The schemas have one name.
        replies
            .push(reply.iter().map(|packet| packet.escape_ascii().to_string().replace("direct", "behind")).collect());
    }
    for (raw, id) in [raw, other].into_iter().zip(ids) {
        raw.ask(&[&b"\x19"[..], &id.to_le_bytes()].concat(), Answer::Nothing).await;
    }
    replies
}

/// An execute that binds the same value to all parameters.
fn execute(id: u32, (_, kind, sign, value): &Value, count: usize) -> Vec<u8> {
    let nulls = if value.is_none() { 0xFF } else { 0 };
    let mut payload = [&b"\x17"[..], &id.to_le_bytes(), &[0, 1, 0, 0, 0, nulls, 1]].concat();
    payload.extend([*kind, *sign].repeat(count));
    payload.extend(value.unwrap_or_default().repeat(count));
    payload
}

/// What MySQL keeps of an execute before is not another session's to see.
#[tokio::test]
async fn a_text_that_is_no_date_finds_nobody_elses() {
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let [mut raw, mut other] = two(bed.port(), "shared").await;
        let shape = "SELECT n FROM t WHERE d IN (?, ?)";
        let ids = [raw.prepare(shape).await, other.prepare(shape).await];
        let date = VALUES.iter().find(|value| value.0 == "date").unwrap();
        for text in ["text", "digits", "digits with a point", "negative digits", "most digits", "more digits", "bytes"]
        {
            let text = VALUES.iter().find(|value| value.0.ends_with(text)).unwrap();
            let row = other.ask(&execute(ids[1], date, 2), Answer::Results).await;
            let none = raw.ask(&execute(ids[0], text, 2), Answer::Results).await;
            assert!(row.len() > 3, "{flavor}: {row:?}");
            assert_eq!(none.len(), 3, "{flavor}: {}: {none:?}", text.0);
        }
        bed.stop().await;
    }
}

/// An execute that fails because a table is not there leaves the types as they were.
#[tokio::test]
async fn what_fails_binds_nothing() {
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let mut direct = two(bed.cluster.writer.port(), "direct").await;
        let mut weir = two(bed.port(), "behind").await;
        let value = |name| VALUES.iter().find(|value| value.0 == name).unwrap();
        // What the failing execute binds, what another client binds then, and what is bound last.
        let cases = [("number", "number", "digits"), ("double", "double", "text"), ("date", "date", "digits")];
        for shape in ["SELECT ? FROM t FOR UPDATE", "SELECT ? FROM t"] {
            for (fails, beside, last) in cases {
                let mut replies = Vec::new();
                for [raw, other] in [&mut direct, &mut weir] {
                    let ids = [raw.prepare(shape).await, other.prepare(shape).await];
                    raw.run("RENAME TABLE t TO hidden").await;
                    let failed = raw.ask(&execute(ids[0], value(fails), 1), Answer::Results).await;
                    assert_eq!(code(&failed).0, 1146, "{flavor}: {shape}");
                    raw.run("RENAME TABLE hidden TO t").await;
                    other.ask(&execute(ids[1], value(beside), 1), Answer::Results).await;
                    replies.push(raw.ask(&execute(ids[0], value(last), 1), Answer::Results).await);
                    for (raw, id) in [raw, other].into_iter().zip(ids) {
                        raw.ask(&[&b"\x19"[..], &id.to_le_bytes()].concat(), Answer::Nothing).await;
                    }
                }
                assert_eq!(replies[0], replies[1], "{flavor}: {shape}: {fails}, {beside} beside, {last}");
            }
        }
        bed.stop().await;
    }
}
