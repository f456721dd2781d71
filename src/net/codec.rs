//! Compressed packets: seven bytes of header and some bytes of the stream, compressed by zlib or zstd, or as they are
//! where that does not pay.
//!
//! Both directions work in pieces, so that a packet costs no memory of its own size, whatever lengths it claims.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression.html>

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::{
    bulk::Compressor,
    stream::raw::{DParameter, Decoder, Operation},
};

use crate::{config::Algorithm, protocol::Capabilities};

/// Length of the header of a compressed packet, bytes.
pub const HEADER: usize = 7;

/// The most bytes that one packet of Weir's holds.
pub const CHUNK: usize = 64 * 1024;

/// Shorter pieces are sent as they are, as servers and clients do it (`MIN_COMPRESS_LENGTH`), bytes.
const WORTH_IT: usize = 50;

/// Packets hold less than 16 MiB, so no honest frame looks further back.
const WINDOW: DParameter = DParameter::WindowLogMax(24);

/// The level of zstd where nobody asks for another: MySQL's own default.
const ZSTD_LEVEL: u8 = 3;

/// How one side of a connection compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    pub algorithm: Algorithm,
    /// zstd's level, 1 to 22.
    pub level: u8,
}

impl Method {
    /// What a login led to; None: no compression. Whoever asks for both gets zlib. `level` is what the client asked for.
    pub fn agreed(capabilities: Capabilities, level: Option<u8>) -> Option<Self> {
        let algorithm = match capabilities {
            both if both.has(Capabilities::COMPRESS) => Algorithm::Zlib,
            one if one.has(Capabilities::ZSTD) => Algorithm::Zstd,
            _ => return None,
        };
        let level = level.filter(|level| (1..=22).contains(level)).unwrap_or(ZSTD_LEVEL);
        Some(Self { algorithm, level })
    }
}

/// Makes packets.
pub struct Encoder {
    method: Method,
    state: Option<EncoderState>,
}

enum EncoderState {
    Zlib(Compress),
    Zstd(Compressor<'static>),
}

impl Encoder {
    pub fn new(method: Method) -> Self {
        Self { method, state: None }
    }

    /// Appends one packet with the number `sequence` that holds `piece`, which is not longer than [`CHUNK`].
    pub fn put(&mut self, out: &mut Vec<u8>, sequence: u8, piece: &[u8]) -> io::Result<()> {
        let start = out.len();
        out.resize(start + HEADER, 0);
        let mut full_length = piece.len();
        if piece.len() < WORTH_IT || !self.compress(out, piece)? {
            out.truncate(start + HEADER);
            out.extend_from_slice(piece);
            full_length = 0;
        }
        let length = out.len() - start - HEADER;
        let [a, b, c, _] = (length as u32).to_le_bytes();
        let [x, y, z, _] = (full_length as u32).to_le_bytes();
        out.splice(start..start + HEADER, [a, b, c, sequence, x, y, z]);
        Ok(())
    }

    /// Appends `piece` in fewer bytes than it has; false: it does not get shorter.
    fn compress(&mut self, out: &mut Vec<u8>, piece: &[u8]) -> io::Result<bool> {
        let start = out.len();
        let method = self.method;
        let state = match &mut self.state {
            Some(state) => state,
            None => self.state.insert(match method.algorithm {
                Algorithm::Zlib => EncoderState::Zlib(Compress::new(Compression::default(), true)),
                Algorithm::Zstd => EncoderState::Zstd(Compressor::new(method.level.into())?),
            }),
        };
        match state {
            EncoderState::Zlib(zlib) => {
                zlib.reset();
                out.reserve(piece.len());
                let status = zlib.compress_vec(piece, out, FlushCompress::Finish)?;
                Ok(status == Status::StreamEnd && out.len() - start < piece.len())
            }
            EncoderState::Zstd(zstd) => {
                out.resize(start + piece.len(), 0);
                // The one way to fail is that there is no room.
                let Ok(length) = zstd.compress_to_buffer(piece, out.get_mut(start..).unwrap_or_default()) else {
                    return Ok(false);
                };
                out.truncate(start + length);
                Ok(length < piece.len())
            }
        }
    }

