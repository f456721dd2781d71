//! Compression on each side by itself: whatever one side speaks, the other gets what it would get without, and a stream
//! that is corrupt ends its connection only.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code},
    readers::broken_bed,
    relay::Fault,
    stock,
};
use mysql_async::{Compression, Conn, SslOpts, prelude::*};
use weir::{
    protocol::Capabilities,
    sandbox::{Cluster, Flavor},
};

const SERVER_LEGS: [&str; 3] = ["none", "zlib", "zstd"];

async fn bed(flavor: Flavor, server: &str) -> Bed {
    Bed::start(flavor, &format!("[compression]\nserver = \"{server}\"\n")).await
}

/// Small and great rows both ways, errors, several results, prepared statements.
async fn work(conn: &mut Conn, what: &str) {
    let great = "0123456789abcdef".repeat(3 << 16);
    conn.query_drop("CREATE TABLE c (id INT PRIMARY KEY, v LONGTEXT)").await.unwrap();
    conn.exec_drop("INSERT INTO c VALUES (?, ?), (?, ?)", (1, "one", 2, &great)).await.unwrap();
    let rows: Vec<(u32, String)> = conn.query("SELECT id, v FROM c ORDER BY id").await.unwrap();
    assert!(rows == [(1, "one".to_owned()), (2, great.clone())], "{what}: text rows");
    let row: Option<String> = conn.exec_first("SELECT v FROM c WHERE id = ?", (2,)).await.unwrap();
    assert!(row == Some(great), "{what}: binary rows");
    let mut results = conn.query_iter("SELECT 1; SELECT id FROM c ORDER BY id; SELECT 3").await.unwrap();
    for expected in [vec![1], vec![1, 2], vec![3]] {
        let found: Vec<u32> = results.collect().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(found, expected, "{what}: several results");
    }
    drop(results);
    conn.query_drop("SELECT * FROM missing").await.unwrap_err();
    for number in 0..50 {
        let found: Option<u32> = conn.query_first(format!("SELECT {number}")).await.unwrap();
        assert_eq!(found, Some(number), "{what}: many small ones");
    }
    conn.query_drop("SET time_zone = '+03:00', sql_mode = 'ANSI_QUOTES'").await.unwrap();
    let zone: Option<String> = conn.query_first("SELECT @@time_zone").await.unwrap();
    assert_eq!(zone.as_deref(), Some("+03:00"), "{what}: aligned");
    conn.query_drop("DROP TABLE c").await.unwrap();
}

#[tokio::test]
async fn every_leg_by_itself() {
    for flavor in flavors() {
        for server in SERVER_LEGS {
            let bed = bed(flavor, server).await;
            let direct = bed.options().tcp_port(bed.cluster.writer.port()).compression(Some(Compression::default()));
            work(&mut Conn::new(direct).await.unwrap(), "direct").await;
            let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
            for client in [None, Some(Compression::default())] {
                for tls in [None, Some(tls.clone())] {
                    let what = format!("{flavor}, servers {server}, client {client:?}, TLS {}", tls.is_some());
                    let options = bed.options().compression(client).ssl_opts(tls);
                    work(&mut Conn::new(options).await.unwrap(), &what).await;
                }
            }
            bed.stop().await;
        }
    }
}

/// The whole reply to the same work, packet by packet, numbers checked.
#[tokio::test]
async fn a_plain_client_cannot_tell() {
    for flavor in flavors() {
        for server in SERVER_LEGS {
            let bed = bed(flavor, server).await;
            let card = Card::app(MODERN.without(Capabilities::DEPRECATE_EOF).with(Capabilities::LOCAL_FILES));
            let mut direct = Raw::connect(bed.cluster.writer.port(), &card).await.unwrap();
            let mut through = Raw::connect(bed.port(), &card).await.unwrap();
            direct.run("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT REPEAT('x', 70000); SELECT 3; END").await;
            direct.run("CREATE TABLE n (a VARCHAR(20))").await;
            for sql in ["CALL p()", "SELECT 1; SELECT 2; SELECT * FROM missing; SELECT 3", "DO 1", "SELEKT"] {
                assert_eq!(through.query(sql).await, direct.query(sql).await, "{flavor}, servers {server}: {sql}");
            }
            // More packets than there are numbers, both ways.
            let rows = "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < 900) SELECT n FROM r";
            assert_eq!(through.query(rows).await, direct.query(rows).await, "{flavor}, servers {server}");
            for raw in [&mut direct, &mut through] {
                raw.ask_for_file("LOAD DATA LOCAL INFILE 'f' INTO TABLE n").await;
                for number in 0..700 {
                    raw.say(format!("{number}\n").as_bytes()).await.unwrap();
                }
                raw.say(b"").await.unwrap();
                assert_eq!(raw.receive(Answer::Results).await[0][..2], [0, 252], "{flavor}, servers {server}");
            }
            assert_eq!(through.value("SELECT COUNT(*) FROM n").await, b"1400", "{flavor}, servers {server}");
            bed.stop().await;
        }
    }
}

