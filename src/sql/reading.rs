//! One reading of a text: its tokens, statement by statement.
//!
//! Decides how statements of one text add up, and what variables, names and calls in it do. What a statement's verb and
//! the words behind it mean is left to `verb`.

use super::comment::{GateVersions, Gates};
use super::facts::{Dialect, Effects, Hint, Kind, Mode};
use super::functions::{self, Call};
use super::keywords::{Keyword, keyword};
use super::lexer::{Lexer, Token, TokenKind};
use super::names;
use super::verb::Stage;

/// What one reading found.
pub(super) struct Reading<'a> {
    pub kind: Kind,
    pub effects: Effects,
    pub hint: Option<Hint<'a>>,
    pub gate_versions: GateVersions,
}

/// Reads `sql` as a server does that reads `gates` as code.
pub(super) fn read(sql: &[u8], mode: Mode, gates: Gates) -> Reading<'_> {
    let mut reader = Reader::new(Lexer::new(sql, mode, gates), mode.dialect);
    while reader.step() {}
    reader.finish()
}

pub(super) struct Reader<'a> {
    pub(super) lexer: Lexer<'a>,
    pub(super) dialect: Dialect,
    /// Of the statements that have ended.
    kind: Kind,
    pub(super) effects: Effects,
    statements: usize,
    /// The text creates a routine: what follows is its body, and is not run.
    pub(super) in_routine: bool,
    /// Of the statement being read.
    pub(super) statement: Kind,
    pub(super) stage: Stage,
    /// The first word of the statement.
    pub(super) verb: Keyword,
    pub(super) depth: usize,
    /// A list of columns may come, which looks like the arguments of a call.
    pub(super) columns_may_follow: bool,
    pub(super) last: Last<'a>,
    /// The token in front of the name that `last` is, or ends.
    before_name: (TokenKind, Keyword),
}

/// The token before the one at hand. At the start of a statement, the `;` before it.
#[derive(Clone, Copy)]
pub(super) struct Last<'a> {
    pub(super) kind: TokenKind,
    pub(super) keyword: Keyword,
    text: &'a [u8],
}

impl<'a> Last<'a> {
    const NOTHING: Self = Self { kind: TokenKind::Semicolon, keyword: Keyword::None, text: b"" };
}

impl<'a> Reader<'a> {
    fn new(lexer: Lexer<'a>, dialect: Dialect) -> Self {
        Self {
            lexer,
            dialect,
            kind: Kind::Empty,
            effects: Effects::NONE,
            statements: 0,
            in_routine: false,
            statement: Kind::Empty,
            stage: Stage::Verb,
            verb: Keyword::None,
            depth: 0,
            columns_may_follow: false,
            last: Last::NOTHING,
            before_name: (TokenKind::Semicolon, Keyword::None),
        }
    }

    /// Reads one token; false at the end.
    #[inline]
    fn step(&mut self) -> bool {
        let token = self.lexer.next();
        let mut found = Keyword::None;
        match token.kind {
            TokenKind::Word => {
                found = keyword(token.text);
                self.word(found, token.text);
                self.before_name = (self.last.kind, self.last.keyword);
            }
            TokenKind::Member => self.member(token.text),
            TokenKind::Quoted => self.quoted(token.text),
            TokenKind::Dot => found = self.dot(),
            TokenKind::Open => self.open(),
            TokenKind::Close => self.depth = self.depth.saturating_sub(1),
            TokenKind::Comma => {}
            TokenKind::Semicolon => self.end_statement(),
            TokenKind::UserVariable => self.user_variable(&token),
            TokenKind::SystemVariable => self.system_variable(token.text),
            TokenKind::Text | TokenKind::Number | TokenKind::Parameter => self.literal(),
            TokenKind::Operator => self.operator(token.text),
            TokenKind::End => {
                self.end_statement();
                return false;
            }
        }
        self.last = Last { kind: token.kind, keyword: found, text: token.text };
        true
    }

