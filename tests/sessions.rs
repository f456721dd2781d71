//! The commands that begin or end something: reset, change of user, options, bad packets, pipelines.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
    until,
};
use mysql_async::{ChangeUserOpts, prelude::*};
use weir::{
    protocol::{Capabilities, HEADER, put_packets},
    sandbox::{Cluster, Flavor},
};

/// Another user; and a short patience with sessions that are still pinned when a test is over.
const EXTRA: &str = "[[users]]\nname = \"other\"\npassword = \"other-secret\"\n[timeouts]\ndrain = \"100ms\"\n";

async fn start(flavor: Flavor) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    cluster.writer.exec("CREATE USER other@'%' IDENTIFIED BY 'other-secret'").await.unwrap();
    cluster.writer.exec("GRANT ALL ON app2.* TO other@'%'").await.unwrap();
    cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
    cluster.wait_caught_up().await.unwrap();
    Bed::with(cluster, EXTRA).await
}

/// Leaves something of every kind behind.
async fn litter(raw: &mut Raw) -> u32 {
    raw.run("SET @x = 1, time_zone = '+05:00', NAMES latin1").await;
    raw.run("CREATE TEMPORARY TABLE gone (a INT)").await;
    raw.run("SELECT GET_LOCK('held', 0)").await;
    let statement = raw.prepare("SELECT 1").await;
    raw.run("BEGIN").await;
    raw.run("INSERT INTO app.t VALUES (1)").await;
    statement
}

/// What a session says of itself; the same for a server's.
async fn look(raw: &mut Raw) -> Vec<Option<Vec<u8>>> {
    raw.row(
        "SELECT @x, @@time_zone, @@autocommit, @@character_set_client, @@collation_connection, @@character_set_results, \
         DATABASE(), CURRENT_USER(), IS_FREE_LOCK('held'), (SELECT COUNT(*) FROM app2.nothing)",
    )
    .await
}