    /// Gives the memory back.
    pub fn rest(&mut self) {
        self.state = None;
    }
}

/// Reads packets.
pub struct Unpacker {
    algorithm: Algorithm,
    state: Option<DecoderState>,
    packet: Option<Packet>,
}

enum DecoderState {
    Zlib(Decompress),
    Zstd(Decoder<'static>),
}

/// The rest of a packet.
struct Packet {
    /// Bytes of it that are still to come.
    left: usize,
    /// Bytes that it still has to yield; None: it is not compressed.
    owed: Option<usize>,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub read: usize,
    pub written: usize,
    /// The number of the packet that began.
    pub sequence: Option<u8>,
}

impl Unpacker {
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, state: None, packet: None }
    }

    /// Whether the last packet was read to its end.
    pub fn is_between_packets(&self) -> bool {
        self.packet.is_none()
    }

    /// Gives the memory back; only between packets.
    pub fn rest(&mut self) {
        if self.packet.is_none() {
            self.state = None;
        }
    }

    /// Reads some of `input` and writes what it yields. A step without effect needs more input, or room.
    ///
    /// # Errors
    /// What the sender's algorithm does not write.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Step> {
        let Some(packet) = &mut self.packet else {
            let Some(&[a, b, c, sequence, x, y, z]) = input.first_chunk::<HEADER>() else {
                return Ok(Step { read: 0, written: 0, sequence: None });
            };
            let left = u32::from_le_bytes([a, b, c, 0]) as usize;
            let owed = u32::from_le_bytes([x, y, z, 0]) as usize;
            if left == 0 {
                return Err(corrupt());
            }
            self.packet = Some(Packet { left, owed: (owed > 0).then_some(owed) });
            return Ok(Step { read: HEADER, written: 0, sequence: Some(sequence) });
        };
        let input = input.get(..packet.left.min(input.len())).unwrap_or_default();
        let (read, written) = match &mut packet.owed {
            None => {
                let count = input.len().min(output.len());
                output[..count].copy_from_slice(&input[..count]);
                (count, count)
            }
            Some(owed) => {
                let state = match &mut self.state {
                    Some(state) => state,
                    None => self.state.insert(DecoderState::new(self.algorithm)?),
                };
                // A byte too many shows where there is room for it, and only then is the end of the packet read.
                let mut surplus = [0];
                let room = match *owed {
                    0 => &mut surplus[..],
                    owed => output.get_mut(..owed.min(output.len())).unwrap_or_default(),
                };
                if room.is_empty() || input.is_empty() {
                    return Ok(Step { read: 0, written: 0, sequence: None });
                }
                let (read, written, ended) = state.run(input, room)?;
                let too_much = written > *owed;
                *owed = owed.saturating_sub(written);
                let whole = read == packet.left && *owed == 0;
                let stuck = read == 0 && written == 0;
                let short = read == packet.left && !ended && written < room.len();
                if too_much || ended != whole && (ended || short) || stuck {
                    return Err(corrupt());
                }
                if ended {
                    state.reset()?;
                }
                (read, written)
            }
        };
        packet.left -= read;
        if packet.left == 0 && packet.owed.is_none_or(|owed| owed == 0) {
            self.packet = None;
        }
        Ok(Step { read, written, sequence: None })
    }
}

