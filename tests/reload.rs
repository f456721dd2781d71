//! Changes of a running Weir: no client notices, and a broken edit changes nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::time::Duration;

use bed::{Bed, Folder, PATIENCE, basics, flavors, load::Load, process::Process, server_error, until};
use mysql_async::{Conn, OptsBuilder, prelude::*};
use weir::{
    config::State,
    context::ServerView,
    sandbox::{Cluster, Flavor},
};

/// The server's entry of a config that [`basics`] made, up to the next one.
fn entry(text: &str, name: &str) -> String {
    let start = text.find(&format!("[[servers]]\nname = \"{name}\"")).unwrap();
    let rest = &text[start + 1..];
    let end = rest.find("\n[").map_or(text.len(), |end| start + 1 + end + 1);
    text[start..end].to_owned()
}

/// The config with more lines in a server's entry.
fn with(text: &str, name: &str, lines: &str) -> String {
    let old = entry(text, name);
    text.replace(&old, &format!("{old}{lines}\n"))
}

fn without(text: &str, name: &str) -> String {
    text.replace(&entry(text, name), "")
}

/// A server as an operator sees it.
async fn view(bed: &Bed, name: &str) -> Option<ServerView> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    bed.weir.context.control.send(weir::context::Control::Servers(reply)).await.unwrap();
    answer.await.unwrap().unwrap().into_iter().find(|view| view.name == name)
}

async fn until_view(bed: &Bed, name: &str, what: &str, holds: impl Fn(Option<&ServerView>) -> bool) {
    until(&format!("{name}: {what}"), || async { holds(view(bed, name).await.as_ref()) }).await;
}

/// Waits until a server has served more reads.
async fn until_it_reads(bed: &Bed, name: &str) {
    let before = bed.served(name).0;
    until(&format!("{name} serves reads"), || async { bed.served(name).0 > before }).await;
}

async fn reload(bed: &Bed) -> Result<Vec<String>, String> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    bed.weir.context.control.send(weir::context::Control::Reload(reply)).await.unwrap();
    answer.await.unwrap().map_err(|error| error.to_string())
}

async fn console(bed: &Bed) -> Conn {
    let address = bed.weir.addresses.console.unwrap();
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(address.port());
    Conn::new(options.prefer_socket(false).user(Some("admin"))).await.unwrap()
}

fn first_flavor() -> Option<Flavor> {
    flavors().into_iter().next()
}

#[tokio::test]
async fn servers_come_and_go_under_load_without_an_error() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 2).await.unwrap();
        cluster.writer.exec(Load::TABLE).await.unwrap();
        cluster.wait_caught_up().await.unwrap();
        let all = basics(&cluster);
        let bed = Bed::with_config(cluster, &without(&all, "db2")).await;
        let load = Load::start(&bed.options(), 6).await;

        bed.edit(&all);
        until_it_reads(&bed, "db2").await;
        bed.edit(&with(&all, "db1", "weight = 1"));
        until_view(&bed, "db1", "has the weight 1", |view| view.unwrap().weight == 1).await;
        load.goes_on().await;
        bed.edit(&with(&all, "db1", "state = \"drain\""));
        let idle = |view: Option<&ServerView>| view.is_some_and(|v| (v.connections_idle, v.connections_used) == (0, 0));
        until_view(&bed, "db1", "is drained", |view| idle(view) && view.unwrap().state == State::Drain).await;
        load.goes_on().await;
        bed.edit(&with(&with(&all, "db2", "state = \"offline\""), "db1", "weight = 7"));
        until_it_reads(&bed, "db1").await;
        until_view(&bed, "db2", "has no connections", idle).await;
        bed.edit(&all.replace("name = \"db2\"", "name = \"renamed\""));
        until_it_reads(&bed, "renamed").await;
        until_view(&bed, "db2", "is gone", |view| view.is_none()).await;
        bed.edit(&with(&with(&all, "db0", "weight = 100\nmax_connections = 2"), "db1", "max_connections = 1"));
        until_it_reads(&bed, "db0").await;
        load.goes_on().await;
        bed.edit(&without(&without(&all, "db1"), "db2"));
        until_view(&bed, "db1", "is gone", |view| view.is_none()).await;
        load.goes_on().await;
        // Twice, quickly: what counts is the last.
        bed.edit(&with(&all, "db1", "weight = 3"));
        bed.edit(&with(&all, "db1", "weight = 4"));
        let changes = [reload(&bed).await, reload(&bed).await];
        assert!(changes.iter().all(Result::is_ok), "{flavor}: {changes:?}");
        assert_eq!(view(&bed, "db1").await.unwrap().weight, 4, "{flavor}");
        until_it_reads(&bed, "db2").await;
        assert!(load.stop().await > 0, "{flavor}");
        assert_eq!(bed.weir.context.metrics.reloads_failed.value(), 0, "{flavor}");
        bed.stop().await;
    }
}

