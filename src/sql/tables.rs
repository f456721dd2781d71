//! The tables that a text names.
//!
//! Decides where in a statement a table's name stands. Used by rules only: it names too many (a common table expression,
//! the argument of `EXTRACT(… FROM …)`) rather than too few.

use std::borrow::Cow;

use super::comment::Gates;
use super::facts::Mode;
use super::keywords::{Keyword, keyword};
use super::lexer::{Lexer, Token, TokenKind};
use super::names;

/// A name as the text has it, perhaps in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// A name as a token has it.
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The name without quotes: inside, a doubled quote is one.
    pub fn unquoted(&self) -> Cow<'a, [u8]> {
        let inner = names::inside(self.0);
        let quote = match self.0.first() {
            Some(quote) if inner.len() < self.0.len() && inner.contains(quote) => *quote,
            _ => return Cow::Borrowed(inner),
        };
        let mut second = false;
        let once = inner.iter().copied().filter(|byte| {
            second = *byte == quote && !second;
            *byte != quote || second
        });
        Cow::Owned(once.collect())
    }
}

/// A table, with its schema if the text says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableName<'a> {
    pub schema: Option<Name<'a>>,
    pub name: Name<'a>,
}

/// The tables that `sql` names, in order; one that is named twice comes twice.
///
/// A text with version-gated comments is read twice, without and with all of them.
pub fn tables(sql: &[u8], mode: Mode) -> impl Iterator<Item = TableName<'_>> {
    let lexer = Lexer::new(sql, mode, Gates::UpTo(0));
    let mut ahead = lexer;
    while ahead.next().kind != TokenKind::End {}
    let gated = !ahead.gate_versions().is_empty();
    let all = gated.then(|| Tables::new(Lexer::new(sql, mode, Gates::All)));
    Tables::new(lexer).chain(all.into_iter().flatten())
}

/// The tables that `sql` names, if it is a query: nothing that tells of tables, such as `SHOW`.
pub fn queried_tables(sql: &[u8], mode: Mode) -> Option<impl Iterator<Item = TableName<'_>>> {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(0));
    loop {
        let token = lexer.next();
        let verb = if token.kind == TokenKind::Word { keyword(token.text) } else { Keyword::None };
        match (token.kind, verb) {
            (TokenKind::Open, _) => {}
            (_, Keyword::Select | Keyword::With | Keyword::Table | Keyword::Values) => return Some(tables(sql, mode)),
            _ => return None,
        }
    }
}

struct Tables<'a> {
    lexer: Lexer<'a>,
    /// The first word of the statement.
    verb: Keyword,
    last: Keyword,
    /// A name that stands here is a table's.
    expected: bool,
    /// For each depth of parentheses, a bit: a comma there is followed by a table.
    lists: u128,
    depth: u32,
}

impl<'a> Tables<'a> {
    fn new(lexer: Lexer<'a>) -> Self {
        Self { lexer, verb: Keyword::None, last: Keyword::None, expected: false, lists: 0, depth: 0 }
    }

    /// Deeper than the bits go, every comma counts.
    fn in_list(&self) -> bool {
        self.depth >= u128::BITS || self.lists & (1 << self.depth) != 0
    }

    fn set_list(&mut self, list: bool) {
        let bit = 1_u128.checked_shl(self.depth).unwrap_or(0);
        self.lists = if list { self.lists | bit } else { self.lists & !bit };
    }

    fn expect_list(&mut self) {
        self.set_list(true);
        self.expected = true;
    }

