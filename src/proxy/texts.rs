//! What a session learns from the text of a statement that servers do not report: user variables that were set to
//! literals, and what the connection has or has no more. Where the text is not enough, the server is asked; the client has
//! its reply by then.

use super::{
    observe::Exchanged,
    recall::names,
    request::{Body, Request},
    session::{Held, Session},
};
use crate::{
    backend::{ConnectError, ServerConnection},
    config::Route,
    session::{Settings, TextCharset},
    sql::{self, Dialect, Effects, Kind, Literal, Statement},
    telemetry::Pin,
};

/// User variables with what was assigned to them; None: that is not known.
type Assigned = Option<Vec<(Vec<u8>, Literal)>>;

/// Variables that a session has and cannot set.
const READ_ONLY: [&[u8]; 2] = [b"max_allowed_packet", b"net_buffer_length"];

/// What is to be asked about what texts did, besides which locks there are.
#[derive(Debug, Default)]
pub struct Unread {
    /// Whose character set is not known.
    assigned: Vec<Assigned>,
    /// Variables that were set as `@@name`.
    unscoped: Vec<Vec<u8>>,
    /// What the client is told was changed.
    pub tracks: bool,
    /// Whether the session has ended.
    pub ended: bool,
}

impl Session {
    /// Learns from the text of a request that was answered. For what it leaves open the server must be asked, see
    /// [`Self::ask_about_text`].
    pub(super) fn learn_from_text(&mut self, held: &Held, request: &Request<'_>, exchanged: &Exchanged) {
        let statement = request.ran();
        if statement.kind == Kind::Read && statement.effects == Effects::NONE && !exchanged.hides {
            return;
        }
        // ER_SP_DOES_NOT_EXIST, ER_SP_WRONG_NO_OF_ARGS, ER_PROCACCESS_DENIED_ERROR: it has not run.
        if exchanged.hides && !matches!(exchanged.error, Some(1305 | 1318 | 1370)) {
            self.state.set_pin(Pin::Unattributed, true);
        }
        // ER_PARSE_ERROR
        if statement.effects.has(Effects::HIDING_CODE) && exchanged.error != Some(1064) {
            self.state.set_pin(Pin::Unattributed, true);
        }
        let unscoped = self.unscoped_variables(request, exchanged);
        if !unscoped.is_empty() {
            self.unread.get_or_insert_default().unscoped.extend(unscoped);
        }
        if self.numbers_charset(request, exchanged) {
            self.state.set_pin(Pin::Variable, true);
        }
        // Of several statements those in front of the one that failed have run; and fields are assigned one by one.
        let partly = statement.effects.has(Effects::MULTI)
            || statement.effects.has(Effects::USER_VARIABLE) && statement.kind != Kind::Set;
        match exchanged.error {
            // ER_PARSE_ERROR: nothing of the one statement has run.
            Some(1064) if !statement.effects.has(Effects::MULTI) => return,
            Some(_) if !partly => return,
            _ => {}
        }
        self.state.observe_text(&statement, request.sql, self.mode());
        if statement.effects.has(Effects::CONNECTION_ID) && self.lives_on(held) {
            self.state.set_pin(Pin::ConnectionId, true);
        }
        if statement.effects.has(Effects::VARIABLE_LITERAL) {
            let charset = charset_of_texts(self.state.settings(), held.lease.connection());
            match self.assigned(request) {
                assigned if charset.is_some() || !has_texts(&assigned) => self.assign(assigned, charset),
                assigned => self.unread.get_or_insert_default().assigned.push(assigned),
            }
        }
        if statement.effects.has(Effects::ADVISORY_LOCK) && self.state.pins().has(Pin::AdvisoryLock) {
            self.unread.get_or_insert_default();
        }
    }

    /// Whether a connection whose id the session was told is the one that it would have with a single server: not one of
    /// a replica that was asked by name. Who shares no connections has the same ever after.
    fn lives_on(&self, held: &Held) -> bool {
        let at_home = self.route != Route::Split || self.worker.cluster().is_writer(&held.server);
        at_home && self.worker.config().pool.multiplex
    }

    /// Whether a request may have set a character set by a number: the collation that it stands for is not reported.
    fn numbers_charset(&self, request: &Request<'_>, exchanged: &Exchanged) -> bool {
        let Statement { kind, effects, .. } = request.ran();
        // Of several assignments those in front of the one that failed are made.
        let changed = exchanged.error.is_none() || request.sql.contains(&b',') || effects.has(Effects::MULTI);
        let sets = kind == Kind::Set || effects.has(Effects::MULTI);
        sets && changed && names(request.sql, b"character_set_") && sql::may_number_charset(request.sql, self.mode())
    }

