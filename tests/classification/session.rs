//! Statements about the session: transactions, variables, prepared statements.

use super::*;
use weir::sql::Access;

#[test]
fn transactions() {
    let read_write = Kind::Begin(Access::ReadWrite);
    let read_only = Kind::Begin(Access::ReadOnly);
    check(&[
        Row(
            BOTH,
            read_write,
            NONE,
            &[
                "BEGIN",
                "begin;",
                "BEGIN ; -- x",
                "/* x */ BEGIN WORK;",
                "START TRANSACTION",
                "START TRANSACTION;",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT",
                "START TRANSACTION READ WRITE",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE",
                "/*!40000 BEGIN */",
            ],
        ),
        Row(
            BOTH,
            read_only,
            NONE,
            &[
                "START TRANSACTION READ ONLY",
                "start transaction read only;",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
                "START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT",
                "START /* x */ TRANSACTION READ /* y */ ONLY",
            ],
        ),
        Row(BOTH, read_write, Effects::MULTI, &["BEGIN; SELECT 1", "START TRANSACTION; SELECT 1"]),
        Row(
            BOTH,
            Kind::Transaction,
            NONE,
            &[
                "COMMIT",
                "commit work;",
                "COMMIT AND CHAIN",
                "ROLLBACK",
                "ROLLBACK AND NO CHAIN RELEASE",
                "ROLLBACK TO SAVEPOINT a",
            ],
        ),
        Row(
            BOTH,
            Kind::Transaction,
            Effects::SAVEPOINT,
            &[
                "SAVEPOINT a",
                "RELEASE SAVEPOINT a",
                "XA START 'a'",
                "XA BEGIN 'a'",
                "XA END 'a'",
                "XA PREPARE 'a'",
                "XA COMMIT 'a' ONE PHASE",
                "XA RECOVER",
            ],
        ),
    ]);
}

#[test]
fn variables() {
    check(&[
        Row(
            BOTH,
            Kind::Set,
            NONE,
            &[
                "SET autocommit = 0",
                "SET autocommit=1;",
                "SET NAMES utf8mb4",
                "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'",
                "SET CHARACTER SET utf8",
                "SET CHARSET utf8",
                "SET SESSION sql_mode = 'ANSI'",
                "SET LOCAL time_zone = '+00:00'",
                "SET sql_mode = CONCAT('a', 'b'), time_zone = 'SYSTEM'",
                "SET TRANSACTION READ ONLY",
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
                "SET sql_mode = REPLACE('a', 'b', 'c')",
                "SET sql_mode = DEFAULT",
                "SET sql_log_bin = 0, foreign_key_checks = OFF",
                "SET unique_checks = IF(1, 0, 1), a = GREATEST(1, 2)",
            ],
        ),
        Row(BOTH, Kind::Set, Effects::CONNECTION, &["SET RESOURCE GROUP g"]),
        Row(
            BOTH,
            Kind::Set,
            Effects::VARIABLE_LITERAL,
            &["SET @a = 1", "SET @a := 1, @b = 2", "SET @a = 1, autocommit = 0", "SET @a = 'GLOBAL', @b = 1"],
        ),
        Row(BOTH, Kind::Set, Effects::USER_VARIABLE, &["SET @`a b` = 1", "SET @a = 1 + 1", "SET @a = @b"]),
        Row(BOTH, Kind::Set, Effects::VARIABLE_READ, &["SET time_zone = @a", "SET sql_mode = CONCAT(@a, @b)"]),
        Row(
            BOTH,
            Kind::Set,
            Effects::SYSTEM_VARIABLE,
            &["SET @@sql_mode = ''", "SET @@session.time_zone = 'SYSTEM'", "SET a = @@sql_mode"],
        ),
        Row(
            BOTH,
            Kind::Set,
            Effects::SYSTEM_VARIABLE.with(Effects::SERVER_VARIABLE),
            &["SET @@session.a = 1", "SET a = @@global.a"],
        ),
        Row(
            BOTH,
            Kind::Set,
            Effects::SYSTEM_VARIABLE.with(Effects::USER_VARIABLE),
            &["SET @old = @@sql_mode", "/*!40101 SET @OLD=@@CHARACTER_SET_CLIENT */"],
        ),
        Row(
            BOTH,
            Kind::Set,
            Effects::SYSTEM_VARIABLE.with(Effects::SERVER_VARIABLE).with(Effects::USER_VARIABLE),
            &["SET @a = @@global.b, @c = 1"],
        ),
        Row(
            BOTH,
            Kind::Set,
            Effects::UNKNOWN_FUNCTION.with(Effects::USER_VARIABLE),
            &["SET @a = f()", "SET @a=(SELECT s.f())"],
        ),
        Row(
            BOTH,
            Kind::Set,
            Effects::LOCKING_READ.with(Effects::USER_VARIABLE),
            &["SET @a = (SELECT a FROM t FOR UPDATE)"],
        ),
        Row(
            BOTH,
            Kind::Set,
            Effects::SESSION_TRACKING,
            &[
                "SET session_track_gtids = OWN_GTID",
                "SET SESSION session_track_schema = 1",
                "SET `session_track_schema` = 1",
            ],
        ),
        Row(
            BOTH,
            Kind::Set,
            Effects::SESSION_TRACKING.with(Effects::SYSTEM_VARIABLE),
            &["SET @@session_track_gtids = OFF", "SET @@session.`session_track_gtids` = OFF"],
        ),
        Row(
            BOTH,
            Kind::Read,
            Effects::SESSION_TRACKING.with(Effects::SYSTEM_VARIABLE),
            &["SELECT @@session_track_gtids", "SELECT @@SESSION.Session_Track_Schema"],
        ),
        Row(BOTH, Kind::Set, Effects::ROLE, &["SET ROLE a", "SET ROLE ALL"]),
        Row(&[MARIADB], Kind::Set, Effects::STATEMENT_VARIABLES, &["SET STATEMENT max_statement_time=1 FOR SELECT 1"]),
        Row(
            &[MARIADB],
            Kind::Set,
            Effects::LOCKING_READ.with(Effects::STATEMENT_VARIABLES),
            &["SET STATEMENT a=1 FOR SELECT * FROM t FOR UPDATE"],
        ),
        Row(
            &[MARIADB],
            Kind::Unknown,
            Effects::STATEMENT_VARIABLES,
            &["SET STATEMENT a=1 FOR", "SET STATEMENT a=1 FOR FROB"],
        ),
    ]);
}

