//! Whole payloads off a stream and onto it.

use std::{
    future::poll_fn,
    io,
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex},
    time::timeout,
};

use super::{
    Method, Scratch, Socket, Stream,
    compressed::{Compressed, Part},
};
use crate::protocol::{HEADER, Header, MAX_PAYLOAD, put_packets};

/// How long a peer whose words are refused may go on with them.
const LINGER: Duration = Duration::from_secs(2);

/// Why no payload could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer closed the stream between two payloads.
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// More than this many bytes.
    #[error("a payload of more than {0} bytes")]
    TooLarge(usize),
    #[error("packets out of order")]
    OutOfOrder,
}

/// A stream of packets.
#[derive(Debug)]
pub struct PacketStream {
    stream: Stream,
    /// What was read beyond the last payload.
    inbox: Vec<u8>,
    /// The number of the next packet, in either direction.
    pub sequence: u8,
    /// Bytes the peer was sent, ever.
    pub written: u64,
    /// The peer said something that was not read to its end.
    refused: bool,
}

impl PacketStream {
    pub fn new(stream: Stream) -> Self {
        Self { stream, inbox: Vec::new(), sequence: 0, written: 0, refused: false }
    }

    /// Goes on compressed, in both directions.
    pub fn compress(&mut self, method: Method, part: Part) {
        let (placeholder, _) = duplex(1);
        let carrier = mem::replace(&mut self.stream, Stream::Plain(Socket::Memory(placeholder)));
        let read_ahead = mem::take(&mut self.inbox);
        self.stream = Stream::Compressed(Box::new(Compressed::new(carrier, method, part, read_ahead)));
    }

