//! Query attributes reach MySQL servers with text and prepared statements, and are taken out where a server has none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{
    Bed, basics, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
};
use weir::{
    protocol::Capabilities,
    sandbox::{Cluster, Flavor, Mode},
};

const INSTALL: &str = "INSTALL COMPONENT 'file://component_query_attributes'";
const TRACE: &str = "/* weir:reader */ SELECT mysql_query_attribute_string('trace')";
/// The attribute `trace`, a text, which is `abc`.
const ATTRIBUTE: &[u8] = b"\x01\x01\0\x01\xFE\0\x05trace\x03abc";

fn aware() -> Card {
    Card::app(MODERN.with(Capabilities::QUERY_ATTRIBUTES))
}

async fn bed() -> Option<Bed> {
    if !flavors().contains(&Flavor::MySql9) {
        return None;
    }
    let bed = Bed::start(Flavor::MySql9, "").await;
    for (server, mode) in bed.cluster.servers().zip([Mode::ReadWrite, Mode::ReadOnly, Mode::ReadOnly]) {
        server.set_mode(Mode::ReadWrite).await.unwrap();
        server.exec(INSTALL).await.unwrap();
        server.set_mode(mode).await.unwrap();
    }
    Some(bed)
}

fn attributed(attributes: &[u8], sql: &str) -> Vec<u8> {
    [b"\x03", attributes, sql.as_bytes()].concat()
}

#[tokio::test]
async fn attributes_travel_with_their_statement() {
    let Some(bed) = bed().await else { return };
    let mut direct = Raw::connect(bed.cluster.writer.port(), &aware()).await.unwrap();
    let mut through = Raw::connect(bed.port(), &aware()).await.unwrap();
    let mut unaware = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
    for hint in ["/* weir:reader */", "/* weir:writer */"] {
        let sql = TRACE.replace("/* weir:reader */", hint);
        assert_eq!(through.row(&sql).await, [None], "{sql}: no attribute");
        let ask = attributed(ATTRIBUTE, &sql);
        let answer = direct.ask(&ask, Answer::Results).await;
        assert_eq!(answer[2], b"\x03abc", "{sql}: {answer:x?}");
        assert_eq!(through.ask(&ask, Answer::Results).await, answer, "{sql}: with the attribute");
        assert_eq!(through.row(&sql).await, [None], "{sql}: gone with its statement");
        assert_eq!(unaware.row(&sql).await, [None], "{sql}: a client that knows none");
    }
    // What Weir says itself on such a connection: alignment, freshness, what it asks after errors.
    through.run("SET NAMES latin1 COLLATE latin1_german1_ci, time_zone = '+03:00'").await;
    through.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
    through.run("INSERT INTO t VALUES (1)").await;
    assert_eq!(through.value("SELECT COUNT(*) FROM t").await, b"1");
    assert_eq!(code(&through.query("INSERT INTO t VALUES (1)").await).0, 1062);
    assert_eq!(through.value("SELECT @@time_zone").await, b"+03:00");
    bed.stop().await;
}

#[tokio::test]
async fn attributes_travel_with_executes() {
    let Some(bed) = bed().await else { return };
    let mut direct = Raw::connect(bed.cluster.writer.port(), &aware()).await.unwrap();
    let mut through = Raw::connect(bed.port(), &aware()).await.unwrap();
    let mut answers = Vec::new();
    for raw in [&mut direct, &mut through] {
        let without = raw.prepare("SELECT mysql_query_attribute_string('trace')").await;
        let with = raw.prepare("SELECT ?, mysql_query_attribute_string('trace')").await;
        let executes: [(u32, u8, &[u8]); 8] = [
            (without, 0, b""),
            (without, 8, b"\0"),
            (without, 8, b"\x01\0\x01\xFE\0\x05trace\x03abc"),
            (with, 8, b"\x01\0\x01\x08\0\0\x07\0\0\0\0\0\0\0"),
            (with, 8, b"\x02\0\x01\x08\0\0\xFE\0\x05trace\x07\0\0\0\0\0\0\0\x03abc"),
            // Types of the execute before: the parameter's are kept, the attribute's are not.
            (with, 8, b"\x01\0\0\x08\0\0\0\0\0\0\0"),
            (with, 8, b"\x02\0\0\x08\0\0\0\0\0\0\0\x03xyz"),
            // Fewer parameters than the statement has.
            (with, 8, b"\0"),
        ];
        let mut said = Vec::new();
        for (id, flags, body) in executes {
            let execute = [&b"\x17"[..], &id.to_le_bytes(), &[flags], b"\x01\0\0\0", body].concat();
            let mut reply = raw.ask(&execute, Answer::Results).await;
            if error(&reply).is_some() {
                reply = vec![code(&reply).0.to_le_bytes().to_vec()];
            }
            said.push(reply);
        }
        answers.push(said);
    }
    for (number, (through, direct)) in answers[1].iter().zip(&answers[0]).enumerate() {
        assert_eq!(through, direct, "execute {number}");
    }
    let ended = |number: usize| answers[0][number].last().map(|end| end[0]);
    assert_eq!(ended(5), Some(0xFE), "types of the execute before will do");
    assert_eq!(answers[0][6], [1835u16.to_le_bytes()], "but not for attributes");
    bed.stop().await;
}

