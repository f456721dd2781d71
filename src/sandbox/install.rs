//! Where the server programs are on this machine: on the `PATH`, or unpacked by `.ci/install` into the cache folder.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

/// A family of servers. Within one, statements, plugins and replication commands are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    MariaDb,
    /// MySQL 8.4 or later.
    MySql9,
}

impl Flavor {
    pub const ALL: [Self; 2] = [Self::MariaDb, Self::MySql9];

    /// As in `WEIR_REQUIRE`, on the command line and in the cache folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::MySql9 => "mysql9",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadbd",
            Self::MySql9 => "mysqld",
        }
    }

    /// The version out of what `--version` prints, when it is one of this family.
    fn version(self, text: &str) -> Option<String> {
        let version = text.split_once("Ver ")?.1.split_whitespace().next()?;
        let is_mariadb = version.contains("MariaDB");
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let release = (numbers.next()?, numbers.next()?);
        match self {
            Self::MariaDb => is_mariadb,
            Self::MySql9 => !is_mariadb && release >= (8, 4),
        }
        .then(|| version.to_owned())
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Flavor {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|flavor| flavor.name() == name)
            .ok_or_else(|| format!("{name} is no server family; there are mariadb and mysql9"))
    }
}

/// A server program that starts, and the options without which it would not find its own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    flavor: Flavor,
    version: String,
    program: PathBuf,
    /// The folder with the SQL files and messages.
    share: PathBuf,
    options: Vec<String>,
}

impl Installation {
    /// The server of a family to use on this machine. A server on the `PATH` comes before one in the cache folder.
    pub fn find(flavor: Flavor) -> Option<Self> {
        Self::on_path(flavor).or_else(|| Self::unpacked(flavor, &cache().join(flavor.name())))
    }

    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// As the program itself says: `10.11.19-MariaDB-0+deb12u1`, `9.7.4-2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn share(&self) -> &Path {
        &self.share
    }

    pub(super) fn options(&self) -> &[String] {
        &self.options
    }

    fn on_path(flavor: Flavor) -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        env::split_paths(&path).chain(system).find_map(|folder| {
            let program = folder.join(flavor.program());
            let version = version_of(flavor, &program)?;
            let base = folder.parent()?;
            let share = ["share/mysql", "share/mariadb", "share"].map(|share| base.join(share));
            let share = share.into_iter().find(|share| share.join("english").is_dir());
            // MySQL finds its own; MariaDB is initialised from files in there.
            let share = share.or_else(|| (flavor == Flavor::MySql9).then(|| base.to_owned()))?;
            Some(Self { flavor, version, program, share, options: Vec::new() })
        })
    }

    /// In a tree that `.ci/install` made: `tree/bin` starts the programs with the tree's own libraries.
    fn unpacked(flavor: Flavor, tree: &Path) -> Option<Self> {
        let program = tree.join("bin").join(flavor.program());
        let version = version_of(flavor, &program)?;
        let base = tree.join("usr");
        let share = base.join("share/mysql");
        let options = vec![
            format!("--basedir={}", base.display()),
            format!("--lc-messages-dir={}", share.display()),
            format!("--character-sets-dir={}", share.join("charsets").display()),
            format!("--plugin-dir={}", base.join("lib/mysql/plugin/").display()),
        ];
        tree.join(".complete").exists().then_some(Self { flavor, version, program, share, options })
    }
}

fn version_of(flavor: Flavor, program: &Path) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let output = Command::new(program).args(["--no-defaults", "--version"]).output().ok()?;
    flavor.version(&String::from_utf8_lossy(&output.stdout))
}

/// Where unpacked servers and initialised data folders are kept: `$WEIR_CACHE`, or `weir` in the user's cache folder.
pub(super) fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WEIR_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("weir")))
        .or_else(|| Some(set("HOME")?.join(".cache/weir")))
        .unwrap_or_else(|| env::temp_dir().join("weir-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_which_family_it_is() {
        let mariadb = "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)";
        let cases = [
            (mariadb, Some("10.11.19-MariaDB-0+deb12u1"), None),
            ("/t/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", None, Some("9.7.4-2")),
            ("mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)", None, Some("8.4.3")),
            ("mysqld  Ver 8.0.40 for Linux on x86_64", None, None),
            ("mysqld: cannot open shared object file", None, None),
            ("", None, None),
        ];
        for (text, mariadb, mysql) in cases {
            assert_eq!(Flavor::MariaDb.version(text).as_deref(), mariadb, "{text}");
            assert_eq!(Flavor::MySql9.version(text).as_deref(), mysql, "{text}");
        }
    }

    #[test]
    fn names_parse_back() {
        for flavor in Flavor::ALL {
            assert_eq!(flavor.name().parse(), Ok(flavor), "{flavor}");
        }
        assert!("oracle".parse::<Flavor>().is_err());
    }
}
