//! Sessions that read, write and commit without a pause, and tell what went wrong.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mysql_async::{Conn, OptsBuilder, prelude::*};
use tokio::task::JoinSet;

use super::until;

/// Between two rounds of a session: the machine has other work, too.
const PAUSE: Duration = Duration::from_millis(2);

/// A running load.
pub struct Load {
    rounds: Vec<Arc<AtomicU64>>,
    errors: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    /// What the sessions work on.
    pub const TABLE: &str = "CREATE TABLE app.load_test (id INT PRIMARY KEY, v BIGINT NOT NULL)";

    /// Starts sessions, each of which owns one row.
    pub async fn start(options: &OptsBuilder, sessions: u64) -> Self {
        let (errors, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let mut load = Self { rounds: Vec::new(), errors, stop, tasks: JoinSet::new() };
        for id in 0..sessions {
            let rounds = Arc::<AtomicU64>::default();
            let (options, errors, stop) = (options.clone(), load.errors.clone(), load.stop.clone());
            load.rounds.push(rounds.clone());
            load.tasks.spawn(async move {
                if let Err(error) = work(options, id, &rounds, &stop).await {
                    errors.lock().unwrap().push(format!("session {id}: {error}"));
                }
            });
        }
        load.goes_on().await;
        load
    }

    /// Waits until every session has made a few more rounds.
    pub async fn goes_on(&self) {
        let before: Vec<u64> = self.rounds.iter().map(|rounds| rounds.load(Relaxed)).collect();
        until("every session goes on", || async {
            assert_eq!(*self.errors.lock().unwrap(), Vec::<String>::new());
            self.rounds.iter().zip(&before).all(|(now, before)| now.load(Relaxed) >= before + 5)
        })
        .await;
    }

    /// Ends the sessions. Returns the rounds they have made; fails the test if one met an error.
    pub async fn stop(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        assert_eq!(*self.errors.lock().unwrap(), Vec::<String>::new());
        self.rounds.iter().map(|rounds| rounds.load(Relaxed)).sum()
    }
}

async fn work(
    options: OptsBuilder,
    id: u64,
    rounds: &AtomicU64,
    stop: &AtomicBool,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut conn = Conn::new(options).await?;
    conn.exec_drop("INSERT INTO load_test VALUES (?, 0)", (id,)).await?;
    let mut value = 0;
    while !stop.load(Relaxed) {
        value += 1;
        conn.query_drop(format!("UPDATE load_test SET v = {value} WHERE id = {id}")).await?;
        expect(conn.query_first(format!("SELECT v FROM load_test WHERE id = {id}")).await?, value)?;
        value += 1;
        conn.query_drop("BEGIN").await?;
        conn.exec_drop("UPDATE load_test SET v = ? WHERE id = ?", (value, id)).await?;
        expect(conn.exec_first("SELECT v FROM load_test WHERE id = ?", (id,)).await?, value)?;
        conn.query_drop("COMMIT").await?;
        expect(conn.exec_first("SELECT v FROM load_test WHERE id = ?", (id,)).await?, value)?;
        rounds.fetch_add(1, Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    conn.disconnect().await?;
    Ok(())
}

fn expect(found: Option<i64>, wanted: i64) -> Result<(), String> {
    if found == Some(wanted) { Ok(()) } else { Err(format!("wrote {wanted} and read {found:?}")) }
}
