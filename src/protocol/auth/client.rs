//! Checks a client's password. Given the account that the user's name led to (or none), decides what to send and whether
//! to let the client in. An unknown user takes the same path as a wrong password, byte for byte.

use std::mem;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};

use super::{Channel, Message, Plugin, RsaKey, Switch, caching_sha2, ed25519, more_data, native, xor};
use crate::config::Secret;
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

/// What a user may prove: one of these passwords (several while one is being changed).
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// None means that nobody gets in.
    pub passwords: Vec<Secret>,
    /// How they are to be proven; None: as the client likes.
    pub plugin: Option<Plugin>,
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
        /// The password that was proven.
        password: Secret,
    },
    /// Send this error and close.
    Reject(ServerError),
}

/// One check of one client.
#[derive(Debug)]
pub struct ClientAuth {
    challenge: Challenge,
    account: Account,
    user: Vec<u8>,
    host: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Waits for this plugin's first answer.
    Proof(Plugin),
    /// Waits for the password: as it is over a secret channel, encrypted or preceded by a request for the key otherwise.
    Password(Key),
    /// Accepted or rejected.
    Over,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    NotSent,
    Sent,
}

impl ClientAuth {
    /// Judges the first answer.
    pub fn begin(challenge: Challenge, attempt: Attempt<'_>, account: Option<Account>) -> (Self, ClientStep) {
        let (user, host) = (attempt.user.to_vec(), attempt.host.to_vec());
        let mut auth = Self { challenge, account: account.unwrap_or_default(), user, host, state: State::Over };
        let step = auth.first(attempt.plugin.unwrap_or_default(), attempt.response);
        (auth, step)
    }

    /// Judges the client's next packet.
    pub fn answer(&mut self, payload: &[u8]) -> ClientStep {
        match mem::replace(&mut self.state, State::Over) {
            State::Proof(plugin) => self.proof(plugin, payload),
            State::Password(key) => self.password(key, payload),
            State::Over => ClientStep::Reject(ServerError::packets_out_of_order()),
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
        self.state = State::Proof(plugin);
        ClientStep::Send(match plugin {
            Plugin::Ed25519 => Switch::to_sign(&self.challenge.message),
            other => Switch::payload(other, &self.challenge.nonce),
        })
    }

    fn proof(&mut self, plugin: Plugin, response: &[u8]) -> ClientStep {
        let nonce = self.challenge.nonce;
        match (plugin, response) {
            (Plugin::Native | Plugin::CachingSha2, []) | (Plugin::CachingSha2, [0]) => {
                self.judge(UsingPassword::No, None, |password| password.is_empty())
            }
            (Plugin::Native, proof) if proof.len() == native::LENGTH => {
                self.judge(UsingPassword::Yes, None, |password| same(&native::scramble(password, &nonce), proof))
            }
            (Plugin::CachingSha2, proof) if proof.len() == caching_sha2::LENGTH => {
                let notice = more_data(&[caching_sha2::FAST_OK]);
                let right = |password: &[u8]| same(&caching_sha2::scramble(password, &nonce), proof);
                match self.judge(UsingPassword::Yes, Some(notice), right) {
                    ClientStep::Reject(_) if self.can_take_password() => {
                        self.state = State::Password(Key::NotSent);
                        ClientStep::Send(more_data(&[caching_sha2::FULL]))
                    }
                    step => step,
                }
            }
            (Plugin::Ed25519, answer) => {
                let (message, signature) = (self.challenge.message, answer.first_chunk());
                let signature = signature.filter(|_| answer.len() == ed25519::LENGTH);
                self.judge(UsingPassword::Yes, None, |password| {
                    signature.is_some_and(|signature| ed25519::verify(password, &message, signature))
                })
            }
            _ => ClientStep::Reject(ServerError::bad_handshake()),
        }
    }

    fn can_take_password(&self) -> bool {
        self.challenge.channel.is_secret() || self.challenge.rsa.is_some()
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
        self.judge(UsingPassword::Yes, None, |password| {
            text.is_some_and(|text| same(digest(&SHA256, password).as_ref(), digest(&SHA256, text).as_ref()))
        })
    }

    /// Accepts if `right` holds for one of the account's passwords. Tries them all, and one even when there are none, so
    /// that the time does not tell whether the user exists.
    fn judge(&self, using: UsingPassword, notice: Option<Vec<u8>>, right: impl Fn(&[u8]) -> bool) -> ClientStep {
        let mut proven = None;
        for password in &self.account.passwords {
            // An empty password is proven by an empty answer only: not even by its own scramble.
            let may_fit = using == UsingPassword::No || !password.expose().is_empty();
            if right(password.expose().as_bytes()) && may_fit {
                proven = Some(password);
            }
        }
        if self.account.passwords.is_empty() {
            let decoy: &[u8] = b"no such user";
            std::hint::black_box(right(decoy));
        }
        match proven {
            Some(password) => ClientStep::Accept { notice, password: password.clone() },
            None => ClientStep::Reject(ServerError::access_denied(&self.user, &self.host, using)),
        }
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}
