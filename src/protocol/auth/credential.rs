//! What proves a user to servers, and what servers store to check it.

use std::fmt;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};

use super::{Message, caching_sha2, ed25519, native};
use crate::{config::Secret, protocol::greeting::Nonce};

/// The SHA-1 of something: 20 bytes.
pub type Sha1 = [u8; native::LENGTH];

/// What proves a user to servers. Never printed by `Debug`.
#[derive(Clone, Eq)]
pub enum Credential {
    /// The password, in whatever character set.
    Password(Box<[u8]>),
    /// The SHA-1 of the password: enough for `mysql_native_password`, and for nothing else.
    Digest(Sha1),
}

/// A user's accounts on a server, as far as they tell how to check a client.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The SHA-1 of the SHA-1 of each password that `mysql_native_password` checks.
    pub native: Vec<Sha1>,
    /// Whether there are, or may be, accounts with other plugins.
    pub other: bool,
}

impl Stored {
    /// The server does not tell, or only has plugins that it does not matter for.
    pub const UNTOLD: Self = Self { native: Vec::new(), other: true };

    /// Adds an account with its `plugin` and `authentication_string`.
    pub fn add(&mut self, plugin: &[u8], string: &[u8]) {
        match plugin {
            b"mysql_native_password" | b"" => self.native.extend(native::stored(string)),
            _ => self.other = true,
        }
    }
}

impl From<&Secret> for Credential {
    fn from(secret: &Secret) -> Self {
        Self::Password(secret.expose().as_bytes().into())
    }
}

/// Takes the same time for all of the same length.
impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Password(one), Self::Password(other)) => same(one, other),
            (Self::Digest(one), Self::Digest(other)) => same(one, other),
            _ => false,
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} native, other: {})", self.native.len(), self.other)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Credential {
    /// The password, if it is known.
    pub fn password(&self) -> Option<&[u8]> {
        match self {
            Self::Password(password) => Some(password),
            Self::Digest(_) => None,
        }
    }

    /// Whether it is the password of someone who has none.
    pub fn is_empty(&self) -> bool {
        self.password().is_some_and(<[u8]>::is_empty)
    }

    /// The proof of `mysql_native_password`.
    pub(super) fn native(&self, nonce: &Nonce) -> Vec<u8> {
        match self {
            Self::Password(password) => native::scramble(password, nonce),
            Self::Digest(once) => native::scramble_digest(once, nonce),
        }
    }

    /// Whether `proof` is its proof with `mysql_native_password`.
    pub(super) fn fits_native(&self, proof: &[u8], nonce: &Nonce) -> bool {
        same(&self.native(nonce), proof)
    }

    /// Whether `proof` is its proof with `caching_sha2_password`.
    pub(super) fn fits_caching_sha2(&self, proof: &[u8], nonce: &Nonce) -> bool {
        self.password().is_some_and(|password| same(&caching_sha2::scramble(password, nonce), proof))
    }

    /// Whether `signature` is its one of `message`.
    pub(super) fn fits_ed25519(&self, signature: &[u8; ed25519::LENGTH], message: &Message) -> bool {
        self.password().is_some_and(|password| ed25519::verify(password, message, signature))
    }

    /// Whether `text` is the password.
    pub(super) fn is_of(&self, text: &[u8]) -> bool {
        match self {
            Self::Password(password) => same(digest(&SHA256, password).as_ref(), digest(&SHA256, text).as_ref()),
            Self::Digest(once) => same(once, &native::sha1(text)),
        }
    }
}

/// Compares without telling by time where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}
