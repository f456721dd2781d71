//! `weir run`: the proxy, until a signal ends it.

use std::process::ExitCode;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{Failed, Where, bad_config, runtime};
use crate::{
    app::{self, Running, StartError},
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
        let running = match app::start(config, source).await {
            Err(error @ (StartError::Tls(_) | StartError::Config(_))) => return Err(bad_config(&error)),
            other => other?,
        };
        announce(&running);
        follow_signals(running).await?;
        Ok(ExitCode::SUCCESS)
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

/// Returns once Weir has ended.
pub(super) async fn follow_signals(running: Running) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let control = running.context.control.clone();
    let mut asked = false;
    let ended = running.ended();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return Ok(()),
            _ = hangup.recv() => {
                let (reply, _) = oneshot::channel();
                // The log says what became of it.
                let _ = control.send(Control::Reload(reply)).await;
            }
            _ = async { tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} } } => {
                if asked {
                    tracing::warn!("a second signal: ending at once");
                    return Ok(());
                }
                asked = true;
                let (reply, _) = oneshot::channel();
                // If nobody listens, it is on its way already.
                let _ = control.send(Control::Shutdown(reply)).await;
            }
        }
    }
}