#[tokio::test]
async fn an_idle_transaction_ends_with_its_session() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 0).await.unwrap();
        cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
        let bed = Bed::with(cluster, "[timeouts]\ntransaction_idle = \"3s\"\n").await;
        let [mut idle, mut busy, mut free, mut pinned] =
            [bed.connect().await, bed.connect().await, bed.connect().await, bed.connect().await];
        pinned.query_drop("SET @x = 1").await.unwrap();
        busy.query_drop("BEGIN").await.unwrap();
        idle.query_drop("BEGIN").await.unwrap();
        idle.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        // Longer than the limit, and not idle.
        busy.query_drop("SELECT SLEEP(4)").await.unwrap();
        busy.query_drop("COMMIT").await.unwrap();
        let id = idle.id();
        until(&format!("{flavor}: it is cut"), async || bed.weir.context.sessions.find(id).is_none()).await;
        // The error was sent ahead of the statement that it answers.
        match idle.query_drop("COMMIT").await.unwrap_err() {
            mysql_async::Error::Server(error) => assert_eq!((error.code, error.state.as_str()), (4031, "HY000")),
            other => assert!(matches!(other, mysql_async::Error::Io(_)), "{flavor}: {other}"),
        }
        let left: Option<u32> = free.query_first("SELECT COUNT(*) FROM t").await.unwrap();
        assert_eq!(left, Some(0), "{flavor}: rolled back, and only a transaction is cut");
        assert_eq!(pinned.query_first("SELECT @x").await.unwrap(), Some(1), "{flavor}: this is no transaction");
        drop((idle, busy, free, pinned));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_change_of_user_keeps_the_collation_that_no_login_can_name() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        bed.cluster.writer.exec("CREATE TABLE app2.words (name VARCHAR(20))").await.unwrap();
        bed.cluster.writer.exec("INSERT INTO app2.words VALUES ('a'), ('B')").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        // utf8mb4_ja_0900_as_cs; utf8mb4_uca1400_ai_ci, utf8mb3_uca1400_ai_ci, latin1_swedish_nopad_ci; and none.
        let collations = if flavor == Flavor::MySql9 { &[303, 999][..] } else { &[2304_u16, 2048, 1032, 9999] };
        for collation in collations {
            let [low, high] = collation.to_le_bytes();
            let change = [b"\x11other\0\0app2\0", &[low, high][..], b"caching_sha2_password\0"].concat();
            let mut replies = Vec::new();
            for port in [bed.cluster.writer.port(), bed.port()] {
                let mut raw = Raw::connect(port, &Card::app(MODERN)).await.unwrap();
                raw.change_user(&change, "other-secret").await.unwrap();
                let mut said = Vec::new();
                // Once more after a reset.
                for _ in 0..2 {
                    for sql in [
                        "SELECT @@character_set_client, @@character_set_results, @@character_set_connection",
                        "SELECT @@collation_connection",
                        "/* weir:reader */ SELECT name, 'x', COLLATION('x') FROM words ORDER BY name",
                        "/* weir:server=db1 */ SELECT 'a' = 'A', 'ss' = 'ß'",
                    ] {
                        let reply = raw.query(sql).await;
                        said.push((
                            sql,
                            reply.iter().map(|packet| packet.escape_ascii().to_string()).collect::<Vec<_>>(),
                        ));
                    }
                    raw.ask(b"\x1F", Answer::One).await;
                }
                replies.push(said);
            }
            assert_eq!(replies[1], replies[0], "{flavor}: {collation}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_reset_and_a_change_of_user_leave_nothing_behind() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        bed.cluster.writer.exec("CREATE TABLE app2.nothing (a INT)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        let change = b"\x11other\0\0app2\0\x2D\0caching_sha2_password\0";
        for (name, command) in [("reset", &b"\x1F"[..]), ("change of user", change)] {
            let mut looks = Vec::new();
            for port in [bed.cluster.writer.port(), bed.port()] {
                let mut raw = Raw::connect(port, &Card::app(MODERN)).await.unwrap();
                let statement = litter(&mut raw).await;
                if name == "reset" {
                    assert_eq!(error(&raw.ask(command, Answer::One).await), None, "{flavor}: {name}");
                } else {
                    raw.change_user(command, "other-secret").await.unwrap();
                }
                let execute = [b"\x17", &statement.to_le_bytes()[..], b"\0\x01\0\0\0"].concat();
                assert_eq!(code(&raw.ask(&execute, Answer::Results).await).0, 1243, "{flavor}: {name}");
                assert_eq!(code(&raw.query("SELECT * FROM gone").await).0, 1146, "{flavor}: {name}");
                // The connection that Weir leaves behind is cleaned while nobody waits for it.
                until("the lock is free", async || {
                    let rows = bed.cluster.writer.rows("SELECT IS_FREE_LOCK('held')").await.unwrap();
                    rows[0].get(0) == Some(1)
                })
                .await;
                looks.push(look(&mut raw).await);
                assert_eq!(raw.ask(b"\x0E", Answer::One).await.len(), 1);
            }
            assert_eq!(looks[0], looks[1], "{flavor}: {name}: a server, and Weir");
        }
        let rows = bed.cluster.writer.rows("SELECT id FROM app.t").await.unwrap();
        assert_eq!(rows.len(), 0, "{flavor}: the transactions were rolled back");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_change_of_user_ends_the_session() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let cases = [
            ("wrong password", &b"\x11other\0\0app2\0\x2D\0caching_sha2_password\0"[..], "wrong", 1045),
            ("unknown user", b"\x11who\0\0app2\0\x2D\0caching_sha2_password\0", "wrong", 1045),
            ("unknown schema", b"\x11app\0\0missing\0\x2D\0caching_sha2_password\0", "app-secret", 1049),
            ("schema without rights", b"\x11other\0\0app\0\x2D\0caching_sha2_password\0", "other-secret", 1044),
        ];
        for (name, command, password, expected) in cases {
            let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            let refused = raw.change_user(command, password).await.unwrap_err();
            assert_eq!(refused.code, expected, "{flavor}: {name}");
            // As MySQL does. MariaDB gives the old user two more attempts.
            assert!(!raw.is_alive().await, "{flavor}: {name}");
            let mut direct = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
            assert_eq!(direct.change_user(command, password).await.unwrap_err(), refused, "{flavor}: {name}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_driver_changes_the_user() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut conn = bed.connect().await;
        conn.query_drop("SET @x = 1").await.unwrap();
        let options = ChangeUserOpts::new()
            .with_user(Some("other".to_owned()))
            .with_pass(Some("other-secret".to_owned()))
            .with_db_name(Some("app2".to_owned()));
        conn.change_user(options).await.unwrap();
        let seen: Option<(String, String, Option<i32>)> =
            conn.query_first("SELECT CURRENT_USER(), DATABASE(), @x").await.unwrap();
        assert_eq!(seen, Some(("other@%".to_owned(), "app2".to_owned(), None)), "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn options_take_effect() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        for held in [false, true] {
            for capabilities in [MODERN, MODERN.without(Capabilities::DEPRECATE_EOF)] {
                let card = Card::app(capabilities.without(Capabilities::MULTI_STATEMENTS));
                let mut raw = Raw::connect(bed.port(), &card).await.unwrap();
                if held {
                    raw.run("SET @x = 1").await;
                }
                for round in 0..2 {
                    assert_eq!(code(&raw.query("SELECT 1; SELECT 2").await).0, 1064, "{flavor} {held} {round}");
                    assert_eq!(error(&raw.ask(b"\x1B\0\0", Answer::One).await), None);
                    assert_eq!(error(&raw.query("SELECT 1; SELECT 2").await), None, "{flavor} {held} {round}");
                    assert_eq!(error(&raw.ask(b"\x1B\x01\0", Answer::One).await), None);
                }
            }
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn bad_packets_get_an_error_and_the_session_lives_on() {
    let cases: &[&[u8]] = &[
        b"",
        b"\x04t",
        b"\x0C\x01",
        b"\x17",
        b"\x17\x01\0\0\0",
        b"\x1A",
        b"\x1B",
        b"\x1C\x01\0",
        b"\x05",
        b"\x06",
        b"\x07",
        b"\x08\0",
        b"\x0A",
        b"\x0D",
        b"\x13",
        b"\x14",
        b"\x1D",
        b"\x20",
        b"\xFA\x01\0\0\0\0\0",
        b"\xFE",
        b"\xFF",
    ];
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let statement = raw.prepare("SELECT ?").await.to_le_bytes();
        for case in cases {
            let (number, _) = code(&raw.ask(case, Answer::One).await);
            assert!(matches!(number, 1047 | 1243 | 1295 | 1835), "{flavor}: {case:02x?}: {number}");
            assert_eq!(raw.value("SELECT 'alive'").await, b"alive", "{flavor}: {case:02x?}");
        }
        for body in [
            &b"\0\x01\0\0\0"[..],
            b"\0\x01\0\0\0\0",
            b"\0\x01\0\0\0\0\x01",
            b"\0\x01\0\0\0\0\x01\x03",
            b"\0\x01\0\0\0\0\0",
        ] {
            let reply = raw.ask(&[b"\x17", &statement[..], body].concat(), Answer::Results).await;
            assert!(matches!(code(&reply).0, 1210 | 1835), "{flavor}: {body:02x?}");
            assert_eq!(raw.value("SELECT 'alive'").await, b"alive", "{flavor}: {body:02x?}");
        }
        // These have no reply, whatever they say.
        for silent in [&b"\x18\xFF\0\0\0\0\0x"[..], b"\x19\xFF\0\0\0"] {
            raw.send(silent).await;
            assert_eq!(raw.value("SELECT 'alive'").await, b"alive", "{flavor}: {silent:02x?}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let mut bytes = Vec::new();
        for number in 0..500 {
            put_packets(&mut bytes, &mut 0, format!("\x03SELECT {number}").as_bytes());
            if number % 50 == 0 {
                put_packets(&mut bytes, &mut 0, format!("\x03SET @x = {number}").as_bytes());
                put_packets(&mut bytes, &mut 0, b"\x0E");
            }
        }
        assert!(bytes.len() > 500 * HEADER);
        raw.send_bytes(&bytes).await;
        for number in 0..500 {
            let reply = raw.receive(Answer::Results).await;
            assert_eq!(reply[2][1..], *number.to_string().as_bytes(), "{flavor}");
            if number % 50 == 0 {
                raw.receive(Answer::One).await;
                raw.receive(Answer::One).await;
            }
        }
        bed.stop().await;
    }
}
