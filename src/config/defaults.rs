//! What a key is when it is not given. `config/weir.toml` tells the same values to the reader.

use std::time::Duration;

use super::*;

/// Every default. Servers and users have none, so this alone is not yet a valid configuration.
impl Default for Config {
    fn default() -> Self {
        Self {
            auth: Auth::Users,
            listeners: vec![Listener::default()],
            servers: Vec::new(),
            users: Vec::new(),
            passthrough: Passthrough::default(),
            rules: Vec::new(),
            probe: Probe::default(),
            reads: Reads::default(),
            failover: Failover::default(),
            pool: Pool::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            compression: Compression::default(),
            tls: Tls::default(),
            admin: Admin::default(),
            dns: Dns::default(),
            runtime: Runtime::default(),
            log: Log::default(),
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::new(loopback(6033))
    }
}

impl Listener {
    /// A listener of which only the address is known.
    pub fn new(address: Address) -> Self {
        Self { address, route: Route::Split, proxy_protocol: Vec::new() }
    }
}

impl Server {
    /// A server of which only address and role are known; its name is its address.
    pub fn new(address: Address, role: Role) -> Self {
        Self {
            id: ServerId::new(&address.to_string()),
            address,
            role,
            weight: match role {
                Role::Writer => 0,
                Role::Replica | Role::Auto => 100,
            },
            state: State::Active,
            groups: Vec::new(),
            max_connections: 100,
            rank: None,
        }
    }
}

impl Default for Passthrough {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(60), max_users: 10_000 }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            user: None,
            password: Secret::default(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 2,
        }
    }
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            consistency: Consistency::Session,
            max_lag: Duration::from_secs(10),
            wait_timeout: Duration::from_millis(500),
            balance: Balance::RoundRobin,
            writer_fallback: true,
            transactions: Transactions::Writer,
        }
    }
}

impl Default for Failover {
    fn default() -> Self {
        Self { hold: Duration::from_secs(10) }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(5 * 60),
            max_age: Duration::from_secs(60 * 60),
            acquire_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(100),
            multiplex: true,
            proxy_protocol: false,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(10),
            client_idle: None,
            transaction_idle: None,
            client_write: Duration::from_secs(60),
            server_silence: Some(Duration::from_secs(60)),
            drain: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_clients: 4096, max_packet: 64 << 20, max_prepared: 16_384, local_infile: true }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self { client: vec![Algorithm::Zlib, Algorithm::Zstd], server: ServerCompression::None }
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        Self { mode: ClientTlsMode::Preferred, cert: None, key: None, ca: None }
    }
}

impl Default for ServerTls {
    fn default() -> Self {
        Self { mode: ServerTlsMode::Preferred, ca: None, cert: None, key: None }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            console: Some(loopback(6032)),
            user: "admin".into(),
            password: Secret::default(),
            http: Some(loopback(6080)),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text, slow_statement: None }
    }
}

fn loopback(port: u16) -> Address {
    Address::Tcp { host: "127.0.0.1".into(), port }
}
