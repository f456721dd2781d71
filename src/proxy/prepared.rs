//! A client's prepared statements: its ids are Weir's own, and every server connection that executes one has its own id
//! for it.

use std::{collections::BTreeMap, sync::Arc};

use super::forms::Taken;
use crate::{
    backend::PreparedText,
    protocol::{
        BulkExecute, Capabilities, Execute, Malformed, code, put_framed, put_packets,
        query_attributes::{self, Bound, Names, Parameters, Types},
    },
};

/// What it takes to remember that a parameter has long data, bytes.
const PARAMETER: usize = 64;

/// The prepared statements of one session.
#[derive(Debug, Default)]
pub struct ClientStatements {
    statements: BTreeMap<u32, ClientStatement>,
    last: u32,
    /// The one that was prepared last, unless that failed.
    latest: Option<u32>,
    /// How many of them have a cursor open.
    cursors: usize,
    /// The lengths of all texts.
    text_bytes: usize,
}

/// One prepared statement.
#[derive(Debug)]
pub struct ClientStatement {
    pub text: Arc<PreparedText>,
    parameters: u16,
    /// The parameter types that were bound last, as the client said them.
    types: Option<Box<[u8]>>,
    /// Parameter and data of `COM_STMT_SEND_LONG_DATA`, to be sent in front of the next execute.
    long_data: BTreeMap<u16, Vec<u8>>,
    /// What that takes, bytes.
    long_bytes: usize,
    /// More long data came than the session may hold.
    overflow: bool,
    /// The copy of the text whose cursor is open, on the connection that has it.
    cursor: Option<Arc<PreparedText>>,
    /// What a single server would take its parameters for by now.
    pub taken: Taken,
    /// What that was before the execute that runs, if this changes it.
    pub taken_before: Option<Taken>,
    /// A digest of the definitions of columns that the client was sent last for it, if it keeps them. None: unknown, or none.
    pub columns: Option<u64>,
}

impl ClientStatements {
    /// MariaDB's name for the statement that was prepared last.
    pub const LATEST: u32 = u32::MAX;

    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// The lengths of all texts together.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The id that the next statement will get.
    pub fn next_id(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && self.last != Self::LATEST && !self.statements.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    /// The id that a client means. The highest stands for the statement prepared last, where that is known.
    fn meant(&self, id: u32) -> u32 {
        match self.latest {
            Some(latest) if id == Self::LATEST => latest,
            _ => id,
        }
    }

    /// The statement that [`Self::LATEST`] means from now on; only MariaDB knows that id.
    pub fn set_latest(&mut self, id: Option<u32>) {
        self.latest = id;
    }

    pub fn insert(&mut self, id: u32, text: Arc<PreparedText>, parameters: u16) {
        self.text_bytes += text.sql.len();
        let statement = ClientStatement {
            text,
            parameters,
            types: None,
            long_data: BTreeMap::new(),
            long_bytes: 0,
            overflow: false,
            cursor: None,
            taken: None,
            taken_before: None,
            columns: None,
        };
        self.statements.insert(id, statement);
    }

    pub fn find(&mut self, id: u32) -> Option<&mut ClientStatement> {
        self.statements.get_mut(&self.meant(id))
    }

    pub fn remove(&mut self, id: u32) {
        let id = self.meant(id);
        self.close_cursor(id);
        if let Some(statement) = self.statements.remove(&id) {
            self.text_bytes -= statement.text.sql.len();
        }
        self.latest = self.latest.filter(|latest| *latest != id);
    }

    pub fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    pub fn any_cursor(&self) -> bool {
        self.cursors > 0
    }

    /// A cursor is open on the server for `text`, which nobody else uses.
    pub fn open_cursor(&mut self, id: u32, text: Arc<PreparedText>) {
        if let Some(statement) = self.find(id)
            && statement.cursor.replace(text).is_none()
        {
            self.cursors += 1;
        }
    }

    /// Returns the text whose cursor was open; it is to be closed on the server.
    pub fn close_cursor(&mut self, id: u32) -> Option<Arc<PreparedText>> {
        let text = self.find(id)?.cursor.take()?;
        self.cursors -= 1;
        Some(text)
    }

    /// Keeps long data for the next execute; all statements of a session together hold at most `limit` bytes.
    pub fn add_long_data(&mut self, id: u32, parameter: u16, data: &[u8], limit: usize) {
        let held: usize = self.statements.values().map(|statement| statement.long_bytes).sum();
        // A server says nothing to data for a statement or a parameter that is not there, until the execute.
        let Some(statement) = self.find(id) else { return };
        // A parameter takes room without a byte of data, too.
        let more = data.len() + if statement.long_data.contains_key(&parameter) { 0 } else { PARAMETER };
        if held + more > limit {
            statement.forget_long_data();
            statement.overflow = true;
            return;
        }
        statement.long_bytes += more;
        statement.long_data.entry(parameter).or_default().extend_from_slice(data);
    }
}

impl ClientStatement {
    /// The text whose cursor is open.
    pub fn cursor(&self) -> Option<&Arc<PreparedText>> {
        self.cursor.as_ref()
    }