#[tokio::test]
async fn probes_tls_and_timeouts_change_under_load_without_an_error() {
    let Some(flavor) = first_flavor() else { return };
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    cluster.writer.exec(Load::TABLE).await.unwrap();
    let all = basics(&cluster);
    let bed = Bed::with_config(cluster, &all).await;
    let load = Load::start(&bed.options(), 4).await;
    let context = bed.weir.context.clone();
    let opened = context.metrics.server("db0").connects.value();
    for edit in [
        all.replace("interval = \"200ms\"", "interval = \"50ms\"\ntimeout = \"9s\"\nrise = 5"),
        all.replace("user = \"probe\"\npassword = \"probe-secret\"\n", ""),
        format!("{all}[tls.server]\nmode = \"disabled\"\n"),
        format!("{all}[pool]\nidle_timeout = \"1s\"\n[timeouts]\nconnect = \"9s\"\n"),
        format!("{all}[limits]\nmax_clients = 1\n"),
        all.clone(),
    ] {
        bed.edit(&edit);
        let changes = reload(&bed).await.unwrap();
        assert!(!changes.is_empty(), "{edit}");
        load.goes_on().await;
        let view = view(&bed, "db0").await.unwrap();
        assert!(view.is_writer && view.health == "up", "{edit}: {view:?}");
    }
    load.stop().await;
    let now = context.metrics.server("db0").connects.value();
    assert!(now > opened, "the change of [tls.server] made the pool connect anew: {opened}, {now}");
    bed.stop().await;
}

#[tokio::test]
async fn a_change_of_the_probes_interval_is_followed() {
    let Some(flavor) = first_flavor() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let slow = basics(&cluster).replace("interval = \"200ms\"", "interval = \"1h\"");
    let bed = Bed::with_config(cluster, &slow).await;
    bed.cluster.writer.stop().await.unwrap();
    assert!(view(&bed, "db0").await.unwrap().health == "up", "nobody has looked yet");
    bed.edit(&slow.replace("1h", "50ms"));
    until_view(&bed, "db0", "is found to be down", |view| view.unwrap().health.starts_with("down")).await;
    bed.cluster.writer.start().await.unwrap();
    until_view(&bed, "db0", "is found to be up", |view| view.unwrap().health == "up").await;
    bed.stop().await;
}

