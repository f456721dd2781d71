//! Which texts ask for the id of the client's connection, and for nothing else.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, TokenKind},
};

/// Whether a text is `SELECT CONNECTION_ID()`, with or without a name for the column.
pub fn asks_connection_id(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    let mut next_is = |kind: TokenKind, text: &str| {
        let token = lexer.next();
        token.kind == kind && token.text.eq_ignore_ascii_case(text.as_bytes())
    };
    let asks = next_is(TokenKind::Word, "SELECT")
        && next_is(TokenKind::Word, "CONNECTION_ID")
        && next_is(TokenKind::Open, "(")
        && next_is(TokenKind::Close, ")");
    asks && ends_behind_name(&mut lexer)
}

/// Whether a name for a column, if even that, and at most a semicolon follow.
fn ends_behind_name(lexer: &mut Lexer<'_>) -> bool {
    let mut token = lexer.next();
    if token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(b"AS") {
        token = lexer.next();
    }
    if matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Text) {
        token = lexer.next();
    }
    if token.kind == TokenKind::Semicolon {
        token = lexer.next();
    }
    token.kind == TokenKind::End
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    #[test]
    fn texts_that_ask_for_the_id_alone() {
        let mode =
            Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };
        for sql in [
            "SELECT CONNECTION_ID()",
            " /* who */ select connection_id ( ) ; ",
            "SELECT CONNECTION_ID() AS id",
            "SELECT CONNECTION_ID() `id`;",
            "SELECT CONNECTION_ID() 'id' -- mine",
        ] {
            assert!(asks_connection_id(sql.as_bytes(), mode), "{sql}");
        }
        for sql in [
            "SELECT CONNECTION_ID() + 0",
            "SELECT CONNECTION_ID(), 1",
            "SELECT 1, CONNECTION_ID()",
            "SELECT CONNECTION_ID() FROM t",
            "SELECT CONNECTION_ID() INTO @id",
            "SELECT CONNECTION_ID() UNION SELECT 1",
            "SELECT CONNECTION_ID() LIMIT 0",
            "SELECT CONNECTION_ID(); SELECT 2",
            "SELECT (SELECT CONNECTION_ID())",
            "DO CONNECTION_ID()",
            "KILL CONNECTION_ID()",
            "SELECT",
            "",
        ] {
            assert!(!asks_connection_id(sql.as_bytes(), mode), "{sql}");
        }
    }
}
