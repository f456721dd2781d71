//! The SQL console: what it answers, whom it lets in.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bed::{
    Bed, Folder, basics, flavors,
    process::{Process, code, stderr, stdout},
    server_error, until,
};
use mysql_async::{Conn, OptsBuilder, prelude::*};
use tokio::{io::AsyncReadExt, net::TcpStream};
use weir::sandbox::{Cluster, Flavor};

/// The stock clients that are there.
fn clients() -> Vec<PathBuf> {
    let trees = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".cache/weir");
    let candidates = ["mariadb/bin/mariadb", "mysql9/bin/mysql"].map(|path| trees.join(path));
    let system = ["/usr/bin/mariadb", "/usr/bin/mysql"].map(PathBuf::from);
    candidates.into_iter().chain(system).filter(|path| path.exists()).collect()
}

async fn ask(client: &Path, port: u16, password: &str, sql: &str) -> Output {
    let (client, sql, password) = (client.to_owned(), sql.to_owned(), format!("--password={password}"));
    let port = port.to_string();
    let run = move || {
        let arguments = ["--no-defaults", "--batch", "-h127.0.0.1", "-P", &port, "-uadmin", &password, "-e", &sql];
        Command::new(client).args(arguments).output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn the_console_answers_the_stock_clients() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
    let port = bed.weir.addresses.console.unwrap().port();
    let mut conn = bed.connect().await;
    for client in clients() {
        let name = client.display();
        conn.query_drop("BEGIN").await.unwrap();
        for (sql, expected) in [
            ("SHOW SERVERS", &["server\taddress", "db0\t127.0.0.1:", "\twriter\tyes\tactive\t", "db1\t"][..]),
            ("SHOW SESSIONS", &["id\tuser", "app\t127.0.0.1:", "\tdb0\ttransaction\t"]),
            ("SHOW REASONS", &["reason\tstatements", "begin\t"]),
            ("SHOW PINS", &["transaction\t"]),
            ("SHOW VERSION", &[env!("CARGO_PKG_VERSION")]),
            ("SHOW HELP", &["DRAIN SERVER <server>"]),
            ("DRAIN SERVER db1; SHOW SERVERS", &["drain"]),
            ("ENABLE SERVER db1; SHOW SERVERS", &["db1"]),
            ("RELOAD", &[]),
        ] {
            let output = ask(&client, port, "", sql).await;
            assert_eq!(code(&output), Some(0), "{name}: {sql}: {}", stderr(&output));
            for part in expected {
                assert!(stdout(&output).contains(part), "{name}: {sql}: {part}: {}", stdout(&output));
            }
        }
        for (sql, expected) in [
            ("SELECT 1 FROM t", "ERROR 1064"),
            ("DRAIN SERVER none", "no server is named none"),
            ("KILL 4000000", "ERROR 1094"),
        ] {
            let output = ask(&client, port, "", sql).await;
            assert_eq!(code(&output), Some(1), "{name}: {sql}");
            assert!(stderr(&output).contains(expected), "{name}: {sql}: {}", stderr(&output));
        }
        let output = ask(&client, port, "wrong", "SHOW SERVERS").await;
        assert!(stderr(&output).contains("ERROR 1045"), "{name}: {}", stderr(&output));
        conn.query_drop("ROLLBACK").await.unwrap();
    }
    // Killing ends the session that is named, and no other.
    let mut victim = bed.connect().await;
    let output = ask(clients().first().unwrap(), port, "", &format!("KILL {}", victim.id())).await;
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert!(victim.query_drop("SELECT 1").await.is_err());
    conn.query_drop("SELECT 1").await.unwrap();
    drop((conn, victim));
    bed.stop().await;
}

#[tokio::test]
async fn a_console_password_counts() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let text = basics(&cluster).replace("[admin]\n", "[admin]\nuser = \"ops\"\npassword = \"door\"\n");
    let bed = Bed::with_config(cluster, &text).await;
    let port = bed.weir.addresses.console.unwrap().port();
    let log_in = |user: &'static str, password: &'static str| {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).prefer_socket(false);
        Conn::new(options.user(Some(user)).pass(Some(password)))
    };
    for (user, password) in [("ops", ""), ("ops", "wrong"), ("admin", "door"), ("admin", ""), ("app", "app-secret")] {
        let error = log_in(user, password).await.unwrap_err();
        assert_eq!(server_error(&error), (1045, "28000".to_owned()), "{user} {password}");
    }
    let mut console = log_in("ops", "door").await.unwrap();
    let servers: Vec<mysql_async::Row> = console.exec("SHOW SERVERS", ()).await.unwrap();
    assert_eq!(servers[0].get::<String, _>("server").unwrap(), "db0");
    drop(console);
    bed.stop().await;
}

/// An address of this machine that is no loopback address, if it has one. Nothing is sent to find it.
fn outer_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().filter(|address| !address.ip().is_loopback())
}

#[tokio::test]
async fn without_a_password_only_the_machine_itself_is_let_in() {
    let (Some(flavor), Some(outer)) = (flavors().into_iter().next(), outer_address()) else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    for (password, let_in) in [("", false), ("door", true)] {
        let open = format!("console = \"0.0.0.0:0\"\npassword = \"{password}\"\n");
        let text = basics(&cluster).replace("console = \"127.0.0.1:0\"\n", &open);
        let folder = Folder::new("console");
        let config = folder.file("weir.toml", &text);
        let weir = Process::start(&["run", "--config", &config]);
        let port = weir.address("the console is open").await.port();
        for (host, expected) in [("127.0.0.1".to_owned(), true), (outer.ip().to_string(), let_in)] {
            let options = OptsBuilder::default().ip_or_hostname(&host).tcp_port(port).prefer_socket(false);
            let found = Conn::new(options.user(Some("admin")).pass(Some(password))).await;
            match found {
                Ok(mut conn) => {
                    conn.ping().await.unwrap();
                    assert!(expected, "let in from {host} with {password:?}");
                }
                Err(error) => {
                    assert!(!expected, "from {host} with {password:?}: {error}");
                    assert_eq!(server_error(&error), (1045, "28000".to_owned()), "from {host} with {password:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_console_has_room_for_a_few_clients() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "").await;
    let address = bed.weir.addresses.console.unwrap();
    let mut clients = Vec::new();
    let refusal = loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut packet = [0; 7];
        stream.read_exact(&mut packet).await.unwrap();
        if packet[4] == 0xFF {
            break u16::from_le_bytes([packet[5], packet[6]]);
        }
        clients.push(stream);
        assert!(clients.len() <= 1000, "there is no end");
    };
    assert_eq!(refusal, 1040);
    assert!(clients.len() >= 10, "{}", clients.len());
    // Sessions of applications have nothing to do with it.
    bed.connect().await.ping().await.unwrap();
    drop(clients);
    let log_in = || {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(address.port());
        Conn::new(options.prefer_socket(false).user(Some("admin")))
    };
    until("there is room again", async || log_in().await.is_ok()).await;
    bed.stop().await;
}

#[test]
fn the_flavors_have_their_clients() {
    for flavor in flavors() {
        let program = if flavor == Flavor::MariaDb { "mariadb" } else { "mysql" };
        let found = clients().iter().any(|client| client.ends_with(program));
        assert!(found, "{flavor} is there without its client {program}");
    }
}
