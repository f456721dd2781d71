//! What a rule says of time and number: a statement's turn under `max_concurrency`, and the way out of a wait.

use std::time::Instant;

use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    relay::AHEAD,
    session::{End, Session},
};
use crate::{
    config::{Config, Rule},
    context::Kill,
    protocol::ServerError,
    telemetry::Reason,
};

/// What became of the wait for a turn.
pub enum Turn {
    /// The permit, if the statement is limited, is to be kept as long as it runs.
    Come(Option<OwnedSemaphorePermit>),
    /// There was none in time, and the client has been told.
    Refused,
}

impl Session {
    /// Waits until fewer statements of a rule run than it allows, at most for `pool.acquire_timeout`.
    pub async fn take_turn(&mut self, config: &Config, rule: &Rule) -> Result<Turn, End> {
        let Some(limit) = rule.max_concurrency else { return Ok(Turn::Come(None)) };
        let Some(places) = self.worker.context.turns.load().of(&rule.name) else { return Ok(Turn::Come(None)) };
        let calls = self.calls.clone();
        let place = tokio::select! {
            place = timeout(config.pool.acquire_timeout, places.acquire_owned()) => place,
            // Nobody will hear of it.
            () = self.client.closed(AHEAD) => return Err(End::Client),
            what = calls.stopped() => return self.stop_waiting(what).await.map(|()| Turn::Refused),
        };
        match place {
            Ok(Ok(permit)) => {
                self.now = Instant::now();
                Ok(Turn::Come(Some(permit)))
            }
            // The other error is that of a closed semaphore, which these are never.
            Ok(Err(_)) | Err(_) => {
                self.worker.shard().reason(Reason::Rejected).inc();
                self.send_error(&ServerError::no_turn(&rule.name, limit)).await?;
                Ok(Turn::Refused)
            }
        }
    }

    /// Answers a statement that was stopped before it reached a server.
    pub async fn stop_waiting(&mut self, what: Kill) -> Result<(), End> {
        match what {
            Kill::Query => self.send_error(&ServerError::interrupted()).await,
            Kill::Shutdown => Err(End::Error(ServerError::shutdown())),
            Kill::Session | Kill::Drain => Err(End::Error(ServerError::interrupted())),
        }
    }
}
