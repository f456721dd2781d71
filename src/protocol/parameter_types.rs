//! What MySQL takes the parameters of a prepared statement for, which a client sees: `SELECT ?` with a number has a column
//! of numbers for good, and a date that is bound to it later is one, too.
//!
//! A server gives each parameter a type when it prepares: that of the column that it is compared with or assigned to,
//! and text if nothing says more. The definitions in the reply tell it. An execute whose values do not go with these
//! types makes the server prepare the statement again with the types of the values, which stay until the next such
//! execute (`Prepared_statement::check_parameter_types` and `reprepare` in `sql/sql_prepare.cc`,
//! `Item_param::convert_value` in `sql/item.cc`; measured with 9.7). A NULL goes with any type, and leaves it to the rest of
//! the statement. MariaDB takes each value as it comes.

use super::{
    Malformed,
    query_attributes::Bound,
    spelling::{Number, Spelling},
    wire::Reader,
};

/// The types of all parameters of a statement at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParameterTypes(Box<[Parameter]>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parameter {
    class: Class,
    /// Where it comes from: a text of the statement's making is shorter than one that was bound.
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Statement,
    Value,
}

/// The types that a server tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// No definition told it.
    Unknown,
    Integer,
    Unsigned,
    Year,
    Decimal,
    Double,
    Date,
    Time,
    DateTime,
    Text,
    Bytes,
}

/// What an execute makes of the types.
#[derive(Debug, PartialEq, Eq)]
pub enum TypeStep {
    /// They stay.
    Same,
    /// The server prepares the statement again, with these.
    Other(ParameterTypes),
    /// The server looks at the values to tell.
    Unclear,
    /// One of the values is that of the execute before: a text that is no date leaves a date what it was.
    Kept,
}

impl ParameterTypes {
    /// Those of `count` parameters that were not defined.
    pub fn unknown(count: usize) -> Self {
        Self(vec![Parameter { class: Class::Unknown, source: Source::Statement }; count].into())
    }

    /// Takes the type of the parameter `place` from its definition.
    /// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_column_definition.html>
    pub fn define(&mut self, place: usize, definition: &[u8]) -> Result<(), Malformed> {
        const MALFORMED: Malformed = Malformed("parameter definition");
        // Behind the names: a length, the character set, the width, the type, the flags, the decimals, two bytes of nothing.
        let names = definition.len().checked_sub(13).ok_or(MALFORMED)?;
        let mut reader = Reader::new(definition);
        reader.take(names + 7, MALFORMED.0)?;
        let (kind, flags) = (reader.u8(MALFORMED.0)?, reader.u16(MALFORMED.0)?);
        let unsigned = flags & 0x20 != 0;
        if let Some(parameter) = self.0.get_mut(place) {
            parameter.class = match kind {
                // YEAR
                0x0D => Class::Year,
                // GEOMETRY, VECTOR: what goes with them is not known.
                0xFF | 0xF2 => Class::Unknown,
                kind => Class::of(kind, unsigned),
            };
        }
        Ok(())
    }

    /// What an execute that binds `bound` makes of them in a statement whose types were `fresh` when it was prepared.
    pub fn step(&self, fresh: &Self, bound: &Bound<'_>) -> TypeStep {
        let mut goes = true;
        for (parameter, value) in self.0.iter().zip(bound.values()) {
            let Some(value) = value else { continue };
            let class = Class::of(value.kind, value.unsigned);
            let takes = match class.is_text() {
                true => value.bytes.and_then(|text| parameter.class.takes_text(text)),
                false => Some(parameter.class.takes(class)),
            };
            let Some(takes) = takes else {
                return if parameter.class == Class::Date { TypeStep::Kept } else { TypeStep::Unclear };
            };
            goes &= takes;
        }
        if goes { TypeStep::Same } else { self.prepared_again(fresh, bound) }
    }

    fn prepared_again(&self, fresh: &Self, bound: &Bound<'_>) -> TypeStep {
        let mut types = fresh.clone();
        for ((now, value), new) in self.0.iter().zip(bound.values()).zip(&mut types.0) {
            let Some(value) = value else { continue };
            let class = Class::of(value.kind, value.unsigned);
            let converted = match now.class.converts(class) {
                false => Some(class),
                true if class == Class::Text => value.bytes.and_then(|text| now.class.converted(text)),
                true if class == Class::Bytes => {
                    value.bytes.filter(|bytes| Spelling::of(bytes) == Spelling::Word).map(|_| class)
                }
                true => None,
            };
            let Some(class) = converted else { return TypeStep::Unclear };
            *new = Parameter { class, source: Source::Value };
        }
        TypeStep::Other(types)
    }
}

