//! Initialised data folders: made once per server version and recipe, kept in the cache folder, copied per server.
//!
//! Every server starts from the same users and databases, made without a binary log: a copy's GTID position is empty.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{
    APP, DATABASES, Flavor, Installation, PROBE, REPLICATION, SandboxError, folder::Folder, install::cache,
    process::Process, server::identity,
};

const INITIALISE_LIMIT: Duration = Duration::from_secs(120);

/// The SQL files that make MariaDB's own tables, in order; newer versions name them `mariadb_…`.
const MARIADB_TABLES: [&str; 4] = [
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
];

/// Copies the initialised data folder of an installation to `target`, which must not exist yet.
pub(super) async fn copy_initialised(installation: &Installation, target: &Path) -> Result<(), SandboxError> {
    let template = template(installation).await?;
    let output = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([&template, target])
        .output()
        .await
        .map_err(SandboxError::file("copying", &template))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned());
    Err(SandboxError::file("copying", &template)(reason))
}

/// The initialised data folder, made when there is none. Two that make the same one at once both succeed: the
/// rename of one wins, the other's goes away.
pub(super) async fn template(installation: &Installation) -> Result<PathBuf, SandboxError> {
    let recipe = recipe(installation);
    let parent = cache().join("data");
    let template = parent.join(recipe.name(installation));
    if template.is_dir() {
        return Ok(template);
    }
    fs::create_dir_all(&parent).map_err(SandboxError::file("creating", &parent))?;
    let work = Folder::create()?;
    let made = work.path().join("data");
    initialise(installation, &recipe, work.path(), &made).await?;
    // The rename must stay within one file system, which the folder for temporary files may not share.
    let name = work.path().file_name().expect("a folder has a name");
    let near = parent.join(name);
    let moved = Command::new("mv").arg("--").args([&made, &near]).status().await;
    let failed = |reason| SandboxError::file("moving", &made)(reason);
    if !moved.map_err(failed)?.success() {
        return Err(SandboxError::file("moving", &made)(io::Error::other("mv failed")));
    }
    match fs::rename(&near, &template) {
        Ok(()) => Ok(template),
        Err(_) if template.is_dir() => {
            let _ = fs::remove_dir_all(&near);
            Ok(template)
        }
        Err(error) => Err(SandboxError::file("renaming", &near)(error)),
    }
}

/// How a data folder is initialised: options of the server and the statements it is fed.
#[derive(Hash)]
struct Recipe {
    options: Vec<String>,
    sql: String,
}

impl Recipe {
    /// A changed recipe is another folder.
    fn name(&self, installation: &Installation) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{}-{}-{:016x}", installation.flavor(), installation.version(), hasher.finish())
    }
}

fn recipe(installation: &Installation) -> Recipe {
    let (options, sql) = match installation.flavor() {
        Flavor::MariaDb => (&["--bootstrap", "--innodb-log-file-size=16M"][..], mariadb_sql()),
        Flavor::MySql9 => (
            &["--initialize-insecure", "--innodb-redo-log-capacity=16M", "--mysqlx=OFF", "--secure-file-priv="][..],
            mysql_sql(),
        ),
    };
    Recipe { options: options.iter().map(ToString::to_string).collect(), sql }
}

