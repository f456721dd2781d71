//! How much of Weir HTTP clients may use up: so many connections, and so long a silence.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// A listener whose connections are bounded in number and in silence.
pub(super) struct Bounded<L> {
    listener: L,
    slots: Arc<Semaphore>,
    silence: Duration,
}

impl<L> Bounded<L> {
    /// `connections`: how many at one time; further ones wait in the listener's queue. `silence`: how long a
    /// connection may neither send nor take a byte.
    pub(super) fn new(listener: L, connections: usize, silence: Duration) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(connections)), silence }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = self.listener.accept().await;
        let end = Box::pin(sleep(self.silence));
        (Connection { stream, silence: self.silence, end, _slot: slot }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A stream that fails when nothing moved on it for too long.
pub(super) struct Connection<S> {
    stream: S,
    silence: Duration,
    /// When it fails unless something moves.
    end: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl<S> Connection<S> {
    /// Passes on what an operation said; while it waits, the end comes closer.
    fn bound<T>(&mut self, cx: &mut Context<'_>, operation: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if operation.is_ready() {
            self.end.as_mut().reset(Instant::now() + self.silence);
            return operation;
        }
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the HTTP client fell silent")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let operation = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.bound(cx, operation)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let operation = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bound(cx, operation)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let operation = Pin::new(&mut self.stream).poll_flush(cx);
        self.bound(cx, operation)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let operation = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bound(cx, operation)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn a_silent_connection_fails_and_frees_its_slot() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silence = Duration::from_millis(200);
        let mut bounded = Bounded::new(listener, 1, silence);
        let _clients = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let (mut first, _) = bounded.accept().await;
        assert!(timeout(silence / 2, bounded.accept()).await.is_err(), "there is one slot");
        let silent = first.read_u8().await.unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        drop(first);
        timeout(silence * 50, bounded.accept()).await.expect("the slot is free again");
    }
}
