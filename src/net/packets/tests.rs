//! Payloads over real sockets: sizes, pipelines, bad streams, quiet and closed peers.

use super::*;

fn pair() -> (PacketStream, PacketStream) {
    let (one, other) = duplex(64 * 1024);
    let stream = |end| PacketStream::new(Stream::Plain(Socket::Memory(end)));
    (stream(one), stream(other))
}

#[tokio::test]
async fn payloads_of_every_size_arrive_whole() {
    let scratch = Scratch::new(1024);
    for length in [0, 1, 5, 1019, 1020, 1021, 70_000, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 10] {
        let (mut client, mut server) = pair();
        let sent: Vec<u8> = (0..length).map(|place| place as u8).collect();
        let mut received = Vec::new();
        let (written, read) =
            tokio::join!(client.write_payload(&sent), server.read_payload(&scratch, &mut received, usize::MAX));
        written.unwrap();
        read.unwrap();
        assert!(received == sent, "{length} bytes");
        assert_eq!(client.sequence, server.sequence, "{length} bytes");
    }
}

#[tokio::test]
async fn pipelined_payloads_come_one_by_one() {
    let scratch = Scratch::new(1024);
    let (mut client, mut server) = pair();
    client.write_bytes(b"\x01\0\0\0a\x02\0\0\0bc\x01\0\0").await.unwrap();
    let mut payload = Vec::new();
    server.read_payload(&scratch, &mut payload, 10).await.unwrap();
    assert_eq!(payload, b"a");
    server.sequence = 0;
    server.read_payload(&scratch, &mut payload, 10).await.unwrap();
    assert_eq!(payload, b"bc");
    server.sequence = 0;
    client.write_bytes(b"\0d").await.unwrap();
    server.read_payload(&scratch, &mut payload, 10).await.unwrap();
    assert_eq!(payload, b"d");
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_passed_over() {
    let scratch = Scratch::new(1024);
    for length in [11, 5000, MAX_PAYLOAD, MAX_PAYLOAD + 10] {
        let (mut client, mut server) = pair();
        let mut bytes = Vec::new();
        put_packets(&mut bytes, &mut 0, &vec![7; length]);
        put_packets(&mut bytes, &mut 0, b"next");
        let read = async {
            let mut payload = Vec::new();
            let refused = server.read_command(&scratch, &mut payload, 10).await;
            assert!(matches!(refused, Err(ReadError::TooLarge(10))), "{length} bytes: {refused:?}");
            server.sequence = 0;
            server.read_command(&scratch, &mut payload, 10).await.unwrap();
            assert_eq!(payload, b"next", "{length} bytes");
        };
        tokio::join!(async { client.write_bytes(&bytes).await.unwrap() }, read);
    }
}

#[tokio::test]
async fn nothing_is_read_ahead_of_tls() {
    let scratch = Scratch::new(1024);
    for length in [0, 1, 32, 2000] {
        let (mut client, mut server) = pair();
        client.write_payload(&vec![7; length]).await.unwrap();
        client.write_bytes(b"hello").await.unwrap();
        let mut payload = Vec::new();
        server.read_only_payload(&scratch, &mut payload, 4000).await.unwrap();
        assert_eq!(payload.len(), length);
        assert!(server.into_socket().is_some(), "{length} bytes");
    }
}

#[tokio::test]
async fn bad_streams_end_with_their_error() {
    let scratch = Scratch::new(1024);
    let cases: &[(&[u8], &str)] = &[
        (b"", "the peer closed the connection"),
        (b"\x05\0\0\0ab", "the connection broke"),
        (b"\x05", "the connection broke"),
        (b"\x0B\0\0\0elevenbytes", "a payload of more than 10 bytes"),
        (b"\x0B\0\0\0eleven", "a payload of more than 10 bytes"),
        (b"\x01\0\0\x07a", "packets out of order"),
    ];
    for (bytes, expected) in cases {
        let (mut client, mut server) = pair();
        client.write_bytes(bytes).await.unwrap();
        drop(client);
        let error = server.read_payload(&scratch, &mut Vec::new(), 10).await.unwrap_err();
        assert_eq!(error.to_string(), *expected, "{bytes:x?}");
    }
}

#[tokio::test]
async fn a_closed_or_talking_peer_is_not_quiet() {
    let (client, mut server) = pair();
    assert!(server.is_quiet());
    drop(client);
    assert!(!server.is_quiet());
    let (mut client, mut server) = pair();
    client.write_bytes(b"x").await.unwrap();
    assert!(!server.is_quiet());
}
