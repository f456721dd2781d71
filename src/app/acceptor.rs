//! Listens where the config says, and hands clients to the workers.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    StartError,
    workers::{Accepted, Arrival, Workers},
};
use crate::{
    config::{Address, Listener, Network, Route},
    context::Context,
    net::{Socket, introduction},
    protocol::{Capabilities, ProxyHeader, ServerError, put_packets},
};

/// A bound address.
pub enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A Unix socket's file, removed when Weir ends.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Bound {
    /// Binds an address. The file of a Unix socket that nobody listens on is replaced.
    pub async fn new(address: &Address) -> Result<Self, StartError> {
        let bound = match address {
            Address::Tcp { host, port } => TcpListener::bind((host.as_str(), *port)).await.map(Self::Tcp),
            Address::Unix(path) => bind_unix(path).map(|listener| Self::Unix(listener, SocketFile(path.clone()))),
            Address::Srv(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        bound.map_err(|error| StartError::Listen { address: address.to_string(), error })
    }

    /// Sets the TCP congestion control of every client that is accepted from now on.
    pub fn set_congestion_control(&self, name: &str) -> Result<(), StartError> {
        let Self::Tcp(listener) = self else { return Ok(()) };
        SockRef::from(listener)
            .set_tcp_congestion(name.as_bytes())
            .map_err(|error| StartError::CongestionControl { name: name.to_owned(), error })
    }

    /// None for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// The next connection. Cancel-safe.
    pub async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
                Ok((Socket::Tcp(stream.into()), Peer(Some(peer))))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Peer(None)))
            }
        }
    }
}

/// Who is at the other end; None over a Unix socket.
#[derive(Debug, Clone, Copy)]
pub struct Peer(Option<SocketAddr>);

impl Peer {
    /// As operators see it: address and port.
    pub fn name(self) -> String {
        self.0.map_or_else(|| "unix".to_owned(), |peer| peer.to_string())
    }

    /// As error texts and rules see it.
    pub fn host(self) -> String {
        self.0.map_or_else(|| "localhost".to_owned(), |peer| peer.ip().to_canonical().to_string())
    }

    fn is_in(self, networks: &[Network]) -> bool {
        self.0.is_some_and(|peer| networks.iter().any(|network| network.contains(peer.ip())))
    }
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let stale = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err();
    if stale {
        fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

/// Accepts clients until it is dropped.
pub async fn accept(bound: Bound, listener: Listener, context: Arc<Context>, workers: Rc<Workers>) {
    let Listener { route, proxy_protocol, .. } = listener;
    // Connections whose PROXY header is on its way.
    let mut introductions = JoinSet::new();
    loop {
        let (socket, peer) = tokio::select! {
            accepted = bound.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: some will come back.
                    tracing::warn!(%error, "cannot accept a client");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(introduced) = introductions.join_next() => {
                // A panic was reported.
                if let Ok(Some((socket, peer))) = introduced {
                    hand_over(socket, peer, &route, &context, &workers);
                }
                continue;
            }
        };
        let config = context.config.load();
        if context.sessions.count() + introductions.len() >= config.limits.max_clients as usize {
            context.metrics.clients_refused.inc();
            tokio::task::spawn_local(refuse(socket, ServerError::too_many_connections()));
        } else if peer.is_in(&proxy_protocol) {
            introductions.spawn_local(introduce(socket, peer, config.timeouts.handshake));
        } else {
            hand_over(socket, peer, &route, &context, &workers);
        }
    }
}

/// Lets a load balancer say whose connection it is.
async fn introduce(mut socket: Socket, balancer: Peer, limit: Duration) -> Option<(Socket, Peer)> {
    let error = match timeout(limit, introduction(&mut socket)).await {
        Ok(Ok(ProxyHeader::Own)) => return Some((socket, balancer)),
        Ok(Ok(ProxyHeader::Client(client))) => return Some((socket, Peer(Some(client)))),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no PROXY header in time".to_owned(),
    };
    tracing::info!(peer = balancer.name(), error, "a connection from a network of `proxy_protocol` is refused");
    refuse(socket, ServerError::bad_handshake()).await;
    None
}

fn hand_over(socket: Socket, peer: Peer, route: &Route, context: &Arc<Context>, workers: &Workers) {
    let accepted = match socket {
        Socket::Tcp(stream) => stream.into_inner().into_std().map(Accepted::Tcp),
        Socket::Unix(stream) => stream.into_std().map(Accepted::Unix),
        Socket::Memory(_) => return,
    };
    match accepted {
        Ok(socket) => {
            let entry = context.sessions.enter(peer.name());
            workers.hand_over(Arrival { socket, entry, host: peer.host(), route: route.clone() });
        }
        Err(error) => tracing::warn!(%error, "a client's socket cannot be used"),
    }
}

/// Tells a client why it is not let in, in place of the greeting.
pub async fn refuse(mut socket: Socket, error: ServerError) {
    let mut bytes = Vec::new();
    put_packets(&mut bytes, &mut 0, &error.payload(Capabilities::NONE));
    let tell = async {
        socket.write_all(&bytes).await?;
        socket.shutdown().await
    };
    // It was told, or it does not listen.
    let _ = timeout(Duration::from_secs(1), tell).await;
}
