//! How long a session keeps the connection of its last statement, so that the next one may ask about it.
//!
//! Warnings, an error, `ROW_COUNT()` and `FOUND_ROWS()` are known to the connection alone, and whatever Weir or somebody
//! else runs there changes them. So a connection that has something to tell stays with its session, as it is, until a
//! statement comes that does not ask, or `pool.linger` is over. Counts are to be told after every statement, but few
//! applications ask for them: only sessions of a user keep them who has asked before. What Weir itself must ask
//! (`inquire`) waits as long. The last value of a sequence (`LASTVAL()`) is known to its connection for good, which such
//! sessions keep to their end.

use tokio::time::sleep;

use super::{
    recall::{asks_back, asks_replicas, names},
    session::{End, Held, Session},
};
use crate::{
    session::Pins,
    sql::{Effects, Kind, Statement},
    telemetry::Pin,
};

impl Session {
    /// Waits for the next command as long as the connection of the last statement may be asked about it, and lets it go
    /// then.
    pub(super) async fn linger(&mut self) -> Result<(), End> {
        if self.may_have_ended_unheard() {
            return self.move_on().await;
        }
        let limit = self.worker.config().pool.linger;
        tokio::select! {
            biased;
            () = self.client.heard() => return Ok(()),
            () = self.calls.called() => self.entry.handle.wake(),
            () = sleep(limit) => {}
        }
        self.move_on().await
    }

    /// Whether the session holds a connection for what its last statement left there.
    pub(super) fn lingers(&self) -> bool {
        self.state.pins().has(Pin::Diagnostics)
    }

    /// Whether the connection of the last statement is to be let go, as the next one does not ask it.
    pub(super) fn moves_on(&mut self, statement: &Statement<'_>, sql: &[u8]) -> bool {
        let asks = asks_back(statement) && asks_for_counts(statement, sql) || asks_for_last_value(statement, sql);
        if asks && !self.asks {
            self.asks = true;
            self.worker.context.note_asker(&self.identity.user);
        }
        let here = |held: &Held| asks_replicas(statement) || self.worker.cluster().is_writer(&held.server);
        if asks_back(statement) && self.held.as_ref().is_some_and(here) {
            return false;
        }
        if let Some(held) = &mut self.held {
            held.lease.connection_mut().asked_back = false;
        }
        self.lingers()
    }

    /// Asks the connection of the last statement what Weir must know of it, and gives it back if nothing else pins it.
    pub(super) async fn move_on(&mut self) -> Result<(), End> {
        if !self.lingers() {
            return Ok(());
        }
        let before = self.state.pins().without(Pins::of(Pin::Diagnostics));
        self.state.set_pin(Pin::Diagnostics, false);
        if let Some(held) = self.held.take() {
            self.held = self.inquire(held).await?;
            if let Some(held) = &mut self.held {
                held.lease.connection_mut().is_aligned_to(self.state.settings());
            }
        }
        self.count_pins(before);
        self.settle();
        Ok(())
    }
}

/// Whether a statement asks for more than an insert id.
pub fn asks_for_counts(statement: &Statement<'_>, sql: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"row_count", b"found_rows", b"warning_count", b"error_count"];
    let named = |name: &&[u8]| sql.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
    statement.kind == Kind::Diagnostics || statement.effects.has(Effects::DIAGNOSTICS) && NAMES.iter().any(named)
}

/// Whether a statement asks for the last value that its connection took from a sequence.
fn asks_for_last_value(statement: &Statement<'_>, sql: &[u8]) -> bool {
    statement.effects.has(Effects::SEQUENCE) && (names(sql, b"lastval") || names(sql, b"previous"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Dialect, Mode, classify};

    #[test]
    fn an_insert_id_is_no_count() {
        let mode =
            Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };
        let cases = [
            ("SELECT LAST_INSERT_ID()", false),
            ("SELECT @@identity", false),
            ("SELECT 'ROW_COUNT'", false),
            ("SELECT row_count()", true),
            ("SELECT LAST_INSERT_ID(), FOUND_ROWS()", true),
            ("SELECT @@warning_count", true),
            ("SHOW WARNINGS", true),
            ("GET DIAGNOSTICS @n = NUMBER", true),
            ("SHOW COUNT(*) ERRORS", true),
        ];
        for (sql, expected) in cases {
            assert_eq!(asks_for_counts(&classify(sql.as_bytes(), mode), sql.as_bytes()), expected, "{sql}");
        }
    }
}
