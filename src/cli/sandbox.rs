//! `weir sandbox`: a throw-away writer and replicas, and Weir in front.

use std::process::ExitCode;

use clap::Args;

use super::Failed;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Run a mixed workload and show where it went
    #[arg(long)]
    demo: bool,
    /// Exit after the table of the demo
    #[arg(long, requires = "demo")]
    once: bool,
}

pub(super) fn run(_arguments: &Arguments) -> Result<ExitCode, Failed> {
    Ok(ExitCode::SUCCESS)
}
