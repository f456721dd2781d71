//! Names for addresses: behind `srv:` servers come and go as the DNS says, and a name may move to another address.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{fs, process::Command};

use bed::{
    Bed, Folder, PATIENCE, basics,
    dns::{Dns, Says},
    flavors,
    process::Process,
    readers::{Readers, fill},
    relay::{Line, Relay},
    server_error, until,
};
use mysql_async::{Conn, OptsBuilder, prelude::*};
use tokio::time::timeout;
use weir::{
    cli::check::check,
    config::{self, ProcessSecrets},
    sandbox::Cluster,
};

/// A writer with a name of its own, and replicas that a DNS name leads to.
fn config(cluster: &Cluster, dns: &Dns) -> String {
    format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n\
         [[servers]]\nname = \"db0\"\naddress = \"{}\"\nrole = \"writer\"\n\
         [[servers]]\naddress = \"srv:_mysql._tcp.db.example\"\nrole = \"replica\"\n\
         [[users]]\nname = \"app\"\npassword = \"app-secret\"\n\
         [probe]\nuser = \"probe\"\npassword = \"probe-secret\"\ninterval = \"200ms\"\n\
         [admin]\nconsole = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n\
         [dns]\nserver = \"{}\"\n",
        cluster.writer.address(),
        dns.address
    )
}

/// The servers that get something to do, by their names.
fn serving(bed: &Bed) -> Vec<String> {
    let cluster = bed.weir.context.cluster.load();
    let members = cluster.members.iter().filter(|member| member.up);
    members.map(|member| member.server.id.to_string()).collect()
}

async fn until_serving(bed: &Bed, expected: &[&str]) {
    until(&format!("{expected:?} serve"), async || serving(bed) == expected).await;
}

async fn until_asked_again(dns: &Dns, times: u32) {
    let before = dns.asked();
    until("the DNS is asked again", async || dns.asked() >= before + times).await;
}

#[tokio::test]
async fn servers_come_and_go_as_the_dns_says() {
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 2).await.unwrap();
        let [first, second] = [0, 1].map(|place| ("127.0.0.1", cluster.replicas[place].port(), 1));
        let names = [first, second].map(|(host, port, _)| format!("{host}:{port}"));
        let [one, other] = names.each_ref().map(String::as_str);
        let mut both = ["db0", one, other];
        both[1..].sort_unstable();
        let dns = Dns::start(Says::Targets(vec![first, second])).await;
        let text = config(&cluster, &dns);
        let bed = Bed::with_config(cluster, &text).await;
        until_serving(&bed, &both).await;
        let mut conn = fill(&bed).await;
        let readers = Readers::start(&bed, 4).await;
        until("both read", async || bed.served(one).0 > 0 && bed.served(other).0 > 0).await;
        // One vanishes: what runs there ends in peace, and nobody hears of it.
        let mut reading = bed.connect().await;
        let place = format!("/* weir:server={other} */ START TRANSACTION READ ONLY");
        reading.query_drop(&place).await.unwrap();
        dns.say(Says::Targets(vec![first]));
        until_serving(&bed, &["db0", one]).await;
        let port: Option<u16> = reading.query_first("SELECT @@port").await.unwrap();
        assert_eq!(port, Some(second.1), "{flavor}: the transaction goes on");
        reading.query_drop("COMMIT").await.unwrap();
        let again = reading.query_drop(place).await.unwrap_err();
        assert_eq!(server_error(&again).0, 2003, "{flavor}: there is no such server any more");
        // A reload does not bring back what the DNS does not name, nor lose what it does.
        bed.edit(&text.replace("[probe]", "[reads]\nmax_lag = \"1m\"\n[probe]"));
        until("the reload", async || bed.weir.context.config.load().reads.max_lag.as_secs() == 60).await;
        assert_eq!(serving(&bed), ["db0", one], "{flavor}: after a reload");
        // What the DNS cannot tell stays as it was.
        let wrong = if Some(&flavor) == flavors().first() { 3 } else { 0 };
        for says in [Says::Code(2), Says::Code(3), Says::Targets(Vec::new())].into_iter().take(wrong) {
            dns.say(says.clone());
            until_asked_again(&dns, 2).await;
            assert_eq!(serving(&bed), ["db0", one], "{flavor}: {says:?}");
        }
        dns.say(Says::Targets(vec![second, first]));
        until_serving(&bed, &both).await;
        let before = bed.served(other).0;
        until("it reads again", async || bed.served(other).0 > before).await;
        readers.end("servers come and go").await;
        conn.query_drop("DROP TABLE t").await.unwrap();
        drop((conn, reading));
        bed.stop().await;
    }
}

