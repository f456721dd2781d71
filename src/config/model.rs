//! The validated configuration: what the rest of Weir reads. Every value in here is usable as it stands.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use regex::bytes::Regex;

use super::{Auth, Passthrough, User};

/// A server's name: unique in a config, and its identity across reloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(Arc<str>);

impl ServerId {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret text: never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub auth: Auth,
    pub listeners: Vec<Listener>,
    pub servers: Vec<Server>,
    pub users: Vec<User>,
    pub passthrough: Passthrough,
    pub rules: Vec<Rule>,
    pub probe: Probe,
    pub reads: Reads,
    pub failover: Failover,
    pub dns: Dns,
    pub pool: Pool,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub compression: Compression,
    pub tls: Tls,
    pub admin: Admin,
    pub runtime: Runtime,
    pub log: Log,
}

/// Where to listen or connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// A DNS SRV name that expands to several servers.
    Srv(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub address: Address,
    pub route: Route,
    /// Connections from these begin with a PROXY header.
    pub proxy_protocol: Vec<Network>,
}

/// What a listener does with every statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Split,
    Writer,
    Reader,
    Group(String),
    Server(ServerId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub id: ServerId,
    pub address: Address,
    pub role: Role,
    /// Share of the reads.
    pub weight: u32,
    pub state: State,
    pub groups: Vec<String>,
    pub max_connections: u32,
    /// None: no SRV record names it.
    pub rank: Option<Rank>,
}

/// What an SRV record says of a server's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rank {
    /// The SRV name.
    pub name: String,
    /// It gets reads while none of this name with a lower one can.
    pub priority: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Writer,
    Replica,
    /// `read_only` tells.
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    Drain,
    Offline,
}

/// First match wins; an empty condition holds for every statement.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    /// `table` or `schema.table`, `*` stands for any characters. Holds when any table of the statement matches.
    pub tables: Vec<Pattern>,
    pub schemas: Vec<Pattern>,
    pub users: Vec<Pattern>,
    pub client_addresses: Vec<Network>,
    /// Statement digests in hexadecimal, as `weir explain` prints them.
    pub digests: Vec<u64>,
    pub regex: Option<Regex>,
    pub to: Option<RuleTarget>,
    pub timeout: Option<Duration>,
    pub max_concurrency: Option<u32>,
    pub consistency: Option<Consistency>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleTarget {
    Writer,
    Reader,
    Group(String),
    Reject,
}

/// A name with `*` wildcards, compared without regard to ASCII case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(pub String);

/// An address with a prefix length: `10.0.0.0/8`, `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// None: the first entry of `[[users]]`.
    pub user: Option<String>,
    pub password: Secret,
    pub interval: Duration,
    pub timeout: Duration,
    /// Good probes in a row before a server that was down is up.
    pub rise: u32,
    /// Bad probes in a row before a server that was up is down.
    pub fall: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    pub consistency: Consistency,
    /// A replica further behind than this gets no reads.
    pub max_lag: Duration,
    /// How long a read may wait on a replica for the session's own writes.
    pub wait_timeout: Duration,
    pub balance: Balance,
    /// Whether the writer serves reads when no replica is eligible.
    pub writer_fallback: bool,
    /// Where the transactions of sessions with `autocommit=0` begin.
    pub transactions: Transactions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transactions {
    Writer,
    /// On a replica, as long as they only read, if the isolation level promises no repeatable reads.
    ReadsBeforeWrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    Eventual,
    Session,
    Global,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    LeastOutstanding,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// How long a statement waits for a writer.
    pub hold: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub idle_timeout: Duration,
    pub max_age: Duration,
    pub acquire_timeout: Duration,
    /// How long a session keeps the connection of its last statement when the next one may ask about that.
    pub linger: Duration,
    /// Whether sessions share server connections. Where they do not, servers hear the clients' connection attributes.
    pub multiplex: bool,
    /// Whether servers are told the client's address (PROXY protocol, version 2). Then only clients of one address share
    /// connections.
    pub proxy_protocol: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// Who is asked for SRV names; None: the system's name servers.
    pub server: Option<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub handshake: Duration,
    /// None: no limit.
    pub client_idle: Option<Duration>,
    pub transaction_idle: Option<Duration>,
    /// A client that takes no byte of its reply for so long is cut.
    pub client_write: Duration,
    /// A server that is silent for so long when it is to answer is asked whether it still works on that. None: it is not.
    pub server_silence: Option<Duration>,
    pub drain: Duration,
    /// After SIGTERM: how long readiness is false before listeners close.
    pub drain_delay: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub max_clients: u32,
    /// Largest command of a client, bytes.
    pub max_packet: usize,
    /// Prepared statements of one session.
    pub max_prepared: u32,
    /// Whether servers may ask clients for the files of their `LOAD DATA LOCAL INFILE`.
    pub local_infile: bool,
}

/// On each side by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// What clients may ask for.
    pub client: Vec<Algorithm>,
    /// What Weir asks servers for.
    pub server: ServerCompression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Zlib,
    /// MySQL only.
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerCompression {
    None,
    Zlib,
    Zstd,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    pub client: ClientTls,
    pub server: ServerTls,
}

/// Towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    pub mode: ClientTlsMode,
    /// None: a self-made certificate.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTlsMode {
    Disabled,
    Preferred,
    Required,
}

/// Towards servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    pub mode: ServerTlsMode,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerTlsMode {
    Disabled,
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub console: Option<Address>,
    pub user: String,
    /// Empty: the console refuses every login that does not come from a loopback address.
    pub password: Secret,
    pub http: Option<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runtime {
    /// None: one per core.
    pub workers: Option<u32>,
    /// For how long a worker that has nothing to do looks for more before it sleeps.
    pub spin: Duration,
    pub congestion_control: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
    /// None: slow statements are not logged.
    pub slow_statement: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let text = |rule: &Self| rule.regex.as_ref().map(|regex| regex.as_str().to_owned());
        self.name == other.name
            && self.tables == other.tables
            && self.schemas == other.schemas
            && self.users == other.users
            && self.client_addresses == other.client_addresses
            && self.digests == other.digests
            && text(self) == text(other)
            && self.to == other.to
            && self.timeout == other.timeout
            && self.max_concurrency == other.max_concurrency
            && self.consistency == other.consistency
    }
}
