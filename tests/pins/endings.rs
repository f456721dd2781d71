//! Errors, resets and lost connections: what is left of a session's transaction and locks behind them.

use mysql_async::prelude::*;
use weir::telemetry::Pin;

use super::{
    bed::{self, flavors, until},
    pin, run, with_schema,
};

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
            let left = format!("{threads} AND id = {id}");
            until("it is gone", async || bed.cluster.writer.rows(&left).await.unwrap().is_empty()).await;
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
