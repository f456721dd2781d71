//! `KILL`: whom an id names, Weir's or a server's, and who may kill whom.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::sync::Arc;

use bed::{
    Bed, flavors,
    raw::{Answer, Card, MODERN, Raw, code, error},
    relay::Fault,
    until,
};
use tokio::{sync::Notify, time::timeout};
use weir::sandbox::{Cluster, Flavor};

async fn start(flavor: Flavor) -> Bed {
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    cluster.writer.exec("CREATE USER other@'%' IDENTIFIED BY 'other-secret'").await.unwrap();
    cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
    // What a text does not show.
    cluster.writer.exec("CREATE PROCEDURE app.stop(id BIGINT UNSIGNED) KILL id").await.unwrap();
    cluster.wait_caught_up().await.unwrap();
    // A short patience with sessions that are still pinned when a test is over.
    let extra = "[[users]]\nname = \"other\"\npassword = \"other-secret\"\n[timeouts]\ndrain = \"100ms\"\n";
    Bed::with(cluster, extra).await
}

/// Waits until a statement runs on a server.
async fn running(bed: &Bed, text: &str) {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%{text}%' AND info NOT LIKE '%processlist%'"
    );
    until("the statement runs", async || {
        let mut found = 0;
        for server in bed.cluster.servers() {
            found += server.rows(&sql).await.unwrap()[0].get::<u64, _>(0).unwrap();
        }
        found > 0
    })
    .await;
}

/// A statement that sleeps, with a row to lose. Servers list a statement for a moment after they have answered it, so each
/// has a name.
fn sleep(name: u32) -> String {
    format!("\x03SELECT {name} FROM (SELECT 1 AS a UNION SELECT 2) AS x WHERE SLEEP(100) = 0 AND a > 0")
}

#[tokio::test]
async fn kill_query_stops_the_statement_and_nothing_else() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut killer = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let kills = ["KILL QUERY {}", "/* by name */ kill query /* of */ {} -- it", "KILL HARD QUERY {};"];
        for kill in &kills[..if flavor == weir::sandbox::Flavor::MariaDb { 3 } else { 2 }] {
            let mut victim = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            victim.run("SET @mine = 7").await;
            victim.send(sleep(victim.id).as_bytes()).await;
            running(&bed, &format!("SELECT {} ", victim.id)).await;
            killer.run(kill.replace("{}", &victim.id.to_string())).await;
            let reply = victim.receive(Answer::Results).await;
            assert_eq!(code(&reply), (1317, "70100".to_owned()), "{flavor}: {kill}");
            assert_eq!(victim.value("SELECT @mine").await, b"7", "{flavor}: the session is as it was");
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_kill_on_its_way_does_for_the_next() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        let (bed, relays) = Bed::with_relays(cluster, "[runtime]\nworkers = 1\n").await;
        let mut killer = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let mut victim = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        victim.send(format!("{} FOR UPDATE", sleep(victim.id)).as_bytes()).await;
        running(&bed, &format!("SELECT {} ", victim.id)).await;
        let go = Arc::new(Notify::new());
        relays[0].listen();
        relays[0].on("KILL QUERY", Fault::HoldRequest(go.clone()));
        let kill = format!("KILL QUERY {}", victim.id);
        killer.run(&kill).await;
        until("the first is on its way", async || !relays[0].is_armed()).await;
        // Time enough for the second to arrive, if it were sent.
        killer.run(&kill).await;
        for _ in 0..200 {
            killer.run("/* weir:writer */ SELECT 1").await;
        }
        let heard = relays[0].heard();
        assert_eq!(heard.iter().filter(|said| said.contains("KILL QUERY")).count(), 1, "{flavor}");
        go.notify_one();
        assert_eq!(code(&victim.receive(Answer::Results).await).0, 1317, "{flavor}");
        assert_eq!(victim.value("/* weir:writer */ SELECT 'alive'").await, b"alive", "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn kill_ends_a_session() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut killer = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        for (busy, by_command) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut victim = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            victim.run("BEGIN").await;
            victim.run("INSERT INTO app.t VALUES (5)").await;
            if busy {
                victim.send(sleep(victim.id).as_bytes()).await;
                running(&bed, &format!("SELECT {} ", victim.id)).await;
            }
            if by_command {
                let command = [&[0x0C][..], &victim.id.to_le_bytes()].concat();
                assert_eq!(error(&killer.ask(&command, Answer::One).await), None, "{flavor}");
            } else {
                killer.run(format!("KILL {}", victim.id)).await;
            }
            if busy {
                assert_eq!(code(&victim.receive(Answer::Results).await), (1317, "70100".to_owned()), "{flavor}");
            }
            timeout(bed::PATIENCE, async { while !victim.is_closed().await {} }).await.unwrap();
            // Waits for the lock, which goes with the transaction; without a rollback the row is there already.
            bed.cluster.writer.exec("INSERT INTO app.t VALUES (5)").await.unwrap();
            bed.cluster.writer.exec("DELETE FROM app.t").await.unwrap();
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn kill_knows_whom_it_may_kill() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut app = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let card = Card { user: "other", password: "other-secret", schema: None, ..Card::app(MODERN) };
        let mut other = Raw::connect(bed.port(), &card).await.unwrap();
        let missing = 99_999_999_u32;
        assert_eq!(code(&other.query(format!("KILL {missing}")).await), (1094, "HY000".to_owned()));
        assert_eq!(code(&other.query(format!("KILL QUERY {}", app.id)).await), (1095, "HY000".to_owned()));
        let command = [&[0x0C][..], &app.id.to_le_bytes()].concat();
        assert_eq!(code(&other.ask(&command, Answer::One).await).0, 1095, "{flavor}");
        // A server's own id of some connection is none of ours, however it is written.
        let thread = bed.cluster.writer.rows("SELECT CONNECTION_ID()").await.unwrap()[0].get::<u64, _>(0).unwrap();
        for sql in [format!("KILL {thread} + 0"), format!("KILL (SELECT {thread})"), "KILL @x".to_owned()] {
            let reply = other.query(&sql).await;
            assert!(matches!(code(&reply).0, 1064 | 1235), "{flavor}: {sql}: {reply:02x?}");
        }
        // A prepared one means the same.
        other.prepare(&format!("KILL {missing}")).await;
        let execute = [b"\x17", &other.statements[0].to_le_bytes()[..], b"\0\x01\0\0\0"].concat();
        assert_eq!(code(&other.ask(&execute, Answer::Results).await).0, 1094, "{flavor}");
        assert_eq!(code(&other.ask(b"\x16KILL ?", Answer::Prepare).await).0, 1235, "{flavor}");
        assert_eq!(app.value("SELECT 'alive'").await, b"alive");
        // Oneself.
        let own = app.id;
        assert_eq!(code(&app.query(format!("KILL QUERY {own}")).await), (1317, "70100".to_owned()), "{flavor}");
        assert_eq!(app.value("SELECT 'alive'").await, b"alive", "{flavor}");
        assert_eq!(code(&app.query(format!("KILL {own}")).await).1, "70100", "{flavor}");
        assert!(app.is_closed().await, "{flavor}");
        bed.stop().await;
    }
}

