//! A command that runs on a server, and what its statement allows: to be repeated, to be withheld.

use std::{borrow::Cow, sync::Arc};

use super::observe::Withhold;
use crate::{
    backend::PreparedText,
    protocol::{BulkExecute, Execute, Shape},
    routing::Target,
    sql::{Effects, Kind, Statement},
};

/// A command that runs on a server.
pub struct Request<'a> {
    /// The text that rules look at.
    pub sql: &'a [u8],
    pub body: Body<'a>,
    pub shape: Shape,
    pub statement: Statement<'a>,
    /// What the client is not to hear, as it can be sent elsewhere.
    pub withhold: Withhold,
    /// The read-only transaction that it is in begins again with it, on another server.
    pub begins_again: bool,
}

/// What is sent.
pub enum Body<'a> {
    /// These bytes.
    Plain(&'a [u8]),
    /// `COM_STMT_PREPARE`, whose statement is remembered.
    Prepare { payload: &'a [u8], text: &'a Arc<PreparedText> },
    /// `COM_STMT_EXECUTE`, on whatever connection.
    Execute { execute: Execute<'a>, text: &'a Arc<PreparedText> },
    /// `COM_STMT_BULK_EXECUTE`, likewise.
    BulkExecute { bulk: BulkExecute<'a>, text: &'a Arc<PreparedText> },
    /// `COM_STMT_FETCH`, on the connection where the statement's cursor is open. The id stands behind the command byte.
    Fetch { payload: &'a [u8], text: &'a Arc<PreparedText>, id: u32 },
}

impl<'a> Request<'a> {
    /// A command that is sent as it came.
    pub fn plain(payload: &'a [u8], shape: Shape, statement: Statement<'a>) -> Self {
        Self {
            sql: b"",
            body: Body::Plain(payload),
            shape,
            statement,
            withhold: Withhold::Nothing,
            begins_again: false,
        }
    }

    /// The statement that must be prepared on the connection.
    pub fn text(&self) -> Option<&'a Arc<PreparedText>> {
        match self.body {
            Body::Execute { text, .. } | Body::BulkExecute { text, .. } | Body::Fetch { text, .. } => Some(text),
            Body::Plain(_) | Body::Prepare { .. } => None,
        }
    }

    /// The bound parameters.
    pub fn parameters(&self) -> &[u8] {
        match &self.body {
            Body::Execute { execute, .. } => execute.parameters,
            Body::BulkExecute { bulk, .. } => bulk.parameters,
            Body::Plain(_) | Body::Prepare { .. } | Body::Fetch { .. } => b"",
        }
    }

    /// Whether the server opens a cursor for it if it has rows.
    pub fn asks_for_cursor(&self) -> bool {
        // Of what a procedure selects, servers send the rows at once.
        matches!(&self.body, Body::Execute { execute, .. } if execute.wants_cursor())
            && self.statement.kind != Kind::Write
    }

    /// What the server did: preparing does nothing of what the text says.
    pub fn ran(&self) -> Statement<'a> {
        match self.body {
            Body::Prepare { .. } => Statement { kind: Kind::Read, effects: Effects::NONE, hint: None },
            _ => self.statement,
        }
    }

    /// Whether it asks for rows of a cursor.
    pub fn fetches(&self) -> bool {
        matches!(self.body, Body::Fetch { .. })
    }

    /// Whether it may run again on another connection: nothing of it stays behind on a server.
    pub fn repeatable(&self) -> bool {
        let Statement { kind, effects, .. } = self.statement;
        match kind {
            _ if matches!(self.body, Body::Prepare { .. }) => true,
            _ if self.fetches() => false,
            Kind::Read => !self.may_write() && !effects.has(Effects::FILE),
            // The transaction ends with its connection.
            Kind::Begin(_) => !effects.has(Effects::MULTI),
            _ => false,
        }
    }

    /// Whether it may change data.
    pub fn may_write(&self) -> bool {
        let Statement { kind, effects, .. } = self.statement;
        match kind {
            _ if matches!(self.body, Body::Prepare { .. }) => false,
            Kind::Empty | Kind::Diagnostics | Kind::Use | Kind::Kill => false,
            Kind::Read | Kind::Set | Kind::Begin(_) => effects.any(Effects::UNKNOWN_FUNCTION.with(Effects::SEQUENCE)),
            _ => true,
        }
    }

    /// Whether it is one statement that a server runs wholly or not at all. Each row of a bulk is committed by itself.
    pub fn is_atomic_write(&self) -> bool {
        let Statement { kind, effects, .. } = self.statement;
        !matches!(self.body, Body::BulkExecute { .. })
            && matches!(kind, Kind::Write | Kind::Ddl)
            && !effects.any(Effects::MULTI.with(Effects::UNKNOWN_FUNCTION))
    }

    pub fn withhold(&self, target: Target<'_>) -> Withhold {
        match target {
            Target::Writer if self.is_atomic_write() => Withhold::ReadOnly,
            Target::Any | Target::Reader | Target::Group(_) if self.repeatable() => Withhold::ShutdownOrReadOnly,
            Target::Writer if self.repeatable() => Withhold::Shutdown,
            _ => Withhold::Nothing,
        }
    }
}

/// The payload of a request, with a server's statement id where one belongs.
pub fn with_statement_id<'a>(payload: &'a [u8], id: u32) -> Cow<'a, [u8]> {
    let mut patched = payload.to_vec();
    match patched.get_mut(1..5) {
        Some(place) => {
            place.copy_from_slice(&id.to_le_bytes());
            Cow::Owned(patched)
        }
        None => Cow::Borrowed(payload),
    }
}
