//! What `docker-compose.yml` starts works together: servers set up by its scripts, and Weir with its configuration.

#![allow(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]

mod bed;

use std::{env::VarError, fs, io, path::Path};

use bed::until;
use mysql_async::{Conn, OptsBuilder, prelude::*};
use tokio::process::Command;
use weir::{
    app::{self, Running, Source},
    config::{self, SecretSource},
    sandbox::{Flavor, Installation, Mode, Server},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/compose");

/// The environment of the containers, where nobody set anything.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("APP_DB_PASSWORD", "app-secret"),
    ("PROBE_DB_PASSWORD", "probe-secret"),
    ("REPLICATION_DB_PASSWORD", "replication-secret"),
];

struct Environment;

impl SecretSource for Environment {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        let found = ENVIRONMENT.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

#[tokio::test]
async fn the_scripts_and_the_configuration_make_a_cluster() {
    let Some(installation) = Installation::find(Flavor::MySql9).filter(|_| bed::is_tested(Flavor::MySql9)) else {
        return;
    };
    let writer = empty_server(&installation, 1).await;
    set_up(&writer, "writer.sh", writer.port()).await;
    let mut servers = vec![writer];
    for id in [2, 3] {
        let replica = empty_server(&installation, id).await;
        set_up(&replica, "replica.sh", servers[0].port()).await;
        servers.push(replica);
    }

    let weir = weir(&servers).await;
    until("all three serve, and know their roles", async || {
        let cluster = weir.context.cluster.load();
        cluster.members.iter().all(|member| member.up && member.fresh) && cluster.writer().is_some()
    })
    .await;
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(weir.addresses.listeners[0].unwrap().port())
        .prefer_socket(false)
        .user(Some("app"))
        .pass(Some("app-secret"))
        .db_name(Some("app"));
    let mut client = Conn::new(options).await.unwrap();
    client.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    let metrics = weir.context.metrics.clone();
    let reads = |name| metrics.server(name).total(|shard| &shard.reads);
    until("both replicas answer, and have what was written", async || {
        let read: Option<u32> = client.query_first("SELECT id FROM t").await.unwrap();
        assert_eq!(read, Some(1));
        reads("replica1") > 0 && reads("replica2") > 0
    })
    .await;
    assert_eq!(metrics.server("writer").total(|shard| &shard.writes), 2);
    client.disconnect().await.unwrap();
    weir.shut_down();
    weir.ended().await;
}

/// A server as the image has it before the scripts: nothing in it but root.
async fn empty_server(installation: &Installation, id: u32) -> Server {
    let server = Server::create(installation, id, Mode::ReadWrite).await.unwrap();
    server.exec("DROP DATABASE app").await.unwrap();
    server.exec("DROP DATABASE app2").await.unwrap();
    server.exec("DROP USER app, probe, replication").await.unwrap();
    server
}

/// Runs a script as the image's entry point does, and starts the server anew behind it.
async fn set_up(server: &Server, script: &str, writer: u16) {
    // The entry point's function feeds its input to the server.
    let run = format!("set -eu; docker_process_sql() {{ cat; }}; . {FOLDER}/{script}");
    let mut command = Command::new("bash");
    command.args(["-c", &run]).envs(ENVIRONMENT);
    command.env("WRITER_HOST", "127.0.0.1").env("WRITER_PORT", writer.to_string());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sql = String::from_utf8(output.stdout).unwrap();
    let mut root = server.connect().await.unwrap();
    root.query_drop(format!("USE mysql;{sql}")).await.unwrap();
    root.disconnect().await.unwrap();
    server.stop().await.unwrap();
    server.start().await.unwrap();
    // The server of the image comes up with what was persisted; one that starts with `--no-defaults` does not.
    let persisted = fs::read_to_string(server.folder().join("data/mysqld-auto.cnf")).unwrap_or_default();
    if persisted.contains("\"super_read_only\"") {
        server.set_mode(Mode::ReadOnly).await.unwrap();
    }
}

async fn weir(servers: &[Server]) -> Running {
    let mut text = fs::read_to_string(format!("{FOLDER}/weir.toml")).unwrap();
    for (name, server) in ["writer", "replica1", "replica2"].iter().zip(servers) {
        let address = format!("\"{name}:3306\"");
        assert!(text.contains(&address), "{address}");
        text = text.replace(&address, &format!("\"{}\"", server.address()));
    }
    let text = text.replace("0.0.0.0:6033", "127.0.0.1:0").replace("0.0.0.0:6080", "127.0.0.1:0");
    let config = config::parse(&text, &Environment).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    app::start(config, Source::Flags).await.unwrap()
}
