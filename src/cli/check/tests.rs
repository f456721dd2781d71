//! Observations to verdicts and to text, without servers.

use super::*;
use crate::{
    config::{Address, Secret},
    protocol::gtid::Position,
    sql::Dialect,
};

fn seen(read_only: bool, replication: Replication, lag: Option<u64>) -> Observation {
    Observation {
        version: "9.7.0".into(),
        dialect: Dialect::MySql,
        collation: None,
        identity: "a".into(),
        repeatable_reads: true,
        read_only,
        replication,
        lag: lag.map(Duration::from_secs),
        sources: Vec::new(),
        position: Some(Position::parse_mysql(b"").unwrap()),
        missing_grant: None,
        tls: true,
    }
}

fn writer() -> Observation {
    seen(false, Replication::NotAReplica, None)
}

fn replica() -> Observation {
    seen(true, Replication::Running, Some(0))
}

fn server(port: u16, role: Role) -> Server {
    Server::new(Address::Tcp { host: "db".into(), port }, role)
}

fn config(servers: Vec<Server>) -> Config {
    let users = vec![User::new("app", Secret::new("x".into()))];
    Config { servers, users, ..Config::default() }
}

fn answers(seen: Observation) -> Answers {
    Answers { probed: Ok(seen), refused: Vec::new(), unread_accounts: None, gaps: Vec::new() }
}

#[test]
fn problems_of_one_server() {
    let stopped = || Replication::Stopped { why: "duplicate key".into() };
    let cut = || Replication::Disconnected { why: "refused".into() };
    let cases = [
        (Role::Writer, writer(), Verdict::Ok, ""),
        (Role::Replica, replica(), Verdict::Ok, ""),
        (Role::Auto, writer(), Verdict::Ok, ""),
        (Role::Auto, replica(), Verdict::Ok, ""),
        (Role::Writer, replica(), Verdict::Failed, "is read-only"),
        (Role::Replica, seen(false, Replication::Running, Some(0)), Verdict::Warning, "not read-only"),
        (Role::Replica, seen(true, Replication::NotAReplica, None), Verdict::Warning, "replicates from nobody"),
        (Role::Replica, seen(true, stopped(), None), Verdict::Warning, "stopped: duplicate key"),
        (Role::Replica, seen(true, cut(), None), Verdict::Warning, "nothing new: refused"),
        (Role::Replica, seen(true, Replication::Running, Some(11)), Verdict::Warning, "max_lag = 10s"),
        (Role::Replica, Observation { position: None, ..replica() }, Verdict::Warning, "GTIDs are off"),
        (
            Role::Replica,
            Observation { missing_grant: Some("REPLICATION CLIENT".into()), ..seen(true, Replication::Unknown, None) },
            Verdict::Warning,
            "GRANT REPLICATION CLIENT ON *.* TO \"app\"",
        ),
    ];
    for (role, seen, verdict, text) in cases {
        let server = server(1, role);
        let row = row(&config(vec![server.clone()]), &server, &answers(seen.clone()));
        assert_eq!(row.verdict(), verdict, "{role:?} {seen:?}: {row:?}");
        let problems: Vec<_> = row.problems.iter().map(|problem| problem.text.as_str()).collect();
        assert_eq!(problems.is_empty(), text.is_empty(), "{role:?} {seen:?}: {problems:?}");
        assert!(problems.join("\n").contains(text), "{role:?} {seen:?}: {problems:?}");
    }
}

#[test]
fn an_offline_server_only_warns() {
    let mut server = server(1, Role::Replica);
    let refused = vec![("app".into(), "denied".into())];
    let answers = Answers { probed: Err("refused".into()), refused, unread_accounts: None, gaps: Vec::new() };
    let config = config(vec![server.clone()]);
    assert_eq!(row(&config, &server, &answers).verdict(), Verdict::Failed);
    server.state = State::Offline;
    assert_eq!(row(&config, &server, &answers).verdict(), Verdict::Warning);
}

#[test]
fn problems_of_the_cluster() {
    let mariadb = || Observation { dialect: Dialect::MariaDb, ..replica() };
    let auto = || [Role::Auto, Role::Auto];
    let cases = [
        ([Role::Writer, Role::Replica], [writer(), replica()], ""),
        (auto(), [writer(), replica()], ""),
        (auto(), [writer(), seen(false, Replication::Running, Some(0))], ""),
        (auto(), [replica(), replica()], "no writer was found"),
        (auto(), [writer(), writer()], "several servers can be the writer: db:1, db:2"),
        ([Role::Replica, Role::Auto], [writer(), replica()], "no writer was found"),
        ([Role::Writer, Role::Replica], [writer(), mariadb()], "mixed"),
        (
            [Role::Writer, Role::Replica],
            [writer(), Observation { version: "5.7.44".into(), ..replica() }],
            "db:2 does not have OPTIONAL_RESULTSET_METADATA, which clients are therefore not offered",
        ),
        ([Role::Writer, Role::Replica], [writer(), Observation { version: "8.4.3".into(), ..replica() }], ""),
    ];
    for (roles, seen, text) in cases {
        let config = config(vec![server(1, roles[0]), server(2, roles[1])]);
        let table = report(&config, &seen.clone().map(answers));
        assert_eq!(table.problems.is_empty(), text.is_empty(), "{roles:?} {seen:?}: {table}");
        assert!(table.problems.iter().all(|problem| problem.text.contains(text)), "{roles:?} {seen:?}: {table}");
    }
}

#[test]
fn text_is_aligned() {
    let config = config(vec![server(1, Role::Writer), server(22, Role::Replica)]);
    let refused = vec![("app".into(), "denied".into())];
    let down = Answers { probed: Err("no answer within 2s".into()), refused, unread_accounts: None, gaps: Vec::new() };
    let table = report(&config, &[answers(writer()), down]);
    let expected = "\
NAME   ADDRESS  ROLE     STATE   FOUND   VERSION  LAG  GTID  TLS  VERDICT
db:1   db:1     writer   active  writer  9.7.0    -    on    yes  ok
db:22  db:22    replica  active  -       -        -    -     -    failed
failed: db:22: cannot be probed: no answer within 2s
failed: db:22: user \"app\" cannot log in: denied
";
    assert_eq!(table.to_string(), expected);
    assert_eq!(table.verdict(), Verdict::Failed);
}
