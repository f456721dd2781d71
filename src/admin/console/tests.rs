//! The console against a driver and against raw packets, from behind a login that lets everybody in.

use std::net::SocketAddr;

use mysql_async::{Conn, OptsBuilder, Row, Value, prelude::Queryable};
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;
use crate::{admin::doors::tests::doors, telemetry::Reason};

type Session = JoinHandle<io::Result<()>>;

/// Greets, lets in and serves one client, whoever it is, offering these capabilities.
async fn open_door(offered: u32) -> (SocketAddr, Session) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (doors, _ready) = doors();
    doors.metrics.shard(0).reason(Reason::LockingRead).add(5);
    let session = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(&gate::framed(0, &greeting(offered))).await?;
        let mut header = [0; gate::HEADER];
        stream.read_exact(&mut header).await?;
        let mut response = vec![0; gate::payload_length(header)];
        stream.read_exact(&mut response).await?;
        let wanted = u32::from_le_bytes(response[..4].try_into().unwrap());
        stream.write_all(&gate::framed(header[3] + 1, &[0, 0, 0, 2, 0, 0, 0])).await?;
        serve_session(stream, wanted & offered, doors).await
    });
    (address, session)
}

/// `HandshakeV10` (protocol page "Protocol::HandshakeV10").
fn greeting(capabilities: u32) -> Vec<u8> {
    let [a, b, c, d] = capabilities.to_le_bytes();
    let mut greeting = b"\x0a8.0.36-weir\0".to_vec();
    greeting.extend(77u32.to_le_bytes());
    greeting.extend(b"abcdefgh\0");
    greeting.extend([a, b, 45, 2, 0, c, d, 21]);
    greeting.extend([0; 10]);
    greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
    greeting
}

async fn driver(address: SocketAddr) -> Conn {
    let opts = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(address.port()).user(Some("root"));
    Conn::new(opts).await.unwrap()
}

/// With and without `CLIENT_DEPRECATE_EOF`: results end differently.
const OFFERS: [u32; 2] = [CAPABILITIES, CAPABILITIES & !CapabilityFlags::CLIENT_DEPRECATE_EOF.bits()];

fn code(result: mysql_async::Result<Vec<Row>>) -> (u16, String) {
    match result {
        Err(mysql_async::Error::Server(error)) => (error.code, error.state),
        other => panic!("no error of the server: {other:?}"),
    }
}

