//! From an address to a server connection that is logged in: name, socket, PROXY header, TLS, login. What it is used for is
//! the connection's.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::{Identity, resolve};
use crate::{
    config::{Address, ServerCompression, ServerTlsMode},
    net::{Method, PacketStream, Part, ReadError, Scratch, Socket, Stream},
    protocol::{
        Capabilities, Greeting, Malformed, ProxyHeader, ServerError,
        auth::{Channel, LoginError, LoginRequest, ServerLogin, ServerStep, TlsUse},
    },
};

/// The longest reply that Weir reads itself (never a client's), bytes.
pub(super) const OWN_REPLY: usize = 1 << 20;

/// How to reach servers: the same for all of them.
#[derive(Debug, Clone)]
pub struct Links {
    pub tls: ServerTlsMode,
    pub tls_config: Arc<rustls::ClientConfig>,
    pub connect_timeout: Duration,
    pub congestion_control: Option<String>,
    /// What is asked for. A server that does not have it is talked to without.
    pub compression: ServerCompression,
}

/// Why a server connection could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Resolve(#[from] resolve::ResolveError),
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the server said nonsense: {0}")]
    Read(#[from] ReadError),
    #[error("the server sent a {0}")]
    Malformed(#[from] Malformed),
    /// An older server than the one that clients were greeted for.
    #[error("the server does not have {0:?}, which the client was promised")]
    Lacking(Capabilities),
    #[error("the login failed: {0}")]
    Login(#[from] LoginError),
    /// Something that Weir asked for itself.
    #[error("the server refused: {0}")]
    Refused(ServerError),
    /// Behind one address there are several.
    #[error("another server answers at its address")]
    Another,
}

/// Where a server is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub address: &'a Address,
    /// The one of the name's addresses to take; None: any.
    pub peer: Option<SocketAddr>,
}

impl<'a> Place<'a> {
    /// Wherever the address leads to now.
    pub fn of(address: &'a Address) -> Self {
        Self { address, peer: None }
    }
}

/// Connects and logs in. Has no deadline of its own.
///
/// # Errors
/// Whatever stands in the way.
pub(super) async fn dial(
    place: Place<'_>,
    identity: &Identity,
    links: &Links,
    scratch: &Scratch,
) -> Result<Dialled, ConnectError> {
    let mut socket = connect(place, links).await?;
    let peer = match &socket {
        Socket::Tcp(stream) => Some(stream.get_ref().peer_addr()?),
        Socket::Unix(_) | Socket::Memory(_) => None,
    };
    if let Some(origin) = identity.origin {
        introduce(&mut socket, origin).await?;
    }
    let (packets, capabilities, greeting) = log_in(socket, place.address, identity, links, scratch).await?;
    Ok(Dialled { packets, capabilities, greeting, peer })
}

/// A connection that is logged in.
pub(super) struct Dialled {
    pub packets: PacketStream,
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    pub greeting: Greeting,
    /// The other end; None: not TCP.
    pub peer: Option<SocketAddr>,
}

/// The error that a server sent in place of a reply.
pub(super) fn refused(payload: &[u8]) -> ConnectError {
    ServerError::parse(payload).map_or_else(ConnectError::Malformed, ConnectError::Refused)
}

async fn connect(place: Place<'_>, links: &Links) -> Result<Socket, ConnectError> {
    if let Some(peer) = place.peer {
        return Ok(Socket::Tcp(connect_tcp(peer, links).await?.into()));
    }
    match place.address {
        Address::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        Address::Tcp { host, port } => {
            let mut error = io::Error::from(io::ErrorKind::NotFound);
            for address in resolve::resolve(host, *port, links.connect_timeout).await? {
                match connect_tcp(address, links).await {
                    Ok(stream) => return Ok(Socket::Tcp(stream.into())),
                    Err(failed) => error = failed,
                }
            }
            Err(error.into())
        }
        Address::Srv(name) => Err(io::Error::other(format!("{name} has not been expanded")).into()),
    }
}

async fn connect_tcp(address: SocketAddr, links: &Links) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    // Finds a server that went away without a word within a minute; the kernel's default is two hours.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
    if let Some(name) = &links.congestion_control {
        socket.set_tcp_congestion(name.as_bytes())?;
    }
    Ok(stream)
}

/// Says whose connection it is. A server at the other end of a Unix socket goes by no address.
async fn introduce(socket: &mut Socket, origin: ProxyHeader) -> io::Result<()> {
    let Socket::Tcp(stream) = socket else { return Ok(()) };
    let mut header = Vec::new();
    origin.put(&mut header, stream.get_ref().peer_addr()?);
    stream.write_all(&header).await
}

async fn log_in(
    socket: Socket,
    address: &Address,
    identity: &Identity,
    links: &Links,
    scratch: &Scratch,
) -> Result<(PacketStream, Capabilities, Greeting), ConnectError> {
    let channel = match socket {
        Socket::Unix(_) | Socket::Memory(_) => Channel::Local,
        Socket::Tcp(_) => Channel::Plain,
    };
    let mut packets = PacketStream::new(Stream::Plain(socket));
    let mut payload = Vec::new();
    packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
    if payload.first() == Some(&0xFF) {
        return Err(refused(&payload));
    }
    let greeting = Greeting::parse(&payload)?;
    let compression = match links.compression {
        ServerCompression::None => Capabilities::NONE,
        ServerCompression::Zlib => Capabilities::COMPRESS,
        ServerCompression::Zstd => Capabilities::ZSTD,
    };
    let request = LoginRequest {
        user: identity.user.as_bytes().to_vec(),
        credential: identity.credential.clone(),
        schema: None,
        capabilities: identity
            .capabilities
            .with(Capabilities::SESSION_TRACK)
            .with(Capabilities::TRANSACTIONS)
            .with(compression),
        collation: identity.collation.into(),
        max_packet: 1 << 30,
        attributes: identity.attributes.clone(),
        tls: match links.tls {
            ServerTlsMode::Disabled => TlsUse::Disabled,
            ServerTlsMode::Preferred => TlsUse::Preferred,
            _ => TlsUse::Required,
        },
    };
    let (mut login, mut step) = ServerLogin::begin(&greeting, request, channel);
    loop {
        step = match step {
            ServerStep::Send(answer) => {
                packets.write_payload(&answer).await?;
                packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
                login.answer(&payload)
            }
            ServerStep::Read => {
                packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
                login.answer(&payload)
            }
            ServerStep::StartTls(request) => {
                packets.write_payload(&request).await?;
                packets = secure(packets, address, links).await?;
                login.secured()
            }
            ServerStep::Done(done) => {
                if let Some(method) = Method::agreed(done.capabilities, None) {
                    packets.compress(method, Part::Asks);
                }
                return Ok((packets, done.capabilities, greeting));
            }
            ServerStep::Failed(error) => return Err(error.into()),
        };
    }
}

async fn secure(packets: PacketStream, address: &Address, links: &Links) -> Result<PacketStream, ConnectError> {
    let host = match address {
        Address::Tcp { host, .. } => host.as_str(),
        Address::Unix(_) | Address::Srv(_) => "localhost",
    };
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let sequence = packets.sequence;
    let socket = packets.into_socket().ok_or(Malformed("bytes ahead of TLS"))?;
    let stream = TlsConnector::from(links.tls_config.clone()).connect(name, socket).await?;
    let mut packets = PacketStream::new(Stream::Tls(Box::new(stream.into())));
    packets.sequence = sequence;
    Ok(packets)
}
