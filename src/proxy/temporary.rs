//! Reads beside a temporary table, or beside a connection whose id the session knows. A session that is pinned by nothing
//! else still reads from replicas what is not in its temporary tables: such a read, and a question about it, runs as if
//! the session held no connection. What a replica does not find, because a stored function looks for a temporary table,
//! runs where the table is.

use super::{
    linger::asks_for_counts,
    recall::{asks_back, names_insert_id},
    request::{Body, Request},
    session::{End, Held, Session},
};
use crate::{
    config::Config,
    routing::{self, Implicit, Situation, Target},
    session::{Aside, Pins},
    sql::{Effects, Hint, Kind},
    telemetry::Pin,
};

/// The pins beside which there are reads.
const BESIDE: [Pin; 2] = [Pin::TemporaryTable, Pin::ConnectionId];

/// The connection with the temporary tables, and what pins the session to it.
pub struct Parked {
    held: Held,
    aside: Aside,
}

impl Session {
    /// Whether a request is to run beside the connection that the session holds.
    pub(super) fn runs_beside(&self, config: &Config, request: &Request<'_>) -> bool {
        let others = BESIDE.iter().fold(self.state.pins(), |pins, pin| pins.without(Pins::of(*pin)));
        if !others.is_empty() || self.held.is_none() || !self.state.autocommit() || !config.pool.multiplex {
            return false;
        }
        // Who asks for counts would find the replica's connection with somebody else by then.
        self.asks_about_read_beside(request) || !self.asks && self.reads_beside(config, request)
    }

    /// Whether it reads what is not in the session's temporary tables, and may go to a replica.
    fn reads_beside(&self, config: &Config, request: &Request<'_>) -> bool {
        let statement = &request.statement;
        let text = matches!(&request.body, Body::Plain(_) | Body::Execute { .. }) && !request.sql.is_empty();
        let plain = statement.kind == Kind::Read && statement.effects == Effects::NONE;
        if !text || !plain || statement.hint == Some(Hint::Writer) {
            return false;
        }
        let situation = Situation { route: &self.route, held: None, transaction: Implicit::None };
        let decision = routing::route(&situation, statement, self.rule(config, request));
        matches!(decision.target, Target::Reader | Target::Group(_))
            && !self.state.may_touch_temporary(request.sql, self.mode())
    }

    /// Whether it asks about a statement that ran beside.
    fn asks_about_read_beside(&self, request: &Request<'_>) -> bool {
        let elsewhere = match (&self.last_used, &self.held) {
            (Some(last), Some(held)) => !last.is(held),
            _ => false,
        };
        // The insert id alone is the session's, and may be known to the connection with the tables only.
        let of_session = |sql| names_insert_id(sql) && self.state.insert_id().is_none();
        let asks = |statement, sql| asks_for_counts(statement, sql) && !of_session(sql);
        elsewhere && asks_back(&request.statement) && asks(&request.statement, request.sql)
    }

    /// Runs a request as if the session held nothing.
    pub(super) async fn run_beside(&mut self, request: Request<'_>) -> Result<(), End> {
        if let Some(held) = self.held.take() {
            self.parked = Some(Parked { held, aside: self.state.set_aside() });
        }
        let mut ran = self.run_where_held(request).await;
        // Where the tables are, it is asked as ever.
        if ran.is_ok() && self.parked.is_some() {
            // What it left is asked for at once, so that nothing of it is taken for the other connection's.
            ran = self.move_on().await;
        }
        if let Some(mut held) = self.return_to_tables() {
            held.lease.connection_mut().prove_clean();
            self.put_aside(held);
        }
        ran
    }

    /// Goes back to the connection with the temporary tables. Returns the one that the session has used meanwhile, if
    /// nothing of the session is left on it; a function in a view may have left something, and it is gone.
    pub(super) fn return_to_tables(&mut self) -> Option<Held> {
        let Parked { held, aside } = self.parked.take()?;
        let free = self.state.take_back(aside);
        let used = self.held.replace(held)?;
        if free {
            return Some(used);
        }
        used.lease.discard();
        None
    }
}
