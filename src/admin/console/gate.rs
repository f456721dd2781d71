//! What gets through to the console's engine: the commands on a list, whole, well-formed, and one at a time.
//!
//! opensrv-mysql 0.7 trusts what it reads. It answers OK to what it does not know, panics on sequence numbers that
//! wrap, ends the session without a word on text that is not UTF-8, and keeps pointing into a buffer it has freed when
//! one read gives it more than one packet. None of this gets that far: [`admit`] judges every packet, and [`Packets`]
//! never puts two of them into one read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use opensrv_mysql::ErrorKind;
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    sync::mpsc,
    time::timeout,
};

/// Largest payload of a command, bytes.
pub(super) const MAX_PACKET: usize = 64 * 1024;
/// Bytes in front of a payload: its length (3 bytes, little-endian) and a sequence number.
pub(super) const HEADER: usize = 4;
/// How long a client may be idle; what `@@wait_timeout` says.
pub(super) const IDLE: Duration = Duration::from_secs(60 * 60);
/// How long the rest of a packet may take once its first byte is there.
const REST: Duration = Duration::from_secs(30);

/// Text protocol commands (protocol page "Command Phase").
mod command {
    pub(super) const QUIT: u8 = 0x01;
    pub(super) const INIT_DB: u8 = 0x02;
    pub(super) const QUERY: u8 = 0x03;
    pub(super) const PING: u8 = 0x0e;
    pub(super) const STMT_PREPARE: u8 = 0x16;
    pub(super) const STMT_EXECUTE: u8 = 0x17;
    pub(super) const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub(super) const STMT_CLOSE: u8 = 0x19;
    pub(super) const STMT_RESET: u8 = 0x1a;
}

/// Passes admissible commands to the engine until the client quits, goes away or breaks the protocol; the engine
/// then sees the end of its input, after whatever it still has to answer.
///
/// # Errors
/// The stream's, and `TimedOut` for a client that stalls.
pub(super) async fn admit(mut client: impl AsyncRead + Unpin, engine: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    loop {
        let verdict = match read_packet(&mut client).await? {
            Incoming::End => return Ok(()),
            Incoming::TooLarge => Verdict::RefuseAndEnd(Refusal::TooLarge),
            Incoming::Packet { sequence: 0, payload } => judge(&payload).unwrap_or(Verdict::Admit(payload)),
            Incoming::Packet { .. } => Verdict::RefuseAndEnd(Refusal::OutOfOrder),
        };
        let (payload, last) = match verdict {
            Verdict::Admit(payload) => (payload, false),
            Verdict::Refuse(refusal) => (refusal.command(), false),
            Verdict::RefuseAndEnd(refusal) => (refusal.command(), true),
            Verdict::Ignore => continue,
            Verdict::End => return Ok(()),
        };
        // An engine that is gone has already said why.
        if engine.send(framed(0, &payload)).await.is_err() || last {
            return Ok(());
        }
    }
}

enum Incoming {
    Packet { sequence: u8, payload: Vec<u8> },
    TooLarge,
    End,
}

async fn read_packet(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Incoming> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the console's client stalled");
    let mut first = [0];
    if timeout(IDLE, client.read(&mut first)).await.map_err(late)?? == 0 {
        return Ok(Incoming::End);
    }
    let rest = async {
        let mut others = [0; HEADER - 1];
        client.read_exact(&mut others).await?;
        let ([a], [b, c, sequence]) = (first, others);
        let length = payload_length([a, b, c, sequence]);
        if length > MAX_PACKET {
            return Ok(Incoming::TooLarge);
        }
        let mut payload = vec![0; length];
        client.read_exact(&mut payload).await?;
        Ok(Incoming::Packet { sequence, payload })
    };
    timeout(REST, rest).await.map_err(late)?
}

enum Verdict {
    Admit(Vec<u8>),
    /// The reply is an error; the session goes on.
    Refuse(Refusal),
    /// What follows cannot be trusted to be what it seems.
    RefuseAndEnd(Refusal),
    /// A command that has no reply.
    Ignore,
    End,
}

