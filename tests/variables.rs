//! Every session variable that a server lets a session set, set to every kind of value in every form, and looked at from
//! every server, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{collections::BTreeMap, time::Instant};

use bed::{Bed, flavors};
use mysql_async::{Conn, OptsBuilder, Row, Value, prelude::*};
use weir::sandbox::{Cluster, Flavor};

/// A bed with one connection to each server for everybody.
async fn narrow(flavor: Flavor) -> Bed {
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    let basics = bed::basics(&cluster).replace("role =", "max_connections = 1\nrole =");
    Bed::with_config(cluster, &basics).await
}

/// The same options, past Weir.
fn direct(options: OptsBuilder, port: u16) -> OptsBuilder {
    options.tcp_port(port)
}

async fn session_variables(conn: &mut Conn) -> BTreeMap<String, String> {
    conn.query::<(String, Option<String>), _>("SHOW SESSION VARIABLES")
        .await
        .unwrap()
        .into_iter()
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect()
}

async fn variable(conn: &mut Conn, hint: &str, name: &str) -> Result<Value, mysql_async::Error> {
    let row: Option<Row> = conn.query_first(format!("{hint} SELECT @@SESSION.`{name}`")).await?;
    Ok(row.unwrap().unwrap().remove(0))
}

/// Values of variables that are neither numbers nor switches.
const WORDS: &[(&str, &[&str])] = &[
    ("alter_algorithm", &["'COPY'", "'INSTANT'"]),
    ("aria_stats_method", &["'nulls_equal'"]),
    ("binlog_format", &["'STATEMENT'"]),
    ("binlog_row_image", &["'MINIMAL'", "'NOBLOB'"]),
    ("binlog_row_value_options", &["'PARTIAL_JSON'"]),
    ("block_encryption_mode", &["'aes-256-cbc'"]),
    ("character_set_client", &["'latin1'", "cp1251"]),
    ("character_set_connection", &["'latin1'", "utf8mb3"]),
    ("character_set_database", &["'latin1'"]),
    ("character_set_filesystem", &["'utf8mb4'"]),
    ("character_set_results", &["'latin1'", "NULL", "binary"]),
    ("character_set_server", &["'latin1'"]),
    ("collation_connection", &["'utf8mb4_bin'", "latin1_german1_ci"]),
    ("collation_database", &["'latin1_bin'"]),
    ("collation_server", &["'utf8mb4_bin'"]),
    ("column_compression_zlib_strategy", &["'RLE'"]),
    ("completion_type", &["'CHAIN'", "0"]),
    ("default_collation_for_utf8mb4", &["'utf8mb4_general_ci'"]),
    ("default_master_connection", &["'other'"]),
    ("default_regex_flags", &["'DOTALL,EXTRA'"]),
    ("default_storage_engine", &["'MyISAM'", "MEMORY"]),
    ("default_tmp_storage_engine", &["'MEMORY'"]),
    ("explain_format", &["'JSON'"]),
    ("group_replication_consistency", &["'AFTER'"]),
    ("histogram_type", &["'JSON_HB'"]),
    ("innodb_ft_user_stopword_table", &["'app/words'"]),
    ("lc_messages", &["'de_DE'", "'fr_FR'"]),
    ("lc_time_names", &["'de_DE'", "5"]),
    ("log_disabled_statements", &["'sp'", "''"]),
    ("log_slow_disabled_statements", &["'call,sp'"]),
    ("log_slow_filter", &["'filesort,full_join'", "''"]),
    ("log_slow_verbosity", &["'query_plan,explain'"]),
    ("myisam_stats_method", &["'nulls_equal'"]),
    ("note_verbosity", &["'basic'"]),
    ("old_alter_table", &["'COPY'"]),
    ("old_mode", &["'NO_PROGRESS_INFO'", "''"]),
    ("optimizer_adjust_secondary_key_costs", &["'disable_max_seek'"]),
    ("optimizer_switch", &["'mrr=on,semijoin=off'", "'index_merge=off'"]),
    ("optimizer_trace", &["'enabled=on'"]),
    ("query_cache_type", &["'DEMAND'", "0"]),
    ("rbr_exec_mode", &["'IDEMPOTENT'"]),
    ("resultset_metadata", &["'FULL'"]),
    (
        "sql_mode",
        &["'ANSI'", "'TRADITIONAL'", "''", "'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'", "'HIGH_NOT_PRECEDENCE'", "'ORACLE'"],
    ),
    ("storage_engine", &["'MyISAM'"]),
    ("system_versioning_alter_history", &["'KEEP'"]),
    ("system_versioning_asof", &["'2020-01-01 00:00:00'"]),
    ("terminology_use_previous", &["'BEFORE_8_0_26'"]),
    ("thread_pool_priority", &["'high'"]),
    ("time_zone", &["'+03:00'", "'SYSTEM'", "'-11:30'"]),
    ("transaction_isolation", &["'READ-COMMITTED'", "'SERIALIZABLE'"]),
    ("tx_isolation", &["'READ-UNCOMMITTED'"]),
    ("updatable_views_with_limit", &["'NO'"]),
    ("use_secondary_engine", &["'OFF'", "'FORCED'"]),
    ("use_stat_tables", &["'NEVER'", "'PREFERABLY'"]),
    ("wsrep_osu_method", &["'RSU'"]),
    ("wsrep_trx_fragment_unit", &["'rows'"]),
];

