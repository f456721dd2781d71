//! Sequences in which another client uses the same connections to the servers. Nobody asks for counts: who does is
//! given more care.

use super::sequences::Say::{self, Beside, Execute, Ping, Prepare, Query};

/// Why each is here, and the sequence.
pub const SHARED: &[(&str, &[Say])] = &[
    (
        "a prepared CREATE TABLE commits, and so runs where no more than reads may follow, wherever it was prepared",
        &[
            Prepare("CREATE TABLE IF NOT EXISTS c (id INT)"),
            Beside("BEGIN"),
            Query("SET TRANSACTION READ ONLY"),
            Execute(&[]),
            Query("INSERT INTO t (v) VALUES (6)"),
            Beside("COMMIT"),
        ],
    ),
    (
        "so it does in a transaction",
        &[
            Prepare("CREATE TABLE d SELECT ? AS id"),
            Beside("BEGIN"),
            Query("SET TRANSACTION READ ONLY"),
            Query("BEGIN"),
            Execute(&["5"]),
            Query("INSERT INTO t (v) VALUES (6)"),
            Query("COMMIT"),
            Beside("COMMIT"),
        ],
    ),
    (
        "but not in a session that only reads",
        &[
            Prepare("CREATE TABLE e (id INT)"),
            Beside("BEGIN"),
            Query("SET SESSION TRANSACTION READ ONLY"),
            Query("BEGIN"),
            Query("SELECT v FROM t"),
            Execute(&[]),
            Ping,
            Query("COMMIT"),
            Beside("COMMIT"),
        ],
    ),
];
