//! Query attributes: named values beside a statement (`CLIENT_QUERY_ATTRIBUTES`). They stand in front of the text of a
//! `COM_QUERY`, and behind the parameters of a `COM_STMT_EXECUTE`, whose parameters have names then. Where the two ends
//! of Weir did not agree on the same, they are taken out or the room for them put in; none is ever read.
//!
//! Sources: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html>,
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html>

use super::{
    capabilities::Capabilities,
    code,
    wire::{Malformed, Reader, put_lenenc},
};

/// An execute binds fewer parameters than its statement has.
pub const FEWER: Malformed = Malformed("fewer parameters than the statement has");

/// The types of an execute's parameters are cut short.
pub const TYPES: Malformed = Malformed("parameter types");

/// An execute has a value of which no type was ever told.
pub const UNTYPED: Malformed = Malformed("parameters without types");

const COUNT: Malformed = Malformed("parameter count");
const NULLS: Malformed = Malformed("NULL bitmap");
const BOUND: Malformed = Malformed("new types flag");
const VALUES: Malformed = Malformed("parameter values");

/// The type of what has no value.
const NULL: u8 = 0x06;

/// A `COM_QUERY` of Weir's own: without attributes, in the form that a connection with `capabilities` reads.
pub fn query(capabilities: Capabilities, sql: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(3 + sql.len());
    payload.push(code::QUERY);
    if capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
        // No parameters, in one set.
        payload.extend_from_slice(&[0, 1]);
    }
    payload.extend_from_slice(sql);
    payload
}

/// The text of a `COM_QUERY`, whose `body` follows the command byte.
///
/// # Errors
/// Attributes that run past the end, or that no server takes.
pub fn text(body: &[u8], capabilities: Capabilities) -> Result<&[u8], Malformed> {
    if !capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
        return Ok(body);
    }
    let mut reader = Reader::new(body);
    let count = reader.lenenc(COUNT.0)?;
    if reader.lenenc("parameter sets")? != 1 {
        return Err(Malformed("parameter sets"));
    }
    if count > 0 {
        let bound = Parameters::read(&mut reader, count, Names::Given)?;
        let types = bound.types.ok_or(TYPES)?;
        skip_values(&mut reader, types, bound.nulls, bound.count)?;
    }
    Ok(reader.rest())
}

/// What servers find in the body of an execute of a statement with `expected` parameters whose types nobody ever told:
/// they take the values for texts, the last of which may be cut short, and then refuse them.
///
/// # Errors
/// [`UNTYPED`], or a field that runs past the end. NULLs alone are fine.
pub fn untyped(body: &[u8], expected: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(body);
    let nulls = reader.take(expected.div_ceil(8), NULLS.0)?;
    reader.u8(BOUND.0)?;
    let mut found = Ok(());
    for _ in (0..expected).filter(|place| !is_null(nulls, *place)) {
        let length = reader.lenenc(VALUES.0)?;
        let rest = reader.rest().len();
        reader.take(usize::try_from(length).map_or(rest, |length| length.min(rest)), VALUES.0)?;
        found = Err(UNTYPED);
    }
    found
}

/// Whether the parameter types of an execute are followed by names each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Given,
    Without,
}

impl Names {
    /// As a client with `capabilities` gives them.
    pub fn of(capabilities: Capabilities) -> Self {
        match capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
            true => Self::Given,
            false => Self::Without,
        }
    }
}

/// What a `COM_STMT_EXECUTE` binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters<'a> {
    pub count: usize,
    pub nulls: &'a [u8],
    /// None: those of the execute before.
    pub types: Option<Types<'a>>,
    /// The values, and behind them nothing.
    pub values: &'a [u8],
}

/// The parameters of an execute with their types, of which those that a statement has come first.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    types: Types<'a>,
    nulls: &'a [u8],
    values: &'a [u8],
}

impl<'a> Bound<'a> {
    /// What is bound to each parameter in turn; None: NULL.
    pub fn values(&self) -> impl Iterator<Item = Option<Value<'a>>> {
        let (nulls, mut rest) = (self.nulls, Reader::new(self.values));
        self.types.kinds().enumerate().map(move |(place, [kind, sign])| {
            let bound = !is_null(nulls, place) && kind != NULL;
            bound.then(|| Value { kind, unsigned: sign & 0x80 != 0, bytes: take_value(&mut rest, kind).ok() })
        })
    }
}

/// What is bound to one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    pub kind: u8,
    pub unsigned: bool,
    /// Without their length; None: they are cut short.
    pub bytes: Option<&'a [u8]>,
}

/// The types of parameters, as they travel: two bytes each, and perhaps a length-encoded name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Types<'a> {
    pub bytes: &'a [u8],
    pub count: usize,
    pub names: Names,
}

