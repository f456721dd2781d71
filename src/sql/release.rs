//! The end of a transaction that ends the session, too: `COMMIT RELEASE`, `ROLLBACK WORK AND NO CHAIN RELEASE`.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, TokenKind},
};

/// Whether a text ends a transaction and its session with it; one that says neither `RELEASE` nor `NO RELEASE` does if
/// `by_default` (`completion_type`).
pub fn releases(sql: &[u8], mode: Mode, by_default: bool) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    let (mut verb, mut no, mut release) = (true, false, by_default);
    loop {
        let token = lexer.next();
        let is = |word: &str| token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes());
        if matches!(token.kind, TokenKind::End | TokenKind::Semicolon) {
            return release && !verb;
        } else if std::mem::take(&mut verb) {
            if !(is("COMMIT") || is("ROLLBACK")) {
                return false;
            }
        } else if is("RELEASE") {
            release = !no;
        } else if !(is("WORK") || is("AND") || is("CHAIN") || is("NO")) {
            // To a savepoint.
            return false;
        }
        no = is("NO");
    }
}

/// Whether a text of several statements, or one that leads to another text, may do so.
pub fn may_release(sql: &[u8], mode: Mode, by_default: bool) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    let (mut ends, mut release) = (false, by_default);
    loop {
        let token = lexer.next();
        let is = |word: &&str| token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes());
        release |= is(&"RELEASE");
        ends |= ["COMMIT", "ROLLBACK", "CALL", "EXECUTE"].iter().any(is);
        if ends && release || token.kind == TokenKind::End {
            return ends && release;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };

    #[test]
    fn what_may_end_a_session() {
        let cases = [
            ("DO 1; COMMIT RELEASE; DO 1", true, true),
            ("SELECT 1; ROLLBACK", false, true),
            ("EXECUTE IMMEDIATE 'COMMIT RELEASE'", false, true),
            ("CALL p()", false, true),
            ("INSERT INTO t VALUES ('COMMIT RELEASE')", false, false),
            ("RELEASE SAVEPOINT s; DO 1", false, false),
            ("/* COMMIT RELEASE */ DO 1; DO 2", false, false),
        ];
        for (sql, said, by_default) in cases {
            let found = [false, true].map(|default| may_release(sql.as_bytes(), MODE, default));
            assert_eq!(found, [said, by_default], "{sql}");
        }
    }

    #[test]
    fn what_ends_a_session() {
        let cases = [
            ("COMMIT", false, true),
            ("commit release", true, true),
            ("COMMIT NO RELEASE", false, false),
            ("/* done */ ROLLBACK WORK RELEASE;", true, true),
            ("ROLLBACK AND NO CHAIN RELEASE", true, true),
            ("COMMIT AND CHAIN NO RELEASE", false, false),
            ("COMMIT AND CHAIN", false, true),
            ("ROLLBACK TO release", false, false),
            ("ROLLBACK WORK TO SAVEPOINT s", false, false),
            ("SAVEPOINT release", false, false),
            ("RELEASE SAVEPOINT s", false, false),
            ("BEGIN", false, false),
            (";", false, false),
            ("", false, false),
        ];
        for (sql, said, by_default) in cases {
            let found = [false, true].map(|default| releases(sql.as_bytes(), MODE, default));
            assert_eq!(found, [said, by_default], "{sql}");
        }
    }
}
