//! What a session learns from a complete reply: writes that reads must see, statements, pins.

use std::sync::Arc;

use super::{
    observe::Exchanged,
    request::{Body, Request},
    session::{End, Held, Session},
};
use crate::{
    backend::Reports,
    protocol::{Capabilities, Shape},
    session::Pins,
    sql::{Access, Dialect, Effects, Kind, Statement},
    telemetry::{Pin, Reason},
};

impl Session {
    /// Learns what the reply said, and keeps the connection for [`Session::settle`] to judge.
    pub(super) fn finish(
        &mut self,
        mut held: Held,
        request: &Request<'_>,
        exchanged: &Exchanged,
        reason: Reason,
    ) -> Result<(), End> {
        self.count_on_server(&held, request, exchanged);
        // ER_UNKNOWN_COM_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR, ER_MALFORMED_PACKET: the dump has not begun.
        if request.shape == Shape::Events && !matches!(exchanged.error, Some(1047 | 1227 | 1835)) {
            // Servers close behind a dump, however it ended.
            held.lease.discard();
            return Err(End::Client);
        }
        let pins = self.state.pins();
        self.follow_cursor(&mut held, request, exchanged);
        if request.fetches() {
            held.lease.connection_mut().used = self.now;
            self.held = Some(held);
            return Ok(());
        }
        self.learn_of_writes(&held, request, exchanged, reason);
        if exchanged.error.is_none() && self.ends_with(request, held.lease.connection()) {
            held.lease.discard();
            return Err(End::Client);
        }
        if matches!(request.body, Body::Prepare { .. }) && held.lease.connection().dialect() == Dialect::MariaDb {
            self.statements.set_latest(exchanged.prepared.map(|(id, _)| id));
        }
        self.warnings = exchanged.warnings.max(exchanged.error.is_some().into());
        self.learn_from_text(&held, request, exchanged);
        if self.may_have_ended(request, &held, exchanged.error) {
            self.unread.get_or_insert_default().ended = true;
        }
        if self.asks && request.ran().effects.has(Effects::SEQUENCE) {
            self.state.set_pin(Pin::Unattributed, true);
        }
        match exchanged.error {
            Some(_) => self.unfit_form(held.lease.connection_mut(), request, exchanged.error),
            None => self.remember_statement(&mut held, request, exchanged),
        }
        let effects = request.statement.effects;
        let asked_back = exchanged.error.is_some() || exchanged.warnings > 0 || effects.has(Effects::CALC_FOUND_ROWS);
        self.learn_insert_id(&mut held, request, exchanged);
        self.note_use(&mut held, asked_back);
        self.state.set_pin(Pin::Diagnostics, false);
        self.note_tracking(request);
        self.note_doubt(&request.ran(), exchanged, pins.without(Pins::of(Pin::Diagnostics)));
        let lingers = asked_back || self.asks || self.must_inquire();
        self.state.set_pin(Pin::Diagnostics, lingers);
        held.lease.connection_mut().is_aligned_to(self.state.settings());
        self.held = Some(held);
        Ok(())
    }

    pub(super) fn count_pins(&self, before: Pins) {
        for pin in self.state.pins().without(before).iter() {
            self.worker.shard().pin(pin).inc();
        }
    }

    /// Remembers what reads must see from now on, beyond the positions that the reply told.
    fn learn_of_writes(&mut self, held: &Held, request: &Request<'_>, exchanged: &Exchanged, reason: Reason) {
        let told = self.state.take_told();
        let Statement { kind, effects, .. } = request.statement;
        // A replica may have refused it for a function behind a view.
        let unknown = effects.has(Effects::UNKNOWN_FUNCTION) || reason == Reason::UnknownFunction;
        let wrote = reason == Reason::Transaction || request.may_write() || unknown;
        let unseen = match exchanged.error {
            // Parts of it may be committed, or the transaction that DDL ends, and an error tells no position.
            Some(_) if kind == Kind::Transaction => false,
            Some(_) => request.may_write() && (kind == Kind::Ddl || !request.is_atomic_write()),
            None if told || !wrote => false,
            // Only an OK tells positions, and only those that count writes have some to tell.
            None => {
                let eof = !held.lease.connection().capabilities.has(Capabilities::DEPRECATE_EOF);
                let untold = held.lease.connection().reports == Reports::Chosen;
                let blind = untold || !self.worker.cluster().has_positions;
                blind || eof && kind == Kind::Read && unknown
            }
        };
        if unseen {
            self.note_unseen_write();
        }
    }

    pub(super) fn note_unseen_write(&mut self) {
        self.state.wrote_unseen(self.now);
        self.worker.context.wrote_unseen(self.now);
    }

    fn remember_statement(&mut self, held: &mut Held, request: &Request<'_>, exchanged: &Exchanged) {
        if let Body::Prepare { text, .. } = &request.body
            && let Some((id, prepared)) = exchanged.prepared
        {
            let connection = held.lease.connection_mut();
            let mut types = connection.parameter_types(&prepared);
            for (place, definition) in exchanged.parameters.iter().enumerate() {
                // What cannot be read stays unknown.
                let _ = types.as_mut().map(|types| types.define(place, definition));
            }
            connection.remember_statement(Arc::clone(text), prepared.statement, types);
            self.statements.insert(id, Arc::clone(text), prepared.parameters);
            if let Some(statement) = self.statements.find(id) {
                statement.columns = exchanged.columns;
            }
        }
    }

    fn count_on_server(&self, held: &Held, request: &Request<'_>, exchanged: &Exchanged) {
        let shard = held.server.metrics.shard(self.worker.index);
        if exchanged.error.is_some() {
            shard.errors.inc();
        }
        match request.statement.kind {
            Kind::Begin(Access::ReadOnly | Access::ReadWrite) => shard.transactions.inc(),
            // Its begin was counted.
            Kind::Transaction => {}
            Kind::Read => shard.reads.inc(),
            _ => shard.writes.inc(),
        }
        self.worker.shard().bytes_out.add(exchanged.sent);
    }
}