impl DecoderState {
    fn new(algorithm: Algorithm) -> io::Result<Self> {
        Ok(match algorithm {
            Algorithm::Zlib => Self::Zlib(Decompress::new(true)),
            Algorithm::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(WINDOW)?;
                Self::Zstd(decoder)
            }
        })
    }

    /// Returns bytes read, bytes written, and whether the packet's stream ended.
    fn run(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<(usize, usize, bool)> {
        match self {
            Self::Zlib(zlib) => {
                let (read, written) = (zlib.total_in(), zlib.total_out());
                let status = zlib.decompress(input, output, FlushDecompress::None).map_err(|_| corrupt())?;
                let (read, written) = (zlib.total_in() - read, zlib.total_out() - written);
                Ok((read as usize, written as usize, status == Status::StreamEnd))
            }
            Self::Zstd(zstd) => {
                let status = zstd.run_on_buffers(input, output).map_err(|_| corrupt())?;
                Ok((status.bytes_read, status.bytes_written, status.remaining == 0))
            }
        }
    }

    fn reset(&mut self) -> io::Result<()> {
        match self {
            Self::Zlib(zlib) => zlib.reset(true),
            Self::Zstd(zstd) => zstd.reinit()?,
        }
        Ok(())
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a compressed packet is corrupt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METHODS: [Method; 2] =
        [Method { algorithm: Algorithm::Zlib, level: 0 }, Method { algorithm: Algorithm::Zstd, level: 3 }];

    /// Reads `bytes` in pieces of `piece` into rooms of `room`; returns what they yield.
    fn unpacked(algorithm: Algorithm, bytes: &[u8], piece: usize, room: usize) -> io::Result<Vec<u8>> {
        let mut unpacker = Unpacker::new(algorithm);
        let (mut at, mut end, mut out) = (0, 0, Vec::new());
        let mut output = vec![0; room];
        loop {
            let step = unpacker.step(&bytes[at..end], &mut output)?;
            at += step.read;
            out.extend_from_slice(&output[..step.written]);
            if step.read == 0 && step.written == 0 {
                if end == bytes.len() {
                    let whole = unpacker.is_between_packets() && at == end;
                    return if whole { Ok(out) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
                }
                end = bytes.len().min(end + piece);
            }
        }
    }

    fn packets(method: Method, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(method), Vec::new());
        for (sequence, piece) in pieces.iter().enumerate() {
            encoder.put(&mut out, sequence as u8, piece).unwrap();
        }
        out
    }

    #[test]
    fn pieces_come_back_however_they_are_cut() {
        let noise: Vec<u8> = (0..3000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let long = vec![b'x'; CHUNK];
        let pieces: [&[u8]; 6] = [b"a", &[7; 49], &[7; 50], &noise, &long, b"end"];
        for method in METHODS {
            let bytes = packets(method, &pieces);
            assert!(bytes.len() < 5000, "{method:?}: it gets shorter");
            for (piece, room) in [(1, 1), (1, 5000), (3, 7), (5000, 1), (bytes.len(), 1 << 20)] {
                let found = unpacked(method.algorithm, &bytes, piece, room).unwrap();
                assert!(found == pieces.concat(), "{method:?} {piece} {room}");
            }
        }
    }

    #[test]
    fn what_is_corrupt_is_found() {
        for method in METHODS {
            let good = packets(method, &[&[b'x'; 1000]]);
            assert_eq!(unpacked(method.algorithm, &good, 10, 100).unwrap().len(), 1000);
            let broken = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut bytes = good.clone();
                change(&mut bytes);
                [(1, 1), (4000, 4000), (4000, 1000)]
                    .into_iter()
                    .all(|(piece, room)| unpacked(method.algorithm, &bytes, piece, room).is_err())
            };
            let cases: [(&str, &dyn Fn(&mut Vec<u8>)); 6] = [
                ("an empty packet", &|bytes| bytes[0] = 0),
                ("less than was said", &|bytes| bytes[5] = 4),
                ("more than was said", &|bytes| bytes[5] = 2),
                ("one more than was said", &|bytes| bytes[4] -= 1),
                ("cut short", &|bytes| bytes[0] -= 3),
                ("bytes behind the end", &|bytes| {
                    bytes[0] += 3;
                    bytes.extend(b"abc");
                }),
            ];
            for (name, change) in cases {
                assert!(broken(change), "{method:?}: {name}");
            }
            let random = [&[200, 0, 0, 0, 0, 4, 0][..], &[0xA5; 200]].concat();
            assert!(unpacked(method.algorithm, &random, 4000, 4000).is_err(), "{method:?}: no such stream");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200), zstd: bool, room in 1..300usize) {
            let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Zlib };
            let _ = unpacked(algorithm, &bytes, 50, room);
        }

        #[test]
        fn damage_never_grows(place in 7..100usize, byte: u8, zstd: bool) {
            let method = METHODS[usize::from(zstd)];
            let text: Vec<u8> = (0..2000_u32).map(|number| (number % 251) as u8).collect();
            let mut bytes = packets(method, &[&text]);
            if let Some(damaged) = bytes.get_mut(place) {
                *damaged = byte;
            }
            if let Ok(found) = unpacked(method.algorithm, &bytes, 4000, 300) {
                prop_assert_eq!(found.len(), text.len());
            }
        }
    }
}
