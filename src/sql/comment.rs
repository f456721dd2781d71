//! What a comment says: a hint to Weir, or code for servers of some version.

use super::facts::{Dialect, Hint};

/// Which version-gated comments (`/*!80000 … */`) are read as code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gates {
    /// Those that a server of this version reads as code.
    UpTo(u32),
    All,
}

/// How a comment starts that may be code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    /// Bytes from `/*` to the code.
    pub length: usize,
    /// The least version that reads the code; none if every server of the dialect does.
    pub version: Option<u32>,
    /// `/*M!`
    mariadb: bool,
}

impl Gate {
    /// The gate of a comment that starts at the start of `text`; `None` if it is an ordinary comment.
    ///
    /// Five or six digits right behind the `!` are a version, as in both servers' `sql_lex.cc`.
    pub(super) fn of(text: &[u8], dialect: Dialect) -> Option<Self> {
        let (mariadb, digits) = match text {
            [b'/', b'*', b'!', digits @ ..] => (false, digits),
            [b'/', b'*', b'M', b'!', digits @ ..] if dialect == Dialect::MariaDb => (true, digits),
            _ => return None,
        };
        let start = text.len() - digits.len();
        let count = digits.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        if count < 5 {
            return Some(Self { length: start, version: None, mariadb });
        }
        let version = digits.iter().take(count).fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        Some(Self { length: start + count, version: Some(version), mariadb })
    }

    /// MariaDB leaves to MySQL what is gated with a version that only MySQL has.
    pub(super) fn opens(&self, gates: Gates, dialect: Dialect) -> bool {
        let (Some(version), Gates::UpTo(server)) = (self.version, gates) else { return true };
        let foreign = dialect == Dialect::MariaDb && !self.mariadb && (50_700..=99_999).contains(&version);
        version <= server && !foreign
    }
}

/// The different versions that gated comments of a text name.
#[derive(Debug, Clone, Copy)]
pub(super) struct GateVersions {
    kept: [u32; 4],
    count: usize,
    /// Whether there was room for all.
    pub complete: bool,
}

impl GateVersions {
    pub(super) const NONE: Self = Self { kept: [0; 4], count: 0, complete: true };

    pub(super) fn kept(&self) -> &[u32] {
        self.kept.get(..self.count).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, version: u32) {
        if self.kept().contains(&version) {
            return;
        }
        match self.kept.get_mut(self.count) {
            Some(free) => (*free, self.count) = (version, self.count + 1),
            None => self.complete = false,
        }
    }
}

/// The hint in the text between the marks of an ordinary comment.
///
/// The comment starts with `weir:` and a word; whatever stands behind a blank is left alone.
pub(super) fn hint(comment: &[u8]) -> Option<Hint<'_>> {
    let comment = comment.trim_ascii_start();
    let (prefix, rest) = comment.split_at_checked(5)?;
    if !prefix.eq_ignore_ascii_case(b"weir:") {
        return None;
    }
    let word = rest.split(u8::is_ascii_whitespace).next()?;
    let mut parts = word.splitn(2, |byte| *byte == b'=');
    let (key, value) = (parts.next()?, parts.next());
    match value {
        None if key.eq_ignore_ascii_case(b"writer") => Some(Hint::Writer),
        None if key.eq_ignore_ascii_case(b"reader") => Some(Hint::Reader),
        Some(name) if !name.is_empty() && key.eq_ignore_ascii_case(b"group") => Some(Hint::Group(name)),
        Some(name) if !name.is_empty() && key.eq_ignore_ascii_case(b"server") => Some(Hint::Server(name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates() {
        type Seen = Option<(usize, bool)>;
        let cases: [(&str, Dialect, u32, Seen); 13] = [
            ("/*! a", Dialect::MySql, 80_000, Some((3, true))),
            ("/*!80000 a", Dialect::MySql, 80_000, Some((8, true))),
            ("/*!80001 a", Dialect::MySql, 80_000, Some((8, false))),
            ("/*!080000 a", Dialect::MySql, 90_700, Some((9, true))),
            ("/*!100000 a", Dialect::MySql, 90_700, Some((9, false))),
            ("/*!8000 a", Dialect::MySql, 1, Some((3, true))),
            ("/*!50700 a", Dialect::MariaDb, 101_100, Some((8, false))),
            ("/*!50699 a", Dialect::MariaDb, 101_100, Some((8, true))),
            ("/*M!50700 a", Dialect::MariaDb, 101_100, Some((9, true))),
            ("/*M!100100 a", Dialect::MariaDb, 101_100, Some((10, true))),
            ("/*M! a", Dialect::MySql, 90_700, None),
            ("/* ! a", Dialect::MySql, 90_700, None),
            ("/*+ a", Dialect::MariaDb, 101_100, None),
        ];
        for (text, dialect, version, expected) in cases {
            let gate = Gate::of(text.as_bytes(), dialect);
            let seen = gate.map(|gate| (gate.length, gate.opens(Gates::UpTo(version), dialect)));
            assert_eq!(seen, expected, "{text} {dialect:?} {version}");
        }
    }

    #[test]
    fn hints() {
        let cases: [(&str, Option<Hint<'_>>); 12] = [
            (" weir:writer ", Some(Hint::Writer)),
            ("weir:reader", Some(Hint::Reader)),
            ("\tWEIR:Reader and more", Some(Hint::Reader)),
            (" weir:group=analytics ", Some(Hint::Group(b"analytics"))),
            ("weir:server=db2", Some(Hint::Server(b"db2"))),
            ("weir:server=", None),
            ("weir:writer=1", None),
            ("weir: writer", None),
            ("weir", None),
            ("see weir:writer", None),
            ("+ weir:writer", None),
            ("", None),
        ];
        for (comment, expected) in cases {
            assert_eq!(hint(comment.as_bytes()), expected, "{comment:?}");
        }
    }
}
