//! The commands that bring a server connection to a session's settings.

use crate::{
    protocol::{Capabilities, code, put_packets, query_attributes},
    session::{CHARACTER_SETS, Settings, Step, Tracking, Value},
};

use super::{Reports, ServerConnection};

const CLIENT: &[u8] = b"character_set_client";
const RESULTS: &[u8] = b"character_set_results";

/// Commands to send in front of a statement, and how many replies they have.
#[derive(Debug, Default)]
pub struct Alignment {
    /// Framed packets.
    pub bytes: Vec<u8>,
    pub replies: usize,
}

impl Alignment {
    /// Adds one command.
    pub fn push(&mut self, code: u8, body: &[u8]) {
        let mut payload = Vec::with_capacity(1 + body.len());
        payload.push(code);
        payload.extend_from_slice(body);
        self.push_payload(&payload);
    }

    /// Adds one query, for a connection with these capabilities.
    pub fn query(&mut self, capabilities: Capabilities, sql: &[u8]) {
        self.push_payload(&query_attributes::query(capabilities, sql));
    }

    fn push_payload(&mut self, payload: &[u8]) {
        put_packets(&mut self.bytes, &mut 0, payload);
        self.replies += 1;
    }

    /// Adds what makes `connection` report what its client chose to be told; of GTIDs only `outside` of a transaction.
    pub fn tracking(&mut self, connection: &mut ServerConnection, chosen: &Tracking, outside: bool) {
        if connection.reports == Reports::Chosen {
            return;
        }
        let mut set = Vec::new();
        for (name, value) in chosen.values().filter(|(name, _)| outside || *name != Tracking::GTIDS) {
            put_assignment(&mut set, name.as_bytes(), &Value::Text(value.into()));
        }
        self.query(connection.capabilities, &set);
        connection.reports = Reports::Chosen;
    }

    /// Adds what brings `connection` to `settings`: nothing, or one or two commands; three for the name of a schema
    /// that is not ASCII.
    pub fn settings(&mut self, connection: &ServerConnection, settings: &std::sync::Arc<Settings>) {
        let steps = connection.settings.steps(settings);
        if steps.is_empty() {
            return;
        }
        let mut set = Vec::new();
        // By their names alone, character sets would get other collations than the login or a `SET NAMES` gave them.
        let named = |step: &Step<'_>| match step {
            Step::Restore(name) => CHARACTER_SETS.contains(name),
            step => matches!(step, Step::Set(_, Value::Named { .. })),
        };
        let recodes = steps.iter().any(|step| matches!(step, Step::Schema(name) if !name.is_ascii()));
        let names = match [CLIENT, RESULTS].map(|name| settings.variable(name)) {
            _ if !recodes && !steps.iter().any(named) => None,
            [Some(Value::Named { charset, collation }), _] | [_, Some(Value::Named { charset, collation })] => {
                names_statement(charset, collation)
            }
            _ => set_names(&connection.baseline),
        };
        for step in steps {
            match step {
                Step::Set(name, _) | Step::Restore(name) if names.is_some() && CHARACTER_SETS.contains(&name) => {}
                Step::Schema(name) => {
                    // Servers report it in UTF-8, and read it in the client's character set.
                    if !name.is_ascii() {
                        self.query(connection.capabilities, b"SET character_set_client=utf8mb4");
                    }
                    self.push(code::INIT_DB, name);
                }
                Step::Set(name, value) => put_assignment(&mut set, name, value),
                Step::Restore(name) => {
                    let value = connection.baseline.variable(name).unwrap_or(&Value::Default);
                    put_assignment(&mut set, name, value);
                }
            }
        }
        if let Some(names) = &names {
            self.query(connection.capabilities, names.as_bytes());
            for name in CHARACTER_SETS {
                if let Some(value) = settings.variable(name).filter(|value| !matches!(value, Value::Named { .. })) {
                    put_assignment(&mut set, name, value);
                }
            }
        }
        if recodes && names.is_none() {
            let known = settings.variable(CLIENT).or_else(|| connection.baseline.variable(CLIENT));
            put_assignment(&mut set, CLIENT, known.unwrap_or(&Value::Default));
        }
        if !set.is_empty() {
            self.query(connection.capabilities, &set);
        }
    }
}