/// The connections of a user to the servers, other than the one that asks.
async fn threads(bed: &Bed) -> Vec<(String, u64)> {
    let mut threads = Vec::new();
    for server in bed.cluster.servers() {
        let sql = "SELECT id FROM information_schema.processlist WHERE user = 'app' AND id <> CONNECTION_ID()";
        let rows = server.rows(sql).await.unwrap();
        threads.extend(rows.iter().map(|row| (server.address().to_string(), row.get(0).unwrap())));
    }
    threads
}

#[tokio::test]
async fn a_kill_that_weir_cannot_run_kills_nobody() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let (mut victims, mut before) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let mut victim = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            victim.run("BEGIN").await;
            let thread = String::from_utf8(victim.value("SELECT CONNECTION_ID() + 0").await).unwrap();
            before.push((bed.cluster.writer.address().to_string(), thread.parse::<u64>().unwrap()));
            victims.push(victim);
        }
        let mut killer = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let sessions = victims.iter().map(|victim| u64::from(victim.id)).collect::<Vec<_>>();
        let texts = [
            "INSERT INTO t VALUES (1); KILL {}",
            "KILL {}; INSERT INTO t VALUES (1)",
            "SELECT 1; KILL {}",
            "KILL {}; KILL {}",
            "CREATE TABLE u (a INT); KILL QUERY {}; DROP TABLE u",
            "INSERT INTO t VALUES (1) /*!50000 ; KILL {} */",
            "FROB; KILL {}",
            "KILL USER nobody; KILL {}",
            "KILL USER() + {}",
            "PREPARE s FROM 'DO 1'; KILL CONNECTION {}",
            "BEGIN NOT ATOMIC KILL {}; END",
            "IF TRUE THEN KILL {}; END IF",
        ];
        for text in texts {
            for id in sessions.iter().copied().chain(before.iter().map(|(_, thread)| *thread)) {
                let sql = text.replace("{}", &id.to_string());
                assert_eq!(code(&killer.query(&sql).await), (1235, "42000".to_owned()), "{flavor}: {sql}");
            }
        }
        // Of these Weir knows nothing; a session's id is none of a server's threads.
        for sql in ["CALL stop({})", "PREPARE s FROM 'KILL {}'; EXECUTE s", "SET @id = {}; CALL stop(@id)"] {
            for id in &sessions {
                let sql = sql.replace("{}", &id.to_string());
                assert_eq!(code(&killer.query(&sql).await).0, 1094, "{flavor}: {sql}");
            }
        }
        assert_eq!(killer.value("SELECT COUNT(*) FROM t").await, b"0", "{flavor}: nothing of them was run");
        for victim in &mut victims {
            victim.run("ROLLBACK").await;
        }
        let after = threads(&bed).await;
        assert!(before.iter().all(|thread| after.contains(thread)), "{flavor}: {before:?}, then {after:?}");
        bed.stop().await;
    }
}

