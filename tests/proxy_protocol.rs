//! The PROXY protocol: who connects through a load balancer is known by its own address, and nobody else can claim one;
//! servers that ask for it are told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::process::{Child, Command, Stdio};

use bed::{
    Bed, PATIENCE, flavors,
    raw::{Card, MODERN, Raw},
    until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use weir::sandbox::{Cluster, Flavor};

const V1: &[u8] = b"PROXY TCP4 10.1.2.3 127.0.0.1 8080 6033\r\n";
const V1_OTHER: &[u8] = b"PROXY TCP4 10.1.2.4 127.0.0.1 8080 6033\r\n";
const V1_V6: &[u8] = b"PROXY TCP6 2001:db8::9 ::1 8080 6033\r\n";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\x0A\x01\x02\x03\x7F\0\0\x01\x1F\x90\x17\x91\x04\0\x01x";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Weir whose listener takes the word of `network`.
async fn bed(flavor: Flavor, network: &str, extra: &str) -> Bed {
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let listener = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";
    let trusting = format!("{listener}proxy_protocol = [\"{network}\"]\n");
    // The fewest connections, so that they are shared wherever they can be.
    let few = "role = \"writer\"\nmax_connections = 1\n";
    let basics = bed::basics(&cluster).replace(listener, &trusting).replace("role = \"writer\"\n", few);
    // A key of no section comes first.
    let text = match extra.starts_with("auth = ") {
        true => format!("{extra}{basics}"),
        false => format!("{basics}{extra}"),
    };
    Bed::with_config(cluster, &text).await
}

async fn introduced(port: u16, header: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(header).await.unwrap();
    socket
}

async fn connect(bed: &Bed, header: &[u8]) -> Raw {
    Raw::log_in(introduced(bed.port(), header).await, &Card::app(MODERN)).await.unwrap()
}

/// What the other side says to `header` before it closes.
async fn said(port: u16, header: &[u8]) -> Vec<u8> {
    let mut socket = introduced(port, header).await;
    let mut said = Vec::new();
    // A reset ends it as well as a close.
    let _ = timeout(PATIENCE, socket.read_to_end(&mut said)).await.expect("closed in time");
    said
}

#[tokio::test]
async fn the_header_tells_who_the_client_is() {
    let rule =
        "[[rules]]\nname = \"elsewhere\"\nclient_addresses = [\"10.1.0.0/16\"]\nregex = 'reject me'\nto = \"reject\"\n";
    for flavor in flavors() {
        let bed = bed(flavor, "127.0.0.0/8", rule).await;
        for (header, client, rejected) in [
            (V1, "10.1.2.3:8080", true),
            (V2, "10.1.2.3:8080", true),
            (V1_V6, "[2001:db8::9]:8080", false),
            (V1_UNKNOWN, "127.0.0.1:", false),
            (V2_LOCAL, "127.0.0.1:", false),
        ] {
            let mut raw = connect(&bed, header).await;
            let session = bed.weir.context.sessions.find(raw.id).unwrap();
            assert!(session.client.starts_with(client), "{flavor}: {header:?}: {}", session.client);
            assert_eq!(raw.value("SELECT 'app'").await, b"app", "{flavor}: {header:?}");
            let reply = raw.query("SELECT 'reject me'").await;
            assert_eq!(bed::raw::error(&reply).is_some(), rejected, "{flavor}: {header:?}");
            let wrong = Card { password: "wrong", ..Card::app(MODERN) };
            let refused = Raw::log_in(introduced(bed.port(), header).await, &wrong).await.err().unwrap();
            let text = String::from_utf8_lossy(&refused.message).into_owned();
            let host = client.trim_end_matches(":8080").trim_matches([':', '[', ']']);
            assert!(text.contains(&format!("'app'@'{host}'")), "{flavor}: {header:?}: {text}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn who_must_introduce_itself_and_does_not_is_refused() {
    let flavor = flavors().into_iter().next().unwrap();
    let bed = bed(flavor, "127.0.0.1", "[timeouts]\nhandshake = \"3s\"\n").await;
    for header in [
        &b""[..],
        b"PROXY ",
        b"PROXY TCP4 10.1.2.3\r\n",
        b"PROXY TCP4 10.1.2.3 127.0.0.1 8080 99999\r\n",
        b"\x20\0\0\x01\x85\xa6\xff\x01",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02ab",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFFnever so long",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0C0123456789ab",
    ] {
        let said = said(bed.port(), header).await;
        assert_eq!(said.get(3..7), Some(&b"\0\xFF\x13\x04"[..]), "{header:?}: {said:?}");
    }
    let mut raw = connect(&bed, V1).await;
    assert_eq!(raw.value("SELECT 1").await, b"1");
    bed.stop().await;
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let flavor = flavors().into_iter().next().unwrap();
    let bed = bed(flavor, "10.0.0.0/8", "").await;
    for header in [V1, V2] {
        let said = said(bed.port(), header).await;
        let greeting = usize::from(said[0]) + 4;
        assert_eq!(said[4], 10, "the greeting");
        assert_eq!(said.get(greeting + 4), Some(&0xFF), "{header:?}: an error and nothing else: {said:?}");
    }
    let mut raw = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
    assert_eq!(raw.value("SELECT 1").await, b"1");
    bed.stop().await;
}

#[tokio::test]
async fn those_who_introduce_themselves_count_as_clients() {
    let flavor = flavors().into_iter().next().unwrap();
    let bed = bed(flavor, "127.0.0.1", "[limits]\nmax_clients = 2\n").await;
    let _silent = [introduced(bed.port(), b"PROXY ").await, introduced(bed.port(), b"PROXY ").await];
    let refused = said(bed.port(), V1).await;
    assert_eq!(refused.get(5..7), Some(&1040u16.to_le_bytes()[..]), "{refused:?}");
    bed.stop().await;
}

#[tokio::test]
async fn servers_are_told_who_the_client_is() {
    let flavor = Flavor::MariaDb;
    if !flavors().contains(&flavor) {
        return;
    }
    let bed = bed(flavor, "127.0.0.1", "[pool]\nproxy_protocol = true\n").await;
    bed.cluster.writer.exec("SET GLOBAL proxy_protocol_networks = '127.0.0.1'").await.unwrap();
    let user = "/* weir:writer */ SELECT USER()";
    // Whoever asks for CONNECTION_ID() keeps it.
    let thread = "SELECT id FROM information_schema.processlist WHERE info LIKE '%me%'";
    let (mut one, mut same, mut other) =
        (connect(&bed, V1).await, connect(&bed, V2).await, connect(&bed, V1_OTHER).await);
    assert_eq!(one.value(user).await, b"app@10.1.2.3");
    assert_eq!(same.value(user).await, b"app@10.1.2.3");
    assert_eq!(one.value(thread).await, same.value(thread).await, "one address, one connection");
    assert_eq!(other.value(user).await, b"app@10.1.2.4");
    assert_ne!(other.value(thread).await, same.value(thread).await);
    assert_eq!(connect(&bed, V1_V6).await.value(user).await, b"app@2001:db8::9");
    // What has no address is told as Weir's own.
    assert_eq!(connect(&bed, V2_LOCAL).await.value(user).await, b"app@127.0.0.1");
    bed.stop().await;
}

#[tokio::test]
async fn servers_judge_users_by_the_address_that_they_are_told() {
    let flavor = Flavor::MariaDb;
    if !flavors().contains(&flavor) {
        return;
    }
    let bed = bed(flavor, "127.0.0.1", "auth = \"passthrough\"\n[pool]\nproxy_protocol = true\n").await;
    for sql in [
        "SET GLOBAL proxy_protocol_networks = '127.0.0.1'",
        "CREATE USER guest@'10.1.2.3' IDENTIFIED BY 'three'",
        "CREATE USER guest@'10.1.2.4' IDENTIFIED BY 'four'",
    ] {
        bed.cluster.writer.exec(sql).await.unwrap();
    }
    let card = |password| Card { user: "guest", password, schema: None, ..Card::app(MODERN) };
    // Twice: what is remembered of one address says nothing of the other.
    for _ in 0..2 {
        for (header, right, wrong, host) in [(V1, "three", "four", "10.1.2.3"), (V1_OTHER, "four", "three", "10.1.2.4")]
        {
            let mut raw = Raw::log_in(introduced(bed.port(), header).await, &card(right)).await.unwrap();
            assert_eq!(raw.value("SELECT CURRENT_USER()").await, format!("guest@{host}").as_bytes());
            let refused = Raw::log_in(introduced(bed.port(), header).await, &card(wrong)).await.err().unwrap();
            let text = format!("error 1045 (28000): Access denied for user 'guest'@'{host}' (using password: YES)");
            assert_eq!(refused.to_string(), text);
        }
    }
    bed.stop().await;
}

/// HAProxy in front of Weir, killed when dropped.
struct Balancer(Child, u16);

impl Balancer {
    async fn start(weir: u16, send: &str) -> Self {
        // Below those that the kernel gives to outgoing connections: nobody takes it meanwhile.
        let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = std::iter::repeat_with(|| rand::random_range(10_000..20_000)).find(free).unwrap();
        let config = std::env::temp_dir().join(format!("weir-haproxy-{port}.cfg"));
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen weir\n bind 127.0.0.1:{port}\n server weir 127.0.0.1:{weir} {send}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-f").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = Self(command.spawn().unwrap(), port);
        until("HAProxy listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        std::fs::remove_file(config).unwrap();
        child
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already, which the test has noticed then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn haproxy_introduces_its_clients() {
    if !std::path::Path::new("/usr/sbin/haproxy").exists() {
        eprintln!("skipped: HAProxy is not installed");
        return;
    }
    for flavor in flavors() {
        let bed = bed(flavor, "127.0.0.1", "").await;
        for send in ["send-proxy", "send-proxy-v2"] {
            let balancer = Balancer::start(bed.port(), send).await;
            let socket = TcpStream::connect(("127.0.0.1", balancer.1)).await.unwrap();
            let client = socket.local_addr().unwrap();
            let mut raw = Raw::log_in(socket, &Card::app(MODERN)).await.unwrap();
            let session = bed.weir.context.sessions.find(raw.id).unwrap();
            assert_eq!(session.client, client.to_string(), "{flavor}: {send}");
            assert_eq!(raw.value("SELECT 1").await, b"1", "{flavor}: {send}");
        }
        bed.stop().await;
    }
}
