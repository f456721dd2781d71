//! Which rule of the config a statement falls under.

use std::net::IpAddr;

use crate::{
    config::Rule,
    sql::{self, Mode},
};

/// What rules can ask about a statement.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub user: &'a str,
    /// The session's schema; empty if it has none.
    pub schema: &'a [u8],
    pub client: Option<IpAddr>,
    pub sql: &'a [u8],
    pub mode: Mode,
}

/// The first rule whose conditions all hold.
pub fn first_match<'a>(rules: &'a [Rule], asked: &Asked<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| matches(rule, asked))
}

/// The cheap conditions come first: the text is read only if they hold.
fn matches(rule: &Rule, asked: &Asked<'_>) -> bool {
    let any = |patterns: &[crate::config::Pattern], name: &[u8]| {
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
    };
    any(&rule.users, asked.user.as_bytes())
        && (rule.client_addresses.is_empty()
            || asked.client.is_some_and(|client| rule.client_addresses.iter().any(|net| net.contains(client))))
        && (rule.schemas.is_empty() || names_schema(rule, asked))
        && (rule.tables.is_empty() || names_table(rule, asked))
        && (rule.digests.is_empty() || rule.digests.contains(&sql::digest(asked.sql, asked.mode).0))
        && rule.regex.as_ref().is_none_or(|regex| regex.is_match(asked.sql))
}

/// A table of the statement lies in such a schema; a statement without tables is in the session's.
fn names_schema(rule: &Rule, asked: &Asked<'_>) -> bool {
    let listed = |name: &[u8]| rule.schemas.iter().any(|pattern| pattern.matches(name));
    let mut tables = sql::tables(asked.sql, asked.mode).peekable();
    if tables.peek().is_none() {
        return listed(asked.schema);
    }
    tables.any(|table| match table.schema {
        Some(schema) => listed(&schema.unquoted()),
        None => listed(asked.schema),
    })
}

fn names_table(rule: &Rule, asked: &Asked<'_>) -> bool {
    sql::tables(asked.sql, asked.mode).any(|table| {
        let name = table.name.unquoted();
        let schema = table.schema.map_or_else(|| asked.schema.into(), |schema| schema.unquoted());
        let full = [&schema, &b"."[..], &name].concat();
        rule.tables.iter().any(
            |pattern| {
                if pattern.0.contains('.') { pattern.matches(&full) } else { pattern.matches(&name) }
            },
        )
    })
}
