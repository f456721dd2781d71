//! Finds the end of a reply by walking packet headers, without decoding rows, so that the load costs little. Knows results
//! without EOF packets only.

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::wire::{HEADER, payload_length};

const BUFFER: usize = 64 * 1024;

/// Reads one reply after the other from a connection.
pub(crate) struct ReplyScan {
    buffer: Box<[u8]>,
    /// Bytes of `buffer` that are read but not scanned: less than a header and one byte.
    unscanned: usize,
    /// Bytes of the current packet that are still to come.
    to_skip: usize,
}

impl Default for ReplyScan {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER].into(), unscanned: 0, to_skip: 0 }
    }
}

/// What the next packet is.
enum Expect {
    ColumnCount,
    /// So many definitions.
    Columns(u8),
    /// So many rows were seen.
    Rows(usize),
    /// Nothing: so many rows were the result.
    Nothing(usize),
}

impl ReplyScan {
    /// Reads a result to its end and returns how many rows it has.
    ///
    /// # Errors
    /// When the connection fails, or the reply is anything but one result.
    pub(crate) async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<usize> {
        let mut expect = Expect::ColumnCount;
        loop {
            let count = stream.read(&mut self.buffer[self.unscanned..]).await?;
            if count == 0 {
                bail!("the connection was closed in the middle of a reply");
            }
            if let Some(rows) = self.scan(self.unscanned + count, &mut expect)? {
                return Ok(rows);
            }
        }
    }

    /// Walks the packets of `buffer[..filled]`. Gives the number of rows once the reply is complete.
    fn scan(&mut self, filled: usize, expect: &mut Expect) -> Result<Option<usize>> {
        let mut place = 0;
        loop {
            let step = self.to_skip.min(filled - place);
            place += step;
            self.to_skip -= step;
            let rest = &self.buffer[place..filled];
            let (Some(length), Some(&first)) = (payload_length(rest), rest.get(HEADER)) else { break };
            *expect = match (&expect, first) {
                (_, 0xff) => bail!("the reply is an error: {}", String::from_utf8_lossy(rest)),
                (Expect::ColumnCount, 0 | 0xfb..) => bail!("the reply is not a result"),
                (Expect::ColumnCount, columns) => Expect::Columns(columns),
                (Expect::Columns(1), _) => Expect::Rows(0),
                (Expect::Columns(columns), _) => Expect::Columns(columns - 1),
                (Expect::Rows(rows), 0xfe) => Expect::Nothing(*rows),
                (Expect::Rows(rows), _) => Expect::Rows(rows + 1),
                (Expect::Nothing(_), _) => bail!("a packet follows the end of the reply"),
            };
            self.to_skip = HEADER + length;
        }
        self.unscanned = filled - place;
        self.buffer.copy_within(place..filled, 0);
        match expect {
            Expect::Nothing(rows) if self.to_skip == 0 => Ok(Some(*rows)),
            _ => Ok(None),
        }
    }
}
