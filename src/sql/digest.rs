//! The form that statements share which differ in their values only.
//!
//! Decides what makes two texts the same statement to a rule or a metric. Literals become `?`, blanks and comments go,
//! words without quotes are folded to lower case, and of a list behind `IN` or `VALUES` only the first element stays.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::comment::Gates;
use super::facts::Mode;
use super::functions::{self, Call};
use super::keywords::{Keyword, keyword};
use super::lexer::{Lexer, Token, TokenKind};

/// The 64-bit FNV-1a hash of [`normalised`] text: the same in every process and every version of Weir that
/// normalises alike. Shown, and read, as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);

/// What was to be a digest is not 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 16 hexadecimal digits")]
pub struct NotADigest;

/// The digest of `sql`, without building its normalised text.
pub fn digest(sql: &[u8], mode: Mode) -> Digest {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    Normaliser::new(sql, mode, &mut hash).run();
    Digest(hash.0)
}

/// The normalised text of `sql`; bytes that are not UTF-8 are shown as U+FFFD.
pub fn normalised(sql: &[u8], mode: Mode) -> String {
    let mut text = Vec::with_capacity(sql.len());
    Normaliser::new(sql, mode, &mut text).run();
    String::from_utf8_lossy(&text).into_owned()
}

impl Display for Digest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        value.map(Self).ok_or(NotADigest)
    }
}

/// Where normalised text goes.
trait Sink {
    fn push(&mut self, byte: u8);
}

struct Fnv(u64);

impl Sink for Fnv {
    fn push(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

impl Sink for Vec<u8> {
    fn push(&mut self, byte: u8) {
        Self::push(self, byte);
    }
}

struct Normaliser<'a, S> {
    lexer: Lexer<'a>,
    sink: &'a mut S,
    last: Last,
    /// The list behind `IN` or `VALUES`, while in it.
    list: Option<List>,
    depth: usize,
}

/// What stands in front, as far as blanks and signs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    /// A value or a name: what follows is no sign.
    Operand,
    /// A name that may be a function's: no blank before `(`.
    Name,
    In,
    Values,
    Keyword,
    Operator,
    Open,
    Dot,
    Comma,
    Semicolon,
}

/// A list of which only the first element is kept.
#[derive(Clone, Copy)]
struct List {
    /// The depth at which its commas stand.
    depth: usize,
    kind: Last,
    /// Behind the first element.
    skipping: bool,
}

impl<'a, S: Sink> Normaliser<'a, S> {
    fn new(sql: &'a [u8], mode: Mode, sink: &'a mut S) -> Self {
        let lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
        Self { lexer, sink, last: Last::Nothing, list: None, depth: 0 }
    }

    fn run(mut self) {
        loop {
            let token = self.lexer.next();
            match token.kind {
                TokenKind::End => return,
                TokenKind::Semicolon if self.lexer.next_is(TokenKind::End) => {}
                _ if self.is_skipped(&token) => {}
                _ => self.token(&token),
            }
        }
    }

    /// Follows parentheses and lists; whether the token is behind the first element of one.
    fn is_skipped(&mut self, token: &Token<'a>) -> bool {
        match token.kind {
            TokenKind::Open => self.depth += 1,
            TokenKind::Close => self.depth = self.depth.saturating_sub(1),
            TokenKind::Semicolon => (self.depth, self.list) = (0, None),
            _ => {}
        }
        let Some(list) = self.list else {
            self.enter_list(token);
            return false;
        };
        let between = self.depth == list.depth && token.kind == TokenKind::Comma;
        let ended = match list.kind {
            Last::Values if between => !self.starts_row(),
            // Rows stand in parentheses; what else stands at their depth is behind the last of them.
            Last::Values => self.depth == list.depth && token.kind != TokenKind::Close && !is_row(token),
            _ => false,
        };
        if ended || self.depth < list.depth {
            self.list = None;
            return false;
        }
        let skipping = list.skipping || between;
        self.list = Some(List { skipping, ..list });
        skipping
    }

    fn starts_row(&self) -> bool {
        let mut ahead = self.lexer;
        is_row(&ahead.next())
    }

    fn enter_list(&mut self, token: &Token<'a>) {
        if self.last == Last::In && token.kind == TokenKind::Open && !self.starts_query() {
            self.list = Some(List { depth: self.depth, kind: Last::In, skipping: false });
        } else if self.last == Last::Values && (token.kind == TokenKind::Open || is_row(token)) {
            let rows = self.depth - usize::from(token.kind == TokenKind::Open);
            self.list = Some(List { depth: rows, kind: Last::Values, skipping: false });
        }
    }

    fn starts_query(&self) -> bool {
        let mut ahead = self.lexer;
        let next = ahead.next();
        next.kind == TokenKind::Word
            && matches!(keyword(next.text), Keyword::Select | Keyword::With | Keyword::Table | Keyword::Values)
    }

