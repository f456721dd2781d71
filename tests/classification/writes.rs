//! Statements that write, define, administer or lock, and texts of several statements.

use super::*;

#[test]
fn writes() {
    check(&[
        Row(
            BOTH,
            Kind::Write,
            NONE,
            &[
                "INSERT INTO t VALUES (1)",
                "INSERT INTO t (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = VALUES(a)",
                "INSERT INTO t (a) VALUES (1) AS new (m) ON DUPLICATE KEY UPDATE a = m",
                "insert t set a = 1",
                "INSERT IGNORE s.t (a, b) SELECT a, b FROM u",
                "INSERT INTO `t` (`a`) VALUES (1), (2)",
                "INSERT INTO `s`.`t`(`a`) VALUE (1)",
                "INSERT INTO t () VALUES ()",
                "INSERT INTO t WITH x (y) AS (SELECT 1) SELECT * FROM x",
                "REPLACE INTO t VALUES (1)",
                "replace t (a) values (1)",
                "UPDATE t SET a = 1",
                "UPDATE t, u SET t.a = u.a",
                "DELETE FROM t",
                "DELETE a, b FROM a JOIN b",
                "DELETE FROM t WHERE a IN (SELECT 1) RETURNING a",
                "LOAD DATA INFILE 'x' INTO TABLE t (a, b)",
                "LOAD XML INFILE 'x' INTO TABLE t",
                "DO SLEEP(1)",
                "WITH a AS (SELECT 1) UPDATE t JOIN a SET t.x = 1",
                "WITH a (b) AS (SELECT 1) DELETE FROM t WHERE x IN (SELECT b FROM a)",
                "WITH a AS (SELECT 1), c AS (SELECT 2) DELETE t FROM t, a",
                "with recursive a as (select 1) insert into t select * from a",
                "EXPLAIN ANALYZE UPDATE t SET a = 1",
                "EXPLAIN ANALYZE DELETE FROM t",
                "EXPLAIN UPDATE t SET a = 1",
                "EXPLAIN FORMAT=JSON INSERT INTO t VALUES (1)",
                "EXPLAIN REPLACE INTO t VALUES (1)",
                "EXPLAIN WITH a AS (SELECT 1) DELETE FROM t",
                "DESC DELETE FROM t",
                "SELECT 1 FROM (DELETE FROM t) x",
            ],
        ),
        Row(
            &[MARIADB],
            Kind::Write,
            NONE,
            &[
                "ANALYZE UPDATE t SET a = 1",
                "ANALYZE FORMAT=JSON UPDATE t SET a = 1",
                "ANALYZE FORMAT=JSON DELETE FROM t",
                "ANALYZE INSERT INTO t (a) VALUES (1)",
                "ANALYZE WITH a AS (SELECT 1) DELETE FROM t",
            ],
        ),
        Row(
            BOTH,
            Kind::Write,
            Effects::LOCAL_INFILE,
            &[
                "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
                "load data low_priority local infile 'x' replace into table t (a)",
            ],
        ),
        Row(
            &[MARIADB],
            Kind::Write,
            Effects::STATEMENT_VARIABLES,
            &[
                "SET STATEMENT max_statement_time=1 FOR DELETE FROM t",
                "SET STATEMENT max_statement_time=1, sort_buffer_size=1 FOR INSERT INTO t (a) VALUES (1)",
            ],
        ),
        Row(BOTH, Kind::Write, Effects::UNKNOWN_FUNCTION, &["CALL p", "CALL p(1, 2)", "CALL s.p(1)"]),
        Row(BOTH, Kind::Write, Effects::UNKNOWN_FUNCTION.with(Effects::USER_VARIABLE), &["CALL p(@x)"]),
        Row(BOTH, Kind::Write, Effects::USER_VARIABLE, &["LOAD DATA INFILE 'x' INTO TABLE t (@a, b)"]),
        Row(
            BOTH,
            Kind::Write,
            Effects::UNKNOWN_FUNCTION,
            &["INSERT INTO t (a) VALUES (f(1))", "UPDATE t SET a = f(1)"],
        ),
        Row(BOTH, Kind::Write, Effects::UNKNOWN_FUNCTION, &["INSERT INTO t SELECT f(1)", "DO f()", "CALL p(f(1))"]),
    ]);
}

