//! Where cursors are opened, what the session does meanwhile, and what ends them.

use std::time::Instant;

use super::{
    bed::{
        Bed, basics, flavors,
        raw::{Answer, error},
        until,
    },
    client::Client,
};
use weir::{
    sandbox::{Cluster, Flavor},
    telemetry::Pin,
};

const ROWS: &str = "SELECT id FROM t ORDER BY id";

/// A writer and a replica with so many connections each, and nine rows.
pub async fn start(flavor: Flavor, connections: u32, extra: &str) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    for sql in [
        "CREATE TABLE app.t (id INT PRIMARY KEY)",
        "INSERT INTO app.t VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)",
        "CREATE FUNCTION app.f() RETURNS INT NO SQL RETURN 1",
    ] {
        cluster.writer.exec(sql).await.unwrap();
    }
    cluster.wait_caught_up().await.unwrap();
    let text = basics(&cluster).replace("role =", &format!("max_connections = {connections}\nrole ="));
    let text = text.replace("role = \"replica\"", "role = \"replica\"\ngroups = [\"reports\"]");
    let bed = Bed::with_config(cluster, &(text + "[timeouts]\ndrain = \"1s\"\n" + extra)).await;
    until("the position is known", async || bed.weir.context.cluster.load().has_positions).await;
    bed
}

/// Idle and used connections of the replica.
fn connections(bed: &Bed) -> (u32, u32) {
    bed.weir.context.cluster.load().members[1].server.pool.counts()
}

async fn until_given_back(bed: &Bed, what: &str) {
    until(what, async || connections(bed).1 == 0).await;
}

/// Why the session keeps a connection, and where.
async fn kept(bed: &Bed, client: &mut Client) -> (Option<&'static str>, Option<String>) {
    client.ping().await;
    let view = bed.weir.context.sessions.find(client.raw.id).unwrap().view(Instant::now());
    (view.pin, view.server)
}

