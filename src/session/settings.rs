//! What makes one session's connection differ from a freshly opened one: the schema, the session variables that servers
//! reported as changed, and the user variables that were set to literals.

use std::sync::Arc;

/// A variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// As the server reported it.
    Text(Box<[u8]>),
    /// The server's default.
    Default,
    /// Of `sql_mode`: the server's default and `IGNORE_SPACE`, which is all that a login with that capability brings.
    /// Servers apply it once, and differ in what a reset makes of it.
    DefaultIgnoringSpace,
    /// Of `character_set_client` and `character_set_results`: as `SET NAMES` chose it, with the collation that texts and
    /// columns are described with.
    Named { charset: Box<[u8]>, collation: Box<[u8]> },
    /// Of a user variable: the literal that it was set to, as SQL that means the same under all settings.
    Literal(Box<[u8]>),
    /// Of a user variable: such a literal, and NULL after that, which keeps the literal's type.
    LiteralThenNull(Box<[u8]>),
}

impl Value {
    /// As servers report it; None: that is not known.
    pub fn reported(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) | Self::Named { charset: text, .. } => Some(text),
            _ => None,
        }
    }
}

/// What the names of user variables begin with here; those of system variables never do.
const USER: u8 = b'@';
/// The value that leaves a user variable the type that it has.
const NULL: &[u8] = b"NULL";

/// Schema and changed variables. Immutable: a change makes a new value, so that the settings of a session and of the
/// connection it uses can be compared by pointer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    schema: Option<Box<[u8]>>,
    /// Sorted by name.
    variables: Vec<(Box<[u8]>, Value)>,
}

/// What decides how a text is read, besides the schema. Sorted.
const READING: [&[u8]; 4] =
    [b"character_set_client", b"character_set_connection", b"collation_connection", b"sql_mode"];

/// Makes equal values one, so that the next comparison of the two is one of pointers. Whoever meets whom, in the end all
/// that are equal are the one at the lowest address.
pub fn unite<T: PartialEq>(one: &mut Arc<T>, other: &mut Arc<T>) {
    if Arc::ptr_eq(one, other) || one != other {
        return;
    }
    match Arc::as_ptr(one) < Arc::as_ptr(other) {
        true => *other = one.clone(),
        false => *one = other.clone(),
    }
}

/// One step that brings a connection from its settings to a session's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    Schema(&'a [u8]),
    Set(&'a [u8], &'a Value),
    /// Back to what the connection had when it was opened.
    Restore(&'a [u8]),
}

impl Settings {
    pub fn with_schema(schema: Option<&[u8]>) -> Self {
        Self { schema: schema.filter(|name| !name.is_empty()).map(Box::from), variables: Vec::new() }
    }

    pub fn schema(&self) -> Option<&[u8]> {
        self.schema.as_deref()
    }

    pub fn set_schema(&mut self, schema: &[u8]) {
        self.schema = (!schema.is_empty()).then(|| schema.into());
    }

    pub fn variable(&self, name: &[u8]) -> Option<&Value> {
        let place = self.place(name).ok()?;
        self.variables.get(place).map(|(_, value)| value)
    }

    pub fn set_variable(&mut self, name: &[u8], value: Value) {
        match self.place(name) {
            Ok(place) => self.variables[place].1 = value,
            Err(place) => self.variables.insert(place, (name.into(), value)),
        }
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.variables.binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }

    /// What of these settings decides how a text is read: the schema, the character sets and the `sql_mode`.
    pub fn for_reading(&self) -> Self {
        let reading = |(name, _): &&(Box<[u8]>, Value)| READING.contains(&name.as_ref());
        Self { schema: self.schema.clone(), variables: self.variables.iter().filter(reading).cloned().collect() }
    }

    /// These settings, but a text is read as it was under `text`. A schema that `text` does not name stays.
    pub fn reading_as(&self, text: &Self) -> Self {
        let mut variables = self.variables.clone();
        variables.retain(|(name, _)| !READING.contains(&name.as_ref()));
        let mut settings = Self { schema: text.schema.as_ref().or(self.schema.as_ref()).cloned(), variables };
        for name in READING {
            if let Some(value) = text.variable(name) {
                settings.set_variable(name, value.clone());
            }
        }
        if let Some(named @ Value::Named { .. }) = text.variable(b"character_set_client") {
            // One `SET NAMES` sets both.
            settings.set_variable(b"character_set_results", named.clone());
        }
        settings
    }

    /// Sets the user variable `name` (without `@`) to a literal; None: to NULL.
    pub fn set_user_variable(&mut self, name: &[u8], literal: Option<&[u8]>) {
        let name = [&[USER][..], name].concat();
        let value = match (literal, self.variable(&name)) {
            (Some(literal), _) => Value::Literal(literal.into()),
            (None, Some(Value::Literal(known) | Value::LiteralThenNull(known))) if **known != *NULL => {
                Value::LiteralThenNull(known.clone())
            }
            (None, _) => Value::Literal(NULL.into()),
        };
        self.set_variable(&name, value);
    }

    /// Whether the user variable `name` (without `@`) is set.
    pub fn has_user_variable(&self, name: &[u8]) -> bool {
        self.variable(&[&[USER][..], name].concat()).is_some()
    }

    /// The number of user variables, and the bytes of their names and values.
    pub fn user_variables(&self) -> (usize, usize) {
        let sizes = self.of_user().map(|(name, value)| match value {
            Value::Literal(text) | Value::LiteralThenNull(text) => name.len() + text.len(),
            _ => name.len(),
        });
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }

    /// They come first.
    fn of_user(&self) -> impl Iterator<Item = &(Box<[u8]>, Value)> {
        self.variables.iter().take_while(|(name, _)| name.first() == Some(&USER))
    }

