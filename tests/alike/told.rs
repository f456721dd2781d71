//! Sequences after which a client is told what has changed in its session.

use super::sequences::Say::{self, Ping, Query};

/// Why each is here, and the sequence. Of several changes in one OK any order will do.
pub const TOLD: &[(&str, &[Say])] = &[
    (
        "locks are taken while the server tells what the client asked for, and no more",
        &[
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("SET session_track_schema = 1"),
            Query("UPDATE t SET v = LAST_INSERT_ID(v + 1000); LOCK TABLES t READ"),
            Query("SET session_track_schema = 0"),
            Query("UPDATE t SET v = 2"),
        ],
    ),
    (
        "what a failed CALL has changed is told when a server tells it",
        &[
            Query("CREATE PROCEDURE p() BEGIN SET @p = 1; SIGNAL SQLSTATE '45000'; END"),
            Query("SET SESSION session_track_state_change = 1"),
            Query("CALL p()"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("CREATE FUNCTION f() RETURNS INT NO SQL RETURN 7"),
            Query("CALL p()"),
            Query("SELECT f()"),
            Query("INSERT INTO t (v) VALUES (f())"),
            Query("CALL p()"),
            Query("SELECT v FROM t"),
            Query("SET @x = 1"),
        ],
    ),
    (
        "in a transaction, too",
        &[
            Query("CREATE PROCEDURE p() BEGIN SET @p = 1; SIGNAL SQLSTATE '45000'; END"),
            Query("SET SESSION session_track_state_change = 1"),
            Query("BEGIN"),
            Query("CALL p()"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("COMMIT"),
        ],
    ),
    (
        "and with what is told of the transaction",
        &[
            Query("CREATE PROCEDURE p() BEGIN SET @p = 1; SIGNAL SQLSTATE '45000'; END"),
            Query("SET SESSION session_track_state_change = 1, session_track_transaction_info = 'CHARACTERISTICS'"),
            Query("CALL p()"),
            Query("SHOW WARNINGS"),
            Query("START TRANSACTION"),
            Query("COMMIT"),
        ],
    ),
    (
        "and may be more than the server tells then",
        &[
            Query("SET TRANSACTION READ ONLY"),
            Query("SET STATEMENT time_zone = '+03:00' FOR INSERT INTO t (v) VALUES (1)"),
            Query("SELECT v FROM t"),
            Query("SET NAMES utf8mb4"),
        ],
    ),
    (
        "or to a ping",
        &[
            Query("CREATE PROCEDURE p() BEGIN SET @p = 1; SIGNAL SQLSTATE '45000'; END"),
            Query("SET SESSION session_track_state_change = 1"),
            Query("CALL p()"),
            Ping,
            Query("INSERT INTO t (v) VALUES (1)"),
        ],
    ),
];
