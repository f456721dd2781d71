//! Logins: every plugin on every channel, from drivers, from stock clients and towards servers; and the refusals, which
//! are a real server's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::process::Stdio;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
    stock,
};
use mysql_async::{Conn, SslOpts, prelude::*};
use weir::{
    protocol::ServerError,
    sandbox::{Cluster, Flavor},
};

/// Every user whose login is tried, besides `app`.
const USERS: &str = "[[users]]\nname = \"limited\"\npassword = \"limited-secret\"\n\
                     [[users]]\nname = \"nobody\"\npassword = \"\"\n\
                     [[users]]\nname = \"strange\"\npassword = \"p'w\\\"d\\\\ é$\"\n";

async fn create_users(cluster: &Cluster) {
    for sql in [
        "CREATE DATABASE hidden",
        "CREATE USER limited@'%' IDENTIFIED BY 'limited-secret'",
        "GRANT SELECT ON app.* TO limited@'%'",
        "CREATE USER nobody@'%' IDENTIFIED BY ''",
        "CREATE USER strange@'%' IDENTIFIED BY 'p''w\"d\\\\ é$'",
    ] {
        cluster.writer.exec(sql).await.unwrap();
    }
    cluster.wait_caught_up().await.unwrap();
}

/// How a login is refused.
async fn refusal(port: u16, card: &Card) -> ServerError {
    Raw::connect(port, card).await.err().unwrap_or_else(|| panic!("{card:?} is let in"))
}

