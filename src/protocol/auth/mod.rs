//! Logins, as state machines over payloads: [`ClientAuth`] checks a client, [`ServerLogin`] logs in to a server. They
//! decide what is sent next and whether the login succeeded; sockets, sequence ids, TLS and deadlines are the caller's.
//!
//! Source: "Connection Phase", "Protocol::AuthSwitchRequest", "Protocol::AuthMoreData".

mod caching_sha2;
mod client;
mod credential;
mod ed25519;
mod native;
mod passthrough;
mod rsa;
mod server;
mod sha256;
#[cfg(test)]
mod tests;

pub use client::{Account, Attempt, Authority, Challenge, ClientAuth, ClientStep};
pub use credential::{Credential, Sha1, Stored};
pub use ed25519::Message;
pub use passthrough::Verdict;
pub use rsa::{KeyError, RsaKey};
pub use server::{LoggedIn, LoginError, LoginRequest, ServerLogin, ServerStep, TlsUse};

use super::greeting::{NONCE_LENGTH, Nonce};
use super::wire::{Malformed, Reader, put_nul};

/// Header of an AuthMoreData packet.
const MORE_DATA: u8 = 0x01;
/// Header of an AuthSwitchRequest packet.
const SWITCH: u8 = 0xFE;

/// How a password is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// `mysql_native_password`: SHA-1 challenge and response.
    Native,
    /// `caching_sha2_password`: SHA-256 challenge and response, or the password itself over a secure channel or RSA.
    CachingSha2,
    /// `client_ed25519`: a signature. MariaDB's.
    Ed25519,
    /// `sha256_password`: the password itself over a secret channel or RSA. Only towards servers, where unknown users are
    /// asked for it, too.
    Sha256,
    /// `mysql_clear_password`: the password itself. Only towards servers, and only inside TLS.
    Clear,
}

impl Plugin {
    /// The plugin's name in the protocol.
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Native => b"mysql_native_password",
            Self::CachingSha2 => b"caching_sha2_password",
            Self::Ed25519 => b"client_ed25519",
            Self::Sha256 => b"sha256_password",
            Self::Clear => b"mysql_clear_password",
        }
    }

    /// The plugin of that name, if Weir has it.
    pub fn named(name: &[u8]) -> Option<Self> {
        let all = [Self::Native, Self::CachingSha2, Self::Ed25519, Self::Sha256, Self::Clear];
        all.into_iter().find(|plugin| plugin.name() == name)
    }
}

/// What a connection runs over, as far as secrets are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// TCP that anyone on the way can read.
    Plain,
    /// TLS.
    Tls,
    /// A Unix socket: as secret as TLS.
    Local,
}

impl Channel {
    /// Whether a password may be sent as it is.
    const fn is_secret(self) -> bool {
        matches!(self, Self::Tls | Self::Local)
    }
}

/// A server's request to answer with another plugin.
#[derive(Debug, PartialEq, Eq)]
struct Switch<'a> {
    plugin: &'a [u8],
    nonce: &'a [u8],
}

impl<'a> Switch<'a> {
    fn payload(plugin: Plugin, nonce: &Nonce) -> Vec<u8> {
        let nonce = nul_terminated(nonce);
        Switch { plugin: plugin.name(), nonce: &nonce }.put()
    }

    fn to_sign(message: &Message) -> Vec<u8> {
        Switch { plugin: Plugin::Ed25519.name(), nonce: message }.put()
    }

    fn put(&self) -> Vec<u8> {
        let mut out = vec![SWITCH];
        put_nul(&mut out, self.plugin);
        out.extend_from_slice(self.nonce);
        out
    }

    /// Reads what follows the header.
    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let plugin = reader.nul("switch: plugin")?;
        Ok(Self { plugin, nonce: reader.rest() })
    }

    /// The nonce of the plugins that take 20 bytes (and a NUL that says nothing).
    fn nonce(&self) -> Result<Nonce, Malformed> {
        self.nonce.first_chunk::<NONCE_LENGTH>().copied().ok_or(Malformed("switch: nonce"))
    }

    /// What `client_ed25519` is to sign.
    fn message(&self) -> Result<Message, Malformed> {
        self.nonce.first_chunk().copied().ok_or(Malformed("switch: message"))
    }
}

fn more_data(data: &[u8]) -> Vec<u8> {
    let mut out = vec![MORE_DATA];
    out.extend_from_slice(data);
    out
}

fn nul_terminated(text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    out.push(0);
    out
}

/// `a ^ b`, `b` repeated as needed.
fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b.iter().cycle()).map(|(a, b)| a ^ b).collect()
}
