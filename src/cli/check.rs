//! `weir check`: connects to every configured server and says what is there and what is wrong with it.
//!
//! Decides what counts as a problem and how bad it is. Leaves the layout to `table`, the config's own mistakes to
//! `config`, and the exit code to `main` ([`Table::verdict`]).

mod table;

use std::{io::Write, process::ExitCode, sync::Arc, time::Duration};

use mysql_async::{Conn, prelude::Queryable};
use tokio::task::JoinSet;

pub use table::{Problem, Row, Table, Verdict};

use crate::{
    app::stored_code,
    backend::{
        driver::{ConnectError, Target, connect},
        observation::{Observation, Replication},
        probe::probe,
        srv,
    },
    config::{self, Auth, Config, Consistency, Keyword, Role, Server, State, Targets, User, duration_text},
    protocol::{Capabilities, ServerVersion},
};

/// Prints the table; a failed check exits with 1.
pub(super) fn run(place: &super::Where) -> Result<ExitCode, super::Failed> {
    let (config, _) = place.load()?;
    let table = super::runtime()?.block_on(check(&config));
    std::io::stdout().write_all(table.to_string().as_bytes())?;
    Ok(match table.verdict() {
        Verdict::Failed => ExitCode::from(super::exit::FAILURE),
        Verdict::Ok | Verdict::Warning => ExitCode::SUCCESS,
    })
}

/// What one server answered.
struct Answers {
    /// The observation, or why there is none.
    probed: Result<Observation, String>,
    /// Each application user who cannot log in, with the reason.
    refused: Vec<(String, String)>,
    /// The right to read the accounts, which the probe's user lacks and `auth = "passthrough"` can use.
    unread_accounts: Option<&'static str>,
    /// What stored code on a server that may be the writer none of Weir's accounts sees, and what to grant.
    gaps: Vec<String>,
}

