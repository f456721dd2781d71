//! Real drivers cannot tell Weir from a server: the program of each, in `tests/drivers`, prints the same on a server and
//! through Weir, with TLS and without, while its plain reads run on the replica.
//!
//! `tests/drivers/list` names the programs, `.ci/install` installs their drivers and knows what runs them. The variable
//! `DRIVER` chooses one, by a part of its name.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use bed::{basics, flavors, until};
use tokio::{
    process::Command,
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::timeout,
};
use weir::{
    app::{self, Running, Source},
    config::{self, ProcessSecrets},
    sandbox::{APP, Cluster, Flavor},
    telemetry::{Metrics, Reason},
};

/// How many drivers run at once: they wait more than they work.
const AT_ONCE: usize = 6;

/// How long a program may run on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// A line of `tests/drivers/list`.
#[derive(Debug, Clone)]
struct Program {
    file: &'static str,
    version: &'static str,
    /// Whether another version than this on the machine is a fault.
    pinned: bool,
    /// What the shell runs.
    command: String,
}

/// The programs of a family whose drivers are there. Those that `WEIR_REQUIRE` names must be.
async fn programs(flavor: Flavor) -> Vec<Program> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(project.join(".ci/install")).arg("driver-commands").output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let commands = String::from_utf8(output.stdout).unwrap();
    let commands: BTreeMap<&str, &str> = commands.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
    let required = std::env::var("WEIR_REQUIRE").unwrap_or_default();
    let mut programs = Vec::new();
    for line in include_str!("drivers/list").lines().filter(|line| !line.starts_with('#')) {
        let [file, version, on, from] = line.split_whitespace().take(4).collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let unwanted = std::env::var("DRIVER").is_ok_and(|chosen| !file.contains(&chosen));
        if unwanted || ![flavor.name(), "both"].contains(&on) {
            continue;
        }
        let pinned = ["pypi", "npm", release].contains(&from);
        match commands.get(file) {
            Some(command) => programs.push(Program { file, version, pinned, command: command.to_string() }),
            None if required.split(',').any(|name| name == file) => panic!("{file} is required and not there"),
            None => eprintln!("skipped: {file} is not there"),
        }
    }
    programs
}

#[tokio::test]
async fn drivers_cannot_tell_weir_from_mariadb() {
    LocalSet::new().run_until(compare(Flavor::MariaDb)).await;
}

#[tokio::test]
async fn drivers_cannot_tell_weir_from_mysql() {
    LocalSet::new().run_until(compare(Flavor::MySql9)).await;
}

async fn compare(flavor: Flavor) {
    let programs = programs(flavor).await;
    if programs.is_empty() || !flavors().contains(&flavor) {
        return;
    }
    let cluster = Cluster::start(flavor, 1).await.unwrap();
    // For functions that are restored from a dump.
    cluster.writer.exec("SET GLOBAL log_bin_trust_function_creators = ON").await.unwrap();
    // A server that has seen the password accepts its digest; the first time it wants TLS, or the driver's consent.
    cluster.writer.connect_as(APP).await.unwrap();
    let stage = Arc::new(Stage { cluster, certificate: Certificate::make() });
    let (turns, mut running) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    // The last of the list are the slowest.
    for (place, program) in programs.into_iter().enumerate().rev() {
        let (stage, turns) = (stage.clone(), turns.clone());
        running.spawn_local(async move {
            let _turn = turns.acquire().await.unwrap();
            stage.fault(&program, place).await.map(|fault| format!("{flavor}, {}: {fault}", program.file))
        });
    }
    let faults: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n\n"));
}

/// Where a program runs: on the writer itself, or through Weir. Each has a schema of its own, with names of one length.
#[derive(Debug, Clone, Copy)]
enum Way {
    Server,
    Weir,
    WeirWithTls,
}

impl Way {
    const ALL: [Self; 3] = [Self::Server, Self::Weir, Self::WeirWithTls];

    fn schema(self, place: usize) -> String {
        format!("place_{place:02}_{}", self as u8)
    }
}