impl<'a> Parameters<'a> {
    /// Reads what follows the iteration count of an execute of a statement with `expected` parameters. `counted`: the
    /// execute says that a count is there in any case. None: nothing is bound.
    ///
    /// # Errors
    /// A field that runs past the end, or fewer parameters than the statement has.
    pub fn parse(
        body: &'a [u8],
        expected: usize,
        counted: bool,
        capabilities: Capabilities,
    ) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(body);
        let attributes = capabilities.has(Capabilities::QUERY_ATTRIBUTES);
        if expected == 0 && !(attributes && counted) {
            return Ok(None);
        }
        let (count, names) = match attributes {
            true => (reader.lenenc(COUNT.0)?, Names::Given),
            false => (expected as u64, Names::Without),
        };
        match count {
            0 if expected == 0 => Ok(None),
            count if count < expected as u64 => Err(FEWER),
            count => Self::read(&mut reader, count, names).map(Some),
        }
    }

    /// What is bound, with `types` where the execute tells none.
    pub fn bound(&self, types: Option<Types<'a>>) -> Option<Bound<'a>> {
        Some(Bound { types: self.types.or(types)?, nulls: self.nulls, values: self.values })
    }

    fn read(reader: &mut Reader<'a>, count: u64, names: Names) -> Result<Self, Malformed> {
        // No statement and no client has more.
        let count = u16::try_from(count).map_err(|_| COUNT)?.into();
        let nulls = reader.take(usize::div_ceil(count, 8), NULLS.0)?;
        let types = match reader.u8(BOUND.0)? {
            1 => Some(Types::read(reader, count, names)?),
            _ => None,
        };
        Ok(Self { count, nulls, types, values: reader.rest() })
    }

    /// Appends the body of an execute that binds this with `types` to a statement with `expected` parameters, as a
    /// connection with `capabilities` reads it. Attributes that it does not read are left out.
    ///
    /// # Errors
    /// Values that run past the end, or types of other parameters.
    pub fn put(
        &self,
        out: &mut Vec<u8>,
        types: Types<'_>,
        expected: usize,
        capabilities: Capabilities,
    ) -> Result<(), Malformed> {
        if types.count != self.count {
            return Err(TYPES);
        }
        if capabilities.has(Capabilities::QUERY_ATTRIBUTES) {
            put_lenenc(out, self.count as u64);
            out.extend_from_slice(self.nulls);
            out.push(1);
            match types.names {
                Names::Given => out.extend_from_slice(types.bytes),
                Names::Without => types.kinds().for_each(|[kind, sign]| out.extend_from_slice(&[kind, sign, 0])),
            }
            out.extend_from_slice(self.values);
            return Ok(());
        }
        if expected == 0 {
            return Ok(());
        }
        out.extend_from_slice(self.nulls.get(..expected.div_ceil(8)).ok_or(NULLS)?);
        out.push(1);
        types.kinds().take(expected).for_each(|kind| out.extend_from_slice(&kind));
        let mut rest = Reader::new(self.values);
        if expected < self.count {
            skip_values(&mut rest, types, self.nulls, expected)?;
            let own = self.values.len() - rest.rest().len();
            out.extend_from_slice(self.values.get(..own).unwrap_or_default());
        } else {
            out.extend_from_slice(self.values);
        }
        Ok(())
    }
}

impl<'a> Types<'a> {
    fn read(reader: &mut Reader<'a>, count: usize, names: Names) -> Result<Self, Malformed> {
        let start = reader.rest();
        match names {
            Names::Without => drop(reader.take(2 * count, TYPES.0)?),
            Names::Given => {
                for _ in 0..count {
                    reader.take(2, TYPES.0)?;
                    reader.lenenc_bytes("parameter name")?;
                }
            }
        }
        let length = start.len() - reader.rest().len();
        Ok(Self { bytes: start.get(..length).unwrap_or_default(), count, names })
    }

    /// Those of the first `count` parameters.
    pub fn first(self, count: usize) -> Self {
        let length = match self.names {
            Names::Without => 2 * count,
            Names::Given => {
                let mut reader = Reader::new(self.bytes);
                let step = |_: usize| reader.take(2, TYPES.0).is_ok() && reader.lenenc_bytes(TYPES.0).is_ok();
                let _ = (0..count).all(step);
                self.bytes.len() - reader.rest().len()
            }
        };
        Self { bytes: self.bytes.get(..length).unwrap_or(self.bytes), count: count.min(self.count), ..self }
    }

    /// The types without the names.
    fn kinds(self) -> impl Iterator<Item = [u8; 2]> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let kind = reader.take(2, TYPES.0).ok()?.try_into().ok()?;
            if self.names == Names::Given {
                reader.lenenc_bytes(TYPES.0).ok()?;
            }
            Some(kind)
        })
    }
}

fn is_null(nulls: &[u8], place: usize) -> bool {
    nulls.get(place / 8).is_some_and(|bits| bits & (1 << (place % 8)) != 0)
}

/// Passes over the values of the first `count` parameters.
fn skip_values(reader: &mut Reader<'_>, types: Types<'_>, nulls: &[u8], count: usize) -> Result<(), Malformed> {
    for (place, [kind, _]) in types.kinds().take(count).enumerate() {
        if !is_null(nulls, place) {
            take_value(reader, kind)?;
        }
    }
    Ok(())
}

/// The bytes of the next value, which has this type, without their length.
fn take_value<'a>(reader: &mut Reader<'a>, kind: u8) -> Result<&'a [u8], Malformed> {
    let length = match kind {
        NULL => 0,
        // TINY
        0x01 => 1,
        // SHORT, YEAR
        0x02 | 0x0D => 2,
        // LONG, FLOAT, INT24
        0x03 | 0x04 | 0x09 => 4,
        // DOUBLE, LONGLONG
        0x05 | 0x08 => 8,
        // TIMESTAMP, DATE, TIME, DATETIME
        0x07 | 0x0A | 0x0B | 0x0C => reader.u8(VALUES.0)?.into(),
        _ => return reader.lenenc_bytes(VALUES.0),
    };
    reader.take(length, VALUES.0)
}

#[cfg(test)]
mod tests;
