//! From a client's first byte to its first OK: what it is offered, its login, its schema. What it says afterwards is the
//! session's.

use std::{rc::Rc, sync::Arc};

use tokio::time::timeout;

use super::{
    Worker,
    dedicated::Dedicated,
    library::Library,
    login::{Admitted, Door, Policy},
    passthrough::Users,
    prepared::ClientStatements,
    session::{End, Session},
};
use crate::{
    backend::{Cluster, Identity},
    config::{Algorithm, ClientTlsMode, Config, Route},
    context::{Calls, Entry},
    net::{Method, Part, Stream},
    protocol::{Capabilities, ProxyHeader, ServerError, login::Attributes},
    session::{SessionState, Untold},
    sql::Dialect,
};

/// Serves one client from its first byte to its last.
pub async fn serve(worker: Rc<Worker>, stream: Stream, entry: Entry, host: String, route: Route) {
    let _counted = Counted::new(worker.clone());
    if let Some(session) = Session::open(worker, stream, entry, host, route).await {
        session.live().await;
    }
}

/// A client in the counters, which it leaves in whatever way it ends.
struct Counted(Rc<Worker>);

impl Counted {
    fn new(worker: Rc<Worker>) -> Self {
        worker.shard().clients_accepted.inc();
        Self(worker)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shard().clients_ended.inc();
    }
}

/// What Weir offers to all clients.
const OFFERED: Capabilities = Capabilities::FOUND_ROWS
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::CONNECT_WITH_DB)
    .with(Capabilities::NO_SCHEMA)
    .with(Capabilities::ODBC)
    .with(Capabilities::IGNORE_SPACE)
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::INTERACTIVE)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::MULTI_STATEMENTS)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::CONNECT_ATTRS)
    .with(Capabilities::PLUGIN_AUTH_LENENC)
    .with(Capabilities::SESSION_TRACK);

/// What Weir offers to clients of these servers.
fn offered(config: &Config, cluster: &Cluster) -> Capabilities {
    let mut offered = OFFERED.with(cluster.extras);
    if config.limits.local_infile {
        offered = offered.with(Capabilities::LOCAL_FILES);
    }
    for algorithm in &config.compression.client {
        offered = match algorithm {
            Algorithm::Zlib => offered.with(Capabilities::COMPRESS),
            // In MariaDB the flag means nothing, and no client of its asks for it.
            Algorithm::Zstd if cluster.mode.dialect == Dialect::MySql => offered.with(Capabilities::ZSTD),
            Algorithm::Zstd => offered,
        };
    }
    offered
}

/// What servers are told of a client's program: all that it said if nobody shares its connections.
pub(super) fn told_of(said: &Attributes, shared: bool) -> Attributes {
    if shared { Attributes::of_weir() } else { said.well_formed() }
}

impl Session {
    /// Lets a client in, chooses its schema and says OK. None: it was refused, and has been told why.
    async fn open(worker: Rc<Worker>, stream: Stream, entry: Entry, host: String, route: Route) -> Option<Self> {
        let config = worker.config();
        let cluster = worker.cluster();
        let introduced = config.pool.proxy_protocol;
        let client = || entry.handle.client.parse().map_or(ProxyHeader::Own, ProxyHeader::Client);
        let origin = introduced.then(client);
        let policy = Policy {
            id: entry.handle.id,
            version: cluster.version.clone(),
            collation: cluster.collation,
            dialect: cluster.mode.dialect,
            offered: offered(&config, &cluster),
            tls: worker.context.tls.load_full(),
            tls_required: config.tls.client.mode == ClientTlsMode::Required,
            rsa: worker.context.rsa.clone(),
            accounts: Box::new(Users::new(worker.clone(), origin)),
        };
        let mut door = Door::new(stream, worker.scratch.clone(), host.clone(), policy);
        let refusal = match timeout(config.timeouts.handshake, door.pass()).await {
            Ok(Ok(admitted)) => {
                let capabilities = door.capabilities;
                return Self::admit(worker, entry, host, route, (capabilities, origin), admitted).await;
            }
            Ok(Err(End::Error(error))) => Some(error),
            Ok(Err(End::Client)) => None,
            Err(_) => Some(ServerError::read_timeout()),
        };
        worker.shard().login_failures.inc();
        if let Some(error) = refusal {
            tracing::debug!(session = entry.handle.id, code = error.code, "login refused");
            door.refuse(&error).await;
        }
        None
    }

    async fn admit(
        worker: Rc<Worker>,
        entry: Entry,
        host: String,
        route: Route,
        (capabilities, origin): (Capabilities, Option<ProxyHeader>),
        admitted: Admitted,
    ) -> Option<Self> {
        let Admitted { packets, login, credential, nonce } = admitted;
        let identity = Identity {
            user: String::from_utf8_lossy(&login.user).into(),
            credential,
            capabilities: capabilities.fingerprint().with(Capabilities::PROTOCOL_41),
            collation: login.head.collation,
            origin,
            attributes: told_of(&login.attributes, worker.config().pool.multiplex),
        };
        let schema = login.schema.as_deref().filter(|name| !name.is_empty());
        entry.handle.logged_in(&identity.user, schema, &login.attributes, std::time::Instant::now());
        let mut session = Self {
            worker,
            client: packets,
            calls: Rc::new(Calls::new(&entry)),
            entry,
            host,
            route,
            capabilities,
            library: Library::of(&login.attributes),
            identity: Rc::new(Arc::new(identity)),
            nonce,
            state: SessionState::new(None),
            tracking: None,
            untold: Untold::default(),
            held: None,
            parked: None,
            reading: false,
            dedicated: Dedicated::default(),
            last_used: None,
            doubt: None,
            unread: None,
            asks: false,
            unclear_insert_id: None,
            statements: ClientStatements::default(),
            warnings: 0,
            now: std::time::Instant::now(),
        };
        if capabilities.has(Capabilities::IGNORE_SPACE) {
            session.state.ignore_space();
        }
        match session.begin(schema).await {
            Ok(()) => {
                // From the OK on, and not before.
                if let Some(method) = Method::agreed(capabilities, login.zstd_level) {
                    session.client.compress(method, Part::Answers);
                }
                Some(session)
            }
            Err(end) => {
                session.end(end).await;
                None
            }
        }
    }

    async fn begin(&mut self, schema: Option<&[u8]>) -> Result<(), End> {
        self.find_room()?;
        self.asks = self.worker.context.is_asker(&self.identity.user);
        if let Some(name) = schema {
            self.enter_schema(name).await?;
        }
        self.send_ok().await
    }

    /// Whether the user may have this session, too.
    pub(super) fn find_room(&self) -> Result<(), End> {
        match self.worker.context.too_many_of(&self.identity.user) {
            None => Ok(()),
            Some(_) => Err(End::Error(ServerError::too_many_of_user(&self.identity.user))),
        }
    }
}
