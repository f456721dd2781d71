//! A TCP socket that asks the runtime no more than it must.
//!
//! The runtime's own read and write take the socket's locks each time they ask whether it is ready. Here a socket that is
//! known to be ready is read at once, and one that is awaited already is not waited for again: of the three waits of a
//! statement one is left out. The system calls are made without the C library, which makes each a point of cancellation.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{RecvFlags, SendFlags, recv, send},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::coop,
};

/// A TCP socket.
#[derive(Debug)]
pub struct Tcp {
    socket: TcpStream,
    /// Who is woken as soon as there is something to read. Nobody once the socket was read.
    reader: Option<Waiter>,
}

/// A task, as its waker tells it: while the runtime keeps the waker, no other task has this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiter {
    data: usize,
    vtable: usize,
}

impl Waiter {
    fn of(waker: &Waker) -> Self {
        Self { data: waker.data().addr(), vtable: std::ptr::from_ref(waker.vtable()).addr() }
    }
}

impl From<TcpStream> for Tcp {
    fn from(socket: TcpStream) -> Self {
        Self { socket, reader: None }
    }
}

impl Tcp {
    /// For its addresses and options.
    pub fn get_ref(&self) -> &TcpStream {
        &self.socket
    }

    pub fn into_inner(self) -> TcpStream {
        self.socket
    }

    /// Whether the peer has neither said anything nor closed, as far as the runtime has heard. What it said is lost.
    pub fn is_quiet(&mut self) -> bool {
        matches!(self.receive(&mut [0]), None | Some(Err(Errno::AGAIN)))
    }

    /// None: there is nothing yet, as far as the runtime has heard, and whoever waits goes on waiting.
    fn receive(&mut self, bytes: &mut [u8]) -> Option<Result<usize, Errno>> {
        let wanted = bytes.len();
        let received = attempt(&self.socket, Interest::READABLE, wanted, || {
            recv(&self.socket, &mut *bytes, RecvFlags::empty()).map(|(_, count)| count)
        });
        if received.is_some() {
            self.reader = None;
        }
        received
    }
}

/// Makes a system call if the socket is ready, as far as the runtime has heard. None: it is not.
fn attempt(
    socket: &TcpStream,
    interest: Interest,
    wanted: usize,
    mut call: impl FnMut() -> Result<usize, Errno>,
) -> Option<Result<usize, Errno>> {
    let mut outcome = None;
    // What the call gave is in `outcome`; what this returns tells the runtime whether the socket is ready still.
    let _ = socket.try_io(interest, || {
        let result = retry_on_intr(&mut call);
        outcome = Some(result);
        match result {
            // Less than wanted is all there is. The kernel tells when there is more.
            Ok(count) if 0 < count && count < wanted => Err(io::ErrorKind::WouldBlock.into()),
            result => result.map_err(io::Error::from),
        }
    });
    outcome
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let waiter = Waiter::of(cx.waker());
        loop {
            let waits = this.reader == Some(waiter);
            if !waits {
                // A task that has used up its turn is told to come again, and waits for nothing.
                let may_wait = coop::has_budget_remaining();
                this.reader = None;
                if this.socket.poll_read_ready(cx)?.is_pending() {
                    this.reader = may_wait.then_some(waiter);
                    return Poll::Pending;
                }
            }
            match this.receive(buf.initialize_unfilled()) {
                Some(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                None if waits => return Poll::Pending,
                Some(Err(Errno::AGAIN)) | None => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let socket = &self.get_mut().socket;
        loop {
            match attempt(socket, Interest::WRITABLE, buf.len(), || send(socket, buf, SendFlags::NOSIGNAL)) {
                Some(Ok(count)) => return Poll::Ready(Ok(count)),
                Some(Err(Errno::AGAIN)) | None => ready!(socket.poll_write_ready(cx))?,
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    async fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near.into(), listener.accept().await.unwrap().0)
    }

    fn poll(socket: &mut Tcp, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = [0; 16];
        let mut buf = ReadBuf::new(&mut bytes);
        ready!(Pin::new(socket).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().to_vec()))
    }

    #[tokio::test]
    async fn whoever_waits_last_is_woken() {
        let (mut socket, mut peer) = pair().await;
        for word in [&b"one"[..], b"two"] {
            assert!(poll(&mut socket, &mut Context::from_waker(Waker::noop())).is_pending());
            let reader = tokio::spawn(async move {
                let first = poll_fn(|cx| Poll::Ready(poll(&mut socket, cx).is_pending())).await;
                let again = poll_fn(|cx| Poll::Ready(poll(&mut socket, cx).is_pending())).await;
                assert!(first && again, "nothing was written yet");
                (poll_fn(|cx| poll(&mut socket, cx)).await.unwrap(), socket)
            });
            tokio::task::yield_now().await;
            peer.write_all(word).await.unwrap();
            let (read, back) = reader.await.unwrap();
            assert_eq!(read, word);
            socket = back;
        }
        drop(peer);
        assert_eq!(poll_fn(|cx| poll(&mut socket, cx)).await.unwrap(), b"", "the end of the stream");
    }

    #[tokio::test]
    async fn a_look_in_between_does_not_cost_the_reader_its_wakeup() {
        let (mut socket, mut peer) = pair().await;
        assert!(socket.is_quiet());
        assert!(poll_fn(|cx| Poll::Ready(poll(&mut socket, cx).is_pending())).await);
        assert!(socket.is_quiet());
        peer.write_all(b"ab").await.unwrap();
        socket.get_ref().readable().await.unwrap();
        assert!(!socket.is_quiet(), "it takes the first byte");
        assert_eq!(poll_fn(|cx| poll(&mut socket, cx)).await.unwrap(), b"b");
        // The kernel has nothing more, which only a call can tell.
        assert!(poll_fn(|cx| Poll::Ready(poll(&mut socket, cx).is_pending())).await);
        peer.write_all(b"c").await.unwrap();
        assert_eq!(poll_fn(|cx| poll(&mut socket, cx)).await.unwrap(), b"c");
    }

    #[tokio::test]
    async fn a_reader_that_has_used_up_its_turn_waits_all_the_same() {
        let (mut socket, mut peer) = pair().await;
        let reader = tokio::spawn(async move {
            let mut turn = 0;
            poll_fn(|cx| {
                turn += 1;
                while turn == 1 && coop::has_budget_remaining() {
                    let Poll::Ready(step) = coop::poll_proceed(cx) else { break };
                    step.made_progress();
                }
                poll(&mut socket, cx)
            })
            .await
        });
        // It has come again, and waits.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        peer.write_all(b"late").await.unwrap();
        assert_eq!(timeout(Duration::from_secs(10), reader).await.unwrap().unwrap().unwrap(), b"late");
    }

    #[tokio::test]
    async fn more_than_the_peer_takes_waits_for_it() {
        let (mut socket, mut peer) = pair().await;
        let sent = vec![7; 16 << 20];
        let expected = sent.clone();
        let writer = tokio::spawn(async move { socket.write_all(&sent).await });
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap().unwrap();
        assert!(received == expected, "{} bytes", received.len());
    }
}
