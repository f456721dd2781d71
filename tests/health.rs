//! Replicas die, freeze, drag and return, and no client notices; every session advances on a busy machine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{process::Command, time::Duration};

use bed::{
    Bed, flavors,
    readers::{ROWS, Readers, broken_bed, fill},
    relay::{Fault, Line, Relay},
    server_error, until,
};
use mysql_async::prelude::*;
use weir::{sandbox::Cluster, telemetry::Reason};

const QUICK_PROBES: &str = "[timeouts]\nconnect = \"2s\"\n";

/// Breaks the first replica in one way and mends it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Killed,
    Frozen,
    Stopped,
    PortClosed,
    Silent,
}

impl Trouble {
    const ALL: [Self; 5] = [Self::Killed, Self::Frozen, Self::Stopped, Self::PortClosed, Self::Silent];

    async fn begin(self, bed: &Bed, relay: &Relay) {
        let replica = &bed.cluster.replicas[0];
        match self {
            Self::Killed => replica.kill().await.unwrap(),
            Self::Frozen => replica.freeze().await.unwrap(),
            Self::Stopped => replica.stop().await.unwrap(),
            Self::PortClosed => relay.set(Line::Closed),
            Self::Silent => relay.set(Line::Silent),
        }
    }

    async fn end(self, bed: &Bed, relay: &Relay) {
        let replica = &bed.cluster.replicas[0];
        match self {
            Self::Killed | Self::Stopped => replica.start().await.unwrap(),
            Self::Frozen => replica.thaw().unwrap(),
            Self::PortClosed | Self::Silent => relay.set(Line::Open),
        }
    }
}

#[tokio::test]
async fn a_replica_leaves_and_returns_and_no_client_notices() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 2).await.unwrap();
        let (bed, relays) = Bed::with_relays(cluster, QUICK_PROBES).await;
        drop(fill(&bed).await);
        let readers = Readers::start(&bed, 6).await;
        for trouble in Trouble::ALL {
            let what = format!("{flavor} {trouble:?}");
            bed.until_serves("db1", true).await;
            trouble.begin(&bed, &relays[1]).await;
            bed.until_serves("db1", false).await;
            readers.go_on(30, &what).await;
            trouble.end(&bed, &relays[1]).await;
            bed.until_serves("db1", true).await;
            let member = bed.weir.context.cluster.load().members[1].clone();
            assert!(member.effective_weight < member.weight, "{what}: it starts slowly");
            let before = bed.served("db1").0;
            until(&format!("{what}: it serves again"), async || bed.served("db1").0 > before || readers.any_failed())
                .await;
        }
        relays[1].set(Line::Slow(Duration::from_millis(200)));
        readers.go_on(30, "a replica is slow").await;
        readers.end(flavor.name()).await;
        bed.stop().await;
    }
}

#[tokio::test]
async fn without_replicas_the_writer_serves_unless_it_may_not() {
    for flavor in flavors() {
        for (fallback, expected) in [("true", Ok(Some(ROWS))), ("false", Err(2003))] {
            // To refuse is to refuse at once: nobody waits for an hour.
            let extra = format!("[reads]\nwriter_fallback = {fallback}\n[failover]\nhold = \"1h\"\n");
            let bed = Bed::start(flavor, &extra).await;
            let mut conn = fill(&bed).await;
            for (replica, name) in bed.cluster.replicas.iter().zip(["db1", "db2"]) {
                replica.kill().await.unwrap();
                bed.until_serves(name, false).await;
            }
            let answer = conn.query_first::<u32, _>("SELECT COUNT(*) FROM t").await;
            assert_eq!(answer.map_err(|error| server_error(&error).0), expected, "{flavor}: fallback {fallback}");
            if fallback == "true" {
                // A statement is counted when it is over, which the client hears first.
                until("the read is counted", async || bed.count(Reason::NoReplica) == 1).await;
            }
            conn.query_drop("DELETE FROM t WHERE id = 1").await.unwrap();
            drop(conn);
            bed.stop().await;
        }
    }
}

#[tokio::test]
async fn statements_on_a_server_that_freezes_come_back() {
    for flavor in flavors() {
        let (bed, relays, conn) = broken_bed(flavor, "[failover]\nhold = \"60s\"\n").await;
        let mut reading = bed.connect().await;
        let mut begun = bed.connect().await;
        let mut inside = bed.connect().await;
        inside.query_drop("START TRANSACTION READ ONLY").await.unwrap();
        inside.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
        // A reply of which the client has seen the beginning, and one of which it has seen nothing.
        relays[1].on("/*begun*/", Fault::Stall(20_000));
        let begun = tokio::spawn(async move { begun.query_drop("/*begun*/ SELECT id, v FROM t ORDER BY id").await });
        until("the reply has begun", async || !relays[1].is_armed()).await;
        relays[1].on("/*fresh*/", Fault::Stall(0));
        let fresh =
            tokio::spawn(async move { reading.query_first::<u32, _>("/*fresh*/ SELECT COUNT(*) FROM t").await });
        until("the other reply has not", async || !relays[1].is_armed()).await;
        bed.cluster.replicas[0].freeze().await.unwrap();
        assert_eq!(fresh.await.unwrap().unwrap(), Some(ROWS), "{flavor}: it was repeated");
        match begun.await.unwrap() {
            Err(mysql_async::Error::Io(_)) => {}
            Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 2013, "{flavor}"),
            other => panic!("{flavor}: a reply that had begun: {other:?}"),
        }
        // A transaction that comes with its next statement after the server was found dead.
        let failed = inside.query_drop("SELECT COUNT(*) FROM t").await.unwrap_err();
        assert_eq!(server_error(&failed).0, 2013, "{flavor}");
        bed.cluster.replicas[0].thaw().unwrap();

        // A write in flight on the writer: its error comes once the writer is found dead, and it may have been executed.
        let mut writing = bed.connect().await;
        relays[0].on("/*write*/", Fault::Stall(0));
        let write = tokio::spawn(async move {
            let failed = writing.query_drop("/*write*/ INSERT INTO t VALUES (1001, 'a')").await.unwrap_err();
            assert_eq!(server_error(&failed).0, 2013);
            writing.query_first::<u32, _>("SELECT COUNT(*) FROM t WHERE id = 1001").await
        });
        until("the write was sent", async || !relays[0].is_armed()).await;
        bed.cluster.writer.freeze().await.unwrap();
        until("the writer is down", async || bed.writer().is_none()).await;
        bed.cluster.writer.thaw().unwrap();
        assert_eq!(write.await.unwrap().unwrap(), Some(1), "{flavor}");
        drop((conn, inside));
        bed.stop().await;
    }
}

/// Processes that do nothing but take the processors' time, for a minute at most.
struct Busy(Vec<std::process::Child>);

impl Busy {
    fn start(count: usize) -> Self {
        let one = || Command::new("timeout").args(["60", "sh", "-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..count).map(|_| one()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // `timeout` passes the signal on to what it runs, unless it is killed itself.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

#[tokio::test]
async fn every_session_advances_beside_busy_processes() {
    let flavor = flavors()[0];
    let bed = Bed::start(flavor, "").await;
    drop(fill(&bed).await);
    let sessions: Vec<Readers> = {
        let mut sessions = Vec::new();
        for _ in 0..24 {
            sessions.push(Readers::start(&bed, 1).await);
        }
        sessions
    };
    let busy = Busy::start(40);
    for (number, session) in sessions.iter().enumerate() {
        session.go_on(3, &format!("session {number}")).await;
    }
    drop(busy);
    for session in sessions {
        session.end("beside busy processes").await;
    }
    bed.stop().await;
}
