//! `COM_STMT_BULK_EXECUTE` (MariaDB) through Weir: everything a client sees is what one server says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, is_tested,
    raw::{Answer, Card, MODERN, Raw, code, error},
};
use weir::{protocol::Capabilities, sandbox::Flavor};

const TYPED: u16 = 128;
const UNIT_RESULTS: u16 = 64;
/// Types of an `INT` and a text.
const TYPES: &[u8] = &[3, 0, 0xFE, 0];
const INSERT: &str = "INSERT INTO t (id, name) VALUES (?, ?)";

fn aware() -> Card {
    Card::app(MODERN.with(Capabilities::STMT_BULK_OPERATIONS))
}

/// The command, for the statement `id`.
fn bulk(id: u32, flags: u16, body: &[u8]) -> Vec<u8> {
    [&[0xFA][..], &id.to_le_bytes(), &flags.to_le_bytes(), body].concat()
}

/// A row of a number and a text, which may be left to an indicator: 1 for NULL, 2 for DEFAULT, 3 for IGNORE.
fn row(id: i32, name: Result<&str, u8>) -> Vec<u8> {
    let name = match name {
        Ok(text) => [&[0, text.len() as u8][..], text.as_bytes()].concat(),
        Err(indicator) => vec![indicator],
    };
    [&[0][..], &id.to_le_bytes(), &name].concat()
}

async fn start() -> Option<Bed> {
    if !is_tested(Flavor::MariaDb) {
        return None;
    }
    let bed = Bed::start(Flavor::MariaDb, "").await;
    for server in bed.cluster.servers() {
        server.exec("SET GLOBAL max_allowed_packet = 64 << 20").await.unwrap();
    }
    let mut raw = Raw::connect(bed.cluster.writer.port(), &aware()).await.unwrap();
    raw.run("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(200) DEFAULT 'unnamed')").await;
    raw.run("CREATE TABLE made (id INT PRIMARY KEY AUTO_INCREMENT, name LONGTEXT)").await;
    Some(bed)
}

