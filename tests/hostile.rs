//! Clients that break the protocol, stall, lie or come in crowds: each gets a clear answer or none, nothing hangs or
//! grows, and the other sessions never notice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::{Duration, Instant};

use bed::{Bed, PATIENCE, flavors, http, resident, server_error, until};
use mysql_async::{Conn, prelude::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use weir::sandbox::Cluster;

/// `CLIENT_LONG_PASSWORD | CLIENT_PROTOCOL_41 | CLIENT_TRANSACTIONS | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH`
const CAPABILITIES: u32 = 0x0000_0001 | 0x0000_0200 | 0x0000_2000 | 0x0000_8000 | 0x0008_0000;
const SSL: u32 = 0x0000_0800;

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u32).to_le_bytes();
    [&size[..3], &[sequence], payload].concat()
}

/// A login of `user`, whose password it does not know.
fn login(capabilities: u32, user: &[u8]) -> Vec<u8> {
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend((1u32 << 24).to_le_bytes());
    payload.push(45);
    payload.extend([0; 23]);
    payload.extend(user);
    payload.push(0);
    payload.push(20);
    payload.extend([7; 20]);
    payload.extend(b"mysql_native_password\0");
    payload
}

/// The answer of `mysql_native_password`.
fn native(nonce: &[u8], password: &[u8]) -> [u8; 20] {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY as SHA1, digest};
    let once = digest(&SHA1, password);
    let twice = digest(&SHA1, once.as_ref());
    let mask = digest(&SHA1, &[nonce, twice.as_ref()].concat());
    std::array::from_fn(|at| once.as_ref()[at] ^ mask.as_ref()[at])
}

/// A client that writes bytes as it likes.
struct Raw(TcpStream);

impl Raw {
    /// Connects and takes the greeting.
    async fn greeted(bed: &Bed) -> Self {
        let mut raw = Self(TcpStream::connect(("127.0.0.1", bed.port())).await.unwrap());
        let greeting = raw.packet().await.unwrap();
        assert_eq!(greeting[0], 10, "protocol version 10");
        raw
    }

    /// Logs in as `app`.
    async fn admitted(bed: &Bed) -> Self {
        let mut raw = Self(TcpStream::connect(("127.0.0.1", bed.port())).await.unwrap());
        let greeting = raw.packet().await.unwrap();
        let version = greeting[1..].iter().position(|byte| *byte == 0).unwrap() + 2;
        let second = version + 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10;
        let nonce = [&greeting[version + 4..version + 12], &greeting[second..second + 12]].concat();
        let mut payload = login(CAPABILITIES, b"app");
        let at = payload.len() - b"mysql_native_password\0".len() - 20;
        let scramble = native(&nonce, b"app-secret");
        payload[at..at + 20].copy_from_slice(&scramble);
        raw.say(&packet(1, &payload)).await;
        let mut answer = raw.packet().await.unwrap();
        if answer[0] == 0xFE {
            // Weir prefers another plugin first: it is asked to go on with this one.
            let nonce = &answer[answer.iter().position(|byte| *byte == 0).unwrap() + 1..];
            let scramble = native(&nonce[..20], b"app-secret");
            raw.say(&packet(3, &scramble)).await;
            answer = raw.packet().await.unwrap();
        }
        assert_eq!(answer[0], 0, "{}", String::from_utf8_lossy(&answer));
        raw
    }

    /// The peer may have closed already, which the answers tell.
    async fn say(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await.expect("written in time");
    }

    /// The next payload; None: the stream ended.
    async fn packet(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        timeout(PATIENCE, self.0.read_exact(&mut header)).await.expect("an answer in time").ok()?;
        let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
        timeout(PATIENCE, self.0.read_exact(&mut payload)).await.expect("a whole answer in time").ok()?;
        Some(payload)
    }

    /// The number of the error that comes next; None: the stream ended without a word.
    async fn error(&mut self) -> Option<u16> {
        let payload = self.packet().await?;
        assert_eq!(payload[0], 0xFF, "{}", String::from_utf8_lossy(&payload));
        Some(u16::from_le_bytes([payload[1], payload[2]]))
    }

    async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        !matches!(timeout(PATIENCE, self.0.read(&mut byte)).await.expect("closed in time"), Ok(1))
    }
}