    fn finish(self) -> Reading<'a> {
        let multi = if self.statements > 1 { Effects::MULTI } else { Effects::NONE };
        Reading {
            kind: if self.lexer.doubtful() { Kind::Unknown } else { self.kind },
            effects: self.effects.with(multi),
            hint: self.lexer.hint(),
            gate_versions: self.lexer.gate_versions(),
        }
    }

    fn end_statement(&mut self) {
        if self.last.kind == TokenKind::Semicolon {
            return;
        }
        if matches!(self.stage, Stage::Verb | Stage::Analyze) {
            self.statement = Kind::Unknown;
        }
        self.statements += 1;
        if !self.in_routine {
            self.kind = self.kind.max(self.statement);
        }
        self.statement = Kind::Empty;
        self.stage = Stage::Verb;
        self.verb = Keyword::None;
        self.depth = 0;
        self.columns_may_follow = false;
    }

    pub(super) fn effect(&mut self, effect: Effects) {
        self.effects = self.effects.with(effect);
    }

    /// Whether the statement at hand, at worst, only reads.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self.statement, Kind::Read | Kind::Diagnostics)
    }

    /// The statement creates a routine.
    pub(super) fn enter_routine(&mut self) {
        self.in_routine = true;
        self.kind = self.kind.max(Kind::Ddl);
    }

    fn literal(&mut self) {
        if self.stage != Stage::Body {
            self.unexpected();
        }
    }

    fn operator(&mut self, mark: &[u8]) {
        self.literal();
        if mark == b":=" {
            self.effect(Effects::USER_VARIABLE);
        }
    }

    /// A name in quotes.
    fn quoted(&mut self, name: &[u8]) {
        if self.last.kind == TokenKind::Dot {
            return self.member(name);
        }
        self.literal();
        if self.last.keyword == Keyword::Into && self.only_reads() {
            self.statement = Kind::Unknown;
        }
        if names::is_session_tracking(names::inside(name)) {
            self.effect(Effects::SESSION_TRACKING);
        }
        self.before_name = (self.last.kind, self.last.keyword);
    }

    /// What stands behind a dot.
    pub(super) fn member(&mut self, name: &[u8]) {
        let name = names::inside(name);
        if self.dialect == Dialect::MariaDb && names::is_sequence_member(name) {
            self.effect(Effects::SEQUENCE);
        }
        if names::is_session_tracking(name) || names::lists_variables(name) {
            self.effect(Effects::SESSION_TRACKING);
        }
        if self.last.keyword == Keyword::InformationSchema && names::is_about_one_server(name) {
            self.effect(Effects::CONNECTION);
        }
    }

    /// What stands in front of a dot may be a schema whose tables tell of one server.
    fn dot(&mut self) -> Keyword {
        let name = names::inside(self.last.text);
        match self.last.kind {
            TokenKind::Word | TokenKind::Quoted if names::is_schema_of_one_server(name) => {
                self.effect(Effects::CONNECTION);
                Keyword::None
            }
            TokenKind::Word | TokenKind::Quoted if name.eq_ignore_ascii_case(b"information_schema") => {
                Keyword::InformationSchema
            }
            _ => Keyword::None,
        }
    }

    fn user_variable(&mut self, token: &Token<'_>) {
        self.literal();
        let attached = matches!(self.last.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Text)
            && self.last.keyword == Keyword::None
            && self.lexer.byte_before(token.start).is_some_and(|byte| !byte.is_ascii_whitespace() && byte != b'/');
        let account = attached && (self.statement == Kind::Ddl || self.verb == Keyword::Show);
        if !account {
            self.effect(Effects::USER_VARIABLE);
        }
    }

    fn system_variable(&mut self, text: &[u8]) {
        self.literal();
        let variable = names::SystemVariable::of(text);
        self.effect(Effects::SYSTEM_VARIABLE.with(variable.effects()));
        if variable.global && self.stage == Stage::Set && self.at_assignment() {
            self.statement = Kind::Ddl;
        }
    }

    /// Whether the next token starts an assignment of `SET`.
    pub(super) fn at_assignment(&self) -> bool {
        self.last.keyword == Keyword::Set || (self.last.kind == TokenKind::Comma && self.depth == 0)
    }

    fn open(&mut self) {
        let outermost = self.depth == 0;
        self.depth += 1;
        match self.stage {
            Stage::Body => {}
            Stage::Verb => return,
            Stage::Begin => self.unexpected(),
            Stage::Analyze => self.stage = Stage::Verb,
            Stage::Explain => self.stage = Stage::Body,
            Stage::With if outermost && self.last.kind == TokenKind::Close => self.stage = Stage::Body,
            // The names of common table expressions, with their columns.
            Stage::With if outermost => return,
            _ => {}
        }
        if std::mem::take(&mut self.columns_may_follow) {
            return;
        }
        let known = match self.last.kind {
            TokenKind::Word if self.before_name.0 != TokenKind::Dot => functions::call(self.last.text, self.dialect),
            TokenKind::Word | TokenKind::Member | TokenKind::Quoted => None,
            _ => return,
        };
        match known {
            Some(Call::Effect(effects)) => self.effect(effects),
            Some(Call::Harmless | Call::Keyword) => {}
            None if self.may_be_call() => self.effect(Effects::UNKNOWN_FUNCTION),
            None => {}
        }
    }

    /// Whether the name in front of a `(` stands where an expression may. Behind a `)`, `AS` or `WITH` it is the name
    /// of something that has columns.
    fn may_be_call(&self) -> bool {
        let (kind, keyword) = self.before_name;
        let named = matches!(
            keyword,
            Keyword::As | Keyword::With | Keyword::Recursive | Keyword::Table | Keyword::Call | Keyword::Procedure
        );
        !named && kind != TokenKind::Close && self.statement != Kind::Ddl
    }
}
