//! The log line of a statement that took long (`log.slow_statement`). It names the statement by its digest and its
//! normalised text: values are the users' own and never reach a log.

use std::time::Instant;

use super::{request::Request, session::Session};
use crate::{
    config::{Config, ServerId},
    sql,
    telemetry::Reason,
};

/// Characters of the normalised text that are logged.
const LONGEST: usize = 1000;

impl Session {
    /// Logs the statement if it took as long as the config says, from its arrival to the end of its reply now, waits
    /// included.
    pub fn note_if_slow(
        &self,
        config: &Config,
        request: &Request<'_>,
        server: &ServerId,
        reason: Reason,
        arrived: Instant,
    ) {
        let Some(limit) = config.log.slow_statement else { return };
        let took = self.now - arrived;
        if took < limit {
            return;
        }
        let mode = self.mode();
        let statement: String = sql::normalised(request.sql, mode).chars().take(LONGEST).collect();
        tracing::warn!(
            session = self.entry.handle.id,
            user = %self.identity.user,
            %server,
            %reason,
            duration_ms = took.as_millis() as u64,
            digest = %sql::digest(request.sql, mode),
            statement,
            "slow statement"
        );
    }
}
