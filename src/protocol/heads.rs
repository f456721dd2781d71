//! The first packets of replies with definitions: of results with columns, and to `COM_STMT_PREPARE`.

use super::{
    Capabilities,
    wire::{Malformed, Reader},
};

/// The first packet of a result with columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultHead {
    pub columns: u16,
    /// The definitions of the columns follow. Without, the client has them, or wants none.
    pub defined: bool,
}

impl ResultHead {
    /// Reads the payload, as a connection with `capabilities` gets it.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let count = reader.lenenc("column count")?;
        // No server has more than 16 bits can count, which is how those of a prepared statement are told; clients
        // allocate by it.
        let columns = u16::try_from(count).map_err(|_| Malformed("column count"))?;
        Ok(Self { columns, defined: !flags_definitions(capabilities) || reader.u8("definitions flag")? != 0 })
    }

    /// How many definitions follow.
    pub fn definitions(self) -> u64 {
        if self.defined { self.columns.into() } else { 0 }
    }
}

/// Whether a byte says if definitions of columns follow.
fn flags_definitions(capabilities: Capabilities) -> bool {
    [Capabilities::OPTIONAL_RESULTSET_METADATA, Capabilities::CACHE_METADATA].iter().any(|flag| capabilities.has(*flag))
}

/// The first packet of a reply to `COM_STMT_PREPARE`.
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    pub statement: u32,
    pub columns: u16,
    pub parameters: u16,
    /// The definitions of both follow.
    pub defined: bool,
}

impl Prepared {
    /// Where the statement id stands in the payload.
    pub const ID: std::ops::Range<usize> = 1..5;

    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8("header")?;
        let (statement, columns, parameters) =
            (reader.u32("statement id")?, reader.u16("column count")?, reader.u16("parameter count")?);
        let optional = capabilities.has(Capabilities::OPTIONAL_RESULTSET_METADATA);
        let defined = !optional || payload.get(DEFINED) != Some(&0);
        Ok(Self { statement, columns, parameters, defined })
    }
}

/// Where [`Prepared::defined`] stands, if anywhere.
const DEFINED: usize = 12;
