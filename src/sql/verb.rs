//! What the first words of a statement say it is, and what the words behind them add.
//!
//! Reserved words that write are believed wherever they stand as words: no server lets them be names there. So an
//! unforeseen place for one makes a read a write, never the other way round.

use super::facts::{Access, Effects, Kind};
use super::keywords::Keyword;
use super::lexer::TokenKind;
use super::names;
use super::reading::Reader;

/// Where in a statement the next word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// At the verb; parentheses may stand before it.
    Verb,
    /// Behind all that decides.
    Body,
    /// Among the common table expressions.
    With,
    Show,
    Explain,
    /// `ANALYZE`: a table, or in MariaDB a statement to run.
    Analyze,
    Begin,
    Start,
    /// Behind `START TRANSACTION`.
    Characteristics,
    Set,
    /// `SET STATEMENT … FOR`
    SetStatement,
    Load,
    Create,
    Flush,
    Handler,
    Lock,
}

/// Whether a word has been dealt with.
#[derive(PartialEq, Eq)]
enum Handled {
    Yes,
    /// It may also mean what it means in any place.
    No,
}

impl Reader<'_> {
    #[inline]
    pub(super) fn word(&mut self, keyword: Keyword, text: &[u8]) {
        if self.last.kind == TokenKind::Dot {
            self.member(text);
        }
        match self.stage {
            Stage::Body => {}
            Stage::Verb => return self.verb(keyword),
            _ => {
                if self.staged_word(keyword) == Handled::Yes {
                    return;
                }
            }
        }
        if keyword != Keyword::None {
            self.keyword_in_body(keyword);
        } else if names::is_session_tracking(text) {
            self.effect(Effects::SESSION_TRACKING);
        }
        if self.last.keyword == Keyword::Into {
            match keyword {
                Keyword::Dumpfile => self.effect(Effects::FILE),
                _ if self.only_reads() => self.statement = Kind::Unknown,
                _ => {}
            }
        }
    }

    /// Something other than a word, where one was expected.
    pub(super) fn unexpected(&mut self) {
        if matches!(self.stage, Stage::Verb | Stage::Begin) {
            self.statement = Kind::Unknown;
            self.stage = Stage::Body;
        }
    }

    fn verb(&mut self, keyword: Keyword) {
        let (kind, stage) = match keyword {
            Keyword::Select | Keyword::Values | Keyword::Table => (Kind::Read, Stage::Body),
            Keyword::Help | Keyword::Checksum => (Kind::Read, Stage::Body),
            Keyword::With => (Kind::Read, Stage::With),
            Keyword::Show => (Kind::Read, Stage::Show),
            Keyword::Describe => (Kind::Read, Stage::Explain),
            Keyword::Analyze => (Kind::Empty, Stage::Analyze),
            Keyword::Get => (Kind::Diagnostics, Stage::Body),
            Keyword::Use => (Kind::Use, Stage::Body),
            Keyword::Set => (Kind::Set, Stage::Set),
            Keyword::Begin => (Kind::Begin(Access::ReadWrite), Stage::Begin),
            Keyword::Start => (Kind::Unknown, Stage::Start),
            Keyword::Commit | Keyword::Savepoint => (Kind::Transaction, Stage::Body),
            Keyword::Prepare | Keyword::Execute | Keyword::Deallocate => (Kind::TextPrepared, Stage::Body),
            Keyword::Lock => (Kind::Lock, Stage::Lock),
            Keyword::Unlock | Keyword::Backup => (Kind::Lock, Stage::Body),
            Keyword::Handler => (Kind::Lock, Stage::Handler),
            Keyword::Kill => (Kind::Kill, Stage::Body),
            Keyword::Insert | Keyword::Replace | Keyword::Update | Keyword::Delete => (Kind::Write, Stage::Body),
            Keyword::Call | Keyword::Do => (Kind::Write, Stage::Body),
            Keyword::Load => (Kind::Write, Stage::Load),
            Keyword::Create | Keyword::Alter | Keyword::Drop => (Kind::Ddl, Stage::Create),
            Keyword::Flush => (Kind::Ddl, Stage::Flush),
            Keyword::Administer | Keyword::Grant | Keyword::Optimize => (Kind::Ddl, Stage::Body),
            Keyword::Rename | Keyword::Truncate => (Kind::Ddl, Stage::Body),
            _ => (Kind::Unknown, Stage::Body),
        };
        let wrapped = self.depth > 0 && kind != Kind::Read;
        self.statement = self.statement.max(if wrapped { Kind::Unknown } else { kind });
        self.stage = stage;
        self.verb = keyword;
        self.columns_may_follow = matches!(keyword, Keyword::Insert | Keyword::Replace | Keyword::Load);
        match keyword {
            Keyword::Backup => self.effect(Effects::GLOBAL_LOCK),
            Keyword::Savepoint => self.effect(Effects::SAVEPOINT),
            Keyword::Execute => self.effect(Effects::EXECUTE),
            Keyword::Kill if !self.in_routine => self.effect(Effects::KILL),
            // A procedure is as unknown, and may commit more than once.
            Keyword::Call => self.effect(Effects::UNKNOWN_FUNCTION),
            _ => {}
        }
    }

    fn staged_word(&mut self, keyword: Keyword) -> Handled {
        match self.stage {
            Stage::Verb | Stage::Body => return Handled::No,
            Stage::With => return self.word_of_with(keyword),
            Stage::Show => return self.word_of_show(keyword),
            Stage::Explain => return self.word_of_explain(keyword),
            Stage::Analyze => self.word_of_analyze(keyword),
            Stage::Begin if keyword == Keyword::Work && self.last.keyword == Keyword::Begin => {}
            Stage::Begin => self.unexpected(),
            Stage::Start => self.word_of_start(keyword),
            Stage::Characteristics => {
                if keyword == Keyword::Only && self.last.keyword == Keyword::Read {
                    self.statement = Kind::Begin(Access::ReadOnly);
                }
            }
            Stage::Set => self.word_of_set(keyword),
            Stage::SetStatement if keyword == Keyword::For && self.depth == 0 => {
                self.stage = Stage::Verb;
                return Handled::Yes;
            }
            Stage::SetStatement => {}
            Stage::Load => self.word_of_load(keyword),
            Stage::Create => self.word_of_create(keyword),
            Stage::Flush => self.word_of_flush(keyword),
            Stage::Handler => {
                if keyword == Keyword::Open {
                    self.effect(Effects::HANDLER);
                }
            }
            Stage::Lock => {
                if keyword == Keyword::Instance {
                    self.effect(Effects::GLOBAL_LOCK);
                }
                self.stage = Stage::Body;
            }
        }
        Handled::No
    }

    fn word_of_with(&mut self, keyword: Keyword) -> Handled {
        let verb = matches!(
            keyword,
            Keyword::Select
                | Keyword::Values
                | Keyword::Table
                | Keyword::Insert
                | Keyword::Replace
                | Keyword::Update
                | Keyword::Delete
        );
        if self.depth == 0 && verb {
            self.verb(keyword);
            return Handled::Yes;
        }
        Handled::No
    }

    fn word_of_show(&mut self, keyword: Keyword) -> Handled {
        match keyword {
            Keyword::Full | Keyword::Storage => return Handled::Yes,
            Keyword::Warnings | Keyword::Count => self.statement = Kind::Diagnostics,
            Keyword::Table | Keyword::Tables | Keyword::Create | Keyword::Index => {}
            Keyword::Shown | Keyword::Routine | Keyword::Procedure => {}
            // Status, variables, logs, threads: of one server, or one connection.
            _ => self.effect(Effects::CONNECTION),
        }
        self.stage = Stage::Body;
        Handled::Yes
    }

    fn word_of_explain(&mut self, keyword: Keyword) -> Handled {
        match keyword {
            Keyword::With => self.stage = Stage::With,
            Keyword::Select | Keyword::Values => self.stage = Stage::Body,
            Keyword::Analyze => {}
            _ => return Handled::No,
        }
        Handled::Yes
    }

    fn word_of_analyze(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::Format => {}
            Keyword::None if self.last.kind == TokenKind::Operator => {}
            Keyword::Select | Keyword::Values | Keyword::With => self.verb(keyword),
            Keyword::Insert | Keyword::Replace | Keyword::Update | Keyword::Delete => self.verb(keyword),
            _ => {
                self.statement = Kind::Ddl;
                self.stage = Stage::Body;
            }
        }
    }

    fn word_of_start(&mut self, keyword: Keyword) {
        (self.statement, self.stage) = match keyword {
            Keyword::Transaction => (Kind::Begin(Access::ReadWrite), Stage::Characteristics),
            Keyword::Replica | Keyword::All => (Kind::Ddl, Stage::Body),
            _ => (Kind::Unknown, Stage::Body),
        };
    }

    fn word_of_set(&mut self, keyword: Keyword) {
        if !self.at_assignment() {
            return;
        }
        let first = self.last.keyword == Keyword::Set;
        match keyword {
            Keyword::Global => self.statement = Kind::Ddl,
            Keyword::Password | Keyword::Default if first => self.statement = Kind::Ddl,
            Keyword::Resource if first => self.effect(Effects::CONNECTION),
            Keyword::Role if first => self.effect(Effects::ROLE),
            Keyword::Statement if first => {
                self.effect(Effects::STATEMENT_VARIABLES);
                self.stage = Stage::SetStatement;
            }
            _ => {}
        }
    }

    fn word_of_load(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::Local => self.effect(Effects::LOCAL_INFILE),
            Keyword::Index => self.statement = Kind::Ddl,
            Keyword::Infile => self.stage = Stage::Body,
            _ => {}
        }
    }

    fn word_of_create(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::Temporary if !self.in_routine => self.effect(Effects::TEMPORARY_TABLE),
            Keyword::Prepare if self.last.keyword == Keyword::Drop => {
                self.statement = Kind::TextPrepared;
                self.stage = Stage::Body;
            }
            Keyword::Routine | Keyword::Procedure => {
                if self.verb != Keyword::Drop {
                    self.enter_routine();
                }
                self.stage = Stage::Body;
            }
            Keyword::Table | Keyword::View | Keyword::Index | Keyword::Schema | Keyword::Role | Keyword::As => {
                self.stage = Stage::Body
            }
            _ => {}
        }
    }

    fn word_of_flush(&mut self, keyword: Keyword) {
        let locks =
            matches!((self.last.keyword, keyword), (Keyword::Read, Keyword::Lock) | (Keyword::For, Keyword::Export));
        if locks {
            self.statement = Kind::Lock;
            self.effect(Effects::GLOBAL_LOCK);
        }
    }

    /// What a keyword means wherever it stands.
    fn keyword_in_body(&mut self, keyword: Keyword) {
        let last = self.last.keyword;
        match keyword {
            Keyword::Update | Keyword::Share if last == Keyword::For => self.effect(Effects::LOCKING_READ),
            Keyword::Lock if self.statement <= Kind::Write && self.statement != Kind::Lock => {
                self.effect(Effects::LOCKING_READ);
            }
            Keyword::Value if last == Keyword::Next => self.effect(Effects::SEQUENCE),
            Keyword::SqlCalcFoundRows => self.effect(Effects::CALC_FOUND_ROWS),
            Keyword::Connection if last == Keyword::For && self.verb == Keyword::Describe => {
                self.effect(Effects::CONNECTION);
            }
            Keyword::Procedure if self.only_reads() && self.verb != Keyword::Show => self.statement = Kind::Unknown,
            Keyword::Values | Keyword::Value | Keyword::Select | Keyword::Set | Keyword::With | Keyword::Table => {
                self.columns_may_follow = self.columns_may_follow && self.verb == Keyword::Load;
            }
            // Reserved, so it is the statement, inside a compound one.
            Keyword::Kill if !self.in_routine && self.last.kind != TokenKind::Dot => {
                self.effect(Effects::KILL);
                self.write_in_body(keyword);
            }
            _ => self.write_in_body(keyword),
        }
    }

    fn write_in_body(&mut self, keyword: Keyword) {
        let writes = match keyword {
            Keyword::Insert | Keyword::Replace => !self.lexer.next_is(TokenKind::Open),
            Keyword::Update | Keyword::Delete | Keyword::Call | Keyword::Load => true,
            Keyword::Create | Keyword::Alter | Keyword::Drop | Keyword::Rename | Keyword::Grant => true,
            Keyword::Analyze | Keyword::Optimize | Keyword::Kill => true,
            _ => false,
        };
        if writes && self.statement < Kind::Write {
            self.statement = Kind::Write;
        }
    }
}