/// Variables that pin, as they stand for one connection's place in time or in replication, follow the schema, or make it
/// collect what is asked for later.
const PINNING: &[&str] = &[
    "character_set_database",
    "collation_database",
    "gtid_domain_id",
    "gtid_next",
    "gtid_seq_no",
    "identity",
    "insert_id",
    "last_insert_id",
    "optimizer_trace",
    "profiling",
    "pseudo_replica_mode",
    "pseudo_slave_mode",
    "pseudo_thread_id",
    "rand_seed1",
    "rand_seed2",
    "server_id",
    "skip_parallel_replication",
    "skip_replication",
    "sql_log_bin",
    "timestamp",
];

/// Variables that are no session's, though a session may set them as if they were.
const OF_NOBODY: &[&str] =
    &["error_count", "max_relay_log_size", "sql_slave_skip_counter", "statement_id", "warning_count"];

/// Variables that are those of the next transaction alone, set as `@@name`.
const OF_TRANSACTION: &[&str] = &["transaction_isolation", "transaction_read_only", "tx_isolation", "tx_read_only"];

/// Values to set a variable to that has `value`.
fn values(name: &str, value: &str) -> Vec<String> {
    let own = format!("@@SESSION.`{name}`");
    if let Some((_, words)) = WORDS.iter().find(|(known, _)| *known == name) {
        return words.iter().map(|word| word.to_string()).chain([own]).collect();
    }
    match (value, value.parse::<f64>()) {
        ("ON", _) => vec!["OFF".into(), "0".into(), own],
        ("OFF", _) => vec!["ON".into(), "1".into(), own],
        (_, Ok(number)) => {
            let number = number as u128;
            vec![(number + 1).to_string(), (number / 2).to_string(), own]
        }
        _ => vec![own],
    }
}

/// `SET`s of a variable to a value: as a literal and by expression, in turn in all forms.
fn forms(turn: usize, name: &str, value: &str) -> [String; 2] {
    let targets = [format!("SESSION {name}"), name.to_owned(), format!("@@{name}"), format!("@@session.`{name}`")];
    let expression = match value.strip_prefix('\'') {
        Some(text) => format!("CONCAT('', '{text})"),
        None if value.parse::<u128>().is_ok() => format!("(SELECT {value} + 0)"),
        None => value.to_owned(),
    };
    let (one, other) = (&targets[turn % 4], &targets[(turn + 1) % 4]);
    [format!("SET {one} = {value}"), format!("SET {other} := {expression}")]
}

/// What a bed is looked at from.
struct Look<'a> {
    bed: &'a Bed,
    /// A client through Weir that sets nothing.
    bystander: Conn,
    /// A client of the writer that sets nothing.
    fresh: Conn,
    travelled: usize,
    wrong: Vec<String>,
}

