//! What drivers say to every server when they connect, so that they can connect to the console as well: some system
//! variables are asked for, and some are set to what the console does anyway.

use opensrv_mysql::{Column, ErrorKind};

use super::{
    engine::{Cell, FieldKind, Refused, Request, column},
    gate,
};

/// A system variable that was asked for.
pub(super) struct Variable {
    /// As it was asked for, `@@` and scope included.
    asked: String,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Null,
    Text(&'static str),
    Number(u64),
}

/// `@@max_allowed_packet` asked for alone is answered by opensrv itself, with 64 MiB: more than gets through.
const VARIABLES: &[(&str, Value)] = &[
    ("auto_increment_increment", Value::Number(1)),
    ("autocommit", Value::Number(1)),
    ("character_set_client", Value::Text("utf8mb4")),
    ("character_set_connection", Value::Text("utf8mb4")),
    ("character_set_results", Value::Text("utf8mb4")),
    ("character_set_server", Value::Text("utf8mb4")),
    ("collation_connection", Value::Text("utf8mb4_general_ci")),
    ("collation_server", Value::Text("utf8mb4_general_ci")),
    ("init_connect", Value::Text("")),
    ("interactive_timeout", Value::Number(gate::IDLE.as_secs())),
    ("license", Value::Text(env!("CARGO_PKG_LICENSE"))),
    ("lower_case_table_names", Value::Number(0)),
    ("max_allowed_packet", Value::Number(gate::MAX_PACKET as u64)),
    ("net_write_timeout", Value::Number(60)),
    ("performance_schema", Value::Number(0)),
    // A client that is told of a socket would reconnect there, past the address that it was given.
    ("socket", Value::Null),
    ("sql_mode", Value::Text("")),
    ("system_time_zone", Value::Text("UTC")),
    ("time_zone", Value::Text("SYSTEM")),
    ("transaction_isolation", Value::Text("REPEATABLE-READ")),
    ("tx_isolation", Value::Text("REPEATABLE-READ")),
    ("version", Value::Text(env!("CARGO_PKG_VERSION"))),
    ("version_comment", Value::Text("Weir console")),
    ("wait_timeout", Value::Number(gate::IDLE.as_secs())),
];

/// Variables that a client may set, without effect. `NAMES` and `CHARACTER SET` are such, too.
const SETTABLE: &[&str] = &[
    "autocommit",
    "character",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "names",
    "net_write_timeout",
    "sql_mode",
    "time_zone",
];

/// None: this is not a driver's talk.
///
/// # Errors
/// A variable that the console does not know.
pub(super) fn understand(text: &str) -> Result<Option<Request>, Refused> {
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
    if let Some(list) = behind_word(text, "select").filter(|list| list.starts_with("@@")) {
        return list.split(',').map(|item| variable(item.trim())).collect::<Result<_, _>>().map(only_variables);
    }
    let sets = behind_word(text, "set").is_some_and(|assignments| assignments.split(outer_comma()).all(may_be_set));
    Ok(sets.then_some(Request::Nothing))
}

fn only_variables(variables: Vec<Variable>) -> Option<Request> {
    Some(Request::Variables(variables))
}

/// `@@[scope.]name [AS alias] [LIMIT 1]`
fn variable(item: &str) -> Result<Variable, Refused> {
    let mut words = item.split_whitespace();
    let asked = words.next().unwrap_or_default();
    let name = unscoped(asked);
    let rest: Vec<_> = words.map(str::to_ascii_lowercase).collect();
    let rest: Vec<_> = rest.iter().map(String::as_str).collect();
    let alias = match rest.as_slice() {
        [] | ["limit", "1"] => asked,
        ["as", alias] | ["as", alias, "limit", "1"] => alias.trim_matches(['`', '\'', '"']),
        _ => return Err(unknown(item)),
    };
    let known = VARIABLES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).ok_or_else(|| unknown(name))?;
    Ok(Variable { asked: alias.to_owned(), value: known.1 })
}

