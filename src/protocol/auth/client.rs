//! Checks a client's password. Given the account that the user's name led to (or none), decides what to send and whether
//! to let the client in. An unknown user takes the same path as a wrong password, byte for byte.

use std::mem;

use super::{
    Channel, Credential, Message, Plugin, RsaKey, Stored, Switch, caching_sha2, ed25519, more_data, native,
    passthrough::Pending, xor,
};
use crate::protocol::capabilities::Capabilities;
use crate::protocol::errors::{ServerError, UsingPassword};
use crate::protocol::greeting::Nonce;

/// Plugins of MariaDB's clients that Weir does not have, and what they name when they lack the announced one. They know
/// `mysql_native_password` in any case, `caching_sha2_password` only if its library is installed.
const MARIADB_PLUGINS: [&[u8]; 4] = [b"dialog", b"parsec", b"auth_gssapi_client", b"dummy_fallback_auth"];

/// What a client was asked with: the same for every attempt on one connection.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The greeting's nonce.
    pub nonce: Nonce,
    /// What `client_ed25519` is to sign: random, and new with every attempt.
    pub message: Message,
    /// The plugin that the greeting named. None at `COM_CHANGE_USER`: then an empty response says nothing, because some
    /// clients wait to be asked.
    pub announced: Option<Plugin>,
    /// The plugin for clients that name one that Weir does not have, if the account does not say.
    pub preferred: Plugin,
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    /// What the connection runs over now.
    pub channel: Channel,
    /// The key for passwords over [`Channel::Plain`]; without it such clients are refused when the proof is wrong.
    pub rsa: Option<RsaKey>,
}

/// Who the client says it is, from the login or `COM_CHANGE_USER`.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The user's name.
    pub user: &'a [u8],
    /// The client's address, as the error text shows it.
    pub host: &'a [u8],
    /// The plugin that made the response.
    pub plugin: Option<&'a [u8]>,
    /// The plugin's first answer.
    pub response: &'a [u8],
}

/// What a user may prove: one of these credentials (several while one is being changed).
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// None means that nobody gets in by them.
    pub credentials: Vec<Credential>,
    /// How they are to be proven; None: as the client likes.
    pub plugin: Option<Plugin>,
    pub authority: Authority,
}

/// Who judges what the credentials do not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authority {
    /// It is wrong.
    #[default]
    Weir,
    /// A server is asked; see `auth::passthrough`.
    Server,
}

impl Account {
    /// One that a server judges, of which `known` is remembered.
    pub fn of_server(known: Option<Credential>) -> Self {
        let plugin = known.as_ref().filter(|known| known.password().is_none()).map(|_| Plugin::Native);
        Self { credentials: known.into_iter().collect(), plugin, authority: Authority::Server }
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Send this, read a packet, give it to [`ClientAuth::answer`].
    Send(Vec<u8>),
    /// The client is who it says. Send the notice, if any, and then OK.
    Accept {
        /// A packet that comes before the OK.
        notice: Option<Vec<u8>>,
        /// What was proven.
        credential: Credential,
    },
    /// Ask a server for the user's accounts, give them to [`ClientAuth::looked_up`].
    LookUp,
    /// Try this on a server, give the outcome to [`ClientAuth::judged`].
    Prove(Credential),
    /// Send this error and close.
    Reject(ServerError),
}

/// One check of one client.
#[derive(Debug)]
pub struct ClientAuth {
    pub(super) challenge: Challenge,
    account: Account,
    pub(super) user: Vec<u8>,
    pub(super) host: Vec<u8>,
    /// The user's accounts on a server, once that was asked.
    pub(super) stored: Option<Stored>,
    /// The client was asked for another plugin; some take that only once.
    pub(super) switched: bool,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// Waits for this plugin's first answer.
    Proof(Plugin),
    /// Waits for the password: as it is over a secret channel, encrypted or preceded by a request for the key otherwise.
    Password(Key),
    /// Waits for the user's accounts.
    LookedUp(Pending),
    /// Waits for a server's judgement.
    Judged(Credential, UsingPassword),
    /// Accepted or rejected.
    Over,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    NotSent,
    Sent,
}

impl ClientAuth {
    /// Judges the first answer.
    pub fn begin(challenge: Challenge, attempt: Attempt<'_>, account: Option<Account>) -> (Self, ClientStep) {
        let (user, host) = (attempt.user.to_vec(), attempt.host.to_vec());
        let account = account.unwrap_or_default();
        let mut auth = Self { challenge, account, user, host, stored: None, switched: false, state: State::Over };
        let step = auth.first(attempt.plugin.unwrap_or_default(), attempt.response);
        (auth, step)
    }

    /// Judges the client's next packet.
    pub fn answer(&mut self, payload: &[u8]) -> ClientStep {
        match mem::replace(&mut self.state, State::Over) {
            State::Proof(plugin) => self.proof(plugin, payload),
            State::Password(key) => self.password(key, payload),
            State::LookedUp(_) | State::Judged(..) | State::Over => {
                ClientStep::Reject(ServerError::packets_out_of_order())
            }
        }
    }