#[tokio::test]
async fn a_driver_sees_tables_by_text_and_prepared() {
    for offered in OFFERS {
        let (address, session) = open_door(offered).await;
        let mut driver = driver(address).await;
        let by_text: Vec<Row> = driver.query("show servers;").await.unwrap();
        let prepared: Vec<Row> = driver.exec("SHOW SERVERS", ()).await.unwrap();
        for rows in [by_text, prepared] {
            assert_eq!(rows.len(), 2, "{offered:#x}");
            assert_eq!(rows[1].get::<String, _>("server").unwrap(), "db2", "{offered:#x}");
            assert_eq!(rows[1].get::<u64, _>("lag_ms").unwrap(), 1500, "{offered:#x}");
            assert_eq!(rows[0].get::<Value, _>("lag_ms").unwrap(), Value::NULL, "{offered:#x}");
            assert_eq!(rows[0].get::<u64, _>("reads").unwrap(), 40, "{offered:#x}");
        }
        let sessions: Vec<Row> = driver.query("SHOW SESSIONS").await.unwrap();
        assert_eq!(sessions[0].get::<String, _>("decision").unwrap(), "writer transaction", "{offered:#x}");
        driver.ping().await.unwrap();
        driver.disconnect().await.unwrap();
        session.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn every_statement_of_help_runs() {
    let (address, session) = open_door(CAPABILITIES).await;
    let mut driver = driver(address).await;
    let help: Vec<(String, String)> = driver.query("help").await.unwrap();
    assert!(help.len() > 10, "{help:?}");
    for (statement, _) in help {
        let text = statement.replace("<server>", "'db2'").replace("<session>", "7");
        match driver.query_drop(&text).await {
            // The application of this test refuses every reload.
            Err(mysql_async::Error::Server(error)) if text == "RELOAD" => {
                assert!(error.message.contains("servers[0].weight: not a number"), "{error}");
            }
            outcome => assert!(outcome.is_ok(), "{text}: {outcome:?}"),
        }
    }
    driver.disconnect().await.unwrap();
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn switches_change_the_server_they_name() {
    let (address, _session) = open_door(CAPABILITIES).await;
    let mut driver = driver(address).await;
    for (statement, state) in
        [("DRAIN SERVER db2", "drain"), ("disable server \"db2\"", "offline"), ("ENABLE SERVER `db2`", "active")]
    {
        driver.query_drop(statement).await.unwrap();
        let rows: Vec<Row> = driver.query("SHOW SERVERS").await.unwrap();
        let states: Vec<String> = rows.iter().map(|row| row.get("state").unwrap()).collect();
        assert_eq!(states, ["active", state], "{statement}");
    }
}

#[tokio::test]
async fn counts_come_from_the_metrics() {
    let (address, _session) = open_door(CAPABILITIES).await;
    let mut driver = driver(address).await;
    let reasons: Vec<(String, u64)> = driver.query("SHOW REASONS").await.unwrap();
    assert_eq!(reasons.len(), Reason::ALL.len());
    assert!(reasons.contains(&("locking-read".into(), 5)), "{reasons:?}");
}

#[tokio::test]
async fn refusals_have_their_codes_and_the_session_goes_on() {
    let (address, session) = open_door(CAPABILITIES).await;
    let mut driver = driver(address).await;
    for (statement, wanted) in [
        ("SELECT 1", (1064, "42000")),
        ("", (1065, "42000")),
        ("USE mysql", (1049, "42000")),
        ("SELECT @@no_such_variable", (1193, "HY000")),
        ("KILL 8", (1094, "HY000")),
        ("DRAIN SERVER nobody", (1105, "HY000")),
        ("\0c", (1047, "08S01")),
    ] {
        let (code, state) = code(driver.query(statement).await);
        assert_eq!((code, state.as_str()), wanted, "{statement:?}");
    }
    assert_eq!(code(driver.exec("KILL 8", ()).await).0, 1094, "prepared");
    assert_eq!(code(driver.exec("SHOW TABLES", ()).await).0, 1064, "prepared");
    driver.disconnect().await.unwrap();
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_stock_client_shows_tables_and_errors() {
    for offered in OFFERS {
        let (address, session) = open_door(offered).await;
        let port = format!("--port={}", address.port());
        let script = "--execute=SHOW SERVERS; DRAIN SERVER db2; KILL QUERY 7; SHOW HELP; KILL 8";
        let options = ["--no-defaults", "--host=127.0.0.1", &port, "--user=root", "--skip-ssl", "--batch", script];
        let client = match tokio::process::Command::new("mariadb").args(options).output().await {
            Ok(client) => client,
            Err(error) => return println!("skipped, there is no stock client here: {error}"),
        };
        let (shown, errors) = (String::from_utf8_lossy(&client.stdout), String::from_utf8_lossy(&client.stderr));
        assert!(shown.contains("\ndb2\t127.0.0.1:3306\treplica\tno\tactive\t100\tup\t"), "{shown}{errors}");
        assert!(shown.contains("\nDRAIN SERVER <server>\t"), "{shown}");
        assert!(errors.contains("ERROR 1094 (HY000)"), "{errors}");
        session.await.unwrap().unwrap();
    }
}

/// A client of packets, from behind the login, over memory.
struct Raw(DuplexStream);

impl Raw {
    fn new() -> (Self, Session) {
        let (client, stream) = duplex(4096);
        let (doors, ready) = doors();
        let session = tokio::spawn(async move {
            let _ready = ready;
            serve_session(stream, CAPABILITIES, doors).await
        });
        (Self(client), session)
    }

    async fn send(&mut self, payload: &[u8]) {
        self.0.write_all(&gate::framed(0, payload)).await.unwrap();
    }

    /// The next packet's sequence number and payload.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; gate::HEADER];
        self.0.read_exact(&mut header).await.unwrap();
        let mut payload = vec![0; gate::payload_length(header)];
        self.0.read_exact(&mut payload).await.unwrap();
        (header[3], payload)
    }

    async fn is_closed(&mut self) -> bool {
        self.0.read_u8().await.is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    }
}

#[tokio::test]
async fn commands_that_are_not_on_the_list_are_unknown() {
    let (mut client, session) = Raw::new();
    // COM_FIELD_LIST, COM_CHANGE_USER, COM_RESET_CONNECTION, COM_PROCESS_KILL, COM_BINLOG_DUMP, none at all
    for command in [&b"\x04t\0"[..], b"\x11root\0\0\0", b"\x1f", b"\x0c\x07\0\0\0", b"\x12", b"\xee"] {
        client.send(command).await;
        let (sequence, payload) = client.receive().await;
        let text = String::from_utf8_lossy(&payload[3..]);
        assert_eq!(
            (sequence, &payload[..3], &*text),
            (1, &b"\xff\x17\x04"[..], "#08S01Unknown command"),
            "{command:x?}"
        );
    }
    client.send(b"\x0e").await;
    assert_eq!(client.receive().await, (1, vec![0, 0, 0, 0, 0, 0, 0]));
    client.send(b"\x01").await;
    assert!(client.is_closed().await);
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let (mut client, _session) = Raw::new();
    let commands: [&[u8]; 5] = [b"\x0e", b"\x1f", b"\x03KILL 7", b"\x03KILL 8", b"\x0e"];
    let burst: Vec<u8> = commands.iter().flat_map(|command| gate::framed(0, command)).collect();
    client.0.write_all(&burst).await.unwrap();
    let mut firsts = Vec::new();
    for _ in commands {
        let (_, payload) = client.receive().await;
        firsts.push((payload[0], payload.get(1..3).map(|code| u16::from_le_bytes([code[0], code[1]]))));
    }
    assert_eq!(firsts.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0, 0xff, 0, 0xff, 0]);
    assert_eq!((firsts[1].1, firsts[3].1), (Some(1047), Some(1094)));
}

#[tokio::test]
async fn a_packet_that_is_too_large_ends_the_session_with_its_error() {
    let (mut client, session) = Raw::new();
    client.0.write_all(&[0x01, 0x00, 0x01, 0]).await.unwrap();
    let (_, payload) = client.receive().await;
    assert_eq!(&payload[..3], [0xff, 0x81, 0x04]);
    assert!(client.is_closed().await);
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn prepared_statements_are_bounded_and_closable() {
    let (mut client, _session) = Raw::new();
    let prepare = b"\x16SHUTDOWN";
    for id in 1..=64u8 {
        client.send(prepare).await;
        assert_eq!(client.receive().await.1, [0, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "{id}");
    }
    client.send(prepare).await;
    assert_eq!(&client.receive().await.1[..3], [0xff, 0xb5, 0x05]);
    client.send(b"\x19\x07\0\0\0").await;
    client.send(prepare).await;
    assert_eq!(client.receive().await.1[1], 65);
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_ends_its_session() {
    let (mut client, session) = Raw::new();
    client.0.write_all(&[20, 0, 0, 0, 3]).await.unwrap();
    drop(client);
    assert_eq!(session.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn capabilities_that_the_engine_does_not_have_are_an_error() {
    let bits =
        [CapabilityFlags::CLIENT_COMPRESS, CapabilityFlags::CLIENT_SESSION_TRACK, CapabilityFlags::CLIENT_LOCAL_FILES];
    let wrong = bits.map(|bit| CAPABILITIES | bit.bits());
    for capabilities in wrong.into_iter().chain([0]) {
        let outcome = serve_session(duplex(1).0, capabilities, doors().0).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{capabilities:#x}");
    }
}
