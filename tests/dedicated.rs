//! `pool.multiplex = false`: sessions that keep their server connections for themselves, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::Instant;

use bed::{
    Bed, basics, flavors,
    raw::{Card, MODERN, Raw},
    relay::Fault,
    server_error, until,
};
use mysql_async::{Conn, prelude::*};
use weir::{
    protocol::{Capabilities, login::Attributes},
    sandbox::{Cluster, Flavor},
};

const OFF: &str = "[pool]\nmultiplex = false\nacquire_timeout = \"1s\"\n";

/// One replica, so that reads of one session stay on one connection.
async fn bed(flavor: Flavor, connections: u32) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let text = basics(&cluster).replace("role =", &format!("max_connections = {connections}\nrole ="));
    // A GTID, so that reads can be fresh.
    cluster.writer.exec("CREATE TABLE app.t (id INT)").await.unwrap();
    let bed = Bed::with_config(cluster, &(text + OFF)).await;
    bed.until_serves("db1", true).await;
    until("the position is known", async || bed.weir.context.cluster.load().has_positions).await;
    bed
}

async fn connection_id(conn: &mut Conn) -> u32 {
    conn.query_first("SELECT CONNECTION_ID() + 0").await.unwrap().unwrap()
}

/// Idle and used connections of a server.
fn connections(bed: &Bed, place: usize) -> (u32, u32) {
    bed.weir.context.cluster.load().members[place].server.pool.counts()
}

async fn until_connections(bed: &Bed, place: usize, expected: (u32, u32)) {
    until(&format!("server {place} has {expected:?}"), async || connections(bed, place) == expected).await;
}

/// The port of the server that serves a read.
async fn read(conn: &mut Conn) -> Option<u16> {
    conn.query_first("/* weir:reader */ SELECT @@port").await.unwrap()
}

