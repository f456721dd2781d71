//! `mysql_native_password`: `SHA1(password) ^ SHA1(nonce + SHA1(SHA1(password)))`. Servers store the latter digest, as `*`
//! and 40 hexadecimal digits; who has it gets the former, which is all that a login takes, out of one right proof.
//!
//! Source: "Native Authentication".

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::{
    credential::{Sha1, same},
    xor,
};
use crate::protocol::greeting::Nonce;

/// Length of a proof.
pub(super) const LENGTH: usize = 20;

/// The proof of a password that is not empty.
pub(super) fn scramble(password: &[u8], nonce: &Nonce) -> Vec<u8> {
    scramble_digest(&sha1(password), nonce)
}

/// The proof of the password whose SHA-1 is `once`.
pub(super) fn scramble_digest(once: &Sha1, nonce: &Nonce) -> Vec<u8> {
    xor(once, &salted(&sha1(once), nonce))
}

/// The SHA-1 of the password that `proof` is of, if it is of the password that a server stores as `twice`.
pub(super) fn recover(proof: &[u8], twice: &Sha1, nonce: &Nonce) -> Option<Sha1> {
    let once = Sha1::try_from(xor(proof, &salted(twice, nonce))).ok()?;
    same(&sha1(&once), twice).then_some(once)
}

/// What a server has stored, from its text.
pub(super) fn stored(text: &[u8]) -> Option<Sha1> {
    let digits = text.strip_prefix(b"*")?;
    let mut twice = Sha1::default();
    if digits.len() != 2 * twice.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in twice.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(twice)
}

pub(super) fn sha1(bytes: &[u8]) -> Sha1 {
    let mut sha1 = Sha1::default();
    sha1.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    sha1
}

fn salted(twice: &Sha1, nonce: &Nonce) -> Sha1 {
    sha1(&[&nonce[..], twice].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_passwords_are_read() {
        // What `PASSWORD('secret')` gives.
        let secret = b"*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";
        assert_eq!(stored(secret), Some(sha1(&sha1(b"secret"))));
        assert_eq!(stored(&secret.to_ascii_lowercase()), stored(secret));
        for text in
            [&b""[..], b"*", &secret[1..], &secret[..40], b"*+4E65567ABDB5135D0CFD9A70B3032C179A49EE7", b"invalid"]
        {
            assert_eq!(stored(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_right_proof_tells_the_digest_and_no_other_does() {
        let nonce = b"ABCDEFGHIJKLMNOPQRST";
        let (once, twice) = (sha1(b"secret"), sha1(&sha1(b"secret")));
        assert_eq!(recover(&scramble(b"secret", nonce), &twice, nonce), Some(once));
        assert_eq!(scramble_digest(&once, nonce), scramble(b"secret", nonce));
        let other = scramble(b"secret", b"abcdefghijklmnopqrst");
        for proof in [&scramble(b"guess", nonce)[..], &other, &[0; LENGTH], b"", b"short", &[1; 21]] {
            assert_eq!(recover(proof, &twice, nonce), None, "{proof:?}");
        }
    }
}
