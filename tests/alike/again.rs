//! Sequences in which a statement is prepared again, on a connection that did not have it.

use super::sequences::Say::{self, Execute, Prepare, Query};

/// Why it is here, and the sequence.
pub const AGAIN: &[(&str, &[Say])] = &[(
    "what is told of an execute that is refused while it is prepared again, as its text was read, is of that error",
    &[
        Query("CREATE TABLE u (id INT)"),
        Prepare("SELECT * FROM u"),
        Query("LOCK TABLES t WRITE"),
        Query("SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')"),
        Execute(&[]),
        Query("SELECT ROW_COUNT()"),
        Execute(&[]),
        Query("SHOW WARNINGS"),
        Query("SELECT \"id\" FROM t"),
    ],
)];
