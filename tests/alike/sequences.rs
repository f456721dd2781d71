//! Sequences of commands, and why each is here.

/// What a client says.
#[derive(Debug, Clone, Copy)]
pub enum Say {
    Query(&'static str),
    /// `COM_CHANGE_USER` to itself, with a collation.
    Change(u8),
    Prepare(&'static str),
    /// The statement that was prepared last, with these texts for parameters.
    Execute(&'static [&'static str]),
    /// The same, without the values of some.
    Partly(&'static [Option<&'static str>]),
    /// The same statement, with these bytes for its parameters: which are NULL, whether types follow, the rest.
    Bare(&'static [u8]),
    /// So of the id that stands for the statement prepared last, in MariaDB.
    BareLatest(&'static [u8]),
    /// Long data for a parameter of that statement.
    Long(u8, &'static str),
    Reset,
    Ping,
    /// Another client's.
    Beside(&'static str),
}
use Say::{Bare, BareLatest, Change, Execute, Long, Partly, Ping, Prepare, Query, Reset};

/// Why it is here, and the sequence. Only the last reply need show it; all are compared.
pub const SEQUENCES: &[(&str, &[Say])] = &[
    (
        "a reset goes back to the character set of the change of user, or of the server",
        &[Change(8), Reset, Query("SELECT CONCAT('a', 'ü'), @@collation_connection"), Reset, Query("SELECT 'x'")],
    ),
    (
        "what Weir asks after an error opens no transaction",
        &[
            Query("SET completion_type = 1"),
            Query("CALL missing_procedure()"),
            Query("SET NAMES utf8mb4 COLLATE utf8mb4_bin"),
            Query("SET completion_type = DEFAULT"),
        ],
    ),
    (
        "the first of several statements is still in the read-only transaction",
        &[
            Query("START TRANSACTION READ ONLY"),
            Query("INSERT INTO t (v) VALUES (1); CREATE TABLE other (id INT)"),
            Query("ROLLBACK"),
        ],
    ),
    (
        "what begins no other transaction does not end the read-only one",
        &[
            Query("START TRANSACTION READ ONLY"),
            Query("UNLOCK TABLES"),
            Prepare("CREATE TABLE c (id INT)"),
            Query("COMMIT"),
        ],
    ),
    (
        "BEGIN behind a read-only transaction is read-only in MySQL, and not in MariaDB",
        &[
            Query("START TRANSACTION READ ONLY"),
            Query("BEGIN"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("START TRANSACTION READ WRITE"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("COMMIT"),
        ],
    ),
    (
        "the insert id outlives the transaction on the replica that it was set in",
        &[
            Query("START TRANSACTION READ ONLY"),
            Query("SELECT LAST_INSERT_ID(5)"),
            Query("CREATE TABLE c (id INT)"),
            Query("SELECT LAST_INSERT_ID(), @@identity"),
        ],
    ),
    (
        "a question behind an error does not pin the read-only transaction to its replica",
        &[
            Query("START TRANSACTION READ ONLY"),
            Query("UPDATE t SET v = 1"),
            Query("SELECT ROW_COUNT()"),
            Query("LOCK TABLES t WRITE"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("UNLOCK TABLES"),
        ],
    ),
    (
        "tables that are locked stay so behind a statement that commits",
        &[
            Query("LOCK TABLES t WRITE"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("CREATE INDEX i ON t (v)"),
            Query("SELECT COUNT(*) FROM mysql.help_topic"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("START TRANSACTION"),
            Query("SELECT COUNT(*) FROM t"),
            Query("COMMIT"),
        ],
    ),
    (
        "a ping behind an error tells whether the transaction goes on",
        &[
            Query("BEGIN"),
            Query("SELECT nothing"),
            Ping,
            Query("SET STATEMENT nothing = 1 FOR SELECT 1"),
            Ping,
            Query("CALL missing_procedure()"),
            Query("SHOW WARNINGS"),
            Ping,
            Query("COMMIT"),
        ],
    ),
    (
        "counts of what is asked about later are not those of Weir's own questions",
        &[
            Query("SELECT ROW_COUNT()"),
            Query("INSERT INTO t (id, v) VALUES (1, 1) ON DUPLICATE KEY UPDATE v = v + 1"),
            Query("SELECT ROW_COUNT(), LAST_INSERT_ID()"),
            Query("INSERT INTO t (id) VALUES (1)"),
            Query("SELECT ROW_COUNT()"),
            Query("SHOW WARNINGS"),
            Query("SET NAMES latin1"),
            Query("SELECT ROW_COUNT()"),
            Query("SET NAMES utf8mb4"),
            Query("SELECT id FROM t UNION SELECT 7"),
            Query("SELECT FOUND_ROWS(), LAST_INSERT_ID()"),
        ],
    ),
    (
        "what ran before the statement that failed keeps the connection",
        &[Query("SELECT @x := 203; SELECT * FROM missing; CREATE TEMPORARY TABLE x (id INT)"), Query("SELECT @x")],
    ),
    (
        "what a failed SET has changed is still known after a question",
        &[
            Query("SET sql_select_limit = 1, time_zone = 'nowhere'"),
            Query("SHOW COUNT(*) ERRORS"),
            Query("SELECT @@sql_select_limit"),
            Query("SELECT 1 AS x UNION SELECT 2"),
            Query("SET sql_select_limit = DEFAULT"),
            Query("SELECT 1 AS x UNION SELECT 2"),
        ],
    ),
    (
        "a question that sets a variable pins to the writer, where what follows can be written",
        &[
            Query("SELECT v FROM t"),
            Query("GET DIAGNOSTICS @n = NUMBER"),
            Query("INSERT INTO t (v) VALUES (5)"),
            Query("SELECT @n"),
        ],
    ),
    (
        "bound texts are in the collation that SET NAMES chose, wherever they are bound",
        &[
            Query("SET NAMES utf8mb4 COLLATE utf8mb4_bin"),
            Prepare("SELECT ?"),
            Execute(&["ü"]),
            Execute(&["ü"]),
            Execute(&["ü"]),
        ],
    ),
    (
        "what no server can parse does not end the read-only transaction",
        &[
            Change(45),
            Query("START TRANSACTION READ ONLY"),
            Query("LOCK TABLES t WRITE"),
            Query("SELECT 1"),
            Query("CREATE TABLE"),
            Query("DROP TABLE nothing"),
            Query("SELECT 1"),
        ],
    ),
    (
        "a character set by the number of one of its collations is that collation",
        &[
            Query("SET @x = 50"),
            Query("SET character_set_results = @x"),
            Query("SELECT 'x'"),
            Query("SELECT 'x'"),
            Query("SET NAMES utf8mb4"),
            Query("SET character_set_results = 50"),
            Query("SELECT 'x'"),
        ],
    ),
    (
        "so is one by a number that a function gives",
        &[Query("SET character_set_results = ABS(50)"), Query("SELECT 'x'"), Query("SELECT @@character_set_results")],
    ),
    (
        "and one by a number that is computed from texts",
        &[Query("SET character_set_results = CONCAT('5', '0') + 0"), Query("SELECT 'x'"), Query("SELECT 'y'")],
    ),
    (
        "warnings of a read beside a temporary table are asked for where it ran",
        &[
            Query("CREATE TEMPORARY TABLE x (id INT)"),
            Query("SELECT 1/0"),
            Query("SELECT @@warning_count"),
            Query("SELECT 1/0"),
            Query("SHOW WARNINGS"),
            Query("SELECT COUNT(*) FROM t"),
            Query("SELECT @@warning_count"),
        ],
    ),
    (
        "a read beside a temporary table is asked for its rows and for the insert id of before",
        &[
            Query("SELECT ROW_COUNT()"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("CREATE TEMPORARY TABLE x (id INT)"),
            Query("SELECT DATABASE()"),
            Query("SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID()"),
            Query("SELECT id FROM t"),
            Query("SELECT ROW_COUNT(), FOUND_ROWS(), LAST_INSERT_ID()"),
        ],
    ),
    (
        "what is told of the session can be chosen in a transaction",
        &[
            Query("SET session_track_schema = 0"),
            Query("BEGIN"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("SELECT @@session_track_schema"),
            Query("SET session_track_schema = 1"),
            Query("SELECT @@session_track_schema"),
            Query("COMMIT"),
            Query("SELECT @@session_track_schema"),
        ],
    ),
    (
        "a procedure that Weir asks for opens no transaction",
        &[Query("CREATE PROCEDURE p() SET @p = 1"), Query("SET autocommit = 0"), Query("CALL p()"), Query("SELECT @p")],
    ),
    (
        "a savepoint begins the transaction of autocommit=0",
        &[
            Query("SET autocommit = 0"),
            Query("SAVEPOINT s"),
            Query("SELECT v FROM t"),
            Query("INSERT INTO t (v) VALUES (1)"),
            Query("ROLLBACK TO s"),
            Query("COMMIT"),
            Query("SAVEPOINT s"),
            Query("ROLLBACK TO s"),
        ],
    ),
    (
        "whoever kills himself is interrupted, or gone",
        &[
            Query("BEGIN"),
            Query("KILL QUERY CONNECTION_ID()"),
            Query("SELECT v FROM t"),
            Query("KILL CONNECTION CONNECTION_ID()"),
        ],
    ),
    (
        "a variable that no session can set is not set",
        &[
            Query("SET @@max_allowed_packet = 1024; SELECT 1"),
            Query("SELECT @@max_allowed_packet > 1024"),
            Query("SELECT @@max_allowed_packet > 1024; SELECT v FROM t"),
        ],
    ),
    (
        "a character set that was set behind a SET NAMES in the same text is not that of the names",
        &[
            Query("SET NAMES utf8mb4; SET character_set_results = NULL"),
            Query("SELECT @@character_set_results, _latin1'x'"),
            Query("SELECT _latin1'x' AS x, 1"),
        ],
    ),
    (
        "what a text sets behind a SET STATEMENT stays",
        &[
            Query("SET STATEMENT sql_select_limit = 1 FOR SELECT v FROM t; SET collation_connection = utf8mb4_bin"),
            Query("SELECT (SELECT COUNT(*) FROM t) AS x, CONCAT('a', 'b')"),
        ],
    ),
    (
        "a ping behind a SET STATEMENT tells the session's mode",
        &[Query("SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT v FROM t"), Ping, Query("SELECT 1")],
    ),
    (
        "a sequence's last value is the session's own",
        &[
            Query("SELECT LASTVAL(sq)"),
            Query("CREATE SEQUENCE sq"),
            Query("SELECT NEXTVAL(sq)"),
            Query("SELECT COUNT(*) FROM t"),
            Query("SELECT LASTVAL(sq)"),
            Query("SELECT PREVIOUS VALUE FOR sq"),
        ],
    ),
    (
        "long data stays for the next execute when one was malformed, wherever that runs",
        &[
            Prepare("SELECT COUNT(*) FROM t WHERE v = ? OR v = ?"),
            Long(1, "1"),
            Partly(&[None, None]),
            Query("BEGIN"),
            Partly(&[Some("1"), None]),
            Execute(&["1", "2"]),
            Long(0, "1"),
            Execute(&["looks like malformed", "2"]),
            Execute(&["1", "2"]),
        ],
    ),
    (
        "long data for a parameter that is not there fails every execute from then on",
        &[
            Prepare("SELECT COUNT(*) FROM t WHERE v = ?"),
            Long(9, "1"),
            Execute(&["1"]),
            Query("BEGIN"),
            Execute(&["1"]),
            Execute(&["1"]),
        ],
    ),
    (
        "an execute that never had types is told of that first, though its text cannot be prepared any more",
        &[
            Prepare("SELECT v FROM t WHERE id = ? OR id = ?"),
            Query("CREATE TEMPORARY TABLE t (other INT)"),
            Bare(b"\x00\x00\x011\x011"),
            Bare(b"\x00\x00\x011"),
            Bare(b"\x01\x00\x091"),
            Bare(b"\x03\x00"),
            BareLatest(b"\x00\x00\x011\x011"),
            BareLatest(b"\x03\x00"),
            Execute(&["1", "2"]),
            Bare(b"\x00\x00\x011\x011"),
            Query("DROP TEMPORARY TABLE t"),
            Bare(b"\x00\x00\x011\x011"),
        ],
    ),
    (
        "so it is in a transaction, which goes on",
        &[
            Query("CREATE TABLE s (id INT)"),
            Prepare("SELECT id FROM s WHERE id = ?"),
            Query("DROP TABLE s"),
            Query("BEGIN"),
            Bare(b"\x00\x00\x011"),
            Query("COMMIT"),
        ],
    ),
    (
        "and while other tables are locked, or behind XA END",
        &[
            Query("CREATE TABLE s (id INT)"),
            Prepare("SELECT id FROM s WHERE id = ?"),
            Query("LOCK TABLES t WRITE"),
            Bare(b"\x00\x00\x011"),
            Query("UNLOCK TABLES"),
            Query("XA START 'x'"),
            Query("XA END 'x'"),
            Bare(b"\x00\x00\x011"),
            Query("XA ROLLBACK 'x'"),
        ],
    ),
    (
        "long data is used up by an execute whose text cannot be prepared any more",
        &[
            Query("CREATE TABLE s (id INT)"),
            Prepare("SELECT id FROM s WHERE id = ?"),
            Query("DROP TABLE s"),
            Long(0, "1"),
            Execute(&["1"]),
            Query("CREATE TABLE s (id INT)"),
            Query("INSERT INTO s VALUES (7)"),
            Execute(&["7"]),
        ],
    ),
    (
        "the cursors of a procedure are none of the client's",
        &[
            Query("INSERT INTO t (v) VALUES (1), (2)"),
            Query(
                "CREATE PROCEDURE p() BEGIN DECLARE n INT; DECLARE c CURSOR FOR SELECT v FROM t; OPEN c; FETCH c INTO n; \
                 SELECT n; SELECT 5; END",
            ),
            Query("CALL p()"),
            Query("SELECT v FROM t"),
            Prepare("CALL p()"),
            Execute(&[]),
            Query("SELECT v FROM t"),
        ],
    ),
    (
        "warnings of a read beside a temporary table are shown",
        &[Query("CREATE TEMPORARY TABLE x (id INT)"), Query("SELECT 1/0"), Query("SHOW WARNINGS")],
    ),
];
