//! How the control plane connects to a server: mysql_async with the options that the config asks for.
//!
//! Decides the TLS attempts of one connect. Leaves retrying to its callers, and the data path to others: statements
//! of clients never travel on these connections.

use std::path::PathBuf;

use mysql_async::{ClientIdentity, Conn, DriverError, Error, IoError, OptsBuilder, SslOpts};

use crate::config::{Address, Config, Secret, Server, ServerTls, ServerTlsMode, User};

/// Whom to connect to, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub address: Address,
    pub user: String,
    pub password: Secret,
    pub tls: ServerTls,
}

/// A connection that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("it is not known where the DNS name leads to")]
    Srv,
    #[error("cannot connect: {0}")]
    Unreachable(std::io::Error),
    #[error("cannot connect as {user:?}: {error}")]
    Driver { user: String, error: Error },
}

impl Target {
    /// The server as the probes see it. None: there is no user to look as.
    pub fn for_probes(config: &Config, server: &Server) -> Option<Self> {
        Some(Self::for_user(config, server, &config.probe_user()?))
    }

    pub fn for_user(config: &Config, server: &Server, user: &User) -> Self {
        Self {
            address: server.address.clone(),
            user: user.name.clone(),
            password: user.password.clone().unwrap_or_default(),
            tls: config.tls.server.clone(),
        }
    }
}

/// Opens a connection. Has no deadline of its own. Mode `preferred` tries TLS and then plain, as servers without TLS
/// or with versions that are too old are met there.
///
/// # Errors
/// The address cannot be connected to, TLS as configured is not to be had, or the login is refused.
pub async fn connect(target: &Target) -> Result<Conn, ConnectError> {
    let failed = |error| match error {
        Error::Io(IoError::Io(error)) if !is_from_tls(&error) => ConnectError::Unreachable(error),
        error => ConnectError::Driver { user: target.user.clone(), error },
    };
    let options = options(target)?;
    let encrypted = options.clone().ssl_opts(ssl_options(&target.tls));
    match (&target.address, target.tls.mode) {
        (Address::Unix(_), _) | (_, ServerTlsMode::Disabled) => Conn::new(options).await.map_err(failed),
        (_, ServerTlsMode::Preferred) => match Conn::new(encrypted).await {
            Err(error) if is_about_tls(&error) => Conn::new(options).await.map_err(failed),
            other => other.map_err(failed),
        },
        _ => Conn::new(encrypted).await.map_err(failed),
    }
}

fn options(target: &Target) -> Result<OptsBuilder, ConnectError> {
    let encrypted = !matches!(target.tls.mode, ServerTlsMode::Disabled | ServerTlsMode::Preferred);
    let options = OptsBuilder::default()
        .user(Some(&target.user))
        .pass(Some(target.password.expose()))
        .prefer_socket(false)
        .enable_cleartext_plugin(encrypted)
        // Given here, so that the driver does not ask the server for them.
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800))
        .stmt_cache_size(0)
        .connect_attribute("program_name", "weir");
    match &target.address {
        Address::Tcp { host, port } => Ok(options.ip_or_hostname(host).tcp_port(*port)),
        Address::Unix(path) => Ok(options.socket(Some(path.to_string_lossy()))),
        Address::Srv(_) => Err(ConnectError::Srv),
    }
}

/// What each mode checks is what the `--ssl-mode` of the MySQL clients checks, but for one flaw: mysql_async 0.37
/// does not recognise that only the name is wrong (its issue 404), so that `verify-ca` checks the name, too. That
/// refuses certificates that should do, and never accepts one that should not.
fn ssl_options(tls: &ServerTls) -> SslOpts {
    let identity =
        tls.cert.clone().zip(tls.key.clone()).map(|(cert, key)| ClientIdentity::new(cert.into(), key.into()));
    let roots: Vec<PathBuf> = tls.ca.iter().cloned().collect();
    let verifies = matches!(tls.mode, ServerTlsMode::VerifyCa | ServerTlsMode::VerifyIdentity);
    SslOpts::default()
        .with_client_identity(identity)
        .with_disable_built_in_roots(!roots.is_empty())
        .with_root_certs(roots.into_iter().map(Into::into).collect())
        .with_danger_accept_invalid_certs(!verifies)
        .with_danger_skip_domain_validation(tls.mode != ServerTlsMode::VerifyIdentity)
}

/// Whether the server has no TLS, or the two sides did not agree on how to use it.
fn is_about_tls(error: &Error) -> bool {
    match error {
        Error::Driver(DriverError::NoClientSslFlagFromServer) | Error::Io(IoError::Tls(_)) => true,
        Error::Io(IoError::Io(error)) => is_from_tls(error),
        _ => false,
    }
}

fn is_from_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}
