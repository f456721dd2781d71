//! Sessions that end with their transaction, as a `COMMIT RELEASE` ends them: servers close the connection without a word.
//!
//! Of one statement its text tells for sure. Among several, in a procedure or in a prepared text it may end the session or
//! not be reached, so that the server is asked behind the reply whether the connection is still there.

use super::{
    request::Request,
    session::{Held, Session},
};
use crate::{
    backend::ServerConnection,
    session::Value,
    sql::{self, Effects, Kind},
};

/// What a server says of a procedure whose session ends: ER_QUERY_INTERRUPTED, and MariaDB's ER_CONNECTION_KILLED.
const INTERRUPTED: [u16; 2] = [1317, 1927];

impl Session {
    /// Whether a request that has run ended the session, so that the server closes the connection.
    pub(super) fn ends_with(&self, request: &Request<'_>, connection: &ServerConnection) -> bool {
        let ran = request.ran();
        ran.kind == Kind::Transaction
            && !ran.effects.has(Effects::MULTI)
            && sql::releases(request.sql, self.mode(), self.releases_by_default(connection))
    }

    /// Whether a request has perhaps done so. `error`: what its reply ended with, if it did.
    pub(super) fn may_have_ended(&self, request: &Request<'_>, held: &Held, error: Option<u16>) -> bool {
        let ran = request.ran();
        let opaque = matches!(ran.kind, Kind::TextPrepared | Kind::Write | Kind::Unknown);
        let multi = ran.effects.has(Effects::MULTI);
        if !opaque && !multi {
            return false;
        }
        let by_default = error.is_some_and(|error| INTERRUPTED.contains(&error))
            || self.releases_by_default(held.lease.connection());
        // A single write that names it does so as something else, and is most of what runs.
        (by_default || multi || ran.kind != Kind::Write) && sql::may_release(request.sql, self.mode(), by_default)
    }

    fn releases_by_default(&self, connection: &ServerConnection) -> bool {
        match self.state.settings().variable(b"completion_type").and_then(Value::reported) {
            Some(value) => value.eq_ignore_ascii_case(b"RELEASE"),
            None => connection.releases,
        }
    }
}
