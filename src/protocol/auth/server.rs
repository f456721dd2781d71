//! Logs in to a server: from its greeting and an account to an open connection. Decides which flags to ask for (what is
//! wanted and offered), whether TLS comes first, and how the password is proven without giving it away.

use std::fmt;

use thiserror::Error;

use super::{
    Channel, Credential, KeyError, MORE_DATA, Message, Plugin, SWITCH, Switch, caching_sha2, ed25519, nul_terminated,
    rsa, sha256, xor,
};
use crate::protocol::capabilities::Capabilities;
use crate::protocol::errors::{ERR, ServerError};
use crate::protocol::greeting::{Greeting, Nonce};
use crate::protocol::login::{Attributes, Login, LoginHead};
use crate::protocol::wire::Malformed;
use crate::sql::Dialect;

/// The level of zstd that Weir asks for, MySQL's own default.
const ZSTD_LEVEL: u8 = 3;
/// Header of an OK packet.
const OK: u8 = 0x00;
/// Header of a request for a second factor.
const NEXT_FACTOR: u8 = 0x02;

/// What Weir always asks for: its own way of speaking, not the client's.
const ALWAYS: Capabilities = Capabilities::LONG_PASSWORD
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::PLUGIN_AUTH_LENENC);

/// What follows from the request itself, and so is not the caller's to ask for.
const DERIVED: Capabilities = Capabilities::SSL.with(Capabilities::CONNECT_WITH_DB).with(Capabilities::CONNECT_ATTRS);

/// When a connection to a server uses TLS. How certificates are checked is decided by whoever does the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsUse {
    /// Never.
    Disabled,
    /// If the server offers it.
    Preferred,
    /// Always: a server without it is refused.
    Required,
}

/// Who logs in, and how.
#[derive(Debug, Clone)]
pub struct LoginRequest {
    /// The user's name.
    pub user: Vec<u8>,
    /// What proves the user.
    pub credential: Credential,
    /// The schema to begin in.
    pub schema: Option<Vec<u8>>,
    /// What to ask for beyond what every login asks for; what the server does not offer is dropped.
    pub capabilities: Capabilities,
    /// The collation to begin in. The login has room for its low byte only; 0 there means the server's default.
    pub collation: u16,
    /// The longest packet that Weir takes.
    pub max_packet: u32,
    /// Connection attributes.
    pub attributes: Attributes,
    /// When to use TLS. A Unix socket never does.
    pub tls: TlsUse,
}

/// What to do next. `Debug` leaves out the payloads: one of them may be the password.
pub enum ServerStep {
    /// Send this, read a packet, give it to [`ServerLogin::answer`].
    Send(Vec<u8>),
    /// Read a packet, give it to [`ServerLogin::answer`].
    Read,
    /// Send this, do the TLS handshake, call [`ServerLogin::secured`].
    StartTls(Vec<u8>),
    /// Logged in.
    Done(LoggedIn),
    /// Close the connection.
    Failed(LoginError),
}

impl fmt::Debug for ServerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(payload) => write!(f, "Send({} bytes)", payload.len()),
            Self::Read => f.write_str("Read"),
            Self::StartTls(_) => f.write_str("StartTls"),
            Self::Done(done) => f.debug_tuple("Done").field(&done.capabilities).finish(),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

/// What a login led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    /// The OK packet's payload.
    pub ok: Vec<u8>,
}

