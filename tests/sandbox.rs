//! The sandbox keeps its promises: replication, lag on demand, crashes, and nothing left behind.
//!
//! `WEIR_REQUIRE=mariadb,mysql9` makes a missing server family a failure instead of a skipped test.

#![allow(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]

mod bed;

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bed::{PATIENCE, is_tested};
use mysql_async::prelude::Queryable;
use tokio::time::timeout;
use weir::sandbox::{APP, Cluster, Flavor, PROBE, SandboxError, Server};

fn any_flavor() -> Option<Flavor> {
    Flavor::ALL.into_iter().find(|flavor| is_tested(*flavor))
}

fn process_exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

async fn count(server: &Server) -> Result<i64, SandboxError> {
    let rows = server.rows("SELECT COUNT(*) FROM app.t").await?;
    Ok(rows[0].get(0).unwrap())
}

#[tokio::test]
async fn a_mariadb_cluster_replicates_and_goes_away() {
    if is_tested(Flavor::MariaDb) {
        live_and_die(Flavor::MariaDb).await.unwrap();
    }
}

#[tokio::test]
async fn a_mysql_cluster_replicates_and_goes_away() {
    if is_tested(Flavor::MySql9) {
        live_and_die(Flavor::MySql9).await.unwrap();
    }
}

async fn live_and_die(flavor: Flavor) -> Result<(), SandboxError> {
    let mut cluster = Cluster::start(flavor, 2).await?;
    replicates(&cluster).await?;
    lags_on_demand(&cluster).await?;
    survives_a_kill(&cluster).await?;
    stops_and_starts(&cluster).await?;
    freezes(&cluster).await?;
    lets_users_in(&cluster).await?;
    fails_over(&mut cluster).await?;

    let folders: Vec<_> = cluster.servers().map(|server| server.folder().to_owned()).collect();
    let processes: Vec<_> = cluster.servers().map(|server| server.pid().unwrap()).collect();
    assert_eq!((folders.len(), processes.len()), (3, 3));
    cluster.replicas[0].freeze().await?;
    drop(cluster);
    for folder in folders {
        assert!(!folder.exists(), "{}", folder.display());
    }
    for pid in processes {
        assert!(!process_exists(pid), "process {pid}");
    }
    Ok(())
}

async fn replicates(cluster: &Cluster) -> Result<(), SandboxError> {
    cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await?;
    cluster.writer.exec("INSERT INTO app.t VALUES (1)").await?;
    cluster.wait_caught_up().await?;
    for replica in &cluster.replicas {
        assert_eq!(count(replica).await?, 1, "server {}", replica.id());
    }
    Ok(())
}

async fn lags_on_demand(cluster: &Cluster) -> Result<(), SandboxError> {
    cluster.stop_sql_thread(0).await?;
    cluster.writer.exec("INSERT INTO app.t VALUES (2)").await?;
    let late = timeout(Duration::from_millis(300), cluster.wait_caught_up()).await;
    assert!(late.is_err(), "a stopped replica catches up: {late:?}");
    assert_eq!(count(&cluster.replicas[0]).await?, 1, "stopped");
    cluster.start_sql_thread(0).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(&cluster.replicas[0]).await?, 2, "started");

    cluster.delay(1, 3600).await?;
    cluster.writer.exec("INSERT INTO app.t VALUES (3)").await?;
    let late = timeout(Duration::from_millis(300), cluster.wait_caught_up()).await;
    assert!(late.is_err(), "a delayed replica catches up: {late:?}");
    cluster.delay(1, 0).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(&cluster.replicas[1]).await?, 3, "no longer delayed");
    Ok(())
}

/// What was committed is still there, and replication goes on by itself.
async fn survives_a_kill(cluster: &Cluster) -> Result<(), SandboxError> {
    let port = cluster.writer.port();
    cluster.writer.kill().await?;
    assert_eq!(cluster.writer.pid(), None);
    assert!(cluster.writer.exec("SELECT 1").await.is_err());
    assert!(matches!(cluster.writer.stop().await, Err(SandboxError::NotRunning { .. })));
    cluster.writer.start().await?;
    assert!(matches!(cluster.writer.start().await, Err(SandboxError::Running { .. })));
    assert_eq!(cluster.writer.port(), port);
    assert_eq!(count(&cluster.writer).await?, 3, "after the kill");
    cluster.writer.exec("INSERT INTO app.t VALUES (4)").await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(&cluster.replicas[0]).await?, 4, "replicated after the kill");
    Ok(())
}