/// Looks up `srv:` names, probes every server and logs in as every application user, all servers at once. Takes at most
/// `timeouts.connect` for each name, `probe.timeout` for the probe and as long for each user, and ten seconds for stored
/// code.
pub async fn check(config: &Config) -> Table {
    let (mut known, mut unknown) = (Targets::new(), Vec::new());
    for name in config.srv_names() {
        match srv::lookup(name, config.dns.server, config.timeouts.connect).await {
            Ok(answer) => drop(known.insert(name.to_owned(), answer.targets)),
            Err(error) => unknown.push(Problem::failure(error.to_string())),
        }
    }
    let config = Arc::new(config::expand(config, &known));
    let mut tasks = JoinSet::new();
    for (place, server) in config.servers.iter().cloned().enumerate() {
        let config = Arc::clone(&config);
        tasks.spawn(async move { (place, ask(&config, &server).await) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(place, _)| *place);
    let answers: Vec<Answers> = answers.into_iter().map(|(_, answers)| answers).collect();
    let mut table = report(&config, &answers);
    table.problems.extend(unknown);
    table
}

async fn ask(config: &Config, server: &Server) -> Answers {
    let deadline = config.probe.timeout;
    let (mut conn, mut unreachable) = (None, false);
    let probed = match Target::for_probes(config, server) {
        Some(target) => probe(&mut conn, &target, deadline).await.map_err(|error| {
            unreachable = error.is_unreachable();
            error.to_string()
        }),
        None => Err("there is no user to probe with: give [probe] one, or add one to [[users]]".to_owned()),
    };
    let mut unread_accounts = None;
    if let Some(mut conn) = conn {
        if config.auth == Auth::Passthrough {
            unread_accounts = tokio::time::timeout(deadline, unread(&mut conn)).await.ok().flatten();
        }
        part(conn, deadline).await;
    }
    let mut refused = Vec::new();
    // Where nobody answers, one message is enough.
    for user in config.users.iter().filter(|user| !unreachable && user.password.is_some()) {
        let mut last = Ok(());
        // One of the passwords must do.
        for password in user.passwords() {
            last = log_in(config, server, &User::new(&user.name, password.clone())).await;
            if last.is_ok() {
                break;
            }
        }
        if let Err(error) = last {
            refused.push((user.name.clone(), error));
        }
    }
    let gaps = match &probed {
        Ok(seen) if may_write(server, seen) => gaps(config, server, seen).await,
        _ => Vec::new(),
    };
    Answers { probed, refused, unread_accounts, gaps }
}

/// What nobody sees of the code stored in a server. One that does not tell in time has other problems.
async fn gaps(config: &Config, server: &Server, seen: &Observation) -> Vec<String> {
    let user = config.probe_user().map(|user| user.name).unwrap_or_default();
    let survey = tokio::time::timeout(stored_code::LOOK, stored_code::survey(config, server, seen.dialect)).await;
    survey.ok().flatten().map(|survey| survey.gaps(seen.dialect, &user)).unwrap_or_default()
}

/// What to grant to whoever may not read the accounts. MySQL since 9 has none that could be of use.
async fn unread(conn: &mut Conn) -> Option<&'static str> {
    let table = match conn.query_first::<String, _>("SELECT VERSION()").await.ok()?? {
        version if version.contains("MariaDB") => "mysql.global_priv",
        _ if conn.server_version() < (9, 0, 0) => "mysql.user",
        _ => return None,
    };
    conn.query_drop(format!("SELECT * FROM {table} LIMIT 0")).await.is_err().then_some(table)
}

async fn log_in(config: &Config, server: &Server, user: &User) -> Result<(), String> {
    let deadline = config.probe.timeout;
    match tokio::time::timeout(deadline, connect(&Target::for_user(config, server, user))).await {
        Ok(Ok(conn)) => {
            part(conn, deadline).await;
            Ok(())
        }
        Ok(Err(ConnectError::Driver { error, .. })) => Err(error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {}", duration_text(deadline))),
    }
}

/// Says goodbye, so that the server's log has no aborted connection. That it fails changes no answer.
async fn part(conn: Conn, deadline: Duration) {
    let _ = tokio::time::timeout(deadline, conn.disconnect()).await;
}

fn report(config: &Config, answers: &[Answers]) -> Table {
    let rows: Vec<Row> =
        config.servers.iter().zip(answers).map(|(server, answers)| row(config, server, answers)).collect();
    let active = config.servers.iter().zip(answers).filter(|(server, _)| server.state == State::Active);
    let seen: Vec<_> = active.filter_map(|(server, answers)| Some((server, answers.probed.as_ref().ok()?))).collect();
    let mut problems = Vec::new();
    let writers: Vec<&str> =
        seen.iter().filter(|(server, seen)| may_write(server, seen)).map(|(server, _)| server.id.as_str()).collect();
    match writers.as_slice() {
        [] => problems.push(Problem::failure("no writer was found: every write would wait and then fail".to_owned())),
        [_] => {}
        several => {
            problems.push(Problem::failure(format!("several servers can be the writer: {}", several.join(", "))))
        }
    }
    if seen.windows(2).any(|pair| matches!(pair, [(_, one), (_, other)] if one.dialect != other.dialect)) {
        problems.push(Problem::failure("MySQL and MariaDB servers are mixed".to_owned()));
    }
    problems.extend(seen.iter().filter_map(|(server, one)| lagging_behind_in_protocol(server, one, &seen)));
    Table { rows, problems }
}

/// What clients are not offered because this server, of one family with the others, is older than they are.
fn lagging_behind_in_protocol(server: &Server, one: &Observation, all: &[(&Server, &Observation)]) -> Option<Problem> {
    let extras = |seen: &Observation| ServerVersion::parse(seen.version.as_bytes()).extras();
    let family = all.iter().filter(|(_, seen)| seen.dialect == one.dialect);
    let most = family.map(|(_, seen)| extras(seen)).fold(Capabilities::NONE, Capabilities::with);
    let lacking = most.without(extras(one)).indispensable();
    let text = || format!("{} does not have {lacking:?}, which clients are therefore not offered", server.id);
    (lacking != Capabilities::NONE).then(|| Problem::warning(text()))
}

/// Whether Weir would write to it.
fn may_write(server: &Server, seen: &Observation) -> bool {
    server.role != Role::Replica && !seen.read_only && (server.role == Role::Writer || !follows(seen))
}

fn follows(seen: &Observation) -> bool {
    matches!(seen.replication, Replication::Running | Replication::Disconnected { .. })
}

fn row(config: &Config, server: &Server, answers: &Answers) -> Row {
    let mut problems = match &answers.probed {
        Ok(seen) => {
            let mut problems = role_problems(server, seen);
            problems.extend(replication_problems(config, seen));
            problems
        }
        Err(error) => vec![Problem::failure(format!("cannot be probed: {error}"))],
    };
    let refused = answers.refused.iter();
    problems.extend(refused.map(|(user, error)| Problem::failure(format!("user {user:?} cannot log in: {error}"))));
    if let Some(table) = answers.unread_accounts.filter(|_| server.role != Role::Replica) {
        let user = config.probe_user().map(|user| user.name).unwrap_or_default();
        problems.push(Problem::warning(format!(
            "users with mysql_native_password must give Weir their passwords, as the probe's user may not read what is \
             stored of them: GRANT SELECT ON {table} TO {user:?}"
        )));
    }
    problems.extend(answers.gaps.iter().cloned().map(Problem::warning));
    if server.state == State::Offline {
        problems.iter_mut().for_each(Problem::soften);
    }
    let seen = answers.probed.as_ref().ok();
    let column = |text: fn(&Observation) -> String| seen.map_or_else(|| "-".to_owned(), text);
    Row {
        name: server.id.to_string(),
        address: server.address.to_string(),
        role: server.role.keyword(),
        state: server.state.keyword(),
        found: column(found_role),
        version: column(|seen| seen.version.clone()),
        lag: column(lag),
        gtid: column(|seen| if seen.position.is_some() { "on" } else { "off" }.to_owned()),
        tls: column(|seen| if seen.tls { "yes" } else { "no" }.to_owned()),
        problems,
    }
}

fn found_role(seen: &Observation) -> String {
    let replica = seen.read_only || follows(seen) || matches!(seen.replication, Replication::Stopped { .. });
    if replica { "replica" } else { "writer" }.to_owned()
}

fn lag(seen: &Observation) -> String {
    match (&seen.replication, seen.lag) {
        (Replication::NotAReplica, _) => "-".to_owned(),
        (_, Some(lag)) => duration_text(lag),
        (_, None) => "unknown".to_owned(),
    }
}

fn role_problems(server: &Server, seen: &Observation) -> Vec<Problem> {
    let mut problems = Vec::new();
    if server.role == Role::Writer && seen.read_only {
        problems.push(Problem::failure("is configured as the writer and is read-only".to_owned()));
    }
    if server.role == Role::Replica {
        if !seen.read_only {
            problems.push(Problem::warning("is a replica and not read-only: other clients may write to it".to_owned()));
        }
        if seen.replication == Replication::NotAReplica {
            problems.push(Problem::warning("is configured as a replica and replicates from nobody".to_owned()));
        }
    }
    problems
}

fn replication_problems(config: &Config, seen: &Observation) -> Vec<Problem> {
    let mut warnings = Vec::new();
    match &seen.replication {
        Replication::Stopped { why } => warnings.push(format!("replication is stopped: {why}")),
        Replication::Disconnected { why } => warnings.push(format!("replication gets nothing new: {why}")),
        Replication::Unknown | Replication::NotAReplica | Replication::Running => {}
    }
    if let Some(lag) = seen.lag.filter(|lag| *lag > config.reads.max_lag) {
        let limit = duration_text(config.reads.max_lag);
        warnings.push(format!("is {} behind, more than max_lag = {limit}: it gets no reads", duration_text(lag)));
    }
    if let Some(grant) = &seen.missing_grant {
        let user = config.probe_user().map(|user| user.name).unwrap_or_default();
        warnings
            .push(format!("its delay is unknown, as the probe's user may not ask: GRANT {grant} ON *.* TO {user:?}"));
    }
    if seen.position.is_none() && config.reads.consistency != Consistency::Eventual {
        warnings.push("GTIDs are off: after a write, a session reads from the writer for a while".to_owned());
    }
    warnings.into_iter().map(Problem::warning).collect()
}

#[cfg(test)]
mod tests;
