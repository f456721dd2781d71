//! The command line: arguments, output and exit codes of every command.

pub mod check;
mod explain;
mod run;
mod sandbox;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app::Source,
    config::{self, Config, Flags, ProcessSecrets},
};

/// Exit codes, as sysexits.h has them.
mod exit {
    pub const FAILURE: u8 = 1;
    pub const USAGE: u8 = 64;
    pub const CONFIG: u8 = 78;
}

/// A read/write-splitting proxy for MySQL and MariaDB.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Run(Where),
    /// Validate the configuration, connect to every server and say what is there
    Check(Where),
    /// Say where a statement would go, and why
    Explain(explain::Arguments),
    /// Start a throw-away writer and replicas with Weir in front
    Sandbox(sandbox::Arguments),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct Where {
    /// The configuration file
    #[arg(short, long, conflicts_with_all = ["writer", "replica", "user", "password_env", "listen"])]
    config: Option<PathBuf>,
    /// The writer, instead of a file
    #[arg(long, value_name = "HOST:PORT")]
    writer: Option<String>,
    /// A replica, instead of a file; may be given several times
    #[arg(long, value_name = "HOST:PORT[?weight=N]")]
    replica: Vec<String>,
    /// The application's user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The environment variable that holds the user's password
    #[arg(long, value_name = "VAR")]
    password_env: Option<String>,
    /// Where to listen; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
}

/// Why a command failed, and with which exit code.
#[derive(Debug)]
struct Failed {
    code: u8,
    error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { code: exit::FAILURE, error: error.into() }
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Where neither output can be written to, the exit code still tells.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let result = match arguments.command {
        Command::Run(place) => run::run(&place),
        Command::Check(place) => check::run(&place),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Sandbox(arguments) => sandbox::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(Failed { code, error }) => {
            eprintln!("weir: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// Where the configuration is looked for if nobody says.
const DEFAULT_FILE: &str = "/etc/weir/weir.toml";

impl Where {
    /// Reads the configuration. A bad one exits with 78, and says every problem.
    fn load(&self) -> Result<(Config, Source), Failed> {
        let flags = Flags {
            writer: self.writer.clone(),
            replicas: self.replica.clone(),
            user: self.user.clone(),
            password_env: self.password_env.clone(),
            listen: self.listen.clone(),
        };
        if self.config.is_none() && (flags.writer.is_some() || !flags.replicas.is_empty()) {
            let config = config::from_flags(&flags, &ProcessSecrets).map_err(|problems| bad_config(&problems))?;
            return Ok((config, Source::Flags));
        }
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let hint = match self.config {
            Some(_) => "",
            None => "; name another file with --config, or the servers with --writer and --replica",
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| bad_config(&format!("cannot read {}: {error}{hint}", path.display())))?;
        let config = config::parse(&text, &ProcessSecrets)
            .map_err(|problems| bad_config(&format!("{} is not valid:\n{problems}", path.display())))?;
        Ok((config, Source::File(path.to_owned())))
    }
}

fn bad_config(problems: &dyn std::fmt::Display) -> Failed {
    Failed { code: exit::CONFIG, error: anyhow::anyhow!("{problems}") }
}

/// A runtime for commands that wait.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
