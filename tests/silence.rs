//! Servers that say nothing: what was lost on the way ends, and what takes its time is waited for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::{Duration, Instant};

use bed::{
    Bed, flavors,
    readers::{ROWS, broken_bed, fill},
    relay::{Fault, Line, Relay},
    server_error, until,
};
use mysql_async::prelude::*;
use weir::{
    config::State,
    sandbox::{PROBE, Server},
};

const SOON: &str = "[timeouts]\nserver_silence = \"500ms\"\n";

/// Neither end hears of it, and the probes find both well.
#[tokio::test]
async fn a_statement_or_a_reply_that_is_lost_before_the_client_saw_any_of_it_ends() {
    for flavor in flavors() {
        let (bed, relays, _conn) = broken_bed(flavor, SOON).await;
        let mut lost = Vec::new();
        // How often a write is executed then.
        let faults = [(Fault::LoseRequest, 0), (Fault::Stall(0), 1), (Fault::StallInPacket(0), 1)];
        for (number, (fault, times)) in (1001..).zip(faults) {
            let what = format!("{flavor}: {fault:?}");
            let (mut reading, mut writing) = (bed.connect().await, bed.connect().await);
            let [read, write] = [format!("/*read {number}*/"), format!("/*write {number}*/")];
            relays[1].on(&read, fault.clone());
            relays[0].on(&write, fault);
            lost.push(tokio::spawn(async move {
                let (read, written) = tokio::join!(
                    reading.query_first::<u32, _>(format!("{read} SELECT COUNT(*) FROM t WHERE id < 1000")),
                    writing.query_drop(format!("{write} INSERT INTO t VALUES ({number}, 'a')"))
                );
                assert_eq!(read.unwrap(), Some(ROWS), "{what}: it was asked elsewhere");
                assert_eq!(server_error(&written.unwrap_err()).0, 2013, "{what}: nobody knows");
                let count = format!("SELECT COUNT(*) FROM t WHERE id = {number}");
                assert_eq!(writing.query_first::<u32, _>(count).await.unwrap(), Some(times), "{what}");
            }));
            until("the statements are there", async || !relays.iter().any(Relay::is_armed)).await;
        }
        let mut inside = bed.connect().await;
        inside.query_drop("BEGIN").await.unwrap();
        inside.query_drop("INSERT INTO t VALUES (1010, 'a')").await.unwrap();
        relays[0].on("COMMIT", Fault::LoseRequest);
        assert_eq!(server_error(&inside.query_drop("COMMIT").await.unwrap_err()).0, 2013, "{flavor}");
        for lost in lost {
            lost.await.unwrap();
        }
        // The row is locked for as long as the server takes the transaction for open.
        let mut conn = bed.connect().await;
        conn.query_drop("INSERT INTO t VALUES (1010, 'b')").await.unwrap();
        drop((conn, _conn));
        bed.stop().await;
    }
}

/// Who is asked instead knows nothing of the statement, which runs.
#[tokio::test]
async fn a_statement_is_not_asked_about_where_another_server_answers_at_the_address() {
    for flavor in flavors() {
        let (bed, relays, _conn) = broken_bed(flavor, SOON).await;
        let mut conn = bed.connect().await;
        relays[1].on("SLEEP", Fault::Stall(usize::MAX));
        let statement = "/* weir:server=db1 */ SELECT @@port FROM (SELECT SLEEP(8)) AS slept";
        let slow = tokio::spawn(async move { conn.query_first::<u16, _>(statement).await });
        until("it was sent", async || !relays[1].is_armed()).await;
        relays[1].set(Line::Diverted(bed.cluster.writer.address()));
        assert_eq!(slow.await.unwrap().unwrap(), Some(bed.cluster.replicas[0].port()), "{flavor}");
        drop(_conn);
        bed.stop().await;
    }
}

