//! What holds for every text.

use super::*;
use proptest::prelude::*;
use weir::sql::{
    advisory_locks, assigned_literals, belonging, called, digest, is_reported, normalised, tables, unscoped_variables,
    user_variables,
};

const MODES: [Mode; 4] =
    [MYSQL, MARIADB, Mode { ansi_quotes: true, ..MYSQL }, Mode { no_backslash_escapes: true, ..MARIADB }];

/// Statements that write, each a whole statement of both dialects.
const WRITES: [&str; 22] = [
    "INSERT INTO t VALUES (1)",
    "INSERT t SET a = 1",
    "REPLACE INTO t (a) VALUES (1)",
    "UPDATE t SET a = 1",
    "UPDATE t, u SET t.a = u.a WHERE t.i IN (SELECT i FROM v)",
    "DELETE FROM t",
    "DELETE t FROM t JOIN u",
    "TRUNCATE TABLE t",
    "DROP TABLE t",
    "CREATE TABLE t (a INT)",
    "ALTER TABLE t ADD a INT",
    "RENAME TABLE t TO u",
    "GRANT ALL ON t TO u",
    "LOAD DATA INFILE 'x' INTO TABLE t",
    "CALL p(1)",
    "DO f()",
    "LOCK TABLES t WRITE",
    "XA START 'x'",
    "KILL 5",
    "FLUSH TABLES",
    "EXPLAIN ANALYZE DELETE FROM t",
    "OPTIMIZE TABLE t",
];

/// What may stand between two tokens.
fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(" ".to_owned()),
        Just("\n\t".to_owned()),
        Just("/**/".to_owned()),
        Just("/* ' \" ` ; SELECT */".to_owned()),
        Just("-- it's SELECT\n".to_owned()),
        Just("# \"x\n".to_owned()),
        Just("/*! */".to_owned()),
        Just("/*!99999 */".to_owned()),
        "/\\*[a-z ';\"]{0,8}\\*/",
    ]
}

/// What may stand in front of a statement.
fn prefix() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("SELECT 1;".to_owned()),
        Just("SELECT 'a;''b', \"c\\\"d\", `e;f`;".to_owned()),
        Just("WITH x AS (SELECT 1) SELECT * FROM x;".to_owned()),
        Just("(SELECT 1) UNION (SELECT 2);".to_owned()),
        Just("SHOW WARNINGS;".to_owned()),
        Just("SHOW CREATE TABLE t;".to_owned()),
        Just("SELECT a.;".to_owned()),
        Just(";;".to_owned()),
        Just("SELECT replace('a', 'b', 'c'), 1 --1\n;".to_owned()),
    ]
}

/// A statement that writes, its words in random case, its blanks replaced, perhaps inside a comment that is code.
fn write_statement() -> impl Strategy<Value = String> {
    let cte = prop_oneof![
        Just(""),
        Just("WITH x AS (SELECT 1) "),
        Just("WITH RECURSIVE x (a) AS (SELECT 1), y AS (TABLE x) ")
    ];
    let gate = prop_oneof![Just(""), Just("/*!"), Just("/*!40101 "), Just("/*!99999 "), Just("/*!100100 ")];
    let blanks = prop::collection::vec(blank(), 24);
    (0..WRITES.len(), cte, gate, blanks, any::<u64>()).prop_map(|(index, cte, gate, blanks, case)| {
        let statement = WRITES[index];
        let cte = if (3..7).contains(&index) { cte } else { "" };
        let mut text = gate.to_owned();
        let words = cte.split(' ').chain(statement.split(' ')).filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            let fold = |(bit, letter): (usize, char)| {
                if case >> ((at + bit) % 64) & 1 == 0 { letter.to_ascii_lowercase() } else { letter }
            };
            text.extend(word.chars().enumerate().map(fold));
            // Code ends at the first `*/`: inside it, blanks are only blanks.
            text.push_str(if gate.is_empty() { blanks.get(at % 24).map_or(" ", |blank| blank) } else { " " });
        }
        if !gate.is_empty() {
            text.push_str("*/");
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn what_writes_is_never_a_read(
        prefix in prefix(),
        before in blank(),
        statement in write_statement(),
        after in prop_oneof![Just(""), Just(";"), Just("; SELECT 1"), Just(" -- x"), Just("; SHOW WARNINGS")],
    ) {
        // Backslashes, double quotes and code comments mean one thing in the modes of all servers.
        let text = format!("{prefix}{before}{statement}{after}");
        for mode in [MYSQL, MARIADB] {
            let kind = classify(text.as_bytes(), mode).kind;
            prop_assert!(kind > Kind::Diagnostics, "{kind:?} {mode:?}: {text}");
        }
    }

    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        take_every_way(&bytes);
    }

    #[test]
    fn no_marks_are_too_much(text in "([/*!0-9M'\"`\\\\;#@.(), -]|SELECT|FOR|UPDATE|IN|VALUES|INTO|WITH|AS|é|\n|a){0,60}") {
        take_every_way(text.as_bytes());
    }
}

/// Must not panic.
fn take_every_way(text: &[u8]) {
    for mode in MODES {
        classify(text, mode);
        tables(text, mode).for_each(|table| drop(table.name.unquoted()));
        belonging(text, mode);
        called(text, mode);
        is_reported(text, mode);
        unscoped_variables(text, mode);
        advisory_locks(text, mode);
        assigned_literals(text, mode);
        user_variables(text, mode).for_each(drop);
        digest(text, mode);
        normalised(text, mode);
    }
}