async fn bed(extra: &str) -> Option<Bed> {
    let cluster = Cluster::start(flavors().into_iter().next()?, 0).await.unwrap();
    Some(Bed::with(cluster, extra).await)
}

/// Everybody who was hostile is gone, and nothing is left of them.
async fn only(bed: &Bed, sessions: usize) {
    until(&format!("{sessions} sessions are left"), async || {
        let metrics = &bed.weir.context.metrics;
        bed.weir.context.sessions.count() == sessions && metrics.clients() == sessions as u64
    })
    .await;
}

#[tokio::test]
async fn garbage_before_the_login() {
    let Some(bed) = bed("[timeouts]\nhandshake = \"2s\"\n").await else { return };
    let mut witness = bed.connect().await;
    let cases: [(&str, Vec<u8>, Option<u16>); 9] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Some(1156)),
        ("zeros", vec![0; 64], Some(1156)),
        ("an empty packet", packet(1, b""), Some(1043)),
        ("a packet that is not a login", packet(1, b"\x03SELECT 1"), Some(1043)),
        ("random bytes in a packet", packet(1, &[0xA5; 300]), Some(1043)),
        ("the wrong number", packet(7, &login(CAPABILITIES, b"app")), Some(1156)),
        ("a length that lies upwards", [&[0xFF, 0xFF, 0xFF, 1][..], &[0; 100]].concat(), Some(1043)),
        ("a protocol of before 4.1", packet(1, b"\x00\x00\x00\x00\x01app\0"), Some(1251)),
        ("a wrong password", packet(1, &login(CAPABILITIES, b"app")), Some(1045)),
    ];
    for (what, bytes, expected) in cases {
        let mut raw = Raw::greeted(&bed).await;
        raw.say(&bytes).await;
        let mut found = raw.packet().await;
        if found.as_ref().is_some_and(|payload| payload[0] == 0xFE) {
            // An auth switch: the same wrong password in its words.
            raw.say(&packet(3, &[7; 20])).await;
            found = raw.packet().await;
        }
        let found = found.map(|payload| u16::from_le_bytes([payload[1], payload[2]]));
        assert!(found == expected || what == "a protocol of before 4.1" && found == Some(1043), "{what}: {found:?}");
        assert!(raw.is_closed().await, "{what}");
        witness.query_drop("SELECT 1").await.unwrap();
    }
    only(&bed, 1).await;
    drop(witness);
    bed.stop().await;
}

#[tokio::test]
async fn a_login_that_stalls_or_ends_anywhere() {
    let Some(bed) = bed("[timeouts]\nhandshake = \"2s\"\n").await else { return };
    let mut witness = bed.connect().await;
    let whole = packet(1, &login(CAPABILITIES, b"app"));
    // Silence, half a header, half a login: a deadline ends them all.
    let begun = Instant::now();
    let mut stalled = Vec::new();
    for cut in [0, 2, 4, 40, whole.len() - 1] {
        let mut raw = Raw::greeted(&bed).await;
        raw.say(&whole[..cut]).await;
        stalled.push((cut, raw));
    }
    let mut tls = Raw::greeted(&bed).await;
    let ssl_request = &login(CAPABILITIES | SSL, b"")[..32];
    tls.say(&packet(1, ssl_request)).await;
    for (cut, raw) in &mut stalled {
        assert_eq!(raw.error().await, Some(1159), "stalled after {cut} bytes");
        assert!(raw.is_closed().await, "stalled after {cut} bytes");
    }
    assert!(tls.is_closed().await, "a TLS handshake that stalls");
    assert!(begun.elapsed() >= Duration::from_secs(2), "not before the deadline");
    // Cut at every byte: nothing stays.
    for cut in 0..whole.len() {
        let mut raw = Raw::greeted(&bed).await;
        raw.say(&whole[..cut]).await;
    }
    only(&bed, 1).await;
    // TLS garbage, and words in clear behind the request for TLS.
    for (what, bytes) in [
        ("garbage", vec![0x5A; 500]),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 40]),
        ("a record that lies", vec![22, 3, 1, 0xFF, 0xFF, 1, 2, 3]),
        ("a login in clear", packet(2, &login(CAPABILITIES | SSL, b"app"))),
    ] {
        let mut raw = Raw::greeted(&bed).await;
        raw.say(&[packet(1, ssl_request), bytes].concat()).await;
        // What comes may be a TLS alert; that it ends is what counts.
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, raw.0.read_to_end(&mut rest)).await.expect(what);
        assert!(rest.len() < 100, "{what}: {rest:?}");
    }
    only(&bed, 1).await;
    witness.query_drop("SELECT 1").await.unwrap();
    drop(witness);
    bed.stop().await;
}

