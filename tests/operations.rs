//! What an operator does and sees: the command line, the logs, the console, HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use bed::{Bed, basics, flavors, http, process, process::Process, server_error, until};
use mysql_async::{Conn, OptsBuilder, prelude::*};
use weir::{
    sandbox::{Cluster, Flavor},
    telemetry::Reason,
};

/// A folder for the files of one test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-operations-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is a temporary file.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn wrong_usage_exits_with_64() {
    for arguments in [
        &[][..],
        &["rnu"],
        &["run", "--wirter", "127.0.0.1:1"],
        &["run", "--config"],
        &["run", "--config", "a", "--writer", "127.0.0.1:1"],
        &["explain"],
        &["explain", "SELECT 1", "--dialect", "oracle"],
    ] {
        let output = process::run(arguments);
        assert_eq!(code(&output), Some(64), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        assert_eq!(code(&process::run(arguments)), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_bad_config_exits_with_78_and_every_mistake_is_told() {
    let folder = Folder::new("bad");
    let five = "[[servers]]\nname = \"db1\"\naddress = \"db1\"\nrole = \"writer\"\nwieght = 10\n\n\
                [[users]]\nname = \"app\"\npassword_env = \"WEIR_TEST_UNSET\"\n\n\
                [reads]\nmax_lag = 10\n[[rules]]\nname = \"reports\"\nto = \"group:none\"\n";
    let file = folder.file("five.toml", five);
    for command in ["run", "check"] {
        let output = process::run(&[command, "--config", &file]);
        assert_eq!(code(&output), Some(78), "{command}");
        let told = stderr(&output);
        assert_eq!(told.lines().filter(|line| line.starts_with("line ")).count(), 5, "{command}: {told}");
        assert!(told.contains("five.toml") && told.contains("did you mean `weight`?"), "{command}: {told}");
    }
    let output = process::run(&["explain", "SELECT 1", "--config", &file]);
    assert_eq!(code(&output), Some(78), "explain");
    for (arguments, told) in [
        (&["run", "--config", "/none/weir.toml"][..], "/none/weir.toml"),
        (&["run", "--writer", "db1", "--user", "app"], "--writer: `db1` is not an address"),
        (&["run", "--writer", "127.0.0.1:1"], "--user: is missing"),
        (&["run", "--writer", "127.0.0.1:1", "--user", "a", "--password-env", "WEIR_TEST_UNSET"], "WEIR_TEST_UNSET"),
    ] {
        let output = process::run(arguments);
        assert_eq!(code(&output), Some(78), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{arguments:?}: {}", stderr(&output));
    }
    let closed = "[admin]\nconsole = \"\"\nhttp = \"\"\n[[users]]\nname = \"a\"\npassword = \"s3cret\"\n\
                  [[servers]]\naddress = \"127.0.0.1:1\"\nrole = \"writer\"\n\
                  [[listeners]]\naddress = \"127.0.0.1:0\"\n";
    for (lines, told) in [
        ("[tls.client]\ncert = \"/none.pem\"\nkey = \"/none.key\"\n", "/none.pem"),
        ("[tls.server]\nmode = \"verify-ca\"\nca = \"/none.pem\"\n", "/none.pem"),
        ("[runtime]\ncongestion_control = \"no-such-thing\"\n", "no-such-thing"),
    ] {
        let file = folder.file("unusable.toml", &format!("{closed}{lines}"));
        let output = process::run(&["run", "--config", &file]);
        assert_eq!(code(&output), Some(78), "{lines}: {}", stderr(&output));
        assert!(stderr(&output).contains(told) && !stderr(&output).contains("s3cret"), "{lines}: {}", stderr(&output));
    }
}

#[test]
fn a_port_in_use_is_told_and_exits_with_1() {
    let folder = Folder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = |listener: &str, console: &str, http: &str| {
        format!(
            "[admin]\nconsole = \"{console}\"\nhttp = \"{http}\"\n[[users]]\nname = \"a\"\npassword = \"\"\n\
             [[servers]]\naddress = \"127.0.0.1:1\"\nrole = \"writer\"\n[[listeners]]\naddress = \"{listener}\"\n"
        )
    };
    for text in [config(&address, "", ""), config("127.0.0.1:0", &address, ""), config("127.0.0.1:0", "", &address)] {
        let file = folder.file("weir.toml", &text);
        let output = process::run(&["run", "--config", &file]);
        assert_eq!(code(&output), Some(1), "{text}: {}", stderr(&output));
        assert!(stderr(&output).contains(&format!("cannot listen on {address}")), "{text}: {}", stderr(&output));
    }
}

#[tokio::test]
async fn flags_alone_run_weir() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        let writer = cluster.writer.address().to_string();
        let replica = format!("{}?weight=50", cluster.replicas[0].address());
        let folder = Folder::new("flags");
        let socket = format!("unix:{}", folder.0.join("socket").display());
        let common =
            ["--writer", &writer, "--replica", &replica, "--user", "app", "--password-env", "WEIR_TEST_PASSWORD"];
        // The doors are on their usual ports, which something else may have on this machine.
        let free = ["127.0.0.1:6032", "127.0.0.1:6080"].iter().all(|address| TcpListener::bind(address).is_ok());
        if free {
            let arguments = [&["run"][..], &common, &["--listen", "127.0.0.1:0", "--listen", &socket]].concat();
            let weir = Process::start(&arguments);
            let address = weir.address("listening").await;
            let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(address.port());
            let options = options.prefer_socket(false).user(Some("app")).pass(Some("app-secret")).db_name(Some("app"));
            let mut conn = Conn::new(options).await.unwrap();
            conn.query_drop("SELECT 1").await.unwrap();
            let unix = OptsBuilder::default().socket(socket.strip_prefix("unix:")).user(Some("app"));
            let mut conn = Conn::new(unix.pass(Some("app-secret"))).await.unwrap();
            conn.query_drop("SELECT 1").await.unwrap();
        }
        let checked = process::run(&[&["check"][..], &common].concat());
        assert_eq!(code(&checked), Some(0), "{flavor}: {}{}", stdout(&checked), stderr(&checked));
        let bad = ["check", "--writer", "127.0.0.1:1", "--user", "app"];
        let checked = process::run(&bad);
        assert_eq!(code(&checked), Some(1), "{flavor}: {}{}", stdout(&checked), stderr(&checked));
        assert!(stdout(&checked).contains("127.0.0.1:1"), "{}", stdout(&checked));
    }
}

#[test]
fn explain_says_where_and_why() {
    let folder = Folder::new("explain");
    let text = "[[users]]\nname = \"a\"\npassword = \"\"\n[[servers]]\naddress = \"a:1\"\nrole = \"writer\"\n\
                groups = [\"reports\"]\n[[rules]]\nname = \"r1\"\ntables = [\"orders\"]\nto = \"group:reports\"\n\
                [[rules]]\nname = \"r2\"\nusers = [\"bob\"]\nto = \"reject\"\n";
    let file = folder.file("weir.toml", text);
    for (arguments, target, reason) in [
        (&["SELECT 1"][..], "replica", "read"),
        (&["SELECT 'a' FOR UPDATE"], "writer", "locking-read"),
        (&["INSERT INTO t VALUES (1)"], "writer", "write"),
        (&["SELECT nextval(s)", "--dialect", "mariadb"], "writer", "sequence"),
        (&["SELECT my_function(1)"], "writer", "unknown-function"),
        (&["/* weir:writer */ SELECT 1"], "writer", "hint"),
        (&["SELECT 1", "--in-transaction"], "the connection of the transaction", "transaction"),
        (&["SELECT 1", "--autocommit-off"], "writer", "autocommit-off"),
        (&["SELECT * FROM orders", "--config", &file], "group reports", "rule"),
        (&["SELECT 2", "--config", &file, "--user", "bob"], "nowhere: an error", "rejected"),
        (&["BEGIN"], "writer", "begin"),
        (&["START TRANSACTION READ ONLY"], "replica", "read-only-transaction"),
        (&["not sql at all"], "writer", "unknown"),
        (&[""], "writer", "unknown"),
    ] {
        let output = process::run(&[&["explain"][..], arguments].concat());
        assert_eq!(code(&output), Some(0), "{arguments:?}: {}", stderr(&output));
        let expected = format!("target   {target}\nreason   {reason}\n");
        assert!(stdout(&output).starts_with(&expected), "{arguments:?}: {}", stdout(&output));
    }
}

#[tokio::test]
async fn slow_statements_are_logged_without_their_values() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let folder = Folder::new("slow");
    for (format, marker) in [("text", "slow statement"), ("json", "\"message\":\"slow statement\"")] {
        let lines = format!("[log]\nformat = \"{format}\"\nslow_statement = \"100ms\"\n");
        let file = folder.file("weir.toml", &(basics(&cluster) + &lines));
        let weir = Process::start(&["run", "--config", &file]);
        let line = weir.logged("listening").await;
        let address = line.split("127.0.0.1:").nth(1).unwrap();
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port.parse().unwrap());
        let options = options.prefer_socket(false).user(Some("app")).pass(Some("app-secret")).db_name(Some("app"));
        let mut conn = Conn::new(options).await.unwrap();
        conn.query_drop("SELECT 'quick-value'").await.unwrap();
        conn.query_drop("SELECT SLEEP(0.3), 'text-value', \"other-value\", 0x68696464656e, N'n-value' -- remark")
            .await
            .unwrap();
        conn.exec_drop("SELECT SLEEP(0.3), ?, 424242", ("bound-value",)).await.unwrap();
        until(&format!("{format}: both are logged"), || async { weir.log().matches(marker).count() == 2 }).await;
        let log = weir.log();
        for part in ["select sleep(?), ?", "db0", "no-replica", "digest", "duration_ms"] {
            assert!(log.contains(part), "{format}: {part}: {log}");
        }
        for secret in ["value", "68696464656e", "424242", "remark", "app-secret", "probe-secret"] {
            assert!(!log.contains(secret), "{format}: {secret}: {log}");
        }
        if format == "json" {
            assert!(log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{log}");
        }
    }
}

#[tokio::test]
async fn a_rule_limits_time_and_number() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        let extra = "[pool]\nacquire_timeout = \"1s\"\n\
                     [[rules]]\nname = \"time\"\nregex = '/\\* time \\*/'\ntimeout = \"300ms\"\n\
                     [[rules]]\nname = \"number\"\nregex = '/\\* number \\*/'\nmax_concurrency = 1\n";
        let bed = Bed::with(cluster, extra).await;
        let endless = "/* time */ WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) \
                       SELECT COUNT(*) FROM n a, n b, n c";
        let mut conn = bed.connect().await;
        conn.query_drop("SET SESSION cte_max_recursion_depth = 5000").await.ok();
        let error = conn.query_drop(endless).await.unwrap_err();
        assert_eq!(server_error(&error), (3024, "HY000".to_owned()), "{flavor}: {error}");
        // The session goes on, and so does a transaction.
        conn.query_drop("BEGIN").await.unwrap();
        let error = conn.exec_drop(endless, ()).await.unwrap_err();
        assert_eq!(server_error(&error).0, 3024, "{flavor}: in a transaction");
        conn.query_drop("CREATE TABLE t (id INT)").await.unwrap();
        conn.query_drop("COMMIT").await.unwrap();
        assert_eq!(conn.query_first("/* time */ SELECT 7").await.unwrap(), Some(7), "{flavor}");

        // One at once: the second waits for the first, and the third for too long.
        let sessions = [bed.connect().await, bed.connect().await];
        let tasks = sessions.map(|mut conn| {
            tokio::spawn(async move { conn.query_drop("/* number */ SELECT SLEEP(0.6)").await.map(|()| conn) })
        });
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let mut long = bed.connect().await;
        let task = tokio::spawn(async move { long.query_drop("/* number */ SELECT SLEEP(20)").await.map(|()| long) });
        let rejected = bed.count(Reason::Rejected);
        let places = bed.weir.context.turns.load().of("number").unwrap();
        until(&format!("{flavor}: the long one runs"), async || places.available_permits() == 0).await;
        let error = conn.query_drop("/* number */ SELECT 1").await.unwrap_err();
        assert_eq!(server_error(&error).0, 3164, "{flavor}: {error}");
        assert!(error.to_string().contains("'number'"), "{flavor}: {error}");
        assert_eq!(bed.count(Reason::Rejected), rejected + 1, "{flavor}");
        conn.query_drop("SELECT 1").await.unwrap();
        task.abort();
        drop(conn);
        bed.stop().await;
    }
}

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

