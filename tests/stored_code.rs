//! What functions, triggers and views leave behind in a session without a word of the server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::Instant;

use bed::{Bed, Folder, basics, flavors, process::Process, until};
use mysql_async::{Conn, prelude::*};
use weir::{
    cli::check::check,
    config::{self, ProcessSecrets},
    sandbox::{Cluster, Flavor},
    telemetry::{Pin, Reason},
};

const SCHEMA: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
    "INSERT INTO t VALUES (1, 1), (2, 2)",
    "CREATE TABLE locked (id INT PRIMARY KEY)",
    "CREATE TABLE counted (id INT PRIMARY KEY, v INT)",
    "CREATE FUNCTION computes() RETURNS INT NO SQL RETURN 1",
    "CREATE FUNCTION many() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM t)",
    "CREATE FUNCTION assigns() RETURNS INT READS SQL DATA BEGIN SELECT 7 INTO @inside; RETURN 1; END",
    "CREATE FUNCTION nests() RETURNS INT READS SQL DATA RETURN assigns() + 1",
    "CREATE FUNCTION latches() RETURNS INT NO SQL RETURN GET_LOCK('f', 0)",
    "CREATE FUNCTION notes() RETURNS INT NO SQL BEGIN SET @inside = 8; RETURN 1; END",
    "CREATE FUNCTION inserts(i INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO locked VALUES (i); RETURN 1; END",
    "CREATE PROCEDURE plain() BEGIN DO computes(); END",
    "CREATE PROCEDURE nested() BEGIN DECLARE n INT; SET n = nests(); END",
    "CREATE PROCEDURE calls_plain() BEGIN CALL plain(); END",
    "CREATE TRIGGER takes BEFORE INSERT ON locked FOR EACH ROW DO GET_LOCK('t', 0)",
    "CREATE TRIGGER counts BEFORE INSERT ON counted FOR EACH ROW SET NEW.v = computes()",
    "CREATE VIEW v_pure AS SELECT id, computes() AS one FROM t",
    "CREATE VIEW v_locks AS SELECT latches() AS got",
    "CREATE VIEW v_sets AS SELECT notes() AS one",
    "CREATE VIEW v_locked AS SELECT id FROM locked",
];

async fn with_schema(flavor: Flavor) -> Bed {
    let bed = Bed::start(flavor, "").await;
    for server in bed.cluster.servers() {
        server.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
    }
    let mut conn = bed.connect().await;
    for sql in SCHEMA {
        conn.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    bed.cluster.wait_caught_up().await.unwrap();
    bed
}

async fn pin(bed: &Bed, conn: &mut Conn) -> Option<&'static str> {
    conn.ping().await.unwrap();
    bed.weir.context.sessions.find(conn.id()).unwrap().view(Instant::now()).pin
}

async fn run(conn: &mut Conn, statements: &str) {
    for sql in statements.split("; ") {
        match sql.strip_prefix('!') {
            Some(sql) => drop(conn.query_drop(sql).await.expect_err(sql)),
            None => conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")),
        }
    }
}

/// Statements, and whether they pin the session.
const CASES: &[(&str, bool)] = &[
    ("SELECT assigns()", true),
    ("SELECT app.`ASSIGNS` ()", true),
    ("SELECT nests()", true),
    ("SELECT latches()", true),
    ("DO inserts(10); DELETE FROM t WHERE id = 99", true),
    ("SET time_zone = IF(assigns(), '+01:00', '+02:00')", true),
    ("CALL nested()", true),
    ("INSERT INTO locked VALUES (1)", true),
    ("!INSERT INTO locked VALUES (1), (1)", true),
    ("INSERT INTO v_locked VALUES (2)", true),
    ("REPLACE INTO locked VALUES (1)", true),
    ("BEGIN; INSERT INTO locked VALUES (11); ROLLBACK", true),
    ("PREPARE s FROM 'INSERT INTO locked VALUES (12)'; EXECUTE s; DEALLOCATE PREPARE s", true),
    ("SELECT * FROM v_locks", true),
    ("SELECT * FROM v_sets", true),
    ("CREATE TABLE made SELECT latches() AS got; DROP TABLE made", true),
    ("SELECT computes(), many()", false),
    ("SELECT * FROM v_pure", false),
    ("SELECT * FROM locked", false),
    ("SELECT * FROM v_locked", false),
    ("CALL plain()", false),
    ("CALL calls_plain()", false),
    ("INSERT INTO counted VALUES (1, 1); DELETE FROM counted", false),
    ("UPDATE t SET v = computes()", false),
    ("!SELECT latches(", false),
];

