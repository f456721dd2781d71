//! What calls do, and what only looks like a call.

use super::*;

const UNKNOWN: Effects = Effects::UNKNOWN_FUNCTION;

fn check_calls(modes: &[Mode], effects: Effects, calls: &[&str]) {
    for call in calls {
        check(&[Row(modes, Kind::Read, effects, &[&format!("SELECT {call} FROM t"), &format!("select x+{call}")])]);
    }
}

#[test]
fn functions_that_only_compute() {
    check_calls(
        BOTH,
        NONE,
        &[
            "COUNT(*)",
            "count(DISTINCT a)",
            "COUNT (*)",
            "NOW()",
            "UUID()",
            "RAND()",
            "SLEEP(1)",
            "BENCHMARK(1, 2)",
            "USER()",
            "CURRENT_USER()",
            "CURRENT_USER",
            "DATABASE()",
            "VERSION()",
            "CONCAT('a', b)",
            "CONCAT_WS(',', a)",
            "GROUP_CONCAT(a ORDER BY b SEPARATOR ',')",
            "COALESCE(a, b)",
            "IFNULL(a, b)",
            "NULLIF(a, b)",
            "IF(a, b, c)",
            "DATE_FORMAT(a, '%Y')",
            "UNIX_TIMESTAMP()",
            "FROM_UNIXTIME(1)",
            "STR_TO_DATE('a', 'b')",
            "CHAR(65 USING utf8)",
            "JSON_EXTRACT(a, '$.b')",
            "JSON_OBJECT('a', 1)",
            "JSON_ARRAYAGG(a)",
            "ST_Distance(a, b)",
            "POINT(1, 2)",
            "MD5('a')",
            "SHA2('a', 256)",
            "AES_ENCRYPT('a', 'b')",
            "HEX(a)",
            "INET_ATON('a')",
            "TIMESTAMPDIFF(DAY, a, b)",
            "DATE_ADD(a, INTERVAL 1 DAY)",
            "a + INTERVAL (1) DAY",
            "ROW(1, 2) = (1, 2)",
            "VALUES(a)",
            "LAG(a) OVER (ORDER BY b)",
            "CRC32(a)",
            "GREATEST(a, b)",
            "SUBSTRING_INDEX(a, ',', 1)",
            "REGEXP_REPLACE(a, 'b', 'c')",
            "NAME_CONST('a', 1)",
        ],
    );
    check_calls(
        &[MYSQL],
        NONE,
        &["BIN_TO_UUID(a)", "ANY_VALUE(a)", "GROUPING(a)", "REGEXP_LIKE(a, 'b')", "GTID_SUBSET(a, b)"],
    );
    check_calls(
        &[MARIADB],
        NONE,
        &["NVL(a, b)", "JSON_DETAILED(a)", "MEDIAN(a) OVER (PARTITION BY b)", "COLUMN_GET(a, 'b' AS CHAR)"],
    );
}

#[test]
fn functions_that_somebody_may_have_written() {
    check_calls(
        BOTH,
        UNKNOWN,
        &[
            "f()",
            "f(1)",
            "f (1)",
            "f/**/(1)",
            "f\n(1)",
            "s.f(1)",
            "s . f(1)",
            "s.count(a)",
            "`f`(1)",
            "`count`(a)",
            "s.`f`(1)",
        ],
    );
    check_calls(
        BOTH,
        UNKNOWN,
        &["my_count(a)", "counts(a)", "COUNT(f(a))", "(f(a))", "CASE WHEN f(a) THEN 1 END", "f1(1)"],
    );
    check_calls(
        BOTH,
        UNKNOWN,
        &["\u{e9}(1)", "group_replication_set_as_primary('a')", "mysql_json(1)", "spider_direct_sql('a')"],
    );
    check_calls(&[MYSQL], UNKNOWN, &["NVL(a, b)", "JSON_DETAILED(a)", "NEXTVAL(s)", "MASTER_GTID_WAIT('a')"]);
    check_calls(&[MARIADB], UNKNOWN, &["BIN_TO_UUID(a)", "ANY_VALUE(a)", "SOURCE_POS_WAIT('a', 1)"]);
    check(&[Row(
        BOTH,
        Kind::Read,
        UNKNOWN,
        &[
            "SELECT * FROM t WHERE f(a)",
            "SELECT * FROM t JOIN u ON f(t.a) = u.a",
            "SELECT * FROM t ORDER BY f(a)",
            "SELECT * FROM t LIMIT 1 UNION SELECT f(1)",
            "WITH a AS (SELECT f(1)) SELECT * FROM a",
            "WITH a AS (SELECT 1) SELECT f(1)",
            "WITH a AS (SELECT 1) (SELECT * FROM a) ORDER BY f(1)",
            "VALUES ROW(f(1))",
            "TABLE t ORDER BY f(1)",
            "EXPLAIN SELECT f(1)",
            "SELECT {fn f(1)}",
            "SELECT /*! f(1) */ 2",
            "SELECT 1 /*!99999 , f(1) */",
        ],
    )]);
}

#[test]
fn functions_with_an_effect() {
    let release_all = Effects::ADVISORY_LOCK.with(Effects::RELEASE_ALL_LOCKS);
    check_calls(
        BOTH,
        Effects::ADVISORY_LOCK,
        &["GET_LOCK('a', 1)", "get_lock ('a', 1)", "RELEASE_LOCK('a')", "IS_FREE_LOCK('a')", "IS_USED_LOCK('a')"],
    );
    check_calls(BOTH, release_all, &["RELEASE_ALL_LOCKS()"]);
    check_calls(BOTH, Effects::DIAGNOSTICS, &["LAST_INSERT_ID()", "last_insert_id(5)", "ROW_COUNT()", "FOUND_ROWS()"]);
    check_calls(BOTH, Effects::CONNECTION, &["UUID_SHORT()", "MASTER_POS_WAIT('a', 1)"]);
    check_calls(&[MYSQL], Effects::CONNECTION, &["WAIT_FOR_EXECUTED_GTID_SET('a')"]);
    let id = Effects::CONNECTION.with(Effects::CONNECTION_ID);
    check_calls(BOTH, id, &["CONNECTION_ID()", "CONNECTION_ID(), 1"]);
    check_calls(&[MYSQL], id, &["PS_CURRENT_THREAD_ID()"]);
    check_calls(&[MARIADB], Effects::CONNECTION, &["MASTER_GTID_WAIT('a', 1)", "BINLOG_GTID_POS('a', 1)"]);
    check_calls(BOTH, Effects::FILE, &["LOAD_FILE('a')"]);
    check_calls(BOTH, Effects::SEQUENCE, &["NEXT VALUE FOR s", "PREVIOUS VALUE FOR s", "next/**/value for s"]);
    check_calls(&[MARIADB], Effects::SEQUENCE, &["NEXTVAL(s)", "LASTVAL(s)", "SETVAL(s, 5)", "s.nextval", "s.CURRVAL"]);
    check(&[
        Row(
            BOTH,
            Kind::Write,
            Effects::ADVISORY_LOCK,
            &["DO GET_LOCK('a', 1)", "INSERT INTO t VALUES (GET_LOCK('a', 1))"],
        ),
        Row(BOTH, Kind::Set, Effects::ADVISORY_LOCK.with(Effects::USER_VARIABLE), &["SET @a = GET_LOCK('a', 1)"]),
        Row(BOTH, Kind::Read, NONE, &["SELECT get_lock FROM t", "SELECT 'GET_LOCK(1)' AS last_insert_id"]),
    ]);
}
