//! Opens the operator's doors: the SQL console and HTTP.

use std::{net::SocketAddr, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};

use super::{StartError, acceptor::Bound, console};
use crate::{
    admin::{Doors, Readiness, http},
    config::Config,
    context::Context,
};

/// The tasks of the doors, and where the console and HTTP can be reached.
type Opened = (Vec<JoinHandle<()>>, Option<SocketAddr>, Option<SocketAddr>);

/// Opens what the config asks for.
pub async fn open(
    config: &Config,
    context: &Arc<Context>,
    readiness: &watch::Receiver<Readiness>,
) -> Result<Opened, StartError> {
    let doors =
        Doors { control: context.control.clone(), metrics: context.metrics.clone(), readiness: readiness.clone() };
    let (mut tasks, mut console_address, mut http_address) = (Vec::new(), None, None);
    if let Some(address) = &config.admin.console {
        let bound = Bound::new(address).await?;
        console_address = bound.address();
        tasks.push(tokio::task::spawn_local(console::serve(bound, context.clone(), doors.clone())));
    }
    if let Some(address) = &config.admin.http {
        let bound = Bound::new(address).await?;
        http_address = bound.address();
        tasks.push(tokio::task::spawn_local(serve_http(bound, doors)));
    }
    Ok((tasks, console_address, http_address))
}

/// Serves until the task is aborted.
async fn serve_http(bound: Bound, doors: Doors) {
    let never = std::future::pending();
    let ended = match bound {
        Bound::Tcp(listener) => http::serve(listener, doors, never).await,
        Bound::Unix(listener, _file) => http::serve(listener, doors, never).await,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "HTTP is closed");
    }
}
