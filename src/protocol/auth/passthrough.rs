//! Clients whose passwords Weir does not know: a server is asked. What logs in there is got from the client in one of
//! two ways, and remembered by the caller:
//!
//! - the password itself, by the full path of `caching_sha2_password`;
//! - if the account is one of `mysql_native_password`, the SHA-1 of the password, which a right proof gives away to whoever
//!   has what the server stores.
//!
//! An answer that nothing explains is judged by the accounts of that name ([`ClientStep::LookUp`]), and what they leave
//! open by a login ([`ClientStep::Prove`]), which alone decides. An unknown user takes the path of a wrong password.

use std::mem;

use super::{ClientAuth, ClientStep, Credential, Plugin, Sha1, Stored, client::State, native::recover};
use crate::protocol::{
    capabilities::Capabilities,
    errors::{ServerError, UsingPassword},
};

/// The longest password that `caching_sha2_password` knows, bytes.
const LONGEST: usize = 256;

/// What waits for the user's accounts.
#[derive(Debug)]
pub(super) enum Pending {
    /// A plugin's answer.
    Answer(Plugin, Vec<u8>),
    /// The choice of a plugin; without a better one, this.
    Switch(Plugin),
}

/// What a server says to a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// Unknown user or wrong password.
    Wrong,
    /// The client's to hear: the account is locked, nobody can be asked, …
    Error(ServerError),
}

impl ClientAuth {
    /// Goes on with the user's accounts, or the reason for which nobody can tell.
    pub fn looked_up(&mut self, stored: Result<Stored, ServerError>) -> ClientStep {
        let State::LookedUp(pending) = mem::replace(&mut self.state, State::Over) else {
            return ClientStep::Reject(ServerError::packets_out_of_order());
        };
        let stored = match stored {
            Ok(stored) => self.stored.insert(stored),
            Err(error) => return ClientStep::Reject(error),
        };
        match pending {
            Pending::Answer(plugin, response) => self.weigh(plugin, &response),
            Pending::Switch(_) if stored.other => self.ask(Plugin::CachingSha2),
            Pending::Switch(_) if !stored.native.is_empty() => self.ask(Plugin::Native),
            Pending::Switch(named) => self.ask(named),
        }
    }

    /// Goes on with what a server said to the login.
    pub fn judged(&mut self, verdict: Verdict) -> ClientStep {
        let State::Judged(credential, using) = mem::replace(&mut self.state, State::Over) else {
            return ClientStep::Reject(ServerError::packets_out_of_order());
        };
        match verdict {
            Verdict::Right => ClientStep::Accept { notice: None, credential },
            Verdict::Wrong => self.deny(using),
            Verdict::Error(error) => ClientStep::Reject(ServerError { message: self.at_home(&error.message), ..error }),
        }
    }

    /// A server names the host that its client, which is Weir, connects from; this names the client's.
    fn at_home(&self, message: &[u8]) -> Vec<u8> {
        let before = [b"'", &self.user[..], b"'@'"].concat();
        let place = message.windows(before.len()).position(|window| window == before).map(|at| at + before.len());
        let Some((head, tail)) = place.and_then(|place| message.split_at_checked(place)) else {
            return message.to_vec();
        };
        let end = tail.iter().position(|byte| *byte == b'\'').unwrap_or(tail.len());
        [head, &self.host[..], tail.get(end..).unwrap_or_default()].concat()
    }

    pub(super) fn look_up(&mut self, pending: Pending) -> ClientStep {
        self.state = State::LookedUp(pending);
        ClientStep::LookUp
    }

    /// Judges an answer that no known credential explains.
    pub(super) fn appeal(&mut self, plugin: Plugin, response: &[u8], using: UsingPassword) -> ClientStep {
        match (using, &self.stored) {
            (UsingPassword::No, _) => self.prove(Credential::Password(Box::default()), using),
            (UsingPassword::Yes, None) => self.look_up(Pending::Answer(plugin, response.to_vec())),
            (UsingPassword::Yes, Some(_)) => self.weigh(plugin, response),
        }
    }

    pub(super) fn prove_password(&mut self, text: &[u8]) -> ClientStep {
        if text.is_empty() || text.len() > LONGEST {
            return self.deny(UsingPassword::Yes);
        }
        self.prove(Credential::Password(text.into()), UsingPassword::Yes)
    }

    fn prove(&mut self, credential: Credential, using: UsingPassword) -> ClientStep {
        self.state = State::Judged(credential.clone(), using);
        ClientStep::Prove(credential)
    }

    /// Judges an answer by the user's accounts.
    fn weigh(&mut self, plugin: Plugin, response: &[u8]) -> ClientStep {
        let Stored { native, other } = self.stored.clone().unwrap_or_default();
        let speaks_plugins = self.challenge.capabilities.has(Capabilities::PLUGIN_AUTH);
        let may_switch = speaks_plugins && !self.switched;
        match plugin {
            Plugin::Native => match self.recover(&native, response) {
                Some(once) => self.prove(Credential::Digest(once), UsingPassword::Yes),
                None if other && may_switch => self.ask(Plugin::CachingSha2),
                None if other && !speaks_plugins => ClientStep::Reject(ServerError::old_client()),
                None => self.deny(UsingPassword::Yes),
            },
            Plugin::CachingSha2 if !other && !native.is_empty() && may_switch => self.ask(Plugin::Native),
            Plugin::CachingSha2 => self.ask_password(),
            _ => self.deny(UsingPassword::Yes),
        }
    }

    /// Tries every account, and one even when there are none, so that the time does not tell whether the user exists.
    fn recover(&self, stored: &[Sha1], response: &[u8]) -> Option<Sha1> {
        let nonce = &self.challenge.nonce;
        if stored.is_empty() {
            std::hint::black_box(recover(response, &Default::default(), nonce));
        }
        stored.iter().fold(None, |found, twice| recover(response, twice, nonce).or(found))
    }
}
