//! How far a server's history has come: MySQL GTID sets and MariaDB GTID positions, read, merged and compared.
//!
//! Decides whether one position contains another and how a session's required position stays small. Leaves to
//! others where positions come from (OK packets, probes) and what to do when a replica is behind.

mod mariadb;
mod mysql;

use std::fmt;

pub use mariadb::MariaDbPosition;
pub use mysql::MySqlSet;

/// What a server has executed, or what a session needs a server to have executed.
///
/// Its text (`Display`) can stand between quotes in `WAIT_FOR_EXECUTED_GTID_SET('…')` or `MASTER_GTID_WAIT('…')`:
/// it consists of hexadecimal digits, letters, `_`, `-`, `:` and `,` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    MySql(MySqlSet),
    MariaDb(MariaDbPosition),
}

/// A text from a server is not a GTID set or position; holds its beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {text:?}")]
pub struct GtidError {
    kind: &'static str,
    text: String,
}

impl Position {
    /// Reads a MySQL GTID set (`@@gtid_executed`, the GTIDs of an OK packet):
    /// `uuid:1-5:7,uuid:1-3:tag:1-2`, in any case, blanks and newlines between its parts.
    ///
    /// Grammar: MySQL Reference Manual, "GTID Format and Storage".
    ///
    /// # Errors
    /// The text does not follow the grammar.
    pub fn parse_mysql(text: &[u8]) -> Result<Self, GtidError> {
        let set = MySqlSet::parse(text).ok_or_else(|| GtidError::new("MySQL GTID set", text))?;
        Ok(Self::MySql(set))
    }

    /// Reads a MariaDB GTID or position (`@@last_gtid`, `@@gtid_slave_pos`): `0-1-100,1-2-5`.
    ///
    /// Grammar: MariaDB documentation, "Global Transaction ID".
    ///
    /// # Errors
    /// The text does not follow the grammar.
    pub fn parse_mariadb(text: &[u8]) -> Result<Self, GtidError> {
        let list = MariaDbPosition::parse(text).ok_or_else(|| GtidError::new("MariaDB GTID position", text))?;
        Ok(Self::MariaDb(list))
    }

    /// Whether it names no transaction.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::MySql(set) => set.is_empty(),
            Self::MariaDb(list) => list.is_empty(),
        }
    }

    /// Whether a server at `self` has everything that `required` names. Positions of two server families never
    /// cover each other, unless nothing is required.
    pub fn covers(&self, required: &Self) -> bool {
        match (self, required) {
            (Self::MySql(have), Self::MySql(required)) => have.covers(required),
            (Self::MariaDb(have), Self::MariaDb(required)) => have.covers(required),
            _ => required.is_empty(),
        }
    }

    /// What `self` has and `base` has not: the news since a former position. All of it if the families differ.
    #[must_use]
    pub fn since(&self, base: &Self) -> Self {
        match (self, base) {
            (Self::MySql(now), Self::MySql(base)) => Self::MySql(now.since(base)),
            (Self::MariaDb(now), Self::MariaDb(base)) => Self::MariaDb(now.since(base)),
            _ => self.clone(),
        }
    }

    /// Adds what `other` names, exactly. A position of the other server family replaces this one: it is the later
    /// report, and one cluster never mixes the two.
    pub fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::MySql(set), Self::MySql(other)) => set.merge(other),
            (Self::MariaDb(list), Self::MariaDb(other)) => list.merge(other),
            (_, other) => *self = other.clone(),
        }
    }

    /// Like [`merge`](Self::merge), for a position that is waited for and must stay small: it may require more
    /// than was asked, never less.
    ///
    /// A session on a busy MySQL writer owns every n-th GTID, so that its exact set grows with every commit. Past
    /// [`MySqlSet::MAX_REQUIRED`] intervals the narrowest gap is closed. The GTIDs in a gap were taken by other
    /// sessions at about the same time, so a replica that has the later ones practically always has them too. A gap
    /// that nobody ever fills (an unused block of Group Replication, a hand-set `gtid_next`) is a wide one, closed
    /// last; should it be closed, the wait runs into its timeout and the read goes to the writer: slow, not stale.
    pub fn require(&mut self, other: &Self) {
        self.merge(other);
        if let Self::MySql(set) = self {
            set.close_gaps(MySqlSet::MAX_REQUIRED);
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(f),
            Self::MariaDb(list) => list.fmt(f),
        }
    }
}

impl GtidError {
    fn new(kind: &'static str, text: &[u8]) -> Self {
        let shown = text.get(..64).unwrap_or(text);
        Self { kind, text: String::from_utf8_lossy(shown).into_owned() }
    }
}

/// Reads digits only: no sign, no blanks inside.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_do_not_mix() {
        let mysql = Position::parse_mysql(b"3e11fa47-71ca-11e1-9e33-c80aa9429562:1").unwrap();
        let mariadb = Position::parse_mariadb(b"0-1-5").unwrap();
        let nothing = Position::parse_mariadb(b"").unwrap();
        assert!(!mysql.covers(&mariadb));
        assert!(!mariadb.covers(&mysql));
        assert!(mysql.covers(&nothing));

        let mut position = mysql.clone();
        position.require(&mariadb);
        assert_eq!(position, mariadb);
    }

    #[test]
    fn an_error_shows_only_the_beginning() {
        let error = Position::parse_mariadb(&[b'x'; 5000]).unwrap_err().to_string();
        assert!(error.len() < 120, "{error}");
    }
}