    pub fn has_long_data(&self) -> bool {
        !self.long_data.is_empty()
    }

    /// An execute has ended, with this error if it failed. Servers keep the long data for the next one if they could not
    /// parse it (`ER_MALFORMED_PACKET`), and remember for good that there was some for a parameter that is not there.
    pub fn use_up_long_data(&mut self, error: Option<u16>) {
        let misplaced = self.long_data.keys().any(|parameter| *parameter >= self.parameters);
        if error != Some(1835) && !misplaced {
            self.forget_long_data();
        }
    }

    pub fn forget_long_data(&mut self) {
        self.long_data.clear();
        self.long_bytes = 0;
        self.overflow = false;
    }

    pub fn has_overflowed(&self) -> bool {
        self.overflow
    }

    /// Appends the packets that execute it on a connection where its id is `id`. Another session may have bound other
    /// types there, so they are always sent. Returns the sequence number that the reply begins with.
    pub fn put_execute(
        &mut self,
        out: &mut Vec<u8>,
        id: u32,
        execute: &Execute<'_>,
        legs: Legs,
    ) -> Result<u8, Malformed> {
        for (parameter, data) in &self.long_data {
            let head = [&[code::STMT_SEND_LONG_DATA][..], &id.to_le_bytes(), &parameter.to_le_bytes()].concat();
            put_packets(out, &mut 0, &[&head, data.as_slice()].concat());
        }
        put_framed(out, |out| {
            out.push(code::STMT_EXECUTE);
            out.extend_from_slice(&id.to_le_bytes());
            out.push(match legs.server.has(Capabilities::QUERY_ATTRIBUTES) {
                true => execute.flags,
                false => execute.cursor(),
            });
            out.extend_from_slice(&execute.iterations.to_le_bytes());
            self.put_parameters(out, execute, legs)
        })
    }

    /// Binds an execute that no connection can prepare, as servers do before they find that out: its types are known from
    /// then on.
    ///
    /// # Errors
    /// What is wrong with its parameters, of which servers tell first.
    pub fn bind(&mut self, execute: &Execute<'_>, legs: Legs) -> Result<(), Malformed> {
        match execute.statement != ClientStatements::LATEST && self.lacks_types(execute, legs.client) {
            true => query_attributes::untyped(execute.parameters, self.parameters.into()),
            false => self.put_execute(&mut Vec::new(), 0, execute, legs).map(drop),
        }
    }

    /// Whether an execute relies on the types of one before that there never was. What comes of that is the server's to
    /// say.
    pub fn lacks_types(&self, execute: &Execute<'_>, client: Capabilities) -> bool {
        let flag = execute.parameters.get(usize::from(self.parameters).div_ceil(8));
        let attributes = client.has(Capabilities::QUERY_ATTRIBUTES);
        self.parameters > 0 && flag == Some(&0) && self.types.is_none() && !attributes
    }

    /// What an execute binds, if it can be read.
    pub fn bound<'a>(&'a self, execute: &Execute<'a>, client: Capabilities) -> Option<Bound<'a>> {
        let expected = self.parameters.into();
        let counted = execute.flags & Execute::COUNTED != 0;
        let bound = Parameters::parse(execute.parameters, expected, counted, client).ok()??;
        let types = self.types.as_deref();
        bound.bound(types.map(|bytes| Types { bytes, count: expected, names: Names::of(client) }))
    }

    /// Whether a bulk execute does so.
    pub fn bulk_lacks_types(&self, bulk: &BulkExecute<'_>) -> bool {
        self.parameters > 0 && bulk.flags & BulkExecute::TYPED == 0 && self.types.is_none()
    }

    /// Appends the packets of a bulk execute, as [`Self::put_execute`] does. A statement of which no types are known is
    /// not shared, and the server's to judge.
    pub fn put_bulk_execute(&mut self, out: &mut Vec<u8>, id: u32, bulk: &BulkExecute<'_>) -> Result<u8, Malformed> {
        let mut payload = Vec::with_capacity(7 + bulk.parameters.len());
        payload.push(code::STMT_BULK_EXECUTE);
        payload.extend_from_slice(&id.to_le_bytes());
        if bulk.flags & BulkExecute::TYPED != 0 {
            let length = 2 * usize::from(self.parameters);
            // Servers read them without looking where the packet ends.
            let types = bulk.parameters.get(..length).ok_or(Malformed("parameter types"))?;
            if self.types.as_deref() != Some(types) {
                self.types = Some(types.into());
            }
            payload.extend_from_slice(&bulk.flags.to_le_bytes());
        } else {
            let known = self.types.as_deref().unwrap_or_default();
            let typed = if known.is_empty() { 0 } else { BulkExecute::TYPED };
            payload.extend_from_slice(&(bulk.flags | typed).to_le_bytes());
            payload.extend_from_slice(known);
        }
        payload.extend_from_slice(bulk.parameters);
        let mut sequence = 0;
        put_packets(out, &mut sequence, &payload);
        Ok(sequence)
    }

