//! Sessions share server connections and never see each other's state, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, flavors};
use mysql_async::{Conn, OptsBuilder, Row, prelude::*};
use weir::sandbox::{Cluster, Flavor};

/// A bed whose pools have room for `connections` connections to each server.
async fn narrow(flavor: Flavor, connections: u32, extra: &str) -> Bed {
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    let basics = bed::basics(&cluster).replace("role =", &format!("max_connections = {connections}\nrole ="));
    Bed::with_config(cluster, &(basics + extra)).await
}

/// The same options, past Weir.
fn direct(options: OptsBuilder, port: u16) -> OptsBuilder {
    options.tcp_port(port)
}

const SESSIONS: usize = 200;
const CONNECTIONS: u32 = 5;
const ROUNDS: usize = 4;

/// What one of the sessions holds, all of it different from its neighbours'.
struct Own {
    number: usize,
    settings: Vec<(&'static str, String)>,
    schema: &'static str,
    charset: (&'static str, &'static str),
}

impl Own {
    fn new(flavor: Flavor, number: usize) -> Self {
        let isolation = match flavor {
            Flavor::MariaDb => "tx_isolation",
            Flavor::MySql9 => "transaction_isolation",
        };
        let pick = |values: &[&str]| values[number % values.len()].to_owned();
        let settings = vec![
            ("sql_mode", pick(&["ANSI_QUOTES", "", "NO_BACKSLASH_ESCAPES", "STRICT_ALL_TABLES,ANSI_QUOTES"])),
            ("time_zone", format!("+{:02}:{:02}", number % 13, number % 60)),
            ("lock_wait_timeout", (1000 + number).to_string()),
            ("group_concat_max_len", (5000 + number).to_string()),
            ("foreign_key_checks", pick(&["0", "1"])),
            ("sql_select_limit", (100_000 + number).to_string()),
            ("lc_time_names", pick(&["de_DE", "fr_FR", "en_US"])),
            (isolation, pick(&["READ-COMMITTED", "SERIALIZABLE", "REPEATABLE-READ", "READ-UNCOMMITTED"])),
        ];
        let charsets = [("utf8mb4", "utf8mb4_bin"), ("latin1", "latin1_german2_ci"), ("utf8mb4", "utf8mb4_unicode_ci")];
        Self { number, settings, schema: ["app", "app2"][number % 2], charset: charsets[number % 3] }
    }

    /// Whether this session has changed its variables at all.
    fn is_plain(&self) -> bool {
        self.number.is_multiple_of(10)
    }

