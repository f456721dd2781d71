//! `auth = "passthrough"`: no list of users, the writer judges. On real servers, by what they really do with accounts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../bed/mod.rs"]
mod bed;
mod changes;

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use bed::{
    Bed, basics, flavors,
    process::Process,
    raw::{Card, MODERN, Raw},
    server_error, stock, until,
};
use mysql_async::{ChangeUserOpts, Conn, OptsBuilder, SslOpts, prelude::*};
use tokio::time::timeout;
use weir::{
    protocol::ServerError,
    sandbox::{Cluster, Flavor, Server},
};

/// A config without users.
fn without_users(cluster: &Cluster, extra: &str) -> String {
    let users = "[[users]]\nname = \"app\"\npassword = \"app-secret\"\n";
    format!("auth = \"passthrough\"\n{}{extra}", basics(cluster).replace(users, ""))
}

/// Whether the probe's user may read what servers have stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Probe {
    Reads,
    MayNot,
}

async fn cluster(flavor: Flavor, replicas: usize, probe: Probe) -> Cluster {
    let cluster = Cluster::start(flavor, replicas).await.unwrap();
    if flavor == Flavor::MariaDb {
        for server in cluster.servers() {
            server.exec("INSTALL SONAME 'auth_ed25519'").await.unwrap();
        }
        if probe == Probe::Reads {
            cluster.writer.exec("GRANT SELECT ON mysql.global_priv TO probe@'%'").await.unwrap();
        }
    }
    cluster
}

/// Creates a user of the schema `app`. `how` is what `IDENTIFIED` is followed by.
async fn user(cluster: &Cluster, name: &str, how: &str) {
    cluster.writer.exec(&format!("CREATE USER '{name}'@'%' IDENTIFIED {how}")).await.unwrap();
    cluster.writer.exec(&format!("GRANT ALL ON app.* TO '{name}'@'%'")).await.unwrap();
    cluster.wait_caught_up().await.unwrap();
}

/// The ways in which an account's password is stored, with names for their users.
fn ways(flavor: Flavor) -> &'static [(&'static str, &'static str)] {
    match flavor {
        Flavor::MariaDb => &[
            ("native", "VIA mysql_native_password USING PASSWORD('p\u{e4}ss')"),
            ("signer", "VIA ed25519 USING PASSWORD('p\u{e4}ss')"),
            ("either", "VIA ed25519 USING PASSWORD('other') OR mysql_native_password USING PASSWORD('p\u{e4}ss')"),
        ],
        Flavor::MySql9 => &[("sha2", "WITH caching_sha2_password BY 'p\u{e4}ss'")],
    }
}

fn options(bed: &Bed, name: &str, password: &str) -> OptsBuilder {
    bed.options().user(Some(name)).pass(Some(password))
}

async fn connect(bed: &Bed, name: &str, password: &str) -> Result<Conn, mysql_async::Error> {
    Conn::new(options(bed, name, password)).await
}

async fn refused(bed: &Bed, name: &str, password: &str) -> (u16, String) {
    server_error(&connect(bed, name, password).await.err().unwrap_or_else(|| panic!("{name} is let in")))
}

fn denied() -> (u16, String) {
    (1045, "28000".to_owned())
}

/// Closes the connections to the servers, also those that are still on their way back.
async fn close_pools(bed: &Bed) {
    until("no connection is left", async || {
        let cluster = bed.weir.context.cluster.load_full();
        cluster.members.iter().for_each(|member| member.server.pool.drop_idle());
        cluster.members.iter().all(|member| member.server.pool.counts() == (0, 0))
    })
    .await;
}