/// Runs the server once over an empty `data` folder.
async fn initialise(
    installation: &Installation,
    recipe: &Recipe,
    work: &Path,
    data: &Path,
) -> Result<(), SandboxError> {
    let statements = work.join("init.sql");
    let log = work.join("log");
    let mut arguments = vec!["--no-defaults".to_owned(), format!("--datadir={}", data.display())];
    arguments.extend(identity());
    arguments.extend_from_slice(installation.options());
    arguments.extend_from_slice(&recipe.options);
    arguments.push("--innodb-flush-method=nosync".to_owned());
    let input = match installation.flavor() {
        Flavor::MariaDb => {
            fs::create_dir(data).map_err(SandboxError::file("creating", data))?;
            write_bootstrap(installation.share(), &recipe.sql, &statements)
                .map_err(SandboxError::file("writing", &statements))?;
            Some(File::open(&statements).map_err(SandboxError::file("opening", &statements))?)
        }
        Flavor::MySql9 => {
            fs::write(&statements, &recipe.sql).map_err(SandboxError::file("writing", &statements))?;
            arguments.push(format!("--init-file={}", statements.display()));
            None
        }
    };
    let output = File::create(&log).map_err(SandboxError::file("creating", &log))?;
    let program = installation.program();
    let process = Process::spawn(program, &arguments, input, output)
        .map_err(|source| SandboxError::Spawn { program: program.to_owned(), source })?;
    let ended = timeout(INITIALISE_LIMIT, process.exited()).await.is_ok();
    // Made last by either family's statements.
    if !ended || !data.join(DATABASES[1]).is_dir() {
        let version = installation.version().to_owned();
        return Err(SandboxError::Initialise { flavor: installation.flavor(), version, log: log_tail(&log) });
    }
    // Holds the server's UUID, which no two copies may share; the server makes a new one.
    let _ = fs::remove_file(data.join("auto.cnf"));
    Ok(())
}

/// What MariaDB reads in bootstrap mode: its own tables, then ours.
fn write_bootstrap(share: &Path, sql: &str, target: &Path) -> io::Result<()> {
    let mut file = File::create(target)?;
    file.write_all(b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n")?;
    for name in MARIADB_TABLES {
        let renamed = share.join(name.replace("mysql_", "mariadb_"));
        let path = if renamed.exists() { renamed } else { share.join(name) };
        file.write_all(&fs::read(path)?)?;
    }
    file.write_all(sql.as_bytes())
}

/// One statement a line. SUPER and READ ONLY ADMIN would let a client write on a replica.
fn mariadb_sql() -> String {
    let mut sql =
        "DELETE FROM global_priv WHERE user = 'root' AND host <> 'localhost';\nFLUSH PRIVILEGES;\n".to_owned();
    for account in [APP, PROBE, REPLICATION] {
        let (name, password) = (account.name, account.password);
        sql += &format!("CREATE USER {name}@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('{password}');\n");
    }
    let (app, probe, replication) = (APP.name, PROBE.name, REPLICATION.name);
    sql += &format!("GRANT ALL ON *.* TO {app}@'%' WITH GRANT OPTION;\n");
    sql += &format!("REVOKE SUPER, READ ONLY ADMIN ON *.* FROM {app}@'%';\n");
    sql += &format!("GRANT BINLOG MONITOR, SLAVE MONITOR ON *.* TO {probe}@'%';\n");
    sql += &format!("GRANT REPLICATION SLAVE ON *.* TO {replication}@'%';\n");
    sql + &create_databases()
}

/// One statement a line. SUPER and CONNECTION_ADMIN would let a client write on a replica.
fn mysql_sql() -> String {
    let mut sql = String::new();
    for account in [APP, PROBE, REPLICATION] {
        let (name, password) = (account.name, account.password);
        sql += &format!("CREATE USER {name}@'%' IDENTIFIED WITH caching_sha2_password BY '{password}';\n");
    }
    let (app, probe, replication) = (APP.name, PROBE.name, REPLICATION.name);
    sql += &format!("GRANT ALL ON *.* TO {app}@'%' WITH GRANT OPTION;\n");
    sql += &format!("REVOKE SUPER, CONNECTION_ADMIN ON *.* FROM {app}@'%';\n");
    sql += &format!("GRANT REPLICATION CLIENT ON *.* TO {probe}@'%';\n");
    sql += &format!("GRANT SELECT ON performance_schema.* TO {probe}@'%';\n");
    sql += &format!("GRANT REPLICATION SLAVE ON *.* TO {replication}@'%';\n");
    sql + &create_databases()
}

fn create_databases() -> String {
    DATABASES.map(|name| format!("CREATE DATABASE {name} CHARACTER SET utf8mb4;\n")).concat()
}

/// The last lines of a server's log; an unreadable log is empty.
pub(super) fn log_tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
