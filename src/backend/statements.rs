//! The prepared statements of one server connection: text to the server's id, the least used forgotten first.
//!
//! A server may have prepared a text several times, in forms that take its parameters for different things, see
//! [`ParameterTypes`].

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use crate::{
    protocol::ParameterTypes,
    session::Settings,
    sql::{self, Effects, Kind, Mode, Statement},
};

/// How many statements a server connection keeps prepared. Servers allow 16 382 over all connections by default
/// (`max_prepared_stmt_count`), and a pool has 100 connections by default.
const MOST: usize = 128;

/// How long their texts may be together, bytes; the one prepared last may be longer.
const MOST_BYTES: usize = 1 << 20;

/// How many forms of one text it keeps.
const MOST_FORMS: usize = 4;

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
    /// The lengths of all texts.
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    /// The one used last is the first. There is at least one.
    forms: Vec<Form>,
    used: u64,
}

/// One statement of the server.
#[derive(Debug)]
pub struct Form {
    id: u32,
    /// The client's statement whose own it is: nobody else knows what it takes the parameters for. A session and a number.
    pub owner: Option<(u32, u32)>,
    /// None: the server takes the values of each execute as they come.
    pub types: Option<FormTypes>,
}

/// What a server takes the parameters of a statement for.
#[derive(Debug, Clone)]
pub struct FormTypes {
    /// When it was prepared.
    pub fresh: Arc<ParameterTypes>,
    pub now: Arc<ParameterTypes>,
}

impl FormTypes {
    /// Those of a statement that has just been prepared.
    pub fn new(fresh: ParameterTypes) -> Self {
        let fresh = Arc::new(fresh);
        Self { now: fresh.clone(), fresh }
    }
}

impl Statements {
    /// The server's id of the form of a statement that was used or chosen last, which counts as a use.
    pub fn id(&mut self, text: &Arc<PreparedText>) -> Option<u32> {
        self.clock += 1;
        let entry = self.known.get_mut(text)?;
        entry.used = self.clock;
        entry.forms.first().map(|form| form.id)
    }

    pub fn has(&self, text: &Arc<PreparedText>) -> bool {
        self.known.contains_key(text)
    }

    /// The forms of a statement, the one used last first.
    pub fn forms(&mut self, text: &Arc<PreparedText>) -> &mut [Form] {
        self.known.get_mut(text).map(|entry| entry.forms.as_mut_slice()).unwrap_or_default()
    }

    /// Makes the form in `place` of a statement the one that is used next. `types`: what it takes the parameters for then.
    pub fn choose(&mut self, text: &Arc<PreparedText>, place: usize, types: Option<Arc<ParameterTypes>>) {
        let forms = self.forms(text);
        let Some(before) = forms.get_mut(..=place) else { return };
        before.rotate_right(1);
        if let (Some(Form { types: Some(known), .. }), Some(types)) = (before.first_mut(), types) {
            known.now = types;
        }
    }

    /// Makes the form in front of a statement a client's own.
    pub fn own(&mut self, text: &Arc<PreparedText>, owner: (u32, u32)) {
        if let Some(form) = self.forms(text).first_mut() {
            form.owner = Some(owner);
        }
    }

    /// Whether one of them belongs to a session.
    pub fn any_own(&self) -> bool {
        self.known.keys().any(|text| text.is_own())
    }

    /// Remembers a statement. Returns the ids of those to close instead: the same text's older one of the same form, or that
    /// of its forms which was used least, or the least used text's.
    #[must_use = "the statements must be closed on the server"]
    pub fn insert(&mut self, text: Arc<PreparedText>, id: u32, types: Option<FormTypes>) -> Vec<u32> {
        self.clock += 1;
        let form = Form { id, owner: None, types };
        if let Some(entry) = self.known.get_mut(&text) {
            entry.used = self.clock;
            let now = |form: &Form| form.types.as_ref().map(|types| types.now.clone());
            let last = entry.forms.len() - 1;
            let same = entry.forms.iter().position(|old| old.owner.is_none() && now(old) == now(&form));
            let old = same.or((last + 1 >= MOST_FORMS).then_some(last)).map(|place| entry.forms.remove(place).id);
            entry.forms.insert(0, form);
            return old.into_iter().collect();
        }
        self.bytes += text.sql.len();
        self.known.insert(text, Entry { forms: vec![form], used: self.clock });
        let mut closed = Vec::new();
        while (self.known.len() > MOST || self.bytes > MOST_BYTES)
            && let Some(least) = self.least_used()
        {
            closed.extend(self.remove(&least));
        }
        closed
    }

    /// The text that was used least, but for the last. One that belongs to a session has a cursor open: its session says
    /// when it is over.
    fn least_used(&self) -> Option<Arc<PreparedText>> {
        let shared = self.known.iter().filter(|(text, entry)| !text.is_own() && entry.used < self.clock);
        shared.min_by_key(|(_, entry)| entry.used).map(|(text, _)| text.clone())
    }

