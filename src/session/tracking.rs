//! What a client asked to be told of its session: the values of `session_track_…`. Weir asks servers for more than any
//! client does, so these decide what of it goes on.
//! <https://dev.mysql.com/doc/refman/9.0/en/session-state-tracking.html>

use crate::{
    protocol::{
        Change, changes,
        wire::{Reader, put_lenenc_bytes},
    },
    sql::Dialect,
};

/// The variables of MariaDB; MySQL has one more. In the order of [`Tracking::new`]'s values.
const NAMES: [&str; 5] = [
    "session_track_schema",
    "session_track_state_change",
    "session_track_transaction_info",
    "session_track_system_variables",
    "session_track_gtids",
];

/// The types of changes in an OK packet.
pub(super) mod kind {
    pub const VARIABLE: u8 = 0;
    pub const SCHEMA: u8 = 1;
    pub const STATE: u8 = 2;
    pub const GTIDS: u8 = 3;
    pub const CHARACTERISTICS: u8 = 4;
    pub const TRANSACTION_STATE: u8 = 5;
}

/// What a reply does to a transaction that `BEGIN` opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// It begins or ends.
    Crossed,
    /// It was there before, and is there still, or again.
    Within,
    Outside,
}

impl Boundary {
    /// `before` and `after`: whether there is a transaction that `BEGIN` opened; `begins`: the statement opens one.
    pub fn of(before: bool, after: bool, begins: bool) -> Self {
        match (before, after) {
            (false, false) => Self::Outside,
            (true, true) if !begins => Self::Within,
            _ => Self::Crossed,
        }
    }
}

/// One client's choice, or that of a fresh session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracking {
    /// As the server tells them.
    values: Vec<Box<[u8]>>,
    /// One of them is NULL, which on MySQL leaves everything as it was.
    unclear: bool,
    /// The names in `session_track_system_variables`.
    variables: Vec<Box<[u8]>>,
}

impl Tracking {
    /// The variables that a server of this family has.
    pub fn names(dialect: Dialect) -> &'static [&'static str] {
        match dialect {
            Dialect::MySql => &NAMES,
            Dialect::MariaDb => &NAMES[..4],
        }
    }

    /// `values` are those of [`Self::names`].
    pub fn new(values: impl IntoIterator<Item = Option<Vec<u8>>>) -> Self {
        let values: Vec<Option<Vec<u8>>> = values.into_iter().collect();
        let unclear = values.iter().any(Option::is_none);
        let values: Vec<Box<[u8]>> = values.into_iter().map(|value| value.unwrap_or_default().into()).collect();
        let listed = values.get(3).map(|list| list.split(|&byte| byte == b',')).into_iter().flatten();
        Self { variables: listed.map(|name| name.trim_ascii().into()).collect(), values, unclear }
    }

    /// Names and values, to set them again.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        NAMES.iter().copied().zip(self.values.iter().map(AsRef::as_ref))
    }

    /// The name of what MySQL lets nobody set in a transaction.
    pub const GTIDS: &str = NAMES[4];

    /// The same, but of GTIDs what `other` chose.
    pub fn with_gtids_of(mut self, other: &Self) -> Self {
        if let Some((own, other)) = self.values.get_mut(4).zip(other.values.get(4)) {
            own.clone_from(other);
        }
        self
    }

    /// Whether it can be told from what Weir asks for.
    pub fn is_part_of_all(&self) -> bool {
        !self.unclear && self.value(4) != b"ALL_GTIDS"
    }

    /// The part of an OK packet's `reported` changes that is asked for; None: nothing of what is asked for has changed.
    pub fn told(&self, reported: &[u8], boundary: Boundary) -> Option<Vec<u8>> {
        let (mut variables, mut rest, mut unsaid) = (Vec::new(), Vec::new(), false);
        for Entry { kind, body } in entries(reported) {
            let entry = || [&[kind][..], &lenenc_bytes(body)].concat();
            match (kind, boundary) {
                (kind::VARIABLE, _) => {
                    variables
                        .extend(changes(&entry()).map_while(Result::ok).filter_map(|change| self.variable(change)));
                }
                (kind::TRANSACTION_STATE, Boundary::Crossed) if self.tells_explicit_transactions() => {
                    rest.extend_from_slice(&entry());
                }
                _ if self.asks_for(kind) => rest.extend_from_slice(&entry()),
                // Servers say then that something changed, and not what.
                (kind::CHARACTERISTICS, Boundary::Within) if self.tells_explicit_transactions() => unsaid = true,
                (kind::CHARACTERISTICS, _) => unsaid = self.asks_for(kind::TRANSACTION_STATE),
                _ => {}
            }
        }
        if !self.asks_for_all_variables() {
            // Their order depends on what is listed. Where it can be told, it is that of the names.
            variables.sort();
        }
        let mut out = Vec::new();
        for (name, value) in &variables {
            out.push(kind::VARIABLE);
            put_lenenc_bytes(&mut out, &[lenenc_bytes(name), lenenc_bytes(value)].concat());
        }
        out.extend_from_slice(&rest);
        (unsaid || !out.is_empty()).then_some(out)
    }

    /// Whether the EOF behind rows may say that something changed, which it cannot name. Those are of transactions, as
    /// reads change little else.
    pub fn flags_reads(&self) -> bool {
        self.asks_for(kind::TRANSACTION_STATE)
    }

    fn variable(&self, change: Change<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
        let Change::Variable { name, value } = change else { return None };
        let listed = self.variables.iter().find(|listed| listed.eq_ignore_ascii_case(name));
        let name = match listed {
            // MySQL spells it as the list does.
            Some(listed) if self.is_of_mysql() => listed.as_ref(),
            Some(_) => name,
            None if self.asks_for_all_variables() => name,
            None => return None,
        };
        Some((name.to_vec(), value.to_vec()))
    }

    fn asks_for_all_variables(&self) -> bool {
        self.variables.iter().any(|listed| listed.as_ref() == b"*")
    }

    fn asks_for(&self, kind: u8) -> bool {
        let transactions = self.value(2);
        match kind {
            kind::SCHEMA => is_on(self.value(0)),
            kind::STATE => is_on(self.value(1)),
            kind::GTIDS => !matches!(self.value(4), b"" | b"OFF"),
            kind::CHARACTERISTICS => transactions == b"CHARACTERISTICS",
            kind::TRANSACTION_STATE => matches!(transactions, b"CHARACTERISTICS" | b"STATE"),
            _ => false,
        }
    }

    /// MySQL tells of `BEGIN` and `COMMIT` whether it is asked to or not.
    fn tells_explicit_transactions(&self) -> bool {
        self.is_of_mysql() && !self.asks_for(kind::TRANSACTION_STATE)
    }

    fn is_of_mysql(&self) -> bool {
        self.values.len() == NAMES.len()
    }

    fn value(&self, place: usize) -> &[u8] {
        self.values.get(place).map(AsRef::as_ref).unwrap_or_default()
    }
}