#[tokio::test]
async fn names_of_every_length() {
    let Some(bed) = bed("").await else { return };
    for length in [0, 1, 48, 255, 256, 1000, 60_000] {
        let mut raw = Raw::greeted(&bed).await;
        raw.say(&packet(1, &login(CAPABILITIES, &vec![b'u'; length]))).await;
        let mut answer = raw.packet().await.unwrap();
        if answer[0] == 0xFE {
            raw.say(&packet(3, &[7; 20])).await;
            answer = raw.packet().await.unwrap();
        }
        let code = u16::from_le_bytes([answer[1], answer[2]]);
        assert_eq!((answer[0], code), (0xFF, 1045), "{length}");
        assert!(answer.len() < 250, "{length}: the answer does not repeat it all");
    }
    let mut raw = Raw::greeted(&bed).await;
    raw.say(&packet(1, &login(CAPABILITIES, &vec![b'u'; 70_000]))).await;
    assert_eq!(raw.error().await, Some(1043), "a login of 70 kB");
    only(&bed, 0).await;
    bed.stop().await;
}

#[tokio::test]
async fn commands_that_break_the_protocol() {
    let Some(bed) = bed("[limits]\nmax_packet = \"1MiB\"\n").await else { return };
    let mut witness = bed.connect().await;
    let query = packet(0, b"\x03SELECT 'whole'");
    for cut in 0..query.len() {
        let mut raw = Raw::admitted(&bed).await;
        raw.say(&query[..cut]).await;
    }
    only(&bed, 1).await;
    // A session survives what it can, and hears of the rest.
    for (what, bytes, code, ends) in [
        ("an empty command", packet(0, b""), 1835, false),
        ("an unknown command", packet(0, b"\xAB"), 1047, false),
        ("an unknown command with a body", packet(0, &[0xEE; 1000]), 1047, false),
        ("an execute without an id", packet(0, b"\x17\x01"), 1835, false),
        ("an execute of nothing", packet(0, b"\x17\x63\0\0\0\0\x01\0\0\0"), 1243, false),
        ("a fetch of nothing", packet(0, b"\x1C\x63\0\0\0\x01\0\0\0"), 1243, false),
        ("a dump without the right to it", packet(0, b"\x12\0\0\0\0\0\0\0\0\0\0"), 1236, true),
        ("the wrong number", packet(3, b"\x0E"), 1156, true),
        ("a command that is too long", packet(0, &vec![b'x'; 3 << 20]), 1153, false),
    ] {
        let mut raw = Raw::admitted(&bed).await;
        raw.say(&bytes).await;
        assert_eq!(raw.error().await, Some(code), "{what}");
        if ends {
            raw.0.shutdown().await.ok();
            assert!(raw.is_closed().await, "{what}");
        } else {
            raw.say(&packet(0, b"\x0E")).await;
            assert_eq!(raw.packet().await.unwrap()[0], 0, "{what}: a ping is answered");
        }
    }
    // Who hangs up within a command that is too long is gone.
    let mut raw = Raw::admitted(&bed).await;
    raw.say(&[&[0xFF, 0xFF, 0xFF, 0][..], &vec![3; 2 << 20]].concat()).await;
    drop(raw);
    only(&bed, 1).await;
    // The driver, too, reads the error as an answer.
    let error = witness.query_drop(format!("SELECT '{}'", "x".repeat(2 << 20))).await.unwrap_err();
    assert_eq!(server_error(&error), (1153, "08S01".to_owned()), "{error}");
    drop(witness);
    only(&bed, 0).await;
    bed.stop().await;
}

