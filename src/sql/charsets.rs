//! Whether a text may set a character set by a number. Numbers are those of collations, and servers report the character
//! set alone.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, Token, TokenKind},
    names,
};

/// Whether the text sets one of the `character_set_…` to anything but a name, what a function gives, or another of them.
/// Who computes a character set computes its name.
pub fn may_number_charset(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => return lexer.doubtful(),
            _ if is_charset(&token) && matches!(lexer.peek_token().text, b"=" | b":=") => {
                lexer.next();
                let value = lexer.next();
                let behind = lexer.peek_token().kind;
                let called = value.kind == TokenKind::Word && behind == TokenKind::Open;
                let named = matches!(value.kind, TokenKind::Word | TokenKind::Text) || is_charset(&value);
                let whole = matches!(behind, TokenKind::Comma | TokenKind::Semicolon | TokenKind::End);
                if !called && (!named || !whole) {
                    return true;
                }
            }
            _ => {}
        }
    }
}

fn is_charset(token: &Token<'_>) -> bool {
    let name = match token.kind {
        TokenKind::Word | TokenKind::Member | TokenKind::Quoted => token.text,
        TokenKind::SystemVariable => token.text.rsplit(|&byte| matches!(byte, b'@' | b'.')).next().unwrap_or_default(),
        _ => return false,
    };
    const PREFIX: &[u8] = b"character_set_";
    names::inside(name).get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    #[test]
    fn names_are_told_from_what_may_be_numbers() {
        let mode = Mode { dialect: Dialect::MySql, version: 90_700, ansi_quotes: false, no_backslash_escapes: false };
        let cases = [
            ("SET character_set_results = latin1", false),
            ("SET character_set_results = 'latin1', @@session.character_set_client := utf8mb4", false),
            ("SET character_set_results = NULL", false),
            ("SET character_set_results = DEFAULT;", false),
            ("SET character_set_results = @@character_set_client", false),
            ("SET NAMES latin1", false),
            ("SET sql_mode = ''", false),
            ("SELECT 'character_set_client = 5'", false),
            ("SET character_set_results = 50", true),
            ("SET @@Character_Set_Results = 50", true),
            ("SET SESSION `character_set_client` := 8", true),
            ("SET session.character_set_results = 50", true),
            ("SET time_zone = '+00:00', character_set_results = @x", true),
            ("SET character_set_results = ?", true),
            ("SET character_set_results = @@wait_timeout", true),
            ("SET character_set_results = (SELECT 50)", true),
            ("SET character_set_results = CONCAT('latin', 1)", false),
            ("SET character_set_results = CONCAT('latin', 1), character_set_client = 8", true),
            ("SET character_set_results = -50", true),
        ];
        for (sql, expected) in cases {
            assert_eq!(may_number_charset(sql.as_bytes(), mode), expected, "{sql}");
        }
    }
}
