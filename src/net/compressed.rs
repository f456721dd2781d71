//! A stream inside compressed packets. Knows their numbers, and no packet inside.
//!
//! Buffers and codecs are there while bytes are on their way, and not while the connection is idle.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Stream,
    codec::{CHUNK, Encoder, Method, Unpacker},
};

/// How much is read from the carrier at once, bytes.
const READ: usize = 16 * 1024;

/// Which part a side has in a conversation: who begins each exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Asks,
    Answers,
}

/// A compressed stream over another one.
pub struct Compressed {
    carrier: Stream,
    part: Part,
    numbers: Numbers,
    /// The number of the next packet, in either direction.
    sequence: u8,
    unpacker: Unpacker,
    /// What was read and not unpacked.
    input: Vec<u8>,
    at: usize,
    encoder: Encoder,
    /// What was packed and not written.
    output: Vec<u8>,
    written: usize,
}

impl fmt::Debug for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

impl Compressed {
    /// `input` is what was read from the carrier already.
    pub fn new(carrier: Stream, method: Method, part: Part, input: Vec<u8>) -> Self {
        Self {
            carrier,
            part,
            numbers: Numbers::default(),
            sequence: 0,
            unpacker: Unpacker::new(method.algorithm),
            input,
            at: 0,
            encoder: Encoder::new(method),
            output: Vec::new(),
            written: 0,
        }
    }

    pub fn part(&self) -> Part {
        self.part
    }

    pub fn carrier(&self) -> &Stream {
        &self.carrier
    }

    pub fn carrier_mut(&mut self) -> &mut Stream {
        &mut self.carrier
    }

    /// The next packet begins an exchange, and so has the number 0.
    pub fn begin(&mut self) {
        self.sequence = 0;
    }

    /// Unpacks into `buffer`. False: more input is needed.
    fn unpack(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        loop {
            let input = self.input.get(self.at..).unwrap_or_default();
            let step = self.unpacker.step(input, buffer.initialize_unfilled())?;
            self.at += step.read;
            if let Some(sequence) = step.sequence {
                self.sequence = sequence.wrapping_add(1);
            }
            if step.written > 0 {
                buffer.advance(step.written);
                return Ok(true);
            }
            if step.read == 0 {
                return Ok(false);
            }
        }
    }

    /// Gives back what an idle connection does not need.
    fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = Vec::new();
            self.unpacker.rest();
        }
    }

    /// Writes what was packed.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = self.output.get(self.written..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.carrier).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Compressed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while buffer.remaining() > 0 && !this.unpack(buffer)? {
            this.input.drain(..this.at);
            this.at = 0;
            let start = this.input.len();
            this.input.resize(start + READ, 0);
            let mut read = ReadBuf::new(this.input.get_mut(start..).unwrap_or_default());
            let result = Pin::new(&mut this.carrier).poll_read(cx, &mut read);
            let count = read.filled().len();
            this.input.truncate(start + count);
            match result {
                Poll::Pending => {
                    this.rest();
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if count > 0 => {}
                Poll::Ready(Ok(())) if start == 0 && this.unpacker.is_between_packets() => break,
                Poll::Ready(Ok(())) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Compressed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let piece = bytes.get(..CHUNK).unwrap_or(bytes);
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match this.part {
            Part::Asks => this.encoder.put(&mut this.output, this.sequence, piece)?,
            Part::Answers => {
                let mut piece = piece.to_vec();
                this.numbers.set(&mut piece, this.sequence);
                this.encoder.put(&mut this.output, this.sequence, &piece)?;
            }
        }
        this.sequence = this.sequence.wrapping_add(1);
        // What does not go out now goes with the next write, or with the flush.
        if let Poll::Ready(Err(error)) = this.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        this.output = Vec::new();
        this.encoder.rest();
        Pin::new(&mut this.carrier).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.carrier).poll_shutdown(cx)
    }
}

/// The numbers of the packets inside. A server goes on with the number of the compressed packet when it flushes, and some
/// clients check that; they take the same at the beginning of every compressed packet.
#[derive(Debug, Default)]
struct Numbers {
    /// The header that is being written: its bytes so far, and its number so far.
    head: [u8; 3],
    seen: usize,
    /// Bytes of the packet that are still to come.
    left: usize,
}

