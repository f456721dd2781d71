//! Which advisory locks a text may take or release.

use super::{
    belongings::{Phrase, is},
    facts::Mode,
    lexer::TokenKind,
};

/// What a text does to advisory locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdvisoryLocks<'a> {
    /// It may take those with these names, and may release some.
    Named(Vec<&'a [u8]>),
    /// It releases all, and does nothing else.
    AllReleased,
    /// It may take some whose names are not known.
    Unknown,
    /// It takes some of the locking service, which `RELEASE_ALL_LOCKS()` leaves alone.
    OfService,
}

/// Reads a text that names functions of advisory locks.
pub fn advisory_locks(sql: &[u8], mode: Mode) -> AdvisoryLocks<'_> {
    if releases_all(Phrase::of(sql, mode)) {
        return AdvisoryLocks::AllReleased;
    }
    let mut phrase = Phrase::of(sql, mode);
    let mut names = Vec::new();
    loop {
        let token = phrase.next();
        match token.kind {
            TokenKind::End if !phrase.is_plain() => break,
            TokenKind::End => return AdvisoryLocks::Named(names),
            TokenKind::Word if is(&token, "GET_LOCK") => match lock_name(&mut phrase) {
                Some(name) => names.push(name),
                None => break,
            },
            TokenKind::Word if is(&token, "SERVICE_GET_READ_LOCKS") || is(&token, "SERVICE_GET_WRITE_LOCKS") => {
                return AdvisoryLocks::OfService;
            }
            _ => {}
        }
    }
    AdvisoryLocks::Unknown
}

/// `SELECT RELEASE_ALL_LOCKS()`, perhaps with another name for its column.
fn releases_all(mut phrase: Phrase<'_>) -> bool {
    if phrase.one_of(&["SELECT", "DO"]).is_none() || !phrase.words(&["RELEASE_ALL_LOCKS"]) {
        return false;
    }
    if phrase.next().kind != TokenKind::Open || phrase.next().kind != TokenKind::Close {
        return false;
    }
    if phrase.words(&["AS"]) {
        phrase.next();
    }
    phrase.ends_statement()
}

/// The first argument of `GET_LOCK`, if it is a literal that any server reads alike.
fn lock_name<'a>(phrase: &mut Phrase<'a>) -> Option<&'a [u8]> {
    let open = phrase.next();
    let name = phrase.next();
    let plain = |byte: &u8| (byte.is_ascii_graphic() || *byte == b' ') && !matches!(byte, b'\'' | b'"' | b'\\');
    let inner = name.text.get(1..name.text.len().saturating_sub(1))?;
    let known = open.kind == TokenKind::Open
        && name.kind == TokenKind::Text
        && phrase.lexer.next_is(TokenKind::Comma)
        && inner.iter().all(plain);
    known.then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };

    #[test]
    fn locks_are_named_or_not_known() {
        let named = |names: &[&'static str]| AdvisoryLocks::Named(names.iter().map(|name| name.as_bytes()).collect());
        let cases = [
            ("SELECT GET_LOCK('a', 5)", named(&["a"])),
            ("DO get_lock ( \"a b\" , 0 ), GET_LOCK('c', 0)", named(&["a b", "c"])),
            ("SELECT RELEASE_LOCK('a'), IS_FREE_LOCK('b')", named(&[])),
            ("SELECT RELEASE_ALL_LOCKS()", AdvisoryLocks::AllReleased),
            ("do release_all_locks();", AdvisoryLocks::AllReleased),
            ("SELECT RELEASE_ALL_LOCKS() AS n", AdvisoryLocks::AllReleased),
            ("SELECT IF(0, RELEASE_ALL_LOCKS(), 1)", named(&[])),
            ("SELECT RELEASE_ALL_LOCKS() FROM t", named(&[])),
            ("SELECT GET_LOCK(CONCAT('a', 'b'), 5)", AdvisoryLocks::Unknown),
            ("SELECT GET_LOCK('a' 'b', 5)", AdvisoryLocks::Unknown),
            ("SELECT GET_LOCK(?, ?)", AdvisoryLocks::Unknown),
            ("SELECT GET_LOCK('it''s', 5)", AdvisoryLocks::Unknown),
            ("SELECT GET_LOCK('é', 5)", AdvisoryLocks::Unknown),
            ("SELECT GET_LOCK(@a, 5)", AdvisoryLocks::Unknown),
            ("SELECT service_get_read_locks('a', 'b', 5)", AdvisoryLocks::OfService),
            ("SELECT GET_LOCK(", AdvisoryLocks::Unknown),
        ];
        for (sql, expected) in cases {
            assert_eq!(advisory_locks(sql.as_bytes(), MODE), expected, "{sql}");
        }
    }
}