/// The id in the client's `SHOW FULL PROCESSLIST` of what runs a text.
async fn listed(raw: &mut Raw, hint: &str, text: &str) -> String {
    let list = raw.run(format!("{hint} SHOW FULL PROCESSLIST")).await;
    let found = list.iter().find(|row| row.windows(text.len()).any(|window| window == text.as_bytes()));
    let row = found.unwrap_or_else(|| panic!("nothing runs {text}"));
    String::from_utf8(row[1..=usize::from(row[0])].to_vec()).unwrap()
}

/// The server's id of the connection that a session in a transaction has.
async fn thread(raw: &mut Raw) -> String {
    let sql = "SELECT id FROM information_schema.processlist WHERE info LIKE '%this one%'";
    String::from_utf8(raw.value(sql).await).unwrap()
}

/// Sees the session give back what it used for its last statement, which it does after the reply.
async fn lets_go(raw: &mut Raw) {
    assert_eq!(error(&raw.ask(b"\x0E", Answer::One).await), None);
}

#[tokio::test]
async fn the_ids_in_the_process_list_are_ids_to_kill() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut killer = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        for (number, (hint, begin)) in [("", "BEGIN"), ("/* weir:server=db1 */", "DO 1")].into_iter().enumerate() {
            let mut victim = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            victim.run(begin).await;
            for kill in ["KILL QUERY", "KILL"] {
                let name = victim.id + number as u32;
                victim.send(sleep(name).as_bytes()).await;
                running(&bed, &format!("SELECT {name} ")).await;
                let id = listed(&mut killer, hint, &format!("SELECT {name} ")).await;
                killer.run(format!("{hint} {kill} {id}")).await;
                assert_eq!(
                    code(&victim.receive(Answer::Results).await),
                    (1317, "70100".to_owned()),
                    "{flavor}: {kill}"
                );
            }
            timeout(bed::PATIENCE, async { while !victim.is_closed().await {} }).await.unwrap();
        }
        // A session that does nothing, in a transaction.
        for by_command in [false, true] {
            let mut victim = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
            victim.run("BEGIN").await;
            victim.run("INSERT INTO t VALUES (6)").await;
            let id = thread(&mut victim).await;
            killer.run(format!("KILL QUERY {id}")).await;
            assert_eq!(victim.value("SELECT COUNT(*) FROM t").await, b"1", "{flavor}: it runs nothing to kill");
            if by_command {
                let command = [&[0x0C][..], &id.parse::<u32>().unwrap().to_le_bytes()].concat();
                assert_eq!(error(&killer.ask(&command, Answer::One).await), None, "{flavor}");
            } else {
                killer.run(format!("KILL {id}")).await;
            }
            timeout(bed::PATIENCE, async { while !victim.is_closed().await {} }).await.unwrap();
            bed.cluster.writer.exec("INSERT INTO app.t VALUES (6)").await.unwrap();
            bed.cluster.writer.exec("DELETE FROM app.t").await.unwrap();
        }
        // On a replica's list the same number is another connection.
        let mut reader = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let other = reader
            .value("/* weir:server=db1 */ SELECT id FROM information_schema.processlist WHERE info LIKE '%this one%'")
            .await;
        let other = String::from_utf8(other).unwrap();
        lets_go(&mut reader).await;
        killer.run(format!("/* weir:server=db1 */ KILL {other}")).await;
        assert_eq!(reader.value("SELECT 'alive'").await, b"alive", "{flavor}: it was nobody's");
        bed.stop().await;
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut killer = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let card = Card { user: "other", password: "other-secret", schema: None, ..Card::app(MODERN) };
        let mut stranger = Raw::connect(bed.port(), &card).await.unwrap();
        let mut user = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        user.run("BEGIN").await;
        let id = thread(&mut user).await;
        user.run("ROLLBACK").await;
        lets_go(&mut user).await;
        let pooled = bed.cluster.writer.address().to_string();
        let there = (pooled, id.parse().unwrap());
        assert_eq!(code(&stranger.query(format!("KILL {id}")).await).0, 1094, "{flavor}");
        killer.run(format!("KILL QUERY {id}")).await;
        assert!(threads(&bed).await.contains(&there), "{flavor}");
        killer.run(format!("KILL {id}")).await;
        until("the connection is gone", async || !threads(&bed).await.contains(&there)).await;
        assert_eq!(user.value("SELECT COUNT(*) FROM t FOR UPDATE").await, b"0", "{flavor}: nobody lost a session");
        bed.stop().await;
    }
}

