//! Replies to commands of Weir's own, which are short and read whole.

use super::{
    ConnectError, ServerConnection,
    dial::{OWN_REPLY, refused},
};
use crate::{
    net::Scratch,
    protocol::{Capabilities, Change, Malformed, OkPacket, ResultHead, Status, changes, wire::Reader},
};

/// A reply that Weir asked for itself: rows of a text result, or none with an OK.
#[derive(Debug, Default)]
pub struct Reply {
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub status: Status,
    /// The schema that it changed to, in UTF-8.
    pub schema: Option<Vec<u8>>,
}

impl ServerConnection {
    /// Reads one reply to a command of Weir's own.
    pub async fn read_reply(&mut self, scratch: &Scratch) -> Result<Reply, ConnectError> {
        self.packets.sequence = 1;
        let (mut reply, mut payload) = (Reply::default(), Vec::new());
        let deprecate_eof = self.capabilities.has(Capabilities::DEPRECATE_EOF);
        self.packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
        match payload.first() {
            Some(0x00) => {
                let ok = OkPacket::parse(&payload)?;
                reply.status = ok.status;
                reply.schema = changes(ok.changes).flatten().find_map(|change| match change {
                    Change::Schema(name) => Some(name.to_vec()),
                    _ => None,
                });
            }
            Some(0xFE) if payload.len() < 9 => reply.status = OkPacket::parse_eof(&payload)?.status,
            Some(0xFF) => return Err(refused(&payload)),
            _ => {
                let definitions = ResultHead::parse(&payload, self.capabilities)?.definitions();
                for _ in 0..definitions + u64::from(!deprecate_eof) {
                    self.packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
                }
                let mut size = 0;
                loop {
                    self.packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
                    size += payload.len();
                    match payload.first() {
                        Some(0xFE) => break,
                        Some(0xFF) => return Err(refused(&payload)),
                        _ if size > OWN_REPLY => return Err(Malformed("rows").into()),
                        _ => reply.rows.push(text_row(&payload)?),
                    }
                }
            }
        }
        Ok(reply)
    }
}

fn text_row(payload: &[u8]) -> Result<Vec<Option<Vec<u8>>>, Malformed> {
    let (mut reader, mut row) = (Reader::new(payload), Vec::new());
    while let Some(first) = reader.rest().first() {
        if *first == 0xFB {
            reader.u8("NULL")?;
            row.push(None);
        } else {
            row.push(Some(reader.lenenc_bytes("value")?.to_vec()));
        }
    }
    Ok(row)
}
