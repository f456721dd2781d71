//! Users of the config: two passwords while one is being changed, none at all, and how many sessions each may have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use bed::{Bed, basics, flavors, server_error, until};
use mysql_async::{ChangeUserOpts, Conn, prelude::*};
use weir::sandbox::Cluster;

async fn with_password(bed: &Bed, password: &str) -> Result<Conn, mysql_async::Error> {
    Conn::new(bed.options().pass(Some(password))).await
}

#[tokio::test]
async fn a_password_is_changed_without_a_refusal() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        let only = basics(&cluster);
        let both =
            only.replace("password = \"app-secret\"", "password = \"next-secret\"\nold_password = \"app-secret\"");
        let bed = Bed::with_config(cluster, &only).await;
        let mut early = bed.connect().await;
        early.query_drop("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
        assert_eq!(server_error(&with_password(&bed, "next-secret").await.unwrap_err()).0, 1045, "{flavor}");
        bed.edit(&both);
        until("both passwords are right", async || with_password(&bed, "next-secret").await.is_ok()).await;
        let mut sessions = vec![early];
        for (changed, range) in [(false, 0..10), (true, 10..20)] {
            if changed {
                bed.cluster.writer.exec("ALTER USER app@'%' IDENTIFIED BY 'next-secret'").await.unwrap();
                bed.cluster.wait_caught_up().await.unwrap();
            }
            for password in ["app-secret", "next-secret"] {
                sessions.push(with_password(&bed, password).await.unwrap());
            }
            for id in range {
                // Every connection is new, and opened with whichever password the session was opened with.
                for member in &bed.weir.context.cluster.load().members {
                    member.server.pool.drop_idle();
                }
                let place = id % sessions.len();
                let conn = &mut sessions[place];
                conn.query_drop(format!("INSERT INTO t VALUES ({id})")).await.unwrap();
                let count: Option<usize> = conn.query_first("SELECT COUNT(*) FROM t").await.unwrap();
                assert_eq!(count, Some(id + 1), "{flavor}: changed: {changed}, session {place}");
            }
        }
        bed.edit(&both.replace("old_password = \"app-secret\"\n", ""));
        until("the old one is wrong", async || with_password(&bed, "app-secret").await.is_err()).await;
        for conn in &mut sessions {
            conn.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
        }
        drop(sessions);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_user_without_a_password() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        cluster.writer.exec("CREATE USER open@'%' IDENTIFIED BY ''").await.unwrap();
        cluster.writer.exec("GRANT SELECT ON app.* TO open@'%'").await.unwrap();
        cluster.wait_caught_up().await.unwrap();
        let bed = Bed::with(cluster, "[[users]]\nname = \"open\"\npassword = \"\"\n").await;
        let open = |password| Conn::new(bed.options().user(Some("open")).pass(password));
        let mut conn = open(None::<&str>).await.unwrap();
        assert_eq!(conn.query_first::<u32, _>("SELECT 1").await.unwrap(), Some(1), "{flavor}");
        assert_eq!(server_error(&open(Some("guess")).await.unwrap_err()).0, 1045, "{flavor}");
        let nobody = Conn::new(bed.options().pass(None::<&str>)).await.unwrap_err();
        assert_eq!(server_error(&nobody).0, 1045, "{flavor}: app has a password");
        drop(conn);
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_no_more() {
    let flavor = flavors()[0];
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    cluster.writer.exec("CREATE USER few@'%' IDENTIFIED BY 'few-secret'").await.unwrap();
    cluster.writer.exec("GRANT ALL ON app.* TO few@'%'").await.unwrap();
    let extra = "[[users]]\nname = \"few\"\npassword = \"few-secret\"\nmax_clients = 2\n";
    let bed = Bed::with(cluster, extra).await;
    let few = || Conn::new(bed.options().user(Some("few")).pass(Some("few-secret")));
    let mut inside = vec![few().await.unwrap(), few().await.unwrap()];
    let refused = server_error(&few().await.unwrap_err());
    assert_eq!(refused, (1203, "42000".to_owned()));
    let mut other = bed.connect().await;
    let change = ChangeUserOpts::default().with_user(Some("few".into())).with_pass(Some("few-secret".into()));
    assert_eq!(server_error(&other.change_user(change.clone()).await.unwrap_err()).0, 1203);
    drop(inside.pop());
    until("there is room", async || few().await.is_ok()).await;
    until("who came has gone", async || bed.weir.context.sessions.count_of("few") == 1).await;
    let mut other = bed.connect().await;
    other.change_user(change).await.unwrap();
    assert_eq!(server_error(&few().await.unwrap_err()).0, 1203, "who changed to the user counts");
    drop((inside, other));
    bed.stop().await;
}