/// Why a login failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginError {
    /// The server refused.
    #[error("the server refused the login: {0}")]
    Refused(ServerError),
    /// TLS is required and the server has none.
    #[error("TLS is required and the server does not offer it")]
    NoTls,
    /// The server asks for the password as it is, over a connection that is not TLS.
    #[error("the server asks for the password in clear text, and the connection is not TLS")]
    NotSecret,
    /// The server asks for a plugin that Weir does not have.
    #[error("the server asks for the authentication plugin {0:?}, which is not supported")]
    UnknownPlugin(String),
    /// The account's password is known by its digest only, and the account is not one of `mysql_native_password` any more.
    #[error("the server asks for the password, of which only a digest is known")]
    OnlyDigest,
    /// The server asks for the login from before 4.1.
    #[error("the server asks for a password in the form from before version 4.1, which is not supported")]
    OldPassword,
    /// The server asks for a second factor.
    #[error("the server asks for a second authentication factor, which is not supported")]
    SecondFactor,
    /// The server's RSA key cannot be used.
    #[error("the server's RSA key: {0}")]
    Key(#[from] KeyError),
    /// A packet that does not belong here.
    #[error("logging in: {0}")]
    Malformed(#[from] Malformed),
}

/// One login to one server.
#[derive(Debug)]
pub struct ServerLogin {
    request: LoginRequest,
    capabilities: Capabilities,
    channel: Channel,
    plugin: Plugin,
    nonce: Nonce,
    /// What `client_ed25519` is to sign; only a switch to it tells.
    message: Message,
    key: Key,
}

/// Whether the server's public key was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    NotAsked,
    Asked,
}

impl ServerLogin {
    /// Answers the greeting. `channel` is [`Channel::Plain`] or [`Channel::Local`].
    pub fn begin(greeting: &Greeting, request: LoginRequest, channel: Channel) -> (Self, ServerStep) {
        let offered = greeting.capabilities;
        let tls = match (request.tls, channel) {
            (TlsUse::Disabled, _) | (_, Channel::Local | Channel::Tls) => Capabilities::NONE,
            (TlsUse::Preferred | TlsUse::Required, Channel::Plain) => Capabilities::SSL,
        };
        let refused = request.tls == TlsUse::Required && !offered.has(tls);
        let mut wanted = request.capabilities.without(DERIVED).with(ALWAYS).with(tls);
        if request.schema.is_some() {
            wanted = wanted.with(Capabilities::CONNECT_WITH_DB);
        }
        if request.attributes != Attributes::default() {
            wanted = wanted.with(Capabilities::CONNECT_ATTRS);
        }
        let capabilities = wanted.intersect(offered);
        let plugin = match request.credential {
            Credential::Password(_) => first_plugin(greeting),
            Credential::Digest(_) => Plugin::Native,
        };
        let (nonce, message, key) = (greeting.nonce, Message::default(), Key::NotAsked);
        let mut login = Self { request, capabilities, channel, plugin, nonce, message, key };
        let step = if refused {
            ServerStep::Failed(LoginError::NoTls)
        } else if capabilities.has(Capabilities::SSL) {
            ServerStep::StartTls(login.head().payload())
        } else {
            login.login()
        };
        (login, step)
    }

    /// Goes on after the TLS handshake.
    pub fn secured(&mut self) -> ServerStep {
        self.channel = Channel::Tls;
        self.login()
    }

    /// Judges the server's next packet.
    pub fn answer(&mut self, payload: &[u8]) -> ServerStep {
        self.next(payload).unwrap_or_else(ServerStep::Failed)
    }

    fn next(&mut self, payload: &[u8]) -> Result<ServerStep, LoginError> {
        match payload {
            [OK, ..] => Ok(ServerStep::Done(LoggedIn { capabilities: self.capabilities, ok: payload.to_vec() })),
            [ERR, ..] => Err(LoginError::Refused(ServerError::parse(payload)?)),
            [SWITCH] => Err(LoginError::OldPassword),
            [SWITCH, body @ ..] => self.switch(&Switch::parse(body)?),
            [MORE_DATA, data @ ..] => self.more_data(data),
            [NEXT_FACTOR, ..] => Err(LoginError::SecondFactor),
            _ => Err(Malformed("not an answer to a login").into()),
        }
    }

    fn head(&self) -> LoginHead {
        LoginHead {
            capabilities: self.capabilities,
            max_packet: self.request.max_packet,
            collation: self.request.collation.to_le_bytes()[0],
        }
    }