#[tokio::test]
async fn what_is_not_weirs_the_server_kills() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut killer = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let card = Card { user: "other", password: "other-secret", schema: None, ..Card::app(MODERN) };
        let mut stranger = Raw::connect(bed.port(), &card).await.unwrap();
        let execute = [b"\x17", &1_u32.to_le_bytes()[..], b"\0\x01\0\0\0"].concat();
        for way in ["text", "command", "prepared"] {
            let mut direct = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
            let kill = format!("KILL {}", direct.id);
            assert_eq!(code(&stranger.query(&kill).await), (1095, "HY000".to_owned()), "{flavor}");
            let reply = match way {
                "text" => killer.query(&kill).await,
                "command" => killer.ask(&[&[0x0C][..], &direct.id.to_le_bytes()].concat(), Answer::One).await,
                _ => {
                    killer.prepare(&kill).await;
                    killer.ask(&execute, Answer::Results).await
                }
            };
            assert_eq!(error(&reply), None, "{flavor}: {way}");
            timeout(bed::PATIENCE, async { while !direct.is_closed().await {} }).await.unwrap();
        }
        bed.stop().await;
    }
}

#[tokio::test]
async fn whom_the_servers_let_may_kill_what_is_others() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let privilege = if flavor == Flavor::MariaDb { "CONNECTION ADMIN" } else { "CONNECTION_ADMIN" };
        let card = Card { user: "other", password: "other-secret", schema: None, ..Card::app(MODERN) };
        let mut other = Raw::connect(bed.port(), &card).await.unwrap();
        let mut victim = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        victim.run("BEGIN").await;
        let thread = thread(&mut victim).await;
        for id in [&victim.id.to_string(), &thread] {
            assert_eq!(code(&other.query(format!("KILL {id}")).await), (1095, "HY000".to_owned()), "{flavor}");
        }
        bed.cluster.writer.exec(&format!("GRANT {privilege} ON *.* TO other@'%'")).await.unwrap();
        for id in [victim.id.to_string(), thread] {
            other.run(format!("KILL QUERY {id}")).await;
        }
        assert_eq!(victim.value("SELECT 'alive'").await, b"alive", "{flavor}");
        other.run(format!("KILL {}", victim.id)).await;
        timeout(bed::PATIENCE, async { while !victim.is_closed().await {} }).await.unwrap();
        bed.stop().await;
    }
}

#[tokio::test]
async fn the_id_that_a_client_asks_for_is_one_to_kill() {
    for flavor in flavors() {
        let bed = start(flavor).await;
        let mut one = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let mut other = Raw::connect(bed.port(), &Card::app(MODERN)).await.unwrap();
        let mut direct = Raw::connect(bed.cluster.writer.port(), &Card::app(MODERN)).await.unwrap();
        for sql in ["SELECT CONNECTION_ID()", "/* mine */ select connection_id() AS mine;"] {
            let id = String::from_utf8(one.value(sql).await).unwrap();
            assert_eq!(id, one.id.to_string(), "{flavor}: {sql}");
            // All but the number is the server's, in both protocols.
            let (here, there) = (one.query(sql).await, direct.query(sql).await);
            assert_eq!(here.len(), there.len(), "{flavor}: {sql}");
            for (place, (packet, expected)) in here.iter().zip(&there).enumerate() {
                assert!(
                    place == here.len() - 2 || packet == expected,
                    "{flavor}: {sql}: {packet:02x?} {expected:02x?}"
                );
            }
            for raw in [&mut one, &mut direct] {
                let statement = raw.prepare(sql).await;
                let execute = [b"\x17", &statement.to_le_bytes()[..], b"\0\x01\0\0\0"].concat();
                let reply = raw.ask(&execute, Answer::Results).await;
                let row = &reply[reply.len() - 2];
                assert_eq!(row[..6], [&[0, 0][..], &raw.id.to_le_bytes()].concat(), "{flavor}: {sql}: {row:02x?}");
            }
        }
        // What asks for more is the server's: it fits what else the server tells.
        let seen = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = CONNECTION_ID()";
        assert_eq!(one.value(seen).await, b"1", "{flavor}");
        let id = String::from_utf8(other.value("SELECT CONNECTION_ID()").await).unwrap();
        one.run(format!("KILL {id}")).await;
        timeout(bed::PATIENCE, async { while !other.is_closed().await {} }).await.unwrap();
        bed.stop().await;
    }
}
