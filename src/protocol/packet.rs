//! Packet framing: a 3-byte length, a sequence number, a payload. A payload of [`MAX_PAYLOAD`] bytes goes on in the
//! next packet.

/// The most one packet carries, bytes.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// Length of a packet header, bytes.
pub const HEADER: usize = 4;

/// A packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload that follow.
    pub length: usize,
    pub sequence: u8,
}

impl Header {
    /// The header at the front of `bytes`; None while it is incomplete.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, sequence] = bytes.first_chunk::<HEADER>()?;
        Some(Self { length: u32::from_le_bytes([a, b, c, 0]) as usize, sequence })
    }

    pub fn bytes(self) -> [u8; HEADER] {
        let [a, b, c, _] = (self.length as u32).to_le_bytes();
        [a, b, c, self.sequence]
    }
}

/// Appends `payload` as one or more packets, numbered from `sequence`, which ends as the next number.
pub fn put_packets(out: &mut Vec<u8>, sequence: &mut u8, payload: &[u8]) {
    out.reserve(payload.len() + HEADER);
    let mut chunks = payload.chunks(MAX_PAYLOAD);
    loop {
        let chunk = chunks.next().unwrap_or_default();
        out.extend_from_slice(&Header { length: chunk.len(), sequence: *sequence }.bytes());
        out.extend_from_slice(chunk);
        *sequence = sequence.wrapping_add(1);
        if chunk.len() < MAX_PAYLOAD {
            return;
        }
    }
}

/// Appends what `put` writes as one or more packets, numbered from 0; returns the number behind the last.
pub fn put_framed<E>(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<u8, E> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    put(out)?;
    let length = out.len() - start - HEADER;
    if length >= MAX_PAYLOAD {
        let payload = out.split_off(start + HEADER);
        out.truncate(start);
        let mut sequence = 0;
        put_packets(out, &mut sequence, &payload);
        return Ok(sequence);
    }
    if let Some(place) = out.get_mut(start..start + HEADER) {
        place.copy_from_slice(&Header { length, sequence: 0 }.bytes());
    }
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_the_exact_maximum_is_followed_by_an_empty_packet() {
        for (length, packets) in [(0, 1), (1, 1), (MAX_PAYLOAD - 1, 1), (MAX_PAYLOAD, 2), (2 * MAX_PAYLOAD + 5, 3)] {
            let (mut out, mut sequence) = (Vec::new(), 0);
            put_packets(&mut out, &mut sequence, &vec![7; length]);
            assert_eq!(sequence, packets, "{length}");
            assert_eq!(out.len(), length + HEADER * usize::from(packets), "{length}");
            let mut framed = b"before".to_vec();
            let put = |out: &mut Vec<u8>| {
                out.resize(out.len() + length, 7);
                Ok::<(), ()>(())
            };
            assert_eq!(put_framed(&mut framed, put), Ok(sequence), "{length}");
            assert!(framed.strip_prefix(b"before") == Some(&out[..]), "{length}: the same packets");
        }
    }
}
