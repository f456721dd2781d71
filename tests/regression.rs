//! Bugs that were there once, each shown on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, flavors, server_error};
use mysql_async::{Conn, TxOpts, prelude::*};
use weir::sandbox::{Cluster, Flavor};

/// Weir in front of a writer alone, with one worker: a statement's connection is back before the next one begins.
async fn writer_only(flavor: Flavor, extra: &str) -> Bed {
    let extra = format!("[runtime]\nworkers = 1\n{extra}");
    Bed::with(Cluster::start(flavor, 0).await.unwrap(), &extra).await
}

async fn count(conn: &mut Conn) -> u32 {
    conn.query_first("SELECT COUNT(*) FROM t").await.unwrap().unwrap()
}

#[tokio::test]
async fn a_statement_that_cannot_be_prepared_again_leaves_the_transaction_as_it_is() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        for sql in ["CREATE TABLE t (id INT)", "CREATE TABLE gone (id INT)"] {
            one.query_drop(sql).await.unwrap();
        }
        let gone = one.prep("INSERT INTO gone VALUES (?)").await.unwrap();
        other.query_drop("DROP TABLE gone").await.unwrap();
        // Takes the connection that has the statement.
        let taken = other.start_transaction(TxOpts::default()).await.unwrap();
        let mut transaction = one.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        let error = transaction.exec_drop(&gone, (1,)).await.unwrap_err();
        assert_eq!(server_error(&error).0, 1146, "{flavor}");
        transaction.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
        transaction.rollback().await.unwrap();
        taken.rollback().await.unwrap();
        assert_eq!(count(&mut one).await, 0, "{flavor}: everything was rolled back");
        drop((one, other));
        bed.stop().await;
    }
}

#[tokio::test]
async fn preparing_again_does_not_commit() {
    for flavor in flavors() {
        let bed = writer_only(flavor, "").await;
        let (mut one, mut other) = (bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE t (id INT) ENGINE=InnoDB").await.unwrap();
        let insert = one.prep("INSERT INTO t VALUES (?)").await.unwrap();
        // Takes the connection that has the statement.
        let taken = other.start_transaction(TxOpts::default()).await.unwrap();
        one.query_drop("SET autocommit=0").await.unwrap();
        one.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        one.exec_drop(&insert, (2,)).await.unwrap();
        one.query_drop("ROLLBACK").await.unwrap();
        taken.rollback().await.unwrap();
        assert_eq!(count(&mut one).await, 0, "{flavor}: everything was rolled back");
        drop((one, other));
        bed.stop().await;
    }
}