/// How many logins a server without replicas has refused. It answers first and counts then.
async fn refused_logins(server: &Server) -> u64 {
    let logging_in = "SELECT id FROM information_schema.processlist WHERE command = 'Connect'";
    until("nobody is about to be counted", async || server.rows(logging_in).await.unwrap().is_empty()).await;
    let row = server.rows("SHOW GLOBAL STATUS LIKE 'Aborted_connects'").await.unwrap().remove(0);
    row.get::<String, _>(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn whoever_the_writer_lets_in_is_let_in() {
    for flavor in flavors() {
        for probe in [Probe::Reads, Probe::MayNot] {
            let cluster = cluster(flavor, 1, probe).await;
            user(&cluster, "open", "BY ''").await;
            for (name, how) in ways(flavor) {
                user(&cluster, name, how).await;
            }
            let text = without_users(&cluster, "");
            let bed = Bed::with_config(cluster, &text).await;
            let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
            for (name, _) in ways(flavor) {
                // Twice: what was proven once is known the next time.
                for tls in [None, None, Some(tls.clone()), Some(tls.clone())] {
                    let case = format!("{flavor}, {probe:?}, {name}, TLS {}", tls.is_some());
                    let mut conn = Conn::new(options(&bed, name, "p\u{e4}ss").ssl_opts(tls.clone()))
                        .await
                        .unwrap_or_else(|error| panic!("{case}: {error}"));
                    let current: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap();
                    assert_eq!(current, Some(format!("{name}@%")), "{case}");
                    assert_eq!(conn.query_first("SELECT 1").await.unwrap(), Some(1), "{case}: on a replica");
                    let wrong = Conn::new(options(&bed, name, "guess").ssl_opts(tls)).await.unwrap_err();
                    assert_eq!(server_error(&wrong), denied(), "{case}");
                }
                assert_eq!(refused(&bed, name, "").await, denied(), "{flavor}, {name}");
            }
            let (reads, _) = bed.served("db1");
            assert!(reads >= 4, "{flavor}: {reads} reads");
            assert!(connect(&bed, "open", "").await.is_ok(), "{flavor}: a user without a password");
            assert_eq!(refused(&bed, "open", "guess").await, denied(), "{flavor}");
            // Between users, on one connection.
            let mut conn = connect(&bed, ways(flavor)[0].0, "p\u{e4}ss").await.unwrap();
            for (name, _) in ways(flavor).iter().rev() {
                let change = ChangeUserOpts::default().with_user(Some((*name).into()));
                conn.change_user(change.with_pass(Some("p\u{e4}ss".into()))).await.unwrap();
                let current: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap();
                assert_eq!(current, Some(format!("{name}@%")), "{flavor}: changed");
            }
            drop(conn);
            bed.stop().await;
        }
    }
}

#[tokio::test]
async fn refusals_are_those_of_the_writer() {
    for flavor in flavors() {
        let cluster = cluster(flavor, 0, Probe::Reads).await;
        user(&cluster, "locked", "BY 'locked-secret' ACCOUNT LOCK").await;
        user(&cluster, "expired", "BY 'expired-secret' PASSWORD EXPIRE").await;
        user(&cluster, "elsewhere", "BY 'elsewhere-secret'").await;
        cluster.writer.exec("RENAME USER elsewhere@'%' TO elsewhere@'10.1.2.3'").await.unwrap();
        if flavor == Flavor::MariaDb {
            // As MySQL does without being asked.
            cluster.writer.exec("SET GLOBAL disconnect_on_expired_password = ON").await.unwrap();
        }
        let text = without_users(&cluster, "");
        let bed = Bed::with_config(cluster, &text).await;
        let app = Card::app(MODERN);
        let cases = [
            Card { password: "wrong", ..app.clone() },
            Card { password: "", ..app.clone() },
            Card { user: "who", ..app.clone() },
            Card { user: "who", password: "", ..app.clone() },
            Card { user: "elsewhere", password: "elsewhere-secret", ..app.clone() },
            Card { user: "locked", password: "locked-secret", ..app.clone() },
            Card { user: "expired", password: "expired-secret", ..app.clone() },
            Card { user: "wh\u{f6}", ..app.clone() },
            Card { schema: Some(b"missing".to_vec()), ..app.clone() },
        ];
        let refusal = async |port: u16, card: &Card| -> ServerError {
            Raw::connect(port, card).await.err().unwrap_or_else(|| panic!("{card:?} is let in"))
        };
        for card in &cases {
            let (through, direct) = (refusal(bed.port(), card).await, refusal(bed.cluster.writer.port(), card).await);
            assert_eq!(through, direct, "{flavor}: {card:?}");
        }
        assert_eq!(refused(&bed, &"n".repeat(600), "").await, denied(), "{flavor}: longer than any name");
        assert!(Raw::connect(bed.port(), &app).await.is_ok(), "{flavor}");
        bed.stop().await;
    }
}

/// A writer that is asked is a login that fails there.
#[tokio::test]
async fn floods_of_wrong_passwords_reach_the_writer_as_a_trickle() {
    const GUESSES: usize = 60;
    for flavor in flavors() {
        let cluster = cluster(flavor, 0, Probe::MayNot).await;
        user(&cluster, "victim", "BY 'victim-secret'").await;
        let text = without_users(&cluster, "[timeouts]\nhandshake = \"30s\"\n");
        let bed = Bed::with_config(cluster, &text).await;
        let writer = &bed.cluster.writer;
        drop(connect(&bed, "app", "app-secret").await.unwrap());
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        for kind in ["different", "the same"] {
            let before = refused_logins(writer).await;
            let begun = Instant::now();
            let mut flood = tokio::task::JoinSet::new();
            for guess in 0..GUESSES {
                let password = if kind == "different" { format!("guess-{guess}") } else { "guess".to_owned() };
                flood.spawn(Conn::new(options(&bed, "victim", &password).ssl_opts(Some(tls.clone()))));
            }
            let known = connect(&bed, "app", "app-secret").await;
            assert!(known.is_ok(), "{flavor}: who was proven before does not wait for the flood");
            for outcome in flood.join_all().await {
                assert_eq!(server_error(&outcome.unwrap_err()), denied(), "{flavor}: {kind}");
            }
            let most = 2 + (begun.elapsed().as_millis() / 100) as u64;
            let asked = refused_logins(writer).await - before;
            assert!(asked <= most, "{flavor}: {kind}: {asked} logins in {:?}", begun.elapsed());
            assert!(asked >= 1, "{flavor}: {kind}: nobody asked");
        }
        assert!(connect(&bed, "victim", "victim-secret").await.is_ok(), "{flavor}: the right one gets in");
        // Strangers, each of another name, get no further than the places allow.
        let (proven, mut places) = (&bed.weir.context.proven, Vec::new());
        while let Ok(place) = timeout(Duration::ZERO, proven.place()).await {
            places.push(place);
        }
        assert_eq!(places.len(), 8, "{flavor}");
        let before = refused_logins(writer).await;
        let mut flood = tokio::task::JoinSet::new();
        for stranger in 0..GUESSES {
            flood.spawn(Conn::new(options(&bed, &format!("stranger{stranger}"), "guess").ssl_opts(Some(tls.clone()))));
        }
        assert!(connect(&bed, "app", "app-secret").await.is_ok(), "{flavor}: who was proven needs no place");
        assert_eq!(refused_logins(writer).await, before, "{flavor}: somebody asked without a place");
        drop(places);
        for outcome in flood.join_all().await {
            assert_eq!(server_error(&outcome.unwrap_err()), denied(), "{flavor}: a stranger");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn users_are_listed_for_their_limits() {
    let flavor = flavors()[0];
    let cluster = cluster(flavor, 0, Probe::Reads).await;
    user(&cluster, "few", "BY 'few-secret'").await;
    let text = without_users(&cluster, "[[users]]\nname = \"few\"\nmax_clients = 1\n");
    let bed = Bed::with_config(cluster, &text).await;
    let first = connect(&bed, "few", "few-secret").await.unwrap();
    assert_eq!(refused(&bed, "few", "few-secret").await.0, 1203);
    assert_eq!(refused(&bed, "few", "").await, denied(), "a missing password is not an empty one");
    drop(first);
    until("there is room", async || connect(&bed, "few", "few-secret").await.is_ok()).await;
    bed.stop().await;
}

#[tokio::test]
async fn stock_clients_get_in() {
    for flavor in flavors() {
        let cluster = cluster(flavor, 0, Probe::Reads).await;
        let text = without_users(&cluster, "[passthrough]\nttl = \"1ms\"\n");
        let bed = Bed::with_config(cluster, &text).await;
        let cases: &[(Flavor, &[&str])] = &[
            (Flavor::MySql9, &["--ssl-mode=REQUIRED"]),
            (Flavor::MySql9, &["--ssl-mode=DISABLED", "--get-server-public-key"]),
            (Flavor::MariaDb, &["--skip-ssl"]),
            (Flavor::MariaDb, &["--ssl"]),
        ];
        for (family, arguments) in cases {
            if (*family, flavor) == (Flavor::MySql9, Flavor::MariaDb) {
                // MySQL 9's client has no mysql_native_password, and MariaDB 10.11 no other plugin to offer it.
                continue;
            }
            let Some(mut client) = stock::client(*family, bed.port()) else { continue };
            if let Some(plugins) = stock::plugins().filter(|_| *family == Flavor::MariaDb) {
                client.arg(format!("--plugin-dir={}", plugins.display()));
            }
            let output = client
                .args(*arguments)
                .args(["-e", "SELECT 'fine'", "app"])
                .stdin(Stdio::null())
                .output()
                .await
                .unwrap();
            let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(said, "fine\n", "{family} client with {arguments:?} of {flavor}: {complained}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn no_log_holds_a_secret() {
    for flavor in flavors() {
        let cluster = cluster(flavor, 0, Probe::Reads).await;
        let text = without_users(&cluster, "[log]\nlevel = \"trace\"\n");
        let folder = bed::Folder::new("passthrough");
        let weir = Process::start(&["run", "--config", &folder.file("weir.toml", &text)]);
        let address = weir.address("listening").await;
        let options = |password: &str| {
            OptsBuilder::default()
                .ip_or_hostname("127.0.0.1")
                .tcp_port(address.port())
                .prefer_socket(false)
                .user(Some("app"))
                .pass(Some(password))
        };
        assert!(Conn::new(options("app-secret")).await.is_ok(), "{flavor}");
        assert!(Conn::new(options("gue55")).await.is_err(), "{flavor}");
        weir.logged("login refused").await;
        let log = weir.log();
        let stored =
            cluster.writer.rows("SELECT authentication_string FROM mysql.user WHERE user = 'app'").await.unwrap();
        let stored: Vec<u8> = stored[0].get(0).unwrap();
        let stored = String::from_utf8_lossy(&stored).trim_start_matches('*').to_lowercase();
        for secret in ["app-secret", "gue55", "probe-secret", &stored] {
            assert!(!log.to_lowercase().contains(secret), "{flavor}: {secret} is in the log:\n{log}");
        }
    }
}
