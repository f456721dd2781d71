//! What an operator does and sees: the command line, the logs, HTTP. The console has tests of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{net::TcpListener, time::Duration};

use bed::{
    Bed, Folder, basics, flavors, http, process,
    process::{Process, code, stderr, stdout},
    server_error, until,
};
use mysql_async::{Conn, OptsBuilder, prelude::*};
use weir::{sandbox::Cluster, telemetry::Reason};

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
        (&["check", "--user", "app"], "/etc/weir/weir.toml: No such file or directory (os error 2); name another"),
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
async fn open_files_are_raised_as_far_as_they_go() {
    let folder = Folder::new("files");
    let config = |clients| {
        format!(
            "[admin]\nconsole = \"\"\nhttp = \"\"\n[[users]]\nname = \"a\"\npassword = \"\"\n\
             [[servers]]\naddress = \"127.0.0.1:1\"\nrole = \"writer\"\n\
             [[listeners]]\naddress = \"127.0.0.1:0\"\n[limits]\nmax_clients = {clients}\n"
        )
    };
    let file = folder.file("weir.toml", &config(500));
    let output = process::limited("ulimit -n 300", &["run", "--config", &file]).output().unwrap();
    assert_eq!(code(&output), Some(78), "{}", stderr(&output));
    for part in ["max_clients (500)", "need 804 open files", "may have 300"] {
        assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
    }
    let weir = Process::spawn(process::limited("ulimit -Sn 300; ulimit -Hn 1000", &["run", "--config", &file]));
    let line = weir.logged("raised the limit of open files").await;
    assert!(line.contains("from=300") && line.contains("to=1000"), "{line}");
    weir.address("listening").await;
    // A reload that does not fit any more is refused.
    std::fs::write(&file, config(800)).unwrap();
    weir.logged("may have 1000").await;
    assert!(weir.log().contains("the new configuration was refused"), "{}", weir.log());
}

#[tokio::test]
async fn flags_alone_run_weir() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        let writer = cluster.writer.address().to_string();
        let replica = format!("{}?weight=50", cluster.replicas[0].address());
        let folder = Folder::new("flags");
        let socket = format!("unix:{}", folder.path().join("socket").display());
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
        // On a busy machine others are slow, too.
        until(&format!("{format}: both are logged"), || async { weir.log().matches(marker).count() >= 2 }).await;
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
        let extra = "[pool]\nacquire_timeout = \"3s\"\n\
                     [[rules]]\nname = \"time\"\nregex = '/\\* time \\*/'\ntimeout = \"2s\"\n\
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
            tokio::spawn(async move { conn.query_drop("/* number */ SELECT SLEEP(0.2)").await.map(|()| conn) })
        });
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let mut long = bed.connect().await;
        let task = tokio::spawn(async move { long.query_drop("/* number */ SELECT SLEEP(600)").await.map(|()| long) });
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

#[tokio::test]
async fn http_tells_what_is_there() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
    let door = bed.weir.addresses.http.unwrap();
    let mut conn = bed.connect().await;
    conn.query_drop("CREATE TABLE t (id INT)").await.unwrap();
    conn.query_drop("SELECT SLEEP(0.02)").await.unwrap();
    // A statement is counted once the next command is answered.
    conn.ping().await.unwrap();
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