#[tokio::test]
async fn what_stored_code_leaves_behind_is_noticed() {
    for flavor in flavors() {
        let bed = with_schema(flavor).await;
        pure_functions_in_views_are_read_on_replicas(&bed).await;
        what_it_hides_pins_and_nothing_else(flavor, &bed).await;
        what_it_hides_stays_with_its_session(flavor, &bed).await;
        read_only_transactions_go_on_with_the_writer(flavor, &bed).await;
        it_is_looked_at_again_when_it_changes(flavor, &bed).await;
        bed.stop().await;
    }
}

async fn what_it_hides_pins_and_nothing_else(flavor: Flavor, bed: &Bed) {
    let mut wrong = Vec::new();
    for (statements, expected) in CASES {
        let mut conn = bed.connect().await;
        run(&mut conn, statements).await;
        let found = pin(bed, &mut conn).await;
        if found != expected.then_some(Pin::Unattributed.label()) {
            wrong.push(format!("{statements}: {found:?}"));
        }
        conn.reset().await.unwrap();
        assert_eq!(pin(bed, &mut conn).await, None, "{flavor}: {statements}, reset");
        run(&mut conn, "DELETE FROM locked").await;
    }
    assert!(wrong.is_empty(), "{flavor}:\n{}", wrong.join("\n"));
}

async fn what_it_hides_stays_with_its_session(flavor: Flavor, bed: &Bed) {
    let (mut one, mut other) = (bed.connect().await, bed.connect().await);
    for (statement, binary) in
        [("SELECT assigns()", false), ("SELECT assigns()", true), ("SELECT * FROM v_sets", false)]
    {
        match binary {
            true => one.exec_drop(statement, ()).await.unwrap(),
            false => run(&mut one, statement).await,
        }
        run(&mut other, "UPDATE t SET v = v + 1").await;
        let read: Option<Option<i64>> = other.query_first("SELECT @inside").await.unwrap();
        assert_eq!(read, Some(None), "{flavor}: {statement} of another session");
        let read: Option<Option<i64>> = one.query_first("SELECT @inside").await.unwrap();
        assert!(matches!(read, Some(Some(7 | 8))), "{flavor}: {statement}: {read:?}");
        one.reset().await.unwrap();
    }
    for (statement, lock) in [
        ("INSERT INTO locked VALUES (1)", "t"),
        ("SELECT * FROM v_locks", "f"),
        ("START TRANSACTION READ ONLY; SELECT latches()", "f"),
    ] {
        run(&mut one, statement).await;
        // On a connection that it had not kept, others would get the lock.
        run(&mut other, "UPDATE t SET v = v + 1").await;
        let taken = format!("SELECT GET_LOCK('{lock}', 0)");
        let got: Option<i64> = other.query_first(&taken).await.unwrap();
        assert_eq!(got, Some(0), "{flavor}: {statement}");
        one.reset().await.unwrap();
        let got: Option<i64> = other.query_first(&taken).await.unwrap();
        assert_eq!(got, Some(1), "{flavor}: {statement}, reset");
        other.reset().await.unwrap();
    }
}

/// In a transaction that runs on a replica: what leaves something behind, and what pins the session behind its end.
const READ_ONLY: &[(&str, Option<Pin>)] = &[
    ("SELECT GET_LOCK('r', 0)", Some(Pin::AdvisoryLock)),
    ("SELECT GET_LOCK('r', 0); SELECT RELEASE_LOCK('r')", None),
    ("SELECT 5 INTO @inside", Some(Pin::UserVariable)),
    ("PREPARE s FROM 'SELECT 1'; EXECUTE s", Some(Pin::TextPrepared)),
    ("SELECT latches()", Some(Pin::Unattributed)),
    ("SELECT notes()", Some(Pin::Unattributed)),
    ("SELECT * FROM v_sets", Some(Pin::Unattributed)),
    ("!SELECT GET_LOCK(nobody, 0)", None),
    ("!SELECT GET_LOCK(NULL, 0, 5)", None),
    ("SELECT computes(), many()", None),
    ("SELECT * FROM v_pure", None),
];