/// What gives a connection the character sets of its login again; None: they are not known, or not from one login.
pub(super) fn set_names(baseline: &Settings) -> Option<String> {
    let text = |name| match baseline.variable(name) {
        Some(Value::Text(value)) => Some(value.as_ref()),
        _ => None,
    };
    let [client, results, collation] = CHARACTER_SETS.map(text);
    let (client, collation) = (client?, collation?);
    if results == Some(client) && collation.starts_with(client) { names_statement(client, collation) } else { None }
}

fn names_statement(charset: &[u8], collation: &[u8]) -> Option<String> {
    let word = |name: &[u8]| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let (charset, collation) = (Some(charset).filter(|name| word(name))?, Some(collation).filter(|name| word(name))?);
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    Some(format!("SET NAMES '{}' COLLATE '{}'", text(charset), text(collation)))
}

/// Variables whose empty value is a NULL, which is reported as an empty text and refused as one.
const NULLABLE: [&[u8]; 6] = [
    b"character_set_results",
    b"default_tmp_storage_engine",
    b"external_table_secondary_storage_engine",
    b"external_table_storage_engine",
    b"innodb_ft_user_stopword_table",
    b"innodb_tmpdir",
];

/// Variables that MySQL sets to OFF when told `DEFAULT`, whatever a fresh session has.
const DEFAULT_IS_WRONG: [&[u8]; 2] = [b"foreign_key_checks", b"unique_checks"];

fn put_assignment(sql: &mut Vec<u8>, name: &[u8], value: &Value) {
    sql.extend_from_slice(if sql.is_empty() { b"SET " } else { b"," });
    sql.extend_from_slice(name);
    sql.push(b'=');
    match value {
        Value::Default if DEFAULT_IS_WRONG.contains(&name) => {
            sql.extend_from_slice(b"@@GLOBAL.");
            sql.extend_from_slice(name);
        }
        Value::Default => sql.extend_from_slice(b"DEFAULT"),
        Value::DefaultIgnoringSpace => {
            sql.extend_from_slice(b"CONCAT_WS(',',NULLIF(@@GLOBAL.sql_mode,''),'IGNORE_SPACE')");
        }
        Value::Text(text) if text.is_empty() && NULLABLE.contains(&name) => sql.extend_from_slice(b"NULL"),
        Value::Text(text) => put_literal(sql, text),
        Value::Named { charset, .. } => put_literal(sql, charset),
        Value::Literal(literal) => sql.extend_from_slice(literal),
        Value::LiteralThenNull(literal) => {
            for part in [literal, &b","[..], name, b"=NULL"] {
                sql.extend_from_slice(part);
            }
        }
    }
}

/// A literal that reads the same under every `sql_mode`.
fn put_literal(sql: &mut Vec<u8>, text: &[u8]) {
    if is_number(text) {
        sql.extend_from_slice(text);
    } else if text.iter().any(|byte| matches!(byte, b'\'' | b'\\') || !byte.is_ascii_graphic() && *byte != b' ') {
        sql.extend_from_slice(b"x'");
        for byte in text {
            sql.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        sql.push(b'\'');
    } else {
        sql.push(b'\'');
        sql.extend_from_slice(text);
        sql.push(b'\'');
    }
}

fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, fraction) = match digits.iter().position(|&byte| byte == b'.') {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &b"0"[..]),
    };
    let all_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    all_digits(whole) && all_digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_survive_every_sql_mode() {
        let cases: &[(&str, &str, &str)] = &[
            ("sql_mode", "ANSI_QUOTES,STRICT_TRANS_TABLES", "SET sql_mode='ANSI_QUOTES,STRICT_TRANS_TABLES'"),
            ("sql_mode", "", "SET sql_mode=''"),
            ("wait_timeout", "28800", "SET wait_timeout=28800"),
            ("long_query_time", "10.000000", "SET long_query_time=10.000000"),
            ("time_zone", "+02:00", "SET time_zone='+02:00'"),
            ("x", "it's", "SET x=x'69742773'"),
            ("x", "a\\b", "SET x=x'615c62'"),
            ("x", "1.", "SET x='1.'"),
            ("x", "-5", "SET x=-5"),
            ("x", "é", "SET x=x'c3a9'"),
            ("character_set_results", "", "SET character_set_results=NULL"),
        ];
        for (name, value, expected) in cases {
            let mut sql = Vec::new();
            put_assignment(&mut sql, name.as_bytes(), &Value::Text(value.as_bytes().into()));
            assert_eq!(String::from_utf8_lossy(&sql), *expected, "{name} {value}");
        }
    }
}
