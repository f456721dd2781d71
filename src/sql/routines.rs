//! Routines: which procedure a text calls, and what the text of one may leave behind that servers do not report.

use std::collections::HashSet;

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, Token, TokenKind},
    stored::folded,
    tables::{Name, TableName},
};

/// What a text calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called<'a> {
    Nothing,
    /// The text is a `CALL` of this procedure and nothing else.
    Procedure(TableName<'a>),
    /// Something, among several statements.
    Unclear,
}

/// The procedure that a text calls.
pub fn called(sql: &[u8], mode: Mode) -> Called<'_> {
    let mut lexer = Lexer::new(sql, mode, Gates::All);
    let first = lexer.next();
    let mut calls = is(&first, "CALL");
    let procedure = if calls { procedure(&mut lexer) } else { None };
    let (mut alone, mut last) = (true, first.kind);
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => break,
            TokenKind::Semicolon => {}
            _ => alone &= last != TokenKind::Semicolon,
        }
        calls |= is(&token, "CALL");
        last = token.kind;
    }
    let plain = alone && !lexer.doubtful() && lexer.gate_versions().is_empty();
    match procedure {
        _ if !calls => Called::Nothing,
        Some(name) if plain => Called::Procedure(name),
        _ => Called::Unclear,
    }
}

fn procedure<'a>(lexer: &mut Lexer<'a>) -> Option<TableName<'a>> {
    let name = name(lexer.next())?;
    if !lexer.next_is(TokenKind::Dot) {
        return Some(TableName { schema: None, name });
    }
    lexer.next();
    let schema = Some(name);
    // A package of MariaDB's has procedures with three names.
    let procedure = self::name(lexer.next())?;
    (!lexer.next_is(TokenKind::Dot)).then_some(TableName { schema, name: procedure })
}

fn name(token: Token<'_>) -> Option<Name<'_>> {
    matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Member).then(|| Name::of(token.text))
}

/// What the text of a piece of stored code does that outlives it.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// It may leave behind what is not reported: an assignment to a user variable other than `SET @x`, a lock, a role, a
    /// text that is not seen. What others do that it calls is not looked at.
    pub hides: bool,
    /// It may leave behind what is reported.
    pub leaves: bool,
    /// It changes rows.
    pub writes: bool,
    /// The procedures, or packages, that it calls.
    pub calls: HashSet<Box<[u8]>>,
    /// Every name in it, and whether that stands in front of a `(`.
    pub names: HashSet<(Box<[u8]>, bool)>,
}

impl Body {
    /// Whether it names the id of the connection that runs it.
    pub fn tells_connection_id(&self) -> bool {
        let called = |name: &[u8]| self.names.contains(&(name.into(), true));
        called(b"connection_id") || called(b"ps_current_thread_id")
    }
}

/// Whether the body of a procedure does nothing that is not reported and outlives it. What its functions and triggers do
/// is not looked at.
pub fn is_reported(text: &[u8], mode: Mode) -> bool {
    let body = body(text, mode);
    !body.hides && body.calls.is_empty()
}

/// Reads the text of stored code.
pub(super) fn body(text: &[u8], mode: Mode) -> Body {
    let mut lexer = Lexer::new(text, mode, Gates::All);
    let mut last = Token { kind: TokenKind::Semicolon, text: b"", start: 0 };
    let mut body = Body::default();
    let mut calling = false;
    loop {
        let token = lexer.next();
        let next = lexer.peek_token();
        match token.kind {
            TokenKind::End => break,
            TokenKind::Semicolon => calling = false,
            TokenKind::Word | TokenKind::Quoted | TokenKind::Member => {
                let name: Box<[u8]> = folded(token.text).into();
                if is(&last, "CALL") {
                    calling = true;
                    body.calls.insert(callee(token, lexer));
                }
                body.writes |= WRITING.iter().any(|word| is(&token, word));
                body.names.insert((name, next.kind == TokenKind::Open));
            }
            TokenKind::UserVariable => {
                body.hides |= calling;
                body.leaves |= matches!(next.text, b"=" | b":=");
            }
            _ => {}
        }
        body.hides |= hides(&token, &last, &next);
        body.leaves |= is(&token, "TEMPORARY") || is(&token, "SESSION") && is(&last, "SET");
        last = token;
    }
    body.hides |= lexer.doubtful();
    body
}

/// Words of statements that may fire triggers.
const WRITING: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD"];

/// The last of the names that a `CALL` has, of which `token` is the first.
fn callee(token: Token<'_>, mut lexer: Lexer<'_>) -> Box<[u8]> {
    let mut name = token;
    while lexer.next_is(TokenKind::Dot) {
        lexer.next();
        name = lexer.next();
    }
    folded(name.text).into()
}

