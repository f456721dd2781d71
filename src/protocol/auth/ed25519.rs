//! `client_ed25519`: an Ed25519 signature of 32 random bytes. The key is made from the SHA-512 of the password, where
//! RFC 8032 takes that of a seed of 32 bytes.
//!
//! Source: "Authentication Plugin - ed25519", <https://mariadb.com/kb/en/authentication-plugin-ed25519/>.

use aws_lc_rs::digest::{SHA512, digest};
use ed25519_dalek::{
    Sha512, Signature, VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign, raw_verify},
};

/// What is signed. There is no NUL behind it, other than with the other plugins.
pub type Message = [u8; 32];

/// Length of a signature.
pub(super) const LENGTH: usize = 64;

/// The signature of `message` with the password's key.
pub(super) fn sign(password: &[u8], message: &Message) -> [u8; LENGTH] {
    let (secret, public) = keys(password);
    raw_sign::<Sha512>(&secret, message, &public).to_bytes()
}

/// Whether it is the signature of `message` with the password's key.
pub(super) fn verify(password: &[u8], message: &Message, signature: &[u8; LENGTH]) -> bool {
    let (_, public) = keys(password);
    raw_verify::<Sha512>(&public, message, &Signature::from_bytes(signature)).is_ok()
}

fn keys(password: &[u8]) -> (ExpandedSecretKey, VerifyingKey) {
    let mut expanded = [0; LENGTH];
    expanded.copy_from_slice(digest(&SHA512, password).as_ref());
    let secret = ExpandedSecretKey::from_bytes(&expanded);
    let public = VerifyingKey::from(&secret);
    (secret, public)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What MariaDB's own tests expect of the password `foobar`: its public key, and its signature of 32 letters A.
    const PUBLIC: &[u8] = b"\xAA\xFD\xA6\x1B\xA1\xD6\x0A\xEC\xB7\xD9\x29\x5B\xE7\x18\x55\xE1\
        \x31\xD2\xB5\xEC\x0D\xCF\x65\x48\x35\x53\xDB\x82\x4F\x97\x00\x9F";
    const SIGNATURE: [u8; LENGTH] = *b"\xE8\x3D\xC9\x3F\x43\x3F\x33\x35\x56\x49\xEE\x23\xAA\x75\x92\xD6\
        \x1A\x11\x23\x09\x08\x84\xF5\x8D\x30\x63\x42\x3A\x24\xE4\x30\x54\
        \x73\xFE\xBB\xA8\x58\xA2\xF9\x39\x23\x55\x4F\xEE\xA7\x6A\x44\x75\
        \x38\x87\xAB\x2F\x14\x0E\x85\x4F\x0F\xE5\x7C\xA0\xB0\x64\x8A\x0E";

    #[test]
    fn signatures_are_those_of_mariadb() {
        assert_eq!(keys(b"foobar").1.as_bytes(), PUBLIC);
        assert_eq!(sign(b"foobar", &[b'A'; 32]), SIGNATURE);
    }

    #[test]
    fn only_the_signature_of_this_message_with_this_password_is_right() {
        let message = [b'A'; 32];
        let mut other = message;
        other[10] = b'B';
        let mut bent = SIGNATURE;
        bent[63] ^= 0x40;
        let cases: [(&str, &[u8], &Message, [u8; LENGTH], bool); 7] = [
            ("right", b"foobar", &message, SIGNATURE, true),
            ("other password", b"foobaz", &message, SIGNATURE, false),
            ("no password", b"", &message, SIGNATURE, false),
            ("other message", b"foobar", &other, SIGNATURE, false),
            ("bent", b"foobar", &message, bent, false),
            ("zeros", b"foobar", &message, [0; LENGTH], false),
            ("ones", b"foobar", &message, [0xFF; LENGTH], false),
        ];
        for (name, password, message, signature, right) in cases {
            assert_eq!(verify(password, message, &signature), right, "{name}");
        }
        for length in [0, 1, 31, 32, 33, 1000] {
            let password = vec![b'p'; length];
            assert!(verify(&password, &message, &sign(&password, &message)), "a password of {length} bytes");
        }
    }
}