fn unknown(name: &str) -> Refused {
    let name: String = name.chars().take(64).collect();
    Refused { kind: ErrorKind::ER_UNKNOWN_SYSTEM_VARIABLE, message: format!("Unknown system variable '{name}'") }
}

/// Finds commas that are not inside quotes.
fn outer_comma() -> impl FnMut(char) -> bool {
    let mut quote = None;
    move |c| {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            _ => {}
        }
        quote.is_none() && c == ','
    }
}

/// The assignment's left side is a variable whose setting changes nothing here.
fn may_be_set(assignment: &str) -> bool {
    let assignment = assignment.trim();
    let assignment = behind_word(assignment, "session").unwrap_or(assignment);
    let name = assignment.split(|c: char| c.is_whitespace() || matches!(c, '=' | ':')).next().unwrap_or_default();
    SETTABLE.iter().any(|settable| settable.eq_ignore_ascii_case(unscoped(name)))
}

/// `@@session.sql_mode` → `sql_mode`. A global one is not a session's to set, so it keeps its scope.
fn unscoped(name: &str) -> &str {
    let name = name.strip_prefix("@@").unwrap_or(name);
    match name.split_once('.') {
        Some((scope, name)) if ["session", "local"].iter().any(|known| scope.eq_ignore_ascii_case(known)) => name,
        _ => name,
    }
}

/// What stands behind a first word, if that is the first word.
fn behind_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (first, rest) = text.trim_start().split_once(char::is_whitespace)?;
    first.eq_ignore_ascii_case(word).then(|| rest.trim_start())
}

impl Variable {
    pub(super) fn column(&self) -> Column {
        let kind = match self.value {
            Value::Number(_) => FieldKind::Number,
            Value::Null | Value::Text(_) => FieldKind::Text,
        };
        column(&self.asked, kind)
    }

    pub(super) fn value(&self) -> Cell {
        match self.value {
            Value::Null => Cell::Null,
            Value::Text(text) => Cell::Text(text.into()),
            Value::Number(number) => Cell::Number(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk() {
        let variables = |names: &[&str]| format!("variables {}", names.join(" "));
        let cases = [
            ("select @@version_comment limit 1", variables(&["@@version_comment"])),
            ("SELECT @@max_allowed_packet,@@wait_timeout", variables(&["@@max_allowed_packet", "@@wait_timeout"])),
            ("SELECT @@session.autocommit AS `ac`, @@socket;", variables(&["ac", "@@socket"])),
            ("SELECT @@no_such_thing", "1193".into()),
            ("SELECT @@version FROM t", "1193".into()),
            ("SELECT @@", "1193".into()),
            ("SELECT 1", "not talk".into()),
            ("SELECT", "not talk".into()),
            ("SET NAMES utf8mb4", "nothing".into()),
            ("set autocommit=0", "nothing".into()),
            ("SET @@session.autocommit = OFF", "nothing".into()),
            ("SET SESSION sql_mode = 'ANSI,\"x', time_zone = '+00:00'", "nothing".into()),
            ("SET GLOBAL sql_mode = ''", "not talk".into()),
            ("SET @@global.sql_mode = ''", "not talk".into()),
            ("SET autocommit=0, max_connections=1", "not talk".into()),
            ("SHOW SERVERS", "not talk".into()),
            ("", "not talk".into()),
        ];
        for (text, wanted) in cases {
            let found = match understand(text) {
                Err(refused) => (refused.kind as u16).to_string(),
                Ok(None) => "not talk".into(),
                Ok(Some(Request::Variables(list))) => {
                    variables(&list.iter().map(|variable| variable.asked.as_str()).collect::<Vec<_>>())
                }
                Ok(Some(_)) => "nothing".into(),
            };
            assert_eq!(found, wanted, "{text}");
        }
    }
}
