//! Replies to commands of Weir's own, which are short and read whole.

use super::{
    ConnectError, ServerConnection,
    dial::{OWN_REPLY, refused},
};
use crate::{
    net::Scratch,
    protocol::{Capabilities, Change, HEADER, Malformed, OkPacket, ResultHead, Status, changes, wire::Reader},
};

/// A reply that Weir asked for itself: rows of a text result, or none with an OK.
#[derive(Debug, Default)]
pub struct Reply {
    /// Wide characters of `character_set_results` are UTF-8 here.
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
                let mut width = Width::Narrow;
                for place in 0..definitions + u64::from(!deprecate_eof) {
                    self.packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
                    if place == 0 {
                        width = Width::of(Reader::new(&payload).lenenc_bytes("catalog")?);
                    }
                }
                let mut size = 0;
                loop {
                    self.packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
                    size += HEADER + payload.len();
                    match payload.first() {
                        Some(0xFE) => break,
                        Some(0xFF) => return Err(refused(&payload)),
                        _ if size > OWN_REPLY => return Err(Malformed("rows").into()),
                        _ => reply.rows.push(text_row(&payload, width)?),
                    }
                }
            }
        }
        Ok(reply)
    }
}

fn text_row(payload: &[u8], width: Width) -> Result<Vec<Option<Vec<u8>>>, Malformed> {
    let (mut reader, mut row) = (Reader::new(payload), Vec::new());
    while let Some(first) = reader.rest().first() {
        if *first == 0xFB {
            reader.u8("NULL")?;
            row.push(None);
        } else {
            row.push(Some(width.to_utf8(reader.lenenc_bytes("value")?)));
        }
    }
    Ok(row)
}

/// How wide the characters of a result are, numbers and names alike: `character_set_results` of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    /// ASCII is itself.
    Narrow,
    Utf16,
    Utf16Le,
    Utf32,
}

impl Width {
    /// As the catalog in front of a column definition shows, which always is "def".
    fn of(catalog: &[u8]) -> Self {
        match catalog {
            b"\0d\0e\0f" => Self::Utf16,
            b"d\0e\0f\0" => Self::Utf16Le,
            b"\0\0\0d\0\0\0e\0\0\0f" => Self::Utf32,
            _ => Self::Narrow,
        }
    }

    fn to_utf8(self, text: &[u8]) -> Vec<u8> {
        let units = |unit: fn([u8; 2]) -> u16| {
            let units = text.as_chunks().0.iter().map(|bytes| unit(*bytes));
            char::decode_utf16(units).map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
        };
        match self {
            Self::Narrow => return text.to_vec(),
            Self::Utf16 => units(u16::from_be_bytes),
            Self::Utf16Le => units(u16::from_le_bytes),
            Self::Utf32 => {
                let points = text.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes));
                points.map(|point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
        }
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_width_are_utf8() {
        let table: [(Width, &[u8], &str); 8] = [
            (Width::of(b"def"), b"40", "40"),
            (Width::of(b"\0d\0e\0f"), b"\x004\x000", "40"),
            (Width::of(b"\0d\0e\0f"), b"\xD8\x3D\xDE\x00\0x", "\u{1F600}x"),
            (Width::of(b"\0d\0e\0f"), b"\xD8\x3D", "\u{FFFD}"),
            (Width::of(b"d\0e\0f\0"), b"4\x000\x00", "40"),
            (Width::of(b"\0\0\0d\0\0\0e\0\0\0f"), b"\0\0\x004\0\0\x000", "40"),
            (Width::of(b"\0\0\0d\0\0\0e\0\0\0f"), b"\0\x01\xF6\0\xFF\0\0\0", "\u{1F600}\u{FFFD}"),
            (Width::of(b""), b"", ""),
        ];
        for (width, text, expected) in table {
            assert_eq!(width.to_utf8(text), expected.as_bytes(), "{width:?} {text:02x?}");
        }
    }
}
