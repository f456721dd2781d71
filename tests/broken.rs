//! Replies that break or are nonsense, clients that hang up and that do not read: nobody else notices, no write is
//! repeated, no client gets garbage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed,
    fake::{Fake, Script, error, packet},
    flavors,
    raw::{Card, MODERN, Raw, code},
    readers::{ROWS, Readers, broken_bed, fill},
    relay::{Fault, Line},
    server_error, stock, until,
};
use mysql_async::prelude::*;
use weir::{
    protocol::login::Attributes,
    sandbox::{Cluster, Flavor},
};

#[tokio::test]
async fn a_reply_that_breaks_is_repeated_or_ends_cleanly() {
    for flavor in flavors() {
        let (bed, relays, _conn) = broken_bed(flavor, "").await;
        // Each case: the fault, and whether the client gets its answer all the same.
        let cases = [
            (Fault::CutRequest, true),
            (Fault::CutAtBoundary(0), true),
            (Fault::CutAtBoundary(20_000), false),
            (Fault::CutInPacket(20_000), false),
        ];
        for (fault, whole) in cases {
            let what = format!("{flavor}: {fault:?}");
            bed.until_serves("db1", true).await;
            let mut conn = bed.connect().await;
            relays[1].on("/*here*/", fault.clone());
            let answer = conn.query::<(u32, String), _>("/*here*/ SELECT id, v FROM t ORDER BY id").await;
            assert!(!relays[1].is_armed(), "{what}: the statement went there");
            match answer {
                Ok(rows) => {
                    assert!(whole, "{what}: an answer");
                    assert!((1..=ROWS).eq(rows.iter().map(|(id, _)| *id)), "{what}");
                    assert!(rows.iter().all(|(_, v)| *v == "x".repeat(300)), "{what}");
                }
                Err(mysql_async::Error::Server(error)) => assert_eq!((whole, error.code), (false, 2013), "{what}"),
                Err(mysql_async::Error::Io(_)) => assert!(!whole, "{what}"),
                Err(error) => panic!("{what}: garbage: {error:?}"),
            }
        }
        // At a boundary there is room for an error, and the session lives on.
        bed.until_serves("db1", true).await;
        let mut conn = bed.connect().await;
        relays[1].on("/*here*/", Fault::CutAtBoundary(20_000));
        let answer = conn.query_drop("/*here*/ SELECT id, v FROM t ORDER BY id").await;
        assert_eq!(server_error(&answer.unwrap_err()).0, 2013, "{flavor}");
        let count: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
        assert_eq!(count, Some(ROWS), "{flavor}");
        drop((conn, _conn));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_shutdown_behind_the_columns_of_a_reply_is_not_seen() {
    let (bed, relays, mut conn) = broken_bed(flavors()[0], "").await;
    let column = b"\x03def\0\0\0\x01n\0\x0C\x3F\0\x15\0\0\0\x08\0\0\0\0\0";
    let columns = [packet(1, b"\x01"), packet(2, column)].concat();
    for code in [1053, 1927] {
        bed.until_serves("db1", true).await;
        let reply = [&columns[..], &packet(3, &error(code, "Server shutdown in progress"))].concat();
        relays[1].on("/*here*/", Fault::Replace(reply));
        let count: Option<u32> = conn.query_first("/*here*/ SELECT COUNT(*) FROM t").await.unwrap();
        assert!(!relays[1].is_armed(), "{code}: the statement went there");
        assert_eq!(count, Some(ROWS), "{code}");
    }
    drop(conn);
    bed.stop().await;
}

#[tokio::test]
async fn the_stock_clients_say_what_was_lost() {
    for flavor in flavors() {
        let (bed, relays, conn) = broken_bed(flavor, "[failover]\nhold = \"100ms\"\n").await;
        drop(conn);
        let said = async |family, port, sql: &str| {
            let mut client = stock::client(family, port)?;
            let output = client.args(["--comments", "app", "-e", sql]).output().await.unwrap();
            Some(String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let port = bed.port();
        for family in [Flavor::MariaDb, Flavor::MySql9] {
            relays[0].on("/*here*/", Fault::CutAtBoundary(0));
            let Some(complaint) = said(family, port, "/*here*/ INSERT INTO t VALUES (2000, 'a')").await else {
                continue;
            };
            assert!(!relays[0].is_armed(), "{flavor}: {family}: the statement went there");
            assert!(complaint.contains("ERROR 2013 (HY000)"), "{flavor}: {family}: {complaint}");
            bed.cluster.writer.exec("DELETE FROM app.t WHERE id = 2000").await.unwrap();
        }
        bed.cluster.writer.kill().await.unwrap();
        for (family, number) in [(Flavor::MariaDb, 1429), (Flavor::MySql9, 2003)] {
            let Some(complaint) = said(family, port, "INSERT INTO t VALUES (2000, 'a')").await else { continue };
            assert!(complaint.contains(&format!("ERROR {number} (HY000)")), "{flavor}: {family}: {complaint}");
            assert!(complaint.contains("no writer is available"), "{flavor}: {family}: {complaint}");
        }
        let attributes = Attributes::new([(&b"_client_name"[..], &b"libmariadb"[..])]);
        let mut raw = Raw::connect(port, &Card { attributes, ..Card::app(MODERN) }).await.unwrap();
        assert_eq!(code(&raw.query("INSERT INTO t VALUES (2000, 'a')").await).0, 1429, "{flavor}");
        assert_eq!(raw.value("SELECT 'goes on'").await, b"goes on", "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_never_repeated() {
    for flavor in flavors() {
        let (bed, relays, mut conn) = broken_bed(flavor, "").await;
        for server in bed.cluster.servers() {
            server.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
        }
        let function = "CREATE FUNCTION put(n INT) RETURNS INT NOT DETERMINISTIC MODIFIES SQL DATA \
                        BEGIN INSERT INTO t VALUES (n, 'f'); RETURN 1; END";
        conn.query_drop(function).await.unwrap();
        // Each case: where it breaks, the statement, and how often it was executed.
        let cases = [
            (Fault::CutAtBoundary(0), "/*here*/ INSERT INTO t VALUES (1001, 'a')", 1),
            (Fault::CutRequest, "/*here*/ INSERT INTO t VALUES (1002, 'b')", 0),
            (Fault::CutAtBoundary(0), "/*here*/ SELECT put(1003)", 1),
            (Fault::CutAtBoundary(0), "/*here*/ DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1004, 'c')", 1),
        ];
        for (id, (fault, statement, times)) in (1001..).zip(cases) {
            let what = format!("{flavor}: {fault:?} {statement}");
            relays[0].on("/*here*/", fault);
            let failed = conn.query_drop(statement).await.unwrap_err();
            assert_eq!(server_error(&failed), (2013, "HY000".to_owned()), "{what}");
            if statement.contains(';') {
                // The reply to the first part broke while the server was at the second.
                let sql = format!("/* weir:writer */ SELECT COUNT(*) FROM t WHERE id = {id}");
                until(&what, async || conn.query_first(&sql).await.unwrap() == Some(times)).await;
                continue;
            }
            // The session lives on, and reads what it may have written.
            let seen: Option<u32> = conn.query_first(format!("SELECT COUNT(*) FROM t WHERE id = {id}")).await.unwrap();
            assert_eq!(seen, Some(times), "{what}");
        }
        // In a transaction the session ends with its connection.
        conn.query_drop("BEGIN").await.unwrap();
        conn.query_drop("INSERT INTO t VALUES (1005, 'd')").await.unwrap();
        relays[0].on("/*here*/", Fault::CutAtBoundary(0));
        let failed = conn.query_drop("/*here*/ SELECT COUNT(*) FROM t").await.unwrap_err();
        assert_eq!(server_error(&failed).0, 2013, "{flavor}: a read in a transaction");
        assert!(conn.query_drop("SELECT 1").await.is_err(), "{flavor}: the connection is closed");
        let mut conn = bed.connect().await;
        let seen: Option<u32> =
            conn.query_first("/* weir:writer */ SELECT COUNT(*) FROM t WHERE id = 1005").await.unwrap();
        assert_eq!(seen, Some(0), "{flavor}: the transaction is undone");
        drop(conn);
        bed.stop().await;
    }
}

/// What a server may say instead of its greeting, or after the login.
fn scripts() -> Vec<(&'static str, Script)> {
    let giant = b"\xFF\xFF\xFF\0\x0A8.0.36".to_vec();
    vec![
        ("another protocol", Script::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
        ("a giant length", Script::Say(giant.clone())),
        ("a giant greeting without end", Script::Repeat(giant.clone())),
        ("zeros without end", Script::Repeat(vec![0; 4096])),
        ("nothing", Script::Say(vec![])),
        ("nothing, and closes", Script::SayAndClose(vec![])),
        ("half a header", Script::SayAndClose(b"\x4A\0".to_vec())),
        ("half a greeting", Script::SayAndClose(b"\x4A\0\0\0\x0A8.0.36\0\x07".to_vec())),
        ("a wrong sequence number", Script::Say(packet(7, b"\x0A8.0.36\0"))),
        ("too many connections", Script::SayAndClose(packet(0, b"\xFF\x10\x04Too many connections"))),
        ("host is blocked", Script::SayAndClose(packet(0, &error(1129, "Host is blocked")))),
        ("an empty answer to the login", Script::AfterLogin(packet(2, b""))),
        ("a giant answer to the login", Script::AfterLogin(giant)),
        ("an answer out of order", Script::AfterLogin(packet(9, b"\0\0\0\x02\0\0\0"))),
        ("an unknown plugin", Script::AfterLogin(packet(2, b"\xFEno_such_plugin\0abc"))),
        ("a question without end", Script::AfterLogin(packet(2, b"\x01\x04"))),
        ("a refused login", Script::AfterLogin(packet(2, &error(1045, "Access denied")))),
        ("silence after the OK", Script::AfterLogin(packet(2, b"\0\0\0\x02\0\0\0"))),
    ]
}

#[tokio::test]
async fn a_replica_that_talks_nonsense_to_new_connections_is_passed_over() {
    let flavor = flavors()[0];
    // The probes keep their connection, so that the replica stays up; new connections meet the nonsense.
    let extra = "[timeouts]\nconnect = \"300ms\"\n[pool]\nidle_timeout = \"1ms\"\n";
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let (bed, relays) = Bed::with_relays(cluster, extra).await;
    let mut conn = fill(&bed).await;
    let server = bed.weir.context.cluster.load().members[1].server.clone();
    for (what, script) in scripts() {
        bed.until_serves("db1", true).await;
        let fake = Fake::start(script).await;
        relays[1].set(Line::Diverted(fake.address));
        server.pool.drop_idle();
        let before = server.metrics.connect_failures.value();
        until(&format!("{what} is met"), async || {
            let count: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
            assert_eq!(count, Some(ROWS), "{what}");
            server.metrics.connect_failures.value() > before
        })
        .await;
        conn.query_drop("UPDATE t SET v = REPEAT('x', 300) WHERE id = 1").await.unwrap();
        relays[1].set(Line::Open);
    }
    drop(conn);
    bed.stop().await;
}

#[tokio::test]
async fn rows_without_end_are_not_waited_for() {
    let flavor = flavors()[0];
    let extra = "[timeouts]\nconnect = \"10m\"\n[pool]\nidle_timeout = \"1ms\"\n";
    let (bed, relays) = Bed::with_relays(Cluster::start(flavor, 1).await.unwrap(), extra).await;
    let mut conn = fill(&bed).await;
    let server = bed.weir.context.cluster.load().members[1].server.clone();
    let ok = packet(2, b"\0\0\0\x02\0\0\0");
    let columns =
        [packet(1, b"\x01\x01"), packet(2, b"\x03def\0\0\0\x01n\0\x0C\x3F\0\x15\0\0\0\x08\0\0\0\0\0")].concat();
    // Rows of nothing at all, and of one NULL.
    for row in [&b""[..], b"\xFB"] {
        let rows = (3..=258).flat_map(|sequence: u16| packet(sequence as u8, row)).collect();
        let fake = Fake::start(Script::RepeatAfterLogin([&ok[..], &columns].concat(), rows)).await;
        bed.until_serves("db1", true).await;
        relays[1].set(Line::Diverted(fake.address));
        server.pool.drop_idle();
        let before = server.metrics.connect_failures.value();
        until("they are given up", async || {
            let count: Option<u32> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
            assert_eq!(count, Some(ROWS), "{row:?}");
            server.metrics.connect_failures.value() > before
        })
        .await;
        relays[1].set(Line::Open);
    }
    drop(conn);
    bed.stop().await;
}

#[tokio::test]
async fn nonsense_instead_of_a_reply_costs_one_connection() {
    let flavor = flavors()[0];
    let (bed, relays, mut conn) = broken_bed(flavor, "").await;
    let readers = Readers::start(&bed, 3).await;
    let giant = b"\xFE\xFF\xFF\x01\0".to_vec();
    let definitions = [packet(1, b"\x01"), packet(2, b"\x03def"), packet(9, b"\x03abc")].concat();
    let trailing = [packet(1, b"\0\0\0\x02\0\0\0"), b"more".to_vec()].concat();
    let cases: &[(&str, Vec<u8>)] = &[
        ("another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("a wrong sequence number", packet(7, b"\0\0\0\x02\0\0\0")),
        ("a giant OK", giant),
        ("an empty packet", packet(1, b"")),
        ("an OK cut short", packet(1, b"\0\xFC")),
        ("an error cut short", packet(1, b"\xFF\x01")),
        ("a wrong number within the reply", definitions),
        ("bytes behind the end", trailing),
        ("a request for a local file", packet(1, b"\xFB/etc/passwd")),
        ("a column count without end", packet(1, b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")),
        ("half a header", b"\x07\0".to_vec()),
    ];
    for (what, reply) in cases {
        relays[0].on("/*here*/", Fault::Replace(reply.clone()));
        let written = conn.query_drop("/*here*/ INSERT INTO t (v) VALUES ('n')").await;
        match written {
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 2013, "{what}"),
            // The reply had begun as a proper one does.
            Err(mysql_async::Error::Io(_)) => conn = bed.connect().await,
            // The reply was whole: what follows it spoils the connection only.
            Ok(()) if *what == "bytes behind the end" => {}
            other => panic!("{what}: {other:?}"),
        }
        until("the replica serves", async || bed.serves("db1")).await;
        relays[1].on("/*here*/", Fault::Replace(reply.clone()));
        let read = conn.query_first::<u32, _>("/*here*/ SELECT COUNT(*) FROM t WHERE v <> 'n'").await;
        match read {
            Ok(None) if *what == "bytes behind the end" => {}
            Ok(count) => assert_eq!(count, Some(ROWS), "{what}"),
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 2013, "{what}"),
            Err(mysql_async::Error::Io(_)) => conn = bed.connect().await,
            other => panic!("{what}: {other:?}"),
        }
        readers.go_on(5, what).await;
    }
    readers.end("other sessions").await;
    drop(conn);
    bed.stop().await;
}

#[tokio::test]
async fn the_query_of_a_client_that_hangs_up_is_killed() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "").await;
        for (hint, server) in [("writer", &bed.cluster.writer), ("server=db1", &bed.cluster.replicas[0])] {
            let mut conn = bed.connect().await;
            let asking = tokio::spawn(async move {
                conn.query_drop(format!("/* weir:{hint} */ SELECT SLEEP(600), 'unmistakable'")).await
            });
            let runs = async || {
                let rows = server.rows("SHOW FULL PROCESSLIST").await.unwrap();
                rows.iter().any(|row| {
                    let text: Option<String> = row.get("Info").unwrap();
                    text.is_some_and(|text| text.contains("unmistakable"))
                })
            };
            until(&format!("{flavor} {hint}: it runs"), runs).await;
            asking.abort();
            until(&format!("{flavor} {hint}: it is killed"), async || !runs().await).await;
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_its_own_reply_only() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "[runtime]\nworkers = 1\n").await;
        drop(fill(&bed).await);
        let before = bed::resident();
        let mut lazy = Vec::new();
        for _ in 0..4 {
            let mut conn = bed.connect().await;
            // 200 MB each, of which nobody reads more than a few rows.
            let big = "SELECT a.id, REPEAT('y', 100000) FROM t a, t b WHERE b.id <= 4";
            let mut result = conn.query_iter(big).await.unwrap();
            assert!(result.next().await.unwrap().is_some(), "{flavor}");
            drop(result);
            lazy.push(conn);
        }
        let readers = Readers::start(&bed, 4).await;
        readers.go_on(200, "beside clients that do not read").await;
        readers.end("beside clients that do not read").await;
        let grown = bed::resident().saturating_sub(before);
        assert!(grown < 64, "{flavor}: memory grew by {grown} MiB");
        drop(lazy);
        bed.stop().await;
    }
}
