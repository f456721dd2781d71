//! Pumps one reply from a server to a client without decoding rows.
//!
//! Bytes are read into the worker's scratch and written from there at once; only what the client did not take is kept,
//! which is the back-pressure: nothing more is read until it is gone.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::{silence::Silence, upload::Upload};
use crate::{
    net::{PacketStream, Scratch},
    protocol::{Control, HEADER, Header, Malformed, ResponseTracker},
};

/// A pipelining client's bytes that are kept while its statement runs. Beyond it, they stay in the socket.
pub const AHEAD: usize = 64 * 1024;

/// Looks into the packets that end a result, and where it wants to into those that say what the columns are.
pub trait Observer {
    /// `packet` is header and payload. `unseen`: the client has got nothing of the reply yet.
    fn control(&mut self, control: Control, packet: &mut [u8], unseen: bool) -> Result<Verdict, Malformed>;
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The client gets it. It has this length now, and is not longer than before.
    Pass(usize),
    /// The observer has it, and may give it back in front of a later one.
    Keep,
    /// The client gets these bytes in its place, which are so many packets fewer than it would have got, modulo 256, with
    /// those that were kept.
    Replace(Vec<u8>, u8),
    /// The client gets neither it nor what stood in front of it. It must be the reply's last, and the reply unseen.
    Withhold,
}

/// How a relay failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The client went away, broke, or took no byte for too long.
    #[error("the client is gone")]
    Client,
    #[error("the server's connection broke: {0}")]
    Server(#[from] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the server sent a {0}")]
    Malformed(#[from] Malformed),
}

/// One reply on its way.
pub struct Relay<'a, O> {
    client: &'a mut PacketStream,
    server: &'a mut PacketStream,
    tracker: &'a mut ResponseTracker,
    observer: &'a mut O,
    scratch: &'a Scratch,
    pending: Vec<u8>,
    written: usize,
    /// The beginning of a packet that is not whole.
    carry: Vec<u8>,
    /// How long the client may take no byte.
    pub patience: Duration,
    /// Runs while it takes none.
    stall: Option<Pin<Box<Sleep>>>,
    /// Of the server.
    silence: &'a Silence,
    /// What the client was sent before this reply, bytes.
    before: u64,
    /// A file that goes the other way.
    upload: Upload,
    /// What the client says meanwhile is for the server, too.
    listens: bool,
    /// What the server did not take of that.
    said: Vec<u8>,
    /// The bytes of all files.
    pub received: u64,
}

impl<'a, O: Observer> Relay<'a, O> {
    pub fn new(
        client: &'a mut PacketStream,
        server: &'a mut PacketStream,
        tracker: &'a mut ResponseTracker,
        observer: &'a mut O,
        scratch: &'a Scratch,
        silence: &'a Silence,
    ) -> Self {
        let before = client.written;
        Self {
            client,
            server,
            tracker,
            observer,
            scratch,
            pending: Vec::new(),
            written: 0,
            carry: Vec::new(),
            patience: Duration::MAX,
            stall: None,
            silence,
            before,
            upload: Upload::default(),
            listens: false,
            said: Vec::new(),
            received: 0,
        }
    }

    /// Passes on what the client says meanwhile, such as that a semi-synchronous replica has an event.
    pub fn listen_to_client(&mut self) {
        self.listens = true;
    }

