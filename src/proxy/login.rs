//! The login of a client: greeting, TLS, authentication. Needs no server connection. What a user may then do is the
//! business of whoever opened the door: a session, or the operator's console.

use std::sync::Arc;

use async_trait::async_trait;
use rand::RngExt;
use tokio_rustls::TlsAcceptor;

use super::{library::Library, session::End};
use crate::{
    net::{PacketStream, ReadError, Scratch, Socket, Stream},
    protocol::{
        Capabilities, Greeting, ServerError, Status,
        auth::{
            Account, Attempt, Challenge, Channel, ClientAuth, ClientStep, Credential, Message, Plugin, RsaKey, Stored,
            Verdict,
        },
        greeting::Nonce,
        login::{FirstPacket, Login},
    },
    sql::Dialect,
};

/// The longest packet of a login, bytes.
const LONGEST: usize = 64 * 1024;

/// What a door shows and whom it lets in.
pub struct Policy {
    /// The connection id in the greeting.
    pub id: u32,
    pub version: String,
    /// The collation in the greeting.
    pub collation: u8,
    pub dialect: Dialect,
    pub offered: Capabilities,
    /// None: no TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub tls_required: bool,
    pub rsa: RsaKey,
    pub accounts: Box<dyn Accounts>,
}

/// Whom a door lets in.
#[async_trait(?Send)]
pub trait Accounts {
    /// The account that a name leads to.
    fn find(&self, user: &[u8]) -> Option<Account>;

    /// What servers have stored of the user. Asked only about accounts of [`Authority::Server`]; `Err` is the client's to
    /// hear.
    ///
    /// [`Authority::Server`]: crate::protocol::auth::Authority::Server
    async fn look_up(&self, _user: &[u8]) -> Result<Stored, ServerError> {
        Ok(Stored::default())
    }

    /// What a server says to the user's login with `credential`. Asked only about such accounts, too.
    async fn prove(&self, _user: &[u8], _credential: &Credential) -> Verdict {
        Verdict::Wrong
    }
}

/// A client before it is let in.
pub struct Door {
    /// None while TLS is put around it.
    packets: Option<PacketStream>,
    scratch: Scratch,
    host: String,
    policy: Policy,
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    library: Library,
}

/// A client that proved who it is, and waits for the OK.
pub struct Admitted {
    pub packets: PacketStream,
    pub login: Login,
    pub credential: Credential,
    /// What it was proven with.
    pub nonce: Nonce,
}

impl Door {
    /// `host` is the client's address as error texts show it.
    pub fn new(stream: Stream, scratch: Scratch, host: String, policy: Policy) -> Self {
        let packets = Some(PacketStream::new(stream));
        Self { packets, scratch, host, policy, capabilities: Capabilities::NONE, library: Library::default() }
    }

    /// Greets and authenticates. The caller sets the deadline.
    pub async fn pass(&mut self) -> Result<Admitted, End> {
        let greeting = self.greeting();
        self.write(&greeting.payload()).await?;
        let login = self.read_login(&greeting).await?;
        self.capabilities = login.head.capabilities.intersect(greeting.capabilities);
        self.library = Library::of(&login.attributes);
        if !self.capabilities.has(Capabilities::PROTOCOL_41) {
            return Err(End::Error(ServerError::old_client()));
        }
        if self.policy.tls_required && self.channel() == Channel::Plain {
            return Err(End::Error(ServerError::tls_required()));
        }
        let credential = self.authenticate(&greeting, &login).await?;
        let packets = self.packets.take().ok_or(End::Client)?;
        Ok(Admitted { packets, login, credential, nonce: greeting.nonce })
    }

    fn greeting(&self) -> Greeting {
        let policy = &self.policy;
        let mut capabilities = policy.offered;
        if policy.tls.is_some() && self.channel() == Channel::Plain {
            capabilities = capabilities.with(Capabilities::SSL);
        }
        // A greeting without this flag is a MariaDB's.
        let version = match policy.dialect {
            Dialect::MySql => {
                capabilities = capabilities.with(Capabilities::LONG_PASSWORD);
                policy.version.clone()
            }
            Dialect::MariaDb => format!("5.5.5-{}", policy.version),
        };
        Greeting {
            version: version.into_bytes(),
            connection_id: policy.id,
            nonce: nonce(),
            capabilities,
            collation: policy.collation,
            status: Status::AUTOCOMMIT.0,
            plugin: preferred(policy.dialect).name().to_vec(),
        }
    }

    async fn read_login(&mut self, greeting: &Greeting) -> Result<Login, End> {
        let mut first = self.read_first().await?;
        if matches!(first, FirstPacket::Tls(_)) {
            if !greeting.capabilities.has(Capabilities::SSL) {
                return Err(End::Error(ServerError::bad_handshake()));
            }
            self.secure().await?;
            first = self.read_first().await?;
        }
        match first {
            FirstPacket::Login(login) => Ok(login),
            FirstPacket::Tls(_) => Err(End::Error(ServerError::bad_handshake())),
        }
    }

