//! Bugs that were there once, each shown on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bed::{
    Bed, PATIENCE, basics, flavors,
    raw::{Answer, Card, MODERN, Raw, error},
    server_error, until,
};
use mysql_async::{Conn, TxOpts, prelude::*};
use tokio::time::timeout;
use weir::{
    backend::{Identity, Links, Place, ServerConnection},
    config::{Address, ServerCompression, ServerTls, ServerTlsMode},
    net::{Scratch, tls},
    protocol::{Capabilities, auth::Credential, login::Attributes, put_packets},
    sandbox::{Cluster, Flavor},
    telemetry::Pin,
};

/// Weir in front of a writer alone, with one worker: a statement's connection is back before the next one begins.
async fn writer_only(flavor: Flavor, extra: &str) -> Bed {
    let extra = format!("[runtime]\nworkers = 1\n{extra}");
    Bed::with(Cluster::start(flavor, 0).await.unwrap(), &extra).await
}

async fn count(conn: &mut Conn) -> u32 {
    conn.query_first("SELECT COUNT(*) FROM t").await.unwrap().unwrap()
}

/// A client that says what it is told to, byte for byte.
async fn raw(bed: &Bed) -> (ServerConnection, Scratch) {
    let identity = Identity {
        user: "app".into(),
        credential: Credential::Password((*b"app-secret").into()),
        capabilities: Capabilities::PROTOCOL_41.with(Capabilities::DEPRECATE_EOF),
        collation: 45,
        origin: None,
        attributes: Attributes::default(),
    };
    let links = Links {
        tls: ServerTlsMode::Disabled,
        tls_config: tls::for_servers(&ServerTls::default()).unwrap(),
        connect_timeout: PATIENCE,
        congestion_control: None,
        compression: ServerCompression::None,
    };
    let scratch = Scratch::new(64 * 1024);
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: bed.port() };
    let opened =
        ServerConnection::open(Place::of(&address), Arc::new(identity), &links, &scratch, Instant::now()).await;
    let mut client = opened.unwrap();
    // It asked for session tracking, which pins; a reset takes that back.
    client.command(b"\x1F", &scratch).await.unwrap();
    client.command(b"\x02app", &scratch).await.unwrap();
    (client, scratch)
}

