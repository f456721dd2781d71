//! What the connection of a session has that servers do not report by name: tables, statements, handlers and locks. Each
//! pins the session until the last of its kind is gone; the texts tell. When in doubt, the pin stays until a reset.

use super::{Pins, SessionState};
use crate::{
    sql::{self, AdvisoryLocks, Belonging, Effects, GlobalLock, Kind, Mode, Name, Statement, TableName},
    telemetry::Pin,
};

/// How many of a kind are known by name.
const MOST: usize = 64;

/// The pins that stand for something named.
const NAMED: [Pin; 5] = [Pin::TemporaryTable, Pin::TextPrepared, Pin::Handler, Pin::AdvisoryLock, Pin::GlobalLock];

/// What a connection has that is known by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Belongings {
    tables: Vec<Table>,
    statements: Vec<TextPrepared>,
    handlers: Vec<Box<[u8]>>,
    locks: Vec<Box<[u8]>>,
    global: Vec<GlobalLock>,
    /// Some of these kinds have no name that is known.
    unknown: Pins,
}

/// A temporary table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    schema: Box<[u8]>,
    name: Box<[u8]>,
}

#[derive(Debug, Clone)]
struct TextPrepared {
    name: Box<[u8]>,
    /// Whatever its text changes is reported.
    plain: bool,
}

impl SessionState {
    /// Learns what servers do not report from the text of a statement that succeeded.
    pub fn observe_text(&mut self, statement: &Statement<'_>, sql: &[u8], mode: Mode) {
        let Statement { kind, effects, .. } = *statement;
        let pins = [(Effects::USER_VARIABLE, Pin::UserVariable), (Effects::ROLE, Pin::Role)];
        for (effect, pin) in pins {
            if effects.has(effect) {
                self.pins.add(pin);
            }
        }
        let named = Effects::TEMPORARY_TABLE
            .with(Effects::GLOBAL_LOCK)
            .with(Effects::HANDLER)
            .with(Effects::ADVISORY_LOCK)
            .with(Effects::EXECUTE);
        let may_end =
            matches!(kind, Kind::TextPrepared | Kind::Lock) || kind == Kind::Ddl && self.pins.has(Pin::TemporaryTable);
        if effects.any(named) || may_end {
            self.observe_names_in(statement, sql, mode);
        }
    }

    fn observe_names_in(&mut self, statement: &Statement<'_>, sql: &[u8], mode: Mode) {
        let Statement { kind, effects, .. } = *statement;
        if effects.has(Effects::ADVISORY_LOCK) {
            self.belongings.learn_locks(sql::advisory_locks(sql, mode));
        }
        let single = !effects.has(Effects::MULTI);
        match sql::belonging(sql, mode).filter(|_| single) {
            Some(Belonging::Executes(name)) if !name.is_some_and(|name| self.belongings.is_plain(&name)) => {
                self.pins.add(Pin::Unattributed);
            }
            // Any other FLUSH.
            Some(Belonging::Locks(_)) if !effects.has(Effects::GLOBAL_LOCK) => {}
            Some(belonging) => {
                let schema = self.settings.schema().unwrap_or_default();
                self.belongings.learn(belonging, schema, mode);
            }
            None => self.belongings.doubt(kind, effects),
        }
        if !single && effects.has(Effects::EXECUTE) {
            self.pins.add(Pin::Unattributed);
        }
        self.pin_belongings();
    }

    fn pin_belongings(&mut self) {
        for pin in NAMED {
            self.pins.set(pin, self.belongings.has(pin));
        }
    }

