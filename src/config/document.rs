//! TOML with places, read field by field. A bad field is noted and reading goes on; keys nobody asked for are
//! noted when their section ends. What the fields mean is decided in `read`.

use std::collections::HashMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Config, InvalidValue, Place, Problem, Problems, SecretSource, field::unexpected, problem::nearest};

/// Parses the text to a table.
///
/// # Errors
/// All syntax errors, duplicate keys among them.
pub(super) fn parse(text: &str) -> Result<DeTable<'_>, Problems> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(root.into_inner());
    }
    let lines = Lines::new(text);
    let problems = errors.iter().map(|error| Problem {
        place: error.span().map(|span| lines.place(span.start)),
        key: String::new(),
        message: error.message().replace('\n', ", "),
    });
    Err(Problems::sorted(problems.collect()))
}

/// What is found out about a document while it is read.
pub(super) struct Notes<'d> {
    pub(super) secrets: &'d dyn SecretSource,
    lines: Lines<'d>,
    problems: Vec<Problem>,
    /// Byte offset of every key that was read, by key path.
    offsets: HashMap<String, usize>,
}

impl<'d> Notes<'d> {
    pub(super) fn new(text: &'d str, secrets: &'d dyn SecretSource) -> Self {
        Self { secrets, lines: Lines::new(text), problems: Vec::new(), offsets: HashMap::new() }
    }

    /// Notes what checks across fields found, unless these keys or what is in them have problems of their own:
    /// then the finding may be only their echo.
    pub(super) fn follow_up(&mut self, found: Vec<(String, String)>) {
        let echoed = |key: &str| {
            let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
            self.problems.iter().any(|problem| problem.key.strip_prefix(key).is_some_and(inside))
        };
        let found: Vec<_> = found.into_iter().filter(|(key, _)| !echoed(key)).collect();
        for (key, message) in found {
            self.problem(key, message);
        }
    }

    /// The configuration, or every problem noted.
    pub(super) fn finish(self, config: Config) -> Result<Config, Problems> {
        if self.problems.is_empty() { Ok(config) } else { Err(Problems::sorted(self.problems)) }
    }

    fn problem(&mut self, key: String, message: String) {
        let place = self.offset(&key).map(|offset| self.lines.place(offset));
        self.problems.push(Problem { place, key, message });
    }

    /// Where a key stands; where what is around it begins if it is not there.
    fn offset(&self, key: &str) -> Option<usize> {
        let mut path = key;
        loop {
            if let Some(offset) = self.offsets.get(path) {
                return Some(*offset);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }
}

/// One table of a document. A table that is not there reads as an empty one.
pub(super) struct Section<'n, 'd> {
    pub(super) notes: &'n mut Notes<'d>,
    /// Key path; empty for the root.
    path: String,
    table: Option<&'d DeTable<'d>>,
    asked: Vec<&'static str>,
}

impl<'n, 'd> Section<'n, 'd> {
    /// Reads the root with `read`.
    pub(super) fn root<T>(notes: &'n mut Notes<'d>, table: &'d DeTable<'d>, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut section = Self { notes, path: String::new(), table: Some(table), asked: Vec::new() };
        let value = read(&mut section);
        section.refuse_unknown();
        value
    }

    /// The value of a key, if it is there and good.
    pub(super) fn field<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'d DeValue<'d>) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        let value = self.ask(key)?;
        self.note(key, read(value))
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'d DeValue<'d>) -> Result<T, InvalidValue>,
    ) -> Option<T> {
        if self.ask(key).is_none() {
            self.problem(key, "is missing");
            return None;
        }
        self.field(key, read)
    }

    /// The good elements of a list; a list that is not there is empty.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&'d DeValue<'d>) -> Result<T, InvalidValue>,
    ) -> Vec<T> {
        let Some(array) = self.field(key, array) else { return Vec::new() };
        let mut values = Vec::new();
        for (index, element) in array.iter().enumerate() {
            let element_key = self.element(key, index, element);
            match read(element.get_ref()) {
                Ok(value) => values.push(value),
                Err(error) => self.notes.problem(element_key, error.to_string()),
            }
        }
        values
    }

    /// Reads the table under a key.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'd>) -> T) -> T {
        let table = self.field(key, table);
        self.inner(self.path_of(key), table, read)
    }

    /// Reads every table of a list of tables. None: the key is not there.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Section<'_, 'd>) -> T,
    ) -> Option<Vec<T>> {
        self.ask(key)?;
        let mut values = Vec::new();
        for (index, element) in self.field(key, array).into_iter().flatten().enumerate() {
            let path = self.element(key, index, element);
            match table(element.get_ref()) {
                Ok(table) => values.push(self.inner(path, Some(table), &read)),
                Err(error) => self.notes.problem(path, error.to_string()),
            }
        }
        Some(values)
    }

    /// Whether a key is there, good or bad.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Key path of this section.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.notes.problem(self.path_of(key), message.into());
    }

    fn inner<T>(
        &mut self,
        path: String,
        table: Option<&'d DeTable<'d>>,
        read: impl FnOnce(&mut Section<'_, 'd>) -> T,
    ) -> T {
        let mut inner = Section { notes: self.notes, path, table, asked: Vec::new() };
        let value = read(&mut inner);
        inner.refuse_unknown();
        value
    }

    fn ask(&mut self, key: &'static str) -> Option<&'d DeValue<'d>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let (name, value) = self.table?.get_key_value(key)?;
        self.notes.offsets.insert(self.path_of(key), name.span().start);
        Some(value.get_ref())
    }

    fn note<T>(&mut self, key: &str, result: Result<T, InvalidValue>) -> Option<T> {
        result.map_err(|error| self.problem(key, error.to_string())).ok()
    }

    fn element(&mut self, key: &str, index: usize, element: &Spanned<DeValue<'d>>) -> String {
        let path = format!("{}[{index}]", self.path_of(key));
        self.notes.offsets.insert(path.clone(), element.span().start);
        path
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn refuse_unknown(&mut self) {
        for name in self.table.into_iter().flat_map(DeTable::keys) {
            let key = name.get_ref().as_ref();
            if self.asked.contains(&key) {
                continue;
            }
            let message = match nearest(key, self.asked.iter().copied()) {
                Some(meant) => format!("unknown key `{key}` — did you mean `{meant}`?"),
                None => format!("unknown key `{key}`; known here: {}", self.asked.join(", ")),
            };
            let path = self.path_of(key);
            self.notes.offsets.insert(path.clone(), name.span().start);
            self.notes.problem(path, message);
        }
    }
}

fn array<'d>(value: &'d DeValue<'d>) -> Result<&'d [Spanned<DeValue<'d>>], InvalidValue> {
    value.as_array().map(|array| &**array).ok_or_else(|| unexpected("a list", value))
}

fn table<'d>(value: &'d DeValue<'d>) -> Result<&'d DeTable<'d>, InvalidValue> {
    value.as_table().ok_or_else(|| unexpected("a table", value))
}

/// Where the lines of a text begin.
struct Lines<'d> {
    text: &'d str,
    starts: Vec<usize>,
}

impl<'d> Lines<'d> {
    fn new(text: &'d str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        Place { line, column: before + 1 }
    }
}
