//! Writes whose position no reply tells: reads see them, however long replicas stand still.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::{Duration, Instant};

use bed::{Bed, flavors, until};
use mysql_async::{ChangeUserOpts, Conn, prelude::*};
use weir::{sandbox::Flavor, telemetry::Reason};

/// Longer than reads would go to the writer for the time alone.
const LONG: Duration = Duration::from_millis(2500);

const SCHEMA: &[&str] = &[
    "CREATE TABLE t (id INT PRIMARY KEY)",
    "CREATE TABLE everybodys (id INT PRIMARY KEY)",
    "CREATE PROCEDURE put_and_fail(n INT) BEGIN INSERT INTO t VALUES (n); INSERT INTO everybodys VALUES (n); \
     SIGNAL SQLSTATE '45000'; END",
    "CREATE PROCEDURE put_and_sleep(n INT) BEGIN INSERT INTO t VALUES (n); DO SLEEP(100); END",
];

async fn start(flavor: Flavor) -> Bed {
    let extra = "[reads]\nmax_lag = \"1h\"\nwait_timeout = \"50ms\"\n\
                 [[rules]]\nname = \"strict\"\ntables = [\"everybodys\"]\nconsistency = \"global\"\n";
    let bed = Bed::start(flavor, extra).await;
    let mut conn = bed.connect().await;
    for sql in SCHEMA {
        conn.query_drop(*sql).await.unwrap();
    }
    bed.cluster.wait_caught_up().await.unwrap();
    bed
}

/// A session that reads `sql`, which gives 1 once what it is about was written.
struct Reader {
    conn: Conn,
    sql: String,
}

impl Reader {
    async fn reads(&mut self, what: &str) {
        let seen: Option<u32> = self.conn.query_first(&self.sql).await.unwrap();
        assert_eq!(seen, Some(1), "{what}: {}", self.sql);
    }
}

/// A session whose procedure has written and failed.
async fn failed(bed: &Bed, id: u32) -> Conn {
    let mut conn = bed.connect().await;
    conn.query_drop(format!("CALL put_and_fail({id})")).await.unwrap_err();
    conn
}

/// A session whose connection to the writer is gone, with a procedure that has written.
async fn cut(bed: &Bed, id: u32) -> Conn {
    let mut conn = bed.connect().await;
    let call = async { conn.query_drop(format!("CALL put_and_sleep({id})")).await.unwrap_err() };
    let kill = async {
        let sleeping = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'";
        let writer = &bed.cluster.writer;
        until("the procedure sleeps", async || !writer.rows(sleeping).await.unwrap().is_empty()).await;
        let thread: u64 = writer.rows(sleeping).await.unwrap()[0].get(0).unwrap();
        writer.exec(&format!("KILL {thread}")).await.unwrap();
    };
    tokio::join!(call, kill);
    conn
}

#[tokio::test]
async fn reads_see_what_nobody_told() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        for (round, thread) in [(1, "IO_THREAD"), (2, "SQL_THREAD")] {
            let what = format!("{flavor}, {thread}");
            let mut conn = bed.connect().await;
            for replica in &bed.cluster.replicas {
                replica.exec(&format!("STOP REPLICA {thread}")).await.unwrap();
            }
            // They have all there is.
            until("replicas serve", async || {
                let before = bed.count(Reason::Read);
                conn.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
                bed.count(Reason::Read) > before
            })
            .await;
            let of = |table: &str, id: u32| format!("SELECT COUNT(*) FROM {table} WHERE id = {id}");
            let [first, second, third] = [1, 2, 3].map(|number| round * 10 + number);
            let mut changed = failed(&bed, second).await;
            changed.change_user(ChangeUserOpts::default().with_db_name(Some("app".into()))).await.unwrap();
            let mut readers = [
                Reader { conn: failed(&bed, first).await, sql: of("t", first) },
                Reader { conn: changed, sql: of("t", second) },
                Reader { conn: cut(&bed, third).await, sql: of("t", third) },
                Reader { conn, sql: of("everybodys", second) },
            ];
            let begun = Instant::now();
            until("time alone would prove nothing", async || {
                for reader in &mut readers {
                    reader.reads(&what).await;
                }
                begun.elapsed() > LONG
            })
            .await;
            for replica in &bed.cluster.replicas {
                replica.exec(&format!("START REPLICA {thread}")).await.unwrap();
            }
            for reader in &mut readers {
                until("replicas serve what was written", async || {
                    let before = bed.count(Reason::Read);
                    reader.reads(&what).await;
                    bed.count(Reason::Read) > before
                })
                .await;
            }
        }
        bed.stop().await;
    }
}
