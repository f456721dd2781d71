//! The families' own client programs.

use std::path::PathBuf;

use tokio::process::Command;
use weir::sandbox::{Flavor, Installation};

/// A program of a family: on the `PATH`, beside the server that is tested with, or none.
pub fn find(flavor: Flavor, name: &str) -> Option<PathBuf> {
    let beside = Installation::find(flavor)?.program().with_file_name(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).chain([beside]).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {name} of {flavor} is not installed");
    }
    found
}

/// `mysql` or `mariadb`, about to log in as `app` to a port; results come as bare lines.
pub fn client(flavor: Flavor, port: u16) -> Option<Command> {
    let name = if flavor == Flavor::MySql9 { "mysql" } else { "mariadb" };
    let mut command = Command::new(find(flavor, name)?);
    command
        .args(["--no-defaults", "-h127.0.0.1", "-uapp", "-papp-secret", "--batch", "--skip-column-names"])
        .arg(format!("-P{port}"));
    Some(command)
}