    fn put_parameters(&mut self, out: &mut Vec<u8>, execute: &Execute<'_>, legs: Legs) -> Result<(), Malformed> {
        let plain = !legs.server.has(Capabilities::QUERY_ATTRIBUTES) && execute.statement != ClientStatements::LATEST;
        if plain && self.lacks_types(execute, legs.client) {
            // The server's statement is not shared then.
            out.extend_from_slice(execute.parameters);
            return Ok(());
        }
        let expected = self.parameters.into();
        let counted = execute.flags & Execute::COUNTED != 0;
        let Some(bound) = Parameters::parse(execute.parameters, expected, counted, legs.client)? else {
            if counted && legs.server.has(Capabilities::QUERY_ATTRIBUTES) {
                out.push(0);
            }
            return Ok(());
        };
        let names = Names::of(legs.client);
        // Types that the execute leaves out are those of the one before, but for attributes, which have none before. Those
        // on the server may be another session's.
        let types = match bound.types {
            Some(types) => {
                let own = types.first(expected);
                if self.types.as_deref() != Some(own.bytes) {
                    self.types = Some(own.bytes.into());
                }
                types
            }
            // MariaDB wants them each time from who does not say which statement it is.
            None if execute.statement == ClientStatements::LATEST => return Err(Malformed("parameter types")),
            None => Types { bytes: self.types.as_deref().ok_or(Malformed("parameter types"))?, count: expected, names },
        };
        bound.put(out, types, expected, legs.server)
    }
}

/// What was agreed on with the client, and with the server.
#[derive(Debug, Clone, Copy)]
pub struct Legs {
    pub client: Capabilities,
    pub server: Capabilities,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Settings;

    fn statement(parameters: u16) -> ClientStatements {
        let mut statements = ClientStatements::default();
        let text = Arc::new(PreparedText::new(b"SELECT ?", &Settings::default()));
        statements.insert(1, text, parameters);
        statements
    }

    fn executed(statements: &mut ClientStatements, parameters: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        let execute = Execute { statement: 1, flags: 0, iterations: 1, parameters };
        let legs = Legs { client: Capabilities::NONE, server: Capabilities::NONE };
        statements.find(1).unwrap().put_execute(&mut out, 7, &execute, legs)?;
        Ok(out.split_off(4))
    }

    #[test]
    fn a_second_execute_without_types_carries_those_of_the_first() {
        let mut statements = statement(1);
        let first = executed(&mut statements, b"\0\x01\x03\0\x05\0\0\0").unwrap();
        assert_eq!(first, b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01\x03\0\x05\0\0\0");
        let second = executed(&mut statements, b"\0\0\x06\0\0\0").unwrap();
        assert_eq!(second, b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01\x03\0\x06\0\0\0");
    }

    #[test]
    fn malformed_parameters_are_found() {
        let cases = [
            (&b""[..], "NULL bitmap"),
            (b"\0", "new types flag"),
            (b"\0\x01", "parameter types"),
            (b"\0\x01\x03", "parameter types"),
        ];
        for (parameters, field) in cases {
            assert_eq!(executed(&mut statement(1), parameters), Err(Malformed(field)), "{parameters:x?}");
        }
        assert!(executed(&mut statement(0), b"").is_ok());
    }

    #[test]
    fn long_data_is_joined_sent_first_and_bounded() {
        let mut statements = statement(1);
        let limit = PARAMETER + 4;
        statements.add_long_data(1, 0, b"ab", limit);
        statements.add_long_data(1, 0, b"cd", limit);
        statements.add_long_data(9, 0, b"nobody", limit);
        let out = executed(&mut statements, b"\0\x01\xFC\0").unwrap();
        assert!(out.starts_with(b"\x18\x07\0\0\0\0\0abcd"), "{out:x?}");
        statements.add_long_data(1, 0, b"e", limit);
        assert!(statements.find(1).unwrap().has_overflowed());
        statements.find(1).unwrap().forget_long_data();
        for parameter in 0..4 {
            assert!(!statements.find(1).unwrap().has_overflowed(), "{parameter}");
            statements.add_long_data(1, parameter, b"", 3 * PARAMETER);
        }
        assert!(statements.find(1).unwrap().has_overflowed(), "parameters without a byte");
    }
}
