//! Probes against real servers: roles, replication, positions, TLS, missing grants, servers that hang.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod bed;

use std::time::Duration;

use bed::{PATIENCE, is_tested, until};
use mysql_async::{Conn, prelude::Queryable};
use weir::{
    backend::{
        driver::Target,
        observation::{Observation, Replication},
        probe::{ProbeError, probe},
    },
    config::{Address, Secret, ServerTls, ServerTlsMode},
    sandbox::{Account, Cluster, Flavor, PROBE, SandboxError, Server},
    sql::Dialect,
};

const TIMEOUT: Duration = PATIENCE;

#[tokio::test]
async fn mariadb_servers_are_probed() {
    if is_tested(Flavor::MariaDb) {
        probes(Flavor::MariaDb).await.unwrap();
    }
}

#[tokio::test]
async fn mysql_servers_are_probed() {
    if is_tested(Flavor::MySql9) {
        probes(Flavor::MySql9).await.unwrap();
    }
}

async fn probes(flavor: Flavor) -> Result<(), SandboxError> {
    let cluster = Cluster::start(flavor, 1).await?;
    let replica = &cluster.replicas[0];
    sees_roles(&cluster).await?;
    speaks_the_servers_notation(&cluster).await?;
    does_without_a_grant(&cluster).await?;
    keeps_the_connection(replica).await?;
    encrypts_as_told(&cluster.writer).await;
    sees_a_stopped_applier(&cluster).await?;
    sees_a_lost_source(&cluster).await?;
    keeps_own_writes_apart(&cluster).await
}

async fn sees_roles(cluster: &Cluster) -> Result<(), SandboxError> {
    cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await?;
    cluster.wait_caught_up().await?;

    let writer = observe(&cluster.writer).await;
    assert_eq!(writer.dialect, if cluster.flavor() == Flavor::MariaDb { Dialect::MariaDb } else { Dialect::MySql });
    assert!(!writer.read_only, "{writer:?}");
    assert_eq!(writer.replication, Replication::NotAReplica);
    assert_eq!(writer.missing_grant, None);
    assert_eq!(writer.position.as_ref().map(ToString::to_string), Some(cluster.position().await?));

    // Seconds are counted until the applier has noticed that there is nothing more.
    until("there is no lag", async || observe(&cluster.replicas[0]).await.lag == Some(Duration::ZERO)).await;
    let replica = observe(&cluster.replicas[0]).await;
    assert!(replica.read_only, "{replica:?}");
    assert_eq!(replica.replication, Replication::Running);
    assert_eq!(replica.sources, std::slice::from_ref(&writer.identity));
    assert!(has_all_of(&replica, &writer), "{replica:?} {writer:?}");
    Ok(())
}

/// Texts of positions are understood by the server's own wait function, also with several sources and tags.
async fn speaks_the_servers_notation(cluster: &Cluster) -> Result<(), SandboxError> {
    let (other_source, wait) = match cluster.flavor() {
        Flavor::MariaDb => ("SET gtid_domain_id = 7", "MASTER_GTID_WAIT"),
        Flavor::MySql9 => ("SET gtid_next = 'AUTOMATIC:weir'", "WAIT_FOR_EXECUTED_GTID_SET"),
    };
    let mut conn = cluster.writer.connect().await?;
    conn.query_drop(other_source).await.unwrap();
    conn.query_drop("INSERT INTO app.t VALUES (7)").await.unwrap();
    conn.disconnect().await.unwrap();

    let position = observe(&cluster.writer).await.position.unwrap();
    assert_eq!(position.to_string(), cluster.position().await?.replace('\n', ""));
    let rows = cluster.replicas[0].rows(&format!("SELECT {wait}('{position}', 10)")).await?;
    assert_eq!(rows[0].get::<i64, _>(0), Some(0), "{position}");
    assert!(observe(&cluster.replicas[0]).await.position.unwrap().covers(&position));
    Ok(())
}

async fn does_without_a_grant(cluster: &Cluster) -> Result<(), SandboxError> {
    const NOBODY: Account = Account { name: "nobody", password: "nobody-secret" };
    cluster.writer.exec("CREATE USER nobody@'%' IDENTIFIED BY 'nobody-secret'").await?;
    cluster.wait_caught_up().await?;

    let replica = probe(&mut None, &target(&cluster.replicas[0], NOBODY), TIMEOUT).await.unwrap();
    let grant = if cluster.flavor() == Flavor::MariaDb { "SLAVE MONITOR" } else { "REPLICATION CLIENT" };
    assert_eq!(replica.missing_grant.as_deref(), Some(grant));
    assert_eq!((&replica.replication, replica.lag), (&Replication::Unknown, None));
    assert!(replica.read_only && has_all_of(&replica, &observe(&cluster.writer).await), "{replica:?}");

    // The grant that is named is the grant that helps.
    cluster.writer.exec(&format!("GRANT {grant} ON *.* TO nobody@'%'")).await?;
    cluster.wait_caught_up().await?;
    let replica = probe(&mut None, &target(&cluster.replicas[0], NOBODY), TIMEOUT).await.unwrap();
    assert_eq!((replica.missing_grant, replica.replication), (None, Replication::Running));

    let wrong = Account { name: "nobody", password: "guess" };
    let refused = probe(&mut None, &target(&cluster.replicas[0], wrong), TIMEOUT).await.unwrap_err();
    assert!(refused.to_string().contains("1045"), "{refused}");
    Ok(())
}

