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
        let context = context.clone();
        Self::start_with(count, move |index| {
            let worker = Worker::new(index, context.clone());
            move |arrival| serve(worker.clone(), arrival)
        })
    }

    /// `prepare` runs on each thread, and makes what serves that thread's clients.
    fn start_with<S, F>(count: usize, prepare: impl Fn(usize) -> S + Clone + Send + 'static) -> io::Result<Self>
    where
        S: Fn(Arrival) -> F,
        F: Future<Output = ()> + 'static,
    {
        let start = |index| {
            let (arrivals, receiver) = mpsc::unbounded_channel();
            let prepare = prepare.clone();
            // A local runtime belongs to the thread that builds it, so the thread tells whether there is one.
            let (built, outcome) = std::sync::mpsc::channel();
            let thread = thread::Builder::new().name(format!("weir-worker-{index}")).spawn(move || {
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        // Who asked waits for it, or is gone.
                        let _ = built.send(Ok(()));
                        // Ends once the channel is closed. A session that is still there then is cut.
                        runtime.block_on(receive(receiver, prepare(index)));
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
        // A thread that panicked takes no more clients, and would be the least busy of all.
        let alive = self.workers.iter().filter(|worker| !worker.arrivals.is_closed());
        let Some(worker) = alive.min_by_key(|worker| worker.sessions.load(Relaxed)) else {
            tracing::error!("no worker is left");
            return;
        };
        worker.sessions.fetch_add(1, Relaxed);
        let seat = Seat(worker.sessions.clone());
        // If the worker panics just now, the client is sent away.
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

/// Serves each client in a task of its own, so that a panic ends that client's session alone.
async fn receive<F>(mut arrivals: mpsc::UnboundedReceiver<(Arrival, Seat)>, serve: impl Fn(Arrival) -> F)
where
    F: Future<Output = ()> + 'static,
{
    while let Some((arrival, seat)) = arrivals.recv().await {
        let served = serve(arrival);
        tokio::task::spawn_local(async move {
            let _seat = seat;
            served.await;
        });
    }
}

async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let Arrival { socket, entry, host, route } = arrival;
    match adopt(socket) {
        Ok(socket) => proxy::serve(worker, Stream::Plain(socket), entry, host, route).await,
        Err(error) => tracing::warn!(%error, "a client's socket cannot be used"),
    }
}

/// Makes the socket this thread's runtime's own.
fn adopt(socket: Accepted) -> io::Result<Socket> {
    Ok(match socket {
        Accepted::Tcp(socket) => Socket::Tcp(TcpStream::from_std(socket)?.into()),
        Accepted::Unix(socket) => Socket::Unix(UnixStream::from_std(socket)?),
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::context::Registry;

    fn arrival(registry: &Arc<Registry>, host: &str) -> Arrival {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let (entry, host) = (registry.enter(host.to_owned()), host.to_owned());
        Arrival { socket: Accepted::Unix(socket), entry, host, route: Route::Split }
    }

    #[test]
    fn a_panic_takes_nobody_else_down() {
        let (served, hosts) = mpsc::channel();
        let registry = Arc::<Registry>::default();
        let workers = Workers::start_with(2, move |index| {
            assert_ne!(index, 0, "this thread panics before its first client");
            let served = served.clone();
            move |arrival: Arrival| {
                let served = served.clone();
                async move {
                    tokio::task::yield_now().await;
                    assert_ne!(arrival.host, "panics");
                    served.send(arrival.host).unwrap();
                }
            }
        });
        let workers = workers.unwrap();
        let dead = workers.workers[0].arrivals.clone();
        while !dead.is_closed() {
            std::thread::yield_now();
        }
        for host in ["a", "panics", "b", "panics", "c"] {
            workers.hand_over(arrival(&registry, host));
        }
        let mut served: Vec<_> = (0..3).map(|_| hosts.recv_timeout(Duration::from_secs(30)).unwrap()).collect();
        served.sort();
        assert_eq!(served, ["a", "b", "c"]);
        let counts: Vec<_> = workers.workers.iter().map(|worker| worker.sessions.clone()).collect();
        workers.join();
        assert_eq!(registry.count(), 0, "nobody is left in the registry");
        assert!(counts.iter().all(|count| count.load(Relaxed) == 0), "nor in the workers' counts");
    }
}
