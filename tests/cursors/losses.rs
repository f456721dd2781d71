//! Servers that go away under cursors.

use super::{
    bed::{
        Bed, flavors,
        raw::{code, error},
        relay::Fault,
        until,
    },
    client::Client,
    places::start,
};
use weir::sandbox::Cluster;

const ROWS: &str = "SELECT id FROM t ORDER BY id";

#[tokio::test]
async fn a_cursor_is_lost_with_its_server_and_nothing_else_is() {
    for flavor in flavors() {
        let bed = start(flavor, 5, "").await;
        let mut client = Client::modern(bed.port()).await;
        let [one, other] = [client.prepare(ROWS).await, client.prepare(ROWS).await];
        for slot in [one, other] {
            assert_eq!(error(&client.open(slot).await), None, "{flavor}");
            assert_eq!(client.numbers(slot, 1).await, [1], "{flavor}");
        }
        client.raw.run("BEGIN").await;
        client.raw.run("DELETE FROM t WHERE id = 9").await;
        bed.cluster.replicas[0].kill().await.unwrap();
        for slot in [one, other] {
            assert_eq!(code(&client.fetch(slot, 1).await), (2013, "HY000".to_owned()), "{flavor}");
            assert_eq!(code(&client.fetch(slot, 1).await).0, 1421, "{flavor}");
        }
        client.raw.run("COMMIT").await;
        assert_eq!(client.raw.value("SELECT COUNT(*) FROM t").await, b"8", "{flavor}: the transaction went on");
        assert_eq!(error(&client.open(one).await), None, "{flavor}: on the writer");
        assert_eq!(client.numbers(one, 99).await.len(), 8, "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn rows_that_break_off_end_with_an_error() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
        cluster.writer.exec("INSERT INTO app.t VALUES (1), (2), (3), (4), (5)").await.unwrap();
        cluster.wait_caught_up().await.unwrap();
        let (bed, relays) = Bed::with_relays(cluster, "").await;
        let mut client = Client::modern(bed.port()).await;
        let slot = client.prepare(ROWS).await;
        assert_eq!(error(&client.open(slot).await), None, "{flavor}");
        assert_eq!(client.numbers(slot, 1).await, [1], "{flavor}");
        // The command of a fetch of three rows.
        relays[1].on("\u{3}\0\0\0", Fault::CutAtBoundary(10));
        let reply = client.fetch(slot, 3).await;
        assert_eq!((reply.len(), code(&reply).0), (2, 2013), "{flavor}: a row, and an error");
        assert!(!relays[1].is_armed(), "{flavor}");
        assert_eq!(code(&client.fetch(slot, 1).await).0, 1421, "{flavor}");
        assert_eq!(client.raw.value("SELECT COUNT(*) FROM t").await, b"5", "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_drained_server_waits_for_its_cursors_until_the_deadline() {
    for flavor in flavors() {
        let bed = start(flavor, 5, "").await;
        let mut clients = [Client::modern(bed.port()).await, Client::modern(bed.port()).await];
        for client in &mut clients {
            let slot = client.prepare(ROWS).await;
            assert_eq!(error(&client.open(slot).await), None, "{flavor}");
        }
        let [mut one, mut other] = clients;
        let text = std::fs::read_to_string(bed.config_file()).unwrap().replace("drain = \"1s\"", "drain = \"3s\"");
        bed.edit(&text.replace("role = \"replica\"", "role = \"replica\"\nstate = \"drain\""));
        let pool = bed.weir.context.cluster.load().members[1].server.pool.clone();
        until("it is drained", async || !bed.serves("db1") || pool.counts().0 == 0).await;
        assert_eq!(one.numbers(0, 99).await.len(), 9, "{flavor}");
        assert_eq!(one.raw.value("SELECT COUNT(*) FROM t").await, b"9", "{flavor}: on the writer");
        until("the session of the cursor that is left is cut", async || pool.counts() == (0, 0)).await;
        assert_eq!(code(&other.fetch(0, 1).await).0, 1053, "{flavor}");
        assert!(one.raw.is_alive().await, "{flavor}");
        bed.stop().await;
    }
}