#[tokio::test]
async fn http_tells_what_is_there() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
    let door = bed.weir.addresses.http.unwrap();
    let mut conn = bed.connect().await;
    conn.query_drop("CREATE TABLE t (id INT)").await.unwrap();
    conn.query_drop("SELECT SLEEP(0.02)").await.unwrap();
    for (path, status, part) in [
        ("/livez", 200, "alive"),
        ("/readyz", 200, ""),
        ("/", 200, "<html"),
        ("/api/servers", 200, "\"db1\""),
        ("/api/sessions", 200, "\"app\""),
        ("/api/reasons", 200, "write"),
        ("/metrics", 200, "weir_statements_total{reason=\"write\"} 1\n"),
        ("/metrics", 200, "weir_reloads_total{result=\"ok\"} 0\n"),
        ("/metrics", 200, "weir_server_latency_seconds_count{server=\"db0\"} 2\n"),
        ("/none", 404, ""),
    ] {
        let (found, body) = http::get(door, path).await;
        assert_eq!(found, status, "{path}");
        assert!(body.contains(part), "{path}: {part}: {body}");
    }
    bed.cluster.writer.kill().await.unwrap();
    bed.cluster.replicas[0].kill().await.unwrap();
    until("readiness is false without a server", || async { http::get(door, "/readyz").await.0 == 503 }).await;
    assert_eq!(http::get(door, "/livez").await.0, 200);
    bed.cluster.replicas[0].start().await.unwrap();
    until("one server is enough", || async { http::get(door, "/readyz").await.0 == 200 }).await;
    drop(conn);
    tokio::time::timeout(Duration::from_secs(60), bed.stop()).await.unwrap();
}

#[test]
fn the_flavors_have_their_clients() {
    for flavor in flavors() {
        let program = if flavor == Flavor::MariaDb { "mariadb" } else { "mysql" };
        let found = clients().iter().any(|client| client.ends_with(program));
        assert!(found, "{flavor} is there without its client {program}");
    }
}
