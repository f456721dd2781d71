//! The code that is stored in the servers: which names in a statement lead to code that leaves something behind in the
//! session. Names count wherever they stand and whatever their schema, so that nobody is missed; a statement that is
//! counted wrongly costs its session a pin or a replica, not its answer.

use std::{borrow::Cow, collections::HashSet};

use super::{
    comment::Gates,
    facts::{Effects, Kind, Mode, Statement},
    lexer::{Lexer, TokenKind},
    routines::{Body, body},
    tables::{Name, TableName},
};

/// What stored code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoredKind {
    Procedure,
    Function,
    /// MariaDB's.
    Package,
    /// By the name of its table.
    Trigger,
    View,
}

/// One piece of stored code, as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stored {
    pub kind: StoredKind,
    pub schema: Vec<u8>,
    pub name: Vec<u8>,
    /// None: it is not shown.
    pub text: Option<Vec<u8>>,
    /// It was created with `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`.
    pub ansi_quotes: bool,
    pub no_backslash_escapes: bool,
}

/// What is known of all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredCode {
    /// Leads to what is left behind and not reported: user variables by `SELECT … INTO @x`, advisory locks, roles.
    hiding: Words,
    /// Leads to what is left behind, reported or not.
    leaving: Words,
    /// Leads to the id of the connection.
    telling: Words,
    /// Whose text is known, by schema and name.
    procedures: HashSet<(Box<[u8]>, Box<[u8]>)>,
}

impl StoredCode {
    /// Reads all of it. What is known to be there and whose text is not shown counts as hiding something: a view may call
    /// `GET_LOCK()`, or go by `CONNECTION_ID()`, and it is from those who do that a database keeps its views' texts.
    pub fn of(all: &[Stored], mode: Mode) -> Self {
        let read = |stored: &Stored| {
            let mode =
                Mode { ansi_quotes: stored.ansi_quotes, no_backslash_escapes: stored.no_backslash_escapes, ..mode };
            stored.text.as_ref().map(|text| body(text, mode))
        };
        let bodies: Vec<_> = all.iter().map(|stored| (stored, read(stored))).collect();
        let routines: HashSet<_> = all.iter().filter(|stored| stored.is_routine()).map(|s| fold(&s.name)).collect();
        let hides = |body: &Body| body.hides || body.calls.iter().any(|name| !routines.contains(&**name));
        let known = |stored: &&Stored| stored.kind == StoredKind::Procedure && stored.text.is_some();
        Self {
            hiding: Words::reaching(&bodies, hides),
            leaving: Words::reaching(&bodies, |body| hides(body) || body.leaves),
            telling: Words::reaching(&bodies, Body::tells_connection_id),
            procedures: all.iter().filter(known).map(|s| ((*s.schema).into(), (*fold(&s.name)).into())).collect(),
        }
    }

    /// Whether none of it leaves anything behind or goes by its connection, so that no statement need be looked at.
    pub fn is_harmless(&self) -> bool {
        self.leaving.is_empty() && self.telling.is_empty()
    }

    /// Whether the text of a procedure is known; `current` is the schema where one is that does not say its own.
    pub fn knows_procedure(&self, procedure: &TableName<'_>, current: &[u8]) -> bool {
        let schema = procedure.schema.map_or(Cow::Borrowed(current), |schema| schema.unquoted());
        let name = procedure.name.unquoted();
        !self.procedures.is_empty()
            && name.is_ascii()
            && self.procedures.contains(&((*schema).into(), (*fold(&name)).into()))
    }

    /// What `sql` does, of which the facts are `statement`, by the code that it leads to.
    pub fn effects(&self, statement: &Statement<'_>, sql: &[u8], mode: Mode) -> Effects {
        if self.is_harmless() {
            return Effects::NONE;
        }
        let leaving = Effects::LEAVING_CODE.with(Effects::UNKNOWN_FUNCTION);
        let found = [
            (&self.hiding, leaving.with(Effects::HIDING_CODE)),
            (&self.leaving, leaving),
            (&self.telling, Effects::CONNECTION.with(Effects::CONNECTION_ID)),
        ];
        let writes = statement.kind.may_run_stored_code(statement.effects);
        let (mut effects, mut calls) = (Effects::NONE, false);
        for named in names(sql, mode) {
            match named {
                Named::Name { name, called } => {
                    calls |= *name == *b"call";
                    for (words, effect) in found {
                        if words.has(&name, called, writes) || calls && words.procedures.contains(&*name) {
                            effects = effects.with(effect);
                        }
                    }
                }
                // It is run when nobody sees it.
                Named::Text(text) if statement.kind == Kind::TextPrepared => {
                    let unseen = Statement { kind: Kind::Unknown, ..*statement };
                    effects = effects.with(self.effects(&unseen, text, mode));
                }
                Named::Text(_) => {}
            }
        }
        effects
    }
}

impl Stored {
    /// Whether it is neither a trigger nor a view.
    pub fn is_routine(&self) -> bool {
        matches!(self.kind, StoredKind::Procedure | StoredKind::Function | StoredKind::Package)
    }
}

