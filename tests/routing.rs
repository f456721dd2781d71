//! Where statements go, on real servers: hints, rules, groups, routes, weights, and statements about the one before.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, answering_port, flavors, server_error};
use mysql_async::{Conn, prelude::*};
use weir::{
    sandbox::{Cluster, Flavor},
    sql,
    telemetry::Reason,
};

async fn cluster(flavor: Flavor) -> Cluster {
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    for sql in [
        "SET GLOBAL log_bin_trust_function_creators = 1",
        "CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
        "INSERT INTO app.t (v) VALUES (1), (2), (3)",
        "CREATE TABLE app.child (parent INT)",
        "CREATE TABLE app.oauth_token (id INT)",
        "CREATE FUNCTION app.writes() RETURNS INT DETERMINISTIC BEGIN INSERT INTO app.t (v) VALUES (9); RETURN 1; END",
        "CREATE FUNCTION app.computes() RETURNS INT NO SQL RETURN 1",
        "CREATE USER report@'%' IDENTIFIED BY 'report-secret'",
        "GRANT ALL ON *.* TO report@'%'",
    ] {
        cluster.writer.exec(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    cluster.wait_caught_up().await.unwrap();
    cluster
}

/// The config of the bed with the group `analytics` on `db2`, and `change` made to it.
fn config(cluster: &Cluster, change: impl Fn(String) -> String, extra: &str) -> String {
    let text = bed::basics(cluster).replace("name = \"db2\"", "name = \"db2\"\ngroups = [\"analytics\"]");
    change(text) + extra
}

/// Which server answers, by name.
async fn answers(bed: &Bed, conn: &mut Conn, hint: &str) -> &'static str {
    let port = answering_port(conn, hint).await;
    let place = bed.cluster.servers().position(|server| server.port() == port).unwrap();
    ["db0", "db1", "db2"][place]
}

/// Runs a statement and tells why it went where it went.
async fn reason(bed: &Bed, conn: &mut Conn, sql: &str) -> Reason {
    // A statement is counted once it is over, which it is when the next command is answered.
    conn.ping().await.unwrap();
    let before: Vec<u64> = Reason::ALL.iter().map(|reason| bed.count(*reason)).collect();
    let result = conn.query_drop(sql).await;
    conn.ping().await.unwrap();
    assert!(result.is_ok() || sql.starts_with("!"), "{sql}: {result:?}");
    let changed =
        |(reason, before): (&Reason, u64)| (*reason != Reason::Local && bed.count(*reason) > before).then_some(*reason);
    let mut reasons = Reason::ALL.iter().zip(before).filter_map(changed);
    let found = reasons.next().unwrap_or_else(|| panic!("{sql} was not counted"));
    assert_eq!(reasons.next(), None, "{sql} was counted twice");
    found
}

#[tokio::test]
async fn every_statement_has_its_reason() {
    const CASES: &[(&str, Reason)] = &[
        ("SELECT * FROM t", Reason::Read),
        ("SELECT * FROM t FOR UPDATE", Reason::LockingRead),
        ("SELECT * FROM t LOCK IN SHARE MODE", Reason::LockingRead),
        ("SELECT computes()", Reason::UnknownFunction),
        ("SELECT writes()", Reason::UnknownFunction),
        ("/* weir:reader */ SELECT computes()", Reason::Hint),
        ("/* weir:writer */ SELECT 1", Reason::Hint),
        ("/* weir:group=analytics */ SELECT 1", Reason::Hint),
        ("/* weir:reader */ UPDATE t SET v = 1 WHERE id = 1", Reason::Write),
        ("/* weir:group=analytics */ DELETE FROM t WHERE id = 999", Reason::Write),
        ("/* weir:reader */ SELECT * FROM t FOR UPDATE", Reason::LockingRead),
        ("SELECT @@version", Reason::SystemVariable),
        ("SHOW WARNINGS", Reason::Diagnostics),
        ("SELECT LAST_INSERT_ID()", Reason::Diagnostics),
        ("SELECT CONNECTION_ID()", Reason::ConnectionState),
        ("SHOW TABLES", Reason::Read),
        ("EXPLAIN SELECT * FROM t", Reason::Read),
        ("WITH c AS (SELECT 1) SELECT * FROM c", Reason::Read),
        ("SET time_zone = '+01:00'", Reason::SessionStatement),
        ("USE app2", Reason::SessionStatement),
        ("CREATE TABLE made (id INT)", Reason::Write),
        ("DROP TABLE made", Reason::Write),
    ];
    for flavor in flavors() {
        let cluster = cluster(flavor).await;
        let text = config(&cluster, |text| text, "");
        let bed = Bed::with_config(cluster, &text).await;
        let mut conn = bed.connect().await;
        for (sql, expected) in CASES {
            assert_eq!(reason(&bed, &mut conn, sql).await, *expected, "{flavor}: {sql}");
        }
        let mut conn = bed.connect().await;
        assert_eq!(
            reason(&bed, &mut conn, "START TRANSACTION READ ONLY").await,
            Reason::ReadOnlyTransaction,
            "{flavor}"
        );
        assert_ne!(answers(&bed, &mut conn, "").await, "db0", "{flavor}: inside");
        conn.query_drop("COMMIT").await.unwrap();
        assert_eq!(reason(&bed, &mut conn, "BEGIN").await, Reason::Begin, "{flavor}");
        assert_eq!(reason(&bed, &mut conn, "SELECT 1").await, Reason::Transaction, "{flavor}");
        conn.query_drop("ROLLBACK").await.unwrap();
        conn.query_drop("SET autocommit = 0").await.unwrap();
        assert_eq!(reason(&bed, &mut conn, "SELECT 1").await, Reason::AutocommitOff, "{flavor}");
        conn.query_drop("SET autocommit = 1").await.unwrap();
        for (hint, expected) in [
            ("/* weir:writer */", "db0"),
            ("/* weir:group=analytics */", "db2"),
            ("/* weir:server=db1 */", "db1"),
            ("", "db0"),
        ] {
            assert_eq!(answers(&bed, &mut conn, hint).await, expected, "{flavor}: {hint}");
        }
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_read_only_transaction_on_a_replica_sees_what_the_session_wrote() {
    for flavor in flavors() {
        let cluster = cluster(flavor).await;
        let text = config(&cluster, |text| text, "");
        let bed = Bed::with_config(cluster, &text).await;
        let mut conn = bed.connect().await;
        for round in 0..20 {
            conn.query_drop(format!("UPDATE t SET v = {round} WHERE id = 1")).await.unwrap();
            conn.query_drop("START TRANSACTION READ ONLY").await.unwrap();
            let seen: Option<u32> = conn.query_first("SELECT v FROM t WHERE id = 1").await.unwrap();
            assert_eq!(seen, Some(round), "{flavor}");
            let error = conn.query_drop("UPDATE t SET v = 0").await.unwrap_err();
            assert_eq!(server_error(&error), (1792, "25006".to_owned()), "{flavor}: {error}");
            assert_ne!(answers(&bed, &mut conn, "").await, "db0", "{flavor}");
            conn.query_drop("COMMIT").await.unwrap();
        }
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn rules_send_statements_where_they_say() {
    for flavor in flavors() {
        let cluster = cluster(flavor).await;
        let mode = sql::Mode {
            dialect: sql::Dialect::MySql,
            version: 80_000,
            ansi_quotes: false,
            no_backslash_escapes: false,
        };
        let digest = sql::digest(b"SELECT id FROM t WHERE v = 7", mode).0;
        let rules = format!(
            "[[rules]]\nname = \"tokens\"\ntables = [\"oauth_*\"]\nto = \"writer\"\n\
             [[rules]]\nname = \"reports\"\nusers = [\"report\"]\nto = \"group:analytics\"\n\
             [[rules]]\nname = \"digest\"\ndigests = [\"{digest:016x}\"]\nto = \"writer\"\n\
             [[rules]]\nname = \"archive\"\nschemas = [\"app2\"]\nto = \"group:analytics\"\n\
             [[rules]]\nname = \"no dumps\"\nregex = \"SQL_NO_CACHE\"\nto = \"reject\"\n\
             [[rules]]\nname = \"elsewhere\"\nclient_addresses = [\"10.0.0.0/8\"]\nto = \"reject\"\n\
             [[rules]]\nname = \"vouched\"\nregex = \"computes\"\nclient_addresses = [\"127.0.0.0/8\"]\nto = \"reader\"\n\
             [[users]]\nname = \"report\"\npassword = \"report-secret\"\n"
        );
        let text = config(&cluster, |text| text, &rules);
        let bed = Bed::with_config(cluster, &text).await;
        let mut conn = bed.connect().await;
        for (sql, expected) in [
            ("SELECT * FROM oauth_token", Reason::Rule),
            ("SELECT * FROM app.oauth_token", Reason::Rule),
            ("SELECT * FROM t", Reason::Read),
            ("SELECT id FROM t WHERE v = 12345", Reason::Rule),
            ("SELECT computes()", Reason::Rule),
            ("SELECT computes() FOR UPDATE", Reason::LockingRead),
        ] {
            assert_eq!(reason(&bed, &mut conn, sql).await, expected, "{flavor}: {sql}");
        }
        for sql in ["SELECT SQL_NO_CACHE * FROM t", "BEGIN; SELECT SQL_NO_CACHE * FROM t"] {
            let mut error = None;
            for part in sql.split("; ") {
                error = conn.query_drop(part).await.err();
            }
            let error = error.unwrap_or_else(|| panic!("{flavor}: {sql} was not rejected"));
            assert_eq!(server_error(&error), (3164, "HY000".to_owned()), "{flavor}: {sql}");
        }
        conn.query_drop("ROLLBACK").await.unwrap();
        conn.query_drop("USE app2").await.unwrap();
        assert_eq!(answers(&bed, &mut conn, "/* rule */").await, "db2", "{flavor}: a schema's rule");
        let options = bed.options().user(Some("report")).pass(Some("report-secret"));
        let mut report = Conn::new(options).await.unwrap();
        assert_eq!(answers(&bed, &mut report, "/* rule */").await, "db2", "{flavor}: a user's rule");
        report.query_drop("INSERT INTO t (v) VALUES (4)").await.unwrap();
        drop((conn, report));
        bed.stop().await;
    }
}

#[tokio::test]
async fn listeners_have_their_routes() {
    for flavor in flavors() {
        let cluster = cluster(flavor).await;
        let listeners: String = ["writer", "reader", "group:analytics", "server:db1"]
            .iter()
            .map(|route| format!("[[listeners]]\naddress = \"127.0.0.1:0\"\nroute = \"{route}\"\n"))
            .collect();
        let text = config(&cluster, |text| text, &listeners);
        let bed = Bed::with_config(cluster, &text).await;
        let expected: [&[&str]; 5] = [&["db0"], &["db0"], &["db1", "db2"], &["db2"], &["db1"]];
        for (listener, servers) in bed.weir.addresses.listeners.iter().zip(expected) {
            let options = bed.options().tcp_port(listener.unwrap().port());
            let mut conn = Conn::new(options).await.unwrap();
            let found = answers(&bed, &mut conn, "").await;
            assert!(servers.contains(&found), "{flavor}: {found}, not {servers:?}");
            let wrote = conn.query_drop("INSERT INTO t (v) VALUES (5)").await;
            assert_eq!(wrote.is_ok(), servers == ["db0"], "{flavor}: a write by way of {servers:?}");
            conn.query_drop("SET @a = 1").await.unwrap();
            let row: Option<u8> = conn.query_first("SELECT @a").await.unwrap();
            assert_eq!(row, Some(1), "{flavor}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_writer_with_a_weight_takes_its_share() {
    for flavor in flavors() {
        let cluster = cluster(flavor).await;
        let weigh = |text: String| text.replace("role = \"writer\"", "role = \"writer\"\nweight = 50");
        let text = config(&cluster, weigh, "[runtime]\nworkers = 1\n");
        let bed = Bed::with_config(cluster, &text).await;
        bed::until("all servers take reads", || async {
            bed.weir
                .context
                .cluster
                .load()
                .members
                .iter()
                .all(|member| member.up && member.fresh && member.effective_weight == member.weight)
        })
        .await;
        let mut conn = bed.connect().await;
        conn.ping().await.unwrap();
        let before = ["db0", "db1", "db2"].map(|name| bed.served(name).0);
        for _ in 0..50 {
            conn.query_drop("SELECT * FROM t").await.unwrap();
        }
        conn.ping().await.unwrap();
        let after = ["db0", "db1", "db2"].map(|name| bed.served(name).0);
        let served: Vec<u64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        assert_eq!(served, [10, 20, 20], "{flavor}");
        assert_eq!(bed.count(Reason::WriterShare), 10, "{flavor}");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn statements_about_the_one_before_are_answered_by_its_connection() {
    for flavor in flavors() {
        let cluster = cluster(flavor).await;
        let text = config(&cluster, |text| text, "");
        let bed = Bed::with_config(cluster, &text).await;
        let sessions: Vec<_> = (0..10_u32)
            .map(|number| {
                let options = bed.options();
                tokio::spawn(async move {
                    let mut conn = Conn::new(options).await.unwrap();
                    for _ in 0..10 {
                        conn.query_drop(format!("INSERT INTO t (v) VALUES ({number})")).await.unwrap();
                        let id = conn.last_insert_id().unwrap();
                        conn.query_drop("SELECT 1").await.unwrap();
                        let told: Option<u64> = conn.query_first("SELECT LAST_INSERT_ID()").await.unwrap();
                        assert_eq!(told, Some(id));
                        conn.query_drop("INSERT INTO child VALUES (LAST_INSERT_ID())").await.unwrap();
                        let sql = format!("SELECT COUNT(*) FROM child WHERE parent = {id}");
                        assert_eq!(conn.query_first(sql).await.unwrap(), Some(1), "{id}");
                        let text = format!("session {number}");
                        conn.query_drop(format!("SELECT CAST('{text}' AS SIGNED)")).await.unwrap();
                        let warnings: Vec<(String, u16, String)> = conn.query("SHOW WARNINGS").await.unwrap();
                        assert!(warnings.len() == 1 && warnings[0].2.contains(&text), "{warnings:?}");
                        let error = conn.query_drop(format!("SELECT nothing_{number}")).await.unwrap_err();
                        let errors: Vec<(String, u16, String)> = conn.query("SHOW ERRORS").await.unwrap();
                        assert!(errors.len() == 1 && errors[0].1 == server_error(&error).0, "{errors:?}");
                        conn.query_drop("SELECT SQL_CALC_FOUND_ROWS * FROM t WHERE id <= 3 LIMIT 1").await.unwrap();
                        assert_eq!(conn.query_first("SELECT FOUND_ROWS()").await.unwrap(), Some(3));
                    }
                })
            })
            .collect();
        for session in sessions {
            session.await.unwrap_or_else(|error| panic!("{flavor}: {error}"));
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn nobody_is_told_of_a_statement_of_somebody_else() {
    for flavor in flavors() {
        let cluster = cluster(flavor).await;
        let narrow = |text: String| text.replace("role =", "max_connections = 1\nrole =");
        let text = config(&cluster, narrow, "");
        let bed = Bed::with_config(cluster, &text).await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("INSERT INTO t (v) VALUES (100)").await.unwrap();
        let id = one.last_insert_id().unwrap();
        let nothing: Option<u64> = other.query_first("SELECT LAST_INSERT_ID()").await.unwrap();
        assert_eq!(nothing, Some(0), "{flavor}: an insert id");
        other.query_drop("INSERT INTO t (v) VALUES (101)").await.unwrap();
        assert_eq!(one.query_first("SELECT LAST_INSERT_ID()").await.unwrap(), Some(id), "{flavor}");
        let found: Option<u64> = other.exec_first("SELECT LAST_INSERT_ID()", ()).await.unwrap();
        assert_eq!(found, Some(id + 1), "{flavor}: prepared");
        one.query_drop("/* weir:writer */ SELECT CAST('secret' AS SIGNED)").await.unwrap();
        let warnings: Vec<(String, u16, String)> = other.query("SHOW WARNINGS").await.unwrap();
        assert!(warnings.is_empty(), "{flavor}: {warnings:?}");
        one.query_drop("UPDATE t SET v = 102 WHERE id <= 2").await.unwrap();
        other.query_drop("/* weir:writer */ SELECT 1").await.unwrap();
        let count: Option<i64> = one.query_first("SELECT ROW_COUNT()").await.unwrap();
        assert_ne!(count, Some(1), "{flavor}: somebody else's row count");
        drop((one, other));
        bed.stop().await;
    }
}

/// The `BEGIN` would end it, if it were run.
#[tokio::test]
async fn a_refused_begin_leaves_the_transaction_on_its_replica() {
    let rule = "[[rules]]\nname = \"no\"\nregex = \"not here\"\nto = \"reject\"\n";
    for flavor in flavors() {
        let bed = Bed::start(flavor, rule).await;
        let (mut conn, mut other) = (bed.connect().await, bed.connect().await);
        conn.query_drop("CREATE TABLE once (id INT PRIMARY KEY)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        conn.query_drop("START TRANSACTION READ ONLY").await.unwrap();
        let look = "SELECT @@port, COUNT(*) FROM once";
        let (port, count): (u16, u32) = conn.query_first(look).await.unwrap().unwrap();
        assert_ne!(port, bed.cluster.writer.port(), "{flavor}: it is on a replica");
        assert_eq!(count, 0, "{flavor}");
        other.query_drop("INSERT INTO once VALUES (1)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        for refused in
            ["BEGIN /* not here */", "LOCK TABLES once READ /* not here */", "DROP TABLE once /* not here */"]
        {
            let error = conn.query_drop(refused).await.unwrap_err();
            assert_eq!(server_error(&error).0, 3164, "{flavor}: {refused}: {error}");
            let seen: (u16, u32) = conn.query_first(look).await.unwrap().unwrap();
            assert_eq!(seen, (port, 0), "{flavor}: {refused}: it sees what it saw");
        }
        conn.query_drop("COMMIT").await.unwrap();
        drop((conn, other));
        bed.stop().await;
    }
}