#[tokio::test]
async fn stock_clients_compress() {
    let file = std::env::temp_dir().join(format!("weir-compression-{}", std::process::id()));
    std::fs::write(&file, (0..50_000).map(|number| format!("{number}\n")).collect::<String>()).unwrap();
    let sql = format!(
        "CREATE TABLE n (a INT); \
         LOAD DATA LOCAL INFILE '{}' INTO TABLE n; SELECT SUM(a) FROM n; SELECT LENGTH(REPEAT('x', 100000)); DROP TABLE n",
        file.display()
    );
    for flavor in flavors() {
        for server in SERVER_LEGS {
            let bed = bed(flavor, server).await;
            let cases: &[(Flavor, &[&str])] = &[
                (Flavor::MySql9, &["--compression-algorithms=zlib"]),
                (Flavor::MySql9, &["--compression-algorithms=zstd"]),
                (Flavor::MySql9, &["--compression-algorithms=zstd", "--zstd-compression-level=19"]),
                (Flavor::MySql9, &["--compression-algorithms=zstd,zlib,uncompressed", "--ssl-mode=DISABLED"]),
                (Flavor::MariaDb, &["--compress", "--skip-ssl"]),
                (Flavor::MariaDb, &["--compress", "--ssl"]),
            ];
            for (family, arguments) in cases {
                if *family == Flavor::MySql9 && flavor == Flavor::MariaDb && arguments[0].ends_with("=zstd") {
                    continue;
                }
                let Some(mut client) = stock::client(*family, bed.port()) else { continue };
                let output =
                    client.args(*arguments).args(["--local-infile=1", "app", "-e", &sql]).output().await.unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                let complaint = String::from_utf8_lossy(&output.stderr);
                let what = format!("{flavor}, servers {server}, {family} client {arguments:?}: {complaint}");
                assert_eq!(said, "1249975000\n100000\n", "{what}");
            }
            bed.stop().await;
        }
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn corrupt_streams_end_their_connection_only() {
    for flavor in flavors() {
        let (bed, relays, mut witness) = broken_bed(flavor, "[compression]\nserver = \"zlib\"\n").await;
        let compressed = Card::app(MODERN.with(Capabilities::COMPRESS));
        for bytes in [
            &b"\x05\0\0\0\x10\0\0hello"[..],
            b"\0\0\0\0\0\0\0",
            b"\x01\0\0\0\xFF\xFF\xFFx",
            b"\x0D\0\0\0\x05\0\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\0\x06\x2c\x02\x16",
            b"SELECT 1",
        ] {
            let mut raw = Raw::connect(bed.port(), &compressed).await.unwrap();
            raw.send_bytes(bytes).await;
            raw.hang_up_writing().await;
            assert!(raw.is_closed().await, "{flavor}: {bytes:x?}");
            let count: Option<u32> = witness.query_first("SELECT 7").await.unwrap();
            assert_eq!(count, Some(7), "{flavor}: {bytes:x?}");
        }
        // A server that says nonsense: the read is repeated elsewhere, the write is lost.
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        relays[0].on("DELETE", Fault::Replace(b"\x05\0\0\x01\x10\0\0hello".to_vec()));
        assert_eq!(code(&raw.query("DELETE FROM t WHERE id = 0").await), (2013, "HY000".to_owned()), "{flavor}");
        assert_eq!(raw.value("SELECT 7").await, b"7", "{flavor}: the session lives on");
        drop(witness);
        bed.stop().await;
    }
}

#[tokio::test]
async fn compression_is_offered_as_configured() {
    for (flavor, config, zlib, zstd) in [
        (Flavor::MySql9, "", true, true),
        (Flavor::MariaDb, "", true, false),
        (Flavor::MySql9, "[compression]\nclient = [\"zstd\"]\n", false, true),
        (Flavor::MySql9, "[compression]\nclient = []\n", false, false),
    ] {
        if !flavors().contains(&flavor) {
            continue;
        }
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), config).await;
        let raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let offered = raw.greeting().capabilities;
        let found = (offered.has(Capabilities::COMPRESS), offered.has(Capabilities::ZSTD));
        assert_eq!(found, (zlib, zstd), "{flavor}: {config}");
        drop(raw);
        bed.stop().await;
    }
}
