//! The commands a client sends, as values.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>

use super::{
    Capabilities, query_attributes,
    wire::{Malformed, Reader},
};

/// Command bytes that Weir itself sends.
pub mod code {
    pub const QUIT: u8 = 0x01;
    pub const INIT_DB: u8 = 0x02;
    pub const QUERY: u8 = 0x03;
    pub const PING: u8 = 0x0E;
    pub const STMT_PREPARE: u8 = 0x16;
    pub const STMT_EXECUTE: u8 = 0x17;
    pub const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub const STMT_CLOSE: u8 = 0x19;
    pub const RESET_CONNECTION: u8 = 0x1F;
    pub const STMT_BULK_EXECUTE: u8 = 0xFA;
}

/// One command of a client. Ids are the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    Quit,
    InitDb(&'a [u8]),
    /// The text, without its attributes.
    Query(&'a [u8]),
    FieldList {
        table: &'a [u8],
    },
    Statistics,
    ProcessKill(u32),
    Ping,
    /// The body, for `login::ChangeUser`.
    ChangeUser(&'a [u8]),
    Prepare(&'a [u8]),
    Execute(Execute<'a>),
    /// `COM_STMT_BULK_EXECUTE` (MariaDB).
    BulkExecute(BulkExecute<'a>),
    LongData {
        statement: u32,
        parameter: u16,
        data: &'a [u8],
    },
    Close {
        statement: u32,
    },
    ResetStatement {
        statement: u32,
    },
    Fetch {
        statement: u32,
    },
    /// Multi-statements on (0) or off (1).
    SetOption(u16),
    ResetConnection,
    /// `COM_REGISTER_SLAVE`: a replica says who it is.
    RegisterReplica,
    /// `COM_BINLOG_DUMP`, `COM_BINLOG_DUMP_GTID`: events, as they happen.
    BinlogDump,
    /// A command that Weir does not pass on: its byte.
    Unsupported(u8),
}

/// `COM_STMT_EXECUTE` behind its statement id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    pub statement: u32,
    /// Cursor type and, with query attributes, `PARAMETER_COUNT_AVAILABLE`.
    pub flags: u8,
    pub iterations: u32,
    /// What [`query_attributes::Parameters`] reads.
    pub parameters: &'a [u8],
}

impl Execute<'_> {
    /// `CURSOR_TYPE_READ_ONLY`, `FOR_UPDATE` or `SCROLLABLE`.
    pub fn wants_cursor(&self) -> bool {
        self.flags & 7 != 0
    }

    /// The flags without `PARAMETER_COUNT_AVAILABLE`.
    pub fn cursor(&self) -> u8 {
        self.flags & !Self::COUNTED
    }

    /// `PARAMETER_COUNT_AVAILABLE`: a count is there though the statement may have no parameters.
    pub const COUNTED: u8 = 8;
}

/// `COM_STMT_BULK_EXECUTE` behind its statement id: one statement with many rows of parameters.
/// <https://mariadb.com/docs/server/reference/clientserver-protocol/3-binary-protocol-prepared-statements/com_stmt_bulk_execute>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkExecute<'a> {
    pub statement: u32,
    pub flags: u16,
    /// The types, two bytes each, if the flags say so; then the rows, each value behind an indicator.
    pub parameters: &'a [u8],
}

impl BulkExecute<'_> {
    /// `SEND_TYPES_TO_SERVER`: types stand in front of the rows. Without, they are those of the execute before.
    pub const TYPED: u16 = 128;
}

/// The field that names a prepared statement.
const STATEMENT: &str = "statement id";

impl<'a> Command<'a> {
    /// Parses a whole payload, as a client with `capabilities` sends it. An empty payload or a known command with a body
    /// too short is malformed.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let (&code, body) = payload.split_first().ok_or(Malformed("command"))?;
        let mut reader = Reader::new(body);
        Ok(match code {
            code::QUIT => Self::Quit,
            code::INIT_DB => Self::InitDb(body),
            code::QUERY => Self::Query(query_attributes::text(body, capabilities)?),
            0x04 => Self::FieldList { table: reader.nul("table")? },
            0x09 => Self::Statistics,
            0x0C => Self::ProcessKill(reader.u32("connection id")?),
            code::PING => Self::Ping,
            0x11 => Self::ChangeUser(body),
            code::STMT_PREPARE => Self::Prepare(body),
            code::STMT_EXECUTE => Self::Execute(Execute {
                statement: reader.u32(STATEMENT)?,
                flags: reader.u8("cursor type")?,
                iterations: reader.u32("iterations")?,
                parameters: reader.rest(),
            }),
            code::STMT_BULK_EXECUTE if capabilities.has(Capabilities::STMT_BULK_OPERATIONS) => {
                Self::BulkExecute(BulkExecute {
                    statement: reader.u32(STATEMENT)?,
                    flags: reader.u16("bulk flags")?,
                    parameters: reader.rest(),
                })
            }
            code::STMT_SEND_LONG_DATA => Self::LongData {
                statement: reader.u32(STATEMENT)?,
                parameter: reader.u16("parameter")?,
                data: reader.rest(),
            },
            code::STMT_CLOSE => Self::Close { statement: reader.u32(STATEMENT)? },
            0x1A => Self::ResetStatement { statement: reader.u32(STATEMENT)? },
            0x1B => Self::SetOption(reader.u16("option")?),
            0x1C => {
                let statement = reader.u32(STATEMENT)?;
                reader.u32("row count")?;
                Self::Fetch { statement }
            }
            code::RESET_CONNECTION => Self::ResetConnection,
            0x15 => Self::RegisterReplica,
            0x12 | 0x1E => Self::BinlogDump,
            other => Self::Unsupported(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_every_command() {
        let cases: &[(&[u8], Result<Command<'_>, Malformed>)] = &[
            (b"", Err(Malformed("command"))),
            (b"\x01", Ok(Command::Quit)),
            (b"\x02app", Ok(Command::InitDb(b"app"))),
            (b"\x03SELECT 1", Ok(Command::Query(b"SELECT 1"))),
            (b"\x04t\0wild", Ok(Command::FieldList { table: b"t" })),
            (b"\x04t", Err(Malformed("table"))),
            (b"\x09", Ok(Command::Statistics)),
            (b"\x0C\x07\0\0\0", Ok(Command::ProcessKill(7))),
            (b"\x0C\x07", Err(Malformed("connection id"))),
            (b"\x0E", Ok(Command::Ping)),
            (b"\x11u\0", Ok(Command::ChangeUser(b"u\0"))),
            (b"\x16SELECT ?", Ok(Command::Prepare(b"SELECT ?"))),
            (
                b"\x17\x02\0\0\0\x01\x01\0\0\0\0\x01",
                Ok(Command::Execute(Execute { statement: 2, flags: 1, iterations: 1, parameters: b"\0\x01" })),
            ),
            (b"\x17\x02\0\0\0", Err(Malformed("cursor type"))),
            (
                b"\xFA\x02\0\0\0\x80\0\x03\0",
                Ok(Command::BulkExecute(BulkExecute { statement: 2, flags: 128, parameters: b"\x03\0" })),
            ),
            (b"\xFA\x02\0\0\0\x80", Err(Malformed("bulk flags"))),
            (b"\x18\x02\0\0\0\x03\0abc", Ok(Command::LongData { statement: 2, parameter: 3, data: b"abc" })),
            (b"\x19\x02\0\0\0", Ok(Command::Close { statement: 2 })),
            (b"\x1A\x02\0\0\0", Ok(Command::ResetStatement { statement: 2 })),
            (b"\x1B\x01\0", Ok(Command::SetOption(1))),
            (b"\x1C\x02\0\0\0\x0A\0\0\0", Ok(Command::Fetch { statement: 2 })),
            (b"\x1C\x02\0\0\0", Err(Malformed("row count"))),
            (b"\x1F", Ok(Command::ResetConnection)),
            (b"\x12\x04\0\0\0", Ok(Command::BinlogDump)),
            (b"\x1E", Ok(Command::BinlogDump)),
            (b"\x15\x07\0\0\0", Ok(Command::RegisterReplica)),
            (b"\x0D", Ok(Command::Unsupported(0x0D))),
            (b"\xFF", Ok(Command::Unsupported(0xFF))),
        ];
        for (payload, expected) in cases {
            assert_eq!(Command::parse(payload, Capabilities::STMT_BULK_OPERATIONS), *expected, "{payload:x?}");
        }
    }
}
