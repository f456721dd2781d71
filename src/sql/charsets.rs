//! Whether a text may set a character set by a number. Numbers are those of collations, and servers report the character
//! set alone.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, Token, TokenKind},
    names,
};

/// Functions whose value is a text, whatever they are given.
const OF_TEXTS: [&str; 17] = [
    "CHARSET",
    "CONCAT",
    "CONCAT_WS",
    "INSERT",
    "LCASE",
    "LEFT",
    "LOWER",
    "LTRIM",
    "MID",
    "REPLACE",
    "RIGHT",
    "RTRIM",
    "SUBSTR",
    "SUBSTRING",
    "SUBSTRING_INDEX",
    "UCASE",
    "UPPER",
];

/// Whether the text sets one of the `character_set_…` to anything but a name, what a function of texts gives, or another
/// of them.
pub fn may_number_charset(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => return lexer.doubtful(),
            _ if is_charset(&token) && matches!(lexer.peek_token().text, b"=" | b":=") => {
                lexer.next();
                let value = lexer.next();
                let called = value.kind == TokenKind::Word && lexer.next_is(TokenKind::Open);
                let named = match called {
                    true => OF_TEXTS.iter().any(|name| value.text.eq_ignore_ascii_case(name.as_bytes())),
                    false => matches!(value.kind, TokenKind::Word | TokenKind::Text) || is_charset(&value),
                };
                if called {
                    skip_arguments(&mut lexer);
                }
                let behind = lexer.peek_token().kind;
                if !named || !matches!(behind, TokenKind::Comma | TokenKind::Semicolon | TokenKind::End) {
                    return true;
                }
            }
            _ => {}
        }
    }
}

/// From the opening bracket to the one that closes it.
fn skip_arguments(lexer: &mut Lexer<'_>) {
    let mut depth = 0_usize;
    loop {
        match lexer.next().kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close if depth > 1 => depth -= 1,
            TokenKind::Close | TokenKind::End => return,
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
            ("SET character_set_results = concat (LEFT('latin', LENGTH('abcde')), 1), time_zone = 'UTC'", false),
            ("SET character_set_results = CONCAT('5', 0) + 0", true),
            ("SET character_set_results = ABS(50)", true),
            ("SET character_set_results = mine()", true),
            ("SET character_set_results = LENGTH(CONCAT('a', 'b'))", true),
            ("SET character_set_results = CONCAT('latin', 1), character_set_client = 8", true),
            ("SET character_set_results = -50", true),
        ];
        for (sql, expected) in cases {
            assert_eq!(may_number_charset(sql.as_bytes(), mode), expected, "{sql}");
        }
    }
}
