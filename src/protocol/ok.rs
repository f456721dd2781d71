//! OK and EOF packets: what a server says at the end of a reply, and what a client is told of it.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html>

use super::wire::{Malformed, Reader, put_lenenc, put_lenenc_bytes};

/// Status flags of OK and EOF packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status(pub u16);

impl Status {
    pub const IN_TRANSACTION: Self = Self(0x0001);
    pub const AUTOCOMMIT: Self = Self(0x0002);
    pub const MORE_RESULTS: Self = Self(0x0008);
    pub const CURSOR_EXISTS: Self = Self(0x0040);
    pub const LAST_ROW_SENT: Self = Self(0x0080);
    pub const NO_BACKSLASH_ESCAPES: Self = Self(0x0200);
    /// The result is the output parameters of a prepared `CALL`.
    pub const PS_OUT_PARAMS: Self = Self(0x1000);
    pub const ANSI_QUOTES: Self = Self(0x8000);
    pub const SESSION_STATE_CHANGED: Self = Self(0x4000);
    pub const IN_READ_ONLY_TRANSACTION: Self = Self(0x2000);

    /// The flags that tell of the session; the others tell of the statement that was answered.
    pub const OF_SESSION: Self = Self::IN_TRANSACTION
        .with(Self::AUTOCOMMIT)
        .with(Self::NO_BACKSLASH_ESCAPES)
        .with(Self::IN_READ_ONLY_TRANSACTION)
        .with(Self::ANSI_QUOTES);

    /// Those that tell of a transaction.
    pub const fn of_transaction(self) -> Self {
        Self(self.0 & (Self::IN_TRANSACTION.0 | Self::IN_READ_ONLY_TRANSACTION.0))
    }

    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub const fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    pub const fn without(self, flag: Self) -> Self {
        Self(self.0 & !flag.0)
    }
}

/// An OK packet, or an EOF packet with the fields that it lacks as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OkPacket<'a> {
    pub affected_rows: u64,
    pub insert_id: u64,
    pub status: Status,
    pub warnings: u16,
    pub info: &'a [u8],
    /// Session state changes, for [`changes`]; empty unless `status` says there are some.
    pub changes: &'a [u8],
}

impl<'a> OkPacket<'a> {
    /// Parses an OK packet's payload (first byte `0x00`, or `0xFE` where it stands for EOF) as it is sent to a peer with
    /// `CLIENT_PROTOCOL_41` and `CLIENT_SESSION_TRACK`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8("header")?;
        let affected_rows = reader.lenenc("affected rows")?;
        let insert_id = reader.lenenc("insert id")?;
        let status = Status(reader.u16("status")?);
        let warnings = reader.u16("warnings")?;
        let info = if reader.is_empty() { &[][..] } else { reader.lenenc_bytes("info")? };
        let changed = status.has(Status::SESSION_STATE_CHANGED) && !reader.is_empty();
        let changes = if changed { reader.lenenc_bytes("session state changes")? } else { &[] };
        Ok(Self { affected_rows, insert_id, status, warnings, info, changes })
    }

    /// Parses an EOF packet's payload (first byte `0xFE`, 5 bytes).
    pub fn parse_eof(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8("header")?;
        let warnings = reader.u16("warnings")?;
        let status = Status(reader.u16("status")?);
        Ok(Self { affected_rows: 0, insert_id: 0, status, warnings, info: &[], changes: &[] })
    }

    /// Appends the payload with `header` (`0x00` or `0xFE`). `changes` is written only if the status says so.
    pub fn put(&self, out: &mut Vec<u8>, header: u8) {
        out.push(header);
        put_lenenc(out, self.affected_rows);
        put_lenenc(out, self.insert_id);
        out.extend_from_slice(&self.status.0.to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        let changed = self.status.has(Status::SESSION_STATE_CHANGED);
        if changed || !self.info.is_empty() {
            put_lenenc_bytes(out, self.info);
        }
        if changed {
            put_lenenc_bytes(out, self.changes);
        }
    }
}

