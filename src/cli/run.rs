//! `weir run`: the proxy, until a signal ends it.

use std::process::ExitCode;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{Failed, Where, bad_config, exit, runtime};
use crate::{
    app::{self, Ended, Running, StartError},
    config::LogFormat,
    context::Control,
    telemetry::logging::{self, Format},
};

/// Runs until SIGTERM or SIGINT, which drain; a second one ends at once. SIGHUP reloads.
pub(super) fn run(place: &Where) -> Result<ExitCode, Failed> {
    let (config, source) = place.load()?;
    let format = match config.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    logging::init(&config.log.level, format)?;
    runtime()?.block_on(async {
        let signals = Signals::new()?;
        let running = match app::start(config, source).await {
            Err(
                error @ (StartError::Tls(_)
                | StartError::Config(_)
                | StartError::Files(_)
                | StartError::CongestionControl { .. }),
            ) => {
                return Err(bad_config(&error));
            }
            other => other?,
        };
        announce(&running);
        Ok(match signals.follow(running).await {
            Ended::Orderly => ExitCode::SUCCESS,
            Ended::Panicked => ExitCode::from(exit::FAILURE),
        })
    })
}

fn announce(running: &Running) {
    for address in running.addresses.listeners.iter().flatten() {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = running.addresses.console {
        tracing::info!(%address, "the console is open");
    }
    if let Some(address) = running.addresses.http {
        tracing::info!(%address, "HTTP is open");
    }
}

/// The signals that Weir follows. Those that come while it starts are kept until it has started.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns once Weir has ended.
    pub(super) async fn follow(mut self, running: Running) -> Ended {
        let control = running.context.control.clone();
        let ended = running.ended();
        tokio::pin!(ended);
        loop {
            let request = tokio::select! {
                ended = &mut ended => return ended,
                // The log says what became of it.
                _ = self.hangup.recv() => Control::Reload(oneshot::channel().0),
                _ = self.terminate.recv() => Control::Shutdown(oneshot::channel().0),
                _ = self.interrupt.recv() => Control::Shutdown(oneshot::channel().0),
            };
            // If nobody listens, it is on its way down already.
            let _ = control.send(request).await;
        }
    }
}