async fn keeps_the_connection(server: &Server) -> Result<(), SandboxError> {
    let target = target(server, PROBE);
    let mut conn = None;
    probe(&mut conn, &target, TIMEOUT).await.unwrap();
    let first = conn.as_ref().map(Conn::id);
    probe(&mut conn, &target, TIMEOUT).await.unwrap();
    assert!(first.is_some() && conn.as_ref().map(Conn::id) == first);

    server.freeze().await?;
    let deadline = Duration::from_millis(300);
    for _ in 0..2 {
        let hung = probe(&mut conn, &target, deadline).await.unwrap_err();
        assert!(matches!(hung, ProbeError::Timeout(_)), "{hung}");
        assert!(conn.is_none());
    }
    server.thaw()?;
    probe(&mut conn, &target, TIMEOUT).await.unwrap();

    let thread = conn.as_ref().map_or(0, Conn::id);
    server.exec(&format!("KILL {thread}")).await?;
    let left = format!("SELECT id FROM information_schema.processlist WHERE id = {thread}");
    until("it is gone", async || server.rows(&left).await.unwrap().is_empty()).await;
    probe(&mut conn, &target, TIMEOUT).await.unwrap_err();
    probe(&mut conn, &target, TIMEOUT).await.unwrap();
    Ok(())
}

/// MySQL makes itself a certificate, MariaDB 10.11 has no TLS unless told.
async fn encrypts_as_told(server: &Server) {
    let has_tls = server.flavor() == Flavor::MySql9;
    let cases = [
        (ServerTlsMode::Disabled, Some(false)),
        (ServerTlsMode::Preferred, Some(has_tls)),
        (ServerTlsMode::Required, has_tls.then_some(true)),
        // Not signed by anyone that is known.
        (ServerTlsMode::VerifyCa, None),
        (ServerTlsMode::VerifyIdentity, None),
    ];
    for (mode, expected) in cases {
        let mut target = target(server, PROBE);
        target.tls.mode = mode;
        let result = probe(&mut None, &target, TIMEOUT).await;
        assert_eq!(result.as_ref().ok().map(|observation| observation.tls), expected, "{mode:?}: {result:?}");
    }
    let socket = Target { address: Address::Unix(server.socket()), ..target(server, PROBE) };
    assert!(!probe(&mut None, &socket, TIMEOUT).await.unwrap().tls);
}

async fn sees_a_stopped_applier(cluster: &Cluster) -> Result<(), SandboxError> {
    cluster.stop_sql_thread(0).await?;
    cluster.writer.exec("INSERT INTO app.t VALUES (1)").await?;
    let (writer, replica) = (observe(&cluster.writer).await, observe(&cluster.replicas[0]).await);
    assert!(matches!(replica.replication, Replication::Stopped { .. }), "{replica:?}");
    assert_eq!(replica.lag, None);
    assert!(!has_all_of(&replica, &writer), "{replica:?} {writer:?}");

    cluster.start_sql_thread(0).await?;
    cluster.wait_caught_up().await?;
    let replica = observe(&cluster.replicas[0]).await;
    assert_eq!(replica.replication, Replication::Running);
    assert!(has_all_of(&replica, &writer), "{replica:?} {writer:?}");
    Ok(())
}

async fn sees_a_lost_source(cluster: &Cluster) -> Result<(), SandboxError> {
    cluster.writer.kill().await?;
    let refused = probe(&mut None, &target(&cluster.writer, PROBE), TIMEOUT).await.unwrap_err();
    assert!(matches!(refused, ProbeError::Connect(_)), "{refused}");

    until("the replica tells why it is cut off", async || {
        let replication = observe(&cluster.replicas[0]).await.replication;
        matches!(replication, Replication::Disconnected { why } if !why.is_empty())
    })
    .await;
    Ok(())
}

/// A write of the replica's own, in its own binary log, is not the writer's.
async fn keeps_own_writes_apart(cluster: &Cluster) -> Result<(), SandboxError> {
    cluster.writer.start().await?;
    let replica = &cluster.replicas[0];
    cluster.stop_sql_thread(0).await?;
    cluster.writer.exec("INSERT INTO app.t VALUES (2)").await?;
    replica.exec("SET GLOBAL read_only = 0").await?;
    replica.exec("CREATE TABLE app2.own (id INT)").await?;
    replica.exec("SET GLOBAL read_only = 1").await?;
    let (replica, writer) = (observe(replica).await, observe(&cluster.writer).await);
    assert!(!has_all_of(&replica, &writer), "{replica:?} {writer:?}");
    Ok(())
}

fn target(server: &Server, account: Account) -> Target {
    Target {
        address: Address::Tcp { host: "127.0.0.1".into(), port: server.port() },
        user: account.name.into(),
        password: Secret::new(account.password.into()),
        tls: ServerTls { mode: ServerTlsMode::Preferred, ca: None, cert: None, key: None },
    }
}

async fn observe(server: &Server) -> Observation {
    probe(&mut None, &target(server, PROBE), TIMEOUT).await.unwrap()
}

fn has_all_of(replica: &Observation, writer: &Observation) -> bool {
    let (Some(has), Some(required)) = (&replica.position, &writer.position) else { return false };
    has.covers(required)
}
