//! `sha256_password`: nothing but its request for the server's public key; the password itself travels like the one of
//! `caching_sha2_password`'s full path.
//!
//! Source: "SHA256 Plugin".

/// Client: send your public key.
pub(super) const KEY_REQUEST: u8 = 1;
