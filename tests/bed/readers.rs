//! A table to read, and sessions that read it all the time.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use mysql_async::{Conn, prelude::*};
use tokio::{sync::watch, task::JoinHandle};
use weir::sandbox::{Cluster, Flavor};

use super::{Bed, relay::Relay, until};

/// Rows of `t`, with values over 100 kB in all.
pub const ROWS: u32 = 500;

/// Makes the table `t` and waits until the replicas have it.
pub async fn fill(bed: &Bed) -> Conn {
    let mut conn = bed.connect().await;
    conn.query_drop("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT)").await.unwrap();
    let rows = vec![format!("('{}')", "x".repeat(300)); ROWS as usize].join(",");
    conn.query_drop(format!("INSERT INTO t (v) VALUES {rows}")).await.unwrap();
    bed.cluster.wait_caught_up().await.unwrap();
    conn
}

/// Sessions that read all the time, and stop at the first error or wrong answer.
pub struct Readers {
    reads: Arc<AtomicU32>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), String>>>,
}

impl Readers {
    /// Starts that many sessions.
    pub async fn start(bed: &Bed, count: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let reads = Arc::new(AtomicU32::new(0));
        let mut tasks = Vec::new();
        for number in 0..count {
            let (mut conn, stopped, reads) = (bed.connect().await, stopped.clone(), reads.clone());
            tasks.push(tokio::spawn(async move {
                while !*stopped.borrow() {
                    let id = number + 1;
                    let answer =
                        conn.query_first::<(u32, u32), _>(format!("SELECT id, LENGTH(v) FROM t WHERE id = {id}"));
                    let answer = answer.await.map_err(|error| error.to_string())?;
                    if answer != Some((id, 300)) {
                        return Err(format!("a wrong answer: {answer:?}"));
                    }
                    reads.fetch_add(1, Relaxed);
                }
                Ok(())
            }));
        }
        Self { reads, stop, tasks }
    }

    /// Waits until that many more reads were answered.
    pub async fn go_on(&self, count: u32, what: &str) {
        let target = self.reads.load(Relaxed) + count;
        until(&format!("reads go on: {what}"), async || self.reads.load(Relaxed) >= target || self.any_failed()).await;
    }

    /// Whether a reader met an error.
    pub fn any_failed(&self) -> bool {
        self.tasks.iter().any(JoinHandle::is_finished)
    }

    /// Ends them; fails the test if one met an error.
    pub async fn end(self, what: &str) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap().unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

/// One replica, whose relay breaks, and a writer behind another: what was broken goes to the writer.
pub async fn broken_bed(flavor: Flavor, extra: &str) -> (Bed, Vec<Relay>, Conn) {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let (bed, relays) = Bed::with_relays(cluster, extra).await;
    let conn = fill(&bed).await;
    (bed, relays, conn)
}