    /// Runs until the reply is complete and written. Cancel-safe: what was read and not written is kept in `self`.
    pub async fn run(&mut self) -> Result<(), RelayError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        loop {
            while self.written < self.pending.len() {
                match self.client.poll_write_raw(cx, &self.pending[self.written..]) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.written += count;
                        self.stall = None;
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(RelayError::Client)),
                    Poll::Pending => {
                        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.patience)));
                        return stall.as_mut().poll(cx).map(|()| Err(RelayError::Client));
                    }
                }
            }
            self.pending.clear();
            self.written = 0;
            if self.tracker.is_done() {
                return self.client.poll_flush(cx).map_err(|_| RelayError::Client);
            }
            if self.tracker.awaits_file() {
                ready!(self.poll_upload(cx))?;
                continue;
            }
            let mut scratch = self.scratch.borrow_mut();
            let Some(count) = ready!(self.poll_read(cx, &mut scratch))? else { continue };
            self.walk(cx, &mut scratch[..count])?;
        }
    }

    /// The server has asked for a file: the direction turns round.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RelayError>> {
        ready!(self.client.poll_flush(cx)).map_err(|_| RelayError::Client)?;
        let sequence = self.tracker.boundary().ok_or(Malformed("request for a file"))?;
        let streams = (&mut *self.client, &mut *self.server);
        let mut scratch = self.scratch.borrow_mut();
        let (packets, server) = ready!(self.upload.poll(cx, streams, sequence, &mut scratch, self.patience))?;
        self.tracker.infile_sent(packets);
        self.received += std::mem::take(&mut self.upload).received;
        Poll::Ready(server)
    }

    /// Reads behind what was carried over; returns how much of the scratch is filled.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<Option<usize>, RelayError>> {
        let start = self.carry.len();
        match self.server.poll_read_raw(cx, scratch.get_mut(start..).unwrap_or_default()) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(RelayError::Closed)),
            Poll::Ready(Ok(count)) => {
                self.silence.is_broken();
                scratch[..start].copy_from_slice(&self.carry);
                self.carry.clear();
                Poll::Ready(Ok(Some(start + count)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending => {
                self.silence.begins();
                // What was written so far must reach the client before this waits.
                if self.client.poll_flush(cx).map_err(|_| RelayError::Client)?.is_pending() {
                    return Poll::Pending;
                }
                match self.listens {
                    true => self.poll_client(cx, scratch).map(Err),
                    false => self.client.poll_closed(cx, AHEAD).map(|_| Err(RelayError::Client)),
                }
            }
        }
    }

    /// Passes on what the client says. Ready if one of the two is gone.
    fn poll_client(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<RelayError> {
        loop {
            while !self.said.is_empty() {
                match ready!(self.server.poll_write_raw(cx, &self.said)) {
                    Ok(count) if count > 0 => drop(self.said.drain(..count)),
                    Ok(_) => return Poll::Ready(RelayError::Closed),
                    Err(error) => return Poll::Ready(error.into()),
                }
            }
            if let Err(error) = ready!(self.server.poll_flush(cx)) {
                return Poll::Ready(error.into());
            }
            match ready!(self.client.poll_read_raw(cx, scratch)) {
                Ok(count) if count > 0 => self.said.extend_from_slice(scratch.get(..count).unwrap_or_default()),
                _ => return Poll::Ready(RelayError::Client),
            }
        }
    }

    /// Finds what may go on as it is, shows the rest to the observer, and writes.
    fn walk(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Result<(), RelayError> {
        let (mut from, mut at, mut result_ended) = (0, 0, false);
        loop {
            let progress = self.tracker.advance(&mut bytes[at..])?;
            at += progress.pass;
            let Some(control) = progress.control else { break };
            let unseen = self.client.written == self.before && self.pending.is_empty();
            let packet = &mut bytes[at..at + control.length];
            let verdict = self.observer.control(control, packet, unseen)?;
            match verdict {
                Verdict::Pass(length) if length == control.length => {}
                Verdict::Pass(length) => {
                    self.write(cx, &bytes[from..at + length])?;
                    from = at + control.length;
                }
                Verdict::Keep => {
                    self.write(cx, &bytes[from..at])?;
                    from = at + control.length;
                }
                Verdict::Replace(packets, fewer) => {
                    self.write(cx, &bytes[from..at])?;
                    self.write(cx, &packets)?;
                    self.tracker.omit(fewer);
                    from = at + control.length;
                }
                Verdict::Withhold => from = at + control.length,
            }
            at += control.length;
            if !control.last && control.kind.ends() && self.client.miscounts() {
                // As with a server, which flushes here, the next result begins a compressed packet.
                result_ended = true;
                break;
            }
        }
        self.write(cx, &bytes[from..at])?;
        if result_ended || self.tracker.is_done() {
            // Bytes behind the end of the reply answer nothing that was asked, such as the notice of a server that shuts
            // down. The client has its reply; the next use of the connection finds them.
            self.server.unread(&bytes[at..]);
        } else {
            self.carry.extend_from_slice(&bytes[at..]);
        }
        Ok(())
    }

    /// Writes at once what the client takes, and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> Result<(), RelayError> {
        while self.pending.is_empty() && !bytes.is_empty() {
            match self.client.poll_write_raw(cx, bytes) {
                Poll::Ready(Ok(count)) if count > 0 => bytes = &bytes[count..],
                Poll::Ready(_) => return Err(RelayError::Client),
                Poll::Pending => break,
            }
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }
}

/// Gives a packet a new payload: in its place, if there is room.
pub fn replace_payload(packet: &mut [u8], payload: &[u8]) -> Result<Verdict, Malformed> {
    let Header { sequence, .. } = Header::parse(packet).ok_or(Malformed("header"))?;
    let header = Header { length: payload.len(), sequence }.bytes();
    let length = HEADER + payload.len();
    let Some((own, place)) = packet.get_mut(..length).and_then(|packet| packet.split_at_mut_checked(HEADER)) else {
        return Ok(Verdict::Replace([&header[..], payload].concat(), 0));
    };
    own.copy_from_slice(&header);
    place.copy_from_slice(payload);
    Ok(Verdict::Pass(length))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::{
        net::{Socket, Stream},
        protocol::{Capabilities, Shape},
    };

    const OK: &[u8] = b"\x07\0\0\x01\0\0\0\x02\0\0\0";

    struct Nobody;

    impl Observer for Nobody {
        fn control(&mut self, control: Control, _: &mut [u8], _: bool) -> Result<Verdict, Malformed> {
            Ok(Verdict::Pass(control.length))
        }
    }

    /// Relays `reply` to a client; returns what it got, the result, and the stream to the server.
    async fn relayed(reply: &[u8]) -> (Vec<u8>, Result<(), RelayError>, PacketStream) {
        let stream = |end| PacketStream::new(Stream::Plain(Socket::Memory(end)));
        let ((near, mut client), (far, server)) = (duplex(1024), duplex(1024));
        let (mut to_client, mut to_server) = (stream(near), stream(far));
        let mut server = stream(server);
        server.write_bytes(reply).await.unwrap();
        drop(server);
        let mut tracker = ResponseTracker::new(Shape::Results, Capabilities::DEPRECATE_EOF);
        let scratch = Scratch::new(1024);
        let (mut nobody, silence) = (Nobody, Silence::default());
        let relay = Relay::new(&mut to_client, &mut to_server, &mut tracker, &mut nobody, &scratch, &silence);
        let result = { relay }.run().await;
        let sent = to_client.written;
        drop(to_client);
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(sent, received.len() as u64);
        (received, result, to_server)
    }

    #[tokio::test]
    async fn a_reply_is_passed_on_to_its_end_and_not_further() {
        let behind: &[u8] = b"\x09\0\0\0\xFF\x1D\x04#08S01";
        for notice in [b"", behind] {
            let (received, result, mut server) = relayed(&[OK, notice].concat()).await;
            assert!(result.is_ok(), "{notice:x?}");
            assert_eq!(received, OK, "{notice:x?}");
            assert!(!server.is_quiet(), "{notice:x?}: the server is gone");
        }
    }

    #[tokio::test]
    async fn a_broken_reply_is_an_error() {
        let cases: [(&[u8], &str); 3] = [
            (b"", "the server closed the connection"),
            (&OK[..6], "the server closed the connection"),
            (b"\x01\0\0\x05\0", "the server sent a malformed packet: packet order"),
        ];
        for (reply, expected) in cases {
            let (received, result, _) = relayed(reply).await;
            assert_eq!(result.unwrap_err().to_string(), expected, "{reply:x?}");
            assert_eq!(received, b"", "{reply:x?}");
        }
    }
}