    /// The values of its settings as texts.
    fn columns(&self) -> String {
        let column = |(name, _): &(&str, String)| match *name {
            "foreign_key_checks" => "IF(@@foreign_key_checks, '1', '0')".to_owned(),
            name => format!("CAST(@@{name} AS CHAR)"),
        };
        self.settings.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    async fn set_up(&self, conn: &mut Conn) {
        conn.query_drop(format!("USE {}", self.schema)).await.unwrap();
        if self.is_plain() {
            return;
        }
        for (name, value) in &self.settings {
            let quote = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() { "" } else { "'" };
            conn.query_drop(format!("SET {name} = {quote}{value}{quote}")).await.unwrap();
        }
        let (charset, collation) = self.charset;
        conn.query_drop(format!("SET NAMES {charset} COLLATE {collation}")).await.unwrap();
    }

    /// Looks at everything through a read on a replica or on the writer.
    async fn check(&self, conn: &mut Conn, hint: &str, defaults: &[String]) {
        let columns = self.columns();
        let sql = format!("{hint} SELECT DATABASE(), @@collation_connection, @@character_set_client, {columns}");
        let mut row: Vec<String> = text_row(conn, &sql).await;
        assert_eq!(row.remove(0), self.schema, "session {} {hint}", self.number);
        let charsets: Vec<String> = row.drain(..2).collect();
        if self.is_plain() {
            assert_eq!(row, defaults, "session {} {hint} has no settings", self.number);
            return;
        }
        assert_eq!(charsets, [self.charset.1, self.charset.0], "session {} {hint}", self.number);
        let expected: Vec<&str> = self.settings.iter().map(|(_, value)| value.as_str()).collect();
        let sorted = |list: &str| {
            let mut parts: Vec<&str> = list.split(',').collect();
            parts.sort_unstable();
            parts.join(",")
        };
        let row: Vec<String> = row.iter().map(|value| sorted(value)).collect();
        let expected: Vec<String> = expected.into_iter().map(sorted).collect();
        assert_eq!(row, expected, "session {} {hint}", self.number);
    }

    /// Holds a connection for a while, as one of a few at a time, with state that only it may see.
    async fn check_pinned(&self, conn: &mut Conn) {
        let number = self.number;
        let row = text_row(conn, "SELECT COALESCE(@mine, 'none')").await;
        assert_eq!(row, ["none"], "session {number} finds a user variable that is not its own");
        let table = conn.query_drop("SELECT * FROM mine").await;
        assert!(table.is_err(), "session {number} finds a temporary table that is not its own");
        let statement = conn.query_drop("EXECUTE mine").await;
        assert!(statement.is_err(), "session {number} finds a prepared statement that is not its own");
        conn.query_drop(format!("SET @mine = {number}")).await.unwrap();
        conn.query_drop("CREATE TEMPORARY TABLE mine (id INT)").await.unwrap();
        conn.query_drop(format!("INSERT INTO mine VALUES ({number})")).await.unwrap();
        conn.query_drop(format!("PREPARE mine FROM 'SELECT {number}, @mine, id FROM mine'")).await.unwrap();
        let row = text_row(conn, "EXECUTE mine").await;
        assert_eq!(row, vec![number.to_string(); 3], "session {number}");
        conn.reset().await.unwrap();
    }
}

async fn text_row(conn: &mut Conn, sql: &str) -> Vec<String> {
    let row: Option<Row> = conn.query_first(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let values = row.unwrap().unwrap();
    values.into_iter().map(|value| mysql_async::from_value::<Option<String>>(value).unwrap_or_default()).collect()
}

#[tokio::test]
async fn two_hundred_sessions_share_five_connections() {
    for flavor in flavors() {
        // Nobody waits for luck: whoever gets no connection waits for its turn, which comes.
        let bed = narrow(flavor, CONNECTIONS, "[pool]\nacquire_timeout = \"5m\"\n").await;
        let mut conn = bed.connect().await;
        let mut fresh = Conn::new(direct(bed.options(), bed.cluster.writer.port())).await.unwrap();
        let defaults = text_row(&mut fresh, &format!("SELECT {}", Own::new(flavor, 0).columns())).await;
        for schema in ["app", "app2"] {
            conn.query_drop(format!("CREATE TABLE {schema}.shared (session INT PRIMARY KEY, name VARCHAR(20))"))
                .await
                .unwrap();
            conn.query_drop(format!("INSERT INTO {schema}.shared VALUES (-1, '{schema}')")).await.unwrap();
        }
        bed.cluster.wait_caught_up().await.unwrap();
        let sessions = (0..SESSIONS).map(|number| {
            let (options, defaults) = (bed.options(), defaults.clone());
            tokio::spawn(async move {
                let own = Own::new(flavor, number);
                let mut conn = Conn::new(options).await.unwrap();
                own.set_up(&mut conn).await;
                // The same text in two schemas, and one that reads as another thing under another sql_mode.
                let shared = conn.prep("SELECT name FROM shared WHERE session = ?").await.unwrap();
                let quoted = conn.prep("SELECT CAST(\"name\" AS CHAR) FROM shared WHERE session = ?").await.unwrap();
                let expected = if own.is_plain() || !own.settings[0].1.contains("ANSI") { "name" } else { own.schema };
                for _ in 0..ROUNDS {
                    for hint in ["/* weir:reader */", "/* weir:writer */"] {
                        own.check(&mut conn, hint, &defaults).await;
                    }
                    let name: Option<String> = conn.exec_first(&shared, (-1,)).await.unwrap();
                    assert_eq!(name.as_deref(), Some(own.schema), "session {number}");
                    let name: Option<String> = conn.exec_first(&quoted, (-1,)).await.unwrap();
                    assert_eq!(name.as_deref(), Some(expected), "session {number}");
                    conn.query_drop("BEGIN").await.unwrap();
                    conn.exec_drop("INSERT INTO shared VALUES (?, 'own')", (number,)).await.unwrap();
                    let seen: Option<u32> =
                        conn.exec_first("SELECT COUNT(*) FROM shared WHERE session = ?", (number,)).await.unwrap();
                    assert_eq!(seen, Some(1), "session {number}");
                    conn.query_drop("ROLLBACK").await.unwrap();
                }
                own.check_pinned(&mut conn).await;
                let nothing =
                    text_row(&mut conn, "/* weir:reader */ SELECT COALESCE(@mine, 'none'), @@lock_wait_timeout").await;
                assert_eq!(nothing, ["none".to_owned(), defaults[2].clone()], "session {number}: after its reset");
                conn.disconnect().await.unwrap();
            })
        });
        for session in sessions.collect::<Vec<_>>() {
            session.await.unwrap();
        }
        for server in &bed.weir.context.cluster.load().members {
            let (idle, used) = server.server.pool.counts();
            assert!(idle + used <= CONNECTIONS, "{flavor}: {idle} + {used} connections to {}", server.server.id);
        }
        drop((conn, fresh));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_without_a_schema_never_gets_one() {
    for flavor in flavors() {
        let bed = narrow(flavor, 1, "").await;
        let mut with = bed.connect().await;
        let mut without = Conn::new(bed.options().db_name(None::<&str>)).await.unwrap();
        with.query_drop("CREATE TABLE t (id INT)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        for _ in 0..3 {
            for hint in ["", "/* weir:writer */"] {
                with.query_drop(format!("{hint} SELECT * FROM t")).await.unwrap();
                let error = without.query_drop(format!("{hint} SELECT * FROM t")).await.unwrap_err();
                assert_eq!(bed::server_error(&error), (1046, "3D000".to_owned()), "{flavor}");
            }
        }
        drop((with, without));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_statement_whose_schema_is_gone_does_nothing_elsewhere() {
    for flavor in flavors() {
        let bed = narrow(flavor, 1, "").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        for sql in ["CREATE DATABASE passing", "CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)", "USE passing"] {
            one.query_drop(sql).await.unwrap();
        }
        other.query_drop("DROP DATABASE passing").await.unwrap();
        let error = one.query_drop("DELETE FROM t").await.unwrap_err();
        assert_eq!(bed::server_error(&error), (1046, "3D000".to_owned()), "{flavor}: it is in no schema");
        assert_eq!(
            other.query_first("SELECT COUNT(*) FROM t").await.unwrap(),
            Some(1),
            "{flavor}: rows of another schema"
        );
        one.query_drop("CREATE DATABASE passing").await.unwrap();
        one.query_drop("USE passing").await.unwrap();
        assert_eq!(one.query_first("SELECT DATABASE()").await.unwrap(), Some("passing".to_owned()), "{flavor}");
        drop((one, other));
        bed.stop().await;
    }
}
