//! Asks a server for the code that is stored in it: routines, triggers and views. Decides how to ask; what follows from
//! the texts is `sql`'s, when to ask the caller's.
//!
//! Servers show it to those who may change it, so several accounts may see different parts.

use std::{collections::BTreeSet, time::Duration};

use mysql_async::{Conn, Error, Row, prelude::Queryable};

use super::grants::Grants;
use crate::sql::{Dialect, Stored, StoredKind};

/// The schemas that come with the servers. Nobody's application calls what is in them but by name, with `CALL`.
const NOT_OWN: &str = "NOT IN ('mysql','sys','information_schema','performance_schema')";

/// So many things that are not shown are named.
const MOST_NAMED: usize = 3;

/// How often stored code was changed, or somebody was let see it: a value that differs when it was, or may have been.
///
/// # Errors
/// The server's.
pub async fn changes(conn: &mut Conn) -> Result<String, Error> {
    const COUNTED: &str = "'Com_create_function','Com_create_procedure','Com_create_trigger','Com_create_view',\
                           'Com_create_package','Com_create_package_body','Com_alter_function','Com_alter_procedure',\
                           'Com_alter_table','Com_rename_table','Com_drop_function','Com_drop_procedure',\
                           'Com_drop_trigger','Com_drop_view','Com_drop_package','Com_drop_package_body','Com_drop_db',\
                           'Com_grant','Com_grant_role','Com_grant_roles'";
    let sql = format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({COUNTED})");
    let counts: Vec<(String, String)> = conn.query(sql).await?;
    Ok(counts.into_iter().map(|(name, count)| format!("{name}={count} ")).collect())
}

/// What accounts see.
#[derive(Debug, Default)]
pub struct Seen {
    code: BTreeSet<Stored>,
    pub grants: Grants,
}

/// What the account that `conn` is logged in as may see. The server gives up a question after `limit`.
///
/// # Errors
/// The server's.
pub async fn look(conn: &mut Conn, dialect: Dialect, limit: Duration) -> Result<Seen, Error> {
    conn.query_drop(match dialect {
        Dialect::MySql => format!("SET max_execution_time = {}", limit.as_millis()),
        Dialect::MariaDb => format!("SET max_statement_time = {}", limit.as_secs_f64()),
    })
    .await?;
    let routines = format!(
        "SELECT routine_type, routine_schema, routine_name, IF(routine_body = 'SQL', routine_definition, NULL), sql_mode \
         FROM information_schema.routines WHERE routine_schema {NOT_OWN}"
    );
    let triggers = format!(
        "SELECT 'TRIGGER', event_object_schema, event_object_table, action_statement, sql_mode \
         FROM information_schema.triggers WHERE event_object_schema {NOT_OWN}"
    );
    // Views are kept as the server has read them, whatever mode they were created under.
    let views = format!(
        "SELECT 'VIEW', table_schema, table_name, NULLIF(view_definition, ''), '' \
         FROM information_schema.views WHERE table_schema {NOT_OWN}"
    );
    let mut seen = Seen::default();
    for sql in [routines, triggers, views] {
        seen.code.extend(conn.query::<Row, _>(sql).await?.into_iter().filter_map(stored));
    }
    for line in conn.query::<String, _>("SHOW GRANTS").await? {
        seen.grants.read(&line);
    }
    if dialect == Dialect::MariaDb {
        seen.grants.knows_of_triggers();
    }
    Ok(seen)
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        self.code.extend(other.code);
        self.grants.add(other.grants);
    }

    /// All of it, without what one account knows of and does not see, but another does.
    pub fn code(&self) -> Vec<Stored> {
        let mut all: Vec<Stored> = Vec::with_capacity(self.code.len());
        // What is not shown comes in front of what is.
        for stored in &self.code {
            let shown = |last: &Stored| {
                last.text.is_none()
                    && (last.kind, &last.schema, &last.name) == (stored.kind, &stored.schema, &stored.name)
            };
            if all.last().is_some_and(shown) {
                all.pop();
            }
            all.push(stored.clone());
        }
        all
    }

    /// What none of the accounts sees, what follows from that, and what to grant to `user`.
    pub fn gaps(&self, dialect: Dialect, user: &str) -> Vec<String> {
        let code = self.code();
        let unshown = |kind: fn(StoredKind) -> bool| {
            let unshown = code.iter().filter(|stored| stored.text.is_none() && kind(stored.kind));
            named(unshown.map(|Stored { schema, name, .. }| {
                format!("`{}`.`{}`", String::from_utf8_lossy(schema), String::from_utf8_lossy(name))
            }))
        };
        let show_routines = match dialect {
            Dialect::MySql => "SHOW_ROUTINE ON *.*",
            Dialect::MariaDb => "SELECT ON mysql.proc",
        };
        let (keeps, unnoticed) = ("who uses one keeps the connection", "what they leave behind goes unnoticed");
        let routines = unshown(|kind| !matches!(kind, StoredKind::Trigger | StoredKind::View));
        let triggers = named(self.grants.unseen().into_iter().map(str::to_owned));
        let gaps = [
            ("the texts of routines", routines, keeps, show_routines),
            ("the texts of views", unshown(|kind| kind == StoredKind::View), keeps, "SELECT, SHOW VIEW ON *.*"),
            ("the texts of triggers on", unshown(|kind| kind == StoredKind::Trigger), keeps, "TRIGGER ON *.*"),
            ("triggers, if any, on", triggers, unnoticed, "TRIGGER ON *.*"),
        ];
        let told = gaps.into_iter().filter_map(|(what, names, follows, grant)| {
            let names = names?;
            Some(format!("{what} {names} are not shown to Weir's accounts, and {follows}: GRANT {grant} TO {user:?}"))
        });
        told.collect()
    }
}

