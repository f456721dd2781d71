//! Statements, one after the other: what pins the session, for how long, and what pins nobody.

use mysql_async::ChangeUserOpts;
use weir::telemetry::Pin;

use super::{bed::flavors, pin, run, with_schema};

/// Statements, what pins the session behind them, and what ends that.
const PINS: &[(&str, Pin, &str)] = &[
    ("BEGIN", Pin::Transaction, "COMMIT"),
    ("START TRANSACTION READ ONLY; SELECT * FROM t", Pin::Transaction, "ROLLBACK"),
    ("START TRANSACTION WITH CONSISTENT SNAPSHOT", Pin::Transaction, "COMMIT"),
    ("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (9, 9); ROLLBACK TO s", Pin::Transaction, "ROLLBACK"),
    ("BEGIN; COMMIT AND CHAIN", Pin::Transaction, "ROLLBACK"),
    ("BEGIN; !INSERT INTO t VALUES (1, 1)", Pin::Transaction, "ROLLBACK"),
    ("BEGIN; !SELECT nonsense", Pin::Transaction, "ROLLBACK"),
    ("BEGIN; !nonsense", Pin::Transaction, "ROLLBACK"),
    (
        "BEGIN; INSERT INTO t VALUES (9, 9)",
        Pin::Transaction,
        "CREATE TABLE made (id INT); DROP TABLE made; DELETE FROM t WHERE id = 9",
    ),
    ("SET autocommit = 0; SELECT * FROM t", Pin::Transaction, "COMMIT"),
    ("SET autocommit = 0; SELECT * FROM t", Pin::Transaction, "SET autocommit = 1"),
    ("XA START 'x'; INSERT INTO t VALUES (9, 9)", Pin::Transaction, "XA END 'x'; XA ROLLBACK 'x'"),
    ("CALL opens()", Pin::Transaction, "ROLLBACK"),
    ("!CALL opens_and_fails()", Pin::Transaction, "ROLLBACK"),
    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Pin::NextTransaction, "SELECT * FROM t"),
    ("SET TRANSACTION READ ONLY", Pin::NextTransaction, "BEGIN; COMMIT"),
    ("SET TRANSACTION READ ONLY; BEGIN", Pin::Transaction, "COMMIT"),
    ("LOCK TABLES t WRITE", Pin::TableLock, "UNLOCK TABLES"),
    ("SELECT GET_LOCK('l', 0)", Pin::AdvisoryLock, "SELECT RELEASE_ALL_LOCKS()"),
    ("SELECT GET_LOCK('l', 0)", Pin::AdvisoryLock, "SELECT RELEASE_LOCK('l')"),
    ("SELECT GET_LOCK('l', 0), GET_LOCK('m', 0); DO RELEASE_LOCK('m')", Pin::AdvisoryLock, "DO RELEASE_LOCK('l')"),
    ("DO GET_LOCK('l', 0); DO GET_LOCK('l', 0); DO RELEASE_LOCK('l')", Pin::AdvisoryLock, "DO RELEASE_LOCK('l')"),
    ("SELECT GET_LOCK(CONCAT('l', 'm'), 0); SELECT RELEASE_LOCK('lm')", Pin::AdvisoryLock, "DO RELEASE_ALL_LOCKS()"),
    ("CREATE TEMPORARY TABLE mine (id INT)", Pin::TemporaryTable, "DROP TEMPORARY TABLE mine"),
    ("CREATE TEMPORARY TABLE mine (id INT)", Pin::TemporaryTable, "DROP TABLE IF EXISTS nobodys, app.mine"),
    ("CREATE TEMPORARY TABLE mine SELECT * FROM t", Pin::TemporaryTable, "DROP TABLE mine"),
    (
        "CREATE TEMPORARY TABLE mine (id INT); CREATE TEMPORARY TABLE ours (id INT); DROP TABLE mine",
        Pin::TemporaryTable,
        "DROP TABLE ours",
    ),
    (
        "CREATE TEMPORARY TABLE mine (id INT); ALTER TABLE mine ADD v INT; ALTER TABLE mine RENAME TO ours",
        Pin::TemporaryTable,
        "DROP TABLE ours",
    ),
    (
        "CREATE TEMPORARY TABLE mine (id INT); BEGIN; DROP TEMPORARY TABLE mine; ROLLBACK; \
         CREATE TEMPORARY TABLE mine (id INT)",
        Pin::TemporaryTable,
        "DROP TEMPORARY TABLE mine",
    ),
    (
        "CREATE TEMPORARY TABLE mine (id INT); !DROP TABLE mine, nobodys",
        Pin::TemporaryTable,
        "DROP TABLE IF EXISTS mine",
    ),
    ("PREPARE s FROM 'SELECT 1'; EXECUTE s", Pin::TextPrepared, "DEALLOCATE PREPARE s"),
    ("PREPARE s FROM 'SELECT 1'; PREPARE r FROM 'SELECT 2'; DROP PREPARE s", Pin::TextPrepared, "DROP PREPARE r"),
    ("HANDLER t OPEN", Pin::Handler, "HANDLER t CLOSE"),
    ("HANDLER t OPEN AS h; HANDLER h READ FIRST", Pin::Handler, "HANDLER h CLOSE"),
    ("FLUSH TABLES WITH READ LOCK", Pin::GlobalLock, "UNLOCK TABLES"),
    ("FLUSH TABLES t WITH READ LOCK", Pin::TableLock, "UNLOCK TABLES"),
];

