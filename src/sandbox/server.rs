//! One server instance: its folder, port and process, and what can be done to it.

use std::{
    fs::{self, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mysql_async::{Conn, OptsBuilder, Row, prelude::Queryable};
use tokio::time::{sleep, timeout};

use super::{
    Account, Flavor, Installation, SandboxError,
    data::{copy_initialised, log_tail},
    folder::Folder,
    process::{Process, Signal},
};

const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a server that is starting, or is being stopped in its tracks.
const POLL: Duration = Duration::from_millis(15);
const PORT_ATTEMPTS: u32 = 100;

/// Whether a server starts writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    ReadWrite,
    /// `read_only`, and on MySQL `super_read_only`, from its first moment and after every restart.
    ReadOnly,
}

impl Mode {
    fn read_only(self) -> &'static str {
        match self {
            Self::ReadWrite => "OFF",
            Self::ReadOnly => "ON",
        }
    }
}

/// A server on loopback. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub struct Server {
    name: String,
    installation: Installation,
    id: u32,
    mode: Mode,
    port: u16,
    // Dropped in this order: the process before the folder that it writes to.
    process: Mutex<Option<Process>>,
    folder: Folder,
}

impl Server {
    /// Starts a server with the databases and users of this module and an empty binary log with GTIDs. `id` is its
    /// `server_id`, unique within a replication tree.
    pub async fn create(installation: &Installation, id: u32, mode: Mode) -> Result<Self, SandboxError> {
        let folder = Folder::create()?;
        let mut server = Self {
            name: format!("{} server {id}", installation.flavor()),
            installation: installation.clone(),
            id,
            mode,
            port: free_port()?,
            process: Mutex::default(),
            folder,
        };
        copy_initialised(installation, &server.data()).await?;
        loop {
            match server.start().await {
                // Somebody took the port since it was found free.
                Err(SandboxError::Died { log, .. }) if log.contains("already in use") => {
                    fs::remove_file(server.log()).map_err(SandboxError::file("removing", &server.log()))?;
                    server.port = free_port()?;
                }
                result => return result.map(|()| server),
            }
        }
    }

    /// Starts the process again on the same data and port, and waits until it answers.
    pub async fn start(&self) -> Result<(), SandboxError> {
        if self.process().as_ref().is_some_and(Process::is_running) {
            return Err(SandboxError::Running { server: self.name.clone() });
        }
        let log = self.log();
        let output =
            OpenOptions::new().create(true).append(true).open(&log).map_err(SandboxError::file("opening", &log))?;
        let program = self.installation.program();
        let process = Process::spawn(program, &self.arguments(), None, output)
            .map_err(|source| SandboxError::Spawn { program: program.to_owned(), source })?;
        *self.process() = Some(process);
        self.answers().await
    }

    /// Asks the server to shut down and waits until it is gone.
    pub async fn stop(&self) -> Result<(), SandboxError> {
        self.end(Signal::Terminate).await
    }

    /// Takes the process away without a word (SIGKILL) and waits until it is gone.
    pub async fn kill(&self) -> Result<(), SandboxError> {
        self.end(Signal::Kill).await
    }

    /// Stops the process in its tracks (SIGSTOP): connections stay open and nothing answers.
    pub async fn freeze(&self) -> Result<(), SandboxError> {
        self.signal(Signal::Freeze)?;
        let still = async {
            while self.process().as_ref().is_some_and(|process| !process.is_still()) {
                sleep(POLL).await;
            }
        };
        timeout(STOP_LIMIT, still).await.map_err(|_| self.timed_out("freeze", STOP_LIMIT))
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) -> Result<(), SandboxError> {
        self.signal(Signal::Thaw)
    }

    /// Runs one statement as root.
    pub async fn exec(&self, sql: &str) -> Result<(), SandboxError> {
        self.rows(sql).await.map(|_| ())
    }