/// Whether a token, with those beside it, does something that is not reported.
fn hides(token: &Token<'_>, last: &Token<'_>, next: &Token<'_>) -> bool {
    const HIDING: [&str; 9] = [
        "PREPARE",
        "EXECUTE",
        "FLUSH",
        "BACKUP",
        "GET_LOCK",
        "SERVICE_GET_READ_LOCKS",
        "SERVICE_GET_WRITE_LOCKS",
        "RAND_SEED1",
        "RAND_SEED2",
    ];
    match token.kind {
        TokenKind::Word if is(token, "ROLE") => is(last, "SET"),
        // `DECLARE EXIT HANDLER FOR`
        TokenKind::Word if is(token, "HANDLER") => !is(next, "FOR"),
        TokenKind::Word if is(token, "DIAGNOSTICS") => next.kind == TokenKind::UserVariable || is(next, "CONDITION"),
        TokenKind::Word => HIDING.iter().any(|word| is(token, word)),
        TokenKind::UserVariable => is(last, "INTO") || last.kind == TokenKind::Comma || next.text == b":=",
        TokenKind::SystemVariable => matches!(next.text, b"=" | b":="),
        _ => false,
    }
}

/// Whether a text that is no query may change routines, triggers or views, or the table that a trigger is of.
pub fn changes_stored_code(sql: &[u8], mode: Mode) -> bool {
    const WORDS: [&str; 6] = ["FUNCTION", "PROCEDURE", "TRIGGER", "VIEW", "PACKAGE", "RENAME"];
    let mut lexer = Lexer::new(sql, mode, Gates::All);
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => return false,
            TokenKind::Word if WORDS.iter().any(|word| is(&token, word)) => return true,
            _ => {}
        }
    }
}

fn is(token: &Token<'_>, word: &str) -> bool {
    token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };

    #[test]
    fn procedures_are_named() {
        let cases = [
            ("CALL p()", "p"),
            ("call s . `p` (1, 'CALL');", "s.p"),
            ("/* x */ CALL p", "p"),
            ("CALL p(); SELECT 1", "?"),
            ("SELECT 1; CALL p()", "?"),
            ("CALL a.b.c()", "?"),
            ("/*!50000 CALL p() */", "?"),
            ("CALL", "?"),
            ("INSERT INTO t VALUES ('CALL')", ""),
            ("INSERT INTO t VALUES (f())", ""),
            ("", ""),
        ];
        for (sql, expected) in cases {
            let text = |name: &Name<'_>| String::from_utf8_lossy(&name.unquoted()).into_owned();
            let found = match called(sql.as_bytes(), MODE) {
                Called::Nothing => String::new(),
                Called::Unclear => "?".into(),
                Called::Procedure(TableName { schema: Some(schema), name }) => {
                    format!("{}.{}", text(&schema), text(&name))
                }
                Called::Procedure(TableName { schema: None, name }) => text(&name),
            };
            assert_eq!(found, expected, "{sql}");
        }
    }

    #[test]
    fn bodies_that_hide_something() {
        let cases = [
            ("BEGIN DO 0; END", true),
            ("BEGIN INSERT INTO t VALUES (@uid); SELECT COUNT(*) INTO n FROM t; END", true),
            ("BEGIN SET @x = 1; SET SESSION time_zone = '+01:00'; END", true),
            ("BEGIN DECLARE x VARCHAR(10); UPDATE t SET v = @v WHERE id = @uid; END", true),
            ("BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN GET DIAGNOSTICS n = ROW_COUNT; END; END", true),
            ("INSERT INTO users (name, role) VALUES ('a', 'b')", true),
            ("HANDLER t OPEN", false),
            ("BEGIN SELECT 1 INTO @x; END", false),
            ("BEGIN SELECT 1, 2 INTO a, @x; END", false),
            ("BEGIN SELECT @x := 1; END", false),
            ("BEGIN DO GET_LOCK('l', 1); END", false),
            ("SET ROLE reporting", false),
            ("BEGIN PREPARE s FROM 'x'; END", false),
            ("EXECUTE IMMEDIATE 'x'", false),
            ("BEGIN CALL q(@x); END", false),
            ("BEGIN GET DIAGNOSTICS @n = NUMBER; END", false),
            ("BEGIN SET @@time_zone = '+01:00'; END", false),
            ("BEGIN SELECT 'x; END", false),
        ];
        for (body, expected) in cases {
            assert_eq!(is_reported(body.as_bytes(), MODE), expected, "{body}");
        }
    }
}
