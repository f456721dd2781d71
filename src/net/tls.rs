//! TLS settings as rustls wants them: certificates, keys and what is verified.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::config::{ClientTls, ServerTls, ServerTlsMode};

/// Why TLS cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {error}")]
    File { path: PathBuf, error: rustls::pki_types::pem::Error },
    #[error("cannot make a certificate: {0}")]
    SelfMade(#[from] rcgen::Error),
    #[error("the certificates or keys do not fit: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("the certificates to verify with do not fit: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("{0} needs a `ca` to verify with")]
    NoCa(&'static str),
}

/// What Weir shows to clients: the configured certificate, or a self-made one that lives as long as the process.
pub fn for_clients(tls: &ClientTls) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => (certificates(cert)?, private_key(key)?),
        _ => self_made()?,
    };
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match &tls.ca {
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider());
            builder.with_client_cert_verifier(verifier.build()?)
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(builder.with_single_cert(chain, key)?))
}

/// How Weir checks servers. What each mode checks is what the `--ssl-mode` of the MySQL clients checks.
pub fn for_servers(tls: &ServerTls) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let chain = match (tls.mode, &tls.ca) {
        (ServerTlsMode::VerifyCa | ServerTlsMode::VerifyIdentity, None) => return Err(TlsError::NoCa("verification")),
        (ServerTlsMode::VerifyCa | ServerTlsMode::VerifyIdentity, Some(ca)) => {
            Some(WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider()).build()?)
        }
        _ => None,
    };
    let verifier = Arc::new(Verifier { chain, mode: tls.mode, provider: provider() });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(Arc::new(match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => builder.with_client_auth_cert(certificates(cert)?, private_key(key)?)?,
        _ => builder.with_no_client_auth(),
    }))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::File { path: path.to_owned(), error };
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File { path: path.to_owned(), error })
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate)?;
    }
    Ok(Arc::new(store))
}

fn self_made() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let made = rcgen::generate_simple_self_signed(["weir".to_owned(), "localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|what| TlsError::Rustls(rustls::Error::Other(rustls::OtherError(Arc::new(io::Error::other(what))))))?;
    Ok((vec![made.cert.into()], key))
}

/// Checks the chain, the chain and the name, or neither. The signatures of the handshake are always checked.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    mode: ServerTlsMode,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::{CertificateError, Error};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.mode == ServerTlsMode::VerifyCa => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