    /// Whether a query may touch one of the session's temporary tables. What a stored function does in a view, nobody sees;
    /// unless the table hides another of its name, it fails where the table is not.
    pub fn may_touch_temporary(&self, sql: &[u8], mode: Mode) -> bool {
        let current = self.settings.schema().unwrap_or_default();
        let own = |name: TableName<'_>| {
            let table = Table::of(&name, current);
            let is = |own: &Table| {
                own.name.eq_ignore_ascii_case(&table.name) && own.schema.eq_ignore_ascii_case(&table.schema)
            };
            // It tells of tables, and of temporary ones in some versions.
            table.schema.eq_ignore_ascii_case(b"information_schema") || self.belongings.tables.iter().any(is)
        };
        match sql::queried_tables(sql, mode) {
            Some(mut names) => self.belongings.unknown.has(Pin::TemporaryTable) || names.any(own),
            None => true,
        }
    }

    /// The names of the advisory locks that the session may have; None: some are not known.
    pub fn advisory_locks(&self) -> Option<&[Box<[u8]>]> {
        (!self.belongings.unknown.has(Pin::AdvisoryLock)).then_some(&*self.belongings.locks)
    }

    /// What the server said of each of [`Self::advisory_locks`]: whether the session has it.
    pub fn learn_advisory_locks(&mut self, had: &[bool]) {
        let mut had = had.iter();
        self.belongings.locks.retain(|_| *had.next().unwrap_or(&true));
        self.pin_belongings();
    }
}

impl Belongings {
    fn has(&self, pin: Pin) -> bool {
        let none = match pin {
            Pin::TemporaryTable => self.tables.is_empty(),
            Pin::TextPrepared => self.statements.is_empty(),
            Pin::Handler => self.handlers.is_empty(),
            Pin::AdvisoryLock => self.locks.is_empty(),
            Pin::GlobalLock => self.global.is_empty(),
            _ => true,
        };
        !none || self.unknown.has(pin)
    }

    /// A text may have made something that it does not tell the name of.
    fn doubt(&mut self, kind: Kind, effects: Effects) {
        let made = [
            (Effects::TEMPORARY_TABLE, Pin::TemporaryTable),
            (Effects::HANDLER, Pin::Handler),
            (Effects::GLOBAL_LOCK, Pin::GlobalLock),
        ];
        for (effect, pin) in made {
            if effects.has(effect) {
                self.unknown.add(pin);
            }
        }
        if kind == Kind::TextPrepared && !effects.has(Effects::EXECUTE) {
            self.unknown.add(Pin::TextPrepared);
        }
        if kind == Kind::Ddl && effects.has(Effects::MULTI) {
            self.doubt_tables();
        }
    }

    /// A temporary table may have another name now.
    fn doubt_tables(&mut self) {
        if !self.tables.is_empty() {
            self.unknown.add(Pin::TemporaryTable);
        }
    }

    fn learn_locks(&mut self, locks: AdvisoryLocks<'_>) {
        match locks {
            AdvisoryLocks::Named(names) => {
                for name in names {
                    let name: Box<[u8]> = name.into();
                    self.locks.retain(|known| *known != name);
                    if self.locks.len() == MOST {
                        self.unknown.add(Pin::AdvisoryLock);
                    } else {
                        self.locks.push(name);
                    }
                }
            }
            AdvisoryLocks::AllReleased => {
                self.locks.clear();
                self.unknown.remove(Pin::AdvisoryLock);
            }
            AdvisoryLocks::Unknown => self.unknown.add(Pin::AdvisoryLock),
            AdvisoryLocks::OfService => self.unknown.add(Pin::GlobalLock),
        }
    }

    fn learn(&mut self, belonging: Belonging<'_>, schema: &[u8], mode: Mode) {
        match belonging {
            Belonging::CreatesTable(table) => {
                let table = Table::of(&table, schema);
                self.tables.retain(|known| *known != table);
                self.add(Pin::TemporaryTable, |all| &mut all.tables, table);
            }
            Belonging::DropsTables(names) => {
                let dropped: Vec<_> = names.iter().map(|name| Table::of(name, schema)).collect();
                self.tables.retain(|table| !dropped.contains(table));
            }
            Belonging::RenamesTable(from, to) => {
                let from = Table::of(&from, schema);
                if let Some(place) = self.tables.iter().position(|table| *table == from) {
                    self.tables[place] = Table::of(&to, schema);
                }
            }
            Belonging::AltersTable => {}
            Belonging::RenamesTables => self.doubt_tables(),
            Belonging::Prepares(name, text) => {
                let plain = text.is_some_and(|text| is_plain(&sql::classify(&text, mode)));
                let name: Box<[u8]> = name.unquoted().into();
                self.statements.retain(|statement| !statement.name.eq_ignore_ascii_case(&name));
                self.add(Pin::TextPrepared, |all| &mut all.statements, TextPrepared { name, plain });
            }
            Belonging::Executes(_) => {}
            Belonging::Deallocates(name) => {
                let name = name.unquoted();
                self.statements.retain(|statement| !statement.name.eq_ignore_ascii_case(&name));
            }
            Belonging::OpensHandler(name) => {
                self.add(Pin::Handler, |all| &mut all.handlers, name.unquoted().into());
            }
            Belonging::ClosesHandler(name) => {
                let name = name.unquoted();
                self.handlers.retain(|handler| !handler.eq_ignore_ascii_case(&name));
            }
            Belonging::Locks(lock) => self.add(Pin::GlobalLock, |all| &mut all.global, lock),
            Belonging::Unlocks(lock) => self.global.retain(|known| *known != lock),
        }
    }

