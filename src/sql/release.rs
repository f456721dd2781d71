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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

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
        let mode =
            Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };
        for (sql, said, by_default) in cases {
            let found = [false, true].map(|default| releases(sql.as_bytes(), mode, default));
            assert_eq!(found, [said, by_default], "{sql}");
        }
    }
}