#[test]
fn reading_variables() {
    let about_last = Effects::SYSTEM_VARIABLE.with(Effects::DIAGNOSTICS);
    check(&[
        Row(
            BOTH,
            Kind::Read,
            Effects::SYSTEM_VARIABLE,
            &[
                "SELECT @@version",
                "SELECT @@session.sql_mode",
                "select @@`Max_Allowed_Packet`, @@wait_timeout",
                "SELECT @@LOCAL.transaction_isolation",
            ],
        ),
        Row(
            BOTH,
            Kind::Read,
            Effects::SYSTEM_VARIABLE.with(Effects::SERVER_VARIABLE),
            &[
                "SELECT @@session.sql_mode, @@global.port",
                "SELECT @@global.sql_mode",
                "select @@`hostname`",
                "SELECT @@read_only",
                "SELECT @@identity_x",
            ],
        ),
        Row(
            BOTH,
            Kind::Read,
            about_last,
            &[
                "SELECT @@warning_count",
                "SELECT @@error_count",
                "SELECT @@IDENTITY",
                "SELECT @@session.identity",
                "SELECT @@last_insert_id",
                "SELECT @@last_gtid",
                "SELECT @@`identity`",
                "SELECT @@local.`identity`",
                "SELECT @@session . identity",
                "SELECT @@ identity",
            ],
        ),
        Row(
            BOTH,
            Kind::Read,
            Effects::SYSTEM_VARIABLE.with(Effects::CONNECTION),
            &["SELECT @@pseudo_thread_id", "SELECT @@in_transaction"],
        ),
        Row(BOTH, Kind::Read, Effects::CONNECTION, &["SELECT CONNECTION_ID()", "select connection_id ( ) AS id;"]),
        Row(BOTH, Kind::Diagnostics, Effects::USER_VARIABLE, &["GET DIAGNOSTICS @a = NUMBER"]),
        Row(
            BOTH,
            Kind::Diagnostics,
            Effects::USER_VARIABLE,
            &["GET CURRENT DIAGNOSTICS CONDITION 1 @a = MESSAGE_TEXT"],
        ),
    ]);
}

#[test]
fn prepared_by_text_and_the_rest() {
    check(&[
        Row(
            BOTH,
            Kind::TextPrepared,
            NONE,
            &["PREPARE s FROM 'DELETE FROM t'", "DEALLOCATE PREPARE s", "DROP PREPARE s"],
        ),
        Row(BOTH, Kind::TextPrepared, Effects::EXECUTE, &["EXECUTE s", "EXECUTE IMMEDIATE 'DELETE FROM t'"]),
        Row(BOTH, Kind::TextPrepared, Effects::VARIABLE_READ, &["PREPARE s FROM @x"]),
        Row(BOTH, Kind::TextPrepared, Effects::EXECUTE.with(Effects::VARIABLE_READ), &["EXECUTE s USING @a, @b"]),
        Row(BOTH, Kind::Use, NONE, &["USE d", "use `d`;"]),
        Row(
            BOTH,
            Kind::Empty,
            NONE,
            &["", " \t\n", ";", ";;", "-- x", "--", "# x", "/* x */", "/*+ x */ ;", "-- x\n;"],
        ),
    ]);
}
