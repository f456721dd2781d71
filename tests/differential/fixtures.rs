//! The tables and routines that scripts use. Only those that a script names are made.

use super::script::Script;

/// Name and text. A script that names it gets it, and what its text names.
const FIXTURES: &[(&str, &str)] = &[
    (
        "a",
        "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, n INT UNIQUE, name VARCHAR(40) NOT NULL DEFAULT 'x', \
         amount DECIMAL(10,2), at DATETIME(3))",
    ),
    (
        "a",
        "INSERT INTO a (n, name, amount, at) VALUES (1, 'one', 1.10, '2020-01-01 00:00:00'), (2, 'two', NULL, NULL), \
         (3, 'drei ü', -3.5, '2021-02-03 04:05:06.789')",
    ),
    (
        "b",
        "CREATE TABLE b (id BIGINT UNSIGNED PRIMARY KEY, a INT, t TEXT, j JSON, d DOUBLE, f FLOAT, bits BIT(9), \
         e ENUM('x','y'), s SET('p','q'), y YEAR, tm TIME(2), bl BLOB, vb VARBINARY(20), ti TINYINT, dt DATE)",
    ),
    (
        "b",
        "INSERT INTO b (id, a, t, j, d, f, bits, e, s, y, tm, bl, vb, ti, dt) VALUES (1, 1, 'text', '{\"k\": [1, 2]}', \
         1.5, 2.25, b'101', 'x', 'p,q', 1999, '-12:34:56.78', x'00FF', 'vb', -7, '1999-12-31'), \
         (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ),
    ("log", "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100))"),
    ("t_b", "CREATE TRIGGER t_b AFTER INSERT ON b FOR EACH ROW INSERT INTO log (what) VALUES (CONCAT('b', NEW.id))"),
    ("p_insert", "CREATE PROCEDURE p_insert(v INT) INSERT INTO a (n) VALUES (v)"),
    (
        "p_log",
        "CREATE PROCEDURE p_log() BEGIN INSERT INTO log (what) VALUES ('p'); SELECT LAST_INSERT_ID(), ROW_COUNT(); END",
    ),
    ("p_two", "CREATE PROCEDURE p_two() BEGIN SELECT 1 AS one; SELECT id, name FROM a ORDER BY id; END"),
    ("p_zone", "CREATE PROCEDURE p_zone() SET SESSION time_zone = '+05:00'"),
    ("p_var", "CREATE PROCEDURE p_var() SET @pv = 5"),
    (
        "p_temp",
        "CREATE PROCEDURE p_temp() BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS tmp_p (id INT); \
         INSERT INTO tmp_p VALUES (9); END",
    ),
    ("p_out", "CREATE PROCEDURE p_out(OUT x INT, INOUT y INT) BEGIN SET x = 3; SET y = y + 1; END"),
    (
        "p_fail",
        "CREATE PROCEDURE p_fail() BEGIN INSERT INTO log (what) VALUES ('f'); SET @pf = 1; \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'failed on purpose'; END",
    ),
    ("p_tx", "CREATE PROCEDURE p_tx() BEGIN START TRANSACTION; INSERT INTO log (what) VALUES ('tx'); END"),
    ("p_commit", "CREATE PROCEDURE p_commit() BEGIN INSERT INTO log (what) VALUES ('c'); COMMIT; END"),
    (
        "p_handled",
        "CREATE PROCEDURE p_handled() BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SELECT 'handled'; \
         INSERT INTO a (id, n) VALUES (1, 1); SELECT ROW_COUNT(); END",
    ),
    ("p_warn", "CREATE PROCEDURE p_warn() SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'warned'"),
    (
        "p_prepare",
        "CREATE PROCEDURE p_prepare() BEGIN PREPARE inner_st FROM 'SELECT 7 AS seven'; EXECUTE inner_st; END",
    ),
    ("p_nested", "CREATE PROCEDURE p_nested() BEGIN CALL p_insert(500); CALL p_log(); END"),
    (
        "f_side",
        "CREATE FUNCTION f_side(v VARCHAR(50)) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO log (what) VALUES (v); \
         RETURN LAST_INSERT_ID(); END",
    ),
    (
        "f_var",
        "CREATE FUNCTION f_var() RETURNS INT READS SQL DATA BEGIN SET @fv = COALESCE(@fv, 0) + 1; RETURN @fv; END",
    ),
    (
        "f_into",
        "CREATE FUNCTION f_into() RETURNS INT READS SQL DATA BEGIN SELECT MAX(n) INTO @fi FROM a; RETURN @fi; END",
    ),
    ("f_lock", "CREATE FUNCTION f_lock() RETURNS INT NO SQL RETURN GET_LOCK(CONCAT(DATABASE(), 'f'), 0)"),
    ("p_into", "CREATE PROCEDURE p_into() SELECT COUNT(*), MAX(n) INTO @pi, @pj FROM a"),
    ("p_lock", "CREATE PROCEDURE p_lock() DO GET_LOCK(CONCAT(DATABASE(), 'f'), 0)"),
    (
        "p_cursor",
        "CREATE PROCEDURE p_cursor() BEGIN DECLARE v, total INT DEFAULT 0; DECLARE done BOOL DEFAULT FALSE; \
         DECLARE rows_of_a CURSOR FOR SELECT id FROM a ORDER BY id; \
         DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = TRUE; OPEN rows_of_a; \
         REPEAT FETCH rows_of_a INTO v; IF NOT done THEN SET total = total + v; END IF; UNTIL done END REPEAT; \
         CLOSE rows_of_a; SET @pc = total; SELECT total; END",
    ),
    ("t_log", "CREATE TRIGGER t_log BEFORE INSERT ON log FOR EACH ROW SET @tl = NEW.what"),
    ("f_pure", "CREATE FUNCTION f_pure(v INT) RETURNS INT DETERMINISTIC RETURN v * 2"),
    ("v_a", "CREATE VIEW v_a AS SELECT id, n, UPPER(name) AS upper_name FROM a WHERE id < 100"),
    ("v_side", "CREATE VIEW v_side AS SELECT f_side('view') AS x"),
    ("v_var", "CREATE VIEW v_var AS SELECT f_var() AS x"),
    ("v_pure", "CREATE VIEW v_pure AS SELECT id, f_pure(n) AS twice FROM a"),
];

/// Which other fixtures a fixture needs: those whose names are words of its text.
fn names(text: &str, name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.match_indices(name).any(|(at, _)| {
        let before = at.checked_sub(1).map(|at| text.as_bytes()[at]);
        let after = text.as_bytes().get(at + name.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The statements that make the schema and what `script` uses of the fixtures.
pub fn of(script: &Script, schema: &str) -> Vec<String> {
    let mut texts: Vec<&str> = script.steps.iter().map(|step| step.text()).collect();
    let mut wanted: Vec<bool> = vec![false; FIXTURES.len()];
    loop {
        let before = texts.len();
        for (place, (name, text)) in FIXTURES.iter().enumerate() {
            if !wanted[place] && texts.iter().any(|used| names(used, name)) {
                wanted[place] = true;
                texts.push(text);
            }
        }
        if texts.len() == before {
            break;
        }
    }
    let start = [
        format!("DROP DATABASE IF EXISTS {schema}x"),
        format!("DROP DATABASE IF EXISTS {schema}"),
        format!("CREATE DATABASE {schema}"),
        format!("USE {schema}"),
    ];
    let made = FIXTURES.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|((_, text), _)| (*text).to_owned());
    // Nothing of this is left to ask about, on the connection that ran it.
    let end = "/* weir:writer */ SELECT 1 FROM (SELECT 1) AS nothing".to_owned();
    start.into_iter().chain(made).chain([end]).collect()
}