    /// Runs one query as root.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Row>, SandboxError> {
        let mut connection = self.connect().await?;
        let rows = connection.query(sql).await.map_err(|source| self.sql_error(sql, source))?;
        // An error in saying goodbye changes nothing about the answer.
        let _ = connection.disconnect().await;
        Ok(rows)
    }

    /// A connection of root, over the Unix socket.
    pub async fn connect(&self) -> Result<Conn, SandboxError> {
        let options = OptsBuilder::default().socket(Some(self.socket().display().to_string())).user(Some("root"));
        Conn::new(options).await.map_err(|source| self.sql_error("connecting as root", source))
    }

    /// A connection over TCP, as a client would open it.
    pub async fn connect_as(&self, account: Account) -> Result<Conn, SandboxError> {
        let options = OptsBuilder::default()
            .ip_or_hostname(Ipv4Addr::LOCALHOST.to_string())
            .tcp_port(self.port)
            .prefer_socket(false)
            .user(Some(account.name))
            .pass(Some(account.password));
        Conn::new(options).await.map_err(|source| self.sql_error("connecting", source))
    }

    /// Changes `read_only` until the next restart.
    pub async fn set_mode(&self, mode: Mode) -> Result<(), SandboxError> {
        let value = mode.read_only();
        match self.flavor() {
            Flavor::MariaDb => self.exec(&format!("SET GLOBAL read_only = {value}")).await,
            // The first of them switches the second on, and the second must be off before the first.
            Flavor::MySql9 => {
                self.exec(&format!("SET GLOBAL super_read_only = {value}, GLOBAL read_only = {value}")).await
            }
        }
    }

    pub fn flavor(&self) -> Flavor {
        self.installation.flavor()
    }

    /// The `server_id`.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// On 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// None while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().filter(|process| process.is_running()).map(Process::pid)
    }

    /// The folder that holds everything of this server, gone after drop.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The end of the server's error log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log())
    }

    async fn answers(&self) -> Result<(), SandboxError> {
        let answers = async {
            while self.pid().is_some() {
                if self.socket().exists() && self.exec("SELECT 1").await.is_ok() {
                    return Ok(());
                }
                sleep(POLL).await;
            }
            Err(SandboxError::Died { server: self.name.clone(), log: self.log_tail() })
        };
        timeout(START_LIMIT, answers).await.unwrap_or_else(|_| Err(self.timed_out("start", START_LIMIT)))
    }

    async fn end(&self, signal: Signal) -> Result<(), SandboxError> {
        self.signal(signal)?;
        let exited = self.process().as_ref().map(Process::exited);
        if let Some(exited) = exited {
            timeout(STOP_LIMIT, exited).await.map_err(|_| self.timed_out("stop", STOP_LIMIT))?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), SandboxError> {
        let process = self.process();
        let Some(process) = process.as_ref().filter(|process| process.is_running()) else {
            return Err(SandboxError::NotRunning { server: self.name.clone() });
        };
        process.signal(signal).map_err(|reason| SandboxError::Signal {
            server: self.name.clone(),
            pid: process.pid(),
            reason,
        })
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A panic cannot leave an Option half written.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn timed_out(&self, what: &'static str, limit: Duration) -> SandboxError {
        SandboxError::Timeout { server: self.name.clone(), what, limit, log: self.log_tail() }
    }

    fn sql_error(&self, sql: &str, source: mysql_async::Error) -> SandboxError {
        SandboxError::Sql { server: self.name.clone(), sql: sql.to_owned(), source }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn arguments(&self) -> Vec<String> {
        let folder = self.folder.path().display();
        let mut arguments = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={folder}/data"),
            format!("--tmpdir={folder}"),
            format!("--socket={folder}/socket"),
            format!("--pid-file={folder}/pid"),
            format!("--port={}", self.port),
            format!("--server-id={}", self.id),
            format!("--read-only={}", self.mode.read_only()),
        ];
        arguments.extend(identity());
        arguments.extend_from_slice(self.installation.options());
        let family: &[&str] = match self.flavor() {
            Flavor::MariaDb => &MARIADB,
            Flavor::MySql9 => &MYSQL,
        };
        arguments.extend(SMALL_AND_FAST.iter().chain(family).map(ToString::to_string));
        if self.flavor() == Flavor::MySql9 && self.mode == Mode::ReadOnly {
            arguments.push("--super-read-only=ON".to_owned());
        }
        arguments
    }
}

/// A server asks root for a deliberate answer before it runs as root.
pub(super) fn identity() -> Option<String> {
    let root = fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
    root.then(|| "--user=root".to_owned())
}

/// Durable against SIGKILL (the kernel keeps what was written), not against a power cut.
const SMALL_AND_FAST: [&str; 17] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--log-bin=binlog",
    "--relay-log=relay",
    // A relay log goes when it is full and read.
    "--max-relay-log-size=4M",
    "--sync-binlog=0",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
    "--performance-schema=OFF",
    "--max-connections=1000",
    "--table-open-cache=400",
    "--local-infile=ON",
    "--secure-file-priv=",
    "--event-scheduler=OFF",
];

const MARIADB: [&str; 5] = [
    "--binlog-format=ROW",
    "--log-slave-updates=ON",
    "--gtid-strict-mode=ON",
    "--innodb-log-file-size=16M",
    // The kernel's limits on asynchronous input and output are often zero in a container.
    "--innodb-use-native-aio=OFF",
];

const MYSQL: [&str; 7] = [
    "--log-replica-updates=ON",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--relay-log-recovery=ON",
    "--innodb-redo-log-capacity=16M",
    "--innodb-use-native-aio=OFF",
    "--mysqlx=OFF",
];

/// A port below the range that the kernel gives to outgoing connections: nobody takes it while a server restarts.
fn free_port() -> Result<u16, SandboxError> {
    (0..PORT_ATTEMPTS)
        .map(|_| rand::random_range(20_000..32_000))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(SandboxError::NoPort)
}
