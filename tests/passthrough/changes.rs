//! Passwords, users, writers and configs that change under who is logged in.

use mysql_async::prelude::*;
use tokio::time::sleep;

use super::*;

#[tokio::test]
async fn what_was_revoked_works_no_longer_than_the_ttl() {
    const TTL: Duration = Duration::from_secs(2);
    for flavor in flavors() {
        let cluster = cluster(flavor, 0, Probe::Reads).await;
        for name in ["changed", "dropped", "other"] {
            user(&cluster, name, "BY 'one'").await;
        }
        let text = without_users(&cluster, "[passthrough]\nttl = \"2s\"\n");
        let bed = Bed::with_config(cluster, &text).await;
        let writer = &bed.cluster.writer;
        for name in ["changed", "dropped", "other"] {
            connect(&bed, name, "one").await.unwrap();
        }
        let mut open = connect(&bed, "changed", "one").await.unwrap();
        writer.exec("ALTER USER changed@'%' IDENTIFIED BY 'two'").await.unwrap();
        writer.exec("DROP USER dropped@'%'").await.unwrap();
        let revoked = Instant::now();
        assert!(connect(&bed, "changed", "two").await.is_ok(), "{flavor}: the new password works at once");
        assert_eq!(refused(&bed, "changed", "one").await, denied(), "{flavor}: and takes the place of the old one");
        sleep(TTL.saturating_sub(revoked.elapsed())).await;
        assert_eq!(refused(&bed, "dropped", "one").await, denied(), "{flavor}");
        assert!(connect(&bed, "changed", "two").await.is_ok(), "{flavor}");
        assert!(connect(&bed, "other", "one").await.is_ok(), "{flavor}: nothing happened to this one");
        // Who is in stays in, on new connections to the server, too.
        close_pools(&bed).await;
        assert_eq!(open.query_first("SELECT 1").await.unwrap(), Some(1), "{flavor}");
        drop(open);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_refuses_what_was_proven_ends_the_proof() {
    for flavor in flavors() {
        let cluster = cluster(flavor, 0, Probe::Reads).await;
        user(&cluster, "changed", "BY 'one'").await;
        let text = without_users(&cluster, "[passthrough]\nttl = \"1h\"\n");
        let bed = Bed::with_config(cluster, &text).await;
        let mut open = connect(&bed, "changed", "one").await.unwrap();
        // Its connection to the server is there for the next one when another command is answered.
        open.ping().await.unwrap();
        bed.cluster.writer.exec("ALTER USER changed@'%' IDENTIFIED BY 'two'").await.unwrap();
        let mut second = connect(&bed, "changed", "one").await.expect("it was proven less than an hour ago");
        close_pools(&bed).await;
        assert_eq!(server_error(&open.query_drop("DO 1").await.unwrap_err()), denied(), "{flavor}: a server said it");
        assert_eq!(refused(&bed, "changed", "one").await, denied(), "{flavor}: nobody gets in by it any more");
        let third = connect(&bed, "changed", "two").await.unwrap();
        second.query_drop("DO 1").await.expect("what the third session proved serves the second");
        drop((open, second, third));
        bed.stop().await;
    }
}

#[tokio::test]
async fn without_a_writer_those_get_in_who_were_in_before() {
    for flavor in flavors() {
        let cluster = cluster(flavor, 1, Probe::Reads).await;
        user(&cluster, "later", "BY 'later-secret'").await;
        let text = without_users(
            &cluster,
            "[passthrough]\nttl = \"1h\"\n[failover]\nhold = \"4s\"\n[timeouts]\nhandshake = \"20s\"\n",
        );
        let bed = Bed::with_config(cluster, &text).await;
        drop(bed.connect().await);
        bed.cluster.writer.kill().await.unwrap();
        until("Weir knows", async || bed.writer().is_none()).await;
        let mut conn = bed.connect().await;
        assert_eq!(conn.query_first("SELECT 1").await.unwrap(), Some(1), "{flavor}: a replica serves");
        drop(conn);
        let error = connect(&bed, "later", "later-secret").await.unwrap_err();
        assert_eq!(server_error(&error), (2003, "HY000".to_owned()), "{flavor}");
        assert!(error.to_string().contains("no writer is available to check the password"), "{flavor}: {error}");
        // Nobody waits for those before him.
        let mut crowd = tokio::task::JoinSet::new();
        for place in 0..40 {
            let name = if place % 2 == 0 { "later".to_owned() } else { format!("later{place}") };
            crowd.spawn(Conn::new(options(&bed, &name, "later-secret")));
        }
        for outcome in crowd.join_all().await {
            assert_eq!(server_error(&outcome.unwrap_err()).0, 2003, "{flavor}: in a crowd");
        }
        bed.cluster.writer.start().await.unwrap();
        until("a writer judges", async || connect(&bed, "later", "later-secret").await.is_ok()).await;
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_reload_switches_without_an_error() {
    for flavor in flavors() {
        let cluster = cluster(flavor, 0, Probe::Reads).await;
        user(&cluster, "unlisted", "BY 'unlisted-secret'").await;
        let listed = basics(&cluster);
        let passthrough = without_users(&cluster, "");
        let bed = Bed::with_config(cluster, &listed).await;
        let mut sessions = vec![bed.connect().await];
        for _ in 0..2 {
            assert_eq!(refused(&bed, "unlisted", "unlisted-secret").await, denied(), "{flavor}");
            bed.edit(&passthrough);
            until("it is let in", async || connect(&bed, "unlisted", "unlisted-secret").await.is_ok()).await;
            sessions.push(connect(&bed, "unlisted", "unlisted-secret").await.unwrap());
            sessions.push(bed.connect().await);
            bed.edit(&listed);
            until("it is not", async || connect(&bed, "unlisted", "unlisted-secret").await.is_err()).await;
            sessions.push(bed.connect().await);
            for conn in &mut sessions {
                conn.query_drop("DO 1").await.unwrap_or_else(|error| panic!("{flavor}: {error}"));
            }
        }
        drop(sessions);
        bed.stop().await;
    }
}