#[test]
fn definitions_and_administration() {
    check(&[
        Row(
            BOTH,
            Kind::Ddl,
            NONE,
            &[
                "CREATE TABLE t (a INT(11) DEFAULT 0, KEY k (a), CHECK (f(a)))",
                "CREATE TABLE t LIKE u",
                "CREATE TABLE t AS SELECT 1",
                "CREATE DATABASE d",
                "CREATE USER 'a'@'%' IDENTIFIED BY 'x'",
                "CREATE USER a@localhost",
                "CREATE OR REPLACE VIEW v AS SELECT 1",
                "CREATE INDEX i ON t (a)",
                "CREATE DEFINER=`root`@`localhost` PROCEDURE p() SELECT 1",
                "CREATE FUNCTION f() RETURNS INT RETURN 1",
                "CREATE DEFINER=root@localhost TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
                "ALTER TABLE t ADD COLUMN a INT, LOCK=NONE",
                "DROP TABLE IF EXISTS t",
                "DROP DATABASE d",
                "DROP PROCEDURE p",
                "TRUNCATE t",
                "TRUNCATE TABLE t",
                "RENAME TABLE a TO b",
                "GRANT SELECT, INSERT ON *.* TO 'a'@'b' WITH GRANT OPTION",
                "GRANT CREATE TEMPORARY TABLES ON d.* TO a@b",
                "REVOKE ALL ON *.* FROM a@b",
                "ANALYZE TABLE t",
                "ANALYZE LOCAL TABLE t",
                "ANALYZE NO_WRITE_TO_BINLOG TABLE t",
                "OPTIMIZE TABLE t",
                "REPAIR TABLE t",
                "CHECK TABLE t",
                "FLUSH PRIVILEGES",
                "FLUSH TABLES",
                "FLUSH LOGS",
                "RESET QUERY CACHE",
                "RESET MASTER",
                "PURGE BINARY LOGS TO 'x'",
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='x'",
                "CHANGE MASTER TO MASTER_HOST='x'",
                "START REPLICA",
                "START SLAVE",
                "START GROUP_REPLICATION",
                "START ALL SLAVES",
                "STOP REPLICA SQL_THREAD",
                "INSTALL PLUGIN p SONAME 'x'",
                "UNINSTALL PLUGIN p",
                "CACHE INDEX t IN c",
                "LOAD INDEX INTO CACHE t",
                "SHUTDOWN",
                "RESTART",
                "CLONE LOCAL DATA DIRECTORY = 'x'",
                "BINLOG 'x'",
                "IMPORT TABLE FROM 'x'",
                "SIGNAL SQLSTATE '45000'",
                "SET PASSWORD = 'x'",
                "SET PASSWORD FOR 'a'@'b' = 'x'",
                "SET DEFAULT ROLE ALL TO a@b",
                "SET GLOBAL max_connections = 5",
                "SET PERSIST max_connections = 5",
                "SET autocommit = 1, GLOBAL max_connections = 5",
            ],
        ),
        Row(
            BOTH,
            Kind::Ddl,
            Effects::SYSTEM_VARIABLE.with(Effects::SERVER_VARIABLE),
            &["SET @@GLOBAL.max_connections = 5", "SET a = 1, @@persist.b = 2"],
        ),
        Row(
            BOTH,
            Kind::Ddl,
            Effects::TEMPORARY_TABLE,
            &[
                "CREATE TEMPORARY TABLE t (a INT)",
                "create temporary table t select 1",
                "CREATE OR REPLACE TEMPORARY TABLE t (a INT)",
                "DROP TEMPORARY TABLE t",
                "DROP TEMPORARY TABLE IF EXISTS t",
                "CREATE/**/TEMPORARY/**/TABLE t (a INT)",
            ],
        ),
        Row(
            BOTH,
            Kind::Ddl,
            Effects::MULTI,
            &[
                "CREATE PROCEDURE p() BEGIN SELECT 1; DELETE FROM t; END",
                "CREATE PROCEDURE p() BEGIN CREATE TEMPORARY TABLE x (a INT); LOCK TABLES t READ; END",
                "CREATE DEFINER=`a`@`b` EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN DECLARE x INT; INSERT INTO t VALUES (x); END",
            ],
        ),
    ]);
}

