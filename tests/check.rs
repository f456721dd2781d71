//! `weir check` against real servers.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod bed;

use std::time::Duration;

use bed::{is_tested, until};
use weir::{
    cli::check::{Verdict, check},
    config::{Address, Auth, Config, Role, Secret, Server, User},
    sandbox::{APP, Cluster, Flavor, PROBE, SandboxError},
};

#[tokio::test]
async fn a_mariadb_cluster_is_checked() {
    if is_tested(Flavor::MariaDb) {
        checks(Flavor::MariaDb).await.unwrap();
    }
}

#[tokio::test]
async fn a_mysql_cluster_is_checked() {
    if is_tested(Flavor::MySql9) {
        checks(Flavor::MySql9).await.unwrap();
    }
}

async fn checks(flavor: Flavor) -> Result<(), SandboxError> {
    let cluster = Cluster::start(flavor, 1).await?;
    let server = |port, role| Server::new(Address::Tcp { host: "127.0.0.1".into(), port }, role);
    let user = |name: &str, password: &str| User::new(name, Secret::new(password.into()));
    let mut config = Config {
        servers: vec![server(cluster.writer.port(), Role::Writer), server(cluster.replicas[0].port(), Role::Auto)],
        users: vec![user(APP.name, APP.password)],
        ..Config::default()
    };
    config.probe.user = Some(PROBE.name.into());
    config.probe.password = Secret::new(PROBE.password.into());
    config.probe.timeout = Duration::from_secs(5);

    // A replica that has just started is on its way to its source for a while.
    until("the replica has connected", async || check(&config).await.verdict() == Verdict::Ok).await;
    let table = check(&config).await;
    // Nothing was written yet, which is no reason to warn of missing GTIDs.
    assert!(table.rows.iter().all(|row| row.problems.is_empty()), "\n{table}");
    let found: Vec<_> = table.rows.iter().map(|row| (row.found.as_str(), row.lag.as_str())).collect();
    assert_eq!(found, [("writer", "-"), ("replica", "0s")], "\n{table}");

    config.users.push(user("stranger", "secret"));
    let table = check(&config).await;
    assert_eq!(table.verdict(), Verdict::Failed, "\n{table}");
    for row in &table.rows {
        let problems: Vec<_> = row.problems.iter().map(|problem| problem.text.as_str()).collect();
        assert!(
            matches!(problems.as_slice(), [one] if one.starts_with("user \"stranger\" cannot log in: ")),
            "\n{table}"
        );
        assert!(!table.to_string().contains("secret"), "\n{table}");
    }
    config.users.pop();

    // Nobody is listed, and native passwords are looked up if that is allowed.
    config.auth = Auth::Passthrough;
    let users = std::mem::take(&mut config.users);
    let table = check(&config).await;
    let warned = table.to_string().contains("GRANT SELECT ON mysql.global_priv TO \"probe\"");
    assert_eq!(warned, flavor == Flavor::MariaDb, "\n{table}");
    if warned {
        assert_eq!(table.verdict(), Verdict::Warning, "\n{table}");
        cluster.writer.exec("GRANT SELECT ON mysql.global_priv TO probe@'%'").await?;
        cluster.wait_caught_up().await?;
    }
    // Whoever may come may meet triggers.
    let table = check(&config).await.to_string();
    assert!(
        table.contains("triggers, if any, on *.*") && table.contains("GRANT TRIGGER ON *.* TO \"probe\""),
        "\n{table}"
    );
    cluster.writer.exec("GRANT TRIGGER ON *.* TO probe@'%'").await?;
    assert_eq!(check(&config).await.verdict(), Verdict::Ok);
    (config.auth, config.users) = (Auth::Users, users);

    cluster.replicas[0].kill().await?;
    let table = check(&config).await;
    assert_eq!(
        table.rows.iter().map(|row| row.verdict()).collect::<Vec<_>>(),
        [Verdict::Ok, Verdict::Failed],
        "\n{table}"
    );
    let problems: Vec<_> = table.rows[1].problems.iter().map(|problem| problem.text.as_str()).collect();
    assert_eq!(problems, ["cannot be probed: cannot connect: Connection refused (os error 111)"], "\n{table}");
    Ok(())
}