/// Names that lead to code of a sort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Words {
    /// In front of a `(`.
    functions: HashSet<Box<[u8]>>,
    /// Anywhere: views, packages.
    anywhere: HashSet<Box<[u8]>>,
    /// Behind a `CALL`.
    procedures: HashSet<Box<[u8]>>,
    /// In what writes: tables with triggers, views of such tables.
    written: HashSet<Box<[u8]>>,
}

impl Words {
    /// The names that lead to a text of the sort, directly or through others.
    fn reaching(all: &[(&Stored, Option<Body>)], sort: impl Fn(&Body) -> bool) -> Self {
        let mut words = Self::default();
        loop {
            let before = words.len();
            for (stored, body) in all {
                words.add(stored, body.as_ref(), &sort);
            }
            if words.len() == before {
                return words;
            }
        }
    }

    fn add(&mut self, stored: &Stored, body: Option<&Body>, sort: &impl Fn(&Body) -> bool) {
        let name = || fold(&stored.name).into_owned().into_boxed_slice();
        let reaches = match body {
            Some(body) => {
                let named = || body.names.iter().any(|(name, called)| self.has(name, *called, body.writes));
                sort(body) || named() || body.calls.iter().any(|name| self.procedures.contains(name))
            }
            None => true,
        };
        match stored.kind {
            StoredKind::View => {
                if body.is_some_and(|body| body.names.iter().any(|(name, _)| self.written.contains(name))) {
                    self.written.insert(name());
                }
                if reaches {
                    self.anywhere.insert(name());
                }
            }
            _ if !reaches => {}
            StoredKind::Function => drop(self.functions.insert(name())),
            StoredKind::Package => drop(self.anywhere.insert(name())),
            StoredKind::Procedure => drop(self.procedures.insert(name())),
            StoredKind::Trigger => drop(self.written.insert(name())),
        }
    }

    /// Whether a name that stands in front of a `(` or not leads there, from a text that writes or not.
    fn has(&self, name: &[u8], called: bool, writes: bool) -> bool {
        self.anywhere.contains(name) || called && self.functions.contains(name) || writes && self.written.contains(name)
    }

    fn len(&self) -> usize {
        self.functions.len() + self.anywhere.len() + self.procedures.len() + self.written.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What may lead to code.
enum Named<'a> {
    Name {
        name: Cow<'a, [u8]>,
        /// It stands in front of a `(`.
        called: bool,
    },
    /// A literal.
    Text(&'a [u8]),
}

/// The names in a text, as [`fold`] makes them, and its literals.
fn names(sql: &[u8], mode: Mode) -> impl Iterator<Item = Named<'_>> {
    let mut lexer = Lexer::new(sql, mode, Gates::All);
    std::iter::from_fn(move || {
        loop {
            let token = lexer.next();
            match token.kind {
                TokenKind::End => return None,
                TokenKind::Word | TokenKind::Quoted | TokenKind::Member => {
                    let called = lexer.next_is(TokenKind::Open);
                    return Some(Named::Name { name: folded(token.text), called });
                }
                TokenKind::Text => {
                    let end = token.text.len().saturating_sub(1);
                    return Some(Named::Text(token.text.get(1..end).unwrap_or_default()));
                }
                _ => {}
            }
        }
    })
}

/// A name as the text has it, so that names which servers take for the same are the same.
pub(super) fn folded(text: &[u8]) -> Cow<'_, [u8]> {
    match Name::of(text).unquoted() {
        Cow::Borrowed(name) => fold(name),
        Cow::Owned(name) => Cow::Owned(fold(&name).into_owned()),
    }
}