    /// Whether the peer's packet numbers mean nothing: servers and clients do not count on inside compressed packets as
    /// they do outside, and do not look.
    pub fn miscounts(&self) -> bool {
        matches!(self.stream, Stream::Compressed(_))
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Takes the socket out to put TLS around it; None if there is TLS already, or bytes that came in clear behind
    /// the request for TLS, which must not be taken for encrypted ones (CVE-2021-23222 and its like).
    pub fn into_socket(self) -> Option<Socket> {
        match self.stream {
            Stream::Plain(socket) if self.inbox.is_empty() => Some(socket),
            _ => None,
        }
    }

    /// The bare stream. What was read ahead is lost: a client says nothing between its login and the OK.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Reads one payload, of one or more packets, into `payload`. Not cancel-safe for payloads larger than the
    /// scratch: a cancelled read ends the stream's use.
    ///
    /// # Errors
    /// A payload larger than `limit`, packets out of order, or the stream ended.
    pub async fn read_payload(
        &mut self,
        scratch: &Scratch,
        payload: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ReadError> {
        self.read_payload_with(Manner::Plain, scratch, payload, limit).await
    }

    /// Reads one payload as [`Self::read_payload`]. One that is too large is read to its end and thrown away, as
    /// servers do it: the stream can go on.
    pub async fn read_command(
        &mut self,
        scratch: &Scratch,
        payload: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ReadError> {
        self.read_payload_with(Manner::Skipping, scratch, payload, limit).await
    }

    /// Reads one payload as [`Self::read_payload`], and not a byte behind it: the peer may go on with TLS at once.
    pub async fn read_only_payload(
        &mut self,
        scratch: &Scratch,
        payload: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ReadError> {
        self.read_payload_with(Manner::Only, scratch, payload, limit).await
    }

    async fn read_payload_with(
        &mut self,
        manner: Manner,
        scratch: &Scratch,
        payload: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ReadError> {
        payload.clear();
        let mut reading = Reading { manner, limit, left: None, too_large: false };
        poll_fn(|cx| self.poll_payload(cx, scratch, payload, &mut reading)).await
    }

    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &Scratch,
        payload: &mut Vec<u8>,
        reading: &mut Reading,
    ) -> Poll<Result<(), ReadError>> {
        if !self.inbox.is_empty() {
            let inbox = mem::take(&mut self.inbox);
            let (taken, done) = self.unpack(&inbox, payload, reading)?;
            self.inbox = inbox;
            self.inbox.drain(..taken);
            if done {
                return Poll::Ready(reading.end());
            }
        }
        loop {
            let mut bytes = scratch.borrow_mut();
            let start = self.inbox.len();
            let missing = reading.left.as_ref().map_or(HEADER.saturating_sub(start), |left| left.bytes);
            let end = if reading.manner == Manner::Only { bytes.len().min(start + missing) } else { bytes.len() };
            let mut buffer = ReadBuf::new(bytes.get_mut(start..end).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let count = buffer.filled().len();
            if count == 0 {
                let between = payload.is_empty() && reading.left.is_none() && !reading.too_large && start == 0;
                let error =
                    if between { ReadError::Closed } else { io::Error::from(io::ErrorKind::UnexpectedEof).into() };
                return Poll::Ready(Err(error));
            }
            // What is left of a header goes in front of the new bytes.
            bytes[..start].copy_from_slice(&self.inbox);
            let bytes = &bytes[..start + count];
            if payload.capacity() == 0 {
                *payload = scratch.take_spare();
            }
            let (taken, done) = self.unpack(bytes, payload, reading)?;
            self.inbox.clear();
            self.inbox.extend_from_slice(&bytes[taken..]);
            if done {
                return Poll::Ready(reading.end());
            }
        }
    }

    /// Moves what `bytes` have of the payload into it. Returns the bytes taken and whether the payload is whole.
    fn unpack(
        &mut self,
        bytes: &[u8],
        payload: &mut Vec<u8>,
        reading: &mut Reading,
    ) -> Result<(usize, bool), ReadError> {
        let mut at = 0;
        loop {
            let current = match &mut reading.left {
                Some(current) => current,
                None => {
                    let Some(header) = bytes.get(at..).and_then(Header::parse) else { return Ok((at, false)) };
                    let expected = self.sequence;
                    let sequence = if self.miscounts() { expected } else { header.sequence };
                    // An answer, of whatever kind, follows what the peer counts.
                    self.sequence = sequence.wrapping_add(1);
                    if sequence != expected {
                        self.refused = true;
                        return Err(ReadError::OutOfOrder);
                    }
                    if payload.len() + header.length > reading.limit {
                        if reading.manner != Manner::Skipping {
                            self.refused = true;
                            return Err(ReadError::TooLarge(reading.limit));
                        }
                        reading.too_large = true;
                    }
                    at += HEADER;
                    reading.left.insert(Left { bytes: header.length, last: header.length < MAX_PAYLOAD })
                }
            };
            let step = current.bytes.min(bytes.len() - at);
            if !reading.too_large {
                payload.extend_from_slice(&bytes[at..at + step]);
            }
            at += step;
            current.bytes -= step;
            if current.bytes > 0 {
                return Ok((at, false));
            }
            let last = current.last;
            reading.left = None;
            if last {
                return Ok((at, true));
            }
        }
    }

    /// Writes `payload` as one or more packets with the next sequence numbers.
    pub async fn write_payload(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + HEADER);
        put_packets(&mut bytes, &mut self.sequence, payload);
        self.write_bytes(&bytes).await
    }

    /// Writes packets that are framed already.
    pub async fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Counted first: of a write that fails or is cancelled, nobody can tell how much went out.
        self.written += bytes.len() as u64;
        match &self.stream {
            Stream::Compressed(stream) if stream.part() == Part::Asks => self.write_exchanges(bytes).await?,
            _ => self.stream.write_all(bytes).await?,
        }
        self.stream.flush().await
    }

    /// Each command begins a compressed packet of its own, with the number 0: when it comes to it, the server has
    /// answered what stood in front.
    async fn write_exchanges(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut end = 0;
            while let Some(header) = bytes.get(end..).and_then(Header::parse)
                && (end == 0 || header.sequence != 0)
            {
                end += HEADER + header.length;
            }
            let (exchange, rest) = bytes.split_at_checked(end).filter(|_| end > 0).unwrap_or((bytes, &[]));
            if let Stream::Compressed(stream) = &mut self.stream {
                stream.begin();
            }
            self.stream.write_all(exchange).await?;
            bytes = rest;
        }
        Ok(())
    }

    /// [`Socket::move_here`]. What was read ahead stays.
    pub fn move_here(&mut self) -> io::Result<()> {
        self.stream.move_here()
    }

    pub async fn shutdown(&mut self) {
        // The peer may be gone already, which is what a shutdown is for.
        let _ = self.stream.shutdown().await;
        if self.refused {
            // A socket that is closed with unread bytes is reset, and the peer would lose the last words said to it.
            let _ = timeout(LINGER, self.discard()).await;
        }
    }

    /// Reads until the peer closes.
    async fn discard(&mut self) {
        let mut bytes = [0; 4096];
        while self.stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    }

    /// Reads raw bytes into `buffer`, for the relay. Bytes that were read ahead come first.
    pub fn poll_read_raw(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.inbox.is_empty() {
            let count = self.inbox.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.inbox[..count]);
            self.inbox.drain(..count);
            return Poll::Ready(Ok(count));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    pub fn poll_write_raw(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Gives bytes back, so that the next read sees them first.
    pub fn unread(&mut self, bytes: &[u8]) {
        self.inbox.splice(..0, bytes.iter().copied());
    }

    /// Waits until the peer has closed; as [`Self::poll_closed`]. Cancel-safe.
    pub async fn closed(&mut self, limit: usize) {
        poll_fn(|cx| self.poll_closed(cx, limit)).await;
    }

    /// Waits until the peer says something, which is kept, or closes. Cancel-safe.
    pub async fn heard(&mut self) {
        poll_fn(|cx| {
            let closed = self.inbox.is_empty() && self.poll_closed(cx, 1).is_ready();
            if closed || !self.inbox.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether the peer has said anything, or closed, while nothing was expected of it. Ready(true): it closed.
    /// Bytes that a pipelining peer sent are kept, up to `limit`; beyond it the watch stays pending.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<bool> {
        let mut bytes = [MaybeUninit::uninit(); 2048];
        while self.inbox.len() < limit {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(true),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(true),
                Poll::Ready(Ok(())) => self.inbox.extend_from_slice(buffer.filled()),
            }
        }
        Poll::Pending
    }

    /// Whether an idle connection is fit for use: nothing was received and it is not closed. Costs no system call
    /// unless something happened.
    pub fn is_quiet(&mut self) -> bool {
        if !self.inbox.is_empty() {
            return false;
        }
        if let Stream::Plain(Socket::Tcp(socket)) = &mut self.stream {
            // What is read there is lost: a connection that is not quiet is of no use.
            return socket.is_quiet();
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.poll_closed(&mut cx, 1).is_pending() && self.inbox.is_empty()
    }
}

/// How a payload is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Together with what came behind it.
    Plain,
    /// Without a byte behind it.
    Only,
    /// As [`Self::Plain`]; what is too large is passed over.
    Skipping,
}

/// A payload on its way.
struct Reading {
    manner: Manner,
    limit: usize,
    left: Option<Left>,
    /// It is over the limit: the rest of it is read and thrown away, so that the stream can go on behind it.
    too_large: bool,
}

impl Reading {
    fn end(&self) -> Result<(), ReadError> {
        if self.too_large { Err(ReadError::TooLarge(self.limit)) } else { Ok(()) }
    }
}

/// What is missing of the current packet.
struct Left {
    bytes: usize,
    /// No further packet belongs to the payload.
    last: bool,
}

#[cfg(test)]
mod tests;