#[test]
fn locks() {
    check(&[
        Row(
            BOTH,
            Kind::Lock,
            NONE,
            &["LOCK TABLES t READ", "LOCK TABLES a AS b WRITE, c READ LOCAL", "lock table t write", "UNLOCK TABLES"],
        ),
        Row(BOTH, Kind::Lock, NONE, &["UNLOCK INSTANCE", "HANDLER t READ FIRST", "HANDLER t CLOSE"]),
        Row(BOTH, Kind::Lock, Effects::HANDLER, &["HANDLER t OPEN", "HANDLER s.t OPEN AS x"]),
        Row(
            BOTH,
            Kind::Lock,
            Effects::GLOBAL_LOCK,
            &[
                "FLUSH TABLES WITH READ LOCK",
                "FLUSH LOCAL TABLES a, b WITH READ LOCK",
                "FLUSH TABLES t FOR EXPORT",
                "BACKUP STAGE START",
                "BACKUP LOCK t",
                "LOCK INSTANCE FOR BACKUP",
            ],
        ),
        Row(BOTH, Kind::Kill, Effects::KILL, &["KILL 5", "KILL QUERY 5", "kill connection 5", "KILL HARD QUERY ID 5"]),
    ]);
}

#[test]
fn several_statements() {
    let multi = Effects::MULTI;
    check(&[
        Row(BOTH, Kind::Read, multi, &["SELECT 1; SELECT 2", "SELECT 1;SELECT 2;", "SELECT 1;; SHOW TABLES"]),
        Row(
            BOTH,
            Kind::Write,
            multi,
            &[
                "SELECT 1; DELETE FROM t",
                "DELETE FROM t; SELECT 1",
                "SELECT ';'; UPDATE t SET a = 1",
                "SET a = 1; INSERT INTO t VALUES (1); COMMIT",
                "SELECT 1;/**/REPLACE(t) VALUES (1)",
                "SELECT 1 /*! ; DELETE FROM t */",
                "SELECT 1 /*!99999 ; DELETE FROM t */",
            ],
        ),
        Row(BOTH, Kind::Ddl, multi, &["SELECT 1; DROP TABLE t", "BEGIN; TRUNCATE t; COMMIT"]),
        Row(BOTH, Kind::Read, multi.with(Effects::LOCKING_READ), &["SELECT 1; SELECT * FROM t FOR UPDATE"]),
        Row(BOTH, Kind::Set, multi, &["SELECT 1; SET a = 1", "SET a = 1; SELECT 1"]),
        Row(BOTH, Kind::Kill, multi.with(Effects::KILL), &["SELECT 1; KILL 5", "KILL 5; KILL 6", "BEGIN; KILL 5"]),
        Row(
            BOTH,
            Kind::Write,
            multi.with(Effects::KILL),
            &["DELETE FROM t; KILL 5", "KILL 5; DELETE FROM t", "DELETE FROM t /*!99999 ; KILL 5 */"],
        ),
        Row(
            BOTH,
            Kind::Unknown,
            multi.with(Effects::KILL),
            &["IF 1 THEN KILL 5; END IF", "BEGIN NOT ATOMIC KILL 5; END", "FROB; KILL 5"],
        ),
        // Is not run now.
        Row(BOTH, Kind::Ddl, multi, &["CREATE PROCEDURE p() BEGIN KILL 5; END", "CREATE EVENT e DO BEGIN KILL 5; END"]),
        Row(
            BOTH,
            Kind::Unknown,
            multi,
            &["SELECT 1; FROB", "SELECT 1; 5", "SELECT 1; (", "IF 1 THEN DELETE FROM t; END IF"],
        ),
        Row(BOTH, Kind::Unknown, multi, &["BEGIN NOT ATOMIC DELETE FROM t; END", "BEGIN DELETE FROM t; END"]),
    ]);
}

#[test]
fn what_is_not_known() {
    check(&[Row(
        BOTH,
        Kind::Unknown,
        NONE,
        &[
            "FROB t",
            "5",
            "'x'",
            "?",
            "`select` 1",
            "{ call p() }",
            "( ",
            "(BEGIN)",
            "DELIMITER //",
            "DECLARE x INT",
            "BEGIN NOT ATOMIC SELECT 1",
            "BEGIN SELECT 1",
            "BEGIN ,x",
            "START",
            "START x",
            "ANALYZE",
            "SELECT 'x",
            "SELECT \"x",
            "SELECT `x",
            "SELECT 'x\\'",
            "SELECT 1 /* x",
            "SELECT 1 /*! x",
            "SELECT \0 1",
            "SELECT 1 -- \0\nDELETE",
            "SELECT 1\u{a0}FOR\u{a0}UPDATE",
            "\u{feff}SELECT 1",
            "SELECT \\x",
        ],
    )]);
}