/// Servers compare names without case, and some without accents: all names that are not ASCII are the same here.
fn fold(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.is_ascii() {
        return Cow::Borrowed(b"\xFF");
    }
    match name.iter().any(u8::is_ascii_uppercase) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Called, Dialect, called, classify};

    const MODE: Mode =
        Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };

    const ALL: &[(StoredKind, &str, Option<&str>)] = &[
        (StoredKind::Function, "pure", Some("RETURN 1 + (SELECT MAX(id) FROM audited)")),
        (StoredKind::Function, "Locks", Some("RETURN GET_LOCK('l', 0)")),
        (StoredKind::Function, "outer_one", Some("BEGIN DECLARE x INT; SET x = `locks`(); RETURN x; END")),
        (StoredKind::Function, "reported", Some("BEGIN SET @x = 1; RETURN 1; END")),
        (StoredKind::Function, "writes", Some("BEGIN INSERT INTO audited VALUES (1); RETURN 1; END")),
        (StoredKind::Function, "unseen", None),
        (StoredKind::Function, "größe", Some("BEGIN SELECT 1 INTO @x; RETURN 1; END")),
        (StoredKind::Procedure, "hides", Some("BEGIN SELECT 1 INTO @x; END")),
        (StoredKind::Procedure, "calls", Some("BEGIN CALL app.hides(); END")),
        (StoredKind::Procedure, "calls_nobody", Some("BEGIN CALL missing(); END")),
        (StoredKind::Procedure, "calls_plain", Some("BEGIN CALL plain(); END")),
        (StoredKind::Procedure, "plain", Some("BEGIN UPDATE other SET hides = 1; END")),
        (StoredKind::Procedure, "gives", Some("BEGIN CALL plain(@x); END")),
        (StoredKind::Trigger, "audited", Some("BEGIN SELECT NEW.id INTO @x; END")),
        (StoredKind::Trigger, "other", Some("SET NEW.v = 1")),
        (StoredKind::Trigger, "covered", None),
        (StoredKind::View, "v_pure", Some("select pure() AS `a`")),
        (StoredKind::View, "v_locks", Some("select `app`.`locks`() AS `a`")),
        (StoredKind::View, "v_of_view", Some("select `a` from `app`.`v_locks`")),
        (StoredKind::View, "v_reported", Some("select `app`.`reported`() AS `a`")),
        (StoredKind::View, "v_audited", Some("select `id` from `app`.`audited`")),
        (StoredKind::View, "v_unseen", None),
        (StoredKind::View, "v_of_unseen", Some("select `a` from `app`.`v_unseen`")),
        (StoredKind::Function, "me", Some("RETURN CONNECTION_ID()")),
        (StoredKind::Procedure, "tell", Some("SELECT me()")),
        (StoredKind::View, "v_mine", Some("select `id` from `app`.`t` where `id` = connection_id()")),
        (StoredKind::Trigger, "logged", Some("INSERT INTO log VALUES (CONNECTION_ID())")),
    ];

    fn stored() -> StoredCode {
        let stored = |(kind, name, text): &(StoredKind, &str, Option<&str>)| Stored {
            kind: *kind,
            schema: b"app".to_vec(),
            name: name.as_bytes().to_vec(),
            text: text.map(|text| text.as_bytes().to_vec()),
            ansi_quotes: false,
            no_backslash_escapes: false,
        };
        StoredCode::of(&ALL.iter().map(stored).collect::<Vec<_>>(), MODE)
    }

    #[test]
    fn names_lead_to_code_that_leaves_something() {
        let leaves = Effects::LEAVING_CODE.with(Effects::UNKNOWN_FUNCTION);
        let (hides, nothing) = (leaves.with(Effects::HIDING_CODE), Effects::NONE);
        let tells = Effects::CONNECTION.with(Effects::CONNECTION_ID);
        let cases = [
            ("SELECT pure()", nothing),
            ("SELECT locks ()", hides),
            ("SELECT app.`LOCKS`()", hides),
            ("SELECT locks FROM t", nothing),
            ("SELECT outer_one()", hides),
            ("SELECT reported()", leaves),
            ("SELECT writes()", hides),
            ("SELECT unseen()", hides.with(tells)),
            ("SELECT GRÖSSE()", hides),
            ("SELECT /*!50000 locks() */", hides),
            ("CALL hides()", hides),
            ("CALL app.calls", hides),
            ("CALL calls_nobody()", hides),
            ("CALL calls_plain()", nothing),
            ("CALL plain()", nothing),
            ("CALL gives()", hides),
            ("SELECT hides FROM t", nothing),
            ("INSERT INTO audited VALUES (1)", hides),
            ("UPDATE t, Audited SET a = 1", hides),
            ("INSERT INTO v_audited VALUES (1)", hides),
            ("INSERT INTO covered VALUES (1)", hides.with(tells)),
            ("SELECT * FROM audited, covered", nothing),
            ("SELECT * FROM v_audited", nothing),
            ("INSERT INTO other VALUES ('audited')", nothing),
            ("SELECT * FROM v_pure", nothing),
            ("SELECT * FROM v_locks", hides),
            ("SELECT * FROM v_of_view", hides),
            ("SELECT * FROM v_reported", leaves),
            ("SELECT * FROM v_unseen", hides.with(tells)),
            ("SELECT v.a FROM `App`.V_Of_Unseen AS v", hides.with(tells)),
            ("INSERT INTO v_unseen VALUES (1)", hides.with(tells)),
            ("PREPARE s FROM 'INSERT INTO audited VALUES (1)'", hides),
            ("PREPARE s FROM 'SELECT 1'", nothing),
            ("SELECT me()", tells),
            ("CALL tell()", tells),
            ("SELECT * FROM v_mine", tells),
            ("INSERT INTO logged VALUES (1)", tells),
            ("SELECT * FROM logged", nothing),
            ("PREPARE s FROM 'SELECT me()'", tells),
        ];
        let stored = stored();
        for (sql, expected) in cases {
            let found = stored.effects(&classify(sql.as_bytes(), MODE), sql.as_bytes(), MODE);
            assert_eq!(found, expected, "{sql}");
        }
    }

    #[test]
    fn procedures_whose_text_is_known() {
        let stored = stored();
        let cases =
            [("CALL Plain()", true), ("CALL `app`.hides()", true), ("CALL other.plain()", false), ("CALL pure", false)];
        for (sql, expected) in cases {
            let Called::Procedure(name) = called(sql.as_bytes(), MODE) else { panic!("{sql}") };
            assert_eq!(stored.knows_procedure(&name, b"app"), expected, "{sql}");
        }
        assert!(!stored.is_harmless());
        assert!(StoredCode::default().is_harmless());
    }
}