#[tokio::test]
async fn servers_of_a_higher_priority_number_stand_by() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 2).await.unwrap();
    let relay = Relay::start(cluster.replicas[0].address()).await;
    let [first, spare] = [relay.address.port(), cluster.replicas[1].port()];
    let dns = Dns::start(Says::Ranked(vec![(20, "127.0.0.1", spare, 1), (10, "127.0.0.1", first, 1)])).await;
    let text = config(&cluster, &dns) + "[tls.server]\nmode = \"disabled\"\n";
    let bed = Bed::with_config(cluster, &text).await;
    let [first, spare] = [first, spare].map(|port| format!("127.0.0.1:{port}"));
    let stands_by = |name: &str| {
        let cluster = bed.weir.context.cluster.load();
        cluster.members.iter().find(|member| member.server.id.as_str() == name).map(|member| member.stands_by)
    };
    let reads = async |from: &str, other: &str, why: &str| {
        let mut conn = bed.connect().await;
        let before = [from, other].map(|name| bed.served(name).0);
        for _ in 0..10 {
            conn.query_drop("SELECT 1").await.unwrap();
        }
        until(why, async || bed.served(from).0 == before[0] + 10).await;
        assert_eq!(bed.served(other).0, before[1], "{why}");
    };
    until("both are up", async || bed.serves(&first) && bed.serves(&spare) && stands_by(&spare) == Some(true)).await;
    reads(&first, &spare, "the first serves").await;
    relay.set(Line::Closed);
    until("it is the spare's turn", async || stands_by(&spare) == Some(false)).await;
    reads(&spare, &first, "the spare serves").await;
    relay.set(Line::Open);
    until("it stands by again", async || stands_by(&spare) == Some(true)).await;
    reads(&first, &spare, "the first serves again").await;
    // Who is asked for by name serves, whatever its turn.
    let port: Option<u16> =
        bed.connect().await.query_first(format!("/* weir:server={spare} */ SELECT @@port")).await.unwrap();
    assert_eq!(port, Some(bed.cluster.replicas[1].port()));
    bed.stop().await;
}

#[tokio::test]
async fn a_dns_that_is_silent_at_the_start_may_answer_later() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let replica = ("127.0.0.1", cluster.replicas[0].port(), 0);
    let dns = Dns::start(Says::Nothing).await;
    let text = config(&cluster, &dns) + "[timeouts]\nconnect = \"1s\"\n";
    let bed = Bed::with_config(cluster, &text).await;
    until_serving(&bed, &["db0"]).await;
    let port: Option<u16> = bed.connect().await.query_first("SELECT @@port").await.unwrap();
    assert_eq!(port, Some(bed.cluster.writer.port()), "the writer serves");
    dns.say(Says::Targets(vec![replica]));
    until_serving(&bed, &["db0", &format!("127.0.0.1:{}", replica.1)]).await;
    bed.stop().await;
}

#[tokio::test]
async fn a_check_looks_names_up() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    let replica = ("127.0.0.1", cluster.replicas[0].port(), 0);
    let dns = Dns::start(Says::Targets(vec![replica])).await;
    let config = config::parse(&config(&cluster, &dns), &ProcessSecrets).unwrap();
    let table = check(&config).await.to_string();
    assert!(table.contains(&format!("127.0.0.1:{}", replica.1)), "{table}");
    dns.say(Says::Code(3));
    let table = check(&config).await.to_string();
    assert!(table.contains("srv:_mysql._tcp.db.example"), "{table}");
}