/// What is to become of a command; None: it goes to the engine as it is.
fn judge(payload: &[u8]) -> Option<Verdict> {
    let Some((&code, body)) = payload.split_first() else {
        return Some(Verdict::RefuseAndEnd(Refusal::Malformed));
    };
    match code {
        command::QUIT => Some(Verdict::End),
        command::PING => None,
        command::QUERY | command::STMT_PREPARE | command::INIT_DB => {
            std::str::from_utf8(body).is_err().then_some(Verdict::Refuse(Refusal::NotUtf8))
        }
        // Statement id, flags, iteration count; no statement of the console has parameters.
        command::STMT_EXECUTE => (body.len() < 9).then_some(Verdict::RefuseAndEnd(Refusal::Malformed)),
        command::STMT_CLOSE => (body.len() != 4).then_some(Verdict::RefuseAndEnd(Refusal::Malformed)),
        // Nothing is ever there to be reset, neither a cursor nor parameters: an OK is all there is to say.
        command::STMT_RESET => Some(Verdict::Admit(vec![command::PING])),
        command::STMT_SEND_LONG_DATA => Some(Verdict::Ignore),
        _ => Some(Verdict::Refuse(Refusal::UnknownCommand)),
    }
}

/// Why a command does not get through.
///
/// It travels to the engine as a statement that no client has reason to send: a zero byte and a letter. A client that
/// does send it is refused in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownCommand,
    Malformed,
    TooLarge,
    NotUtf8,
    OutOfOrder,
}

/// A refusal, the statement it travels as, and what the client is told.
const REFUSALS: [(Refusal, &str, ErrorKind, &str); 5] = [
    (Refusal::UnknownCommand, "\0c", ErrorKind::ER_UNKNOWN_COM_ERROR, "Unknown command"),
    (Refusal::Malformed, "\0m", ErrorKind::ER_MALFORMED_PACKET, "Malformed communication packet"),
    (Refusal::TooLarge, "\0l", ErrorKind::ER_NET_PACKET_TOO_LARGE, "The console takes packets of up to 64 KiB"),
    (Refusal::NotUtf8, "\0u", ErrorKind::ER_INVALID_CHARACTER_STRING, "The console takes statements in UTF-8"),
    (Refusal::OutOfOrder, "\0o", ErrorKind::ER_NET_PACKETS_OUT_OF_ORDER, "Got packets out of order"),
];

impl Refusal {
    /// The error for the client, if this is the statement of a refusal.
    pub(super) fn in_query(query: &str) -> Option<(ErrorKind, &'static str)> {
        REFUSALS.iter().find(|(_, text, ..)| *text == query).map(|(.., kind, message)| (*kind, *message))
    }

    fn command(self) -> Vec<u8> {
        let text = REFUSALS.iter().find(|(refusal, ..)| *refusal == self).map_or("\0", |(_, text, ..)| text);
        [&[command::QUERY], text.as_bytes()].concat()
    }
}

