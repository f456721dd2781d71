//! The prepared statements of one server connection: text to the server's id, the least used forgotten first.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use crate::{
    session::Settings,
    sql::{self, Effects, Kind, Mode, Statement},
};

/// How many statements a server connection keeps prepared. Servers allow 16 382 over all connections by default
/// (`max_prepared_stmt_count`), and a pool has 100 connections by default.
const MOST: usize = 128;

/// A statement's text with what it was prepared under. Shared by everyone who prepares the same.
#[derive(Debug)]
pub struct PreparedText {
    hash: u64,
    pub sql: Box<[u8]>,
    /// What it was read under when it was prepared ([`Settings::for_reading`]).
    pub settings: Settings,
    shared: Sharing,
    /// What it is to servers that read it so, if there is no hint in it.
    facts: OnceLock<(Mode, Kind, Effects)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Everyone,
    Nobody,
}

impl PreparedText {
    pub fn new(sql: &[u8], settings: &Settings) -> Self {
        let settings = settings.for_reading();
        let mut hasher = DefaultHasher::new();
        (sql, settings.schema()).hash(&mut hasher);
        let (hash, sql) = (hasher.finish(), sql.into());
        Self { hash, sql, settings, shared: Sharing::Everyone, facts: OnceLock::new() }
    }

    /// Of text and schema.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The same text, prepared for one statement of one session alone.
    pub fn own(&self) -> Self {
        let Self { hash, sql, settings, facts, .. } = self;
        let (sql, settings, facts) = (sql.clone(), settings.clone(), facts.clone());
        Self { hash: *hash, sql, settings, shared: Sharing::Nobody, facts }
    }

    /// The facts of the text, which is not read again each time.
    pub fn facts(&self, mode: Mode) -> Statement<'_> {
        match self.facts.get() {
            Some(&(known, kind, effects)) if known == mode => Statement { kind, effects, hint: None },
            _ => {
                let statement = sql::classify(&self.sql, mode);
                if statement.hint.is_none() {
                    // Of two modes the first stays.
                    let _ = self.facts.set((mode, statement.kind, statement.effects));
                }
                statement
            }
        }
    }

    /// Whether it is such a text.
    pub fn is_own(&self) -> bool {
        self.shared == Sharing::Nobody
    }
}

impl PartialEq for PreparedText {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || self.shared == Sharing::Everyone
                && other.shared == Sharing::Everyone
                && self.hash == other.hash
                && self.sql == other.sql
                && self.settings == other.settings
    }
}

impl Eq for PreparedText {}

impl Hash for PreparedText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Passes on the hash that a text has.
#[derive(Debug, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        self.0 = hasher.finish();
    }
}

/// What one connection has prepared.
#[derive(Debug, Default)]
pub struct Statements {
    known: HashMap<Arc<PreparedText>, Entry, BuildHasherDefault<Ready>>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    id: u32,
    used: u64,
}

impl Statements {
    /// The server's id of a statement, which counts as a use.
    pub fn id(&mut self, text: &Arc<PreparedText>) -> Option<u32> {
        self.clock += 1;
        let entry = self.known.get_mut(text)?;
        entry.used = self.clock;
        Some(entry.id)
    }

    pub fn has(&self, text: &Arc<PreparedText>) -> bool {
        self.known.contains_key(text)
    }

    /// Whether one of them belongs to a session.
    pub fn any_own(&self) -> bool {
        self.known.keys().any(|text| text.is_own())
    }

    /// Remembers a statement. Returns the id of one to close instead: the same text's older one, or the least used.
    #[must_use = "the statement must be closed on the server"]
    pub fn insert(&mut self, text: Arc<PreparedText>, id: u32) -> Option<u32> {
        self.clock += 1;
        let entry = Entry { id, used: self.clock };
        if let Some(old) = self.known.insert(text, entry) {
            return Some(old.id);
        }
        if self.known.len() <= MOST {
            return None;
        }
        // One that belongs to a session has a cursor open: its session says when it is over.
        let shared = self.known.iter().filter(|(text, _)| !text.is_own());
        let least = shared.min_by_key(|(_, entry)| entry.used).map(|(text, _)| text.clone())?;
        self.known.remove(&least).map(|entry| entry.id)
    }

    /// Forgets one statement. Returns its id, to be closed on the server.
    pub fn remove(&mut self, text: &Arc<PreparedText>) -> Option<u32> {
        self.known.remove(text).map(|entry| entry.id)
    }

    /// `COM_RESET_CONNECTION` forgets all.
    pub fn clear(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str, schema: &str) -> Arc<PreparedText> {
        Arc::new(PreparedText::new(sql.as_bytes(), &Settings::with_schema(Some(schema.as_bytes()))))
    }

    #[test]
    fn the_same_text_in_another_schema_is_another_statement() {
        let mut statements = Statements::default();
        assert_eq!(statements.insert(text("SELECT ?", "app"), 1), None);
        assert_eq!(statements.id(&text("SELECT ?", "app")), Some(1));
        assert_eq!(statements.id(&text("SELECT ?", "app2")), None);
        assert_eq!(statements.insert(text("SELECT ?", "app"), 2), Some(1), "the older one is to be closed");
    }

    #[test]
    fn the_least_used_is_forgotten() {
        let mut statements = Statements::default();
        for id in 0..MOST as u32 {
            assert_eq!(statements.insert(text(&format!("SELECT {id}"), ""), id), None);
        }
        assert_eq!(statements.id(&text("SELECT 0", "")), Some(0));
        assert_eq!(statements.insert(text("SELECT x", ""), 999), Some(1));
        assert!(statements.has(&text("SELECT 0", "")));
    }

    #[test]
    fn one_with_a_cursor_is_not_forgotten() {
        let mut statements = Statements::default();
        let own = Arc::new(text("SELECT 0", "").own());
        assert_eq!(statements.insert(own.clone(), 1000), None);
        for id in 0..2 * MOST as u32 {
            let _ = statements.insert(text(&format!("SELECT {id}"), ""), id);
        }
        assert_eq!(statements.id(&own), Some(1000));
        assert_eq!(statements.known.len(), MOST);
    }
}
