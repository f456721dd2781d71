//! The worker threads. Each has a runtime of its own and owns the sessions it was given to their end.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use tokio::{
    net::{TcpStream, UnixStream},
    runtime::{Builder, LocalOptions},
    sync::mpsc,
};

use crate::{
    config::Route,
    context::{Context, Entry},
    net::{Socket, Stream},
    proxy::{self, Worker},
};

/// A client on its way to a worker.
pub struct Arrival {
    pub socket: Accepted,
    pub entry: Entry,
    pub host: String,
    pub route: Route,
}

/// A socket that belongs to no runtime yet.
pub enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// All workers.
pub struct Workers {
    workers: Vec<Thread>,
}

struct Thread {
    arrivals: mpsc::UnboundedSender<(Arrival, Seat)>,
    sessions: Arc<AtomicUsize>,
    thread: thread::JoinHandle<()>,
}

/// A session's place with its worker, counted as long as it lives.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(count: usize, context: &Arc<Context>) -> io::Result<Self> {
        let start = |index| {
            let (arrivals, receiver) = mpsc::unbounded_channel();
            let context = context.clone();
            // A local runtime belongs to the thread that builds it, so the thread tells whether there is one.
            let (built, outcome) = std::sync::mpsc::channel();
            let thread = thread::Builder::new().name(format!("weir-worker-{index}")).spawn(move || {
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        // Who asked waits for it, or is gone.
                        let _ = built.send(Ok(()));
                        // Ends once the channel is closed. A session that is still there then is cut.
                        runtime.block_on(receive(receiver, Worker::new(index, context)));
                    }
                    Err(error) => drop(built.send(Err(error))),
                }
            })?;
            outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the worker ended at once")))?;
            Ok(Thread { arrivals, sessions: Arc::default(), thread })
        };
        Ok(Self { workers: (0..count).map(start).collect::<io::Result<_>>()? })
    }

    /// Hands a client to the least busy worker.
    pub fn hand_over(&self, arrival: Arrival) {
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.sessions.load(Relaxed)) else { return };
        worker.sessions.fetch_add(1, Relaxed);
        let seat = Seat(worker.sessions.clone());
        // A worker ends only after its channel is closed.
        let _ = worker.arrivals.send((arrival, seat));
    }

    /// Closes the channels and waits for the threads. Sessions had their time: what is left of them is cut.
    pub fn join(self) {
        for Thread { arrivals, thread, .. } in self.workers {
            drop(arrivals);
            // A panic of the thread was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

async fn receive(mut arrivals: mpsc::UnboundedReceiver<(Arrival, Seat)>, worker: Rc<Worker>) {
    while let Some((arrival, seat)) = arrivals.recv().await {
        let worker = worker.clone();
        tokio::task::spawn_local(async move {
            let Arrival { socket, entry, host, route } = arrival;
            match adopt(socket) {
                Ok(socket) => proxy::serve(worker, Stream::Plain(socket), entry, host, route).await,
                Err(error) => tracing::warn!(%error, "a client's socket cannot be used"),
            }
            drop(seat);
        });
    }
}

/// Makes the socket this thread's runtime's own.
fn adopt(socket: Accepted) -> io::Result<Socket> {
    Ok(match socket {
        Accepted::Tcp(socket) => Socket::Tcp(TcpStream::from_std(socket)?),
        Accepted::Unix(socket) => Socket::Unix(UnixStream::from_std(socket)?),
    })
}
