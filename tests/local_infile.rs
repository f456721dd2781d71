//! `LOAD DATA LOCAL INFILE`: files go from clients to servers where both sides agreed to it, whole and without piling up,
//! and no server gets a file that the client's statement did not name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::Duration;

use bed::{
    Bed, PATIENCE,
    fake::packet,
    flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
    readers::broken_bed,
    relay::Fault,
    stock, until,
};
use mysql_async::{Conn, WhiteListFsHandler, prelude::*};
use tokio::time::timeout;
use weir::{
    protocol::{Capabilities, MAX_PAYLOAD},
    sandbox::{Cluster, Flavor},
};

const LOAD: &str = "LOAD DATA LOCAL INFILE 'numbers' INTO TABLE n";

fn willing() -> Card {
    Card::app(MODERN.with(Capabilities::LOCAL_FILES))
}

/// Lets the server have these packets as its file; returns the reply behind it.
async fn load(raw: &mut Raw, sql: &str, file: &[Vec<u8>]) -> Vec<Vec<u8>> {
    assert_eq!(raw.ask_for_file(sql).await, b"numbers", "{sql}");
    for packet in file.iter().chain([&Vec::new()]) {
        raw.say(packet).await.unwrap();
    }
    raw.receive(Answer::Results).await
}

/// Lines of 16 bytes: `count` of them.
fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{number:015}\n").into_bytes()).collect()
}