/// What pins a session until it is reset.
const LASTING: &[(&str, Pin)] = &[
    ("SET @a = 1 + 1", Pin::UserVariable),
    ("SET @a = @@sql_mode, time_zone = '+01:00'", Pin::UserVariable),
    ("SET @a = 1, @b = (SELECT MAX(id) FROM t)", Pin::UserVariable),
    ("SET @a = 1; SELECT @a := @a + 1", Pin::UserVariable),
    ("!SELECT @a := id, nonsense(id) FROM t", Pin::UserVariable),
    ("SELECT 1 INTO @a", Pin::UserVariable),
    ("SELECT @a := 1", Pin::UserVariable),
    (
        "CREATE TEMPORARY TABLE mine (id INT); ALTER TABLE mine ADD v INT, RENAME TO ours; DROP TABLE ours",
        Pin::TemporaryTable,
    ),
    ("PREPARE s FROM 'SELECT 1 INTO @a'; EXECUTE s; DEALLOCATE PREPARE s", Pin::Unattributed),
    ("PREPARE s FROM 'SET @a = 1'; EXECUTE s; DEALLOCATE PREPARE s", Pin::Unattributed),
    ("SET ROLE reporting", Pin::Role),
    ("SET session_track_schema = 0, time_zone = '+01:00'", Pin::SessionTracking),
    ("!SET session_track_schema = 0, time_zone = 'nowhere'", Pin::SessionTracking),
    ("SET timestamp = 5", Pin::Variable),
    ("SET insert_id = 5", Pin::Variable),
    ("SET rand_seed1 = 5", Pin::Variable),
    ("INSERT INTO triggered VALUES (1); DELETE FROM triggered", Pin::Unattributed),
    ("CALL sets_both()", Pin::Unattributed),
    ("CALL selects_into()", Pin::Unattributed),
    ("CALL assigns()", Pin::Unattributed),
    ("CALL locks()", Pin::Unattributed),
    ("CALL takes_role()", Pin::Unattributed),
    ("CALL calls()", Pin::Unattributed),
    ("CALL runs('SELECT 1 INTO @hidden')", Pin::Unattributed),
    ("CALL unscoped()", Pin::Unattributed),
    ("CALL sets_session()", Pin::Unattributed),
    ("CALL sets_mode()", Pin::Unattributed),
    ("CALL makes_table()", Pin::Unattributed),
    ("!CALL sets_and_fails()", Pin::Unattributed),
    ("SELECT sets_it()", Pin::Unattributed),
    ("SELECT CONNECTION_ID(), 1", Pin::ConnectionId),
    ("SELECT CONNECTION_ID() FROM t", Pin::ConnectionId),
    ("UPDATE t SET v = CONNECTION_ID()", Pin::ConnectionId),
    ("DO CONNECTION_ID(); SELECT 1", Pin::ConnectionId),
    ("PREPARE s FROM 'DO CONNECTION_ID()'; EXECUTE s; DEALLOCATE PREPARE s", Pin::Unattributed),
    ("!SELECT sets_and_fails()", Pin::Unattributed),
];

