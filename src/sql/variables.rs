//! What a text does with variables: whether it only reads user variables (`@name`) or sets them to literals, which can be
//! said again on another connection, and which system variables it sets without saying whose. Read only of texts that
//! name one.

use super::{
    comment::Gates,
    facts::{Effects, Kind, Mode},
    lexer::{Lexer, Token, TokenKind},
    literal::string_value,
    names,
};

/// A literal that a user variable was set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    Null,
    /// SQL that means the same under every `sql_mode` and character set: numbers, `TRUE`, `x'00'`.
    Plain(Vec<u8>),
    /// What stands between the quotes of a string, escapes resolved, in the client's character set.
    Text(Vec<u8>),
}

/// The assignments of a text that is one `SET` of user variables to literals, in order, and of system variables to
/// anything. Names are in lower case. None: it is something else, or may set a user variable to something else.
pub fn assigned_literals(sql: &[u8], mode: Mode) -> Option<Vec<(Vec<u8>, Literal)>> {
    let mut tokens = Tokens::new(sql, mode);
    tokens.next_is_word("SET").then_some(())?;
    let (mut assigned, mut others) = (Vec::new(), false);
    loop {
        let token = tokens.next();
        if token.kind == TokenKind::UserVariable {
            let name = name(token.text)?;
            let sign = tokens.next();
            if !matches!(sign.text, b"=" | b":=") {
                return None;
            }
            assigned.push((name, tokens.literal()?));
        } else {
            others = true;
            tokens.skip_assignment(token)?;
        }
        match tokens.next().kind {
            TokenKind::Comma => {}
            TokenKind::End => break,
            TokenKind::Semicolon if tokens.next().kind == TokenKind::End => break,
            _ => return None,
        }
    }
    // The other variables may be the character sets, and nobody knows which text is in which.
    let texts = assigned.iter().any(|(_, literal)| matches!(literal, Literal::Text(_)));
    let unclear = tokens.lexer.doubtful() || texts && others;
    (!unclear).then_some(assigned)
}

/// The user variables that a text names, in lower case; None for one whose name is out of the ordinary.
pub fn user_variables(sql: &[u8], mode: Mode) -> impl Iterator<Item = Option<Vec<u8>>> {
    let mut tokens = Tokens::new(sql, mode);
    std::iter::from_fn(move || {
        loop {
            let token = tokens.next();
            match token.kind {
                TokenKind::End => return None,
                TokenKind::UserVariable => return Some(name(token.text)),
                _ => {}
            }
        }
    })
}

/// The system variables that a text may set as `@@name`, without a scope, in lower case; but for what is to be reported of
/// the session, which has an effect of its own. Names that need quotes come as they are.
pub fn unscoped_variables(sql: &[u8], mode: Mode) -> Vec<Vec<u8>> {
    let mut tokens = Tokens::new(sql, mode);
    let mut found = Vec::new();
    loop {
        let token = tokens.next();
        match token.kind {
            TokenKind::End => return found,
            TokenKind::SystemVariable if matches!(tokens.lexer.peek_token().text, b"=" | b":=") => {
                let name = names::inside(token.text.strip_prefix(b"@@").unwrap_or(token.text)).to_ascii_lowercase();
                let scoped = [&b"session."[..], b"local.", b"global."].iter().any(|scope| name.starts_with(scope));
                if !scoped && !names::is_session_tracking(&name) && !found.contains(&name) {
                    found.push(name);
                }
            }
            _ => {}
        }
    }
}

/// Which of the three effects a text has that names user variables. `many`: it is more than one statement.
pub(super) fn effect(sql: &[u8], mode: Mode, kind: Kind, many: bool) -> Effects {
    match kind {
        _ if many && kind != Kind::Read => Effects::USER_VARIABLE,
        Kind::Set => match assigned_literals(sql, mode) {
            Some(assigned) if assigned.is_empty() => Effects::VARIABLE_READ,
            Some(_) => Effects::VARIABLE_LITERAL,
            None => Effects::USER_VARIABLE,
        },
        Kind::Read | Kind::Write | Kind::TextPrepared if only_reads(sql, mode) => Effects::VARIABLE_READ,
        _ => Effects::USER_VARIABLE,
    }
}