#[tokio::test]
async fn files_of_every_shape_arrive_as_they_would_at_the_server() {
    let small: Vec<Vec<u8>> = lines(700).chunks(16).map(<[u8]>::to_vec).collect();
    // Servers refuse what is longer: max_allowed_packet is 16 MiB.
    let long: Vec<u8> =
        (0..MAX_PAYLOAD / 65_536).flat_map(|number| format!("{number:065535}\n").into_bytes()).collect();
    let cases: [(&str, Vec<Vec<u8>>, usize); 5] = [
        ("nothing", vec![], 0),
        ("one line", vec![lines(1)], 1),
        ("lines cut anywhere", lines(100).chunks(7).map(<[u8]>::to_vec).collect(), 100),
        ("more packets than numbers", small, 700),
        ("a great packet", vec![long, lines(1)], MAX_PAYLOAD / 65_536 + 1),
    ];
    for flavor in flavors() {
        let bed = Bed::start(flavor, "").await;
        let mut direct = Raw::connect(bed.cluster.writer.port(), &willing()).await.unwrap();
        direct.run("CREATE TABLE n (a MEDIUMTEXT)").await;
        let mut through = Raw::connect(bed.port(), &willing()).await.unwrap();
        for (name, file, count) in &cases {
            let expected = load(&mut direct, LOAD, file).await;
            direct.run("TRUNCATE n").await;
            assert_eq!(load(&mut through, LOAD, file).await, expected, "{flavor}: {name}");
            let counted = through.value("SELECT COUNT(*) FROM n").await;
            assert_eq!(counted, count.to_string().as_bytes(), "{flavor}: {name}: read after the write");
            through.run("TRUNCATE n").await;
        }
        // In the midst of other statements, and where the file is not what the table wants.
        let multi = format!("SELECT 1; {LOAD}; SELECT COUNT(*) FROM n; TRUNCATE n");
        let file = [lines(3)];
        assert_eq!(load(&mut through, &multi, &file).await, load(&mut direct, &multi, &file).await, "{flavor}");
        direct.run("CREATE TABLE one (a INT PRIMARY KEY)").await;
        let unfit = LOAD.replace("TABLE n", "TABLE one");
        let file = [b"1\n2\nx\n".to_vec(), b"3\n".to_vec()];
        load(&mut through, &unfit, &file).await;
        let warnings = through.query("SHOW WARNINGS").await;
        let again = load(&mut direct, &unfit, &file).await;
        assert_eq!(load(&mut through, &unfit, &file).await, again, "{flavor}: every line a duplicate");
        assert!(warnings.len() > 4, "{flavor}: a line that is no number: {warnings:?}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn the_ids_that_a_file_is_given_are_its_sessions() {
    for flavor in flavors() {
        // With one worker, sessions take turns on the same connection.
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "[runtime]\nworkers = 1\n").await;
        let mut one = Raw::connect(bed.port(), &willing()).await.unwrap();
        let mut other = Raw::connect(bed.port(), &willing()).await.unwrap();
        one.run("CREATE TABLE n (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(20))").await;
        one.run("INSERT INTO n VALUES (70, 'before')").await;
        other.run("INSERT INTO n (a) VALUES ('other')").await;
        load(&mut one, &format!("{LOAD} (a)"), &[lines(3)]).await;
        other.run("UPDATE n SET a = 'same'").await;
        for (who, raw, expected) in [("other", &mut other, "71"), ("one", &mut one, "72")] {
            let told = raw.value("SELECT LAST_INSERT_ID()").await;
            assert_eq!(told, expected.as_bytes(), "{flavor}: {who}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn both_sides_must_agree() {
    for flavor in flavors() {
        let unwilling = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "[limits]\nlocal_infile = false\n").await;
        unwilling.cluster.writer.exec("CREATE TABLE app.n (a VARCHAR(20))").await.unwrap();
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "").await;
        bed.cluster.writer.exec("CREATE TABLE app.n (a VARCHAR(20))").await.unwrap();
        for (what, bed, card) in [("the client", &bed, Card::app(MODERN)), ("the config", &unwilling, willing())] {
            let mut direct = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
            let mut through = Raw::connect(bed.port(), &card).await.unwrap();
            let refused = direct.query(LOAD).await;
            assert!(error(&refused).is_some(), "{flavor}: {what}");
            assert_eq!(through.query(LOAD).await, refused, "{flavor}: {what} does not agree");
        }
        bed.cluster.writer.exec("SET GLOBAL local_infile = OFF").await.unwrap();
        let mut direct = Raw::connect(bed.cluster.writer.port(), &willing()).await.unwrap();
        let mut through = Raw::connect(bed.port(), &willing()).await.unwrap();
        let refused = direct.query(LOAD).await;
        assert!(error(&refused).is_some(), "{flavor}: the server");
        assert_eq!(through.query(LOAD).await, refused, "{flavor}: the server does not agree");
        bed.stop().await;
        unwilling.stop().await;
    }
}

#[tokio::test]
async fn no_server_gets_a_file_that_was_not_named() {
    for flavor in flavors() {
        let (bed, relays, _conn) = broken_bed(flavor, "").await;
        bed.cluster.writer.exec("CREATE TABLE app.n (a VARCHAR(20))").await.unwrap();
        let mut raw = Raw::connect(bed.port(), &willing()).await.unwrap();
        for (sql, name) in [
            ("/*here*/ LOAD DATA LOCAL INFILE 'numbers' INTO TABLE n", "/etc/passwd"),
            ("/*here*/ LOAD DATA LOCAL INFILE 'numbers' INTO TABLE n", "numbers2"),
            ("/*here*/ UPDATE n SET a = 'numbers'", "numbers"),
        ] {
            let request = packet(1, &[b"\xFB", name.as_bytes()].concat());
            relays[0].on("/*here*/", Fault::Replace(request));
            assert_eq!(code(&raw.query(sql).await), (2013, "HY000".to_owned()), "{flavor}: {name} for {sql}");
            assert!(!relays[0].is_armed(), "{flavor}: {sql}");
            assert_eq!(raw.value("SELECT 7").await, b"7", "{flavor}: the session lives on");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_dies_meanwhile_costs_the_statement_only() {
    for flavor in flavors() {
        let (bed, relays, _conn) = broken_bed(flavor, "").await;
        bed.cluster.writer.exec("CREATE TABLE app.n (a VARCHAR(20))").await.unwrap();
        let mut raw = Raw::connect(bed.port(), &willing()).await.unwrap();
        relays[0].on("the marker", Fault::CutRequest);
        let file = [lines(10), b"the marker\n".to_vec(), lines(100_000), lines(10)];
        assert_eq!(code(&load(&mut raw, LOAD, &file).await), (2013, "HY000".to_owned()), "{flavor}");
        assert_eq!(raw.value("/* weir:writer */ SELECT COUNT(*) FROM n").await, b"0", "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_costs_its_session_only() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "").await;
        bed.cluster.writer.exec("CREATE TABLE app.n (a VARCHAR(20)) ENGINE = InnoDB").await.unwrap();
        let mut witness = bed.connect().await;
        let mut gone = Raw::connect(bed.port(), &willing()).await.unwrap();
        gone.ask_for_file(LOAD).await;
        gone.say(&lines(10)).await.unwrap();
        drop(gone);
        let mut confused = Raw::connect(bed.port(), &willing()).await.unwrap();
        confused.ask_for_file(LOAD).await;
        confused.send_bytes(&packet(77, b"1\n")).await;
        assert!(confused.is_closed().await, "{flavor}: packets out of order");
        until("only the witness is left", async || bed.weir.context.sessions.count() == 1).await;
        let count: Option<u32> = witness.query_first("SELECT COUNT(*) FROM n").await.unwrap();
        assert_eq!(count, Some(0), "{flavor}");
        let mut next = Raw::connect(bed.port(), &willing()).await.unwrap();
        load(&mut next, LOAD, &[lines(5)]).await;
        let count: Option<u32> = witness.query_first("SELECT COUNT(*) FROM n").await.unwrap();
        assert_eq!(count, Some(5), "{flavor}");
        drop(witness);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_the_client_up() {
    let flavor = flavors().into_iter().next().unwrap();
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    // A server that only stands still is not taken for dead.
    let text = bed::basics(&cluster).replace("interval = \"200ms\"", "interval = \"200ms\"\ntimeout = \"5m\"");
    let bed = Bed::with_config(cluster, &text).await;
    bed.cluster.writer.exec("CREATE TABLE app.n (a VARCHAR(20))").await.unwrap();
    let mut raw = Raw::connect(bed.port(), &willing()).await.unwrap();
    raw.ask_for_file(LOAD).await;
    bed.cluster.writer.freeze().await.unwrap();
    let (block, mut sent) = (lines(64 * 1024), 0);
    // What one write leaves undone must not be said twice, so the one that is held up is finished later.
    let mut held_up = None;
    while held_up.is_none() {
        assert!(sent < 64, "64 MiB went somewhere");
        let mut write = Box::pin(raw.say(&block));
        if timeout(Duration::from_millis(500), &mut write).await.is_ok() {
            drop(write);
            sent += 1;
        } else {
            bed.cluster.writer.thaw().unwrap();
            timeout(PATIENCE, write).await.unwrap().unwrap();
            held_up = Some(sent);
        }
    }
    raw.say(b"").await.unwrap();
    raw.receive(Answer::Results).await;
    let expected = (sent + 1) * 64 * 1024;
    assert_eq!(raw.value("SELECT COUNT(*) FROM n").await, expected.to_string().as_bytes());
    bed.stop().await;
}

#[tokio::test]
async fn a_driver_and_the_stock_clients_send_files() {
    let file = std::env::temp_dir().join(format!("weir-local-infile-{}", std::process::id()));
    std::fs::write(&file, lines(1000)).unwrap();
    for flavor in flavors() {
        let bed = Bed::start(flavor, "").await;
        bed.cluster.writer.exec("CREATE TABLE app.n (a VARCHAR(20))").await.unwrap();
        let options = bed.options().local_infile_handler(Some(WhiteListFsHandler::new([&file])));
        let mut conn = Conn::new(options).await.unwrap();
        conn.query_drop(LOAD.replace("numbers", file.to_str().unwrap())).await.unwrap();
        assert_eq!(conn.affected_rows(), 1000, "{flavor}");
        conn.query_drop("TRUNCATE n").await.unwrap();
        drop(conn);
        for family in [Flavor::MySql9, Flavor::MariaDb] {
            let Some(mut client) = stock::client(family, bed.port()) else { continue };
            let sql =
                format!("LOAD DATA LOCAL INFILE '{}' INTO TABLE n; SELECT COUNT(*) FROM n; TRUNCATE n", file.display());
            let output = client.args(["--local-infile=1", "app", "-e", &sql]).output().await.unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.stdout, b"1000\n", "{family} client of {flavor}: {complaint}");
        }
        bed.stop().await;
    }
    std::fs::remove_file(file).unwrap();
}