    /// The first answer counts only if it is sure to be this plugin's answer to our nonce: a client whose plugin is not
    /// the announced one has seen no nonce, and may send an empty answer to be asked.
    fn first(&mut self, name: &[u8], response: &[u8]) -> ClientStep {
        if !self.challenge.capabilities.has(Capabilities::SECURE_CONNECTION) {
            return ClientStep::Reject(ServerError::old_client());
        }
        let wanted = self.account.plugin;
        if !self.challenge.capabilities.has(Capabilities::PLUGIN_AUTH) {
            return match wanted {
                None | Some(Plugin::Native) => self.proof(Plugin::Native, response),
                Some(_) => ClientStep::Reject(ServerError::old_client()),
            };
        }
        match (Plugin::named(name), wanted) {
            (named, Some(wanted)) if named != Some(wanted) => self.switch(wanted),
            (Some(plugin @ (Plugin::Native | Plugin::CachingSha2)), _) => {
                if response.is_empty() && self.challenge.announced != Some(plugin) {
                    return self.switch(plugin);
                }
                self.proof(plugin, response)
            }
            // The greeting's nonce is not what it signs.
            (Some(Plugin::Ed25519), _) => self.switch(Plugin::Ed25519),
            _ if MARIADB_PLUGINS.contains(&name) => self.switch(Plugin::Native),
            _ => self.switch(self.challenge.preferred),
        }
    }

    fn switch(&mut self, plugin: Plugin) -> ClientStep {
        if self.account.authority == Authority::Server && self.account.credentials.is_empty() && self.stored.is_none() {
            return self.look_up(Pending::Switch(plugin));
        }
        self.ask(plugin)
    }

    /// Asks for an answer of this plugin.
    pub(super) fn ask(&mut self, plugin: Plugin) -> ClientStep {
        self.state = State::Proof(plugin);
        self.switched = true;
        ClientStep::Send(match plugin {
            Plugin::Ed25519 => Switch::to_sign(&self.challenge.message),
            other => Switch::payload(other, &self.challenge.nonce),
        })
    }

    fn proof(&mut self, plugin: Plugin, response: &[u8]) -> ClientStep {
        let (nonce, message) = (self.challenge.nonce, self.challenge.message);
        let (mut using, mut notice) = (UsingPassword::Yes, None);
        let proven = match (plugin, response) {
            (Plugin::Native | Plugin::CachingSha2, []) | (Plugin::CachingSha2, [0]) => {
                using = UsingPassword::No;
                self.find(using, Credential::is_empty)
            }
            (Plugin::Native, proof) if proof.len() == native::LENGTH => {
                self.find(using, |credential| credential.fits_native(proof, &nonce))
            }
            (Plugin::CachingSha2, proof) if proof.len() == caching_sha2::LENGTH => {
                notice = Some(more_data(&[caching_sha2::FAST_OK]));
                self.find(using, |credential| credential.fits_caching_sha2(proof, &nonce))
            }
            (Plugin::Ed25519, answer) => {
                let signature = answer.first_chunk().filter(|_| answer.len() == ed25519::LENGTH);
                self.find(using, |credential| {
                    signature.is_some_and(|signature| credential.fits_ed25519(signature, &message))
                })
            }
            _ => return ClientStep::Reject(ServerError::bad_handshake()),
        };
        match proven {
            Some(credential) => ClientStep::Accept { notice, credential },
            None if self.account.authority == Authority::Server => self.appeal(plugin, response, using),
            None if plugin == Plugin::CachingSha2 && using == UsingPassword::Yes => self.ask_password(),
            None => self.deny(using),
        }
    }

    /// Asks for the password itself, if it can travel.
    pub(super) fn ask_password(&mut self) -> ClientStep {
        if !self.challenge.channel.is_secret() && self.challenge.rsa.is_none() {
            return self.deny(UsingPassword::Yes);
        }
        self.state = State::Password(Key::NotSent);
        ClientStep::Send(more_data(&[caching_sha2::FULL]))
    }

    fn password(&mut self, key: Key, payload: &[u8]) -> ClientStep {
        let nonce = self.challenge.nonce;
        let text = match (&self.challenge.rsa, key) {
            _ if self.challenge.channel.is_secret() => Some(payload.to_vec()),
            (Some(rsa), Key::NotSent) if payload == [caching_sha2::KEY_REQUEST] => {
                self.state = State::Password(Key::Sent);
                return ClientStep::Send(more_data(rsa.public_pem().as_bytes()));
            }
            (Some(rsa), _) => rsa.decrypt(payload).map(|text| xor(&text, &nonce)),
            (None, _) => None,
        };
        let text = text.as_deref().and_then(|text| text.strip_suffix(&[0]));
        let using = UsingPassword::Yes;
        match (self.find(using, |credential| text.is_some_and(|text| credential.is_of(text))), text) {
            (Some(credential), _) => ClientStep::Accept { notice: None, credential },
            (None, Some(text)) if self.account.authority == Authority::Server => self.prove_password(text),
            (None, _) => self.deny(using),
        }
    }

    /// One of the account's credentials for which `right` holds. Tries them all, and one even when there are none, so that
    /// the time does not tell whether the user exists.
    fn find(&self, using: UsingPassword, right: impl Fn(&Credential) -> bool) -> Option<Credential> {
        let mut proven = None;
        for credential in &self.account.credentials {
            // An empty password is proven by an empty answer only: not even by its own scramble.
            let may_fit = using == UsingPassword::No || !credential.is_empty();
            if right(credential) && may_fit {
                proven = Some(credential.clone());
            }
        }
        if self.account.credentials.is_empty() {
            let decoy = Credential::Password((*b"no such user").into());
            std::hint::black_box(right(&decoy));
        }
        proven
    }

    pub(super) fn deny(&self, using: UsingPassword) -> ClientStep {
        ClientStep::Reject(ServerError::access_denied(&self.user, &self.host, using))
    }
}