/// Whether no user variable is assigned: neither by `:=` nor `INTO @x`, nor as a parameter or a field of a file.
fn only_reads(sql: &[u8], mode: Mode) -> bool {
    let mut tokens = Tokens::new(sql, mode);
    let mut behind_into = false;
    loop {
        let token = tokens.next();
        let assigns = match token.kind {
            TokenKind::End => return true,
            TokenKind::UserVariable => behind_into,
            TokenKind::Operator => token.text == b":=",
            TokenKind::Word => is(&token, "CALL") || is(&token, "LOAD"),
            _ => false,
        };
        if assigns {
            return false;
        }
        behind_into = is(&token, "INTO");
    }
}

fn is(token: &Token<'_>, word: &str) -> bool {
    token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes())
}

/// The name of `@name`, if it needs no quotes.
fn name(reference: &[u8]) -> Option<Vec<u8>> {
    let name = reference.strip_prefix(b"@")?;
    let name = match name {
        [b'`', inner @ .., b'`'] | [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => name,
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.');
    (!name.is_empty() && name.iter().all(plain)).then(|| name.to_ascii_lowercase())
}

struct Tokens<'a> {
    lexer: Lexer<'a>,
    mode: Mode,
}

impl<'a> Tokens<'a> {
    fn new(sql: &'a [u8], mode: Mode) -> Self {
        Self { lexer: Lexer::new(sql, mode, Gates::UpTo(mode.version)), mode }
    }

    fn next(&mut self) -> Token<'a> {
        self.lexer.next()
    }

    fn next_is_word(&mut self, word: &str) -> bool {
        is(&self.next(), word)
    }

    fn literal(&mut self) -> Option<Literal> {
        let first = self.next();
        let number = |token: &Token<'_>| token.kind == TokenKind::Number && !token.text.starts_with(b"\\");
        Some(match first.kind {
            TokenKind::Number if number(&first) => Literal::Plain(first.text.to_vec()),
            TokenKind::Operator if matches!(first.text, b"-" | b"+") => {
                let digits = Some(self.next()).filter(number)?;
                Literal::Plain([first.text, digits.text].concat())
            }
            TokenKind::Text => Literal::Text(string_value(first.text, self.mode)?),
            TokenKind::Word if is(&first, "NULL") => Literal::Null,
            TokenKind::Word if is(&first, "TRUE") || is(&first, "FALSE") => Literal::Plain(first.text.to_vec()),
            TokenKind::Word if is(&first, "X") || is(&first, "B") => {
                let digits = self.next();
                let whole = digits.start == first.start + 1 && digits.text.starts_with(b"'");
                whole.then(|| Literal::Plain([first.text, digits.text].concat()))?
            }
            _ => return None,
        })
    }

    /// Skips to the end of the assignment of a system variable, which begins with `first`.
    fn skip_assignment(&mut self, first: Token<'a>) -> Option<()> {
        if is(&first, "STATEMENT") {
            return None;
        }
        let (mut depth, mut last) = (0_usize, first.kind);
        loop {
            let mut ahead = self.lexer;
            let token = ahead.next();
            match token.kind {
                TokenKind::End | TokenKind::Semicolon => return Some(()),
                TokenKind::Comma if depth == 0 => return Some(()),
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth = depth.saturating_sub(1),
                TokenKind::Operator if token.text == b":=" && last == TokenKind::UserVariable => return None,
                TokenKind::Word if is(&token, "INTO") => return None,
                _ => {}
            }
            last = token.kind;
            self.lexer = ahead;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };

    fn listed(sql: &str, mode: Mode) -> Option<String> {
        let assigned = assigned_literals(sql.as_bytes(), mode)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = assigned.iter().map(|(name, literal)| match literal {
            Literal::Null => format!("{}=NULL", text(name)),
            Literal::Plain(sql) => format!("{}={}", text(name), text(sql)),
            Literal::Text(value) => format!("{}=<{}>", text(name), text(value)),
        });
        Some(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn literals_are_read() {
        let cases = [
            ("SET @a = 1", Some("a=1")),
            ("set @A:=-1.5e3, @`b` = +.5;", Some("a=-1.5e3 b=+.5")),
            ("SET @a = 'it''s\\n', @b = \"x\"", Some("a=<it's\n> b=<x>")),
            ("SET @a = NULL, @b = true", Some("a=NULL b=true")),
            ("SET @a = 0xAF, @b = x'AF', @c = b'01'", Some("a=0xAF b=x'AF' c=b'01'")),
            ("SET /* x */ @a = 1 -- y", Some("a=1")),
            ("SET @a = 1, time_zone = '+01:00', @@sql_mode = CONCAT(@@sql_mode, ',ANSI')", Some("a=1")),
            ("SET time_zone = @b", Some("")),
            ("SET @a = 'x', NAMES latin1", None),
            ("SET @a = 1 + 1", None),
            ("SET @a = 'a' 'b'", None),
            ("SET @a = 'a' COLLATE utf8mb4_bin", None),
            ("SET @a = _utf8mb4'a'", None),
            ("SET @a = N'a'", None),
            ("SET @a = - - 1", None),
            ("SET @a = @b", None),
            ("SET @a = @@sql_mode", None),
            ("SET @a = ?", None),
            ("SET @a = (SELECT 1)", None),
            ("SET @a = f()", None),
            ("SET @a = x '41'", None),
            ("SET @a = 1, time_zone = (@b := 2)", None),
            ("SET time_zone = (SELECT 1 INTO @b)", None),
            ("SET STATEMENT max_statement_time = 1 FOR SET @a = 1", None),
            ("SET @a = 1; SELECT 1", None),
            ("SET @`a b` = 1", None),
            ("SET @a = 'x", None),
            ("SET @a =", None),
            ("SELECT @a := 1", None),
            ("", None),
        ];
        for (sql, expected) in cases {
            assert_eq!(listed(sql, MODE).as_deref(), expected, "{sql}");
        }
        let mode = Mode { ansi_quotes: true, no_backslash_escapes: true, ..MODE };
        assert_eq!(listed("SET @a = 'C:\\new'", mode).as_deref(), Some("a=<C:\\new>"));
        assert_eq!(listed("SET @a = \"x\"", mode), None);
    }

    #[test]
    fn assignments_without_a_scope_are_found() {
        let cases = [
            ("SET @@sql_mode = 'ANSI', @@`Time_Zone`:='+01:00', @@sql_mode=''", "sql_mode time_zone"),
            ("SET @@session.a = 1, @@LOCAL.b = 2, @@global.c = 3, d = 4, SESSION e = 5", ""),
            ("SET a = @@b, @@c = @@d", "c"),
            ("SELECT 1; SET @@a = 1", "a"),
            ("SET @@session_track_schema = 1, @@a = 1", "a"),
            ("SELECT @@a, @@b", ""),
        ];
        for (sql, expected) in cases {
            let found = unscoped_variables(sql.as_bytes(), MODE);
            assert_eq!(String::from_utf8_lossy(&found.join(&b' ')), expected, "{sql}");
        }
    }

    #[test]
    fn readers_are_told_from_writers() {
        let cases = [
            ("SELECT @a, @b FROM t WHERE id = @c", Kind::Read, true),
            ("SELECT @a := 1", Kind::Read, false),
            ("SELECT 1 INTO @a", Kind::Read, false),
            ("SELECT 1, 2 INTO @a, @b", Kind::Read, false),
            ("INSERT INTO t VALUES (@a)", Kind::Write, true),
            ("UPDATE t SET a = @a", Kind::Write, true),
            ("UPDATE t SET a = (@a := a)", Kind::Write, false),
            ("CALL p(@a)", Kind::Write, false),
            ("LOAD DATA INFILE 'x' INTO TABLE t (@a)", Kind::Write, false),
            ("EXECUTE s USING @a", Kind::TextPrepared, true),
            ("SET time_zone = @a", Kind::Set, true),
            ("GET DIAGNOSTICS @a = NUMBER", Kind::Diagnostics, false),
        ];
        for (sql, kind, reads) in cases {
            let expected = if reads { Effects::VARIABLE_READ } else { Effects::USER_VARIABLE };
            assert_eq!(effect(sql.as_bytes(), MODE, kind, false), expected, "{sql}");
        }
        assert_eq!(effect(b"SET @a = 1; DELETE FROM t", MODE, Kind::Write, true), Effects::USER_VARIABLE);
        assert_eq!(effect(b"SET @a = 1", MODE, Kind::Set, false), Effects::VARIABLE_LITERAL);
    }
}
