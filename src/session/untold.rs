//! What a client is yet to be told of its session.
//!
//! An error has no room for changes. What a statement changed before it failed MySQL tells with its next OK, MariaDB with
//! the next that has something of its own to tell. Weir hears of it at another time: it asks behind an error, and servers
//! tell it more than they would tell a client. So it is kept here until the moment when a server would tell it.

use super::tracking::{Entry, entries, kind};
use crate::{protocol::wire::put_lenenc_bytes, sql::Dialect};

/// Of one session.
#[derive(Debug, Default)]
pub struct Untold {
    /// As in an OK packet, of what the client chose to be told.
    kept: Vec<u8>,
    /// A statement has failed, and the next report tells what it changed.
    late: bool,
}

impl Untold {
    /// Notes that a statement of MariaDB's has failed that may have changed something.
    pub fn expect(&mut self) {
        self.late = true;
    }

    /// Whether [`Self::tell`] is of no use.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && !self.late
    }

    /// Keeps what Weir was told when it asked: of `told`, MariaDB's transactions were Weir's own.
    pub fn keep(&mut self, told: &[u8], dialect: Dialect) {
        self.late = false;
        let kept = entries(told).filter(|entry| dialect == Dialect::MySql || entry.is_of_session());
        let kept = merged(&self.kept, kept);
        self.kept = kept;
    }

    /// What the client is told, of `told` that it would be told of a reply by itself; None: nothing. `changes`: the
    /// statement may have changed the session.
    pub fn tell(&mut self, told: Option<Vec<u8>>, dialect: Dialect, changes: bool) -> Option<Vec<u8>> {
        let late = std::mem::take(&mut self.late);
        match told {
            // A server would have told this client nothing.
            Some(told) if late && !changes && entries(&told).all(|entry| entry.is_of_session()) => {
                self.keep(&told, dialect);
                None
            }
            None if self.kept.is_empty() || dialect == Dialect::MariaDb => {
                self.late = late;
                None
            }
            told if self.kept.is_empty() => told,
            told => {
                let told = told.unwrap_or_default();
                Some(merged(&std::mem::take(&mut self.kept), entries(&told)))
            }
        }
    }
}

/// Variables first, as servers have it; nothing twice.
fn merged<'a>(kept: &'a [u8], told: impl Iterator<Item = Entry<'a>>) -> Vec<u8> {
    let told: Vec<_> = told.collect();
    let kept = entries(kept).filter(|kept| !told.iter().any(|entry| entry.replaces(kept)));
    let mut all: Vec<_> = kept.chain(told.iter().copied()).collect();
    all.sort_by_key(|entry| entry.kind != kind::VARIABLE);
    let mut out = Vec::new();
    for entry in all {
        out.push(entry.kind);
        put_lenenc_bytes(&mut out, entry.body);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &[u8] = b"\x02\x011";
    const LETTERS: &[u8] = b"\x05\x09\x08T_______";
    const GTID: &[u8] = b"\0\x0F\x09last_gtid\x040-19";
    const ZONE: &[u8] = b"\0\x0E\x09time_zone\x03UTC";
    const OTHER_ZONE: &[u8] = b"\0\x0E\x09time_zone\x03CET";

    #[test]
    fn what_a_failed_statement_changed_is_told_with_what_a_server_tells_next() {
        // What MariaDB reports of the statements behind, whether each may change the session, and what is told.
        let cases: [(&[(&[u8], bool)], &[Option<&[u8]>]); 5] = [
            (&[(STATE, false), (STATE, true)], &[None, Some(STATE)]),
            (&[(STATE, true), (LETTERS, false)], &[Some(STATE), Some(LETTERS)]),
            (
                &[(STATE, false), (LETTERS, false), (LETTERS, false)],
                &[None, Some(b"\x02\x011\x05\x09\x08T_______"), Some(LETTERS)],
            ),
            (&[(b"\x02\x011\x05\x09\x08T_______", false)], &[Some(b"\x02\x011\x05\x09\x08T_______")]),
            (&[(ZONE, false), (OTHER_ZONE, true)], &[None, Some(OTHER_ZONE)]),
        ];
        for (reported, expected) in cases {
            let mut untold = Untold::default();
            untold.expect();
            let told =
                reported.iter().map(|(told, changes)| untold.tell(Some(told.to_vec()), Dialect::MariaDb, *changes));
            let told: Vec<_> = told.collect();
            assert_eq!(told.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{reported:x?}");
            assert!(untold.is_empty(), "{reported:x?}");
        }
    }

    #[test]
    fn what_weir_was_told_is_told_with_the_next_ok_or_the_next_report() {
        let asked = [STATE, LETTERS].concat();
        let mut untold = Untold::default();
        untold.keep(&asked, Dialect::MySql);
        assert_eq!(untold.tell(None, Dialect::MySql, false), Some(asked.clone()));
        assert!(untold.is_empty());
        untold.keep(&asked, Dialect::MariaDb);
        assert_eq!(untold.tell(None, Dialect::MariaDb, false), None);
        let told = untold.tell(Some(ZONE.to_vec()), Dialect::MariaDb, true);
        assert_eq!(told, Some([ZONE, STATE].concat()));
        assert!(untold.is_empty());
    }

    #[test]
    fn a_gtid_is_told_of_every_write() {
        let mut untold = Untold::default();
        untold.expect();
        let told = [GTID, STATE].concat();
        assert_eq!(untold.tell(Some(told.clone()), Dialect::MariaDb, false), Some(told));
    }
}
