//! Whether a `SET` chooses what the server reports (`session_track_…`), and does nothing else; and whether a `SHOW` tells
//! what was chosen.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, Token, TokenKind},
    names,
};

/// Whether the text sets variables `session_track_…` of the session, each to one literal or variable, and no others.
pub fn sets_only_tracking(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    if !is(&lexer.next(), "SET") {
        return false;
    }
    loop {
        let mut name = lexer.next();
        if is(&name, "SESSION") || is(&name, "LOCAL") {
            name = lexer.next();
        }
        let assigns = is_tracking(&name) && matches!(lexer.next().text, b"=" | b":=");
        let value = lexer.next().kind;
        let plain = matches!(
            value,
            TokenKind::Word | TokenKind::Text | TokenKind::Number | TokenKind::Parameter | TokenKind::SystemVariable
        );
        if !assigns || !plain {
            return false;
        }
        match lexer.next().kind {
            TokenKind::Comma => {}
            TokenKind::Semicolon => return lexer.next().kind == TokenKind::End && !lexer.doubtful(),
            end => return end == TokenKind::End && !lexer.doubtful(),
        }
    }
}

/// Whether the text is a `SHOW VARIABLES` of the session that may list variables `session_track_…`.
pub(super) fn shows_tracking(sql: &[u8], mode: Mode) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    if !is(&lexer.next(), "SHOW") {
        return false;
    }
    let mut what = lexer.next();
    if is(&what, "SESSION") || is(&what, "LOCAL") {
        what = lexer.next();
    }
    if !is(&what, "VARIABLES") {
        return false;
    }
    if !is(&lexer.next(), "LIKE") {
        return true;
    }
    let pattern = lexer.next();
    pattern.kind != TokenKind::Text || may_match(pattern.text)
}

/// Whether names with this beginning may be `LIKE` a literal.
fn may_match(literal: &[u8]) -> bool {
    let [b'\'' | b'"', pattern @ .., _] = literal else { return true };
    let mut pattern = pattern.iter();
    for expected in names::SESSION_TRACKING {
        match pattern.next() {
            Some(b'%' | b'\\') => return true,
            Some(b'_') => {}
            Some(byte) if byte.eq_ignore_ascii_case(expected) => {}
            _ => return false,
        }
    }
    true
}

fn is_tracking(token: &Token<'_>) -> bool {
    let name = match token.kind {
        TokenKind::Word => token.text,
        TokenKind::SystemVariable => {
            let name = token.text.strip_prefix(b"@@").unwrap_or_default();
            let scoped = name.iter().position(|&byte| byte == b'.');
            match scoped.and_then(|dot| name.split_at_checked(dot)) {
                Some((scope, rest))
                    if [&b"session"[..], b"local"].iter().any(|own| scope.eq_ignore_ascii_case(own)) =>
                {
                    rest.strip_prefix(b".").unwrap_or_default()
                }
                Some(_) => return false,
                None => name,
            }
        }
        _ => return false,
    };
    names::is_session_tracking(name)
}

fn is(token: &Token<'_>, word: &str) -> bool {
    token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MySql, version: 90_700, ansi_quotes: false, no_backslash_escapes: false };

    #[test]
    fn what_shows_tracking() {
        let cases = [
            ("SHOW VARIABLES", true),
            ("/* a */ show session variables;", true),
            ("SHOW LOCAL VARIABLES LIKE '%'", true),
            ("SHOW VARIABLES LIKE 'session_track%'", true),
            ("SHOW VARIABLES LIKE 'Session\\_track\\_schema'", true),
            ("SHOW VARIABLES LIKE '_ession%'", true),
            ("SHOW VARIABLES LIKE 'session_track_schema'", true),
            ("SHOW VARIABLES LIKE \"%schema\"", true),
            ("SHOW VARIABLES LIKE ?", true),
            ("SHOW VARIABLES LIKE N'session%'", true),
            ("SHOW VARIABLES WHERE Value = 'ON'", true),
            ("SHOW VARIABLES LIKE 'sql_mode'", false),
            ("SHOW VARIABLES LIKE 'session'", false),
            ("SHOW VARIABLES LIKE ''", false),
            ("SHOW VARIABLES LIKE 'sess_on%x'", true),
            ("SHOW VARIABLES LIKE 'max%'", false),
            ("SHOW GLOBAL VARIABLES", false),
            ("SHOW STATUS", false),
            ("SELECT 1", false),
            ("", false),
        ];
        for (sql, expected) in cases {
            assert_eq!(shows_tracking(sql.as_bytes(), MODE), expected, "{sql}");
        }
    }

    #[test]
    fn what_sets_only_tracking() {
        let cases = [
            ("SET session_track_schema = 1", true),
            ("set session session_track_gtids=OWN_GTID;", true),
            ("SET @@session.session_track_schema := 'ON'", true),
            ("SET @@Session_Track_Schema = DEFAULT, local session_track_state_change = ?", true),
            ("SET session_track_schema = @@session_track_state_change", true),
            ("/* a */ SET session_track_system_variables = 'a,b' -- c", true),
            ("SET session_track_schema = 1, sql_mode = ''", false),
            ("SET sql_mode = '', session_track_schema = 1", false),
            ("SET session_track_schema = f()", false),
            ("SET session_track_schema = (SELECT 1)", false),
            ("SET session_track_schema = 1 - 1", false),
            ("SET session_track_schema = @a", false),
            ("SET session_track_schema = 1; USE app", false),
            ("SET GLOBAL session_track_schema = 1", false),
            ("SET @@global.session_track_schema = 1", false),
            ("SET NAMES utf8, session_track_schema = 1", false),
            ("SET session_track_schema", false),
            ("SELECT @@session_track_schema", false),
            ("", false),
        ];
        for (sql, expected) in cases {
            assert_eq!(sets_only_tracking(sql.as_bytes(), MODE), expected, "{sql}");
        }
    }
}