/// The schemas of one program.
async fn make_schemas(cluster: &Cluster, place: usize) {
    use mysql_async::prelude::*;
    let mut root = cluster.writer.connect().await.unwrap();
    for way in Way::ALL {
        let schema = way.schema(place);
        for sql in [format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4"), format!("USE {schema}")] {
            root.query_drop(sql).await.unwrap();
        }
        for sql in include_str!("drivers/fixture.sql").lines() {
            root.query_drop(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
    }
    root.disconnect().await.unwrap();
}

/// Takes the schemas of one program away, and from the logs what replicas have read: all programs together write
/// gigabytes.
async fn drop_schemas(cluster: &Cluster, place: usize) {
    for way in Way::ALL {
        cluster.writer.exec(&format!("DROP DATABASE {}", way.schema(place))).await.unwrap();
    }
    cluster.wait_caught_up().await.unwrap();
    for server in cluster.servers() {
        server.exec("FLUSH LOGS").await.unwrap();
        server.exec("PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY").await.unwrap();
    }
}

/// What all programs share.
struct Stage {
    cluster: Cluster,
    certificate: Certificate,
}

impl Stage {
    /// What is wrong with Weir, as a driver sees it.
    async fn fault(&self, program: &Program, place: usize) -> Option<String> {
        make_schemas(&self.cluster, place).await;
        self.cluster.wait_caught_up().await.unwrap();
        let (front, reads) = tokio::join!(self.weir(), self.weir());
        let compared = self.compare(program, place, [port(&front), port(&reads)]).await;
        for weir in [&front, &reads] {
            weir.shut_down();
        }
        front.ended().await;
        let metrics = reads.context.metrics.clone();
        reads.ended().await;
        drop_schemas(&self.cluster, place).await;
        compared.and_then(|expected| elsewhere(&metrics, expected)).err()
    }

    /// Compares what the program prints. Its plain reads, through Weir.
    async fn compare(&self, program: &Program, place: usize, ports: [u16; 2]) -> Result<u64, String> {
        let server = self.run(program, Way::Server, place, [self.cluster.writer.port(); 2]).await?;
        let version = server.lines().find_map(|line| line.strip_prefix("version ")).ok_or("it tells no version")?;
        if program.pinned && !version.starts_with(program.version) {
            return Err(format!("tests/drivers/list says version {}, it is {version}", program.version));
        }
        if !server.ends_with("== end\n") {
            return Err("it does not come to its end".to_owned());
        }
        for way in [Way::Weir, Way::WeirWithTls] {
            let through = self.run(program, way, place, ports).await?;
            if let Some(difference) = difference(&server, &through) {
                return Err(format!("{way:?}: {difference}"));
            }
        }
        let reads = server.lines().filter_map(|line| line.strip_prefix("reads ")?.parse::<u64>().ok());
        Ok(2 * reads.reduce(|sum, reads| sum + reads).ok_or("it does not tell how much it reads")?)
    }

    /// Weir in front of the servers, with few connections to them. An application that opens a connection for each
    /// request expects it to see what the last one wrote.
    async fn weir(&self) -> Running {
        let tls = &self.certificate;
        let text = basics(&self.cluster).replace("role =", "max_connections = 4\nrole =").replace("200ms", "1s")
            + &format!(
                "[tls.client]\ncert = {:?}\nkey = {:?}\n[runtime]\nworkers = 1\n[reads]\nconsistency = \"global\"\n\
                 wait_timeout = \"20s\"\nmax_lag = \"10m\"\n",
                tls.cert, tls.key
            );
        let config = config::parse(&text, &ProcessSecrets).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let weir = app::start(config, Source::Flags).await.unwrap();
        until("all servers serve", async || {
            let cluster = weir.context.cluster.load();
            cluster.has_positions && cluster.members.iter().all(|member| member.up && member.fresh)
        })
        .await;
        weir
    }

    /// What a program prints, without the name of its schema. Files in `target/tmp` keep it.
    async fn run(&self, program: &Program, way: Way, place: usize, ports: [u16; 2]) -> Result<String, String> {
        let schema = way.schema(place);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {}", program.command)]).stdin(Stdio::null()).kill_on_drop(true);
        command.env("DB_HOST", "127.0.0.1").env("DB_PORT", ports[0].to_string());
        command.env("DB_READS_PORT", ports[1].to_string()).env("DB_NAME", &schema);
        command.env("DB_FAMILY", self.cluster.flavor().name());
        command.env("DB_USER", APP.name).env("DB_PASSWORD", APP.password);
        if matches!(way, Way::WeirWithTls) {
            command.env("DB_CA", &self.certificate.cert);
        }
        let name = format!("{}-{}-{way:?}", program.file.replace('/', "-"), self.cluster.flavor());
        let [out, err] = ["out", "err"].map(|end| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{end}")));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let ended = timeout(LIMIT, command.status()).await;
        let [said, complained] =
            [out, err].map(|file| String::from_utf8_lossy(&fs::read(file).unwrap()).replace(&schema, "SCHEMA"));
        match ended {
            Ok(status) if status.as_ref().unwrap().success() => Ok(said),
            ended => {
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                Err(format!("{way:?}: {ended:?}\n{complained}\nafter, the last first:\n{}", last.join("\n")))
            }
        }
    }
}

fn port(weir: &Running) -> u16 {
    weir.addresses.listeners[0].unwrap().port()
}

/// Complains if fewer reads than expected ran on the replica.
fn elsewhere(metrics: &Metrics, expected: u64) -> Result<(), String> {
    let reads = metrics.server("db1").total(|shard| &shard.reads);
    if metrics.reason(Reason::Read) >= expected && reads >= expected {
        return Ok(());
    }
    let reasons = Reason::ALL.iter().map(|reason| (reason.label(), metrics.reason(*reason)));
    let reasons: Vec<_> = reasons.filter(|(_, count)| *count > 0).collect();
    Err(format!("of {expected} reads, {reads} ran on the replica: {reasons:?}"))
}

/// The first line that differs, and what stands in front of it.
fn difference(server: &str, weir: &str) -> Option<String> {
    let (expected, found): (Vec<_>, Vec<_>) = (server.lines().collect(), weir.lines().collect());
    let place = (0..expected.len().max(found.len())).find(|place| expected.get(*place) != found.get(*place))?;
    let mut text = format!("line {}\n", place + 1);
    for line in expected.iter().take(place).skip(place.saturating_sub(4)) {
        writeln!(text, "           {line}").unwrap();
    }
    let [expected, found] = [expected, found].map(|lines| lines.get(place).copied().unwrap_or("(nothing)"));
    write!(text, "    server {expected}\n    weir   {found}").unwrap();
    Some(text)
}

/// Weir's, in files. It is its own authority.
struct Certificate {
    folder: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn make() -> Self {
        let folder =
            std::env::temp_dir().join(format!("weir-drivers-{}-{:?}", std::process::id(), std::thread::current().id()));
        fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { folder, cert, key }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What is left of it harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
