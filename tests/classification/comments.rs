//! Comments: blanks, code, or a hint.

use super::*;
use weir::sql::Hint;

#[test]
fn comments_that_are_code() {
    let multi = Effects::MULTI;
    check(&[
        Row(
            BOTH,
            Kind::Write,
            NONE,
            &[
                "/*! DELETE FROM t */",
                "/*!DELETE FROM t*/",
                "/*!40000 DELETE FROM t */",
                "/*!99999 DELETE FROM t */",
                "/*!999999 DELETE FROM t */",
                "/*!080000 DELETE FROM t */",
                "/*! DELETE */ /*! FROM t */",
                "/*!99999 SELECT */ DELETE FROM t",
                "/*!40000 DELETE */ /*!50000 FROM */ /*!60000 t */",
                "/*!50701 DELETE FROM t */",
                "INSERT /*!50000 IGNORE */ INTO t VALUES (1)",
                "/*! /* x */ DELETE FROM t */",
                "/*!99999 /* x */ DELETE FROM t */",
                "/* x */ /*! -- y */\n DELETE FROM t */",
            ],
        ),
        Row(
            BOTH,
            Kind::Unknown,
            NONE,
            &["/*!99999 SELECT */ FROB", "/*!99999 SELECT 1 */ FROB", "/*!40000DELETE*/ FROM t"],
        ),
        Row(BOTH, Kind::Unknown, NONE, &["/*!99999 ' */ DELETE FROM t -- '"]),
        Row(BOTH, Kind::Unknown, NONE, &["/*!50001 a*//*!50002 b*//*!50003 c*//*!50004 d*//*!50005 e*/"]),
        Row(BOTH, Kind::Write, multi, &["SELECT 1 /*! ; DELETE FROM t */", "SELECT 1; /*!99999 DELETE FROM t */"]),
        Row(
            BOTH,
            Kind::Read,
            NONE,
            &[
                "SELECT /*!40001 SQL_NO_CACHE */ * FROM t",
                "SELECT * FROM t /*!50000 USE INDEX (i) */ /*!60000 WHERE a = 1 */",
                "/*!40001 SELECT 1 */",
                "SELECT 1 /* DELETE */ + 1 /* ; DELETE FROM t */",
                "SELECT 1 /* /*! DELETE FROM t */",
                "SELECT '/*!', 1, '*/'",
                "SELECT 1 -- ; DELETE FROM t",
                "SELECT 1 # ; DELETE FROM t",
                "SELECT 1 --\t; DELETE FROM t",
                "SELECT 1 --",
                "-- DELETE\nSELECT 1",
                "/**/SELECT/**/1/**/",
                "/*/ DELETE */ SELECT 1",
                "SELECT /*+ MAX_EXECUTION_TIME(5) */ 1",
                "SELECT 1 /*! */",
            ],
        ),
        Row(
            &[MARIADB],
            Kind::Write,
            NONE,
            &["/*M! DELETE FROM t */", "/*M!100100 DELETE FROM t */", "/*M!999999 DELETE FROM t */"],
        ),
        Row(&[MYSQL], Kind::Empty, NONE, &["/*M! DELETE FROM t */", "/*M!100100 DELETE FROM t */"]),
        Row(BOTH, Kind::Empty, NONE, &["/*m! DELETE FROM t */", "/* ! DELETE FROM t */"]),
    ]);
}

#[test]
fn dashes_without_a_blank_are_no_comment() {
    check(&[
        Row(BOTH, Kind::Read, Effects::LOCKING_READ, &["SELECT 1 --1 FROM t FOR UPDATE"]),
        Row(BOTH, Kind::Read, Effects::UNKNOWN_FUNCTION, &["SELECT 1 --f(1)"]),
        Row(BOTH, Kind::Write, Effects::MULTI, &["SELECT 1 --1; DELETE FROM t"]),
    ]);
}

#[test]
fn quotes_follow_the_mode() {
    let ansi = Mode { ansi_quotes: true, ..MYSQL };
    let plain = Mode { no_backslash_escapes: true, ..MARIADB };
    check(&[
        Row(
            &[ansi],
            Kind::Read,
            NONE,
            &["SELECT \"a\" FROM \"t\"", "SELECT \"a\\\" FROM t", "SELECT \"a\"\"b\" FROM \"s\".\"t\""],
        ),
        Row(&[ansi], Kind::Read, Effects::UNKNOWN_FUNCTION, &["SELECT \"f\"(1)"]),
        Row(&[MYSQL], Kind::Read, NONE, &["SELECT \"a\\\"; DELETE FROM t\"", "SELECT 'a\\'; DELETE FROM t'"]),
        Row(&[plain], Kind::Write, Effects::MULTI, &["SELECT 'a\\'; DELETE FROM t", "SELECT \"a\\\"; DELETE FROM t"]),
        Row(&[plain], Kind::Read, NONE, &["SELECT 'a\\', 'b'", "SELECT 'a''b'"]),
    ]);
}

#[test]
fn hints() {
    let cases: [(&str, Option<Hint<'_>>); 17] = [
        ("/* weir:writer */ SELECT 1", Some(Hint::Writer)),
        ("SELECT /*weir:reader*/ 1", Some(Hint::Reader)),
        ("SELECT 1 -- weir:writer", Some(Hint::Writer)),
        ("SELECT 1 # weir:reader\n + 1", Some(Hint::Reader)),
        ("SELECT 1 #weir:group=a", Some(Hint::Group(b"a"))),
        ("/* weir:group=analytics */ SELECT 1", Some(Hint::Group(b"analytics"))),
        ("/* weir:server=db2 */ SELECT 1", Some(Hint::Server(b"db2"))),
        ("/* WEIR:Writer */ SELECT 1", Some(Hint::Writer)),
        ("/* weir:reader */ /* weir:writer */ SELECT 1", Some(Hint::Reader)),
        ("/* weir:nonsense */ /* weir:writer */ SELECT 1", Some(Hint::Writer)),
        ("/*! weir:writer */ SELECT 1", None),
        ("/*!99999 weir:writer */ SELECT 1", None),
        ("/*!99999 /* weir:writer */ */ SELECT 1", None),
        ("SELECT '/* weir:writer */'", None),
        ("SELECT `-- weir:writer`", None),
        ("SELECT 1 --weir:writer", None),
        ("SELECT 1", None),
    ];
    for (text, expected) in cases {
        assert_eq!(classify(text.as_bytes(), MYSQL).hint, expected, "{text}");
    }
}