#[tokio::test]
async fn a_statement_that_cannot_be_prepared_again_leaves_the_transaction_as_it_is() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        for sql in ["CREATE TABLE t (id INT)", "CREATE TABLE gone (id INT)"] {
            one.query_drop(sql).await.unwrap();
        }
        let gone = one.prep("INSERT INTO gone VALUES (?)").await.unwrap();
        other.query_drop("DROP TABLE gone").await.unwrap();
        // Takes the connection that has the statement.
        let taken = other.start_transaction(TxOpts::default()).await.unwrap();
        let mut transaction = one.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        let error = transaction.exec_drop(&gone, (1,)).await.unwrap_err();
        assert_eq!(server_error(&error).0, 1146, "{flavor}");
        transaction.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
        transaction.rollback().await.unwrap();
        taken.rollback().await.unwrap();
        assert_eq!(count(&mut one).await, 0, "{flavor}: everything was rolled back");
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn preparing_again_does_not_commit() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE t (id INT) ENGINE=InnoDB").await.unwrap();
        let insert = one.prep("INSERT INTO t VALUES (?)").await.unwrap();
        // Takes the connection that has the statement.
        let taken = other.start_transaction(TxOpts::default()).await.unwrap();
        one.query_drop("SET autocommit=0").await.unwrap();
        one.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        one.exec_drop(&insert, (2,)).await.unwrap();
        one.query_drop("ROLLBACK").await.unwrap();
        taken.rollback().await.unwrap();
        assert_eq!(count(&mut one).await, 0, "{flavor}: everything was rolled back");
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_failed_read_without_autocommit_keeps_its_transaction_to_itself() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE t (id INT) ENGINE=InnoDB").await.unwrap();
        one.query_drop("INSERT INTO t VALUES (1), (2)").await.unwrap();
        for conn in [&mut one, &mut other] {
            conn.query_drop("SET autocommit=0").await.unwrap();
        }
        let error = one.query_drop("SELECT (SELECT id FROM t)").await.unwrap_err();
        assert_eq!(server_error(&error).0, 1242, "{flavor}");
        bed.cluster.servers().next().unwrap().exec("INSERT INTO app.t VALUES (3)").await.unwrap();
        assert_eq!(count(&mut other).await, 3, "{flavor}: the other session has a snapshot of its own");
        assert_eq!(count(&mut one).await, 2, "{flavor}: the first one keeps its snapshot");
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_command_of_two_packets_is_answered() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let server = bed.cluster.servers().next().unwrap();
        server.exec("SET GLOBAL max_allowed_packet=67108864").await.unwrap();
        let text = "x".repeat(17 << 20);
        let options = bed.options().max_allowed_packet(Some(64 << 20));
        let mut conn = Conn::new(options).await.unwrap();
        let length: Option<usize> = conn.query_first(format!("SELECT LENGTH('{text}')")).await.unwrap();
        assert_eq!(length, Some(text.len()), "{flavor}");
        let length: Option<usize> = conn.exec_first("SELECT LENGTH(?)", (text.as_str(),)).await.unwrap();
        assert_eq!(length, Some(text.len()), "{flavor}: prepared");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn long_data_is_gone_after_the_execute_that_failed() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        bed.connect().await.query_drop("CREATE TABLE t (id INT)").await.unwrap();
        bed.connect().await.query_drop("INSERT INTO t VALUES (1), (2)").await.unwrap();
        let (mut client, scratch) = raw(&bed).await;
        let mut prepare = vec![];
        put_packets(&mut prepare, &mut 0, b"\x16SELECT ? FROM t WHERE id >= (SELECT id FROM t WHERE id > ?)");
        client.packets.write_bytes(&prepare).await.unwrap();
        let (prepared, _) = client.read_prepared(&scratch).await.unwrap();
        let id = prepared.statement.to_le_bytes();
        let long = |data: &[u8]| [b"\x18", &id[..], b"\0\0", data].concat();
        let execute = |number: u8| {
            [b"\x17", &id[..], b"\0\x01\0\0\0\0\x01\xFC\0\x08\0", &u64::from(number).to_le_bytes()].concat()
        };
        let mut bytes = vec![];
        // More than one row in the subquery is an error.
        for payload in [long(b"old"), execute(0)] {
            put_packets(&mut bytes, &mut 0, &payload);
        }
        client.packets.write_bytes(&bytes).await.unwrap();
        let refused = client.read_reply(&scratch).await.unwrap_err();
        assert!(refused.to_string().contains("1 row"), "{flavor}: {refused}");
        bytes.clear();
        for payload in [long(b"new"), execute(1)] {
            put_packets(&mut bytes, &mut 0, &payload);
        }
        client.packets.write_bytes(&bytes).await.unwrap();
        let mut row = vec![];
        client.packets.sequence = 1;
        while !row.ends_with(b"\x03new") {
            assert!(!row.starts_with(b"\xFE"), "{flavor}: the row has the new data alone");
            client.packets.read_payload(&scratch, &mut row, 4096).await.unwrap();
        }
        drop(client);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_reply_that_has_begun_is_not_begun_again() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        let mut conn = bed.connect().await;
        conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)").await.unwrap();
        conn.query_drop("INSERT INTO t VALUES (), (), (), (), (), (), (), ()").await.unwrap();
        for _ in 0..9 {
            conn.query_drop("INSERT INTO t SELECT NULL FROM t").await.unwrap();
        }
        bed.cluster.wait_caught_up().await.unwrap();
        let mut reader = bed.connect().await;
        let mut result = reader.query_iter("SELECT REPEAT('x', 8000) FROM t").await.unwrap();
        let first: Option<mysql_async::Row> = result.next().await.unwrap();
        assert!(first.is_some(), "{flavor}");
        let replica = bed.cluster.servers().nth(1).unwrap();
        replica.freeze().await.unwrap();
        let health = || async { bed.weir.context.cluster.load().members[1].server.is_down() };
        until("the replica is seen to be down", health).await;
        let error = loop {
            match result.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{flavor}: a result without its end"),
                Err(error) => break error,
            }
        };
        replica.thaw().unwrap();
        assert!(matches!(error, mysql_async::Error::Io(_)), "{flavor}: the stream is cut: {error}");
        assert_eq!(bed.weir.context.metrics.total(|shard| &shard.retries), 0, "{flavor}");
        drop((conn, result));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_that_waits_for_a_server_can_be_killed() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "[failover]\nhold = \"10m\"\n").await;
        let (mut waiting, mut killer) = (bed.connect().await, bed.connect().await);
        let id = waiting.id();
        bed.cluster.servers().next().unwrap().kill().await.unwrap();
        let read = || bed.weir.context.metrics.total(|shard| &shard.bytes_in);
        let before = read();
        let waiting = tokio::spawn(async move { waiting.query_drop("DO 1").await });
        until("its statement has arrived", || async { read() > before }).await;
        killer.query_drop(format!("KILL {id}")).await.unwrap();
        let error = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
        assert_eq!(server_error(&error).0, 1317, "{flavor}");
        drop(killer);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_stop_the_shutdown() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let name = "x".repeat(400);
    let rule = format!("[[rules]]\nname = \"{name}\"\nregex = \"^R$\"\nto = \"reject\"\n");
    let text = basics(&cluster) + &rule + "[timeouts]\ndrain = \"100ms\"\n";
    let bed = Bed::with_config(cluster, &text).await;
    let (mut client, _scratch) = raw(&bed).await;
    let rejected = b"\x02\0\0\0\x03R".repeat(10_000);
    // Weir stops reading once its answers are not taken.
    while timeout(Duration::from_secs(3), client.packets.write_bytes(&rejected)).await.is_ok() {}
    bed.weir.shut_down();
    timeout(PATIENCE, bed.weir.ended()).await.expect("it ends");
}