    /// Reads a request for TLS or a login. A client does not wait for an answer to the former.
    async fn read_first(&mut self) -> Result<FirstPacket, End> {
        let packets = self.packets.as_mut().ok_or(End::Client)?;
        let mut payload = Vec::new();
        packets.read_only_payload(&self.scratch, &mut payload, LONGEST).await.map_err(|error| end_of(&error))?;
        FirstPacket::parse(&payload).map_err(|_| {
            // What the client can read is not known; every client since 4.1 reads this.
            self.capabilities = Capabilities::PROTOCOL_41;
            End::Error(ServerError::bad_handshake())
        })
    }

    async fn secure(&mut self) -> Result<(), End> {
        let packets = self.packets.take().ok_or(End::Client)?;
        let sequence = packets.sequence;
        let (config, socket) = self.policy.tls.clone().zip(packets.into_socket()).ok_or(End::Client)?;
        let stream = TlsAcceptor::from(config).accept(socket).await.map_err(|error| {
            tracing::debug!(%error, "TLS handshake of a client failed");
            End::Client
        })?;
        let mut packets = PacketStream::new(Stream::Tls(Box::new(stream.into())));
        packets.sequence = sequence;
        self.packets = Some(packets);
        Ok(())
    }

    async fn authenticate(&mut self, greeting: &Greeting, login: &Login) -> Result<Credential, End> {
        let announced = Plugin::named(&greeting.plugin);
        let challenge = Challenge {
            nonce: greeting.nonce,
            message: message(),
            announced,
            preferred: announced.unwrap_or(Plugin::CachingSha2),
            capabilities: self.capabilities,
            channel: self.channel(),
            rsa: Some(self.policy.rsa.clone()),
        };
        let attempt = Attempt {
            user: &login.user,
            host: self.host.as_bytes(),
            plugin: login.plugin.as_deref(),
            response: &login.response,
        };
        let packets = self.packets.as_mut().ok_or(End::Client)?;
        converse(packets, &self.scratch, &*self.policy.accounts, challenge, attempt).await
    }

    fn channel(&self) -> Channel {
        self.packets.as_ref().map_or(Channel::Plain, |packets| channel(packets.stream()))
    }

    async fn write(&mut self, payload: &[u8]) -> Result<(), End> {
        let packets = self.packets.as_mut().ok_or(End::Client)?;
        packets.write_payload(payload).await.map_err(|_| End::Client)
    }

    /// Says why the client is not let in, and closes.
    pub async fn refuse(&mut self, error: &ServerError) {
        let Some(told) = self.library.told(error) else { return };
        let payload = told.payload(self.capabilities);
        if self.write(&payload).await.is_ok()
            && let Some(packets) = &mut self.packets
        {
            packets.shutdown().await;
        }
    }
}

/// Goes through the packets of one authentication. Returns what was proven.
pub async fn converse(
    packets: &mut PacketStream,
    scratch: &Scratch,
    accounts: &dyn Accounts,
    challenge: Challenge,
    attempt: Attempt<'_>,
) -> Result<Credential, End> {
    let user = attempt.user;
    let (mut auth, mut step) = ClientAuth::begin(challenge, attempt, accounts.find(user));
    loop {
        step = match step {
            ClientStep::Send(payload) => {
                packets.write_payload(&payload).await.map_err(|_| End::Client)?;
                auth.answer(&read(packets, scratch).await?)
            }
            ClientStep::LookUp => auth.looked_up(accounts.look_up(user).await),
            ClientStep::Prove(credential) => auth.judged(accounts.prove(user, &credential).await),
            ClientStep::Accept { notice, credential } => {
                if let Some(notice) = notice {
                    packets.write_payload(&notice).await.map_err(|_| End::Client)?;
                }
                return Ok(credential);
            }
            ClientStep::Reject(error) => return Err(End::Error(error)),
        };
    }
}

async fn read(packets: &mut PacketStream, scratch: &Scratch) -> Result<Vec<u8>, End> {
    let mut payload = Vec::new();
    packets.read_payload(scratch, &mut payload, LONGEST).await.map_err(|error| end_of(&error))?;
    Ok(payload)
}

fn end_of(error: &ReadError) -> End {
    match error {
        ReadError::Closed | ReadError::Io(_) => End::Client,
        ReadError::OutOfOrder => End::Error(ServerError::packets_out_of_order()),
        ReadError::TooLarge(_) => End::Error(ServerError::bad_handshake()),
    }
}

/// What a client's stream means for its secrets.
pub fn channel(stream: &Stream) -> Channel {
    match stream {
        Stream::Tls(_) => Channel::Tls,
        Stream::Plain(Socket::Unix(_) | Socket::Memory(_)) => Channel::Local,
        Stream::Plain(Socket::Tcp(_)) => Channel::Plain,
        Stream::Compressed(stream) => channel(stream.carrier()),
    }
}

/// The plugin that most clients of a family begin with.
pub fn preferred(dialect: Dialect) -> Plugin {
    match dialect {
        Dialect::MySql => Plugin::CachingSha2,
        Dialect::MariaDb => Plugin::Native,
    }
}

/// What `client_ed25519` is to sign.
pub fn message() -> Message {
    rand::rng().random()
}

/// Random bytes without NUL and `$`, which some clients take for the end.
fn nonce() -> Nonce {
    let mut rng = rand::rng();
    std::array::from_fn(|_| {
        loop {
            let byte = rng.random_range(1..=127_u8);
            if byte != b'$' {
                return byte;
            }
        }
    })
}
