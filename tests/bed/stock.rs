//! The families' own client programs.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use weir::sandbox::{Flavor, Installation};

/// A program of a family: beside the server that is tested with, on the `PATH`, or none.
pub fn find(flavor: Flavor, name: &str) -> Option<PathBuf> {
    let beside = Installation::find(flavor)?.program().with_file_name(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = [beside].into_iter().chain(on_path).find(|path| path.is_file() && is_of(flavor, path));
    if found.is_none() {
        eprintln!("skipped: {name} of {flavor} is not installed");
    }
    found
}

/// MariaDB's programs answer to MySQL's names, too.
fn is_of(flavor: Flavor, program: &Path) -> bool {
    let said = std::process::Command::new(program).arg("--version").output().unwrap();
    String::from_utf8_lossy(&said.stdout).contains("MariaDB") == (flavor == Flavor::MariaDb)
}

/// The folder with the plugins of MariaDB's clients.
pub fn plugins() -> Option<PathBuf> {
    let program = Installation::find(Flavor::MariaDb)?.program().to_owned();
    let trees = program.ancestors().skip(2).map(|tree| tree.join("usr/lib"));
    let system = [PathBuf::from("/usr/lib")];
    let libraries = trees.chain(system).flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let mut folders = libraries.map(|library| library.path().join("libmariadb3/plugin"));
    folders.find(|folder| folder.join("client_ed25519.so").is_file())
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