#[tokio::test]
async fn users_and_rules_change_for_those_they_concern() {
    let Some(flavor) = first_flavor() else { return };
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    for sql in ["CREATE USER late IDENTIFIED BY 'one'", "GRANT ALL ON app.* TO late", "CREATE TABLE app.t (id INT)"] {
        cluster.writer.exec(sql).await.unwrap();
    }
    cluster.wait_caught_up().await.unwrap();
    let all = basics(&cluster);
    let bed = Bed::with_config(cluster, &all).await;
    let as_late = |password: &'static str| Conn::new(bed.options().user(Some("late")).pass(Some(password)));
    let denied = |result: Result<Conn, _>| server_error(&result.unwrap_err()).0 == 1045;
    assert!(denied(as_late("one").await), "not a user yet");

    let with_late = |password: &str| format!("{all}[[users]]\nname = \"late\"\npassword = \"{password}\"\n");
    bed.edit(&with_late("one"));
    until("late may log in", || async { as_late("one").await.is_ok() }).await;
    let mut old = as_late("one").await.unwrap();
    assert_eq!(old.query_first("SELECT COUNT(*) FROM t").await.unwrap(), Some(0));

    // The server's password changes with Weir's: a session that is open may need new connections.
    bed.cluster.writer.exec("ALTER USER late IDENTIFIED BY 'two'").await.unwrap();
    bed.cluster.wait_caught_up().await.unwrap();
    bed.edit(&(with_late("two") + "[pool]\nidle_timeout = \"1s\"\n"));
    until("the new password counts", || async { as_late("two").await.is_ok() }).await;
    assert!(denied(as_late("one").await), "the old password is out");
    for name in ["db0", "db1"] {
        until_view(&bed, name, "has no idle connections", |view| view.unwrap().connections_idle == 0).await;
    }
    assert_eq!(old.query_first("SELECT COUNT(*) FROM t").await.unwrap(), Some(0), "the old session lives on");

    let rule = "[[rules]]\nname = \"closed\"\ntables = [\"t\"]\nto = \"reject\"\n";
    bed.edit(&format!("{all}{rule}"));
    until("late may not log in", || async { as_late("two").await.is_err() }).await;
    let refused = old.query_drop("SELECT COUNT(*) FROM t").await.unwrap_err();
    assert_eq!(server_error(&refused).0, 3164, "a rule counts at once, in open sessions too");
    bed.edit(&all);
    until("the rule is gone", async || old.query_drop("SELECT COUNT(*) FROM t").await.is_ok()).await;
    drop(old);
    bed.stop().await;
}

#[tokio::test]
async fn a_broken_edit_changes_nothing_and_every_problem_is_told() {
    let Some(flavor) = first_flavor() else { return };
    let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "").await;
    let good = std::fs::read_to_string(bed.config_file()).unwrap();
    let before = bed.weir.context.config.load_full();
    let failed = || bed.weir.context.metrics.reloads_failed.value();
    let broken = good.replace("role = \"writer\"", "role = \"wirter\"\nwieght = 1")
        + "[reads]\nmax_lag = 5\n[[rules]]\nname = \"r\"\nto = \"group:none\"\n[limits]\nmax_packet = \"big\"\n";
    bed.edit(&broken);
    until("the edit is noticed", || async { failed() == 1 }).await;
    let told = reload(&bed).await.unwrap_err();
    for key in ["servers[0].role", "servers[0].wieght", "reads.max_lag", "rules[0].to", "limits.max_packet"] {
        assert!(told.lines().any(|line| line.starts_with("line ") && line.contains(key)), "{key}: {told}");
    }
    let mut console = console(&bed).await;
    let refused = console.query_drop("RELOAD").await.unwrap_err().to_string();
    assert!(refused.contains("servers[0].role") && refused.contains("limits.max_packet"), "{refused}");
    assert_eq!(failed(), 3, "told once by itself, and twice when asked");
    // A file that cannot be used is as bad as one that cannot be parsed.
    bed.edit(&(good.clone() + "[tls.client]\ncert = \"/none.pem\"\nkey = \"/none.key\"\n"));
    let told = reload(&bed).await.unwrap_err();
    assert!(told.contains("tls.client") && told.contains("/none.pem"), "{told}");
    std::fs::remove_file(bed.config_file()).unwrap();
    let told = reload(&bed).await.unwrap_err();
    assert!(told.contains("weir.toml"), "{told}");
    assert!(std::sync::Arc::ptr_eq(&before, &bed.weir.context.config.load_full()), "nothing has changed");
    let mut conn = bed.connect().await;
    conn.query_drop("SELECT 1").await.unwrap();
    bed.edit(&(good + "[reads]\nmax_lag = \"7s\"\n"));
    until("a good edit counts again", || async {
        bed.weir.context.config.load().reads.max_lag == Duration::from_secs(7)
    })
    .await;
    drop((conn, console));
    bed.stop().await;
}

