//! Reads beside a temporary table, or beside a connection whose id the session knows. A session that is pinned by nothing
//! else still reads from replicas what is not in its temporary tables: such a read, and a question about it, runs as if
//! the session held no connection (`parked`). What a replica does not find, because a stored function looks for a temporary
//! table, runs where the table is.

use std::sync::Arc;

use super::{
    insert_id::names_insert_id,
    linger::asks_for_counts,
    recall::asks_back,
    request::{Body, Request},
    session::Session,
};
use crate::{
    backend::Server,
    config::Config,
    routing::{self, Implicit, Situation, Target},
    session::Pins,
    sql::{Effects, Hint, Kind},
    telemetry::Pin,
};

/// The pins beside which there are reads.
const BESIDE: [Pin; 2] = [Pin::TemporaryTable, Pin::ConnectionId];

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

    /// Where a read that runs beside can run as well: the server of the connection that the session holds.
    pub(super) fn home(&self, config: &Config, request: &Request<'_>) -> Option<Arc<Server>> {
        let reads = request.statement.kind == Kind::Read && request.statement.effects == Effects::NONE;
        let may = reads && !request.fetches() && config.reads.writer_fallback;
        self.parked.as_ref().filter(|_| may).map(|parked| parked.server().clone())
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
}