    /// Takes note of a token; the table whose name it starts, if it does.
    fn table(&mut self, token: &Token<'a>) -> Option<TableName<'a>> {
        let found = if token.kind == TokenKind::Word { keyword(token.text) } else { Keyword::None };
        let named = match token.kind {
            TokenKind::Word => self.word(found, token.text),
            TokenKind::Quoted if self.expected => Some(self.rest_of_name(token.text)),
            TokenKind::Operator if self.expected && token.text == b"*" => Some(self.rest_of_name(token.text)),
            TokenKind::Open => {
                self.open();
                None
            }
            TokenKind::Close => {
                self.depth = self.depth.saturating_sub(1);
                self.expected = false;
                None
            }
            TokenKind::Comma => {
                self.expected = self.in_list();
                None
            }
            TokenKind::Semicolon => {
                *self = Self::new(self.lexer);
                None
            }
            // `{ OJ a JOIN b }` and a leading dot keep what was expected.
            TokenKind::Operator | TokenKind::Dot => None,
            _ => {
                self.expected = false;
                None
            }
        };
        self.last = found;
        named
    }

    fn open(&mut self) {
        // `REPLACE(…)` and `INSERT(…)` are calls.
        let call = matches!(self.last, Keyword::Insert | Keyword::Replace);
        self.depth = self.depth.saturating_add(1);
        self.expected &= !call;
        self.set_list(self.expected);
    }

    fn word(&mut self, found: Keyword, text: &'a [u8]) -> Option<TableName<'a>> {
        let first = self.verb == Keyword::None;
        if first {
            self.verb = if found == Keyword::None { Keyword::All } else { found };
        }
        if self.leads_to_table(found, first) {
            self.expect_list();
            return None;
        }
        if !self.expected || is_modifier(found) {
            self.leave_list(found);
            return None;
        }
        if is_clause(found) {
            self.leave_list(found);
            self.expected = false;
            return None;
        }
        let named = self.rest_of_name(text);
        // `{ OJ a JOIN b }`, `LOAD INDEX INTO CACHE a`: keywords, but they may be names of tables elsewhere.
        self.expected = found == Keyword::Odbc || (found == Keyword::Administer && self.verb == Keyword::Load);
        Some(named)
    }

    /// Whether a table's name follows the word.
    fn leads_to_table(&self, found: Keyword, first: bool) -> bool {
        let verb = self.verb;
        match found {
            Keyword::From | Keyword::Join | Keyword::Into | Keyword::Table | Keyword::Tables => true,
            Keyword::View | Keyword::References => true,
            Keyword::Update => !matches!(self.last, Keyword::For | Keyword::Key | Keyword::On),
            Keyword::Insert | Keyword::Replace | Keyword::Delete => true,
            Keyword::Describe | Keyword::Truncate | Keyword::Handler => first,
            Keyword::Lock | Keyword::Index => verb == Keyword::Backup || verb == Keyword::Administer,
            Keyword::Using => verb == Keyword::Delete || verb == Keyword::With,
            Keyword::Like => verb == Keyword::Create,
            Keyword::On => matches!(verb, Keyword::Create | Keyword::Drop | Keyword::Grant),
            Keyword::To => matches!(verb, Keyword::Rename | Keyword::Alter),
            Keyword::In => verb == Keyword::Show,
            _ => false,
        }
    }

    /// A clause that ends the list of tables; `FOR ORDER BY` and `FOR GROUP BY` belong to an index hint.
    fn leave_list(&mut self, found: Keyword) {
        if is_clause(found) && self.last != Keyword::For {
            self.set_list(false);
        }
    }

    /// Reads on behind the first part of a name.
    fn rest_of_name(&mut self, first: &'a [u8]) -> TableName<'a> {
        self.expected = false;
        let mut table = TableName { schema: None, name: Name(first) };
        loop {
            let mut ahead = self.lexer;
            if ahead.next().kind != TokenKind::Dot {
                return table;
            }
            let part = ahead.next();
            let is_part = matches!(part.kind, TokenKind::Word | TokenKind::Member | TokenKind::Quoted);
            if !is_part && part.text != b"*" {
                return table;
            }
            self.lexer = ahead;
            table = TableName { schema: Some(table.name), name: Name(part.text) };
        }
    }
}

impl<'a> Iterator for Tables<'a> {
    type Item = TableName<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let token = self.lexer.next();
            if token.kind == TokenKind::End {
                return None;
            }
            if let Some(table) = self.table(&token) {
                return Some(table);
            }
        }
    }
}

/// Reserved words that may stand between the verb and the table.
fn is_modifier(found: Keyword) -> bool {
    matches!(
        found,
        Keyword::Ignore | Keyword::If | Keyword::Not | Keyword::Exists | Keyword::Lateral | Keyword::NoWriteToBinlog
    )
}

/// Reserved words that end the list of tables, or show that there is none.
fn is_clause(found: Keyword) -> bool {
    matches!(
        found,
        Keyword::Select
            | Keyword::Having
            | Keyword::Set
            | Keyword::Values
            | Keyword::With
            | Keyword::Union
            | Keyword::Dumpfile
            | Keyword::Infile
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MySql, version: 90_700, ansi_quotes: false, no_backslash_escapes: false };

    fn listed(sql: &str) -> String {
        let text = |name: Name<'_>| String::from_utf8_lossy(&name.unquoted()).into_owned();
        let table = |table: TableName<'_>| match table.schema {
            Some(schema) => format!("{}.{}", text(schema), text(table.name)),
            None => text(table.name),
        };
        tables(sql.as_bytes(), MODE).map(table).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_table_is_named() {
        let cases = [
            ("SELECT 1", ""),
            ("SELECT a, b FROM t", "t"),
            ("select a from `s`.`t` as x where a in (1, b, c) order by d, e", "s.t"),
            ("SELECT * FROM a, b x, s . c AS y, `d`", "a b s.c d"),
            ("SELECT * FROM a JOIN b ON a.i = f(b.j, b.k), c LEFT OUTER JOIN d USING (i, j), e", "a b c d e"),
            ("SELECT * FROM (a, b), (SELECT x, y FROM c) z, d", "a b c d"),
            ("SELECT * FROM ((a CROSS JOIN b), c) STRAIGHT_JOIN d", "a b c d"),
            ("SELECT (SELECT max(i), j FROM a), k FROM b WHERE l IN (SELECT m FROM c, d), n", "a b c d"),
            ("SELECT * FROM a USE INDEX FOR ORDER BY (i, j), b", "a b"),
            ("SELECT * FROM a PARTITION (p, q) AS x, b", "a b"),
            ("SELECT * FROM a FOR SYSTEM_TIME AS OF '2026-01-01', b FOR UPDATE OF b", "a b"),
            ("SELECT * FROM { OJ a LEFT OUTER JOIN b ON 1 }", "OJ a b"),
            ("SELECT * FROM a, LATERAL (SELECT x FROM b) c", "a b"),
            ("WITH x AS (SELECT 1 FROM a) SELECT * FROM x JOIN b", "a x b"),
            ("SELECT * FROM a UNION (SELECT b, c FROM d)", "a d"),
            ("(SELECT * FROM a) UNION TABLE b", "a b"),
            ("TABLE a ORDER BY b, c", "a"),
            ("SELECT a INTO OUTFILE 'x' FROM t", "t"),
            ("SELECT a FROM t INTO @x, @y", "t"),
            ("INSERT INTO t (a, b) VALUES (1, 2), (3, 4)", "t"),
            ("INSERT LOW_PRIORITY IGNORE s.t SELECT a, b FROM u", "s.t u"),
            ("INSERT INTO t SET a = 1, b = 2 ON DUPLICATE KEY UPDATE c = 3, d = 4", "t"),
            ("REPLACE t VALUES (REPLACE(a, b, c))", "t"),
            ("UPDATE a, b SET a.x = 1, b.y = 2 WHERE a.i = b.i", "a b"),
            ("UPDATE IGNORE a JOIN b SET x = 1", "a b"),
            ("DELETE FROM a WHERE i = 1", "a"),
            ("DELETE x, s.y FROM a AS x JOIN s.y", "x s.y a s.y"),
            ("DELETE FROM x USING a AS x, b", "x a b"),
            ("LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE s.t (a, b)", "s.t"),
            ("LOAD INDEX INTO CACHE a, b", "CACHE a b"),
            ("INSERT INTO cache (a, b) VALUES (1, 2)", "cache"),
            ("TRUNCATE t", "t"),
            ("CREATE TABLE IF NOT EXISTS t (a int, b int, FOREIGN KEY (a) REFERENCES u (x, y))", "t u"),
            ("CREATE TABLE t LIKE u", "t u"),
            ("CREATE INDEX i ON t (a, b)", "t"),
            ("DROP TABLE IF EXISTS a, s.b", "a s.b"),
            ("ALTER TABLE a RENAME TO b", "a b"),
            ("RENAME TABLE a TO b, c TO d", "a b c d"),
            ("LOCK TABLES a READ, b AS c WRITE", "a b"),
            ("OPTIMIZE TABLE a, b", "a b"),
            ("HANDLER t OPEN", "t"),
            ("DESC t", "t"),
            ("EXPLAIN SELECT a, b FROM t", "t"),
            ("SHOW COLUMNS IN t", "t"),
            ("GRANT SELECT, INSERT ON s.* TO u", "s.*"),
            ("SELECT 1; SELECT a, b FROM t", "t"),
            ("SELECT * FROM a /*!99999 , b */ /* , c */ -- , d", "a a b"),
            ("SELECT * FROM /* x */ `we``ird` , `s`.`t`", "we`ird s.t"),
            ("SELECT 'FROM a', \"FROM b\", `FROM c`", ""),
        ];
        for (sql, expected) in cases {
            assert_eq!(listed(sql), expected, "{sql}");
        }
    }

    #[test]
    fn queries_are_told_from_the_rest() {
        let mode = Mode { dialect: Dialect::MySql, version: 90700, ansi_quotes: false, no_backslash_escapes: false };
        for (sql, expected) in [
            ("SELECT 1", true),
            ("/* x */ ((SELECT 1) UNION (SELECT 2))", true),
            ("WITH a AS (SELECT 1) TABLE a", true),
            ("VALUES ROW(1)", true),
            ("SHOW TABLES", false),
            ("DESCRIBE t", false),
            ("EXPLAIN SELECT 1", false),
            ("", false),
        ] {
            assert_eq!(queried_tables(sql.as_bytes(), mode).is_some(), expected, "{sql}");
        }
    }

    #[test]
    fn deep_parentheses_lose_no_table() {
        for depth in [1, 126, 127, 128, 129, 1000] {
            let sql = format!("SELECT * FROM {}a, b{}", "(".repeat(depth), ")".repeat(depth));
            assert_eq!(listed(&sql), "a b", "depth {depth}");
        }
    }
}