#[tokio::test]
async fn a_drained_server_lets_go_in_time() {
    let Some(flavor) = first_flavor() else { return };
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    cluster.writer.exec("CREATE TABLE app.t (id INT PRIMARY KEY)").await.unwrap();
    cluster.wait_caught_up().await.unwrap();
    let extra = "[timeouts]\ndrain = \"1s\"\n";
    let bed = Bed::with(cluster, extra).await;
    let good = std::fs::read_to_string(bed.config_file()).unwrap();
    let mut console = console(&bed).await;
    let mut short = bed.connect().await;
    let mut long = bed.connect().await;
    let mut busy = bed.connect().await;
    for conn in [&mut short, &mut long] {
        conn.query_drop("START TRANSACTION READ ONLY").await.unwrap();
        conn.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
    }
    let sleeps = tokio::spawn(async move {
        let error = busy.query_drop("/* weir:reader */ SELECT SLEEP(60)").await.unwrap_err();
        (error, busy)
    });
    until_view(&bed, "db1", "has three connections in use", |view| view.unwrap().connections_used == 3).await;
    console.query_drop("DRAIN SERVER db1").await.unwrap();
    // Transactions go on, and new reads go elsewhere.
    short.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
    short.query_drop("COMMIT").await.unwrap();
    let (writer, replica) = (bed.cluster.writer.port(), bed.cluster.replicas[0].port());
    let port = bed::answering_port(&mut short, "/* weir:reader */").await;
    assert_eq!(port, writer, "a drained server gets nothing new");
    // At the deadline whoever is left is told, and cut.
    let (error, _) = tokio::time::timeout(PATIENCE, sleeps).await.unwrap().unwrap();
    assert_eq!(server_error(&error), (1053, "08S01".to_owned()));
    until_view(&bed, "db1", "has no connections", |view| view.unwrap().connections_used == 0).await;
    assert!(long.query_drop("SELECT 1").await.is_err(), "its transaction is gone, and so is the session");

    // What an operator has set outlives an edit that is about something else.
    bed.edit(&good.replace(extra, "[timeouts]\ndrain = \"2s\"\n"));
    reload(&bed).await.unwrap();
    assert_eq!(view(&bed, "db1").await.unwrap().state, State::Drain);
    console.query_drop("ENABLE SERVER db1").await.unwrap();
    until("db1 serves reads again", async || bed::answering_port(&mut short, "/* weir:reader */").await == replica)
        .await;
    drop((short, long, console));
    bed.stop().await;
}

#[tokio::test]
async fn a_server_moves_and_the_writer_hands_over() {
    let Some(flavor) = first_flavor() else { return };
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    cluster.writer.exec(Load::TABLE).await.unwrap();
    cluster.wait_caught_up().await.unwrap();
    let all = basics(&cluster);
    let (one, two) = (cluster.replicas[0].port(), cluster.replicas[1].port());
    let alone = without(&all, "db2") + "[timeouts]\ndrain = \"1s\"\n";
    let bed = Bed::with_config(cluster, &alone).await;
    let load = Load::start(&bed.options(), 4).await;
    let mut old = bed.connect().await;
    old.query_drop("START TRANSACTION READ ONLY").await.unwrap();
    assert_eq!(bed::answering_port(&mut old, "").await, one);

    bed.edit(&alone.replace(&one.to_string(), &two.to_string()));
    reload(&bed).await.unwrap();
    let mut new = bed.connect().await;
    until("reads go to the new address", async || bed::answering_port(&mut new, "/* weir:reader */").await == two)
        .await;
    until("a transaction on the old address is cut at the deadline", async || old.ping().await.is_err()).await;

    // A replica that is down is added without harm, and another one under a name that has failed before.
    let down = "[[servers]]\nname = \"down\"\naddress = \"127.0.0.1:1\"\nrole = \"replica\"\n";
    bed.edit(&all.replace("[[users]]", &format!("{down}[[users]]")));
    reload(&bed).await.unwrap();
    until_view(&bed, "down", "is down", |view| view.unwrap().health.starts_with("down")).await;
    load.goes_on().await;
    bed.edit(&all.replace("name = \"db2\"", "name = \"down\""));
    reload(&bed).await.unwrap();
    until_it_reads(&bed, "down").await;
    load.stop().await;

    // Two servers with role = "auto": draining the writer hands over to the other, once it takes writes.
    let auto = all.replace("role = \"writer\"", "role = \"auto\"").replace("role = \"replica\"", "role = \"auto\"");
    bed.cluster.replicas[0].set_mode(weir::sandbox::Mode::ReadWrite).await.unwrap();
    bed.edit(&with(&auto, "db0", "state = \"drain\""));
    reload(&bed).await.unwrap();
    until_view(&bed, "db1", "is the writer", |view| view.unwrap().is_writer).await;
    assert_eq!(bed::answering_port(&mut new, "/* weir:writer */").await, one);
    drop((old, new));
    bed.stop().await;
}

