//! What a `KILL` names.

use super::{
    comment::Gates,
    facts::{Dialect, Mode},
    lexer::{Lexer, TokenKind},
};

/// What a text with a `KILL` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// `KILL [HARD | SOFT] [CONNECTION] n`
    Session(u64),
    /// `KILL [HARD | SOFT] QUERY n`: the statement that session `n` runs.
    Query(u64),
    /// `KILL [CONNECTION] CONNECTION_ID()`
    OwnSession,
    /// `KILL QUERY CONNECTION_ID()`
    OwnQuery,
    /// `KILL … USER name`, `KILL … QUERY ID n`: no session's id (MariaDB).
    Other,
    /// An expression or a parameter, whose value the text does not tell, or a `KILL` among other statements, which Weir
    /// and the server would have to run in turns.
    Unclear,
}

/// Reads a text that has the effect [`Effects::KILL`](super::Effects::KILL).
pub fn victim(sql: &[u8], mode: Mode) -> Victim {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    let (mut query, mut verb) = (false, true);
    loop {
        let token = lexer.next();
        let is = |word: &str| token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes());
        let number = match token.kind {
            TokenKind::Number => std::str::from_utf8(token.text).ok().and_then(|text| text.parse().ok()),
            _ => None,
        };
        if std::mem::take(&mut verb) {
            if !is("KILL") {
                return Victim::Unclear;
            }
        } else if let Some(id) = number {
            let victim = if query { Victim::Query(id) } else { Victim::Session(id) };
            return if ends(lexer) { victim } else { Victim::Unclear };
        } else if is("CONNECTION_ID") {
            let own = if query { Victim::OwnQuery } else { Victim::OwnSession };
            let called = [TokenKind::Open, TokenKind::Close].map(|kind| lexer.next().kind == kind) == [true; 2];
            return if called && ends(lexer) { own } else { Victim::Unclear };
        } else if is("QUERY") {
            query = true;
        } else if is("USER") || query && is("ID") {
            return if mode.dialect == Dialect::MariaDb && is_last(lexer) { Victim::Other } else { Victim::Unclear };
        } else if !(is("HARD") || is("SOFT") || is("CONNECTION")) {
            return Victim::Unclear;
        }
    }
}

/// Whether no other statement follows, and no call: `USER()` is a function.
fn is_last(mut lexer: Lexer<'_>) -> bool {
    loop {
        match lexer.next().kind {
            TokenKind::Open => return false,
            TokenKind::Semicolon => return ends(lexer),
            TokenKind::End => return true,
            _ => {}
        }
    }
}

/// Whether nothing but semicolons follows.
fn ends(mut lexer: Lexer<'_>) -> bool {
    loop {
        match lexer.next().kind {
            TokenKind::Semicolon => {}
            kind => return kind == TokenKind::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let mode =
            Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };
        let cases = [
            ("KILL 7", Victim::Session(7)),
            ("kill connection 7;", Victim::Session(7)),
            ("/* app */ KILL/**/7 -- now", Victim::Session(7)),
            ("KILL QUERY 7", Victim::Query(7)),
            ("KILL HARD QUERY 7", Victim::Query(7)),
            ("KILL SOFT CONNECTION 7", Victim::Session(7)),
            ("KILL 99999999999", Victim::Session(99_999_999_999)),
            ("KILL USER app", Victim::Other),
            ("KILL SOFT QUERY USER 'app'@'%';", Victim::Other),
            ("KILL USER app; KILL 7", Victim::Unclear),
            ("KILL USER() + 7", Victim::Unclear),
            ("KILL QUERY ID 7", Victim::Other),
            ("KILL QUERY ID 7; KILL 7", Victim::Unclear),
            ("KILL ID 7", Victim::Unclear),
            ("KILL", Victim::Unclear),
            ("KILL ?", Victim::Unclear),
            ("KILL @id", Victim::Unclear),
            ("KILL 7 + 1", Victim::Unclear),
            ("KILL 0x07", Victim::Unclear),
            ("KILL CONNECTION_ID()", Victim::OwnSession),
            ("KILL CONNECTION connection_id ( );", Victim::OwnSession),
            ("KILL QUERY CONNECTION_ID()", Victim::OwnQuery),
            ("KILL CONNECTION_ID() + 1", Victim::Unclear),
            ("KILL CONNECTION_ID", Victim::Unclear),
            ("KILL CONNECTION_ID(); SELECT 1", Victim::Unclear),
            ("KILL 7; DROP TABLE t", Victim::Unclear),
            ("KILL 7; KILL 8", Victim::Unclear),
            ("SELECT 1; KILL 7", Victim::Unclear),
        ];
        for (sql, expected) in cases {
            assert_eq!(victim(sql.as_bytes(), mode), expected, "{sql}");
            // MySQL knows threads only.
            let expected = if expected == Victim::Other { Victim::Unclear } else { expected };
            assert_eq!(victim(sql.as_bytes(), Mode { dialect: Dialect::MySql, ..mode }), expected, "MySQL: {sql}");
        }
    }
}
