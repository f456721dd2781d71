//! What commands and results carry: payloads of every size, every character set, odd names and values.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
};
use mysql_async::{Conn, prelude::*};
use weir::{
    protocol::{Capabilities, MAX_PAYLOAD},
    sandbox::{Cluster, Flavor},
    telemetry::Reason,
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn big_payloads_go_both_ways() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        for server in cluster.servers() {
            server.exec("SET GLOBAL max_allowed_packet = 268435456").await.unwrap();
        }
        cluster.writer.exec("CREATE TABLE app.big (id INT PRIMARY KEY, v LONGBLOB)").await.unwrap();
        let bed = Bed::with(cluster, "[limits]\nmax_packet = \"64MiB\"\n[timeouts]\ndrain = \"100ms\"\n").await;
        let mut conn = Conn::new(bed.options().max_allowed_packet(Some(256 * MIB))).await.unwrap();
        // Of the whole command, then of the value: around the longest packet, and twice that.
        let sizes = [MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD, 40 * MIB];
        for size in sizes {
            let around = "SELECT LENGTH('')".len() + 1;
            let text = format!("SELECT LENGTH('{}')", "x".repeat(size - around));
            let length: Option<usize> = conn.query_first(&text).await.unwrap();
            assert_eq!(length, Some(size - around), "{flavor}: a command of {size} bytes");
            let value: Option<Vec<u8>> = conn.query_first(format!("SELECT REPEAT('y', {size} - 4)")).await.unwrap();
            assert!(value.is_some_and(|v| v.len() == size - 4 && v.iter().all(|&b| b == b'y')), "{flavor}: {size}");
        }
        for (id, size) in sizes.into_iter().enumerate() {
            let value: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
            conn.exec_drop("INSERT INTO big VALUES (?, ?)", (id, &value)).await.unwrap();
            let back: Option<Vec<u8>> = conn.exec_first("SELECT v FROM big WHERE id = ?", (id,)).await.unwrap();
            assert!(back == Some(value), "{flavor}: a value of {size} bytes, prepared");
        }
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "[limits]\nmax_packet = \"1MiB\"\n").await;
        for size in [MIB + 1, 5 * MIB, 20 * MIB] {
            let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            let reply = raw.query("x".repeat(size)).await;
            assert_eq!(code(&reply).0, 1153, "{flavor}: {size} bytes");
            assert!(raw.is_alive().await, "{flavor}: {size} bytes");
        }
        // Long data counts together.
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let statement = raw.prepare("SELECT LENGTH(?)").await.to_le_bytes();
        let execute = [b"\x17", &statement[..], b"\0\x01\0\0\0\0\x01\xFC\0"].concat();
        let piece = [b"\x18", &statement[..], b"\0\0", &vec![b'z'; MIB / 2]].concat();
        for (pieces, expected) in [(1, None), (3, Some(1105)), (1, None)] {
            for _ in 0..pieces {
                raw.send(&piece).await;
            }
            let reply = raw.ask(&execute, Answer::Results).await;
            assert_eq!(error(&reply).map(|error| error.code), expected, "{flavor}: {pieces} pieces");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn every_character_set_comes_back() {
    let texts: &[(&str, &[u8])] = &[
        ("utf8mb4", "Grüße, 世界 🌍".as_bytes()),
        ("utf8mb3", "Grüße, 世界".as_bytes()),
        ("latin1", b"Gr\xFC\xDFe"),
        ("latin2", b"\xB1\xE6\xEA"),
        ("cp1251", b"\xCF\xF0\xE8\xE2\xE5\xF2"),
        ("koi8r", b"\xF0\xD2\xC9\xD7\xC5\xD4"),
        ("greek", b"\xC1\xE2"),
        ("hebrew", b"\xF9\xEC"),
        ("sjis", b"\x95\x5C\x8E\xA6"),
        ("cp932", b"\x83\x5C\x81\x5F"),
        ("ujis", b"\xC6\xFC\xCB\xDC"),
        ("eucjpms", b"\xC6\xFC\xCB\xDC"),
        ("gbk", b"\xBF\x5C\xD6\xD0"),
        ("gb2312", b"\xD6\xD0"),
        ("big5", b"\xA5\x5C\xA4\xA4"),
        ("euckr", b"\xC7\xD1"),
        ("tis620", b"\xA1\xA2"),
        ("ascii", b"plain"),
        ("binary", b"\xFF\xFE\x80"),
    ];
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        cluster.writer.exec("CREATE TABLE app.t (cs VARCHAR(20), v VARCHAR(50), b VARBINARY(50))").await.unwrap();
        let bed = Bed::with(cluster, "[timeouts]\ndrain = \"100ms\"\n").await;
        // Two take turns on the same server connections.
        let mut other = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        for (set, text) in texts {
            let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            raw.run(format!("SET NAMES {set}")).await;
            assert_eq!(other.value("SELECT 'ü'").await, "ü".as_bytes(), "{flavor}: beside {set}");
            let back = raw.value([b"SELECT '", *text, b"'"].concat()).await;
            assert_eq!(back, *text, "{flavor}: {set}");
            if *set == "binary" {
                continue;
            }
            raw.run([b"INSERT INTO t VALUES ('", set.as_bytes(), b"', '", text, b"', x'00')"].concat()).await;
            let read = raw.value(format!("SELECT v FROM t WHERE cs = '{set}'")).await;
            assert_eq!(read, *text, "{flavor}: {set}, stored");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_string_ends_where_the_server_sees_its_end() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "[timeouts]\ndrain = \"100ms\"\n").await;
        bed.cluster.writer.exec("CREATE TABLE app.t (v INT)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        let collation = |collation| Card { collation, ..Card::app(MODERN) };
        // Who takes the second byte for a backslash sees no FOR UPDATE.
        let sql = b"SELECT '\x95\x5C', v FROM t WHERE '' <> '\x95\x5C' FOR UPDATE -- '";
        for (card, names) in
            [(collation(45), "sjis"), (collation(45), "gbk"), (collation(13), "DEFAULT"), (collation(28), "")]
        {
            let mut raw = Raw::connect(bed.port(), &card).await.unwrap();
            if names.len() > 2 && names != "DEFAULT" {
                raw.run(format!("SET NAMES {names}")).await;
            }
            let before = bed.count(Reason::Read);
            raw.run(sql).await;
            assert_eq!(bed.count(Reason::Read), before, "{flavor}: {names} {}", card.collation);
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_login_brings_its_collation() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        for collation in [0, 5, 8, 11, 13, 28, 33, 35, 45, 46, 54, 63, 83, 192, 224, 253, 255] {
            let card = Card { collation, ..Card::app(MODERN) };
            let sql = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, \
                       @@collation_connection";
            let mut seen = Vec::new();
            for port in [bed.cluster.writer.port(), bed.port(), bed.port()] {
                let mut raw = match Raw::connect(port, &card).await {
                    Ok(raw) => raw,
                    Err(refused) => {
                        seen.push(Err(refused));
                        continue;
                    }
                };
                seen.push(Ok(raw.row(sql).await));
                // The second session through Weir gets the connection of the first, which was set to something else.
                raw.run("SET NAMES koi8r").await;
            }
            assert_eq!(seen[0], seen[1], "{flavor}: collation {collation}");
            assert_eq!(seen[0], seen[2], "{flavor}: collation {collation}, on a connection that was used");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn odd_names_of_schemas() {
    let names = ["with space", "back`tick", "quo'te\"s", "ünïcödé", "日本", "semi;colon", "dash-ed", "SELECT", "100"];
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        for name in names {
            let quoted = format!("`{}`", name.replace('`', "``"));
            bed.cluster.writer.exec(&format!("CREATE DATABASE {quoted}")).await.unwrap();
            bed.cluster.writer.exec(&format!("CREATE TABLE {quoted}.t AS SELECT 7 AS v")).await.unwrap();
            bed.cluster.wait_caught_up().await.unwrap();
            let latin1 = name.chars().map(|c| u8::try_from(u32::from(c))).collect::<Result<Vec<u8>, _>>();
            let utf8 = (45, name.as_bytes().to_vec());
            for (collation, bytes) in std::iter::once(utf8).chain(latin1.ok().map(|bytes| (8, bytes))) {
                let schema = Some(bytes.clone());
                let card = Card { collation, schema, ..Card::app(MODERN) };
                let mut at_login = Raw::connect(bed.port(), &card).await.unwrap();
                let mut by_command = Raw::connect(bed.port(), &Card { schema: None, ..card.clone() }).await.unwrap();
                let reply = by_command.ask(&[b"\x02", &bytes[..]].concat(), Answer::One).await;
                assert_eq!(error(&reply), None, "{flavor}: {name}");
                for raw in [&mut at_login, &mut by_command] {
                    // On a replica, with whatever character set; then in another one.
                    assert_eq!(raw.value("SELECT v FROM t").await, b"7", "{flavor}: {name}");
                    assert_eq!(raw.value("SELECT DATABASE()").await, bytes, "{flavor}: {name}");
                    raw.run("SET NAMES latin1").await;
                    assert_eq!(raw.value("SELECT v FROM t").await, b"7", "{flavor}: {name} in latin1");
                    raw.run("SET NAMES utf8mb4").await;
                    assert_eq!(raw.value("SELECT DATABASE()").await, name.as_bytes(), "{flavor}: {name}");
                }
            }
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn odd_values_of_variables_travel() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        let mut cases = vec![
            ("sql_mode", "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"),
            ("sql_mode", "''"),
            ("time_zone", "'-03:30'"),
            ("character_set_results", "NULL"),
            ("lc_time_names", "'de_DE'"),
            ("group_concat_max_len", "4096"),
            ("optimizer_switch", "'mrr=off'"),
            ("transaction_isolation", "'READ-COMMITTED'"),
            ("long_query_time", "0.5"),
            ("div_precision_increment", "7"),
            ("max_join_size", "18446744073709551615"),
            ("sql_safe_updates", "ON"),
            ("autocommit", "1"),
        ];
        if flavor == Flavor::MariaDb {
            cases.retain(|(name, _)| *name != "transaction_isolation");
            cases.extend([("default_master_connection", "'it''s \"ü\"'"), ("tx_isolation", "'SERIALIZABLE'")]);
        }
        for (name, value) in cases {
            let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            raw.run(format!("SET {name} = {value}")).await;
            let sql = format!("SELECT HEX(@@{name})");
            let told = raw.row(&sql).await;
            // A read that goes to another connection.
            let replica = raw.row(format!("/* weir:server=db1 */ {sql}")).await;
            assert_eq!(replica, told, "{flavor}: {name} = {value}");
            let mut plain = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            let mut direct = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
            assert_eq!(plain.row(&sql).await, direct.row(&sql).await, "{flavor}: {name} of another session");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn clients_without_multi_results_are_served() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        for capabilities in [Capabilities::NONE, Capabilities::DEPRECATE_EOF, Capabilities::FOUND_ROWS] {
            let mut raw = Raw::connect(bed.port(), &Card::app(capabilities)).await.unwrap();
            assert_eq!(raw.value("SELECT 'a\0b'").await, b"a\0b", "{flavor}: {capabilities:?}");
            assert_eq!(code(&raw.query("SELECT 1; SELECT 2").await).0, 1064, "{flavor}: {capabilities:?}");
        }
        bed.stop().await;
    }
}
