//! Replicas and CDC clients: a binary log is read through Weir as at the server itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::Duration;

use bed::{
    Bed, PATIENCE, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
    until,
};
use mysql_async::prelude::*;
use tokio::time::timeout;
use weir::{
    protocol::Capabilities,
    sandbox::{Cluster, Flavor, Mode, REPLICATION, Server},
    telemetry::Pin,
};

async fn bed(flavor: Flavor) -> Bed {
    let user = format!("[[users]]\nname = \"{}\"\npassword = \"{}\"\n", REPLICATION.name, REPLICATION.password);
    Bed::start(flavor, &format!("{user}[timeouts]\ndrain = \"5m\"\n")).await
}

fn replica(capabilities: Capabilities) -> Card {
    Card { user: REPLICATION.name, password: REPLICATION.password, schema: None, ..Card::app(capabilities) }
}

/// `COM_BINLOG_DUMP` of the first binary log from its start.
fn dump(flags: u16) -> Vec<u8> {
    [&b"\x12\x04\0\0\0"[..], &flags.to_le_bytes(), &99_u32.to_le_bytes(), b"binlog.000001"].concat()
}

/// Says what a replica says first.
async fn prepare(raw: &mut Raw) {
    raw.run("SET @master_binlog_checksum = @@global.binlog_checksum").await;
    raw.run("SET @source_binlog_checksum = @@global.binlog_checksum").await;
    raw.run("SET @mariadb_slave_capability = 4").await;
}

#[tokio::test]
async fn a_real_replica_follows_through_weir() {
    for flavor in flavors() {
        let bed = bed(flavor).await;
        let replica = &bed.cluster.replicas[0];
        let port = bed.port();
        let commands = match flavor {
            Flavor::MariaDb => {
                ["STOP SLAVE".to_owned(), format!("CHANGE MASTER TO MASTER_PORT = {port}"), "START SLAVE".to_owned()]
            }
            Flavor::MySql9 => [
                "STOP REPLICA".to_owned(),
                format!("CHANGE REPLICATION SOURCE TO SOURCE_PORT = {port}"),
                "START REPLICA".to_owned(),
            ],
        };
        for command in commands {
            replica.exec(&command).await.unwrap();
        }
        until(&format!("{flavor}: the replica reads"), async || bed.pinned(Pin::Replication) > 0).await;
        let mut conn = bed.connect().await;
        conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)").await.unwrap();
        for id in 0..300 {
            conn.exec_drop("INSERT INTO t VALUES (?, REPEAT('x', ?))", (id, id * 50)).await.unwrap();
        }
        bed.cluster.wait_caught_up().await.unwrap_or_else(|error| panic!("{flavor}: {error}"));
        let rows = replica.rows("SELECT COUNT(*), SUM(LENGTH(v)) FROM app.t").await.unwrap();
        let found: (u64, u64) = mysql_async::from_row(rows.into_iter().next().unwrap());
        assert_eq!(found, (300, 50 * 299 * 150), "{flavor}");
        drop(conn);
        // It would wait for the end of a transaction, but not for that of a binary log.
        timeout(PATIENCE, bed.stop()).await.expect("stopped before the deadline");
    }
}

/// The counters of a source whose names end so, and their values.
async fn semi_sync(writer: &Server, end: &str) -> u64 {
    let rows = writer.rows(&format!("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_%{end}'")).await.unwrap();
    let (_, value): (String, String) = mysql_async::from_row(rows.into_iter().next().unwrap());
    value.parse().unwrap()
}

#[tokio::test]
async fn a_semi_synchronous_replica_acknowledges_through_weir() {
    for flavor in flavors() {
        let bed = bed(flavor).await;
        let (writer, replica, port) = (&bed.cluster.writer, &bed.cluster.replicas[0], bed.port());
        let (on_writer, on_replica) = match flavor {
            Flavor::MariaDb => (
                vec!["SET GLOBAL rpl_semi_sync_master_timeout = 600000", "SET GLOBAL rpl_semi_sync_master_enabled = 1"],
                vec![
                    "STOP SLAVE".to_owned(),
                    "SET GLOBAL rpl_semi_sync_slave_enabled = 1".to_owned(),
                    format!("CHANGE MASTER TO MASTER_PORT = {port}"),
                    "START SLAVE".to_owned(),
                ],
            ),
            Flavor::MySql9 => (
                vec![
                    "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
                    "SET GLOBAL rpl_semi_sync_source_timeout = 600000",
                    "SET GLOBAL rpl_semi_sync_source_enabled = 1",
                ],
                vec![
                    "STOP REPLICA".to_owned(),
                    "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'".to_owned(),
                    "SET GLOBAL rpl_semi_sync_replica_enabled = 1".to_owned(),
                    format!("CHANGE REPLICATION SOURCE TO SOURCE_PORT = {port}"),
                    "START REPLICA".to_owned(),
                ],
            ),
        };
        // A plugin is entered into a table.
        replica.set_mode(Mode::ReadWrite).await.unwrap();
        for command in on_replica {
            replica.exec(&command).await.unwrap();
        }
        replica.set_mode(Mode::ReadOnly).await.unwrap();
        for command in on_writer {
            writer.exec(command).await.unwrap();
        }
        until(&format!("{flavor}: the source has a replica"), async || semi_sync(writer, "_clients").await == 1).await;
        let mut conn = bed.connect().await;
        conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
        // Each waits until the replica has it, and for ten minutes if it does not say so.
        for id in 0..20 {
            timeout(PATIENCE, conn.exec_drop("INSERT INTO t VALUES (?)", (id,))).await.expect("acknowledged").unwrap();
        }
        assert!(semi_sync(writer, "_yes_tx").await >= 21, "{flavor}");
        assert_eq!(semi_sync(writer, "_no_tx").await, 0, "{flavor}");
        drop(conn);
        timeout(PATIENCE, bed.stop()).await.expect("stopped before the deadline");
    }
}

