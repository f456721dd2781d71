//! What a text makes or ends that belongs to the connection and has a name: temporary tables, statements prepared by
//! text, handlers, locks of the whole server. Read only of texts that may do such a thing.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, Token, TokenKind},
    literal::string_value,
    tables::{Name, TableName},
};

/// What one statement does, if it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belonging<'a> {
    /// `CREATE TEMPORARY TABLE`
    CreatesTable(TableName<'a>),
    /// `DROP [TEMPORARY] TABLE`: of tables that may be temporary.
    DropsTables(Vec<TableName<'a>>),
    /// `ALTER TABLE a RENAME TO b`, and nothing else.
    RenamesTable(TableName<'a>, TableName<'a>),
    /// Another `ALTER TABLE`, which leaves the table its name.
    AltersTable,
    /// Tables get other names, in a form that is not read.
    RenamesTables,
    /// `PREPARE name FROM`, with the text if it is a literal.
    Prepares(Name<'a>, Option<Vec<u8>>),
    /// `EXECUTE name`; None: `EXECUTE IMMEDIATE`.
    Executes(Option<Name<'a>>),
    /// `DEALLOCATE PREPARE`, `DROP PREPARE`
    Deallocates(Name<'a>),
    /// `HANDLER … OPEN`, with the name that it gets.
    OpensHandler(Name<'a>),
    /// `HANDLER … CLOSE`
    ClosesHandler(Name<'a>),
    /// `FLUSH … WITH READ LOCK`, `BACKUP STAGE`, `LOCK INSTANCE`, …
    Locks(GlobalLock),
    /// `UNLOCK TABLES`, `BACKUP STAGE END`, `UNLOCK INSTANCE`, …
    Unlocks(GlobalLock),
}

/// Locks of more than tables, by what ends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalLock {
    /// `UNLOCK TABLES`
    Tables,
    /// `UNLOCK INSTANCE`
    Instance,
    /// `BACKUP STAGE END`
    Stage,
    /// `BACKUP UNLOCK`
    Backup,
}

/// Reads a text that is one statement. None: it is nothing of the kind, or its form is not known.
pub fn belonging(sql: &[u8], mode: Mode) -> Option<Belonging<'_>> {
    let mut phrase = Phrase::of(sql, mode);
    let found = phrase.statement()?;
    while !phrase.ends() {
        if phrase.next().kind == TokenKind::Semicolon && !phrase.ends() {
            return None;
        }
    }
    phrase.is_plain().then_some(found)
}

pub(super) fn is(token: &Token<'_>, word: &str) -> bool {
    token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes())
}

/// A text that is read word by word.
pub(super) struct Phrase<'a> {
    pub(super) lexer: Lexer<'a>,
    mode: Mode,
}

impl<'a> Phrase<'a> {
    pub(super) fn of(sql: &'a [u8], mode: Mode) -> Self {
        Self { lexer: Lexer::new(sql, mode, Gates::UpTo(mode.version)), mode }
    }

    /// Whether nothing in the text is code for some versions only, or was not ended.
    pub(super) fn is_plain(&self) -> bool {
        !self.lexer.doubtful() && self.lexer.gate_versions().is_empty()
    }

    pub(super) fn next(&mut self) -> Token<'a> {
        self.lexer.next()
    }

    fn ends(&self) -> bool {
        self.lexer.next_is(TokenKind::End)
    }

    /// Takes one of these words if it is next; its place among them.
    pub(super) fn one_of(&mut self, words: &[&str]) -> Option<usize> {
        let mut ahead = self.lexer;
        let token = ahead.next();
        let place = words.iter().position(|word| is(&token, word))?;
        self.lexer = ahead;
        Some(place)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.one_of(&[word]).map(|_| ())
    }

    pub(super) fn words(&mut self, words: &[&str]) -> bool {
        let before = self.lexer;
        let all = words.iter().all(|word| self.word(word).is_some());
        if !all {
            self.lexer = before;
        }
        all
    }

    fn name(&mut self) -> Option<Name<'a>> {
        let token = self.next();
        matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Member).then(|| Name::of(token.text))
    }

    fn table(&mut self) -> Option<TableName<'a>> {
        let name = self.name()?;
        if !self.lexer.next_is(TokenKind::Dot) {
            return Some(TableName { schema: None, name });
        }
        self.next();
        Some(TableName { schema: Some(name), name: self.name()? })
    }

    fn statement(&mut self) -> Option<Belonging<'a>> {
        const VERBS: [&str; 12] = [
            "CREATE",
            "DROP",
            "ALTER",
            "PREPARE",
            "EXECUTE",
            "DEALLOCATE",
            "HANDLER",
            "FLUSH",
            "LOCK",
            "UNLOCK",
            "BACKUP",
            "RENAME",
        ];
        match *VERBS.get(self.one_of(&VERBS)?)? {
            "CREATE" => self.create(),
            "DROP" => self.drop(),
            "ALTER" => self.alter(),
            "PREPARE" => self.prepare(),
            "EXECUTE" if self.words(&["IMMEDIATE"]) => Some(Belonging::Executes(None)),
            "EXECUTE" => Some(Belonging::Executes(Some(self.name()?))),
            "DEALLOCATE" => self.word("PREPARE").and_then(|()| Some(Belonging::Deallocates(self.name()?))),
            "HANDLER" => self.handler(),
            "FLUSH" => Some(Belonging::Locks(GlobalLock::Tables)),
            "LOCK" => self.word("INSTANCE").map(|()| Belonging::Locks(GlobalLock::Instance)),
            "UNLOCK" => {
                let lock = if self.words(&["INSTANCE"]) { GlobalLock::Instance } else { GlobalLock::Tables };
                Some(Belonging::Unlocks(lock))
            }
            "BACKUP" => self.backup(),
            _ => self.one_of(&["TABLE", "TABLES"]).map(|_| Belonging::RenamesTables),
        }
    }

    fn create(&mut self) -> Option<Belonging<'a>> {
        self.words(&["OR", "REPLACE"]);
        self.words(&["TEMPORARY", "TABLE"]).then_some(())?;
        self.words(&["IF", "NOT", "EXISTS"]);
        Some(Belonging::CreatesTable(self.table()?))
    }

    fn drop(&mut self) -> Option<Belonging<'a>> {
        if self.words(&["PREPARE"]) {
            return Some(Belonging::Deallocates(self.name()?));
        }
        self.words(&["TEMPORARY"]);
        self.one_of(&["TABLE", "TABLES"])?;
        self.words(&["IF", "EXISTS"]);
        let mut tables = vec![self.table()?];
        while self.lexer.next_is(TokenKind::Comma) {
            self.next();
            tables.push(self.table()?);
        }
        Some(Belonging::DropsTables(tables))
    }

    fn alter(&mut self) -> Option<Belonging<'a>> {
        while self.one_of(&["ONLINE", "IGNORE"]).is_some() {}
        self.word("TABLE")?;
        self.words(&["IF", "EXISTS"]);
        let from = self.table()?;
        if self.words(&["RENAME"]) && self.one_of(&["COLUMN", "INDEX", "KEY"]).is_none() {
            self.one_of(&["TO", "AS"]);
            let to = self.table()?;
            let plain = self.ends_statement();
            return Some(if plain { Belonging::RenamesTable(from, to) } else { Belonging::RenamesTables });
        }
        // A change that comes later in the list may be the name's.
        let mut ahead = self.lexer;
        loop {
            match ahead.next() {
                token if token.kind == TokenKind::End => return Some(Belonging::AltersTable),
                token if is(&token, "RENAME") => return Some(Belonging::RenamesTables),
                _ => {}
            }
        }
    }

    pub(super) fn ends_statement(&self) -> bool {
        self.ends() || self.lexer.next_is(TokenKind::Semicolon)
    }

    fn prepare(&mut self) -> Option<Belonging<'a>> {
        let name = self.name()?;
        self.word("FROM")?;
        let token = self.next();
        let text = match token.kind {
            TokenKind::Text if self.ends_statement() => string_value(token.text, self.mode),
            _ => None,
        };
        Some(Belonging::Prepares(name, text))
    }

    fn handler(&mut self) -> Option<Belonging<'a>> {
        let name = self.table()?.name;
        if self.words(&["CLOSE"]) {
            return Some(Belonging::ClosesHandler(name));
        }
        self.word("OPEN")?;
        self.words(&["AS"]);
        let alias = if self.ends_statement() { name } else { self.name()? };
        Some(Belonging::OpensHandler(alias))
    }

    fn backup(&mut self) -> Option<Belonging<'a>> {
        Some(match self.one_of(&["STAGE", "LOCK", "UNLOCK"])? {
            0 if self.words(&["END"]) => Belonging::Unlocks(GlobalLock::Stage),
            0 => Belonging::Locks(GlobalLock::Stage),
            1 => Belonging::Locks(GlobalLock::Backup),
            _ => Belonging::Unlocks(GlobalLock::Backup),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };

    fn told(sql: &str) -> String {
        let text = |name: &Name<'_>| String::from_utf8_lossy(&name.unquoted()).into_owned();
        let table = |table: &TableName<'_>| match &table.schema {
            Some(schema) => format!("{}.{}", text(schema), text(&table.name)),
            None => text(&table.name),
        };
        match belonging(sql.as_bytes(), MODE) {
            None => "-".into(),
            Some(Belonging::CreatesTable(name)) => format!("creates {}", table(&name)),
            Some(Belonging::DropsTables(names)) => {
                format!("drops {}", names.iter().map(table).collect::<Vec<_>>().join(" "))
            }
            Some(Belonging::RenamesTable(from, to)) => format!("renames {} {}", table(&from), table(&to)),
            Some(Belonging::AltersTable) => "alters".into(),
            Some(Belonging::RenamesTables) => "renames".into(),
            Some(Belonging::Prepares(name, None)) => format!("prepares {}", text(&name)),
            Some(Belonging::Prepares(name, Some(sql))) => {
                format!("prepares {} <{}>", text(&name), String::from_utf8_lossy(&sql))
            }
            Some(Belonging::Executes(name)) => format!("executes {}", name.as_ref().map(text).unwrap_or_default()),
            Some(Belonging::Deallocates(name)) => format!("deallocates {}", text(&name)),
            Some(Belonging::OpensHandler(name)) => format!("opens {}", text(&name)),
            Some(Belonging::ClosesHandler(name)) => format!("closes {}", text(&name)),
            Some(Belonging::Locks(lock)) => format!("locks {lock:?}"),
            Some(Belonging::Unlocks(lock)) => format!("unlocks {lock:?}"),
        }
    }

    #[test]
    fn what_has_a_name_is_named() {
        let cases = [
            ("CREATE TEMPORARY TABLE a (id INT)", "creates a"),
            ("create or replace temporary table if not exists `s`.`a``b` like t;", "creates s.a`b"),
            ("CREATE TEMPORARY TABLE a SELECT 1", "creates a"),
            ("CREATE TABLE a (id INT)", "-"),
            ("CREATE TEMPORARY SEQUENCE a", "-"),
            ("CREATE TEMPORARY TABLE a (id INT); SELECT 1", "-"),
            ("CREATE /*!50000 TEMPORARY */ TABLE a (id INT)", "-"),
            ("DROP TEMPORARY TABLE a", "drops a"),
            ("DROP TABLE IF EXISTS a, s.b CASCADE", "drops a s.b"),
            ("DROP TABLES a, b", "drops a b"),
            ("DROP DATABASE a", "-"),
            ("ALTER TABLE a RENAME TO b", "renames a b"),
            ("ALTER TABLE a RENAME s.b;", "renames a s.b"),
            ("ALTER TABLE a ADD b INT, RENAME TO c", "renames"),
            ("ALTER TABLE a RENAME TO b, ADD c INT", "renames"),
            ("ALTER TABLE a RENAME COLUMN b TO c", "alters"),
            ("ALTER TABLE a ADD b INT", "alters"),
            ("RENAME TABLE a TO b, c TO d", "renames"),
            ("PREPARE s FROM 'SELECT ''x'''", "prepares s <SELECT 'x'>"),
            ("PREPARE s FROM @x", "prepares s"),
            ("PREPARE s FROM CONCAT('a', 'b')", "prepares s"),
            ("EXECUTE s USING @a", "executes s"),
            ("EXECUTE IMMEDIATE 'SELECT 1'", "executes "),
            ("DEALLOCATE PREPARE s", "deallocates s"),
            ("DROP PREPARE s", "deallocates s"),
            ("HANDLER t OPEN", "opens t"),
            ("HANDLER s.t OPEN AS h;", "opens h"),
            ("HANDLER t OPEN h", "opens h"),
            ("HANDLER h CLOSE", "closes h"),
            ("HANDLER h READ FIRST", "-"),
            ("FLUSH TABLES WITH READ LOCK", "locks Tables"),
            ("UNLOCK TABLES", "unlocks Tables"),
            ("LOCK INSTANCE FOR BACKUP", "locks Instance"),
            ("UNLOCK INSTANCE", "unlocks Instance"),
            ("LOCK TABLES t READ", "-"),
            ("BACKUP STAGE START", "locks Stage"),
            ("BACKUP STAGE END", "unlocks Stage"),
            ("BACKUP LOCK t", "locks Backup"),
            ("BACKUP UNLOCK", "unlocks Backup"),
            ("DROP TABLE", "-"),
            ("DROP TABLE 'a", "-"),
            ("", "-"),
        ];
        for (sql, expected) in cases {
            assert_eq!(told(sql), expected, "{sql}");
        }
    }
}