    /// The variables that a request has set as `@@name`, which MariaDB does not report.
    fn unscoped_variables(&self, request: &Request<'_>, exchanged: &Exchanged) -> Vec<Vec<u8>> {
        let Statement { kind, effects, .. } = request.ran();
        let sets = kind == Kind::Set || effects.has(Effects::MULTI);
        if !sets || !effects.has(Effects::SYSTEM_VARIABLE) || self.mode().dialect != Dialect::MariaDb {
            return Vec::new();
        }
        let mut names = sql::unscoped_variables(request.sql, self.mode());
        names.retain(|name| !READ_ONLY.contains(&name.as_slice()));
        // A single assignment that failed has changed nothing.
        if exchanged.error.is_some() && names.len() == 1 && !effects.has(Effects::MULTI) { Vec::new() } else { names }
    }

    /// Asks what they are now. MariaDB keeps the warnings of a `SET` through a `SELECT` that names no table.
    async fn ask_variables(&mut self, held: &mut Held, names: &[Vec<u8>]) -> Result<(), ConnectError> {
        let plain = |name: &Vec<u8>| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let columns: Vec<_> = names.iter().map(|name| format!("@@SESSION.{}", String::from_utf8_lossy(name))).collect();
        let sql = format!("SELECT {} LIMIT 1", columns.join(","));
        let answer = match names.iter().all(plain) {
            true => {
                held.lease.connection_mut().query(&sql, &self.worker.scratch).await.map(|mut reply| reply.rows.pop())
            }
            false => Ok(None),
        };
        match answer {
            Ok(Some(row)) => {
                for (name, value) in names.iter().zip(row) {
                    self.state.learn_variable(name, &value.unwrap_or_default());
                }
            }
            // One of them is not a session's. Of the others nobody knows.
            Ok(None) | Err(ConnectError::Refused(_)) => self.state.set_pin(Pin::Unattributed, true),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks the server for what the text leaves open.
    pub(super) async fn ask_about_text(&mut self, held: &mut Held, unread: Unread) -> Result<(), ConnectError> {
        if !unread.unscoped.is_empty() {
            self.ask_variables(held, &unread.unscoped).await?;
        }
        if !unread.assigned.is_empty() {
            let sql = "SELECT @@character_set_client,@@collation_connection LIMIT 1";
            let mut reply = held.lease.connection_mut().query(sql, &self.worker.scratch).await?;
            let row: Vec<Vec<u8>> = reply.rows.pop().unwrap_or_default().into_iter().flatten().collect();
            let charset: Option<[Vec<u8>; 2]> = row.try_into().ok();
            for assigned in unread.assigned {
                self.assign(assigned, charset.clone());
            }
        }
        if self.state.pins().has(Pin::AdvisoryLock) {
            self.ask_locks(held).await?;
        }
        Ok(())
    }

    /// The literals that a request has assigned to user variables; None: they are not known to be what was assigned.
    fn assigned(&self, request: &Request<'_>) -> Assigned {
        match request.body {
            Body::Plain(_) => sql::assigned_literals(request.sql, self.mode()),
            // A prepared text was read under the settings of its own time.
            _ => None,
        }
    }

    fn assign(&mut self, assigned: Assigned, charset: Option<[Vec<u8>; 2]>) {
        let charset = charset.as_ref().map(|[client, collation]| TextCharset { client, collation });
        match assigned {
            Some(assigned) => self.state.assign(&assigned, self.mode().dialect, charset),
            None => self.state.set_pin(Pin::UserVariable, true),
        }
    }

    /// Asks which of the advisory locks that the session may have it has. One that could not be taken, or was released as
    /// often as it was taken, is none.
    async fn ask_locks(&mut self, held: &mut Held) -> Result<(), ConnectError> {
        let Some(names) = self.state.advisory_locks().filter(|names| !names.is_empty()) else { return Ok(()) };
        let is_own = |name: &[u8]| format!("IS_USED_LOCK('{}')<=>CONNECTION_ID()", String::from_utf8_lossy(name));
        let columns: Vec<String> = names.iter().map(|name| is_own(name)).collect();
        let sql = format!("SELECT {} LIMIT 1", columns.join(","));
        let mut reply = held.lease.connection_mut().query(&sql, &self.worker.scratch).await?;
        if let Some(row) = reply.rows.pop() {
            let had: Vec<bool> = row.iter().map(|field| field.as_deref() != Some(b"0")).collect();
            self.state.learn_advisory_locks(&had);
        }
        Ok(())
    }
}

fn has_texts(assigned: &Assigned) -> bool {
    assigned.iter().flatten().any(|(_, literal)| matches!(literal, Literal::Text(_)))
}

/// `character_set_client` and `collation_connection`. A reset leaves them as the server has them, which is not known.
fn charset_of_texts(settings: &Settings, connection: &ServerConnection) -> Option<[Vec<u8>; 2]> {
    let known = |name: &[u8]| {
        settings.variable(name).or_else(|| connection.baseline.variable(name))?.reported().map(<[u8]>::to_vec)
    };
    Some([known(b"character_set_client")?, known(b"collation_connection")?])
}