#[tokio::test]
async fn a_dump_to_the_end_of_the_log_is_the_servers() {
    for flavor in flavors() {
        let bed = bed(flavor).await;
        bed.cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
        for capabilities in [MODERN, MODERN.without(Capabilities::DEPRECATE_EOF)] {
            let mut answers = Vec::new();
            for port in [bed.cluster.writer.port(), bed.port()] {
                let mut raw = Raw::connect(port, &replica(capabilities)).await.unwrap();
                prepare(&mut raw).await;
                let register = raw.ask(b"\x15\x63\0\0\0\x04here\x01r\x01p\xEA\x0C\0\0\0\0\0\0\0\0", Answer::One).await;
                assert_eq!(error(&register), None, "{flavor}");
                let events = raw.ask(&dump(1), Answer::Events).await;
                assert!(events.len() > 5 && error(&events).is_none(), "{flavor}: {events:x?}");
                answers.push(events);
                assert!(raw.is_closed().await, "{flavor}: as servers do it behind a dump");
            }
            assert_eq!(answers[1], answers[0], "{flavor}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_refused() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "").await;
        bed.cluster.writer.exec("CREATE USER mortal@'%' IDENTIFIED BY ''").await.unwrap();
        let card = Card { user: "mortal", password: "", schema: None, ..Card::app(MODERN) };
        let text = std::fs::read_to_string(bed.config_file()).unwrap();
        bed.edit(&(text + "[[users]]\nname = \"mortal\"\npassword = \"\"\n"));
        until("the user is known", async || Raw::connect(bed.port(), &card).await.is_ok()).await;
        for command in [dump(1), b"\x12".to_vec(), b"\x12\x04\0".to_vec(), b"\x1E\0".to_vec(), b"\x15\x01".to_vec()] {
            let mut direct = Raw::connect(bed.cluster.writer.port(), &card).await.unwrap();
            let mut through = Raw::connect(bed.port(), &card).await.unwrap();
            let refused = direct.ask(&command, Answer::One).await;
            assert!(error(&refused).is_some(), "{flavor}: {command:x?}: {refused:x?}");
            let found = through.ask(&command, Answer::One).await;
            assert_eq!(code(&found), code(&refused), "{flavor}: {command:x?}");
            assert_eq!(through.is_alive().await, direct.is_alive().await, "{flavor}: {command:x?}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_reader_of_events_can_be_killed_and_can_leave() {
    for flavor in flavors() {
        let bed = bed(flavor).await;
        let mut operator = Raw::connect(bed.port(), &replica(MODERN)).await.unwrap();
        let mut reader = Raw::connect(bed.port(), &replica(MODERN)).await.unwrap();
        prepare(&mut reader).await;
        reader.send(&dump(0)).await;
        until("it reads", async || reads_events(&bed, reader.id)).await;
        assert_eq!(error(&operator.query(format!("KILL {}", reader.id)).await), None, "{flavor}");
        while !timeout(PATIENCE, reader.is_closed()).await.unwrap() {}
        let mut leaver = Raw::connect(bed.port(), &replica(MODERN)).await.unwrap();
        prepare(&mut leaver).await;
        leaver.send(&dump(0)).await;
        until("it reads", async || reads_events(&bed, leaver.id)).await;
        drop(leaver);
        until("only the operator is left", async || bed.weir.context.sessions.count() == 1).await;
        // Nobody reads on at the server either, which a server notices with the next events.
        let dumps = "SELECT COUNT(*) FROM information_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%'";
        until("the server dumps to its replicas only", async || {
            bed.cluster.writer.exec("FLUSH BINARY LOGS").await.unwrap();
            let rows = bed.cluster.writer.rows(dumps).await.unwrap();
            rows[0].get::<u64, _>(0) == Some(2)
        })
        .await;
        assert_eq!(operator.value("SELECT 7").await, b"7", "{flavor}");
        timeout(Duration::from_secs(60), bed.stop()).await.unwrap();
    }
}

/// Whether the session runs a statement.
fn reads_events(bed: &Bed, id: u32) -> bool {
    let session = bed.weir.context.sessions.find(id).expect("a session");
    session.view(std::time::Instant::now()).phase == "running"
}