    /// Adds something of the kind that `pin` stands for, while there are not too many.
    fn add<T>(&mut self, pin: Pin, kind: impl Fn(&mut Self) -> &mut Vec<T>, one: T) {
        if kind(self).len() == MOST {
            self.unknown.add(pin);
        } else {
            kind(self).push(one);
        }
    }

    /// Whether all that the prepared statement `name` changes is reported.
    fn is_plain(&self, name: &Name<'_>) -> bool {
        let name = name.unquoted();
        self.statements.iter().any(|statement| statement.plain && statement.name.eq_ignore_ascii_case(&name))
    }
}

impl Table {
    fn of(name: &TableName<'_>, schema: &[u8]) -> Self {
        let schema = name.schema.map_or(schema.into(), |schema| schema.unquoted().into());
        Self { schema, name: name.name.unquoted().into() }
    }
}

/// Whether whatever a text of these facts changes is reported, so that running it leaves nothing unnoticed.
fn is_plain(statement: &Statement<'_>) -> bool {
    let Statement { kind, effects, .. } = *statement;
    let hidden = [
        Effects::USER_VARIABLE,
        Effects::VARIABLE_LITERAL,
        Effects::ADVISORY_LOCK,
        Effects::GLOBAL_LOCK,
        Effects::HANDLER,
        Effects::SESSION_TRACKING,
        Effects::ROLE,
        Effects::TEMPORARY_TABLE,
        Effects::CONNECTION_ID,
        Effects::MULTI,
    ];
    let called = kind == Kind::Write && effects.has(Effects::UNKNOWN_FUNCTION);
    !called
        && !matches!(kind, Kind::Unknown | Kind::Lock | Kind::TextPrepared)
        && !hidden.iter().any(|e| effects.has(*e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    const MODE: Mode =
        Mode { dialect: Dialect::MySql, version: 90700, ansi_quotes: false, no_backslash_escapes: false };

    #[test]
    fn a_pin_ends_with_the_last_of_its_kind() {
        let cases: &[(&str, &[Pin])] = &[
            ("CREATE TEMPORARY TABLE a (id INT)", &[Pin::TemporaryTable]),
            ("CREATE TEMPORARY TABLE a (id INT); DROP TABLE a", &[]),
            ("CREATE TEMPORARY TABLE a (id INT); DROP TABLE other.a", &[Pin::TemporaryTable]),
            ("CREATE TEMPORARY TABLE a (id INT); DROP TEMPORARY TABLE IF EXISTS b, app.a", &[]),
            (
                "CREATE TEMPORARY TABLE a (id INT); CREATE TEMPORARY TABLE b LIKE a; DROP TABLE a",
                &[Pin::TemporaryTable],
            ),
            ("CREATE TEMPORARY TABLE a (id INT); ALTER TABLE a RENAME TO b; DROP TABLE b", &[]),
            ("CREATE TEMPORARY TABLE a (id INT); ALTER TABLE a ADD x INT; DROP TABLE a", &[]),
            ("CREATE TEMPORARY TABLE a (id INT); RENAME TABLE a TO b; DROP TABLE a, b", &[Pin::TemporaryTable]),
            ("DROP TEMPORARY TABLE IF EXISTS a", &[]),
            ("CREATE TEMPORARY TABLE a (id INT); CREATE TABLE b (id INT); FLUSH STATUS; DROP TABLE a", &[]),
            ("PREPARE s FROM 'SELECT 1'", &[Pin::TextPrepared]),
            ("PREPARE s FROM 'SELECT 1'; EXECUTE s; DEALLOCATE PREPARE S", &[]),
            ("PREPARE s FROM 'SELECT 1'; PREPARE s FROM 'SELECT 2'; DROP PREPARE s", &[]),
            ("PREPARE s FROM 'SELECT 1 INTO @a'; EXECUTE s; DEALLOCATE PREPARE s", &[Pin::Unattributed]),
            ("PREPARE s FROM @a; EXECUTE s; DEALLOCATE PREPARE s", &[Pin::Unattributed]),
            ("PREPARE s FROM 'CALL p()'; EXECUTE s; DEALLOCATE PREPARE s", &[Pin::Unattributed]),
            ("EXECUTE unknown", &[Pin::Unattributed]),
            ("HANDLER t OPEN; HANDLER t OPEN AS u; HANDLER t CLOSE", &[Pin::Handler]),
            ("HANDLER t OPEN; HANDLER t OPEN AS u; HANDLER t CLOSE; HANDLER u CLOSE", &[]),
            ("FLUSH TABLES WITH READ LOCK; UNLOCK INSTANCE", &[Pin::GlobalLock]),
            ("FLUSH TABLES WITH READ LOCK; UNLOCK TABLES", &[]),
            ("LOCK INSTANCE FOR BACKUP; FLUSH TABLES WITH READ LOCK; UNLOCK TABLES", &[Pin::GlobalLock]),
            ("SELECT GET_LOCK('a', 0)", &[Pin::AdvisoryLock]),
            ("SELECT IS_FREE_LOCK('a')", &[]),
            ("SELECT GET_LOCK('a', 0); SELECT RELEASE_ALL_LOCKS()", &[]),
            ("SELECT GET_LOCK(?, 0); DO RELEASE_ALL_LOCKS()", &[]),
            ("SELECT service_get_write_locks('a', 'b', 0); SELECT RELEASE_ALL_LOCKS()", &[Pin::GlobalLock]),
        ];
        for (texts, expected) in cases {
            let mut state = SessionState::new(Some(b"app"));
            for sql in texts.split("; ") {
                state.observe_text(&sql::classify(sql.as_bytes(), MODE), sql.as_bytes(), MODE);
            }
            assert_eq!(state.pins().iter().collect::<Vec<_>>(), *expected, "{texts}");
        }
    }

    #[test]
    fn several_statements_in_one_text_pin_until_a_reset() {
        for (text, pin) in [
            ("CREATE TEMPORARY TABLE a (id INT); DROP TABLE a", Pin::TemporaryTable),
            ("HANDLER t OPEN; HANDLER t CLOSE", Pin::Handler),
            ("FLUSH TABLES WITH READ LOCK; UNLOCK TABLES", Pin::GlobalLock),
            ("PREPARE s FROM 'SELECT 1'; DEALLOCATE PREPARE s", Pin::TextPrepared),
            ("PREPARE s FROM 'SELECT 1'; EXECUTE s", Pin::Unattributed),
        ] {
            let mut state = SessionState::new(None);
            state.observe_text(&sql::classify(text.as_bytes(), MODE), text.as_bytes(), MODE);
            assert!(state.pins().has(pin), "{text}");
            state.reset(Dialect::MySql);
            assert!(state.pins().is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_known_by_name_is_bounded() {
        let mut state = SessionState::new(Some(b"app"));
        for number in 0..1000 {
            let sql = format!("CREATE TEMPORARY TABLE t{number} (id INT)");
            state.observe_text(&sql::classify(sql.as_bytes(), MODE), sql.as_bytes(), MODE);
        }
        assert_eq!(state.belongings.tables.len(), MOST);
    }

    #[test]
    fn locks_that_the_server_does_not_confirm_are_gone() {
        let mut state = SessionState::new(None);
        let sql = "SELECT GET_LOCK('a', 0), GET_LOCK('b', 0)";
        state.observe_text(&sql::classify(sql.as_bytes(), MODE), sql.as_bytes(), MODE);
        state.learn_advisory_locks(&[false, true]);
        assert_eq!(state.advisory_locks(), Some(&[(*b"b").into()][..]));
        state.learn_advisory_locks(&[false]);
        assert!(state.pins().is_empty());
    }
}