#[tokio::test]
async fn a_pool_that_is_used_up_is_no_missing_writer() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let text = basics(&cluster).replace("role = \"writer\"", "role = \"writer\"\nmax_connections = 1");
    let bed =
        Bed::with_config(cluster, &(text + "[pool]\nacquire_timeout = \"2s\"\n[failover]\nhold = \"10m\"\n")).await;
    let (mut one, mut other) = (bed.connect().await, bed.connect().await);
    let taken = other.start_transaction(TxOpts::default()).await.unwrap();
    let error = timeout(PATIENCE, one.query_drop("DO 1")).await.expect("it does not wait for a failover").unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    taken.rollback().await.unwrap();
    one.query_drop("DO 1").await.unwrap();
    drop((one, other));
    bed.stop().await;
}

#[tokio::test]
async fn pins_that_a_reply_tells_are_counted() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let mut conn = bed.connect().await;
        conn.start_transaction(TxOpts::default()).await.unwrap().rollback().await.unwrap();
        until("the transaction is counted", || async { bed.pinned(Pin::Transaction) == 1 }).await;
        drop(conn);
        bed.stop().await;
    }
}

/// Once a server connection had been reset, its `sql_mode` was another than that of a fresh one.
#[tokio::test]
async fn a_login_that_ignores_spaces_has_the_sql_mode_that_a_server_gives_it() {
    let change = b"\x11app\0\0app\0\x2D\0caching_sha2_password\0";
    let ignoring = Card::app(MODERN.with(Capabilities::IGNORE_SPACE));
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let mut seen = Vec::new();
        for port in [bed.cluster.writer.port(), bed.port()] {
            let (mut one, mut modes) = (Raw::connect(port, &ignoring).await.unwrap(), Vec::new());
            let mut other = Raw::connect(port, &Card::app(MODERN)).await.unwrap();
            for step in ["login", "default", "reset", "change of user", "reset of what is pinned", "set"] {
                match step {
                    "login" => {}
                    "default" => _ = one.run("SET sql_mode = DEFAULT").await,
                    "change of user" => one.change_user(change, "app-secret").await.unwrap(),
                    "set" => _ = one.run("SET sql_mode = 'ANSI'").await,
                    reset => {
                        if reset != "reset" {
                            one.run("CREATE TEMPORARY TABLE pin (a INT)").await;
                        }
                        assert_eq!(error(&one.ask(b"\x1F", Answer::One).await), None, "{flavor}: {step}");
                    }
                }
                // Over and over, and another's in between: they share connections.
                for turn in 0..4 {
                    let raw = if turn % 2 == 0 { &mut one } else { &mut other };
                    modes.push((step, String::from_utf8(raw.value("SELECT @@sql_mode").await).unwrap()));
                }
            }
            seen.push(modes);
        }
        assert_eq!(seen[1], seen[0], "{flavor}");
        assert!(seen[0][0].1.contains("IGNORE_SPACE"), "{flavor}: {:?}", seen[0]);
        bed.stop().await;
    }
}

/// MariaDB takes a prepared transaction's name from a connection that is reset, and not the transaction: its locks stayed,
/// and nobody could end it any more.
#[tokio::test]
async fn a_prepared_transaction_outlives_whoever_prepared_it() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let mut other = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        other.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
        other.run("INSERT INTO t VALUES (1, 0)").await;
        other.run("SET innodb_lock_wait_timeout = 1").await;
        for leaves in ["quit", "hang-up", "reset", "change of user"] {
            let mut one = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            for sql in ["XA START 'x'", "UPDATE t SET v = v + 1", "XA END 'x'", "XA PREPARE 'x'"] {
                one.run(sql).await;
            }
            match leaves {
                "quit" => _ = one.ask(b"\x01", Answer::Nothing).await,
                "hang-up" => drop(one),
                "reset" => _ = one.ask(b"\x1F", Answer::One).await,
                _ => one.change_user(b"\x11app\0\0app\0\x2D\0mysql_clear_password\0", "app-secret").await.unwrap(),
            }
            // As for whoever was connected to the server itself, that is not known at once.
            let ended = async || error(&other.query("XA COMMIT 'x'").await).is_none();
            until(&format!("{flavor}: what was prepared before a {leaves} can be committed"), ended).await;
            other.run("UPDATE t SET v = v + 1").await;
        }
        assert_eq!(other.value("SELECT v FROM t").await, b"8", "{flavor}");
        // One that is not prepared ends with the reset, before that is answered.
        for end in ["DO 1", "XA END 'x'"] {
            for sql in ["XA START 'x'", "UPDATE t SET v = v + 1", end] {
                other.run(sql).await;
            }
            other.ask(b"\x1F", Answer::One).await;
        }
        assert_eq!(other.value("SELECT v FROM t").await, b"8", "{flavor}");
        bed.stop().await;
    }
}