async fn read_only_transactions_go_on_with_the_writer(flavor: Flavor, bed: &Bed) {
    for (statements, left) in READ_ONLY {
        let case = format!("{flavor}: {statements}");
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        run(&mut one, &format!("START TRANSACTION READ ONLY; SELECT * FROM t; {statements}")).await;
        assert!(pin(bed, &mut one).await.is_some(), "{case}");
        // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        let error = one.query_drop("UPDATE t SET v = 5").await.unwrap_err();
        assert_eq!(bed::server_error(&error).0, 1792, "{case}: it is that transaction still");
        let free: Option<u8> = other.query_first("SELECT IS_FREE_LOCK('r') AND IS_FREE_LOCK('f')").await.unwrap();
        let locks = statements.contains("latches") || *left == Some(Pin::AdvisoryLock);
        assert_eq!(free, Some(u8::from(!locks)), "{case}: on the writer");
        run(&mut one, "COMMIT").await;
        assert_eq!(pin(bed, &mut one).await, left.map(Pin::label), "{case}, COMMIT");
        run(&mut one, "UPDATE t SET v = v + 1").await;
    }
}

async fn it_is_looked_at_again_when_it_changes(flavor: Flavor, bed: &Bed) {
    let (mut one, mut other) = (bed.connect().await, bed.connect().await);
    for (change, statement, expected) in [
        ("DROP TRIGGER takes", "REPLACE INTO locked VALUES (1)", false),
        (
            "CREATE TRIGGER takes BEFORE DELETE ON locked FOR EACH ROW SET @x = (SELECT @y := 1)",
            "DELETE FROM locked",
            true,
        ),
        ("RENAME TABLE locked TO renamed", "DELETE FROM renamed", true),
        ("DROP FUNCTION assigns; CREATE FUNCTION assigns() RETURNS INT NO SQL RETURN 2", "SELECT nests()", false),
        ("CREATE OR REPLACE VIEW v_pure AS SELECT latches() AS one", "SELECT * FROM v_pure", true),
        ("CREATE OR REPLACE VIEW v_pure AS SELECT computes() AS one", "SELECT * FROM v_pure", false),
        ("DROP FUNCTION latches; CREATE FUNCTION latches() RETURNS INT NO SQL RETURN 2", "SELECT latches()", false),
    ] {
        run(&mut one, change).await;
        run(&mut other, statement).await;
        let found = pin(bed, &mut other).await;
        assert_eq!(found, expected.then_some(Pin::Unattributed.label()), "{flavor}: {statement} after {change}");
        other.reset().await.unwrap();
    }
    // Nobody tells Weir.
    let elsewhere = "CREATE FUNCTION app.elsewhere() RETURNS INT NO SQL RETURN GET_LOCK('e', 0)";
    bed.cluster.writer.exec(elsewhere).await.unwrap();
    until("a function that was made elsewhere is noticed", async || {
        other.reset().await.unwrap();
        run(&mut other, "SELECT elsewhere()").await;
        pin(bed, &mut other).await.is_some()
    })
    .await;
}

async fn pure_functions_in_views_are_read_on_replicas(bed: &Bed) {
    let mut conn = bed.connect().await;
    let (reads, functions) = (bed.count(Reason::Read), bed.count(Reason::UnknownFunction));
    run(&mut conn, "SELECT * FROM v_pure; SELECT * FROM v_locked; SELECT assigns FROM (SELECT 1 AS assigns) AS d")
        .await;
    until("three plain reads", || async { bed.count(Reason::Read) == reads + 3 }).await;
    run(&mut conn, "SELECT * FROM v_locks; SELECT 1 FROM v_sets").await;
    until("two for the writer", || async {
        bed.count(Reason::UnknownFunction) + bed.count(Reason::Pinned) >= functions + 2
    })
    .await;
}

/// What is made by others than the accounts that Weir knows, of which the application's has what it needs.
const HIDDEN: &[&str] = &[
    "SET GLOBAL log_bin_trust_function_creators = 1",
    "CREATE TABLE app.locked (id INT PRIMARY KEY)",
    "CREATE TRIGGER app.takes BEFORE INSERT ON app.locked FOR EACH ROW DO GET_LOCK('t', 0)",
    "CREATE FUNCTION app.latches() RETURNS INT NO SQL RETURN GET_LOCK('f', 0)",
    "CREATE SQL SECURITY DEFINER VIEW app.v_locks AS SELECT app.latches() AS got",
    "CREATE SQL SECURITY DEFINER VIEW app.v_plain AS SELECT id FROM app.locked",
    "CREATE USER least@'%' IDENTIFIED BY 'least-secret'",
    "GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON app.* TO least@'%'",
];

