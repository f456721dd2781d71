//! Cursors of prepared statements, on real servers: where they run, what ends them, and that clients see what one server
//! shows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../bed/mod.rs"]
mod bed;
mod client;
mod losses;
mod places;
mod sequences;
mod shortage;

use bed::{Bed, flavors, raw::MODERN};
use client::Client;
use sequences::{SEQUENCES, Say};
use weir::{protocol::Capabilities, sandbox::Cluster};

#[tokio::test]
async fn clients_see_what_one_server_shows() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        for capabilities in [MODERN, MODERN.without(Capabilities::DEPRECATE_EOF)] {
            // In what order servers tell what has changed depends on what is tracked.
            let capabilities = capabilities.without(Capabilities::SESSION_TRACK);
            for (why, sequence) in SEQUENCES {
                let direct = play(bed.cluster.writer.port(), capabilities, "direct", sequence).await;
                let weir = play(bed.port(), capabilities, "behind", sequence).await;
                for ((say, direct), weir) in sequence.iter().zip(&direct).zip(&weir) {
                    assert_eq!(weir, direct, "{flavor}: {why}: {say:?}");
                }
            }
        }
        let served = bed.served("db1").0;
        assert!(served > 4 * SEQUENCES.len() as u64, "{flavor}: the replica has served {served} reads");
        bed.stop().await;
    }
}

/// Plays a sequence in a schema of its own. Returns what is to be compared of the replies.
async fn play(port: u16, capabilities: Capabilities, schema: &str, sequence: &[Say]) -> Vec<Vec<String>> {
    let mut client = Client::connect(port, capabilities).await;
    for sql in ["DROP DATABASE IF EXISTS {}", "CREATE DATABASE {}", "USE {}"] {
        client.raw.run(sql.replace("{}", schema)).await;
    }
    client.raw.run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))").await;
    client.raw.run("INSERT INTO t (v) VALUES ('one'), ('two'), ('three'), ('four'), ('five')").await;
    let mut replies = Vec::new();
    for say in sequence {
        let mut reply = match *say {
            Say::Query(sql) => client.raw.query(sql).await,
            Say::Prepare(sql) => {
                client.prepare(sql).await;
                Vec::new()
            }
            Say::Open(slot) => client.open(slot).await,
            Say::Fetch(slot, rows) => client.fetch(slot, rows).await,
            Say::Reset(slot) => client.reset(slot).await,
            Say::Close(slot) => {
                client.close(slot).await;
                Vec::new()
            }
        };
        reply.iter_mut().for_each(hide_index_use);
        let shown = |packet: &Vec<u8>| {
            let text = packet.escape_ascii().to_string();
            // The schemas have one name, and ids are the server's own.
            match text.split_once("The statement (") {
                Some((head, tail)) => {
                    format!("{head}{}", tail.trim_start_matches(|digit: char| digit.is_ascii_digit()))
                }
                None => text.replace("direct", "behind"),
            }
        };
        replies.push(reply.iter().map(shown).collect());
    }
    replies
}

/// Whether an index was used goes by each server's own statistics.
fn hide_index_use(packet: &mut Vec<u8>) {
    match packet.as_mut_slice() {
        [0xFE, _, _, status, _] | [0xFE, 0, 0, status, ..] => *status &= !0x30,
        _ => {}
    }
}
