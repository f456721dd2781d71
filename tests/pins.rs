//! What makes a session keep its server connection, and what ends that, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{sync::Arc, time::Instant};

use bed::{Bed, flavors};
use mysql_async::{ChangeUserOpts, Conn, prelude::*};
use weir::{
    backend::{Identity, Links, Place, ServerConnection},
    config::{Address, ServerTlsMode},
    net::Scratch,
    protocol::{Capabilities, ResponseTracker, Shape, auth::Credential, code, login::Attributes, put_packets},
    sandbox::Flavor,
    telemetry::Pin,
};

/// Tables, routines and a role for every case below.
const SCHEMA: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
    "INSERT INTO t VALUES (1, 1), (2, 2)",
    "CREATE TABLE triggered (id INT PRIMARY KEY)",
    "CREATE TRIGGER sets BEFORE INSERT ON triggered FOR EACH ROW SET @trigger = 1",
    "CREATE PROCEDURE nothing() BEGIN DO 0; END",
    "CREATE PROCEDURE opens() BEGIN START TRANSACTION; INSERT INTO t VALUES (50, 0); END",
    "CREATE PROCEDURE opens_and_fails() BEGIN START TRANSACTION; INSERT INTO t VALUES (51, 0); \
     SIGNAL SQLSTATE '45000'; END",
    "CREATE PROCEDURE sets_and_fails() BEGIN SET @inside = 1; SIGNAL SQLSTATE '45000'; END",
    "CREATE PROCEDURE sets_both() BEGIN SET @inside = 1; SET SESSION time_zone = '+01:00'; END",
    "CREATE PROCEDURE sets_and_selects() BEGIN SET @inside = 1; SELECT 1; END",
    "CREATE FUNCTION sets_it() RETURNS INT NO SQL BEGIN SET @inside = 1; RETURN 1; END",
    "CREATE FUNCTION computes() RETURNS INT NO SQL RETURN 1",
    "CREATE FUNCTION sets_and_fails() RETURNS INT NO SQL BEGIN SET @inside = 1; SIGNAL SQLSTATE '45000'; RETURN 1; END",
    "CREATE PROCEDURE selects_into() BEGIN SELECT 1 INTO @hidden; END",
    "CREATE PROCEDURE assigns() BEGIN DECLARE n INT; SET n = (SELECT @hidden := 3); END",
    "CREATE PROCEDURE locks() BEGIN DO GET_LOCK('hidden', 0); END",
    "CREATE PROCEDURE takes_role() BEGIN SET ROLE reporting; END",
    "CREATE PROCEDURE calls() BEGIN CALL selects_into(); END",
    "CREATE PROCEDURE runs(text TEXT) BEGIN SET @text = text; PREPARE s FROM @text; EXECUTE s; DEALLOCATE PREPARE s; END",
    "CREATE PROCEDURE unscoped() BEGIN SET @@time_zone = '+01:00'; END",
    "CREATE PROCEDURE sets_session() BEGIN SET SESSION group_concat_max_len = 2048; END",
    "CREATE PROCEDURE sets_mode() BEGIN SET SESSION sql_mode = 'ANSI'; END",
    "CREATE PROCEDURE makes_table() BEGIN CREATE TEMPORARY TABLE hidden (id INT); END",
    "CREATE PROCEDURE writes(v INT) BEGIN DECLARE n INT; SELECT COUNT(*) INTO n FROM t; UPDATE t SET v = n; END",
    "CREATE ROLE reporting",
    "GRANT reporting TO app@'%'",
];

async fn with_schema(flavor: Flavor) -> Bed {
    let bed = Bed::start(flavor, "").await;
    bed.cluster.writer.exec("SET GLOBAL log_bin_trust_function_creators = 1").await.unwrap();
    let mut conn = bed.connect().await;
    for sql in SCHEMA {
        conn.query_drop(*sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    bed.cluster.wait_caught_up().await.unwrap();
    bed
}

/// Why a session holds a connection, as the operator sees it.
fn pin_of(bed: &Bed, id: u32) -> Option<&'static str> {
    bed.weir.context.sessions.find(id).unwrap().view(Instant::now()).pin
}

/// The same once the statement before is wholly dealt with, which it is when the next command is answered.
async fn pin(bed: &Bed, conn: &mut Conn) -> Option<&'static str> {
    conn.ping().await.unwrap();
    pin_of(bed, conn.id())
}