#[tokio::test]
async fn refusals_are_those_of_a_server() {
    let app = Card::app(MODERN);
    let hidden = Some(b"hidden".to_vec());
    let cases = [
        ("wrong password", Card { password: "wrong", ..app.clone() }, 1045, b"28000"),
        ("no password", Card { password: "", ..app.clone() }, 1045, b"28000"),
        ("a password where there is none", Card { user: "nobody", ..app.clone() }, 1045, b"28000"),
        ("unknown user", Card { user: "who", ..app.clone() }, 1045, b"28000"),
        ("unknown user without a password", Card { user: "who", password: "", ..app.clone() }, 1045, b"28000"),
        ("unknown schema", Card { schema: Some(b"missing".to_vec()), ..app.clone() }, 1049, b"42000"),
        (
            "schema without rights",
            Card { user: "limited", password: "limited-secret", schema: hidden, ..app.clone() },
            1044,
            b"42000",
        ),
    ];
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        create_users(&cluster).await;
        let bed = Bed::with(cluster, USERS).await;
        for (name, card, code, state) in &cases {
            let through = refusal(bed.port(), card).await;
            assert_eq!(through, refusal(bed.cluster.writer.port(), card).await, "{flavor}: {name}");
            assert_eq!((through.code, &through.state), (*code, *state), "{flavor}: {name}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn tls_is_required_where_the_config_says_so() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "[tls.client]\nmode = \"required\"\n").await;
        let refused = refusal(bed.port(), &Card::app(MODERN)).await;
        assert_eq!((refused.code, &refused.state), (3159, b"HY000"), "{flavor}");
        if flavor == Flavor::MySql9 {
            // MariaDB says 1045, which tells nobody what to do.
            bed.cluster.writer.exec("SET GLOBAL require_secure_transport = ON").await.unwrap();
            let direct = refusal(bed.cluster.writer.port(), &Card::app(MODERN)).await;
            assert_eq!(refused, direct, "{flavor}");
        }
        let mut conn = bed.connect_tls().await;
        assert_eq!(conn.query_first("SELECT 1").await.unwrap(), Some(1), "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn logins_need_no_server() {
    // Nobody listens on the port of a service that is long gone.
    let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[servers]]\nname = \"db0\"\naddress = \"127.0.0.1:1\"\nrole = \"writer\"\n\
         [[users]]\nname = \"app\"\npassword = \"app-secret\"\n[failover]\nhold = \"100ms\"\n\
         [admin]\nconsole = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n";
    let config = weir::config::parse(text, &weir::config::ProcessSecrets).unwrap();
    let weir = weir::app::start(config, weir::app::Source::Flags).await.unwrap();
    let port = weir.addresses.listeners[0].unwrap().port();
    for schema in [None, Some(b"app".to_vec())] {
        let mut raw = Raw::connect(port, &Card { schema: schema.clone(), ..Card::app(MODERN) }).await.unwrap();
        assert_eq!(error(&raw.ask(b"\x0E", Answer::One).await), None, "a ping in {schema:?}");
        assert_eq!(code(&raw.query("SELECT 1").await), (2003, "HY000".to_owned()), "{schema:?}");
        assert_eq!(error(&raw.ask(b"\x0E", Answer::One).await), None, "the session lives on");
    }
    let wrong = Raw::connect(port, &Card { password: "wrong", ..Card::app(MODERN) }).await;
    assert_eq!(wrong.err().map(|error| error.code), Some(1045));
    weir.shut_down();
    weir.ended().await;
}

#[tokio::test]
async fn drivers_log_in_on_every_channel() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        create_users(&cluster).await;
        let bed = Bed::with(cluster, USERS).await;
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        for (user, password) in
            [("app", "app-secret"), ("limited", "limited-secret"), ("nobody", ""), ("strange", "p'w\"d\\ é$")]
        {
            for tls in [None, Some(tls.clone())] {
                let options =
                    bed.options().user(Some(user)).pass(Some(password)).db_name(None::<&str>).ssl_opts(tls.clone());
                let mut conn = Conn::new(options).await.unwrap_or_else(|error| panic!("{flavor}, {user}: {error}"));
                let name: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap();
                assert_eq!(name, Some(format!("{user}@%")), "{flavor}, TLS {}", tls.is_some());
            }
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn weir_logs_in_to_servers_on_every_channel() {
    for flavor in flavors() {
        for mode in ["disabled", "preferred"] {
            let cluster = Cluster::start(flavor, 1).await.unwrap();
            create_users(&cluster).await;
            let bed = Bed::with(cluster, &format!("{USERS}[tls.server]\nmode = \"{mode}\"\n")).await;
            // A server that has not seen the password since its start wants it whole; from then on it knows a digest.
            for round in ["full", "fast"] {
                for (user, password) in [("limited", "limited-secret"), ("nobody", ""), ("strange", "p'w\"d\\ é$")] {
                    let options = bed.options().user(Some(user)).pass(Some(password)).db_name(None::<&str>);
                    let mut conn = Conn::new(options).await.unwrap();
                    let name: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap();
                    assert_eq!(name, Some(format!("{user}@%")), "{flavor}, {mode}, {round}");
                    let cipher: Option<(String, String)> =
                        conn.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.unwrap();
                    let encrypted = cipher.is_some_and(|(_, cipher)| !cipher.is_empty());
                    let expected = mode == "preferred" && flavor == Flavor::MySql9;
                    assert_eq!(encrypted, expected, "{flavor}, {mode}, {round}");
                    conn.disconnect().await.unwrap();
                }
                for member in &bed.weir.context.cluster.load().members {
                    member.server.pool.drop_idle();
                }
            }
            bed.stop().await;
        }
    }
}

#[tokio::test]
async fn logins_do_with_the_connections_that_are_there() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        for schema in ["app", "app2", "app", "app2", "app"] {
            let card = Card { schema: Some(schema.into()), ..Card::app(MODERN) };
            let mut raw = Raw::connect(bed.port(), &card).await.unwrap();
            assert_eq!(raw.row("SELECT DATABASE()").await, [Some(schema.into())], "{flavor}");
            // Its connection is back when the next command is answered.
            assert!(raw.is_alive().await, "{flavor}");
        }
        let connects = bed.weir.context.metrics.server("db0").connects.value();
        assert_eq!(connects, 1, "{flavor}: connections to the writer");
        bed.stop().await;
    }
}

#[tokio::test]
async fn stock_clients_log_in() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 1).await.unwrap(), "").await;
        let cases: &[(Flavor, &[&str])] = &[
            (Flavor::MySql9, &["--ssl-mode=REQUIRED"]),
            (Flavor::MySql9, &["--ssl-mode=DISABLED", "--get-server-public-key"]),
            (Flavor::MariaDb, &["--skip-ssl"]),
            (Flavor::MariaDb, &["--ssl"]),
            (Flavor::MariaDb, &["--skip-ssl", "--default-auth=mysql_native_password"]),
            (Flavor::MariaDb, &["--ssl", "--default-auth=caching_sha2_password"]),
            (Flavor::MariaDb, &["--skip-ssl", "--default-auth=client_ed25519"]),
        ];
        for (family, arguments) in cases {
            let Some(mut client) = stock::client(*family, bed.port()) else { continue };
            let output = client
                .args(*arguments)
                .args(["-e", "SELECT 'fine', DATABASE(); USE app2; SELECT DATABASE()", "app"])
                .stdin(Stdio::null())
                .output()
                .await
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said, "fine\tapp\napp2\n", "{family} client with {arguments:?} of {flavor}: {complained}");
        }
        bed.stop().await;
    }
}