async fn stops_and_starts(cluster: &Cluster) -> Result<(), SandboxError> {
    let replica = &cluster.replicas[0];
    replica.stop().await?;
    cluster.writer.exec("INSERT INTO app.t VALUES (5)").await?;
    replica.start().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(replica).await?, 5, "restarted replica");
    Ok(())
}

async fn freezes(cluster: &Cluster) -> Result<(), SandboxError> {
    let replica = &cluster.replicas[1];
    replica.freeze().await?;
    let answer = timeout(Duration::from_millis(300), replica.exec("SELECT 1")).await;
    assert!(answer.is_err(), "a frozen server answers: {answer:?}");
    replica.thaw()?;
    replica.exec("SELECT 1").await
}

/// Over TCP, as clients come; and a replica takes no write from them.
async fn lets_users_in(cluster: &Cluster) -> Result<(), SandboxError> {
    let mut app = cluster.writer.connect_as(APP).await?;
    for sql in [
        "CREATE TEMPORARY TABLE app.tmp (id INT)",
        "CREATE TABLE app2.t (id INT)",
        "CREATE PROCEDURE app.p() SELECT 1",
        "CALL app.p()",
        "SELECT COUNT(*) FROM mysql.user",
        "FLUSH TABLES",
    ] {
        app.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let mut app = cluster.replicas[0].connect_as(APP).await?;
    let refused = app.query_drop("INSERT INTO app.t VALUES (99)").await;
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("1290")), "{refused:?}");

    let mut probe = cluster.replicas[0].connect_as(PROBE).await?;
    let (status, position) = match cluster.flavor() {
        Flavor::MariaDb => ("SHOW ALL SLAVES STATUS", "SELECT @@gtid_slave_pos, @@gtid_binlog_pos, @@read_only"),
        Flavor::MySql9 => ("SHOW REPLICA STATUS", "SELECT @@gtid_executed, @@read_only"),
    };
    for sql in [status, position] {
        let rows: Vec<mysql_async::Row> = probe.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.len(), 1, "{sql}");
    }
    Ok(())
}

async fn fails_over(cluster: &mut Cluster) -> Result<(), SandboxError> {
    cluster.wait_caught_up().await?;
    cluster.writer.kill().await?;
    cluster.promote(1).await?;
    assert_eq!((cluster.writer.id(), cluster.replicas[1].id()), (3, 1));
    cluster.writer.connect_as(APP).await?.query_drop("INSERT INTO app.t VALUES (6)").await.unwrap();
    cluster.replicas[1].start().await?;
    cluster.rejoin(1).await?;
    cluster.wait_caught_up().await?;
    for replica in &cluster.replicas {
        assert_eq!(count(replica).await?, 6, "server {}", replica.id());
    }
    let refused = cluster.replicas[1].connect_as(APP).await?.query_drop("INSERT INTO app.t VALUES (99)").await;
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("1290")), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_panic_leaves_nothing_behind() {
    let Some(flavor) = any_flavor() else { return };
    let (told, hears) = std::sync::mpsc::channel();
    let task = tokio::spawn(async move {
        let cluster = Cluster::start(flavor, 0).await.unwrap();
        told.send((cluster.writer.folder().to_owned(), cluster.writer.pid().unwrap())).unwrap();
        panic!("on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    let (folder, pid) = hears.recv().unwrap();
    assert!(!folder.exists(), "{}", folder.display());
    assert!(!process_exists(pid), "process {pid}");
}

#[tokio::test]
async fn servers_die_with_a_killed_process_and_the_next_one_sweeps() {
    let Some(flavor) = any_flavor() else { return };
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_server_held_until_killed", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
    let held = lines.find_map(|line| line.strip_prefix("held: ").map(str::to_owned)).unwrap();
    let (pid, folder) = held.split_once(' ').unwrap();
    let pid: u32 = pid.parse().unwrap();
    assert!(process_exists(pid) && Path::new(folder).exists(), "{held}");

    holder.kill().unwrap();
    holder.wait().unwrap();
    let gone = async {
        while process_exists(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    Cluster::start(flavor, 0).await.unwrap();
    assert!(!Path::new(folder).exists(), "{folder}");
}

#[tokio::test]
#[ignore = "another test runs it in a process of its own, and kills that"]
async fn a_server_held_until_killed() {
    let cluster = Cluster::start(any_flavor().unwrap(), 0).await.unwrap();
    println!("\nheld: {} {}", cluster.writer.pid().unwrap(), cluster.writer.folder().display());
    std::io::stdin().read_to_string(&mut String::new()).unwrap();
}