impl Look<'_> {
    /// Sets a variable, and reads it on every server.
    async fn set(&mut self, name: &str, set: &str) {
        let writer = self.bed.cluster.writer.port();
        let mut trial = Conn::new(direct(self.bed.options(), writer)).await.unwrap();
        let refused = trial.query_drop(set).await.err();
        let mut setter = self.bed.connect().await;
        let answer = setter.query_drop(set).await.err();
        let text = |error: &Option<mysql_async::Error>| error.as_ref().map(ToString::to_string);
        if text(&answer) != text(&refused) {
            self.wrong.push(format!("{set}: {:?}, not {:?}", text(&answer), text(&refused)));
        }
        let expected = variable(&mut trial, "", name).await.unwrap();
        setter.ping().await.unwrap();
        let pin = self.bed.weir.context.sessions.find(setter.id()).unwrap().view(Instant::now()).pin;
        let next = OF_TRANSACTION.contains(&name) && set.contains("SET @@t");
        let expected_pin = match refused {
            None if PINNING.contains(&name) => Some("variable"),
            None if next => Some("next-transaction"),
            _ => None,
        };
        if pin != expected_pin {
            self.wrong.push(format!("{set}: pinned by {pin:?}"));
        }
        if pin.is_none() {
            self.travelled += usize::from(refused.is_none());
            for hint in ["/* weir:server=db1 */", "/* weir:server=db2 */", "/* weir:writer */"] {
                self.compare(&mut setter, set, hint, name, &expected).await;
            }
            self.read_on_a_replica(&mut setter, set, writer).await;
        }
        drop(setter);
        let expected = variable(&mut self.fresh, "", name).await.unwrap();
        for hint in ["/* weir:server=db1 */", "/* weir:writer */"] {
            let found = variable(&mut self.bystander, hint, name).await.unwrap();
            let own = ["pseudo_thread_id", "timestamp", "rand_seed1", "rand_seed2", "server_id"];
            if found != expected && !own.contains(&name) {
                self.wrong.push(format!("{set}: another session has {found:?} with {hint}, not {expected:?}"));
            }
        }
    }

    async fn compare(&mut self, setter: &mut Conn, set: &str, hint: &str, name: &str, expected: &Value) {
        match variable(setter, hint, name).await {
            Ok(found) if found == *expected => {}
            Ok(found) => self.wrong.push(format!("{set}: {found:?} with {hint}, not {expected:?}")),
            Err(error) => self.wrong.push(format!("{set}: {error} with {hint}")),
        }
    }

    async fn read_on_a_replica(&mut self, setter: &mut Conn, set: &str, writer: u16) {
        let ports = match setter.query_iter("/* weir:reader */ SELECT @@port, 1").await {
            Ok(result) => result.collect_and_drop::<(u16, u8)>().await.unwrap(),
            Err(error) => return self.wrong.push(format!("{set}: {error}")),
        };
        // There are no rows under `sql_select_limit = 0`.
        if ports.first().is_some_and(|(port, _)| *port == writer) {
            self.wrong.push(format!("{set}: refused by the replicas"));
        }
    }
}

#[tokio::test]
async fn every_variable_travels_and_is_restored() {
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let mut conn = bed.connect().await;
        conn.query_drop("CREATE TABLE words (value VARCHAR(30)) ENGINE = InnoDB").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        let fresh = Conn::new(direct(bed.options(), bed.cluster.writer.port())).await.unwrap();
        let mut look = Look { bed: &bed, bystander: conn, fresh, travelled: 0, wrong: Vec::new() };
        let mut turn = 0;
        for (name, value) in session_variables(&mut look.fresh).await {
            // A session that names what Weir needs for itself keeps its connection.
            let global = variable(&mut look.fresh, "", &name).await.is_err();
            if global || name.starts_with("session_track_") || OF_NOBODY.contains(&&*name) {
                continue;
            }
            for value in values(&name, &value) {
                for set in forms(turn, &name, &value) {
                    look.set(&name, &set).await;
                }
                turn += 1;
            }
        }
        let Look { travelled, wrong, bystander, fresh, .. } = look;
        assert!(wrong.is_empty(), "{flavor}, {travelled} travelled:\n{}", wrong.join("\n"));
        assert!(travelled > 500, "{flavor}: only {travelled} travelled");
        drop((bystander, fresh));
        bed.stop().await;
    }
}

/// MariaDB does not report `SET @@name`.
#[tokio::test]
async fn what_is_set_without_a_scope_is_noticed() {
    const SETS: &[&str] = &[
        "SET @@time_zone = '+05:00'",
        "SET @@big_tables = 1, @@time_zone = '+05:00'",
        "SET @a = 1, @@`time_zone` := '+05:00', sql_mode = @@sql_mode",
        "SELECT 1; SET @@time_zone = '+05:00'; SELECT 2",
        "SET @@time_zone = '+05:00'; SELECT nonsense",
        "PREPARED",
    ];
    for flavor in flavors() {
        let bed = narrow(flavor).await;
        let mut bystander = bed.connect().await;
        for set in SETS {
            let mut setter = bed.connect().await;
            match *set {
                "PREPARED" => setter.exec_drop("SET @@time_zone = ?", ("+05:00",)).await.unwrap(),
                // Of several statements the last may fail.
                set => drop(setter.query_drop(set).await),
            }
            for hint in ["/* weir:server=db1 */", "/* weir:writer */"] {
                let found = variable(&mut setter, hint, "time_zone").await.unwrap();
                assert_eq!(found, Value::Bytes(b"+05:00".into()), "{flavor}: {set} {hint}");
                let others = variable(&mut bystander, hint, "time_zone").await.unwrap();
                assert_eq!(others, Value::Bytes(b"SYSTEM".into()), "{flavor}: {set} {hint}");
            }
        }
        let mut looks = Vec::new();
        for port in [bed.cluster.writer.port(), bed.port()] {
            let mut conn = Conn::new(direct(bed.options(), port)).await.unwrap();
            conn.query_drop("SET @@big_tables = ON, @@max_heap_table_size = 16777217").await.unwrap();
            looks.push(conn.query::<(String, u16, String), _>("SHOW WARNINGS").await.unwrap());
        }
        assert_eq!(looks[0], looks[1], "{flavor}");
        bed.stop().await;
    }
}