#[tokio::test]
async fn attributes_that_are_not_well_formed_are_refused() {
    let Some(bed) = bed().await else { return };
    let mut through = Raw::connect(bed.port(), &aware()).await.unwrap();
    for body in [&b""[..], b"\x01", b"\x01\x01", b"\0\x02SELECT 1", b"\x01\x01\0\x01\xFE\0\x05tra", b"\xFF\x01SELECT 1"]
    {
        let reply = through.ask(&[b"\x03", body].concat(), Answer::Results).await;
        assert_eq!(code(&reply), (1835, "HY000".to_owned()), "{body:x?}");
    }
    assert_eq!(through.value("SELECT 1").await, b"1");
    bed.stop().await;
}

/// A fleet of both families, which nobody has; but of several versions many have.
#[tokio::test]
async fn a_server_that_has_no_attributes_gets_none() {
    if flavors().len() < 2 {
        return;
    }
    let other = Cluster::start(Flavor::MariaDb, 0).await.unwrap();
    let cluster = Cluster::start(Flavor::MySql9, 0).await.unwrap();
    let text = bed::basics(&cluster).replace(
        "[[users]]",
        &format!(
            "[[servers]]\nname = \"old\"\naddress = \"{}\"\nrole = \"replica\"\n[[users]]",
            other.writer.address()
        ),
    );
    let bed = Bed::with_config(cluster, &text).await;
    let mut raw = Raw::connect(bed.port(), &aware()).await.unwrap();
    let here = "/* weir:server=old */ SELECT @@port";
    let port = other.writer.port().to_string().into_bytes();
    assert_eq!(raw.value(here).await, port);
    let reply = raw.ask(&attributed(ATTRIBUTE, here), Answer::Results).await;
    assert_eq!(reply[2][1..], port, "{reply:x?}");
    let id = raw.prepare("/* weir:server=old */ SELECT ?, @@port").await;
    let bound = b"\x02\0\x01\x08\0\0\xFE\0\x05trace\x07\0\0\0\0\0\0\0\x03abc";
    let execute = [&b"\x17"[..], &id.to_le_bytes(), b"\x08\x01\0\0\0", bound].concat();
    let reply = raw.ask(&execute, Answer::Results).await;
    assert_eq!(error(&reply), None);
    assert_eq!(reply[3][2..10], 7u64.to_le_bytes(), "{reply:x?}");
    bed.stop().await;
}

/// What Weir says itself to end a transaction on a replica must be framed as the server reads it on such a connection, or
/// the connection is lost.
#[tokio::test]
async fn a_transaction_that_leaves_its_replica_leaves_the_connection() {
    if !flavors().contains(&Flavor::MySql9) {
        return;
    }
    let cluster = Cluster::start(Flavor::MySql9, 1).await.unwrap();
    let text = basics(&cluster).replace("role = \"replica\"", "role = \"replica\"\nmax_connections = 1");
    let bed = Bed::with_config(cluster, &text).await;
    bed.until_serves("db1", true).await;
    let mut raw = Raw::connect(bed.port(), &aware()).await.unwrap();
    raw.run("START TRANSACTION READ ONLY").await;
    // CONNECTION_ID() would end the transaction on the replica.
    let thread = "/* weir:server=db1 */ SELECT @@port, id FROM information_schema.processlist WHERE info LIKE '%me%'";
    let place = raw.row(thread).await;
    assert_eq!(place[0], Some(bed.cluster.replicas[0].port().to_string().into_bytes()), "it is on the replica");
    // In MySQL, a BEGIN alone would begin another one that only reads.
    raw.run("START TRANSACTION READ WRITE").await;
    let port = bed.cluster.writer.port().to_string().into_bytes();
    assert_eq!(raw.value("SELECT @@port").await, port, "it is on the writer");
    raw.run("COMMIT").await;
    assert_eq!(raw.row(thread).await, place);
    bed.stop().await;
}