#[tokio::test]
async fn tls_towards_clients_changes_for_new_sessions() {
    let Some(flavor) = first_flavor() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let all = basics(&cluster);
    let bed = Bed::with_config(cluster, &all).await;
    let (cert, key) = (bed.config_file().with_file_name("cert.pem"), bed.config_file().with_file_name("key.pem"));
    let certify = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    certify();
    let mut plain = bed.connect().await;
    let files = format!("cert = {:?}\nkey = {:?}\n", cert.display().to_string(), key.display().to_string());
    let required = format!("{all}[tls.client]\nmode = \"required\"\n{files}");
    bed.edit(&required);
    let changes = reload(&bed).await.unwrap();
    assert_eq!(changes.len(), 3, "{changes:?}");
    let refused = Conn::new(bed.options()).await.unwrap_err();
    assert_eq!(server_error(&refused).0, 3159);
    plain.query_drop("SELECT 1").await.unwrap();
    // A driver that checks the certificate tells the first from the second, and goes on with the file's.
    let trusting = |pem: Vec<u8>| {
        let tls = mysql_async::SslOpts::default().with_root_certs(vec![pem.into()]).with_disable_built_in_roots(true);
        Conn::new(bed.options().ip_or_hostname("localhost").ssl_opts(Some(tls)))
    };
    let first = std::fs::read(&cert).unwrap();
    trusting(first.clone()).await.unwrap();
    certify();
    trusting(first.clone()).await.unwrap();
    reload(&bed).await.unwrap();
    trusting(std::fs::read(&cert).unwrap()).await.unwrap();
    assert!(trusting(first).await.is_err(), "the certificate was renewed");
    bed.edit(&format!("{all}[tls.client]\nmode = \"disabled\"\n"));
    reload(&bed).await.unwrap();
    assert!(trusting(std::fs::read(&cert).unwrap()).await.is_err(), "no TLS");
    bed.connect().await;
    plain.query_drop("SELECT 1").await.unwrap();
    drop(plain);
    bed.stop().await;
}

#[tokio::test]
async fn a_hangup_reloads_the_binary() {
    let Some(flavor) = first_flavor() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let folder = Folder::new("hangup");
    let text = basics(&cluster);
    let file = folder.file("weir.toml", &text);
    let mut weir = Process::start(&["run", "--config", &file]);
    weir.address("listening").await;
    // Nothing that a look at the file would find: the hang-up alone makes it reload.
    weir.signal("HUP");
    weir.logged("the configuration is as it was").await;
    std::fs::write(&file, text + "[reads]\nmax_lag = \"7s\"\n").unwrap();
    weir.logged("change=reads.max_lag: 10s → 7s (now)").await;
    std::fs::write(&file, "[reads]\nmax_lag = 7\n[pool]\nx = 1\n").unwrap();
    weir.signal("HUP");
    let problems = weir.logged("the new configuration was refused").await;
    for problem in ["reads.max_lag", "pool.x", "servers", "users"] {
        assert!(weir.log().contains(problem), "{problem}: {problems}");
    }
    assert!(weir.is_running());
}