impl Numbers {
    /// Numbers the packets whose number stands in `piece`, from `first`.
    fn set(&mut self, piece: &mut [u8], first: u8) {
        let (mut at, mut next) = (0, first);
        while let Some(byte) = piece.get_mut(at) {
            if self.left > 0 {
                let step = self.left.min(piece.len() - at);
                self.left -= step;
                at += step;
                continue;
            }
            at += 1;
            if let Some(place) = self.head.get_mut(self.seen) {
                *place = *byte;
                self.seen += 1;
                continue;
            }
            *byte = next;
            next = next.wrapping_add(1);
            let [a, b, c] = self.head;
            self.left = u32::from_le_bytes([a, b, c, 0]) as usize;
            self.seen = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::{config::Algorithm, net::Socket};

    fn pair(algorithm: Algorithm, room: usize) -> (Compressed, Compressed) {
        let (one, other) = duplex(room);
        let method = Method { algorithm, level: 3 };
        let end = |end, part| Compressed::new(Stream::Plain(Socket::Memory(end)), method, part, Vec::new());
        (end(one, Part::Asks), end(other, Part::Answers))
    }

    #[tokio::test]
    async fn streams_come_back_and_leave_nothing_behind() {
        let text: Vec<u8> = (0..300_000_u32).map(|number| (number / 7) as u8).collect();
        for algorithm in [Algorithm::Zlib, Algorithm::Zstd] {
            for room in [10, 100_000] {
                let (mut near, mut far) = pair(algorithm, room);
                let write = async {
                    near.write_all(&text).await.unwrap();
                    near.flush().await.unwrap();
                };
                let mut received = vec![0; text.len()];
                let (_, read) = tokio::join!(write, far.read_exact(&mut received));
                read.unwrap();
                assert!(received == text, "{algorithm:?} {room}");
                assert_eq!((near.sequence, far.sequence), (5, 5), "one number for each piece");
                assert_eq!((near.output.capacity(), near.written), (0, 0));
                let mut cx = Context::from_waker(std::task::Waker::noop());
                let mut byte = [0];
                assert!(Pin::new(&mut far).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending());
                assert_eq!(far.input.capacity(), 0);
                drop(near);
                assert_eq!(far.read(&mut byte).await.unwrap(), 0, "an end between packets");
            }
        }
    }

    #[tokio::test]
    async fn an_end_inside_a_packet_is_an_error() {
        let (mut near, far) = duplex(1000);
        let method = Method { algorithm: Algorithm::Zlib, level: 0 };
        let mut far = Compressed::new(Stream::Plain(Socket::Memory(far)), method, Part::Asks, b"\x05\0".to_vec());
        near.write_all(b"\0\0\0\0\0abc").await.unwrap();
        drop(near);
        let mut received = Vec::new();
        let error = far.read_to_end(&mut received).await.unwrap_err();
        assert_eq!((error.kind(), &received[..]), (io::ErrorKind::UnexpectedEof, &b"abc"[..]));
    }

    #[test]
    fn packets_are_numbered_from_that_of_the_compressed_packet() {
        let stream = b"\x01\0\0\x09a\0\0\0\x09\x05\0\0\x09bcdef\x01\0\0\x09g";
        let cases: [(&[usize], [u8; 4]); 4] =
            [(&[27], [7, 8, 9, 10]), (&[5, 22], [7, 8, 9, 10]), (&[8, 19], [7, 8, 9, 10]), (&[15, 12], [7, 8, 9, 8])];
        for (pieces, expected) in cases {
            let (mut numbers, mut at, mut out) = (Numbers::default(), 0, Vec::new());
            for (number, length) in pieces.iter().enumerate() {
                let end = stream.len().min(at + length);
                let mut piece = stream[at..end].to_vec();
                numbers.set(&mut piece, 7 + number as u8);
                out.extend(piece);
                at = end;
            }
            assert_eq!([out[3], out[8], out[12], out[21]], expected, "{pieces:?}");
        }
    }
}
