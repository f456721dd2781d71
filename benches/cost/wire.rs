//! The few MySQL bytes that both ends of the bench write: packet frames and length-encoded values. Both ends are the
//! bench's own, so payloads are below 16 MiB and a frame is one packet.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a packet header: length (3, little endian) and sequence number.
pub(crate) const HEADER: usize = 4;

/// Appends one packet, whose payload `fill` writes, and moves the sequence number on.
pub(crate) fn put_packet(out: &mut Vec<u8>, sequence: &mut u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0, 0, 0, *sequence]);
    fill(out);
    let length = (out.len() - start - HEADER) as u32;
    out[start..start + 3].copy_from_slice(&length.to_le_bytes()[..3]);
    *sequence = sequence.wrapping_add(1);
}

/// One packet that starts an exchange, as every command does.
pub(crate) fn packet(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    put_packet(&mut out, &mut 0, |out| out.extend_from_slice(payload));
    out
}

/// The payload length that a packet header announces, or None while the header is incomplete.
pub(crate) fn payload_length(bytes: &[u8]) -> Option<usize> {
    let &[a, b, c, _sequence] = bytes.first_chunk::<HEADER>()?;
    Some(u32::from_le_bytes([a, b, c, 0]) as usize)
}

/// Waits for one whole packet: its sequence number and payload.
pub(crate) async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let mut payload = vec![0; payload_length(&header).unwrap_or(0)];
    stream.read_exact(&mut payload).await?;
    Ok((header[3], payload))
}

pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=0xfa => out.push(length as u8),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend((length as u16).to_le_bytes());
        }
        _ => {
            out.push(0xfd);
            out.extend(&(length as u32).to_le_bytes()[..3]);
        }
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}
