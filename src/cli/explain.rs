//! `weir explain "SQL"`: where a statement would go, and why. Asks no server.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use super::{Failed, Where};
use crate::{
    config::{Config, Route, Transactions},
    routing::{self, Asked, Implicit, Situation, Target},
    sql::{self, Dialect, Mode},
    telemetry::Pin,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The statement
    sql: String,
    /// The configuration file whose rules are applied
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// The user, for rules
    #[arg(long, default_value = "")]
    user: String,
    /// The session's schema, for rules
    #[arg(long, default_value = "")]
    schema: String,
    /// As if a transaction were open
    #[arg(long)]
    in_transaction: bool,
    /// As if `autocommit` were 0
    #[arg(long)]
    autocommit_off: bool,
    /// How the text is read
    #[arg(long, value_enum, default_value_t = Family::Mysql)]
    dialect: Family,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Family {
    Mysql,
    Mariadb,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let config = match &arguments.config {
        Some(path) => {
            let place = Where {
                config: Some(path.clone()),
                writer: None,
                replica: Vec::new(),
                user: None,
                password_env: None,
                listen: Vec::new(),
            };
            place.load()?.0
        }
        None => Config::default(),
    };
    std::io::stdout().write_all(explain(arguments, &config).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn explain(arguments: &Arguments, config: &Config) -> String {
    let sql = arguments.sql.as_bytes();
    let mode = match arguments.dialect {
        Family::Mysql => Mode { dialect: Dialect::MySql, version: 90_700, ..PLAIN },
        Family::Mariadb => Mode { dialect: Dialect::MariaDb, version: 101_100, ..PLAIN },
    };
    let statement = sql::classify(sql, mode);
    let asked = Asked { user: &arguments.user, schema: arguments.schema.as_bytes(), client: None, sql, mode };
    let rule = routing::first_match(&config.rules, &asked);
    let held = arguments.in_transaction.then_some(Pin::Transaction);
    let transaction = match (arguments.autocommit_off, config.reads.transactions) {
        (false, _) => Implicit::None,
        (true, Transactions::Writer) => Implicit::OnWriter,
        (true, Transactions::ReadsBeforeWrite) => Implicit::ReadsFirst,
    };
    let situation = Situation { route: &Route::Split, held, transaction };
    let decision = routing::route(&situation, &statement, rule);
    let target = match decision.target {
        Target::Held => "the connection of the transaction".to_owned(),
        Target::Writer | Target::Any => "writer".to_owned(),
        Target::Reader => "replica".to_owned(),
        Target::Group(name) => format!("group {}", String::from_utf8_lossy(name)),
        Target::Server(name) => format!("server {}", String::from_utf8_lossy(name)),
        Target::Reject => "nowhere: an error".to_owned(),
    };
    let mut out = format!("target   {target}\nreason   {}\n", decision.reason);
    out.push_str(&format!("kind     {:?}\neffects  {}\n", statement.kind, statement.effects));
    if let Some(rule) = rule {
        out.push_str(&format!("rule     {}\n", rule.name));
    }
    out.push_str(&format!("digest   {}  {}\n", sql::digest(sql, mode), sql::normalised(sql, mode)));
    out
}

const PLAIN: Mode = Mode { dialect: Dialect::MySql, version: 0, ansi_quotes: false, no_backslash_escapes: false };

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(sql: &str, in_transaction: bool) -> String {
        let arguments = Arguments {
            sql: sql.to_owned(),
            config: None,
            user: String::new(),
            schema: String::new(),
            in_transaction,
            autocommit_off: false,
            dialect: Family::Mysql,
        };
        explain(&arguments, &Config::default())
    }

    #[test]
    fn says_target_and_reason() {
        let cases = [
            ("SELECT 1", false, "target   replica\nreason   read\n"),
            ("SELECT 1 FOR UPDATE", false, "target   writer\nreason   locking-read\n"),
            ("SELECT 1", true, "target   the connection of the transaction\nreason   transaction\n"),
            ("DELETE FROM t", false, "target   writer\nreason   write\n"),
        ];
        for (sql, in_transaction, expected) in cases {
            let found = explained(sql, in_transaction);
            assert!(found.starts_with(expected), "{sql}: {found}");
        }
    }
}