/// One change of the session that an OK packet reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    Variable {
        name: &'a [u8],
        value: &'a [u8],
    },
    Schema(&'a [u8]),
    /// Something changed; without a `Variable` or `Schema` in the same packet nobody says what.
    State,
    /// The GTIDs of the transaction that just committed, as text (MySQL).
    Gtids(&'a [u8]),
    /// The SQL that would start the open or next transaction again; empty when there is none.
    Characteristics(&'a [u8]),
    /// Letters `T___W_S_` and so on.
    TransactionState(&'a [u8]),
}

/// Reads [`OkPacket::changes`]. Entries of unknown types are passed over; ends at the first malformed one.
pub fn changes(bytes: &[u8]) -> impl Iterator<Item = Result<Change<'_>, Malformed>> {
    Changes { entries: Reader::new(bytes), variables: Reader::new(&[]) }
}

struct Changes<'a> {
    entries: Reader<'a>,
    /// The rest of an entry that holds several variables.
    variables: Reader<'a>,
}

impl<'a> Changes<'a> {
    fn next_change(&mut self) -> Result<Option<Change<'a>>, Malformed> {
        loop {
            if !self.variables.is_empty() {
                let name = self.variables.lenenc_bytes("variable name")?;
                let value = self.variables.lenenc_bytes("variable value")?;
                return Ok(Some(Change::Variable { name, value }));
            }
            if self.entries.is_empty() {
                return Ok(None);
            }
            let kind = self.entries.u8("change type")?;
            let mut entry = Reader::new(self.entries.lenenc_bytes("change")?);
            return Ok(Some(match kind {
                0 => {
                    self.variables = entry;
                    continue;
                }
                1 => Change::Schema(entry.lenenc_bytes("schema")?),
                2 => Change::State,
                // One byte of encoding, which is always 0, then the text.
                3 => {
                    entry.u8("encoding")?;
                    Change::Gtids(entry.lenenc_bytes("gtids")?)
                }
                4 => Change::Characteristics(entry.lenenc_bytes("characteristics")?),
                5 => Change::TransactionState(entry.lenenc_bytes("transaction state")?),
                _ => continue,
            }));
        }
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Result<Change<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.next_change();
        if result.is_err() {
            *self = Changes { entries: Reader::new(&[]), variables: Reader::new(&[]) };
        }
        result.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        put_lenenc_bytes(&mut out, body);
        out
    }

    #[test]
    fn ok_round_trips() {
        let changed = Status::AUTOCOMMIT.with(Status::SESSION_STATE_CHANGED);
        let cases = [
            OkPacket { affected_rows: 0, insert_id: 0, status: Status(2), warnings: 0, info: b"", changes: b"" },
            OkPacket {
                affected_rows: 300,
                insert_id: 70_000,
                status: Status(3),
                warnings: 7,
                info: b"Rows",
                changes: b"",
            },
            OkPacket {
                affected_rows: 1,
                insert_id: 0,
                status: changed,
                warnings: 0,
                info: b"",
                changes: b"\x02\x01\x31",
            },
        ];
        for ok in cases {
            let mut out = Vec::new();
            ok.put(&mut out, 0);
            assert_eq!(OkPacket::parse(&out), Ok(ok), "{ok:?}");
        }
    }

    #[test]
    fn reads_every_change() {
        let bytes = [
            entry(0, b"\x03foo\x01\x31\x03bar\x00"),
            entry(1, b"\x03app"),
            entry(2, b"1"),
            entry(3, b"\x00\x04u:1-"),
            entry(99, b"whatever"),
            entry(4, b"\x00"),
            entry(5, b"\x08T_______"),
        ]
        .concat();
        let found: Result<Vec<_>, _> = changes(&bytes).collect();
        let expected = vec![
            Change::Variable { name: b"foo", value: b"1" },
            Change::Variable { name: b"bar", value: b"" },
            Change::Schema(b"app"),
            Change::State,
            Change::Gtids(b"u:1-"),
            Change::Characteristics(b""),
            Change::TransactionState(b"T_______"),
        ];
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn a_malformed_change_ends_the_iteration() {
        let found: Vec<_> = changes(b"\x00\x05\x03foo\x09").collect();
        assert_eq!(found, vec![Err(Malformed("variable value"))]);
    }
}