impl Class {
    /// The one of a type, as values and definitions of columns tell it.
    fn of(kind: u8, unsigned: bool) -> Self {
        match kind {
            // TINY, SHORT, LONG, LONGLONG, INT24, BIT
            0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x10 if unsigned => Self::Unsigned,
            0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x10 => Self::Integer,
            // DECIMAL, NEWDECIMAL
            0x00 | 0xF6 => Self::Decimal,
            // FLOAT, DOUBLE
            0x04 | 0x05 => Self::Double,
            0x0A => Self::Date,
            0x0B => Self::Time,
            // TIMESTAMP, DATETIME
            0x07 | 0x0C => Self::DateTime,
            // The BLOBs
            0xF9..=0xFC => Self::Bytes,
            _ => Self::Text,
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Bytes)
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Unsigned | Self::Decimal | Self::Double)
    }

    /// Whether a value other than a text goes with a parameter that was taken for this.
    fn takes(self, value: Self) -> bool {
        match self {
            Self::Integer | Self::Unsigned => value == self,
            Self::Year => matches!(value, Self::Integer | Self::Unsigned),
            Self::Decimal => matches!(value, Self::Integer | Self::Unsigned | Self::Decimal),
            Self::Double => value.is_number(),
            Self::Date => value.is_number() || value == Self::Date,
            Self::Time => value.is_number() || matches!(value, Self::Time | Self::DateTime),
            Self::DateTime => true,
            Self::Unknown | Self::Text | Self::Bytes => false,
        }
    }

    /// Whether a text does; None: by rules that are the server's own.
    fn takes_text(self, text: &[u8]) -> Option<bool> {
        match self {
            Self::Unknown => Some(false),
            // What is no number goes, too: it is none wherever it is used.
            Self::Integer | Self::Unsigned => Some(Number::of(text).is_none_or(|number| self.holds(number))),
            Self::Year => Number::of(text).is_none_or(|number| self.holds(number)).then_some(true),
            Self::Date => match Spelling::of(text) {
                Spelling::Date => Some(true),
                Spelling::DateTime => Some(false),
                _ => None,
            },
            _ => Some(true),
        }
    }

    /// Whether an integer parameter can hold a number as it is.
    fn holds(self, number: Number) -> bool {
        number.whole.is_some_and(|whole| match (self, number.negative) {
            (Self::Unsigned, negative) => !negative,
            (_, true) => whole == 0,
            (_, false) => i64::try_from(whole).is_ok(),
        })
    }

    /// Whether a value is made one of this type, if it can be, before the server looks for types again.
    fn converts(self, value: Self) -> bool {
        match self {
            Self::Unknown | Self::Text | Self::Bytes => false,
            Self::Date | Self::DateTime => matches!(value, Self::Integer | Self::Unsigned) || value.is_text(),
            Self::Time => value.is_number() || value.is_text(),
            _ => value.is_text(),
        }
    }

    /// What a text has become by then; None: by rules that are the server's own.
    fn converted(self, text: &[u8]) -> Option<Self> {
        match self {
            Self::Integer | Self::Unsigned if let Some(number) = Number::of(text) => {
                Some(if self.holds(number) { self } else { Self::Decimal })
            }
            Self::Integer | Self::Unsigned | Self::Decimal | Self::Double => match Spelling::of(text) {
                Spelling::Digits | Spelling::Number => Some(self),
                Spelling::Word | Spelling::Date | Spelling::DateTime => Some(Self::Text),
                Spelling::Other => None,
            },
            Self::Date | Self::DateTime => match Spelling::of(text) {
                Spelling::Word => Some(Self::Text),
                Spelling::Date => Some(Self::Date),
                Spelling::DateTime => Some(Self::DateTime),
                Spelling::Digits | Spelling::Number | Spelling::Other => None,
            },
            Self::Time if Spelling::of(text) == Spelling::Word => Some(Self::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Capabilities, query_attributes::Parameters};

    const FRESH: [(u8, u8); 4] = [(0x08, 0), (0xFD, 0), (0x0C, 0), (0x05, 0)];

    fn types(of: &[(u8, u8)]) -> ParameterTypes {
        let mut types = ParameterTypes::unknown(of.len());
        for (place, (kind, flags)) in of.iter().enumerate() {
            let definition =
                [b"\x03def\0\0\0\x01?\0\x0C\x3F\0\0\0\0\0".as_slice(), &[*kind, *flags, 0, 0, 0, 0]].concat();
            types.define(place, &definition).unwrap();
        }
        types
    }

    /// What a first execute with these types and values of one parameter makes of it.
    fn step(of: (u8, u8), kind: u8, sign: u8, value: &[u8]) -> TypeStep {
        let fresh = types(&[of]);
        let body = [&[0, 1, kind, sign], value].concat();
        let parameters = Parameters::parse(&body, 1, false, Capabilities::NONE).unwrap().unwrap();
        fresh.step(&fresh, &parameters.bound(None).unwrap())
    }

    #[test]
    fn a_value_goes_with_a_type_or_makes_another() {
        // The definition's type and flags, the value's type and sign, the value; what stays is None.
        type Case = ((u8, u8), u8, u8, &'static [u8], Option<bool>);
        let cases: &[Case] = &[
            ((0x08, 0), 0x03, 0, b"\x01\0\0\0", Some(true)),
            ((0x08, 0), 0x03, 0x80, b"\x01\0\0\0", Some(false)),
            ((0x08, 0x20), 0x03, 0x80, b"\x01\0\0\0", Some(true)),
            ((0x08, 0), 0x05, 0, b"\0\0\0\0\0\0\0\0", Some(false)),
            ((0x08, 0), 0xFD, 0, b"\x01\x31", Some(true)),
            ((0x08, 0), 0xFD, 0, b"\x02-1", Some(false)),
            ((0x08, 0), 0xFD, 0, b"\x02-0", Some(true)),
            ((0x08, 0x20), 0xFD, 0, b"\x02-0", Some(false)),
            ((0x08, 0), 0xFD, 0, b"\x03+5 ", Some(true)),
            ((0x08, 0), 0xFD, 0, b"\x041e30", Some(false)),
            ((0x08, 0), 0xFD, 0, b"\x021e", Some(true)),
            ((0x08, 0), 0xFD, 0, b"\x0312.", Some(false)),
            ((0x08, 0), 0xFD, 0, b"\x03-.5", Some(false)),
            ((0x08, 0), 0xFD, 0, b"\x01.", Some(true)),
            ((0x08, 0), 0xFD, 0, b"\x0512abc", Some(true)),
            ((0x08, 0), 0xFD, 0, b"\x03abc", Some(true)),
            ((0x08, 0), 0xFD, 0, b"\x139223372036854775807", Some(true)),
            ((0x08, 0), 0xFD, 0, b"\x139223372036854775808", Some(false)),
            ((0x08, 0x20), 0xFD, 0, b"\x1418446744073709551615", Some(true)),
            ((0x08, 0x20), 0xFD, 0, b"\x1418446744073709551616", Some(false)),
            ((0x0A, 0), 0xFD, 0, b"\x0A2020-02-29", Some(true)),
            ((0x0A, 0), 0xFD, 0, b"\x0A9999-12-31", Some(true)),
            ((0x0A, 0), 0xFD, 0, b"\x132020-01-02 00:00:00", Some(false)),
            ((0x0D, 0x20), 0xFD, 0, b"\x042020", Some(true)),
            ((0x0D, 0x20), 0xFD, 0, b"\x0412.5", None),
            ((0xFD, 0), 0x03, 0, b"\x01\0\0\0", Some(false)),
            ((0xFD, 0), 0xFC, 0, b"\x01a", Some(true)),
            ((0xFD, 0), 0x06, 0, b"", Some(true)),
            ((0x0A, 0), 0x0A, 0, b"\0", Some(true)),
            ((0x0A, 0), 0x0C, 0, b"\0", Some(false)),
            ((0x0A, 0), 0x08, 0, b"\0\0\0\0\0\0\0\0", Some(true)),
            ((0x0B, 0), 0x0A, 0, b"\0", Some(false)),
            ((0x0C, 0), 0x0A, 0, b"\0", Some(true)),
            ((0xF6, 0), 0x05, 0, b"\0\0\0\0\0\0\0\0", Some(false)),
            ((0x05, 0), 0xF6, 0, b"\x011", Some(true)),
            ((0x0D, 0x20), 0x02, 0, b"\xE4\x07", Some(true)),
            ((0xFF, 0), 0xFD, 0, b"\x01a", Some(false)),
        ];
        for (of, kind, sign, value, goes) in cases {
            let made = match step(*of, *kind, *sign, value) {
                TypeStep::Same => Some(true),
                TypeStep::Other(_) => Some(false),
                TypeStep::Unclear | TypeStep::Kept => None,
            };
            assert_eq!(made, *goes, "{of:02x?} {kind:02x} {sign:02x} {value:02x?}");
        }
    }

    #[test]
    fn who_does_not_go_takes_the_others_along() {
        let fresh = types(&FRESH);
        let execute = |types: &ParameterTypes, nulls: u8, kinds: [u8; 4]| {
            let kinds = kinds.map(|kind| [kind, 0]).concat();
            let body = [&[nulls, 1][..], &kinds, &[0; 40]].concat();
            let parameters = Parameters::parse(&body, 4, false, Capabilities::NONE).unwrap().unwrap();
            types.step(&fresh, &parameters.bound(None).unwrap())
        };
        assert_eq!(execute(&fresh, 0b0010, [3, 3, 12, 5]), TypeStep::Same, "NULL goes with any");
        let TypeStep::Other(bound) = execute(&fresh, 0b0100, [3, 3, 12, 5]) else { panic!("a number is no text") };
        assert_ne!(bound, fresh);
        assert_eq!(execute(&bound, 0, [3, 3, 12, 5]), TypeStep::Same);
        assert_eq!(execute(&bound, 0, [3, 253, 12, 5]), TypeStep::Same, "a text goes with a number, which \0 is not");
        let TypeStep::Other(again) = execute(&bound, 0b0101, [3, 12, 12, 5]) else { panic!("a date is no number") };
        assert_ne!(again, bound);
        assert_eq!(execute(&fresh, 0, [3, 3, 8, 5]), TypeStep::Unclear, "a number may have become a date");
        assert!(matches!(execute(&fresh, 0, [252, 3, 12, 5]), TypeStep::Other(_)), "bytes that are no number stay");
    }

    #[test]
    fn what_a_text_becomes() {
        use Class::{Date, DateTime, Decimal, Double, Integer, Text, Time, Unsigned};
        // Of each type in turn; measured on a server, but for what is left to it.
        const TYPES: [Class; 7] = [Integer, Unsigned, Double, Decimal, Date, DateTime, Time];
        let same = [Some(Integer), Some(Unsigned), Some(Double), Some(Decimal), None, None, None];
        let decimal = [Some(Decimal), Some(Decimal), Some(Double), Some(Decimal), None, None, None];
        let word = [Some(Text); 7];
        let date = [Some(Text), Some(Text), Some(Text), Some(Text), Some(Date), Some(Date), None];
        let both = [Some(Text), Some(Text), Some(Text), Some(Text), Some(DateTime), Some(DateTime), None];
        let cases: &[(&str, [Option<Class>; 7])] = &[
            ("5", same),
            ("-5", decimal),
            ("12.5", decimal),
            ("", word),
            ("abc", word),
            ("a-b@c.d", word),
            ("2020-01-02", date),
            ("2020-01-02 03:04:05", both),
            ("2020-01-02T23:59:59", both),
            ("1e3", [Some(Decimal), Some(Decimal), None, None, None, None, None]),
            ("12abc", [None; 7]),
            (" 7", [Some(Integer), Some(Unsigned), None, None, None, None, None]),
            ("-", [None; 7]),
            (".", [None; 7]),
            ("1.2.3", [None; 7]),
            ("2020-13-02", [None; 7]),
            ("2020-02-30", [None; 7]),
            ("2020-01-02 24:00:00", [None; 7]),
            ("10:11:12", [None; 7]),
            ("9999999999999999999", [Some(Decimal), Some(Unsigned), None, None, None, None, None]),
        ];
        for (text, expected) in cases {
            assert_eq!(TYPES.map(|class| class.converted(text.as_bytes())), *expected, "{text}");
        }
    }

    #[test]
    fn a_definition_that_is_too_short_is_refused() {
        for length in 0..13 {
            let definition = vec![0; length];
            assert!(ParameterTypes::unknown(1).define(0, &definition).is_err(), "{length}");
        }
    }
}