#[tokio::test]
async fn bulks_are_answered_as_by_one_server() {
    let Some(bed) = start().await else { return };
    let mut direct = Raw::connect(bed.cluster.writer.port(), &aware()).await.unwrap();
    let mut through = Raw::connect(bed.port(), &aware()).await.unwrap();
    let rows = |rows: &[Vec<u8>]| rows.concat();
    let typed = |rows: &[Vec<u8>]| [TYPES, &rows.concat()].concat();
    let cases: Vec<(&str, &str, u16, Vec<u8>)> = vec![
        ("no types were ever bound", INSERT, 0, rows(&[row(1, Ok("a"))])),
        ("three rows", INSERT, TYPED, typed(&[row(1, Ok("a")), row(2, Err(1)), row(3, Err(2))])),
        ("types of before", INSERT, 0, rows(&[row(4, Ok("d")), row(5, Ok("e"))])),
        ("a duplicate", INSERT, TYPED, typed(&[row(6, Ok("f")), row(1, Ok("g")), row(7, Ok("h"))])),
        (
            "update",
            "UPDATE t SET name = ? WHERE id = ?",
            TYPED,
            b"\xFE\0\x03\0\0\x01x\0\x01\0\0\0\x03\0\x02\0\0\0".into(),
        ),
        ("delete", "DELETE FROM t WHERE id = ?", TYPED, b"\x03\0\0\x01\0\0\0\0\x09\0\0\0".into()),
        ("replace", "REPLACE INTO t (id, name) VALUES (?, ?)", TYPED, typed(&[row(2, Ok("r")), row(8, Err(1))])),
        (
            "returning",
            "INSERT INTO t (id, name) VALUES (?, ?) RETURNING id, name",
            TYPED,
            typed(&[row(11, Ok("r")), row(12, Err(2))]),
        ),
        ("made ids", "INSERT INTO made (name) VALUES (?)", TYPED, b"\xFE\0\0\x01a\0\x01b\x01".into()),
        ("no array for a select", "SELECT id FROM t WHERE id = ?", TYPED, b"\x03\0\0\x01\0\0\0\0\x02\0\0\0".into()),
        ("no array for SET", "SET @a = ?", TYPED, b"\x03\0\0\x01\0\0\0".into()),
        ("no parameters", "DELETE FROM t", TYPED, b"".into()),
        ("no rows", INSERT, TYPED, TYPES.into()),
        ("a row cut short", INSERT, TYPED, typed(&[row(21, Ok("a"))[..3].to_vec()])),
        ("half a second row", INSERT, TYPED, typed(&[row(22, Ok("a")), row(23, Ok("abcd"))[..7].to_vec()])),
        ("an unknown indicator", INSERT, TYPED, typed(&[row(24, Err(9))])),
        ("an unknown type", INSERT, TYPED, [&[0x99, 0, 0x99, 0][..], &row(25, Ok("a"))].concat()),
        ("unit results not agreed on", INSERT, TYPED | UNIT_RESULTS, typed(&[row(26, Ok("a"))])),
        ("unknown flags", INSERT, TYPED | 1, typed(&[row(27, Ok("a"))])),
    ];
    for (name, sql, flags, body) in &cases {
        let mut replies = Vec::new();
        for raw in [&mut direct, &mut through] {
            raw.run("DELETE FROM t WHERE id > 10").await;
            raw.run("TRUNCATE made").await;
            let id = raw.prepare(sql).await;
            if *name == "types of before" {
                raw.ask(&bulk(id, TYPED, &[TYPES, &row(40, Ok("z"))].concat()), Answer::Results).await;
            }
            let reply = raw.ask(&bulk(id, *flags, body), Answer::Results).await;
            let kept = raw.run("SELECT GROUP_CONCAT(id, COALESCE(name, 'NULL') ORDER BY id) FROM t").await;
            let insert_id = raw.run("SELECT LAST_INSERT_ID()").await;
            raw.run("DELETE FROM t").await;
            replies.push((reply, kept, insert_id));
        }
        assert_eq!(replies[1], replies[0], "{name}: {sql}");
    }
    // An unknown statement, and the one that was prepared last.
    for id in [999, u32::MAX] {
        let mut replies = Vec::new();
        for raw in [&mut direct, &mut through] {
            raw.prepare(INSERT).await;
            replies.push(raw.ask(&bulk(id, TYPED, &[TYPES, &row(1, Ok("a"))].concat()), Answer::Results).await);
            raw.run("DELETE FROM t").await;
        }
        assert_eq!(replies[1], replies[0], "{id}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn what_no_server_may_be_sent_is_refused_as_servers_refuse_it() {
    let Some(bed) = start().await else { return };
    let mut through = Raw::connect(bed.port(), &aware()).await.unwrap();
    let id = through.prepare(INSERT).await;
    // A server reads types beyond the end of such a packet.
    let reply = through.ask(&bulk(id, TYPED, &TYPES[..3]), Answer::Results).await;
    assert_eq!(code(&reply), (1210, "HY000".to_owned()), "types cut short");
    let reply = through.ask(&bulk(id, TYPED, b"")[..6], Answer::Results).await;
    assert_eq!(code(&reply), (1835, "HY000".to_owned()), "no flags");
    let mut unaware = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
    let id = unaware.prepare(INSERT).await;
    let reply = unaware.ask(&bulk(id, TYPED, &[TYPES, &row(1, Ok("a"))].concat()), Answer::Results).await;
    assert_eq!(code(&reply), (1295, "HY000".to_owned()), "a client that has no bulks");
    for raw in [&mut through, &mut unaware] {
        assert_eq!(raw.value("SELECT COUNT(*) FROM t").await, b"0");
    }
    bed.stop().await;
}

#[tokio::test]
async fn types_are_the_clients_own_on_shared_connections() {
    let Some(bed) = start().await else { return };
    let mut one = Raw::connect(bed.port(), &aware()).await.unwrap();
    let mut other = Raw::connect(bed.port(), &aware()).await.unwrap();
    let [first, second] = [one.prepare(INSERT).await, other.prepare(INSERT).await];
    one.ask(&bulk(first, TYPED, &[TYPES, &row(1, Ok("a"))].concat()), Answer::Results).await;
    // Two texts, on what may be the same statement of the same connection.
    let texts = b"\xFE\0\xFE\0\0\x012\0\x01b";
    assert_eq!(error(&other.ask(&bulk(second, TYPED, texts), Answer::Results).await), None);
    assert_eq!(error(&one.ask(&bulk(first, 0, &row(3, Ok("c"))), Answer::Results).await), None);
    assert_eq!(error(&other.ask(&bulk(second, 0, b"\0\x014\0\x01d"), Answer::Results).await), None);
    // A plain execute goes on with the types of a bulk, and the other way round.
    let execute = [&[0x17][..], &first.to_le_bytes(), b"\0\x01\0\0\0", b"\0\0", b"\x05\0\0\0\x01e"].concat();
    assert_eq!(error(&one.ask(&execute, Answer::Results).await), None);
    let found = one.value("SELECT GROUP_CONCAT(id, name ORDER BY id) FROM t").await;
    assert_eq!(String::from_utf8(found).unwrap(), "1a,2b,3c,4d,5e");
    bed.stop().await;
}

#[tokio::test]
async fn a_large_bulk_in_a_transaction_and_reads_behind_it() {
    let Some(bed) = start().await else { return };
    let mut raw = Raw::connect(bed.port(), &aware()).await.unwrap();
    let id = raw.prepare("INSERT INTO made (name) VALUES (?)").await;
    // 18 rows of 1 MiB make more than one packet.
    let text = vec![b'x'; 1 << 20];
    let one = [&[0, 0xFD][..], &(text.len() as u32).to_le_bytes()[..3], &text].concat();
    let body = [&b"\xFE\0"[..], &one.repeat(18)].concat();
    raw.run("SET SESSION sql_mode = ''").await;
    raw.run("BEGIN").await;
    let reply = raw.ask(&bulk(id, TYPED, &body), Answer::Results).await;
    assert_eq!(error(&reply), None);
    raw.run("COMMIT").await;
    assert_eq!(raw.value("SELECT COUNT(*) FROM made").await, b"18", "a replica has what the session wrote");
    assert_eq!(raw.value("SELECT SUM(LENGTH(name)) FROM made").await, (18 << 20).to_string().into_bytes());
    assert!(bed.served("db0").1 > 0);
    bed.stop().await;
}