/// Runs statements separated by `;`. Those behind a `!` must fail.
async fn run(conn: &mut Conn, statements: &str) {
    for sql in statements.split(';').map(str::trim).filter(|sql| !sql.is_empty()) {
        match sql.strip_prefix('!') {
            Some(sql) => drop(conn.query_drop(sql).await.expect_err(sql)),
            None => conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")),
        }
    }
}

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
    ("SET TRANSACTION READ ONLY; CALL nothing(); SELECT * FROM t", Pin::Unattributed),
    ("!CALL sets_and_fails()", Pin::Unattributed),
    ("SELECT sets_it()", Pin::Unattributed),
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

/// A client without `CLIENT_DEPRECATE_EOF`, as many drivers are: the end of its results has no room for changes.
struct OldClient(ServerConnection);

impl OldClient {
    async fn connect(bed: &Bed) -> Self {
        let capabilities = Capabilities::PROTOCOL_41.with(Capabilities::MULTI_RESULTS);
        let credential = Credential::Password((*b"app-secret").into());
        let (user, attributes) = ("app".into(), Attributes::default());
        let identity = Identity { user, credential, capabilities, collation: 45, origin: None, attributes };
        let address = Address::Tcp { host: "127.0.0.1".into(), port: bed.port() };
        let links = bed.weir.context.cluster.load().links.clone();
        let links = Links { tls: ServerTlsMode::Disabled, ..Links::clone(&links) };
        let (identity, scratch) = (Arc::new(identity), Scratch::new(1 << 16));
        let connection =
            ServerConnection::open(Place::of(&address), identity, &links, &scratch, Instant::now()).await.unwrap();
        let mut client = Self(connection);
        // It asked for reports, as Weir does of servers.
        client.command(&[code::RESET_CONNECTION]).await;
        client.command(b"\x02app").await;
        client
    }

    /// Runs a command to the end of its reply.
    async fn command(&mut self, payload: &[u8]) {
        let (scratch, shape) = (Scratch::new(1 << 16), Shape::Results);
        let mut bytes = Vec::new();
        put_packets(&mut bytes, &mut 0, payload);
        self.0.packets.write_bytes(&bytes).await.unwrap();
        let mut tracker = ResponseTracker::new(shape, Capabilities::NONE);
        self.0.packets.sequence = 1;
        while !tracker.is_done() {
            let (mut sequence, mut payload, mut packet) = (self.0.packets.sequence, Vec::new(), Vec::new());
            self.0.packets.read_payload(&scratch, &mut payload, 1 << 20).await.unwrap();
            put_packets(&mut packet, &mut sequence, &payload);
            tracker.advance(&mut packet).unwrap();
        }
    }

    async fn query(&mut self, sql: &str) {
        self.command(&[&[code::QUERY], sql.as_bytes()].concat()).await;
    }

    async fn pin(&mut self, bed: &Bed) -> Option<&'static str> {
        self.command(&[code::PING]).await;
        pin_of(bed, self.0.thread)
    }
}