/// It waits for a lock that the test has.
#[tokio::test]
async fn what_runs_on_a_server_that_gets_nothing_new_goes_on() {
    for flavor in flavors() {
        let extra = "[reads]\nmax_lag = \"1s\"\n[timeouts]\nserver_silence = \"1s\"\ndrain = \"10m\"\n";
        let (bed, relays, mut writing) = broken_bed(flavor, extra).await;
        let replica = &bed.cluster.replicas[0];
        // On a busy machine, probes that take long would find it dead.
        let text = std::fs::read_to_string(bed.config_file()).unwrap();
        let text = text.replace("interval = \"200ms\"", "interval = \"200ms\"\ntimeout = \"10m\"");
        bed.edit(&text);
        until("the reload", async || bed.weir.context.config.load().probe.timeout.as_secs() == 600).await;
        let mut gate = replica.connect().await.unwrap();
        gate.query_drop("DO GET_LOCK('gate', 0)").await.unwrap();
        let mut conn = bed.connect().await;
        relays[1].on("gate", Fault::Stall(usize::MAX));
        let statement = "/* weir:server=db1 */ SELECT GET_LOCK('gate', 600)";
        let waiting = tokio::spawn(async move { conn.query_first::<u32, _>(statement).await });
        until("it was sent", async || !relays[1].is_armed()).await;

        bed.cluster.delay(0, 60).await.unwrap();
        until(&format!("{flavor}: it lags"), async || {
            writing.query_drop("INSERT INTO t (v) VALUES ('new')").await.unwrap();
            !bed.serves("db1")
        })
        .await;
        bed.cluster.delay(0, 0).await.unwrap();
        bed.until_serves("db1", true).await;

        refuse_probes(&bed.cluster.writer, "LOCK").await;
        bed.cluster.wait_caught_up().await.unwrap();
        end_probes(replica).await;
        let health = || bed.weir.context.cluster.load().members[1].server.report().health.clone();
        until(&format!("{flavor}: it is down"), async || health().starts_with("down")).await;
        assert!(!waiting.is_finished(), "{flavor}: it waits");
        refuse_probes(&bed.cluster.writer, "UNLOCK").await;
        bed.until_serves("db1", true).await;

        bed.edit(&text.replace("role = \"replica\"", "role = \"replica\"\nstate = \"drain\""));
        until("it is drained", async || bed.weir.context.config.load().servers[1].state == State::Drain).await;
        gate.query_drop("DO RELEASE_LOCK('gate')").await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), Some(1), "{flavor}");
        assert_eq!(bed.weir.context.metrics.total(|shard| &shard.retries), 0, "{flavor}: it ran on");
        drop((writing, gate));
        bed.stop().await;
    }
}

/// On every server.
async fn refuse_probes(writer: &Server, how: &str) {
    writer.exec(&format!("ALTER USER {}@'%' ACCOUNT {how}", PROBE.name)).await.unwrap();
}

/// Those of the user's connections that are open.
async fn end_probes(server: &Server) {
    for row in server.rows("SHOW PROCESSLIST").await.unwrap() {
        let (id, user): (u64, String) = (row.get("Id").unwrap(), row.get("User").unwrap());
        if user == PROBE.name {
            server.exec(&format!("KILL {id}")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_reply_that_stops_in_the_middle_ends_while_its_server_is_well() {
    for flavor in flavors() {
        let (bed, relays, _conn) = broken_bed(flavor, SOON).await;
        let mut conn = bed.connect().await;
        relays[1].on("/*here*/", Fault::StallInPacket(20_000));
        let answer = conn.query_drop("/*here*/ SELECT id, v FROM t ORDER BY id").await;
        assert!(!relays[1].is_armed(), "{flavor}: the statement went there");
        assert!(matches!(answer, Err(mysql_async::Error::Io(_))), "{flavor}: {answer:?}");
        drop((conn, _conn));
        bed.stop().await;
    }
}

/// Where one has begun, the server pauses in the middle of a packet for each row: its buffer is full then.
#[tokio::test]
async fn a_reply_that_takes_its_time_is_waited_for() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, SOON).await;
        let (mut begun, mut reading, mut writing) = (fill(&bed).await, bed.connect().await, bed.connect().await);
        let began = Instant::now();
        let (rows, read, written) = tokio::join!(
            begun.query::<(String, u32), _>("SELECT REPEAT('x', 20000), SLEEP(2) FROM t ORDER BY id LIMIT 5"),
            reading.query_first::<u32, _>("SELECT SLEEP(9)"),
            writing.query_drop("UPDATE t SET v = '' WHERE id = 1 AND SLEEP(9) = 0")
        );
        assert_eq!(rows.unwrap().len(), 5, "{flavor}");
        assert_eq!(read.unwrap(), Some(0), "{flavor}");
        written.unwrap();
        assert!(began.elapsed() > Duration::from_secs(9), "{flavor}: they took their time");
        assert_eq!(bed.weir.context.metrics.total(|shard| &shard.retries), 0, "{flavor}");
        drop((begun, reading, writing));
        bed.stop().await;
    }
}