/// What pins nobody.
const FREE: &[&str] = &[
    "SET session_track_schema = 0",
    "SET session_track_schema = 1, @@session_track_state_change = ON",
    "!SET session_track_schema = 5",
    "SELECT @@session_track_schema",
    "SELECT 1",
    "SELECT * FROM t",
    "SELECT * FROM t FOR UPDATE",
    "SELECT computes()",
    "SELECT CONNECTION_ID()",
    "SELECT UUID_SHORT()",
    "SHOW PROCESSLIST",
    "!SELECT CONNECTION_ID(), nonsense",
    "SELECT @@version",
    "SET sql_mode = 'ANSI'",
    "SET NAMES latin1",
    "SET @a = 1",
    "SET @a = 1, @c = NULL, time_zone = '+01:00'",
    "SET @b := 'x', @c = 0x41; SET NAMES latin1; SET @b = \"it's\"",
    "SET @a = 1; SELECT @a, @nobodys; INSERT INTO t VALUES (@a + 100, @a); DELETE FROM t WHERE id = @a + 100",
    "!SET @a = 1, time_zone = 'nowhere'",
    "SELECT IS_FREE_LOCK('l'), RELEASE_LOCK('l')",
    "DROP TEMPORARY TABLE IF EXISTS nobodys",
    "SET SESSION TRANSACTION READ ONLY",
    "USE app2",
    "CALL nothing()",
    "SET TRANSACTION READ ONLY; CALL nothing(); SELECT * FROM t",
    "CALL app.writes(1)",
    "!CALL missing()",
    "!CALL writes()",
    "BEGIN; CALL writes(1); ROLLBACK",
    "UPDATE t SET v = v + 1",
    "!INSERT INTO t VALUES (1, 1)",
    "!SELECT nonsense",
    "!nonsense",
    "!SET time_zone = 'nowhere'",
    "!USE nowhere",
    "BEGIN; COMMIT",
    "SET autocommit = 0",
    "CREATE TABLE made (id INT); DROP TABLE made",
];

#[tokio::test]
async fn a_session_is_pinned_as_long_as_it_must_be() {
    for flavor in flavors() {
        let bed = with_schema(flavor).await;
        let mut wrong = Vec::new();
        let mut expect = |case: String, found: Option<&'static str>, expected: Option<Pin>| {
            if found != expected.map(Pin::label) {
                wrong.push(format!("{case}: {found:?}, not {expected:?}"));
            }
        };
        for (statements, expected, end) in PINS {
            let mut conn = bed.connect().await;
            run(&mut conn, statements).await;
            expect(statements.to_string(), pin(&bed, &mut conn).await, Some(*expected));
            run(&mut conn, end).await;
            expect(format!("{statements}; {end}"), pin(&bed, &mut conn).await, None);
        }
        for (statements, expected) in LASTING {
            let mut conn = bed.connect().await;
            run(&mut conn, statements).await;
            expect(statements.to_string(), pin(&bed, &mut conn).await, Some(*expected));
            conn.reset().await.unwrap();
            expect(format!("{statements}, reset"), pin(&bed, &mut conn).await, None);
            run(&mut conn, statements).await;
            expect(format!("{statements}, reset, again"), pin(&bed, &mut conn).await, Some(*expected));
            conn.change_user(ChangeUserOpts::default().with_db_name(Some("app".into()))).await.unwrap();
            expect(format!("{statements}, change of user"), pin(&bed, &mut conn).await, None);
        }
        for statements in FREE {
            let mut conn = bed.connect().await;
            run(&mut conn, statements).await;
            expect(statements.to_string(), pin(&bed, &mut conn).await, None);
        }
        assert!(wrong.is_empty(), "{flavor}:\n{}", wrong.join("\n"));
        bed.stop().await;
    }
}