/// `weir run` that finds its names in a file of the test; None: the system lets nobody have a view of its own of files.
fn with_hosts(hosts: &str, config: &str) -> Option<Process> {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let allowed =
        |way: &&&[&str]| Command::new("unshare").args(**way).arg("true").status().is_ok_and(|it| it.success());
    let way = ways.iter().find(allowed)?;
    let mut command = Command::new("unshare");
    command.args(*way).args(["sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\"", hosts]);
    command.args([env!("CARGO_BIN_EXE_weir"), "run", "--config", config]);
    Some(Process::spawn(command))
}

/// Two places with one port that the name `db.test` can lead to, and a client of Weir, which knows that name alone.
struct Move {
    here: Relay,
    there: Relay,
    hosts: String,
    conn: Conn,
    _weir: Process,
    _folder: Folder,
}

impl Move {
    /// The name leads to the writer; the other place is another server's, if there is one.
    async fn prepare(cluster: &Cluster, extra: &str) -> Option<Self> {
        let other = cluster.replicas.first().unwrap_or(&cluster.writer);
        let here = Relay::start(cluster.writer.address()).await;
        let there = Relay::start_at(&format!("127.0.0.2:{}", here.address.port()), other.address()).await;
        let folder = Folder::new("hosts");
        let hosts = folder.file("hosts", "127.0.0.1 db.test\n");
        let name = format!("db.test:{}", here.address.port());
        let servers = |text: &str| text.replace(&cluster.writer.address().to_string(), &name);
        // The replica is no server of Weir's.
        let text = match basics(cluster).split_once("[[servers]]\nname = \"db1\"") {
            Some((before, after)) => format!("{before}{}", &after[after.find("[[users]]").unwrap()..]),
            None => basics(cluster),
        };
        let Some(weir) = with_hosts(&hosts, &folder.file("weir.toml", &(servers(&text) + extra))) else {
            eprintln!("skipped: no mount namespace is to be had");
            return None;
        };
        let port = weir.address("listening").await.port();
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).prefer_socket(false);
        let mut conn = Conn::new(options.user(Some("app")).pass(Some("app-secret"))).await.unwrap();
        until("it is served", async || conn.query_drop("DO 1").await.is_ok()).await;
        Some(Self { here, there, hosts, conn, _weir: weir, _folder: folder })
    }

    /// Into the same file, which is what is mounted.
    fn lead_there(&self) {
        fs::write(&self.hosts, "127.0.0.2 db.test\n").unwrap();
    }
}

#[tokio::test]
async fn a_name_that_moves_to_another_address_is_followed() {
    let Some(flavor) = flavors().into_iter().next() else { return };
    let cluster = Cluster::start(flavor, 0).await.unwrap();
    let Some(mut moves) = Move::prepare(&cluster, "").await else { return };
    moves.there.set(Line::Closed);
    moves.conn.query_drop("DO 1").await.unwrap();
    moves.lead_there();
    moves.there.set(Line::Open);
    moves.here.set(Line::Closed);
    until("it is served from there", async || moves.conn.query_drop("DO 1").await.is_ok()).await;
}

/// Its thread's number is somebody else's at the place where the name leads by now.
#[tokio::test]
async fn a_statement_is_stopped_where_it_runs_wherever_its_name_leads() {
    let rule = "[[rules]]\nname = \"short\"\nregex = \"SLEEP\"\ntimeout = \"1s\"\n";
    for flavor in flavors() {
        let cluster = Cluster::start(flavor, 1).await.unwrap();
        let Some(mut moves) = Move::prepare(&cluster, rule).await else { return };
        moves.conn.query_drop("BEGIN").await.unwrap();
        moves.lead_there();
        let slow =
            moves.conn.query_drop("SELECT 1 FROM (SELECT 1 AS a UNION SELECT 2) AS x WHERE SLEEP(300) = 0 AND a > 0");
        let stopped = timeout(PATIENCE, slow).await.expect("it is stopped").unwrap_err();
        assert_eq!(server_error(&stopped).0, 3024, "{flavor}: {stopped}");
        moves.conn.query_drop("ROLLBACK").await.unwrap();
    }
}