    /// Forgets one statement. Returns the ids of its forms, to be closed on the server.
    pub fn remove(&mut self, text: &Arc<PreparedText>) -> Vec<u32> {
        let Some(Entry { forms, .. }) = self.known.remove(text) else { return Vec::new() };
        self.bytes -= text.sql.len();
        forms.into_iter().map(|form| form.id).collect()
    }

    /// Forgets the form of a statement that was used last. Returns its id, to be closed on the server.
    pub fn remove_form(&mut self, text: &Arc<PreparedText>) -> Option<u32> {
        let entry = self.known.get_mut(text)?;
        if entry.forms.len() == 1 {
            return self.remove(text).pop();
        }
        Some(entry.forms.remove(0).id)
    }

    /// `COM_RESET_CONNECTION` forgets all.
    pub fn clear(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u32; 0] = [];

    fn text(sql: &str, schema: &str) -> Arc<PreparedText> {
        Arc::new(PreparedText::new(sql.as_bytes(), &Settings::with_schema(Some(schema.as_bytes()))))
    }

    #[test]
    fn the_same_text_in_another_schema_is_another_statement() {
        let mut statements = Statements::default();
        assert_eq!(statements.insert(text("SELECT ?", "app"), 1, None), NONE);
        assert_eq!(statements.id(&text("SELECT ?", "app")), Some(1));
        assert_eq!(statements.id(&text("SELECT ?", "app2")), None);
        assert_eq!(statements.insert(text("SELECT ?", "app"), 2, None), [1], "the older one is to be closed");
    }

    #[test]
    fn the_least_used_is_forgotten() {
        let mut statements = Statements::default();
        for id in 0..MOST as u32 {
            assert_eq!(statements.insert(text(&format!("SELECT {id}"), ""), id, None), NONE);
        }
        assert_eq!(statements.id(&text("SELECT 0", "")), Some(0));
        assert_eq!(statements.insert(text("SELECT x", ""), 999, None), [1]);
        assert!(statements.has(&text("SELECT 0", "")));
    }

    #[test]
    fn long_texts_make_room_for_each_other() {
        let mut statements = Statements::default();
        let long = |name: char| text(&name.to_string().repeat(MOST_BYTES / 2), "");
        assert_eq!(statements.insert(long('a'), 1, None), NONE);
        assert_eq!(statements.insert(long('b'), 2, None), NONE);
        assert_eq!(statements.insert(text("SELECT 1", ""), 3, None), [1]);
        assert_eq!(statements.insert(text(&"c".repeat(2 * MOST_BYTES), ""), 4, None), [2, 3]);
        assert_eq!(statements.id(&text("SELECT 1", "")), None);
        assert_eq!(statements.insert(text("SELECT 1", ""), 5, None), [4]);
        assert_eq!(statements.bytes, "SELECT 1".len());
        statements.clear();
        assert_eq!(statements.bytes, 0);
    }

    #[test]
    fn one_with_a_cursor_is_not_forgotten() {
        let mut statements = Statements::default();
        let own = Arc::new(text("SELECT 0", "").own());
        assert_eq!(statements.insert(own.clone(), 1000, None), NONE);
        for id in 0..2 * MOST as u32 {
            let _ = statements.insert(text(&format!("SELECT {id}"), ""), id, None);
        }
        assert_eq!(statements.id(&own), Some(1000));
        assert_eq!(statements.known.len(), MOST);
    }

    #[test]
    fn a_text_has_a_few_forms() {
        let (mut statements, text) = (Statements::default(), text("SELECT ?, ?", ""));
        let fresh = || Some(FormTypes::new(ParameterTypes::unknown(2)));
        assert_eq!(statements.insert(text.clone(), 0, fresh()), NONE);
        assert_eq!(statements.insert(text.clone(), 1, fresh()), [0], "of the same form");
        for id in 2..=MOST_FORMS as u32 {
            let other = ParameterTypes::unknown(2 + id as usize);
            statements.choose(&text, 0, Some(Arc::new(other)));
            assert_eq!(statements.insert(text.clone(), id, fresh()), NONE, "{id}");
        }
        statements.choose(&text, 0, Some(Arc::new(ParameterTypes::unknown(100))));
        assert_eq!(statements.insert(text.clone(), 9, fresh()), [1], "the one used least");
        statements.choose(&text, 2, None);
        assert_eq!(statements.id(&text), Some(3));
        assert_eq!(statements.remove_form(&text), Some(3));
        assert_eq!(statements.remove(&text), [9, 4, 2]);
        assert_eq!(statements.remove_form(&text), None);
    }
}