/// A payload with its header. The payload is at most [`MAX_PACKET`] long.
pub(super) fn framed(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = (payload.len() as u32).to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

pub(super) fn payload_length([a, b, c, _]: [u8; HEADER]) -> usize {
    u32::from_le_bytes([a, b, c, 0]) as usize
}

/// A way to the engine for one packet at a time.
pub(super) fn packets() -> (mpsc::Sender<Vec<u8>>, Packets) {
    let (sender, queue) = mpsc::channel(1);
    (sender, Packets { queue, current: io::Cursor::default() })
}

/// The engine's input. One read gives bytes of one packet only: the engine reads on only when it has answered, so it
/// never holds two.
pub(super) struct Packets {
    queue: mpsc::Receiver<Vec<u8>>,
    current: io::Cursor<Vec<u8>>,
}

impl AsyncRead for Packets {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.current.position() == self.current.get_ref().len() as u64 {
            match ready!(self.queue.poll_recv(cx)) {
                Some(packet) => self.current = io::Cursor::new(packet),
                None => return Poll::Ready(Ok(())),
            }
        }
        Pin::new(&mut self.current).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// What the engine gets of what a client sends.
    async fn admitted(sent: &[u8]) -> (io::Result<()>, Vec<Vec<u8>>) {
        let (engine, mut queue) = mpsc::channel(16);
        let outcome = admit(sent, engine).await;
        let mut got = Vec::new();
        while let Some(packet) = queue.recv().await {
            got.push(packet);
        }
        (outcome, got)
    }

    #[tokio::test]
    async fn the_list() {
        let ping = framed(0, &[command::PING]);
        /// Name, sequence number, payload, what the engine gets (None: nothing), whether the session goes on.
        type Case = (&'static str, u8, &'static [u8], Option<&'static [u8]>, bool);
        let cases: &[Case] = &[
            ("query", 0, b"\x03SHOW SERVERS", Some(b"\x03SHOW SERVERS"), true),
            ("ping", 0, b"\x0e", Some(b"\x0e"), true),
            ("init db", 0, b"\x02x", Some(b"\x02x"), true),
            ("prepare", 0, b"\x16x", Some(b"\x16x"), true),
            ("execute", 0, b"\x17\x01\0\0\0\0\x01\0\0\0", Some(b"\x17\x01\0\0\0\0\x01\0\0\0"), true),
            ("close", 0, b"\x19\x01\0\0\0", Some(b"\x19\x01\0\0\0"), true),
            ("reset of a statement", 0, b"\x1a\x01\0\0\0", Some(b"\x0e"), true),
            ("quit", 0, b"\x01", None, false),
            ("long data", 0, b"\x18\x01\0\0\0\0\0x", None, true),
            ("change user", 0, b"\x11root\0", Some(b"\x03\0c"), true),
            ("reset", 0, b"\x1f", Some(b"\x03\0c"), true),
            ("field list", 0, b"\x04t\0", Some(b"\x03\0c"), true),
            ("shutdown", 0, b"\x08", Some(b"\x03\0c"), true),
            ("unheard of", 0, b"\xf0", Some(b"\x03\0c"), true),
            ("latin-1", 0, b"\x03SHOW \xe9", Some(b"\x03\0u"), true),
            ("empty", 0, b"", Some(b"\x03\0m"), false),
            ("short execute", 0, b"\x17\x01\0\0\0", Some(b"\x03\0m"), false),
            ("short close", 0, b"\x19\x01", Some(b"\x03\0m"), false),
            ("out of order", 255, b"\x0e", Some(b"\x03\0o"), false),
        ];
        for (name, sequence, payload, passed, goes_on) in cases {
            let sent = [framed(*sequence, payload), ping.clone()].concat();
            let (outcome, got) = admitted(&sent).await;
            let passed = passed.map(|payload| framed(0, payload));
            let wanted: Vec<_> = passed.into_iter().chain(goes_on.then(|| ping.clone())).collect();
            assert_eq!(got, wanted, "{name}");
            assert!(outcome.is_ok(), "{name}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn sizes() {
        let largest = framed(0, &[&[command::QUERY], vec![b'x'; MAX_PACKET - 1].as_slice()].concat());
        assert_eq!(admitted(&largest).await.1, std::slice::from_ref(&largest));
        // A header that announces too much is refused before the payload is there.
        let (outcome, got) = admitted(&[0x01, 0x00, 0x01, 0]).await;
        assert_eq!((outcome.is_ok(), got), (true, vec![framed(0, b"\x03\0l")]));
        let (outcome, got) = admitted(&largest[..100]).await;
        assert_eq!((outcome.unwrap_err().kind(), got), (io::ErrorKind::UnexpectedEof, vec![]));
    }

    #[tokio::test]
    async fn a_read_never_gives_bytes_of_two_packets() {
        let (sender, mut packets) = packets();
        let sending = async {
            sender.send(b"abc".to_vec()).await.unwrap();
            sender.send(b"de".to_vec()).await.unwrap();
            drop(sender);
        };
        let reading = async {
            let mut reads = Vec::new();
            loop {
                let mut space = [0; 2];
                let mut buf = ReadBuf::new(&mut space);
                poll_fn(|cx| Pin::new(&mut packets).poll_read(cx, &mut buf)).await.unwrap();
                match buf.filled() {
                    [] => return reads,
                    bytes => reads.push(bytes.to_vec()),
                }
            }
        };
        let ((), reads) = tokio::join!(sending, reading);
        assert_eq!(reads, [b"ab".to_vec(), b"c".to_vec(), b"de".to_vec()]);
    }

    #[test]
    fn every_refusal_reaches_the_client_as_itself() {
        for (refusal, _, kind, message) in REFUSALS {
            let command = refusal.command();
            let text = std::str::from_utf8(command.strip_prefix(&[command::QUERY]).unwrap()).unwrap();
            let (found, words) = Refusal::in_query(text).unwrap();
            assert_eq!((found as u16, words), (kind as u16, message), "{refusal:?}");
        }
        assert!(Refusal::in_query("SHOW SERVERS").is_none());
    }
}
