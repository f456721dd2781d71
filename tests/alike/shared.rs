//! Sequences in which another client uses the same connections to the servers. Nobody asks for counts: who does is
//! given more care.

use super::sequences::Say::{self, Beside, Execute, Ping, Prepare, Query};

/// Why each is here, and the sequence.
pub const SHARED: &[(&str, &[Say])] = &[
    (
        "an id that the statement names is not the insert id, though another session had it on the connection",
        &[
            Query("INSERT INTO t (v) VALUES (6)"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("REPLACE INTO t (id, v) VALUES (2, 8)"),
            Query("SELECT LAST_INSERT_ID()"),
        ],
    ),
    (
        "nor is that of a row that is updated",
        &[
            Query("CREATE UNIQUE INDEX u ON t (v)"),
            Query("INSERT INTO t (v) VALUES (6)"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("INSERT INTO t (v) VALUES (7) ON DUPLICATE KEY UPDATE v = 8"),
            Query("SELECT LAST_INSERT_ID()"),
        ],
    ),
    (
        "nor one that was to be made for a row that is ignored",
        &[
            Query("CREATE UNIQUE INDEX u ON t (v)"),
            Query("INSERT INTO t (v) VALUES (6)"),
            Query("INSERT IGNORE INTO t (id, v) VALUES (50, 60), (NULL, 60)"),
            Query("SELECT LAST_INSERT_ID()"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("INSERT IGNORE INTO t (id, v) VALUES (70, 80), (NULL, 80)"),
            Query("SELECT LAST_INSERT_ID()"),
            Query("INSERT IGNORE INTO t (id, v) VALUES (90, 80), (NULL, 100)"),
            Query("SELECT LAST_INSERT_ID()"),
        ],
    ),
    (
        "nor one that is selected",
        &[
            Query("CREATE TABLE copy (id INT PRIMARY KEY AUTO_INCREMENT, v INT)"),
            Query("INSERT INTO t (v) VALUES (6)"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("INSERT INTO copy SELECT id, v FROM t"),
            Query("SELECT LAST_INSERT_ID()"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("CREATE TABLE more (id INT PRIMARY KEY AUTO_INCREMENT) SELECT id FROM t ORDER BY id"),
            Query("SELECT LAST_INSERT_ID()"),
        ],
    ),
    (
        "nor one that is bound",
        &[
            Query("INSERT INTO t (v) VALUES (6)"),
            Prepare("REPLACE INTO t (id, v) VALUES (?, 8)"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Execute(&["2"]),
            Query("SELECT LAST_INSERT_ID()"),
        ],
    ),
    (
        "nor one that is named in a transaction behind another",
        &[
            Query("INSERT INTO t (v) VALUES (6)"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("BEGIN"),
            Query("REPLACE INTO t (id, v) VALUES (9, 9)"),
            Query("REPLACE INTO t (id, v) VALUES (2, 8)"),
            Query("COMMIT"),
            Query("SELECT LAST_INSERT_ID()"),
        ],
    ),
    (
        "an insert id that only the connection of before knows is asked for before the next is made elsewhere",
        &[
            Query("INSERT INTO t (v) VALUES (6)"),
            Query("SELECT 1; REPLACE INTO t (id, v) VALUES (5, 8); DROP TABLE missing"),
            Ping,
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("INSERT INTO t (id, v) VALUES (5, 8)"),
            Query("SELECT LAST_INSERT_ID()"),
        ],
    ),
    (
        "a transaction that SET autocommit = 1 ends leaves its access mode to the next",
        &[
            Query("BEGIN"),
            Query("SET SESSION TRANSACTION READ ONLY"),
            Query("BEGIN"),
            Query("SET autocommit = 0"),
            Query("SELECT v FROM t"),
            Query("SET autocommit = 1"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("DELETE FROM t WHERE v = 100"),
            Query("DELETE FROM t WHERE v = 100"),
        ],
    ),
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
    (
        "what Weir asks of its own comes in wide characters, too",
        &[
            Query("SET character_set_results = utf32"),
            Query("INSERT INTO t (v) SELECT v + 1 FROM t ORDER BY id LIMIT 2"),
            Query("INSERT INTO t (id, v) VALUES (50, 9)"),
            Beside("INSERT INTO t (v) VALUES (7)"),
            Query("SELECT LAST_INSERT_ID()"),
            Query("SET character_set_results = utf16"),
            Query("SET @@sql_select_limit = 1, @@character_set_connection = DEFAULT"),
            Query("SELECT @@sql_select_limit, @@collation_connection"),
            Query("SELECT GET_LOCK(CONCAT('wide ', DATABASE()), 0)"),
            Query("SELECT IS_USED_LOCK(CONCAT('wide ', DATABASE())) IS NULL"),
            Query("SET character_set_results = 56"),
            Query("SET @a = 'x', @b = 7"),
            Query("SELECT @a, @b, @@character_set_results"),
        ],
    ),
];
