//! Cursors: an execute that asks for one leaves its rows on the server, and the client fetches them when it likes.
//!
//! Servers put the rows into a temporary table when the cursor is opened. From then on it depends on its connection alone,
//! not on transactions, locks, or what becomes of the tables. So an execute goes where it would go without a cursor, the
//! session keeps that connection (`dedicated`), and what else it does goes where it would go anyway. A fetch leaves all else
//! as it was: it is no statement.

use std::sync::Arc;

use super::{
    exchange::Failure,
    observe::Exchanged,
    request::{Body, Request},
    session::{End, Held, Session},
};
use crate::{
    protocol::{BulkExecute, Execute, ServerError, Shape, Status},
    sql::{Dialect, Effects, Kind, Statement},
    telemetry::Pin,
};

const FETCH: Statement<'static> = Statement { kind: Kind::Read, effects: Effects::NONE, hint: None };

impl Session {
    pub(super) async fn fetch(&mut self, id: u32, payload: &[u8]) -> Result<(), End> {
        let Some(statement) = self.statements.find(id) else {
            return self.send_error(&self.unknown_statement(id, "mysqld_stmt_fetch")).await;
        };
        let Some(text) = statement.cursor().cloned() else {
            let stop = if self.mode().dialect == Dialect::MySql { "." } else { "" };
            return self.send_error(&ServerError::no_open_cursor(id, stop)).await;
        };
        let body = Body::Fetch { payload, text: &text, id };
        let mut request = Request { body, ..Request::plain(payload, Shape::Rows, FETCH) };
        let config = self.worker.config();
        let has_it = |held: &Held| held.lease.connection().statements.has(&text);
        if self.held.as_ref().is_some_and(has_it) {
            return self.run_where_held(&config, &mut request).await;
        }
        match self.dedicated.take_that(has_it) {
            Some(held) => self.run_beside(Some(held), &config, &mut request).await,
            None => self.lose_cursor(id, Failure::Unsent).await,
        }
    }

    /// Tells a client that its cursor is gone with the connection. Nothing else was lost, and the session lives on.
    pub(super) async fn lose_cursor(&mut self, id: u32, failure: Failure) -> Result<(), End> {
        self.statements.close_cursor(id);
        let killed = matches!(failure, Failure::Killed(_));
        match self.after_loss(failure) {
            End::Error(error) if !killed => self.send_error(&error).await,
            end => Err(end),
        }
    }

    /// Closes a statement's cursor, if it has one, and with it the server's statement, which nobody else uses.
    pub(super) fn drop_cursor(&mut self, id: u32) {
        if !self.statements.any_cursor() {
            return;
        }
        let Some(text) = self.statements.close_cursor(id) else { return };
        let has_it = |held: &&mut Held| held.lease.connection().statements.has(&text);
        if let Some(held) = self.held.iter_mut().chain(self.dedicated.iter_mut()).find(has_it) {
            held.lease.connection_mut().close_statement(&text);
        }
    }

    /// An execute uses up the long data and may open a cursor; the last row closes it. The server's statement was prepared
    /// for the cursor alone and is closed with it. One whose execute failed may have kept the long data for the next
    /// execute, whosever that is, and is closed, too.
    pub(super) fn follow_cursor(&mut self, held: &mut Held, request: &Request<'_>, exchanged: &Exchanged) {
        let connection = held.lease.connection_mut();
        match &request.body {
            Body::Execute { execute: Execute { statement: id, .. }, text }
            | Body::BulkExecute { bulk: BulkExecute { statement: id, .. }, text } => {
                if let Some(statement) = self.statements.find(*id) {
                    if exchanged.error.is_some() && statement.has_long_data() {
                        connection.close_statement(text);
                    }
                    statement.use_up_long_data(exchanged.error);
                    statement.columns = exchanged.columns;
                    if exchanged.error.is_none() {
                        statement.taken_before = None;
                    }
                }
                let opened = request.asks_for_cursor() && exchanged.status.has(Status::CURSOR_EXISTS);
                if exchanged.error.is_none() && opened {
                    if !self.statements.any_cursor() {
                        self.worker.shard().pin(Pin::Cursor).inc();
                    }
                    self.statements.open_cursor(*id, Arc::clone(text));
                } else if text.is_own() {
                    connection.close_statement(text);
                }
            }
            Body::Fetch { text, id, .. } if exchanged.status.has(Status::LAST_ROW_SENT) => {
                connection.close_statement(text);
                self.statements.close_cursor(*id);
            }
            Body::Fetch { .. } | Body::Plain(_) | Body::Prepare { .. } => {}
        }
    }
}