#[tokio::test]
async fn a_cursor_is_opened_where_the_read_would_run() {
    const CASES: &[(&str, &str, bool)] = &[
        ("", ROWS, true),
        ("", "/* weir:reader */ SELECT id FROM t WHERE f() = 1", true),
        ("", "/* weir:group=reports */ SELECT id FROM t", true),
        ("", "/* weir:server=db1 */ SELECT id FROM t", true),
        ("", "/* weir:writer */ SELECT id FROM t", false),
        ("", "SELECT id FROM t FOR UPDATE", false),
        ("", "SELECT id FROM t LOCK IN SHARE MODE", false),
        ("", "SELECT id FROM t WHERE f() = 1", false),
        ("START TRANSACTION READ ONLY", ROWS, true),
        ("BEGIN", ROWS, false),
        ("BEGIN; DELETE FROM t WHERE id = 99", ROWS, false),
        ("SET autocommit = 0", ROWS, false),
        ("CREATE TEMPORARY TABLE other (id INT)", ROWS, true),
        ("CREATE TEMPORARY TABLE t (id INT)", ROWS, false),
        ("SET @x = 1", "SELECT id FROM t WHERE id > @x", true),
    ];
    for flavor in flavors() {
        let bed = start(flavor, 5, "").await;
        for (before, sql, on_replica) in CASES {
            let mut client = Client::modern(bed.port()).await;
            for before in before.split("; ").filter(|before| !before.is_empty()) {
                client.raw.run(before).await;
            }
            let slot = client.prepare(sql).await;
            client.ping().await;
            let served = bed.served("db1").0;
            assert_eq!(error(&client.open(slot).await), None, "{flavor}: {before}: {sql}");
            assert_eq!(error(&client.fetch(slot, 1).await), None, "{flavor}: {before}: {sql}");
            client.ping().await;
            let expected = if *on_replica { 2 } else { 0 };
            assert_eq!(bed.served("db1").0 - served, expected, "{flavor}: {before}: {sql}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_goes_on_beside_its_cursors_with_one_connection_of_each_server() {
    for flavor in flavors() {
        let bed = start(flavor, 1, "").await;
        let mut client = Client::modern(bed.port()).await;
        let [one, other, locking] = [
            client.prepare(ROWS).await,
            client.prepare(ROWS).await,
            client.prepare("SELECT id FROM t FOR UPDATE").await,
        ];
        assert_eq!(error(&client.open(one).await), None, "{flavor}");
        assert_eq!(client.numbers(one, 2).await, [1, 2], "{flavor}");
        assert_eq!(kept(&bed, &mut client).await, (Some(Pin::Cursor.label()), Some("db1".to_owned())), "{flavor}");
        for id in 10..20 {
            // On the writer, and in a transaction there.
            client.raw.run(format!("INSERT INTO t VALUES ({id})")).await;
            assert_eq!(client.raw.value("SELECT MAX(id) FROM t").await, id.to_string().as_bytes(), "{flavor}");
        }
        client.raw.run("BEGIN").await;
        client.raw.run("DELETE FROM t WHERE id > 9").await;
        assert_eq!(client.numbers(one, 1).await, [3], "{flavor}: in a transaction on the writer");
        assert_eq!(kept(&bed, &mut client).await, (Some(Pin::Transaction.label()), Some("db0".to_owned())), "{flavor}");
        assert_eq!(error(&client.open(locking).await), None, "{flavor}");
        client.raw.run("COMMIT").await;
        // There is no second connection to the replica to wait on.
        until("the replica is known to have what was written", async || {
            let served = bed.served("db1").0;
            assert_eq!(client.raw.value("SELECT COUNT(*) FROM t").await, b"9", "{flavor}");
            client.ping().await;
            bed.served("db1").0 > served
        })
        .await;
        let served = bed.served("db1").0;
        assert_eq!(error(&client.open(other).await), None, "{flavor}");
        for (slot, rows) in [(other, 1), (one, 4), (other, 2), (locking, 1), (one, 5), (other, 3)] {
            assert_eq!(client.numbers(slot, 1).await, [rows], "{flavor}: {slot}");
        }
        client.ping().await;
        assert_eq!(bed.served("db1").0 - served, 6, "{flavor}");
        // Closed in the middle, and at the end.
        client.close(one).await;
        assert_eq!(client.numbers(other, 99).await, [4, 5, 6, 7, 8, 9], "{flavor}");
        assert_eq!(client.numbers(locking, 1).await, [2], "{flavor}");
        until_given_back(&bed, "the replica has its connection back").await;
        assert_eq!(kept(&bed, &mut client).await, (Some(Pin::Cursor.label()), Some("db0".to_owned())), "{flavor}");
        client.reset(locking).await;
        assert_eq!(kept(&bed, &mut client).await, (None, None), "{flavor}");
        let metrics = &bed.weir.context.metrics;
        assert_eq!(metrics.total(|shard| &shard.lease_waits), 0, "{flavor}: it waited for itself");
        assert_eq!(bed.pinned(Pin::Cursor), 1, "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn every_end_of_a_cursor_gives_the_connection_back() {
    for flavor in flavors() {
        let bed = start(flavor, 1, "").await;
        for end in ["rows", "close", "reset", "execute", "reset connection", "change user", "quit", "vanish", "kill"] {
            let mut client = Client::modern(bed.port()).await;
            let slot = client.prepare(ROWS).await;
            assert_eq!(error(&client.open(slot).await), None, "{flavor}: {end}");
            assert_eq!(client.numbers(slot, 1).await, [1], "{flavor}: {end}");
            assert_eq!(connections(&bed).1, 1, "{flavor}: {end}");
            match end {
                "rows" => assert_eq!(client.numbers(slot, 99).await.len(), 8, "{flavor}"),
                "close" => client.close(slot).await,
                "reset" => _ = client.reset(slot).await,
                "execute" => {
                    client.raw.run("RENAME TABLE t TO u").await;
                    assert!(error(&client.open(slot).await).is_some(), "{flavor}");
                    client.raw.run("RENAME TABLE u TO t").await;
                }
                "reset connection" => _ = client.raw.ask(b"\x1F", Answer::One).await,
                "change user" => {
                    let command = b"\x11app\0\0app\0\x2D\0mysql_clear_password\0";
                    client.raw.change_user(command, "app-secret").await.unwrap();
                }
                "quit" => _ = client.raw.ask(b"\x01", Answer::Nothing).await,
                "vanish" => drop(client),
                _ => {
                    let mut killer = Client::modern(bed.port()).await;
                    killer.raw.run(format!("KILL {}", client.raw.id)).await;
                }
            }
            until_given_back(&bed, end).await;
            // Whoever has it next finds nothing of it.
            let mut next = Client::modern(bed.port()).await;
            let slot = next.prepare(ROWS).await;
            assert_eq!(error(&next.fetch(slot, 1).await).unwrap().code, 1421, "{flavor}: {end}");
            assert_eq!(next.raw.value("SELECT COUNT(*) FROM t").await, b"9", "{flavor}: {end}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_transaction_that_leaves_its_replica_leaves_the_cursor_there() {
    for flavor in flavors() {
        let bed = start(flavor, 2, "[reads]\ntransactions = \"reads-before-write\"\n").await;
        let mut client = Client::modern(bed.port()).await;
        client.raw.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
        client.raw.run("SET autocommit = 0").await;
        let slot = client.prepare(ROWS).await;
        client.ping().await;
        let served = bed.served("db1").0;
        assert_eq!(error(&client.open(slot).await), None, "{flavor}");
        assert_eq!(client.numbers(slot, 1).await, [1], "{flavor}");
        client.raw.run("DELETE FROM t WHERE id = 2").await;
        assert_eq!(client.numbers(slot, 1).await, [2], "{flavor}: what was there when it was opened");
        client.raw.run("ROLLBACK").await;
        assert_eq!(client.numbers(slot, 1).await, [3], "{flavor}");
        client.ping().await;
        assert_eq!(bed.served("db1").0 - served, 4, "{flavor}: one execute and three fetches");
        bed.stop().await;
    }
}