    fn token(&mut self, token: &Token<'a>) {
        match token.kind {
            TokenKind::Text | TokenKind::Number | TokenKind::Parameter => self.write(b"?", Last::Operand),
            TokenKind::Word => self.write_folded(token.text, after_word(token.text)),
            TokenKind::Member => self.write_folded(token.text, Last::Name),
            TokenKind::Quoted => self.write(token.text, Last::Name),
            TokenKind::UserVariable | TokenKind::SystemVariable => self.write(token.text, Last::Operand),
            TokenKind::Open => self.write(b"(", Last::Open),
            TokenKind::Close => self.write(b")", Last::Operand),
            TokenKind::Comma => self.write(b",", Last::Comma),
            TokenKind::Dot => self.write(b".", Last::Dot),
            TokenKind::Semicolon => self.write(b";", Last::Semicolon),
            TokenKind::Operator if self.is_sign(token.text) => {}
            TokenKind::Operator => self.write(token.text, Last::Operator),
            TokenKind::End => {}
        }
    }

    /// A sign of the literal behind it, which goes with the literal.
    fn is_sign(&self, mark: &[u8]) -> bool {
        let value_before = matches!(self.last, Last::Operand | Last::Name);
        matches!(mark, b"-" | b"+") && !value_before && self.lexer.next_is(TokenKind::Number)
    }

    fn write_folded(&mut self, text: &[u8], next: Last) {
        self.separate(text);
        for byte in text {
            self.sink.push(byte.to_ascii_lowercase());
        }
        self.last = next;
    }

    fn write(&mut self, text: &[u8], next: Last) {
        self.separate(text);
        for byte in text {
            self.sink.push(*byte);
        }
        self.last = next;
    }

    /// A blank, where the two tokens have one between them.
    fn separate(&mut self, text: &[u8]) {
        let tight = matches!(text, b")" | b"," | b"." | b";");
        let call = text == b"(" && self.last == Last::Name;
        if !tight && !call && !matches!(self.last, Last::Nothing | Last::Open | Last::Dot) {
            self.sink.push(b' ');
        }
    }
}

/// `ROW` in front of a row's parentheses.
fn is_row(token: &Token<'_>) -> bool {
    token.kind == TokenKind::Open || token.text.eq_ignore_ascii_case(b"row")
}

fn after_word(word: &[u8]) -> Last {
    use super::facts::Dialect;
    match keyword(word) {
        Keyword::In => Last::In,
        Keyword::Values | Keyword::Value => Last::Values,
        Keyword::Select | Keyword::Set => Last::Keyword,
        _ => match functions::call(word, Dialect::MySql) {
            Some(Call::Keyword) => Last::Keyword,
            _ => Last::Name,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MySql, version: 90_700, ansi_quotes: false, no_backslash_escapes: false };

    #[test]
    fn normalised_text() {
        let cases = [
            ("", ""),
            ("SELECT 1", "select ?"),
            ("  select /* x */ C1 , `C2`\n from T where id=123 -- y", "select c1, `C2` from t where id = ?"),
            ("SELECT 'a', \"b\", 1.5e3, 0xFF, x'00', NULL, @v, @@s", "select ?, ?, ?, ?, x ?, null, @v, @@s"),
            ("SELECT -1, a-1, a - -1, (-1), COUNT( * )", "select ?, a - ?, a - ?, (?), count(*)"),
            ("SELECT * FROM t WHERE a IN (1)", "select * from t where a in (?)"),
            ("SELECT * FROM t WHERE a IN (1, 2,'x') AND b", "select * from t where a in (?) and b"),
            ("SELECT * FROM t WHERE (a,b) IN ((1,2),(3,4))", "select * from t where (a, b) in ((?, ?))"),
            ("SELECT 1 WHERE a IN (SELECT b, c FROM d)", "select ? where a in (select b, c from d)"),
            ("INSERT INTO t (a,b) VALUES (1,NOW()),(2,3) , (4,5)", "insert into t(a, b) values (?, now())"),
            (
                "INSERT INTO t VALUES (1),(2) ON DUPLICATE KEY UPDATE a=VALUES(a), b=VALUES(b), c=1",
                "insert into t values (?) on duplicate key update a = values (a), b = values (b), c = ?",
            ),
            ("VALUES ROW(1,2), ROW(3,4) ORDER BY 1", "values row (?, ?) order by ?"),
            ("SELECT f(1,2), s.T.c LIMIT 1,2;", "select f(?, ?), s.t.c limit ?, ?"),
            ("SELECT 1 ; SELECT a IN (1, 2; SELECT 2", "select ?; select a in (?; select ?"),
            ("SELECT a<=>b, a!=1, c->>'$.x' /*!40000 , d */", "select a <=> b, a != ?, c ->> ?, d"),
        ];
        for (sql, expected) in cases {
            assert_eq!(normalised(sql.as_bytes(), MODE), expected, "{sql}");
            let hashed = expected.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            assert_eq!(digest(sql.as_bytes(), MODE), Digest(hashed), "{sql}");
        }
    }

    #[test]
    fn a_digest_is_read_as_it_is_shown() {
        let cases = [
            ("00000000000000ff", Ok(Digest(255))),
            ("FFFFFFFFFFFFFFFF", Ok(Digest(u64::MAX))),
            ("0ff", Err(NotADigest)),
            ("+0000000000000ff", Err(NotADigest)),
            ("00000000000000fg", Err(NotADigest)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), expected, "{text}");
        }
        assert_eq!(Digest(255).to_string(), "00000000000000ff");
    }
}
