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
    time::{sleep, timeout},
};

use super::{
    StartError,
    workers::{Accepted, Arrival, Workers},
};
use crate::{
    config::{Address, Listener, Route},
    context::Context,
    net::Socket,
    protocol::{Capabilities, ServerError, put_packets},
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

    /// The next client: its socket, and its address as text with and without port.
    pub async fn accept(&self) -> io::Result<(Socket, String, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
                Ok((Socket::Tcp(stream), peer.to_string(), peer.ip().to_canonical().to_string()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), "unix".to_owned(), "localhost".to_owned()))
            }
        }
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
    loop {
        match bound.accept().await {
            Ok((socket, client, host)) => admit(socket, client, host, &listener.route, &context, &workers),
            Err(error) => {
                // Out of file descriptors, most likely: some will come back.
                tracing::warn!(%error, "cannot accept a client");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(socket: Socket, client: String, host: String, route: &Route, context: &Arc<Context>, workers: &Workers) {
    let limit = context.config.load().limits.max_clients;
    if context.sessions.count() >= limit as usize {
        context.metrics.clients_refused.inc();
        tokio::task::spawn_local(refuse(socket));
        return;
    }
    let accepted = match socket {
        Socket::Tcp(stream) => stream.into_std().map(Accepted::Tcp),
        Socket::Unix(stream) => stream.into_std().map(Accepted::Unix),
        Socket::Memory(_) => return,
    };
    match accepted {
        Ok(socket) => {
            let entry = context.sessions.enter(client);
            workers.hand_over(Arrival { socket, entry, host, route: route.clone() });
        }
        Err(error) => tracing::warn!(%error, "a client's socket cannot be used"),
    }
}

/// Tells a client that there are too many, in place of the greeting.
async fn refuse(mut socket: Socket) {
    let mut bytes = Vec::new();
    put_packets(&mut bytes, &mut 0, &ServerError::too_many_connections().payload(Capabilities::NONE));
    let tell = async {
        socket.write_all(&bytes).await?;
        socket.shutdown().await
    };
    // It was told, or it does not listen.
    let _ = timeout(Duration::from_secs(1), tell).await;
}