#[tokio::test]
async fn what_weir_may_not_see_is_told_with_the_grant_that_mends_it() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 0).await.unwrap();
        for sql in HIDDEN {
            cluster.writer.exec(sql).await.unwrap();
        }
        let least = "name = \"least\"\npassword = \"least-secret\"";
        let text = basics(&cluster).replace("name = \"app\"\npassword = \"app-secret\"", least);
        let routines = if flavor == Flavor::MariaDb { "SELECT ON mysql.proc" } else { "SHOW_ROUTINE ON *.*" };
        let triggers = match flavor {
            Flavor::MariaDb => "the texts of triggers on `app`.`locked` are not shown",
            Flavor::MySql9 => "triggers, if any, on `app`.* are not shown",
        };
        let told = [
            ("the texts of routines `app`.`latches` are not shown", routines),
            ("the texts of views `app`.`v_locks`, `app`.`v_plain` are not shown", "SELECT, SHOW VIEW ON *.*"),
            (triggers, "TRIGGER ON *.*"),
        ];
        let parsed = config::parse(&text, &ProcessSecrets).unwrap();
        let table = check(&parsed).await.to_string();
        let folder = Folder::new("stored-code");
        let process = Process::start(&["run", "--config", &folder.file("weir.toml", &text)]);
        for (gap, grant) in told {
            let grant = format!("GRANT {grant} TO \"probe\"");
            assert!(table.contains(gap) && table.contains(&grant), "{flavor}: {gap}: {table}");
            let logged = process.logged(gap).await;
            assert!(logged.contains("WARN") && logged.contains(&grant), "{flavor}: {logged}");
        }
        let bed = Bed::with_config(cluster, &text).await;
        let options = bed.options().user(Some("least")).pass(Some("least-secret")).db_name(Some("app"));
        let mut conn = Conn::new(options).await.unwrap();
        run(&mut conn, "INSERT INTO locked VALUES (0)").await;
        let noticed = pin(&bed, &mut conn).await.is_some();
        assert_eq!(noticed, flavor == Flavor::MariaDb, "{flavor}: where it is known to be there");
        for view in ["v_locks", "v_plain"] {
            conn.reset().await.unwrap();
            run(&mut conn, &format!("SELECT * FROM {view}")).await;
            assert!(pin(&bed, &mut conn).await.is_some(), "{flavor}: nobody knows what {view} does");
        }
        // Who reads views needs no more than that.
        bed.cluster.writer.exec("GRANT SHOW VIEW ON app.* TO least@'%'").await.unwrap();
        assert!(!check(&parsed).await.to_string().contains("the texts of views"), "{flavor}");
        bed.cluster.writer.exec("REVOKE SHOW VIEW ON app.* FROM least@'%'").await.unwrap();
        for (gap, grant) in told {
            bed.cluster.writer.exec(&format!("GRANT {grant} TO probe@'%'")).await.unwrap();
            let table = check(&parsed).await.to_string();
            assert!(!table.contains(gap), "{flavor}: {grant}: {table}");
        }
        let mut id = 0;
        until("the trigger is read", async || {
            conn.reset().await.unwrap();
            id += 1;
            run(&mut conn, &format!("INSERT INTO locked VALUES ({id})")).await;
            pin(&bed, &mut conn).await == Some(Pin::Unattributed.label())
        })
        .await;
        until("the views are read", async || {
            conn.reset().await.unwrap();
            run(&mut conn, "SELECT * FROM v_plain").await;
            pin(&bed, &mut conn).await.is_none()
        })
        .await;
        run(&mut conn, "SELECT * FROM v_locks").await;
        assert_eq!(pin(&bed, &mut conn).await, Some(Pin::Unattributed.label()), "{flavor}");
        for (gap, _) in told {
            assert_eq!(process.log().matches(gap).count(), 1, "{flavor}: {}", process.log());
        }
        conn.disconnect().await.unwrap();
        bed.stop().await;
    }
}