/// The first of several names; None: there are none.
fn named(names: impl Iterator<Item = String>) -> Option<String> {
    let mut names: Vec<String> = names.take(MOST_NAMED + 1).collect();
    if names.len() > MOST_NAMED {
        names[MOST_NAMED] = "…".to_owned();
    }
    (!names.is_empty()).then(|| names.join(", "))
}

fn stored(row: Row) -> Option<Stored> {
    let mut fields = row.unwrap().into_iter().map(|value| match value {
        mysql_async::Value::Bytes(bytes) => Some(bytes),
        _ => None,
    });
    let mut field = || fields.next().flatten();
    let kind = match field()?.as_slice() {
        b"PROCEDURE" => StoredKind::Procedure,
        b"FUNCTION" => StoredKind::Function,
        b"TRIGGER" => StoredKind::Trigger,
        b"VIEW" => StoredKind::View,
        _ => StoredKind::Package,
    };
    let (schema, name, text) = (field()?, field()?, field());
    let mode = field().unwrap_or_default();
    let has = |name: &[u8]| mode.split(|byte| *byte == b',').any(|word| word == name);
    let (ansi_quotes, no_backslash_escapes) = (has(b"ANSI_QUOTES"), has(b"NO_BACKSLASH_ESCAPES"));
    Some(Stored { kind, schema, name, text, ansi_quotes, no_backslash_escapes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_account_does_not_see_another_may() {
        let stored = |kind, name: &str, text: Option<&str>| Stored {
            kind,
            schema: b"app".to_vec(),
            name: name.as_bytes().to_vec(),
            text: text.map(|text| text.as_bytes().to_vec()),
            ansi_quotes: false,
            no_backslash_escapes: false,
        };
        let seen = [
            stored(StoredKind::Function, "f", None),
            stored(StoredKind::Function, "f", Some("RETURN 1")),
            stored(StoredKind::Function, "g", None),
            stored(StoredKind::Procedure, "f", None),
            stored(StoredKind::Trigger, "t", Some("SET NEW.a = 1")),
            stored(StoredKind::Trigger, "t", Some("SET NEW.b = 1")),
        ];
        let seen = Seen { code: seen.into(), ..Seen::default() };
        let names: Vec<_> = seen.code().iter().map(|one| (one.kind, one.text.is_some())).collect();
        let (function, procedure, trigger) = (StoredKind::Function, StoredKind::Procedure, StoredKind::Trigger);
        assert_eq!(names, [(procedure, false), (function, true), (function, false), (trigger, true), (trigger, true)]);
    }
}
