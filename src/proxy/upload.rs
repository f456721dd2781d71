//! Pumps a file of the client to the server that asked for it (`LOAD DATA LOCAL INFILE`): packets up to an empty one.
//!
//! As in a reply, bytes go on as they come; nothing more is read while the server has not taken what is there.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_local_infile_data.html>

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::relay::{AHEAD, RelayError};
use crate::{
    net::PacketStream,
    protocol::{HEADER, Header, MAX_PAYLOAD},
};

/// One file on its way.
#[derive(Debug, Default)]
pub struct Upload {
    /// The packet header that is being read.
    head: Vec<u8>,
    /// Bytes of the packet that are still to come.
    left: usize,
    /// The packet before was full, so the next one goes on with it.
    continued: bool,
    /// Packets so far, modulo 256.
    packets: u8,
    done: bool,
    /// What the server has not taken.
    pending: Vec<u8>,
    written: usize,
    /// The server is gone. The client hears of it when it has said all, as it does not listen before.
    broken: Option<RelayError>,
    /// Runs while a client whose server is gone says nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// Bytes so far.
    pub received: u64,
}

impl Upload {
    /// Goes on until the file is with the server. The client's packets are numbered from `sequence`. Returns how many
    /// there were, modulo 256, and what became of the server.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (client, server): (&mut PacketStream, &mut PacketStream),
        sequence: u8,
        scratch: &mut [u8],
        patience: Duration,
    ) -> Poll<Result<(u8, Result<(), RelayError>), RelayError>> {
        loop {
            if self.poll_server(cx, server).is_pending() {
                return Poll::Pending;
            }
            if self.done {
                return Poll::Ready(Ok((self.packets, self.broken.take().map_or(Ok(()), Err))));
            }
            let count = match client.poll_read_raw(cx, scratch) {
                Poll::Ready(Ok(count @ 1..)) => count,
                Poll::Ready(_) => return Poll::Ready(Err(RelayError::Client)),
                Poll::Pending if self.broken.is_some() => {
                    let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(patience)));
                    return stall.as_mut().poll(cx).map(|()| Err(RelayError::Client));
                }
                // How long the client may think is the server's to say: it closes.
                Poll::Pending if server.poll_closed(cx, AHEAD).is_ready() => {
                    self.broken = Some(RelayError::Closed);
                    continue;
                }
                Poll::Pending => return Poll::Pending,
            };
            self.stall = None;
            let bytes = scratch.get_mut(..count).unwrap_or_default();
            let Some(taken) = self.walk(bytes, sequence, client.miscounts()) else {
                return Poll::Ready(Err(RelayError::Client));
            };
            self.received += taken as u64;
            let (file, behind) = bytes.split_at(taken);
            client.unread(behind);
            self.write(cx, server, file);
        }
    }

    /// Finds the end of the file: how many of `bytes` belong to it. Numbers are set right if `renumbers`. None: the packets
    /// are out of order.
    fn walk(&mut self, bytes: &mut [u8], sequence: u8, renumbers: bool) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() && !self.done {
            let step = self.left.min(bytes.len() - at);
            at += step;
            self.left -= step;
            let rest = bytes.get(at..).unwrap_or_default();
            let missing = (HEADER - self.head.len()).min(rest.len());
            if self.left > 0 || missing == 0 {
                continue;
            }
            self.head.extend_from_slice(rest.get(..missing).unwrap_or_default());
            at += missing;
            let Some(header) = Header::parse(&self.head) else { continue };
            self.head.clear();
            let expected = sequence.wrapping_add(self.packets);
            if header.sequence != expected {
                // The number is the last byte of a header, whatever came before.
                *bytes.get_mut(at - 1).filter(|_| renumbers)? = expected;
            }
            self.packets = self.packets.wrapping_add(1);
            self.left = header.length;
            self.done = header.length == 0 && !self.continued;
            self.continued = header.length == MAX_PAYLOAD;
        }
        Some(at)
    }

    /// Writes at once what the server takes, and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, server: &mut PacketStream, mut bytes: &[u8]) {
        while self.broken.is_none() && !bytes.is_empty() {
            match server.poll_write_raw(cx, bytes) {
                Poll::Ready(Ok(count @ 1..)) => bytes = bytes.get(count..).unwrap_or_default(),
                Poll::Ready(result) => self.broken = Some(result.map_or_else(Into::into, |_| RelayError::Closed)),
                Poll::Pending => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// Writes what is pending, and flushes.
    fn poll_server(&mut self, cx: &mut Context<'_>, server: &mut PacketStream) -> Poll<()> {
        while self.broken.is_none() && self.written < self.pending.len() {
            match server.poll_write_raw(cx, self.pending.get(self.written..).unwrap_or_default()) {
                Poll::Ready(Ok(count @ 1..)) => self.written += count,
                Poll::Ready(result) => self.broken = Some(result.map_or_else(Into::into, |_| RelayError::Closed)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.pending.clear();
        self.written = 0;
        if self.broken.is_none() {
            match server.poll_flush(cx) {
                Poll::Ready(result) => self.broken = result.err().map(Into::into),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u8, length: usize) -> Vec<u8> {
        let mut bytes = Header { length, sequence }.bytes().to_vec();
        bytes.resize(HEADER + length, 7);
        bytes
    }

    #[test]
    fn the_end_is_found_however_the_file_is_cut() {
        let small = [packet(2, 3), packet(3, 5), packet(4, 0)].concat();
        let full = [packet(2, MAX_PAYLOAD), packet(3, 0), packet(4, 1), packet(5, 0)].concat();
        let many: Vec<u8> =
            (0..600).map(|number| packet(2_u8.wrapping_add(number as u8), 1)).collect::<Vec<_>>().concat();
        let many = [many, packet(2_u8.wrapping_add((600 % 256) as u8), 0)].concat();
        let cases = [(packet(2, 0), 1), (small, 3), (full, 4), (many, (601 % 256) as u8)];
        for (file, packets) in cases {
            for piece in [1, 3, 4, 5, 9, file.len()] {
                if piece < 9 && file.len() > 10_000 {
                    continue;
                }
                let mut upload = Upload::default();
                let mut whole = [&file[..], b"next"].concat();
                let mut at = 0;
                while !upload.done {
                    let end = whole.len().min(at + piece);
                    at += upload.walk(&mut whole[at..end], 2, false).unwrap();
                }
                assert_eq!((at, upload.packets), (file.len(), packets), "{} bytes by {piece}", file.len());
            }
        }
    }

    #[test]
    fn packets_out_of_order_are_found() {
        for mut file in [packet(1, 3), [packet(2, 3), packet(2, 0)].concat()] {
            assert_eq!(Upload::default().walk(&mut file.clone(), 2, false), None, "{file:?}");
            Upload::default().walk(&mut file, 2, true).unwrap();
            assert_eq!(Upload::default().walk(&mut file, 2, false), Some(file.len()), "{file:?}: numbered anew");
        }
    }
}
