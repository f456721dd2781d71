//! `caching_sha2_password`: the proof of its fast path, and the one-byte messages of its full path.
//! The proof is `SHA256(password) ^ SHA256(SHA256(SHA256(password)) + nonce)`.
//!
//! Source: "Caching_sha2_password information".

use aws_lc_rs::digest::{SHA256, digest};

use super::xor;
use crate::protocol::greeting::Nonce;

/// Length of a proof.
pub(super) const LENGTH: usize = 32;
/// Server: the proof was right; an OK packet follows.
pub(super) const FAST_OK: u8 = 3;
/// Server: send the password itself.
pub(super) const FULL: u8 = 4;
/// Client: send your public key.
pub(super) const KEY_REQUEST: u8 = 2;

/// The proof of a password that is not empty.
pub(super) fn scramble(password: &[u8], nonce: &Nonce) -> Vec<u8> {
    let once = digest(&SHA256, password);
    let twice = digest(&SHA256, once.as_ref());
    let salted = digest(&SHA256, &[twice.as_ref(), nonce].concat());
    xor(once.as_ref(), salted.as_ref())
}
