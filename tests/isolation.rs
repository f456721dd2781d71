//! Sessions share server connections and never see each other's state, on real servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::collections::BTreeMap;

use bed::{Bed, flavors};
use mysql_async::{Conn, OptsBuilder, Row, Value, prelude::*};
use weir::sandbox::{Cluster, Flavor};

/// A bed whose pools have room for `connections` connections to each server.
async fn narrow(flavor: Flavor, connections: u32, extra: &str) -> Bed {
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    let basics = bed::basics(&cluster).replace("role =", &format!("max_connections = {connections}\nrole ="));
    Bed::with_config(cluster, &(basics + extra)).await
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

async fn variable(conn: &mut Conn, hint: &str, name: &str) -> Value {
    let sql = format!("{hint} SELECT @@SESSION.`{name}`");
    let row: Option<Row> = conn.query_first(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    row.unwrap().unwrap().remove(0)
}

/// Other values than the servers' own, for variables that have some.
fn other_value(name: &str, value: &str) -> Option<String> {
    if name.starts_with("character_set") || name.starts_with("collation") {
        return None;
    }
    match value {
        "ON" => Some("OFF".into()),
        "OFF" => Some("ON".into()),
        _ => None,
    }
}

#[tokio::test]
async fn every_variable_travels_and_is_restored() {
    for flavor in flavors() {
        let bed = narrow(flavor, 1, "").await;
        let writer = bed.cluster.writer.port();
        let mut conn = bed.connect().await;
        conn.query_drop("CREATE TABLE t (id INT)").await.unwrap();
        bed.cluster.wait_caught_up().await.unwrap();
        let mut fresh = Conn::new(direct(bed.options(), writer)).await.unwrap();
        let (mut wrong, mut travelled) = (Vec::new(), 0);
        for (name, value) in session_variables(&mut fresh).await {
            if name.starts_with("session_track_") {
                // What Weir needs for itself; a session that names them keeps its connection.
                continue;
            }
            for value in [Some(format!("@@SESSION.`{name}`")), other_value(&name, &value)].into_iter().flatten() {
                let set = format!("SET SESSION `{name}` = {value}");
                let mut trial = Conn::new(direct(bed.options(), writer)).await.unwrap();
                if trial.query_drop(&set).await.is_err() {
                    continue;
                }
                let expected = variable(&mut trial, "", &name).await;
                let mut setter = bed.connect().await;
                setter.query_drop(&set).await.unwrap();
                setter.ping().await.unwrap();
                let pinned = bed.weir.context.sessions.find(setter.id()).unwrap().view(std::time::Instant::now()).pin;
                if pinned.is_none() {
                    travelled += 1;
                    // As a read of data, and as a look at the variable itself.
                    let ports = match setter.query_iter("/* weir:reader */ SELECT @@port, 1").await {
                        Ok(result) => result.collect_and_drop::<(u16, u8)>().await.unwrap(),
                        Err(error) => {
                            wrong.push(format!("{set}: {error}"));
                            continue;
                        }
                    };
                    if ports.first().is_none_or(|(port, _)| *port == writer) {
                        wrong.push(format!("{set}: refused by the replicas"));
                    }
                    for hint in ["/* weir:server=db1 */", "/* weir:server=db2 */", "/* weir:writer */"] {
                        let found = variable(&mut setter, hint, &name).await;
                        if found != expected {
                            wrong.push(format!("{set}: {found:?} with {hint}, not {expected:?}"));
                        }
                    }
                }
                drop(setter);
                let expected = variable(&mut fresh, "", &name).await;
                for hint in ["/* weir:server=db1 */", "/* weir:writer */"] {
                    let found = variable(&mut conn, hint, &name).await;
                    let own = ["pseudo_thread_id", "timestamp", "rand_seed1", "rand_seed2", "server_id"];
                    if found != expected && !own.contains(&name.as_str()) {
                        wrong.push(format!("{set}: another session has {found:?} with {hint}, not {expected:?}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{flavor}, {travelled} travelled:\n{}", wrong.join("\n"));
        assert!(travelled > 100, "{flavor}: only {travelled} variables travelled");
        drop((conn, fresh));
        bed.stop().await;
    }
}
