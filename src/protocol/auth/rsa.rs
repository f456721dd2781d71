//! RSA with OAEP (SHA-1), as `caching_sha2_password` uses it to carry a password over a connection without TLS, and the
//! PEM text that the public key travels in.

use std::{fmt, sync::Arc};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use thiserror::Error;

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The operating system gave no key.
    #[error("could not generate an RSA key")]
    Generate,
    /// Not a PEM text with an unencrypted PKCS#8 RSA key of 2048 to 8192 bits.
    #[error("not an RSA private key in PKCS#8 PEM form with 2048 to 8192 bits")]
    Private,
    /// Not a PEM text with an RSA public key of 2048 to 8192 bits.
    #[error("not an RSA public key in PEM form with 2048 to 8192 bits")]
    Public,
    /// The text is longer than the key can carry.
    #[error("the password is too long for the RSA key")]
    TooLong,
}

/// Weir's own key pair. Cloning shares it.
#[derive(Clone)]
pub struct RsaKey {
    private: Arc<OaepPrivateDecryptingKey>,
    public_pem: Arc<str>,
}

impl RsaKey {
    /// A new 2048-bit key. Takes some tenths of a second: not for a worker thread.
    ///
    /// # Errors
    /// [`KeyError::Generate`].
    pub fn generate() -> Result<Self, KeyError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
        Self::new(key).ok_or(KeyError::Generate)
    }

    /// Reads an unencrypted PKCS#8 key (`BEGIN PRIVATE KEY`), so that several instances can show the same one.
    ///
    /// # Errors
    /// [`KeyError::Private`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Private)?;
        let key = PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| KeyError::Private)?;
        Self::new(key).ok_or(KeyError::Private)
    }

    /// The public key as PEM text (`BEGIN PUBLIC KEY`).
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The text that was encrypted with the public key; none if it was not.
    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = vec![0; self.private.min_output_size()];
        let text = self.private.decrypt(&OAEP_SHA1_MGF1SHA1, ciphertext, &mut buffer, None).ok()?;
        Some(text.to_vec())
    }

    fn new(key: PrivateDecryptingKey) -> Option<Self> {
        let der = key.public_key().as_der().ok()?;
        let public_pem = public_key_pem(der.as_ref()).into();
        Some(Self { private: Arc::new(OaepPrivateDecryptingKey::new(key).ok()?), public_pem })
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey")
    }
}

/// Encrypts `text` with a server's public key, given as PEM.
pub(super) fn encrypt(public_pem: &[u8], text: &[u8]) -> Result<Vec<u8>, KeyError> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(public_pem).map_err(|_| KeyError::Public)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| KeyError::Public)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::Public)?;
    let mut buffer = vec![0; key.ciphertext_size()];
    let ciphertext = key.encrypt(&OAEP_SHA1_MGF1SHA1, text, &mut buffer, None).map_err(|_| KeyError::TooLong)?;
    Ok(ciphertext.to_vec())
}

fn public_key_pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let text = base64(der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(LINE) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| u32::from(chunk.get(i).copied().unwrap_or(0)));
        let group = a << 16 | b << 8 | c;
        for digit in 0..4 {
            let value = group >> (18 - 6 * digit) & 0x3F;
            text.push(if digit <= chunk.len() { char::from(ALPHABET[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_the_standard_has_it() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text, "{bytes}");
        }
    }

    #[test]
    fn what_the_public_key_encrypts_the_private_key_decrypts() {
        let key = RsaKey::generate().unwrap();
        let ciphertext = encrypt(key.public_pem().as_bytes(), b"secret").unwrap();
        assert_eq!(key.decrypt(&ciphertext).as_deref(), Some(&b"secret"[..]));
        assert_eq!(key.decrypt(&ciphertext[1..]), None);
        assert_eq!(key.decrypt(b""), None);
        assert_eq!(encrypt(key.public_pem().as_bytes(), &[b'x'; 215]), Err(KeyError::TooLong));
    }

    #[test]
    fn bad_keys_are_errors() {
        let pem = RsaKey::generate().unwrap().public_pem().to_owned();
        let cases = ["", "no pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", &pem[..200]];
        for case in cases {
            assert_eq!(encrypt(case.as_bytes(), b"secret"), Err(KeyError::Public), "{case}");
            assert!(matches!(RsaKey::from_pem(case.as_bytes()), Err(KeyError::Private)), "{case}");
        }
    }
}
