//! `CALL`: what a procedure leaves behind that servers do not report (user variables by `SELECT … INTO @x`, advisory
//! locks, MySQL's roles) its text tells. One that is not known yet is asked for in front of the call, in the same write. A
//! session that calls a procedure whose text may hide something, or is not shown to the user, keeps its connection.

use super::{request::Request, session::Session};
use crate::{
    backend::{ConnectError, ServerConnection},
    net::Scratch,
    sql::{self, Called, Effects, Kind, Mode, TableName},
    telemetry::Pin,
};

/// What is known of the procedure that a request calls.
pub enum Procedure {
    None,
    /// This query asks for its text.
    Asked(String),
    /// It is not to be asked for.
    Unknown,
}

impl Session {
    /// The procedure that a request calls.
    pub(super) fn procedure(&self, request: &Request<'_>) -> Procedure {
        let statement = request.ran();
        if statement.kind != Kind::Write || !statement.effects.has(Effects::UNKNOWN_FUNCTION) {
            return Procedure::None;
        }
        // Asking would be the next transaction, or see the next result's row limit; and these last until a reset.
        let busy = [Pin::NextTransaction, Pin::TableLock, Pin::Variable, Pin::Unattributed];
        let schema = self.state.settings().schema().unwrap_or_default();
        match sql::called(request.sql, self.mode()) {
            Called::Nothing => Procedure::None,
            // If it hides something, so do the statement's effects.
            Called::Procedure(name) if self.worker.cluster().stored.knows_procedure(&name, schema) => Procedure::None,
            // In MySQL the question would open the transaction.
            Called::Procedure(_) if !self.state.autocommit() && !self.state.in_transaction() => Procedure::Unknown,
            Called::Procedure(name) if !busy.iter().any(|pin| self.state.pins().has(*pin)) => {
                definition_query(&name, schema).map_or(Procedure::Unknown, Procedure::Asked)
            }
            Called::Procedure(_) | Called::Unclear => Procedure::Unknown,
        }
    }
}

/// The query for the text of a procedure; None: its name is out of the ordinary.
fn definition_query(name: &TableName<'_>, current: &[u8]) -> Option<String> {
    let plain = |name: &[u8]| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-');
        name.iter().all(plain).then(|| String::from_utf8_lossy(name).into_owned())
    };
    let schema = match name.schema {
        Some(schema) => plain(&schema.unquoted()),
        None => plain(current),
    };
    Some(format!(
        "SELECT routine_definition FROM information_schema.routines WHERE routine_schema='{}' AND routine_name='{}' AND \
         routine_type='PROCEDURE' LIMIT 1",
        schema?,
        plain(&name.name.unquoted())?
    ))
}

/// Reads the answer to [`Procedure::Asked`]. Whether the procedure may leave something behind that is not reported.
pub(super) async fn hides(
    connection: &mut ServerConnection,
    scratch: &Scratch,
    mode: Mode,
) -> Result<bool, ConnectError> {
    let text = match connection.read_reply(scratch).await {
        Ok(mut reply) => reply.rows.pop().and_then(|row| row.into_iter().next().flatten()),
        Err(ConnectError::Refused(_)) => None,
        Err(error) => return Err(error),
    };
    // What it was created under need not be what the session has, but the words that matter read alike.
    Ok(!text.is_some_and(|text| sql::is_reported(&text, mode)))
}
