//! The demo's clients: a small shop that never heard of Weir. Every session checks what it is shown; the first that sees
//! something a single server would not have shown fails the demo.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use mysql_async::{Conn, OptsBuilder, prelude::*};
use tokio::{task::JoinSet, time::sleep};

use crate::sandbox::{APP, DATABASES};

/// Rows of the tables.
const PRODUCTS: u32 = 500;
const ACCOUNTS: u32 = 50;
/// What every account holds at first.
const BALANCE: u64 = 1000;
/// What a client thinks between two steps.
const THINK: Duration = Duration::from_millis(1);

/// What the sessions saw and found right.
#[derive(Debug, Default)]
pub struct Seen {
    /// Reads right after a write of the same session, which saw it.
    pub own_writes: AtomicU64,
    /// Transactions whose locked rows were as they left them.
    pub transfers: AtomicU64,
    /// Read-only transactions that saw no money made or lost.
    pub audits: AtomicU64,
    /// Temporary tables and user variables that were still there.
    pub drafts: AtomicU64,
}

impl Seen {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// Lets the clients work for `length`, on tables that [`fill`] made and every replica has.
///
/// # Errors
/// The first statement that failed or showed something wrong, and whose it was.
pub async fn run(weir: SocketAddr, length: Duration) -> anyhow::Result<Arc<Seen>> {
    let seen = Arc::new(Seen::default());
    let until = Instant::now() + length;
    let mut clients = JoinSet::new();
    for (client, count) in [
        (Client::Visitor, 4),
        (Client::Prepared, 2),
        (Client::Buyer, 3),
        (Client::Banker, 2),
        (Client::Auditor, 1),
        (Client::Analyst, 1),
    ] {
        for number in 0..count {
            clients.spawn(client.work(weir, number, until, seen.clone()));
        }
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(seen)
}

async fn connect(weir: SocketAddr) -> anyhow::Result<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname(weir.ip().to_string())
        .tcp_port(weir.port())
        // The driver would ask for the server's own socket, and go round Weir.
        .prefer_socket(false)
        .user(Some(APP.name))
        .pass(Some(APP.password))
        .db_name(Some(DATABASES[0]));
    Conn::new(options).await.context("logging in to Weir")
}

/// Makes the tables.
pub async fn fill(weir: SocketAddr) -> anyhow::Result<()> {
    let mut conn = connect(weir).await?;
    for sql in [
        "CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL, price INT NOT NULL)",
        "CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, product INT NOT NULL, state VARCHAR(10) NOT NULL)",
        "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
    ] {
        conn.query_drop(sql).await?;
    }
    let products: Vec<String> = (1..=PRODUCTS).map(|id| format!("({id}, 'product {id}', {})", id % 90 + 10)).collect();
    conn.query_drop(format!("INSERT INTO products VALUES {}", products.join(", "))).await?;
    let accounts: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    conn.query_drop(format!("INSERT INTO accounts VALUES {}", accounts.join(", "))).await?;
    Ok(conn.disconnect().await?)
}

/// What a client does, over and over.
#[derive(Debug, Clone, Copy)]
enum Client {
    /// Looks at products, one or a page.
    Visitor,
    /// The same with prepared statements.
    Prepared,
    /// Writes an order and reads it back at once.
    Buyer,
    /// Moves money in a transaction that locks what it reads.
    Banker,
    /// Adds up all money in a read-only transaction.
    Auditor,
    /// Keeps a user variable and a temporary table.
    Analyst,
}

impl Client {
    async fn work(self, weir: SocketAddr, number: u32, until: Instant, seen: Arc<Seen>) -> anyhow::Result<()> {
        let whose = || format!("the demo's {} {}", format!("{self:?}").to_lowercase(), number + 1);
        let mut conn = connect(weir).await.with_context(whose)?;
        // Every client goes its own way through the rows.
        let mut round = number * 17;
        while Instant::now() < until {
            round += 1;
            let conn = &mut conn;
            match self {
                Self::Visitor => visit(conn, round).await,
                Self::Prepared => visit_prepared(conn, round).await,
                Self::Buyer => buy(conn, round, &seen).await,
                Self::Banker => transfer(conn, round, &seen).await,
                Self::Auditor => audit(conn, &seen).await,
                Self::Analyst => analyse(conn, round, &seen).await,
            }
            .with_context(whose)?;
            sleep(THINK).await;
        }
        conn.disconnect().await.with_context(whose)
    }
}

fn product(round: u32) -> u32 {
    round * 7 % PRODUCTS + 1
}

async fn visit(conn: &mut Conn, round: u32) -> anyhow::Result<()> {
    let id = product(round);
    let name: Option<String> = conn.query_first(format!("SELECT name FROM products WHERE id = {id}")).await?;
    ensure!(name == Some(format!("product {id}")), "product {id} is called {name:?}");
    sleep(THINK).await;
    let page = format!("SELECT id, name, price FROM products WHERE id BETWEEN {id} AND {} ORDER BY price", id + 19);
    let page: Vec<(u32, String, u32)> = conn.query(page).await?;
    ensure!(page.len() == 20.min((PRODUCTS - id + 1) as usize), "a page has {} products", page.len());
    Ok(())
}

async fn visit_prepared(conn: &mut Conn, round: u32) -> anyhow::Result<()> {
    let id = product(round);
    let price: Option<u32> = conn.exec_first("SELECT price FROM products WHERE id = ?", (id,)).await?;
    ensure!(price == Some(id % 90 + 10), "product {id} costs {price:?}");
    Ok(())
}

async fn buy(conn: &mut Conn, round: u32, seen: &Seen) -> anyhow::Result<()> {
    let stock = format!("SELECT name FROM products WHERE id = {} FOR UPDATE", product(round));
    conn.query_drop(stock).await?;
    let insert = "INSERT INTO orders (product, state) VALUES (?, 'new')";
    conn.exec_drop(insert, (product(round),)).await?;
    let id = conn.last_insert_id().context("an order got no id")?;
    for state in ["new", "paid"] {
        if state != "new" {
            conn.query_drop(format!("UPDATE orders SET state = '{state}' WHERE id = {id}")).await?;
        }
        let found: Option<String> = conn.query_first(format!("SELECT state FROM orders WHERE id = {id}")).await?;
        ensure!(found.as_deref() == Some(state), "order {id} was just made {state}, and is read as {found:?}");
        Seen::count(&seen.own_writes);
    }
    Ok(())
}

async fn transfer(conn: &mut Conn, round: u32, seen: &Seen) -> anyhow::Result<()> {
    let (from, to) = (round % ACCOUNTS + 1, (round + 1 + round % 7) % ACCOUNTS + 1);
    conn.query_drop("BEGIN").await?;
    // In order of id, so that no two of them wait for each other.
    let lock = format!("SELECT id, balance FROM accounts WHERE id IN ({from}, {to}) ORDER BY id FOR UPDATE");
    let locked: Vec<(u32, u64)> = conn.query(lock).await?;
    let balance = |id| locked.iter().find(|(found, _)| *found == id).map(|(_, balance)| *balance);
    conn.query_drop(format!("UPDATE accounts SET balance = balance - 1 WHERE id = {from}")).await?;
    conn.query_drop(format!("UPDATE accounts SET balance = balance + 1 WHERE id = {to}")).await?;
    let left: Option<u64> = conn.query_first(format!("SELECT balance FROM accounts WHERE id = {from}")).await?;
    ensure!(left == balance(from).map(|balance| balance - 1), "account {from} has {left:?} left of {locked:?}");
    conn.query_drop("COMMIT").await?;
    Seen::count(&seen.transfers);
    Ok(())
}

async fn audit(conn: &mut Conn, seen: &Seen) -> anyhow::Result<()> {
    let all = u64::from(ACCOUNTS) * BALANCE;
    conn.query_drop("START TRANSACTION READ ONLY").await?;
    for _ in 0..2 {
        let sum: Option<u64> = conn.query_first("SELECT CAST(SUM(balance) AS UNSIGNED) FROM accounts").await?;
        ensure!(sum == Some(all), "there is {sum:?} of {all} money");
    }
    conn.query_drop("COMMIT").await?;
    Seen::count(&seen.audits);
    Ok(())
}

async fn analyse(conn: &mut Conn, round: u32, seen: &Seen) -> anyhow::Result<()> {
    let id = product(round);
    conn.query_drop(format!("SET @least = {id}")).await?;
    conn.query_drop("CREATE TEMPORARY TABLE draft AS SELECT id FROM products WHERE id >= @least").await?;
    let found: Option<(u32, u32)> = conn.query_first("SELECT MIN(id), COUNT(*) FROM draft").await?;
    ensure!(found == Some((id, PRODUCTS - id + 1)), "the draft from {id} on holds {found:?}");
    conn.query_drop("DROP TEMPORARY TABLE draft").await?;
    // Gives the server connection back that variable and table have pinned.
    conn.reset().await?;
    Seen::count(&seen.drafts);
    Ok(())
}