    /// Whether a connection with these settings must be reset to become one with `to`: nothing less takes a user variable
    /// or its type away.
    pub fn must_be_reset(&self, to: &Self) -> bool {
        !std::ptr::eq(self, to)
            && self.of_user().any(|(name, value)| match to.variable(name) {
                None => true,
                Some(Value::Literal(wanted)) if **wanted == *NULL => {
                    !matches!(value, Value::Literal(text) if text == wanted)
                }
                Some(_) => false,
            })
    }

    /// Whether a connection with these settings can be aligned to `to`: a schema can be changed but not left.
    pub fn can_become(&self, to: &Self) -> bool {
        self.schema.is_none() || to.schema.is_some()
    }

    /// What a connection with these settings needs to match `to`; variables in order of name.
    pub fn steps<'a>(self: &'a Arc<Self>, to: &'a Arc<Self>) -> Vec<Step<'a>> {
        if Arc::ptr_eq(self, to) || self == to {
            return Vec::new();
        }
        let mut steps = Vec::new();
        if let Some(schema) = to.schema().filter(|_| self.schema != to.schema) {
            steps.push(Step::Schema(schema));
        }
        for (name, _) in &self.variables {
            if to.variable(name).is_none() {
                steps.push(Step::Restore(name));
            }
        }
        for (name, value) in &to.variables {
            if self.variable(name) != Some(value) {
                steps.push(Step::Set(name, value));
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(schema: &str, variables: &[(&str, &str)]) -> Arc<Settings> {
        let mut settings = Settings::with_schema(Some(schema.as_bytes()));
        for (name, value) in variables {
            settings.set_variable(name.as_bytes(), Value::Text(value.as_bytes().into()));
        }
        Arc::new(settings)
    }

    #[test]
    fn steps_are_the_difference() {
        let text = |value: &str| Value::Text(value.as_bytes().into());
        let plain = settings("app", &[]);
        let ansi = settings("app", &[("sql_mode", "ANSI"), ("time_zone", "UTC")]);
        let other = settings("app2", &[("sql_mode", "TRADITIONAL")]);
        assert_eq!(plain.steps(&plain.clone()), vec![]);
        assert_eq!(plain.steps(&settings("app", &[])), vec![]);
        assert_eq!(
            plain.steps(&ansi),
            vec![Step::Set(b"sql_mode", &text("ANSI")), Step::Set(b"time_zone", &text("UTC"))]
        );
        assert_eq!(
            ansi.steps(&other),
            vec![Step::Schema(b"app2"), Step::Restore(b"time_zone"), Step::Set(b"sql_mode", &text("TRADITIONAL"))]
        );
    }

    #[test]
    fn a_text_is_read_as_it_was_and_nothing_else_is_touched() {
        let then = settings("app", &[("autocommit", "ON"), ("sql_mode", "ANSI"), ("time_zone", "UTC")]);
        let now = settings("app2", &[("autocommit", "OFF"), ("collation_connection", "latin1_bin")]);
        let reading = then.for_reading();
        assert_eq!(reading, *settings("app", &[("sql_mode", "ANSI")]));
        assert_eq!(now.reading_as(&reading), *settings("app", &[("autocommit", "OFF"), ("sql_mode", "ANSI")]));
    }

    #[test]
    fn user_variables_are_added_and_changed_but_not_taken_away() {
        let with = |assigned: &[(&str, Option<&str>)]| {
            let mut settings = Settings::default();
            for (name, literal) in assigned {
                settings.set_user_variable(name.as_bytes(), literal.map(str::as_bytes));
            }
            Arc::new(settings)
        };
        let (none, one, two) = (with(&[]), with(&[("a", Some("1"))]), with(&[("a", Some("1")), ("b", Some("2"))]));
        let other = with(&[("a", Some("7"))]);
        let (null, then_null) = (with(&[("a", None)]), with(&[("a", Some("1")), ("a", None), ("a", None)]));
        for (from, to, reset) in [
            (&none, &none, false),
            (&none, &two, false),
            (&one, &two, false),
            (&one, &other, false),
            (&two, &one, true),
            (&one, &none, true),
            (&null, &null.clone(), false),
            (&one, &null, true),
            (&one, &then_null, false),
            (&then_null, &null, true),
            (&null, &then_null, false),
        ] {
            assert_eq!(from.must_be_reset(to), reset, "{from:?} to {to:?}");
        }
        assert_eq!(one.steps(&then_null), vec![Step::Set(b"@a", &Value::LiteralThenNull((*b"1").into()))]);
        assert_eq!(two.user_variables(), (2, 6));
        assert!(two.has_user_variable(b"b") && !one.has_user_variable(b"b"));
    }

    #[test]
    fn a_schema_cannot_be_left() {
        let (none, app) = (settings("", &[]), settings("app", &[]));
        for (from, to, possible) in
            [(&none, &app, true), (&app, &app, true), (&none, &none, true), (&app, &none, false)]
        {
            assert_eq!(from.can_become(to), possible, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn whoever_meets_whom_equal_settings_become_one() {
        let mut equal: Vec<_> = (0..4).map(|_| settings("shop", &[("sql_mode", "ANSI")])).collect();
        let mut other = settings("shop", &[]);
        for (one, another) in [(0, 1), (2, 3), (1, 2), (0, 3), (1, 3), (0, 2), (0, 1), (2, 3)] {
            let [one, another] = equal.get_disjoint_mut([one, another]).unwrap();
            unite(one, another);
            unite(&mut other, another);
        }
        assert!(equal.iter().all(|settings| Arc::ptr_eq(settings, &equal[0])));
        assert!(!Arc::ptr_eq(&other, &equal[0]));
    }
}
