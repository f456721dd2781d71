//! Whether a server made up the insert id that it told, or was given it: what `LAST_INSERT_ID()` says from then on is
//! only the former.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, Token, TokenKind},
};

/// Whether `id`, told in reply to one `INSERT` or `REPLACE`, was made by the server beyond doubt: nothing in the text or
/// among the values of its `parameters` (in binary) can have been the id.
pub fn made_insert_id(sql: &[u8], mode: Mode, id: u64, parameters: &[u8]) -> bool {
    let digits = id.to_string();
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    // Behind ON DUPLICATE KEY UPDATE stands what becomes of rows that are there.
    let mut updating = false;
    loop {
        let token = lexer.next();
        let made = match token.kind {
            TokenKind::End => return !lexer.doubtful(),
            TokenKind::Semicolon => ends(lexer),
            TokenKind::Number => token.text.iter().all(u8::is_ascii_digit) && token.text != digits.as_bytes(),
            TokenKind::Text => !contains(token.text, digits.as_bytes()),
            TokenKind::Parameter => !may_hold(parameters, id, &digits),
            TokenKind::UserVariable | TokenKind::SystemVariable => false,
            TokenKind::Operator => updating || token.text == b"=",
            TokenKind::Word if is(&token, "DUPLICATE") => {
                updating = true;
                true
            }
            TokenKind::Word => {
                !["SELECT", "TABLE", "LAST_INSERT_ID", "X", "B", "TRUE"].iter().any(|word| is(&token, word))
            }
            _ => true,
        };
        if !made {
            return false;
        }
    }
}

/// Whether a text gives `LAST_INSERT_ID()` an argument, which becomes its value.
pub fn gives_insert_id(sql: &[u8]) -> bool {
    const NAME: &[u8] = b"last_insert_id";
    let behind = |at: usize| sql.get(at + NAME.len()..).unwrap_or_default().trim_ascii_start();
    let named = |&at: &usize| sql.get(at..at + NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    (0..sql.len()).filter(named).any(|at| match behind(at).split_first() {
        Some((b'(', arguments)) => arguments.trim_ascii_start().first() != Some(&b')'),
        _ => false,
    })
}

fn ends(mut lexer: Lexer<'_>) -> bool {
    lexer.next().kind == TokenKind::End
}

fn is(token: &Token<'_>, word: &str) -> bool {
    token.text.eq_ignore_ascii_case(word.as_bytes())
}

fn may_hold(parameters: &[u8], id: u64, digits: &str) -> bool {
    let bytes = id.to_le_bytes();
    let length = bytes.len() - id.leading_zeros() as usize / 8;
    contains(parameters, &bytes[..length.max(1)]) || contains(parameters, digits.as_bytes())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::super::facts::Dialect;
    use super::*;

    #[test]
    fn only_what_cannot_have_been_given_was_made() {
        let mode = Mode { dialect: Dialect::MySql, version: 90700, ansi_quotes: false, no_backslash_escapes: false };
        let cases: &[(&str, u64, &[u8], bool)] = &[
            ("INSERT INTO t (n) VALUES (5)", 7, b"", true),
            ("INSERT INTO t (n) VALUES (5);", 7, b"", true),
            ("INSERT INTO t (id) VALUES (7)", 7, b"", false),
            ("INSERT INTO t (id) VALUES ('07')", 7, b"", false),
            ("INSERT INTO t (id) VALUES (0x07)", 7, b"", false),
            ("INSERT INTO t (id) VALUES (7e0)", 7, b"", false),
            ("INSERT INTO t (id) VALUES (5 + 2)", 7, b"", false),
            ("INSERT INTO t (id) VALUES (@id)", 7, b"", false),
            ("INSERT INTO t (id) SELECT 5", 7, b"", false),
            ("INSERT INTO t SET n = 5, at = NOW()", 7, b"", true),
            ("INSERT INTO t (n) VALUES (5) ON DUPLICATE KEY UPDATE n = n + 1", 7, b"", true),
            ("INSERT INTO t (n) VALUES (5) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)", 7, b"", false),
            ("INSERT INTO t (n) VALUES (?)", 700, b"\0\x01\x03\0\x05\0\0\0", true),
            ("INSERT INTO t (id) VALUES (?)", 700, b"\0\x01\x03\0\xBC\x02\0\0", false),
            ("INSERT INTO t (id) VALUES (?)", 700, b"\0\x01\xFD\0\x03700", false),
            ("INSERT INTO t (n) VALUES (5); SELECT 1", 7, b"", false),
            ("INSERT INTO t (n) VALUES ('5", 7, b"", false),
        ];
        for (sql, id, parameters, expected) in cases {
            assert_eq!(made_insert_id(sql.as_bytes(), mode, *id, parameters), *expected, "{sql} {parameters:x?}");
        }
    }

    #[test]
    fn an_argument_gives_the_insert_id() {
        let cases = [
            ("SELECT LAST_INSERT_ID()", false),
            ("SELECT last_insert_id ( )", false),
            ("SELECT @@last_insert_id", false),
            ("SELECT LAST_INSERT_ID(5)", true),
            ("UPDATE t SET n = LAST_INSERT_ID( n + 1)", true),
            ("SELECT LAST_INSERT_ID(), LAST_INSERT_ID(3)", true),
            ("", false),
        ];
        for (sql, expected) in cases {
            assert_eq!(gives_insert_id(sql.as_bytes()), expected, "{sql}");
        }
    }
}