#[tokio::test]
async fn too_many_clients() {
    let Some(bed) = bed("[limits]\nmax_clients = 3\n").await else { return };
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(bed.connect().await);
    }
    for _ in 0..20 {
        let error = Conn::new(bed.options()).await.unwrap_err();
        assert_eq!(server_error(&error).0, 1040, "{error}");
    }
    assert_eq!(bed.weir.context.metrics.clients_refused.value(), 20);
    for conn in &mut inside {
        conn.query_drop("SELECT 1").await.unwrap();
    }
    inside.pop().unwrap().disconnect().await.unwrap();
    until("a place is free", async || Conn::new(bed.options()).await.is_ok()).await;
    drop(inside);
    bed.stop().await;
}

#[tokio::test]
async fn ten_thousand_come_and_go() {
    let Some(bed) = bed("").await else { return };
    let mut witness = bed.connect().await;
    let before = resident();
    for round in 0..100 {
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(TcpStream::connect(("127.0.0.1", bed.port())).await.unwrap());
        }
        // Some leave with a reset, some after the greeting, most without a word.
        for (number, stream) in crowd.iter_mut().enumerate() {
            match number % 10 {
                0 => socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap(),
                1 => drop(stream.read(&mut [0; 200]).await),
                2 => drop(stream.write_all(b"\x20\0\0\x01").await),
                _ => {}
            }
        }
        drop(crowd);
        if round % 10 == 0 {
            witness.query_drop("SELECT 1").await.unwrap();
        }
    }
    only(&bed, 1).await;
    let door = bed.weir.addresses.http.unwrap();
    let (_, metrics) = http::get(door, "/metrics").await;
    assert!(metrics.contains("weir_clients 1\n"), "{metrics}");
    assert!(metrics.contains("weir_clients_total 10001\n"), "{metrics}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more than before");
    drop(witness);
    bed.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read() {
    let Some(bed) = bed("[timeouts]\nclient_write = \"2s\"\n[pool]\nacquire_timeout = \"60s\"\n").await else { return };
    bed.edit(
        &std::fs::read_to_string(bed.config_file())
            .unwrap()
            .replace("role = \"writer\"\n", "role = \"writer\"\nmax_connections = 2\n"),
    );
    until("there are two connections", async || bed.weir.context.config.load().servers[0].max_connections == 2).await;
    let mut witness = bed.connect().await;
    witness.query_drop("CREATE TABLE big (v LONGTEXT)").await.unwrap();
    witness.query_drop("INSERT INTO big VALUES (REPEAT('x', 4000000))").await.unwrap();
    witness
        .query_drop("INSERT INTO big SELECT a.v FROM big a, (SELECT 1 UNION SELECT 2 UNION SELECT 3) b")
        .await
        .unwrap();
    let before = resident();
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut raw = Raw::admitted(&bed).await;
        // Many commands, and a reply of 16 MB to each, of which nobody reads a byte.
        raw.say(&packet(0, b"\x03SELECT v FROM app.big").repeat(100)).await;
        deaf.push(raw);
    }
    // They hold every connection there is, for as long as `client_write` says.
    witness.query_drop("SELECT 1").await.unwrap();
    let grown = resident().saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more than before");
    only(&bed, 1).await;
    drop((deaf, witness));
    bed.stop().await;
}

#[tokio::test]
async fn half_open_clients_and_dead_ones_leave_nothing_behind() {
    let Some(bed) = bed("[timeouts]\nclient_idle = \"1s\"\n").await else { return };
    let mut busy = bed.connect().await;
    // One that shuts its side down and waits for more.
    let mut half = Raw::admitted(&bed).await;
    half.say(&packet(0, b"\x03SELECT 'whole'")).await;
    half.0.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, half.0.read_to_end(&mut rest)).await.expect("it is closed");
    // One that says nothing more.
    let mut silent = Raw::admitted(&bed).await;
    assert_eq!(silent.error().await, Some(4031), "idle for too long");
    // One that goes away in the middle of its statement, which ends on the server, too.
    let mut gone = Raw::admitted(&bed).await;
    gone.say(&packet(0, b"\x03SELECT SLEEP(100)")).await;
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(100)'";
    let count = async || bed.cluster.writer.rows(running).await.unwrap()[0].get::<u32, _>(0).unwrap();
    until("it runs", async || count().await == 1).await;
    drop(gone);
    until("it is stopped", async || count().await == 0).await;
    busy.query_drop("SELECT 1").await.unwrap_err();
    only(&bed, 0).await;
    bed.stop().await;
}