#[tokio::test]
async fn state_behind_a_result_without_reports_is_found() {
    const CASES: &[(&str, Option<Pin>)] = &[
        ("SELECT sets_it()", Some(Pin::Unattributed)),
        ("SELECT computes()", None),
        ("SELECT * FROM t", None),
        ("BEGIN; SELECT * FROM t", Some(Pin::Transaction)),
        ("BEGIN; SELECT * FROM t; COMMIT", None),
        ("BEGIN; SELECT sets_it(); COMMIT", Some(Pin::Unattributed)),
        ("SET autocommit = 0; SELECT * FROM t; COMMIT", None),
        ("CALL nothing()", None),
        ("CALL sets_both()", Some(Pin::Unattributed)),
        ("CALL sets_and_selects()", Some(Pin::Unattributed)),
    ];
    for flavor in flavors() {
        let bed = with_schema(flavor).await;
        for (statements, expected) in CASES {
            let mut client = OldClient::connect(&bed).await;
            for sql in statements.split("; ") {
                client.query(sql).await;
            }
            assert_eq!(client.pin(&bed).await, expected.map(Pin::label), "{flavor}: {statements}");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn errors_inside_transactions_leave_the_right_state() {
    for flavor in flavors() {
        let bed = with_schema(flavor).await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        // A deadlock ends the victim's transaction, whichever of the two it is.
        run(&mut one, "BEGIN; UPDATE t SET v = 10 WHERE id = 1").await;
        run(&mut other, "BEGIN; UPDATE t SET v = 20 WHERE id = 2").await;
        let first = async {
            let result = one.query_drop("UPDATE t SET v = 10 WHERE id = 2").await;
            (result.is_ok(), one)
        };
        let second = async {
            let result = other.query_drop("UPDATE t SET v = 20 WHERE id = 1").await;
            (result.is_ok(), other)
        };
        let ((one_lives, mut one), (other_lives, mut other)) = tokio::join!(first, second);
        assert!(one_lives != other_lives, "{flavor}: one of them is the victim");
        for (lives, conn) in [(one_lives, &mut one), (other_lives, &mut other)] {
            let expected = lives.then_some(Pin::Transaction.label());
            assert_eq!(pin(&bed, conn).await, expected, "{flavor}: behind a deadlock");
            run(conn, "ROLLBACK").await;
        }
        // A lock wait timeout ends the statement, not the transaction.
        run(&mut one, "BEGIN; UPDATE t SET v = 10 WHERE id = 1").await;
        run(&mut other, "SET innodb_lock_wait_timeout = 1; BEGIN; UPDATE t SET v = 20 WHERE id = 2").await;
        run(&mut other, "!UPDATE t SET v = 20 WHERE id = 1").await;
        assert_eq!(pin(&bed, &mut other).await, Some(Pin::Transaction.label()), "{flavor}: behind a lock wait timeout");
        let own: Option<i32> = other.query_first("SELECT v FROM t WHERE id = 2").await.unwrap();
        assert_eq!(own, Some(20), "{flavor}: the transaction goes on");
        run(&mut other, "ROLLBACK").await;
        run(&mut one, "ROLLBACK").await;
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_reset_ends_locks_and_transactions_before_it_is_answered() {
    for flavor in flavors() {
        let bed = with_schema(flavor).await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        for round in 0..10 {
            run(&mut one, "BEGIN; SELECT GET_LOCK('l', 0); UPDATE t SET v = 99 WHERE id = 1").await;
            one.reset().await.unwrap();
            let free: Option<u8> = other.query_first("SELECT GET_LOCK('l', 0)").await.unwrap();
            assert_eq!(free, Some(1), "{flavor}: round {round}");
            run(&mut other, "SELECT * FROM t WHERE id = 1 FOR UPDATE NOWAIT; SELECT RELEASE_ALL_LOCKS()").await;
            run(&mut one, "USE app").await;
        }
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_that_loses_its_transaction_hears_of_it_and_others_do_not() {
    for flavor in flavors() {
        let bed = with_schema(flavor).await;
        let (mut pinned, mut free) = (bed.connect().await, bed.connect().await);
        run(&mut pinned, "BEGIN; UPDATE t SET v = 10 WHERE id = 1").await;
        run(&mut free, "UPDATE t SET v = 20 WHERE id = 2").await;
        let threads = "SELECT id FROM information_schema.processlist WHERE user = 'app'";
        for row in bed.cluster.writer.rows(threads).await.unwrap() {
            let id: u64 = row.get(0).unwrap();
            bed.cluster.writer.exec(&format!("KILL {id}")).await.unwrap();
        }
        let error = pinned.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap_err();
        assert_eq!(bed::server_error(&error).0, 2013, "{flavor}");
        assert!(pinned.query_drop("SELECT 1").await.is_err(), "{flavor}: the session is over");
        let value: Option<i32> = free.query_first("SELECT v FROM t WHERE id = 1 FOR UPDATE").await.unwrap();
        assert_eq!(value, Some(1), "{flavor}: rolled back");
        drop(free);
        bed.stop().await;
    }
}
