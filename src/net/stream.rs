//! One byte stream, whatever carries it.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsStream;

use super::{compressed::Compressed, tcp::Tcp};

/// A stream before TLS.
#[derive(Debug)]
pub enum Socket {
    Tcp(Tcp),
    Unix(UnixStream),
    /// In memory: the other end is in this process.
    Memory(DuplexStream),
}

impl Socket {
    /// Registers the socket with the runtime of the calling thread. Left with another thread's, every packet would wake
    /// that thread first.
    pub fn move_here(&mut self) -> io::Result<()> {
        let (placeholder, _) = duplex(1);
        *self = match mem::replace(self, Self::Memory(placeholder)) {
            Self::Tcp(socket) => Self::Tcp(TcpStream::from_std(socket.into_inner().into_std()?)?.into()),
            Self::Unix(socket) => Self::Unix(UnixStream::from_std(socket.into_std()?)?),
            memory @ Self::Memory(_) => memory,
        };
        Ok(())
    }

    /// Whether the peer has neither said anything nor closed until now. Asks the kernel.
    pub fn is_silent(&self) -> bool {
        let mut byte = [mem::MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(socket) => SockRef::from(socket.get_ref()).peek(&mut byte),
            Self::Unix(socket) => SockRef::from(socket).peek(&mut byte),
            Self::Memory(_) => return true,
        };
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A stream as sessions use it.
#[derive(Debug)]
pub enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    Compressed(Box<Compressed>),
}

impl Stream {
    /// The socket that carries it.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Compressed(stream) => stream.carrier().socket(),
        }
    }

    /// [`Socket::move_here`] for the socket that carries it.
    pub fn move_here(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.move_here(),
            Self::Tls(stream) => stream.get_mut().0.move_here(),
            Self::Compressed(stream) => stream.carrier_mut().move_here(),
        }
    }

    pub fn is_tls(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_) => true,
            Self::Compressed(stream) => stream.carrier().is_tls(),
        }
    }
}

/// Runs one method of the carrier that stands in `$self`.
macro_rules! carried {
    ($self:expr, $kind:ident { $($variant:ident),+ }, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $($kind::$variant(inner) => {
                let $stream = Pin::new(inner);
                $call
            })+
        }
    };
}

macro_rules! carry {
    ($kind:ident { $($variant:ident),+ }) => {
        impl AsyncRead for $kind {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                carried!(self, $kind { $($variant),+ }, stream => stream.poll_read(cx, buf))
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                carried!(self, $kind { $($variant),+ }, stream => stream.poll_write(cx, buf))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                carried!(self, $kind { $($variant),+ }, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                carried!(self, $kind { $($variant),+ }, stream => stream.poll_shutdown(cx))
            }
        }
    };
}

carry!(Socket { Tcp, Unix, Memory });
carry!(Stream { Plain, Tls, Compressed });

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        runtime::{Builder, Runtime},
    };

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_socket_that_moved_does_not_need_the_runtime_it_was_made_on() {
        let (maker, user) = (runtime(), runtime());
        let (socket, mut peer) = maker.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            (socket, listener.accept().await.unwrap().0.into_std().unwrap())
        });
        let mut stream = Stream::Plain(Socket::Tcp(socket.into()));
        user.block_on(async { stream.move_here() }).unwrap();
        drop(maker);
        io::Write::write_all(&mut peer, b"here").unwrap();
        let mut received = [0; 4];
        user.block_on(async {
            stream.read_exact(&mut received).await.unwrap();
            stream.write_all(b"there").await.unwrap();
        });
        assert_eq!(&received, b"here");
    }
}
