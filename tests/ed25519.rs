//! `client_ed25519`, MariaDB's plugin of signatures: from drivers and stock clients to Weir, and from Weir to servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::process::Stdio;

use bed::{
    Bed, flavors,
    raw::{Card, MODERN, Raw},
    stock,
};
use mysql_async::{ChangeUserOpts, Conn, SslOpts, prelude::*};
use weir::{
    net::{PacketStream, Scratch, Socket, Stream},
    protocol::{
        Capabilities, Greeting, ServerError,
        login::{Attributes, Login, LoginHead},
    },
    sandbox::{Cluster, Flavor},
};

/// Of users with each plugin, by their names.
const USERS: &str = "[[users]]\nname = \"signer\"\npassword = \"signer-secret\"\nplugin = \"client_ed25519\"\n\
                     [[users]]\nname = \"native\"\npassword = \"native-secret\"\nplugin = \"mysql_native_password\"\n\
                     [[users]]\nname = \"sha2\"\npassword = \"sha2-secret\"\nplugin = \"caching_sha2_password\"\n";

const NAMES: [&str; 3] = ["signer", "native", "sha2"];

/// On MariaDB, `signer`'s account is one of ed25519, too.
async fn bed(flavor: Flavor, replicas: u32) -> Bed {
    let cluster = Cluster::start(flavor, replicas as usize).await.unwrap();
    if flavor == Flavor::MariaDb {
        for server in cluster.servers() {
            server.exec("INSTALL SONAME 'auth_ed25519'").await.unwrap();
        }
    }
    for name in NAMES {
        let how = match (flavor, name) {
            (Flavor::MariaDb, "signer") => format!("VIA ed25519 USING PASSWORD('{name}-secret')"),
            _ => format!("BY '{name}-secret'"),
        };
        cluster.writer.exec(&format!("CREATE USER {name}@'%' IDENTIFIED {how}")).await.unwrap();
        cluster.writer.exec(&format!("GRANT ALL ON app.* TO {name}@'%'")).await.unwrap();
    }
    cluster.wait_caught_up().await.unwrap();
    Bed::with(cluster, USERS).await
}

