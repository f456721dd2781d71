//! Builds a running Weir from a config, and takes it down again.
//!
//! Threads: one control thread (probes, doors, reload, accepting) and one thread for each worker, each with a runtime of
//! its own, so that nothing on the control side can delay a statement.

mod acceptor;
mod console;
mod control;
mod doors;
mod files;
mod monitor;
mod names;
mod reload;
mod servers;
mod shutdown;
pub mod stored_code;
mod workers;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, thread};

use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::LocalSet,
};

use crate::{
    config::{Config, Problems},
    context::{Context, Control},
    net::tls::TlsError,
    protocol::auth::{KeyError, RsaKey},
    telemetry::Metrics,
};

/// Where a config came from, and so where a reload looks.
#[derive(Debug, Clone)]
pub enum Source {
    File(PathBuf),
    /// The command line: there is nothing to reload.
    Flags,
}

/// Why Weir does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: io::Error },
    #[error("the kernel does not know the congestion control {name:?}: {error}")]
    CongestionControl { name: String, error: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Files(#[from] files::TooFew),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    #[error("the configuration cannot be used:\n{0}")]
    Config(#[from] Problems),
    #[error("the control thread ended before it was ready")]
    Died,
}

/// Where a running Weir can be reached.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// In the order of the config; None for a Unix socket.
    pub listeners: Vec<Option<SocketAddr>>,
    pub console: Option<SocketAddr>,
    pub http: Option<SocketAddr>,
}

/// A running Weir.
#[derive(Debug)]
pub struct Running {
    pub addresses: Addresses,
    pub context: Arc<Context>,
    thread: thread::JoinHandle<()>,
}

/// How Weir ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Orderly,
    /// The control thread panicked, and reported it.
    Panicked,
}

/// How many control requests may wait.
const CONTROL_QUEUE: usize = 64;

/// Starts Weir: returns once its listeners accept and every server was probed once.
///
/// # Errors
/// A listener that cannot be bound, a certificate that cannot be used, more clients and connections than files may be open.
pub async fn start(config: Config, source: Source) -> Result<Running, StartError> {
    files::check(&config, files::raise())?;
    let (ready, started) = oneshot::channel();
    let thread = thread::Builder::new().name("weir-control".to_owned()).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // Nobody to tell means that the caller is gone.
                let _ = ready.send(Err(error.into()));
                return;
            }
        };
        LocalSet::new().block_on(&runtime, control::run(config, source, ready));
    })?;
    let (addresses, context) = started.await.map_err(|_| StartError::Died)??;
    Ok(Running { addresses, context, thread })
}

impl Running {
    /// Asks for a shutdown: drain, then exit. Asked again, it ends at once. Does not wait.
    pub fn shut_down(&self) {
        let (reply, _) = oneshot::channel();
        // A full queue or a closed one: it is on its way already.
        let _ = self.context.control.try_send(Control::Shutdown(reply));
    }

    /// Waits for its end.
    pub async fn ended(self) -> Ended {
        let thread = self.thread;
        // The other way to fail is that the runtime ends before the task has begun.
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Err(_)) => Ended::Panicked,
            Ok(Ok(())) | Err(_) => Ended::Orderly,
        }
    }
}

/// What everything shares, before anything is known of the servers.
fn context(
    config: &Arc<Config>,
    workers: usize,
) -> Result<(Arc<Context>, mpsc::Receiver<Control>, mpsc::Receiver<servers::Failure>), StartError> {
    let metrics = Arc::new(Metrics::new(workers));
    let links = Arc::new(servers::links(config)?);
    let cluster = servers::cluster(config, &links, &metrics, None);
    let (control, requests) = mpsc::channel(CONTROL_QUEUE);
    let (failures, failed) = mpsc::channel(CONTROL_QUEUE);
    let rsa = RsaKey::generate()?;
    let context = Context::new(config.clone(), cluster, metrics, control, failures, rsa);
    context.tls.store(servers::client_tls(config)?);
    Ok((Arc::new(context), requests, failed))
}