#[tokio::test]
async fn sessions_do_not_share_and_reads_are_split() {
    for flavor in flavors() {
        let bed = bed(flavor, 100).await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        let replica = bed.cluster.replicas[0].port();
        let (first, second) = (connection_id(&mut one).await, connection_id(&mut other).await);
        assert_ne!(first, second, "{flavor}");
        for _ in 0..3 {
            assert_eq!(read(&mut one).await, Some(replica), "{flavor}");
            assert_eq!(read(&mut other).await, Some(replica), "{flavor}");
            one.query_drop("BEGIN").await.unwrap();
            assert_eq!(connection_id(&mut one).await, first, "{flavor}: in a transaction");
            one.query_drop("COMMIT").await.unwrap();
            assert_eq!(connection_id(&mut other).await, second, "{flavor}");
            assert_eq!(connection_id(&mut one).await, first, "{flavor}");
        }
        assert_eq!([connections(&bed, 0), connections(&bed, 1)], [(0, 2), (0, 2)], "{flavor}");
        let pin = bed.weir.context.sessions.find(one.id()).unwrap().view(Instant::now()).pin;
        assert_eq!(pin, Some("dedicated"), "{flavor}");
        assert_eq!(bed.pinned(weir::telemetry::Pin::Dedicated), 2, "{flavor}: once a session");

        // A reset forgets the session's state, and keeps its connection.
        one.query_drop("SET time_zone = '+05:00', @x = 1").await.unwrap();
        one.reset().await.unwrap();
        let state: Option<(String, Option<u32>)> = one.query_first("SELECT @@time_zone, @x").await.unwrap();
        assert_eq!(state, Some(("SYSTEM".to_owned(), None)), "{flavor}");
        assert_eq!(connection_id(&mut one).await, first, "{flavor}: after a reset");

        // What nobody reported is forgotten before somebody else gets the connection.
        one.query_drop("SET time_zone = '+05:00'").await.unwrap();
        one.disconnect().await.unwrap();
        until_connections(&bed, 0, (1, 1)).await;
        let mut next = bed.connect().await;
        let zone: Option<String> = next.query_first("SELECT @@time_zone").await.unwrap();
        assert_eq!(zone.as_deref(), Some("SYSTEM"), "{flavor}");
        assert_eq!(connection_id(&mut next).await, first, "{flavor}: the connection was of use to another session");
        drop((other, next));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    for flavor in flavors() {
        let bed = bed(flavor, 100).await;
        let mut conn = bed.connect().await;
        for sql in ["INSERT INTO t VALUES (1)", "/* weir:writer */ SELECT 1"] {
            let before = connection_id(&mut conn).await;
            bed.cluster.writer.exec(&format!("KILL {before}")).await.unwrap();
            let left = format!("SELECT id FROM information_schema.processlist WHERE id = {before}");
            until("it is gone", async || bed.cluster.writer.rows(&left).await.unwrap().is_empty()).await;
            conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{flavor}: {sql}: {error}"));
            assert_ne!(connection_id(&mut conn).await, before, "{flavor}: {sql}");
        }
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_drained_server_and_a_change_of_mind_end_it_for_idle_sessions_too() {
    for flavor in flavors() {
        let bed = bed(flavor, 100).await;
        let text = std::fs::read_to_string(bed.config_file()).unwrap();
        let mut conn = bed.connect().await;
        assert_eq!(read(&mut conn).await, Some(bed.cluster.replicas[0].port()), "{flavor}");
        connection_id(&mut conn).await;
        assert_eq!([connections(&bed, 0), connections(&bed, 1)], [(0, 1), (0, 1)], "{flavor}");
        bed.edit(&text.replace("role = \"replica\"", "role = \"replica\"\nstate = \"drain\""));
        until_connections(&bed, 1, (0, 0)).await;
        assert_eq!(read(&mut conn).await, Some(bed.cluster.writer.port()), "{flavor}: no replica is left");
        bed.edit(&text.replace("multiplex = false", "multiplex = true"));
        until_connections(&bed, 0, (1, 0)).await;
        let pin = bed.weir.context.sessions.find(conn.id()).unwrap().view(Instant::now()).pin;
        assert_eq!(pin, None, "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn there_must_be_a_connection_for_every_session() {
    for flavor in flavors() {
        let bed = bed(flavor, 1).await;
        let mut conn = bed.connect().await;
        connection_id(&mut conn).await;
        // A driver that asks nothing when it connects.
        let quiet = bed.options().db_name(None::<&str>).max_allowed_packet(Some(1 << 20)).wait_timeout(Some(100));
        let mut late = Conn::new(quiet).await.unwrap();
        let (code, state) = server_error(&late.query_drop("SELECT CONNECTION_ID()").await.unwrap_err());
        assert_eq!((code, state.as_str()), (2003, "HY000"), "{flavor}");
        conn.disconnect().await.unwrap();
        until("there is one", async || late.query_drop("SELECT CONNECTION_ID()").await.is_ok()).await;
        drop(late);
        bed.stop().await;
    }
}

#[tokio::test]
async fn servers_hear_what_the_client_says_of_itself_where_nobody_shares() {
    for flavor in flavors() {
        for (extra, shared) in [(OFF, false), ("", true)] {
            let cluster = Cluster::start(flavor, 1).await.unwrap();
            let (bed, relays) = Bed::with_relays(cluster, extra).await;
            bed.until_serves("db1", true).await;
            let pairs = [(&b"program_name"[..], &b"shop"[..]), (b"part", b"blue")];
            let capabilities = MODERN.with(Capabilities::CONNECT_ATTRS);
            let card = Card { attributes: Attributes::new(pairs), ..Card::app(capabilities) };
            let own = "\u{c}program_name\u{4}shop\u{4}part\u{4}blue";
            // Found in a login, and nothing happens to its answer.
            let listen = |marker| relays.iter().for_each(|relay| relay.on(marker, Fault::CutAtBoundary(usize::MAX)));
            listen(own);
            let mut raw = Raw::connect(bed.port(), &card).await.unwrap();
            for hint in ["/* weir:writer */", "/* weir:server=db1 */"] {
                assert_eq!(raw.value(format!("{hint} SELECT 1")).await, b"1", "{flavor} {hint}");
            }
            let heard = relays.iter().map(|relay| !relay.is_armed()).collect::<Vec<_>>();
            assert_eq!(heard, [!shared; 2], "{flavor}, shared: {shared}");
            let view = bed.weir.context.sessions.find(raw.id).unwrap().view(Instant::now());
            assert_eq!(view.program.as_deref(), Some("shop"), "{flavor}");
            // Whoever says nothing of itself does not get a connection of which something was said.
            drop(raw);
            // The look at stored code logs in as this user, too, and says more.
            listen("\u{12}\u{c}program_name\u{4}weir");
            let card = Card { collation: 8, ..Card::app(MODERN) };
            let mut silent = Raw::connect(bed.port(), &card).await.unwrap();
            assert_eq!(silent.value("/* weir:writer */ SELECT 1").await, b"1", "{flavor}");
            assert_eq!(relays[0].is_armed(), !shared, "{flavor}, shared: {shared}");
            drop(silent);
            bed.stop().await;
        }
    }
}
