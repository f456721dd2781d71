//! Asks a server for the code that is stored in it: routines, triggers and views. Decides how to ask; what follows from
//! the texts is `sql`'s, when to ask the caller's.
//!
//! Servers show it to those who may change it, so several accounts may see different parts.

use std::{collections::BTreeSet, time::Duration};

use mysql_async::{Conn, Error, Row, prelude::Queryable};

use crate::sql::{Dialect, Stored, StoredKind};

/// The schemas that come with the servers. Nobody's application calls what is in them but by name, with `CALL`.
const NOT_OWN: &str = "NOT IN ('mysql','sys','information_schema','performance_schema')";

/// How often stored code was changed, by whomever: a value that differs when it was, or may have been.
///
/// # Errors
/// The server's.
pub async fn changes(conn: &mut Conn) -> Result<String, Error> {
    const COUNTED: &str = "'Com_create_function','Com_create_procedure','Com_create_trigger','Com_create_view',\
                           'Com_create_package','Com_create_package_body','Com_alter_function','Com_alter_procedure',\
                           'Com_alter_table','Com_rename_table','Com_drop_function','Com_drop_procedure',\
                           'Com_drop_trigger','Com_drop_view','Com_drop_package','Com_drop_package_body','Com_drop_db'";
    let sql = format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({COUNTED})");
    let counts: Vec<(String, String)> = conn.query(sql).await?;
    Ok(counts.into_iter().map(|(name, count)| format!("{name}={count} ")).collect())
}

/// What the account that `conn` is logged in as may see. The server gives up a question after `limit`.
///
/// # Errors
/// The server's.
pub async fn look(conn: &mut Conn, dialect: Dialect, limit: Duration) -> Result<BTreeSet<Stored>, Error> {
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
    let mut found: BTreeSet<_> = conn.query::<Row, _>(routines).await?.into_iter().filter_map(stored).collect();
    found.extend(conn.query::<Row, _>(triggers).await?.into_iter().filter_map(stored));
    found.extend(conn.query::<Row, _>(views).await?.into_iter().filter_map(stored));
    Ok(found)
}

/// What several accounts have seen, without what one of them may know of and not see.
pub fn joined(seen: BTreeSet<Stored>) -> Vec<Stored> {
    let mut all: Vec<Stored> = Vec::with_capacity(seen.len());
    // What is not shown comes in front of what is.
    for stored in seen {
        let shown = |last: &Stored| {
            last.text.is_none() && (last.kind, &last.schema, &last.name) == (stored.kind, &stored.schema, &stored.name)
        };
        if all.last().is_some_and(shown) {
            all.pop();
        }
        all.push(stored);
    }
    all
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
        let names: Vec<_> = joined(seen.into()).iter().map(|one| (one.kind, one.text.is_some())).collect();
        let (function, procedure, trigger) = (StoredKind::Function, StoredKind::Procedure, StoredKind::Trigger);
        assert_eq!(names, [(procedure, false), (function, true), (function, false), (trigger, true), (trigger, true)]);
    }
}