/// One of the changes in an OK packet. Of variables there may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub kind: u8,
    pub body: &'a [u8],
}

impl Entry<'_> {
    /// Whether it is about the session, and not about a transaction.
    pub fn is_of_session(&self) -> bool {
        match self.kind {
            kind::VARIABLE => self.variable() != Some(b"last_gtid"),
            kind::SCHEMA | kind::STATE => true,
            _ => false,
        }
    }

    /// Whether it leaves nothing to tell of `other`.
    pub fn replaces(&self, other: &Self) -> bool {
        self.kind == other.kind && (self.kind != kind::VARIABLE || self.variable() == other.variable())
    }

    /// The name of its first variable.
    fn variable(&self) -> Option<&[u8]> {
        Reader::new(self.body).lenenc_bytes("variable name").ok()
    }
}

/// The changes in an OK packet, up to the first malformed one.
pub(super) fn entries(reported: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut reader = Reader::new(reported);
    std::iter::from_fn(move || {
        Some(Entry { kind: reader.u8("change type").ok()?, body: reader.lenenc_bytes("change").ok()? })
    })
}

fn is_on(value: &[u8]) -> bool {
    matches!(value, b"1" | b"ON")
}

fn lenenc_bytes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 9);
    put_lenenc_bytes(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, body.len() as u8][..], body].concat()
    }

    #[test]
    fn a_client_is_told_what_it_asked_for() {
        let time_zone = entry(0, b"\x09time_zone\x03UTC");
        let sql_mode = entry(0, b"\x08SQL_MODE\x04ANSI");
        let canonical = entry(0, b"\x08sql_mode\x04ANSI");
        let both = entry(0, b"\x09time_zone\x03UTC\x08sql_mode\x04ANSI");
        let schema = entry(1, b"\x03app");
        let state = entry(2, b"1");
        let gtids = entry(3, b"\0\x03u:1");
        let characteristics = entry(4, b"\x06BEGIN;");
        let letters = entry(5, b"\x08T_R___S_");
        let all =
            [&time_zone, &canonical, &schema, &state, &gtids, &characteristics, &letters].map(Vec::as_slice).concat();
        let cases: [([&str; 5], Boundary, Vec<&[u8]>); 10] = [
            (["0", "0", "OFF", "", "OFF"], Boundary::Outside, vec![]),
            (["1", "0", "OFF", "time_zone,autocommit", "OFF"], Boundary::Outside, vec![&time_zone, &schema]),
            (["ON", "OFF", "OFF", "", "OFF"], Boundary::Outside, vec![&schema]),
            (["0", "1", "OFF", "", "OFF"], Boundary::Outside, vec![&state]),
            (["0", "0", "STATE", "", "OFF"], Boundary::Outside, vec![&letters]),
            (["0", "0", "CHARACTERISTICS", "", "OFF"], Boundary::Crossed, vec![&characteristics, &letters]),
            (["0", "0", "OFF", "", "OFF"], Boundary::Crossed, vec![&letters]),
            (["0", "0", "OFF", "time_zone , SQL_MODE", "OFF"], Boundary::Outside, vec![&sql_mode, &time_zone]),
            (["0", "0", "OFF", "*", "OFF"], Boundary::Outside, vec![&time_zone, &canonical]),
            (["0", "0", "OFF", "", "OWN_GTID"], Boundary::Outside, vec![&gtids]),
        ];
        for (values, boundary, expected) in cases {
            let tracking = Tracking::new(values.map(|value| Some(value.into())));
            let expected = Some(expected.concat()).filter(|told| !told.is_empty());
            assert_eq!(tracking.told(&all, boundary), expected, "{values:?} {boundary:?}");
        }
        let state = Tracking::new(["0", "0", "STATE", "", "OFF"].map(|value| Some(value.into())));
        assert_eq!(state.told(&characteristics, Boundary::Outside), Some(Vec::new()), "something changed");
        assert_eq!(Tracking::default().told(&all, Boundary::Outside), None, "nothing is known to be asked for");
        let everything = Tracking::new(["1", "1", "STATE", "*", "OWN_GTID"].map(|v| Some(v.into())));
        let split = [time_zone, canonical].concat();
        assert_eq!(everything.told(&both, Boundary::Outside), Some(split), "several variables in one entry");
        for length in 0..all.len() {
            assert!(
                everything.told(&all[..length], Boundary::Outside).unwrap_or_default().len() <= length,
                "cut to {length}"
            );
        }
    }
}
