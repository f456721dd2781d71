//! `mysql_native_password`: `SHA1(password) ^ SHA1(nonce + SHA1(SHA1(password)))`.
//!
//! Source: "Native Authentication".

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::xor;
use crate::protocol::greeting::Nonce;

/// Length of a proof.
pub(super) const LENGTH: usize = 20;

/// The proof of a password that is not empty.
pub(super) fn scramble(password: &[u8], nonce: &Nonce) -> Vec<u8> {
    let once = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
    let twice = digest(&SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    let salted = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[nonce, twice.as_ref()].concat());
    xor(once.as_ref(), salted.as_ref())
}