#[tokio::test]
async fn drivers_prove_passwords_as_the_account_wants_it() {
    for flavor in flavors() {
        let bed = bed(flavor, 1).await;
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        for name in NAMES {
            let password = format!("{name}-secret");
            for tls in [None, Some(tls.clone())] {
                let options = bed.options().user(Some(name)).ssl_opts(tls);
                let mut conn = Conn::new(options.clone().pass(Some(&password))).await.unwrap();
                let user: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap();
                assert_eq!(user, Some(format!("{name}@%")), "{flavor}");
                assert_eq!(conn.query_first("SELECT 1").await.unwrap(), Some(1), "{flavor}: a replica lets {name} in");
                let refused = Conn::new(options.pass(Some("guess"))).await.unwrap_err();
                assert_eq!(bed::server_error(&refused), (1045, "28000".to_owned()), "{flavor}, {name}");
            }
        }
        // From each to each.
        let mut conn = bed.connect().await;
        for name in NAMES.into_iter().chain(["signer", "sha2", "native"]) {
            let change = ChangeUserOpts::default()
                .with_user(Some(name.into()))
                .with_pass(Some(format!("{name}-secret")))
                .with_db_name(Some("app".into()));
            conn.change_user(change).await.unwrap();
            let user: Option<String> = conn.query_first("SELECT CURRENT_USER()").await.unwrap();
            assert_eq!(user, Some(format!("{name}@%")), "{flavor}: changed to {name}");
        }
        let wrong = ChangeUserOpts::default().with_user(Some("signer".into())).with_pass(Some("guess".into()));
        assert_eq!(bed::server_error(&conn.change_user(wrong).await.unwrap_err()).0, 1045, "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn stock_clients_sign() {
    for flavor in flavors() {
        let bed = bed(flavor, 0).await;
        let Some(folder) = stock::plugins() else { return };
        for (user, default) in [
            ("signer", "client_ed25519"),
            ("signer", "mysql_native_password"),
            ("signer", "caching_sha2_password"),
            ("native", "client_ed25519"),
            ("sha2", "client_ed25519"),
            // Who does not care is asked for what the client named.
            ("app", "client_ed25519"),
        ] {
            for tls in ["--skip-ssl", "--ssl"] {
                let Some(mut client) = stock::client(Flavor::MariaDb, bed.port()) else { return };
                client.arg(format!("--plugin-dir={}", folder.display())).arg(format!("--default-auth={default}"));
                client.args([tls, &format!("-u{user}"), &format!("-p{user}-secret"), "-e", "SELECT 'fine'", "app"]);
                let output = client.stdin(Stdio::null()).output().await.unwrap();
                let (said, complained) =
                    (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                assert_eq!(said, "fine\n", "{flavor}: {user} with {default}, {tls}: {complained}");
            }
        }
        bed.stop().await;
    }
}

/// Logs in as `user` with plugin `client_ed25519`, and answers the switch with `answer`. Returns the last word.
async fn word(port: u16, user: &str, answer: &[u8]) -> Vec<u8> {
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut packets = PacketStream::new(Stream::Plain(Socket::Tcp(socket.into())));
    let (scratch, mut payload) = (Scratch::new(4096), Vec::new());
    packets.read_payload(&scratch, &mut payload, 1 << 20).await.unwrap();
    Greeting::parse(&payload).unwrap();
    let capabilities = MODERN
        .with(Capabilities::LONG_PASSWORD)
        .with(Capabilities::PROTOCOL_41)
        .with(Capabilities::SECURE_CONNECTION)
        .with(Capabilities::PLUGIN_AUTH);
    let login = Login {
        head: LoginHead { capabilities, max_packet: 1 << 24, collation: 45 },
        user: user.into(),
        response: Vec::new(),
        schema: None,
        plugin: Some(b"client_ed25519".to_vec()),
        attributes: Attributes::default(),
        zstd_level: None,
    };
    packets.write_payload(&login.payload().unwrap()).await.unwrap();
    packets.read_payload(&scratch, &mut payload, 1 << 20).await.unwrap();
    let message = payload.strip_prefix(b"\xFEclient_ed25519\0").unwrap_or_else(|| panic!("{payload:?}"));
    assert_eq!(message.len(), 32, "MariaDB's clients take no other length");
    packets.write_payload(answer).await.unwrap();
    packets.read_payload(&scratch, &mut payload, 1 << 20).await.unwrap();
    assert!(packets.read_payload(&scratch, &mut Vec::new(), 1 << 20).await.is_err(), "the connection goes on");
    payload
}

#[tokio::test]
async fn whatever_is_no_signature_is_refused_as_by_a_server() {
    for flavor in flavors() {
        let bed = bed(flavor, 0).await;
        for length in [0, 1, 20, 32, 63, 64, 65, 128, 4000] {
            for byte in [0, 0xFF] {
                let answer = vec![byte; length];
                let through = word(bed.port(), "signer", &answer).await;
                let error = ServerError::parse(&through).unwrap();
                assert_eq!((error.code, &error.state), (1045, b"28000"), "{flavor}: {length} bytes {byte:x}");
                if flavor == Flavor::MariaDb {
                    let direct = word(bed.cluster.writer.port(), "signer", &answer).await;
                    assert_eq!(error, ServerError::parse(&direct).unwrap(), "{length} bytes {byte:x}");
                }
            }
        }
        let card = Card { user: "signer", password: "signer-secret", ..Card::app(MODERN) };
        assert!(Raw::connect(bed.port(), &card).await.is_ok(), "{flavor}: nobody else is harmed");
        bed.stop().await;
    }
}