    fn login(&mut self) -> ServerStep {
        let login = Login {
            head: self.head(),
            user: self.request.user.clone(),
            response: self.first_answer(),
            schema: self.request.schema.clone(),
            plugin: Some(self.plugin.name().to_vec()),
            attributes: self.request.attributes.clone(),
            zstd_level: self.capabilities.has(Capabilities::ZSTD).then_some(ZSTD_LEVEL),
        };
        login.payload().map_or_else(|malformed| ServerStep::Failed(malformed.into()), ServerStep::Send)
    }

    fn switch(&mut self, switch: &Switch<'_>) -> Result<ServerStep, LoginError> {
        let plugin = Plugin::named(switch.plugin)
            .ok_or_else(|| LoginError::UnknownPlugin(String::from_utf8_lossy(switch.plugin).into_owned()))?;
        // Behind a signature that is wrong, an account may have another way.
        let needs_password = !matches!(plugin, Plugin::Native | Plugin::Ed25519);
        if needs_password && self.request.credential.password().is_none() {
            return Err(LoginError::OnlyDigest);
        }
        match plugin {
            Plugin::Clear if self.channel != Channel::Tls => return Err(LoginError::NotSecret),
            Plugin::Clear => {}
            Plugin::Ed25519 => self.message = switch.message()?,
            Plugin::Native | Plugin::CachingSha2 | Plugin::Sha256 => self.nonce = switch.nonce()?,
        }
        self.plugin = plugin;
        self.key = Key::NotAsked;
        Ok(ServerStep::Send(self.first_answer()))
    }

    /// The plugin's first answer to the nonce. An empty password is proven by an empty answer.
    fn first_answer(&mut self) -> Vec<u8> {
        let password = self.password();
        match self.plugin {
            Plugin::Clear => nul_terminated(password),
            Plugin::Ed25519 => ed25519::sign(password, &self.message).to_vec(),
            _ if self.request.credential.is_empty() => Vec::new(),
            Plugin::Native => self.request.credential.native(&self.nonce),
            Plugin::CachingSha2 => caching_sha2::scramble(password, &self.nonce),
            // Servers do not count a Unix socket as secret here, other than for caching_sha2_password.
            Plugin::Sha256 if self.channel == Channel::Tls => nul_terminated(password),
            Plugin::Sha256 => self.ask_for_key(sha256::KEY_REQUEST),
        }
    }

    fn ask_for_key(&mut self, request: u8) -> Vec<u8> {
        self.key = Key::Asked;
        vec![request]
    }

    fn more_data(&mut self, data: &[u8]) -> Result<ServerStep, LoginError> {
        match (self.key, self.plugin, data) {
            (Key::Asked, _, pem) => {
                self.key = Key::NotAsked;
                let text = xor(&nul_terminated(self.password()), &self.nonce);
                Ok(ServerStep::Send(rsa::encrypt(pem, &text)?))
            }
            (Key::NotAsked, Plugin::CachingSha2, [caching_sha2::FAST_OK]) => Ok(ServerStep::Read),
            (Key::NotAsked, Plugin::CachingSha2, [caching_sha2::FULL]) if self.channel.is_secret() => {
                Ok(ServerStep::Send(nul_terminated(self.password())))
            }
            (Key::NotAsked, Plugin::CachingSha2, [caching_sha2::FULL]) => {
                Ok(ServerStep::Send(self.ask_for_key(caching_sha2::KEY_REQUEST)))
            }
            _ => Err(Malformed("unknown message of an authentication plugin").into()),
        }
    }

    /// Nothing if only a digest is known, with which no other plugin than native is begun.
    fn password(&self) -> &[u8] {
        self.request.credential.password().unwrap_or_default()
    }
}

/// The plugin to begin with: the greeting's if Weir has it, else the one that the family's accounts use most. The server
/// asks for another one if the account needs it.
fn first_plugin(greeting: &Greeting) -> Plugin {
    match Plugin::named(&greeting.plugin) {
        Some(plugin @ (Plugin::Native | Plugin::CachingSha2)) => plugin,
        _ if greeting.dialect() == Dialect::MySql && !greeting.plugin.is_empty() => Plugin::CachingSha2,
        _ => Plugin::Native,
    }
}
