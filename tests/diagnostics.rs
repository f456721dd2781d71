//! What a statement says of the one before it is about this session's, though others use the same server connection.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, flavors};
use mysql_async::prelude::*;

#[tokio::test]
async fn the_last_insert_id_is_the_sessions_own() {
    for flavor in flavors() {
        // With one worker, sessions take turns on the same connection.
        let bed = Bed::start(flavor, "[runtime]\nworkers = 1\n").await;
        let (mut one, mut two, mut none) = (bed.connect().await, bed.connect().await, bed.connect().await);
        one.query_drop("CREATE TABLE parent (id INT PRIMARY KEY AUTO_INCREMENT)").await.unwrap();
        one.query_drop("CREATE TABLE child (parent INT)").await.unwrap();
        one.query_drop("INSERT INTO parent VALUES (NULL)").await.unwrap();
        two.query_drop("INSERT INTO parent VALUES (NULL), (NULL)").await.unwrap();
        for (conn, id) in [(&mut one, 1), (&mut two, 2), (&mut none, 0)] {
            for sql in ["SELECT LAST_INSERT_ID()", "SELECT @@last_insert_id", "SELECT @@identity"] {
                let found: Option<u64> = conn.query_first(sql).await.unwrap();
                assert_eq!(found, Some(id), "{flavor}: {sql}");
            }
            let found: Option<u64> = conn.exec_first("SELECT LAST_INSERT_ID() + ?", (0,)).await.unwrap();
            assert_eq!(found, Some(id), "{flavor}: prepared");
            conn.query_drop("INSERT INTO child VALUES (LAST_INSERT_ID())").await.unwrap();
        }
        let parents: Vec<u64> = one.query("SELECT parent FROM child ORDER BY parent").await.unwrap();
        assert_eq!(parents, [0, 1, 2], "{flavor}");
        drop((one, two, none));
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_session_whose_statements_fail_stays_with_its_connections() {
    for flavor in flavors() {
        let bed = Bed::start(flavor, "[runtime]\nworkers = 1\n").await;
        let mut conn = bed.connect().await;
        for _ in 0..20 {
            conn.query_drop("INSERT INTO nowhere VALUES (1)").await.unwrap_err();
            conn.query_drop("SELECT * FROM nowhere").await.unwrap_err();
        }
        for member in &bed.weir.context.cluster.load().members {
            let (idle, used) = member.server.pool.counts();
            assert!(idle + used <= 2, "{flavor}: {idle} + {used} connections to {}", member.server.id);
        }
        drop(conn);
        bed.stop().await;
    }
}
