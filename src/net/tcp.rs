//! A TCP socket that asks the runtime no more than it must.
//!
//! The runtime's own read and write take the socket's locks each time they ask whether it is ready. Here a socket that is
//! known to be ready is read at once, and one that is awaited already is not waited for again: of the three waits of a
//! statement one is left out, and half of the locked instructions that a read costs. The system calls are made without the
//! C library, which makes each of them a point of cancellation.

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
                this.reader = None;
                if this.socket.poll_read_ready(cx)?.is_pending() {
                    this.reader = Some(waiter);
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
