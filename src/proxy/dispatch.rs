//! What each command leads to: an answer of Weir's own, or a statement that runs on a server.

use std::{rc::Rc, sync::Arc};

use tokio::time::timeout;

use super::{
    admission::told_of,
    kill::unclear_kill,
    login,
    passthrough::Users,
    prepared::ClientStatements,
    request::{Body, Request},
    session::{End, Session},
};
use crate::{
    backend::Identity,
    protocol::{
        BulkExecute, Capabilities, Command, Execute, Malformed, ServerError, Shape,
        auth::{Attempt, Challenge, Credential},
        code,
        login::ChangeUser,
        query_attributes,
    },
    session::{self, SessionState, Untold, Value},
    sql::{self, Dialect, Effects, Kind, Mode, Statement, Victim},
    telemetry::{Pin, Reason},
};

/// A command that is no SQL text but must be sent where a read goes.
const READ: Statement<'static> = Statement { kind: Kind::Read, effects: Effects::NONE, hint: None };
/// A command that changes the session.
const USE: Statement<'static> = Statement { kind: Kind::Use, effects: Effects::NONE, hint: None };
/// A command that goes to the writer, or to the connection that is held.
const OTHER: Statement<'static> = Statement { kind: Kind::Unknown, effects: Effects::NONE, hint: None };

impl Session {
    /// Answers one command; `payload` is its bytes.
    pub async fn dispatch(&mut self, command: Command<'_>, payload: &[u8]) -> Result<(), End> {
        let looks = &self.worker.context.looks;
        if !looks.are_done() {
            looks.done().await;
        }
        match command {
            Command::Quit => Err(End::Client),
            Command::Query(sql) => self.query(sql, payload).await,
            Command::Execute(execute) => self.execute(execute).await,
            Command::BulkExecute(bulk) => self.bulk_execute(bulk).await,
            Command::Prepare(sql) => self.prepare(sql, payload).await,
            Command::LongData { statement, parameter, data } => {
                let limit = self.worker.config().limits.max_packet;
                self.statements.add_long_data(statement, parameter, data, limit);
                Ok(())
            }
            Command::Close { statement } => {
                self.close(statement);
                Ok(())
            }
            Command::ResetStatement { statement } => self.reset_statement(statement).await,
            Command::Fetch { statement } => self.fetch(statement, payload).await,
            Command::InitDb(_) => self.run(&mut Request::plain(payload, Shape::Simple, USE)).await,
            Command::FieldList { .. } => self.run(&mut Request::plain(payload, Shape::Rows, READ)).await,
            Command::Statistics => self.run(&mut Request::plain(payload, Shape::Text, OTHER)).await,
            Command::SetOption(option) => self.set_option(option, payload).await,
            Command::Ping => self.local_ok().await,
            Command::ResetConnection => self.reset().await,
            Command::ChangeUser(body) => self.change_user(body).await,
            Command::ProcessKill(id) => self.kill_by_command(id).await,
            Command::RegisterReplica => self.replicate(Request::plain(payload, Shape::Simple, OTHER)).await,
            Command::BinlogDump => self.replicate(Request::plain(payload, Shape::Events, OTHER)).await,
            Command::Unsupported(code::STMT_BULK_EXECUTE) if self.mode().dialect == Dialect::MariaDb => {
                self.send_error(&ServerError::not_prepared_yet()).await
            }
            Command::Unsupported(_) => self.send_error(&ServerError::unknown_command()).await,
        }
    }

    /// How this session's texts must be read.
    pub fn mode(&self) -> Mode {
        self.state.mode(self.worker.mode())
    }

    /// The error for a statement that is not there. `command` is how MariaDB calls the command that named it.
    pub(super) fn unknown_statement(&self, id: u32, command: &str) -> ServerError {
        match self.mode().dialect {
            Dialect::MySql => ServerError::unknown_statement(id, "mysql_stmt_precheck"),
            Dialect::MariaDb => ServerError::unknown_statement(id, command),
        }
    }

    /// The error for a command that cannot be parsed.
    pub(super) fn malformed_packet(&self) -> ServerError {
        ServerError::malformed_packet(if self.mode().dialect == Dialect::MySql { "." } else { "" })
    }

    /// The error for an execute whose parameters cannot be parsed.
    pub(super) fn malformed_execute(&self, id: u32, error: Malformed) -> ServerError {
        match self.mode().dialect {
            Dialect::MySql if error == query_attributes::FEWER => ServerError::wrong_arguments("COM_STMT_EXECUTE"),
            Dialect::MySql if error == query_attributes::UNTYPED => ServerError::wrong_arguments("mysqld_stmt_execute"),
            Dialect::MariaDb if error != query_attributes::TYPES && id != ClientStatements::LATEST => {
                ServerError::wrong_arguments("mysqld_stmt_execute")
            }
            Dialect::MySql | Dialect::MariaDb => self.malformed_packet(),
        }
    }

    /// The facts of a text, as far as this session's settings let it be read.
    fn classify<'a>(&self, sql: &'a [u8]) -> Statement<'a> {
        self.facts(sql, |mode| sql::classify(sql, mode))
    }

    /// What the statement `sql` is with these settings; `read` tells what the text alone says.
    fn facts<'a>(&self, sql: &[u8], read: impl FnOnce(Mode) -> Statement<'a>) -> Statement<'a> {
        let cluster = self.worker.cluster();
        let mode = self.state.mode(cluster.mode);
        let mut statement = read(mode);
        let settings = self.state.settings();
        let charset = || settings.variable(b"character_set_client").and_then(Value::reported);
        if !sql.is_ascii() && session::is_ambiguous(charset(), self.identity.collation) {
            statement.kind = statement.kind.max(Kind::Unknown);
        }
        if statement.kind == Kind::Read && statement.effects.has(Effects::VARIABLE_READ) && self.has_all_variables(sql)
        {
            statement.effects = statement.effects.without(Effects::VARIABLE_READ);
        }
        if !cluster.stored.is_harmless() {
            statement.effects = statement.effects.with(cluster.stored.effects(&statement, sql, mode));
        }
        // Tables without a schema in front are about one server there, too.
        let about_one_server = [&b"performance_schema"[..], b"sys"];
        if settings.schema().is_some_and(|schema| about_one_server.iter().any(|name| schema.eq_ignore_ascii_case(name)))
        {
            statement.effects = statement.effects.with(Effects::CONNECTION);
        }
        statement
    }

    /// Whether the user variables that a text names are the session's wherever it goes.
    fn has_all_variables(&self, sql: &[u8]) -> bool {
        let settings = self.state.settings();
        let (count, _) = settings.user_variables();
        let known = |name: Option<Vec<u8>>| name.is_some_and(|name| settings.has_user_variable(&name));
        count > 0 && sql::user_variables(sql, self.mode()).all(known)
    }

    async fn local_ok(&mut self) -> Result<(), End> {
        // It tells the state of the session, of which an error may have left doubt.
        self.move_on().await?;
        self.worker.shard().reason(Reason::Local).inc();
        self.send_ok().await
    }

    async fn query(&mut self, sql: &[u8], payload: &[u8]) -> Result<(), End> {
        let statement = self.classify(sql);
        if statement.effects.has(Effects::KILL)
            && let Some(killed) = self.kill_by_text(&statement, sql).await
        {
            return killed;
        }
        self.run(&mut Request { sql, ..Request::plain(payload, Shape::Results, statement) }).await
    }

    async fn prepare(&mut self, sql: &[u8], payload: &[u8]) -> Result<(), End> {
        let limits = self.worker.config().limits.clone();
        let limit = limits.max_prepared;
        if self.statements.len() >= limit as usize || self.statements.text_bytes() + sql.len() > limits.max_packet {
            return self.send_error(&ServerError::too_many_statements(limit.into())).await;
        }
        let statement = self.classify(sql);
        if statement.effects.has(Effects::KILL) && sql::victim(sql, self.mode()) == Victim::Unclear {
            return self.send_error(&unclear_kill()).await;
        }
        let text = self.worker.prepared_text(sql, self.state.settings());
        let body = Body::Prepare { payload, text: &text };
        self.run(&mut Request { sql, body, ..Request::plain(payload, Shape::Prepare, statement) }).await
    }

    async fn execute(&mut self, execute: Execute<'_>) -> Result<(), End> {
        let Some(statement) = self.statements.find(execute.statement) else {
            return self.send_error(&self.unknown_statement(execute.statement, "mysqld_stmt_execute")).await;
        };
        if statement.has_overflowed() {
            statement.forget_long_data();
            let text = "Parameter of prepared statement which is set through mysql_send_long_data() is longer than \
                        'max_allowed_packet' bytes";
            return self.send_error(&ServerError::other(text)).await;
        }
        let lacks_types = statement.lacks_types(&execute, self.capabilities);
        let shared = statement.text.clone();
        let facts = self.facts(&shared.sql, |mode| shared.facts(mode));
        if facts.effects.has(Effects::KILL)
            && let Some(killed) = self.kill_by_text(&facts, &shared.sql).await
        {
            return killed;
        }
        self.drop_cursor(execute.statement);
        // The server closes a statement's cursor when the statement runs again, so nobody else may use this one; nor may this
        // session's lack of types meet those that another has bound.
        let own = (execute.wants_cursor() && facts.kind != Kind::Write || lacks_types).then(|| Arc::new(shared.own()));
        let body = Body::Execute { execute, text: own.as_ref().unwrap_or(&shared) };
        self.run(&mut Request { sql: &shared.sql, body, ..Request::plain(b"", Shape::Results, facts) }).await
    }

    /// Many rows of parameters for one statement, which goes where it would go with one of them.
    async fn bulk_execute(&mut self, bulk: BulkExecute<'_>) -> Result<(), End> {
        let Some(statement) = self.statements.find(bulk.statement) else {
            return self.send_error(&self.unknown_statement(bulk.statement, "mysqld_stmt_execute")).await;
        };
        let shared = statement.text.clone();
        let own = statement.bulk_lacks_types(&bulk).then(|| Arc::new(shared.own()));
        let facts = self.classify(&shared.sql);
        self.drop_cursor(bulk.statement);
        let body = Body::BulkExecute { bulk, text: own.as_ref().unwrap_or(&shared) };
        self.run(&mut Request { sql: &shared.sql, body, ..Request::plain(b"", Shape::Results, facts) }).await
    }

    async fn reset_statement(&mut self, id: u32) -> Result<(), End> {
        let Some(statement) = self.statements.find(id) else {
            return self.send_error(&self.unknown_statement(id, "mysqld_stmt_reset")).await;
        };
        statement.forget_long_data();
        self.drop_cursor(id);
        self.local_ok().await
    }

    /// A command of replication: what it leaves on the connection, no reset takes away.
    async fn replicate(&mut self, mut request: Request<'_>) -> Result<(), End> {
        if !self.state.pins().has(Pin::Replication) {
            self.state.set_pin(Pin::Replication, true);
            self.worker.shard().pin(Pin::Replication).inc();
        }
        let run = self.run(&mut request).await;
        // Without a connection there is nothing to keep.
        self.state.set_pin(Pin::Replication, self.held.is_some());
        run
    }

    fn close(&mut self, id: u32) {
        self.drop_cursor(id);
        self.statements.remove(id);
    }

    async fn reset(&mut self) -> Result<(), End> {
        self.let_go().await;
        self.last_used = None;
        self.state.reset(self.mode().dialect);
        (self.tracking, self.untold) = (None, Untold::default());
        self.statements.clear();
        self.keep_ignoring_space();
        self.local_ok().await
    }

    /// MySQL goes by the login's capability after a reset, too; MariaDB does not.
    fn keep_ignoring_space(&mut self) {
        let dialect = self.worker.context.cluster.load().mode.dialect;
        if dialect == Dialect::MySql && self.capabilities.has(Capabilities::IGNORE_SPACE) {
            self.state.ignore_space();
        }
    }

    async fn set_option(&mut self, option: u16, payload: &[u8]) -> Result<(), End> {
        self.move_on().await?;
        let multi = match option {
            0 => self.capabilities.with(Capabilities::MULTI_STATEMENTS),
            1 => self.capabilities.without(Capabilities::MULTI_STATEMENTS),
            _ => return self.send_error(&ServerError::unknown_command()).await,
        };
        self.capabilities = multi;
        let capabilities = multi.fingerprint().with(Capabilities::PROTOCOL_41);
        let identity = Arc::new(Identity { capabilities, ..Identity::clone(&self.identity) });
        self.identity = Rc::new(identity.clone());
        if let Some(held) = &mut self.held {
            // The connection changes with the session, and goes back to the pool as what it is then.
            held.lease.connection_mut().identity = identity;
            return self.run(&mut Request::plain(payload, Shape::Simple, OTHER)).await;
        }
        // MySQL says once more what the statement before has left.
        let warnings = if self.mode().dialect == Dialect::MySql { self.warnings } else { 0 };
        let [few, many] = warnings.to_le_bytes();
        // An EOF, or the OK that stands for one.
        let [low, high] = self.state.status().0.to_le_bytes();
        let eof: &[u8] = match self.capabilities.has(Capabilities::DEPRECATE_EOF) {
            true => &[0xFE, 0, 0, low, high, few, many],
            false => &[0xFE, few, many, low, high],
        };
        self.client.write_payload(eof).await.map_err(|_| End::Client)
    }

    async fn change_user(&mut self, body: &[u8]) -> Result<(), End> {
        let Ok(change) = ChangeUser::parse(body, self.capabilities) else {
            return Err(End::Error(self.malformed_packet()));
        };
        self.let_go().await;
        self.last_used = None;
        let credential = self.authenticate(&change).await?;
        let user = String::from_utf8_lossy(&change.user).into_owned();
        let dialect = self.mode().dialect;
        let collation = change.collation.map_or(self.identity.collation, |id| session::login_collation(id, dialect));
        let attributes = told_of(&change.attributes, self.worker.config().pool.multiplex);
        let user = user.into();
        let identity = Identity { user, credential, collation, attributes, ..Identity::clone(&self.identity) };
        let (required, unseen) = (self.state.required().cloned(), self.state.unseen_write());
        self.identity = Rc::new(Arc::new(identity));
        self.state = SessionState::new(None);
        (self.tracking, self.untold) = (None, Untold::default());
        self.state.require(required);
        unseen.into_iter().for_each(|written| self.state.wrote_unseen(written));
        self.keep_ignoring_space();
        self.statements.clear();
        let (schema, now) = (change.schema.as_deref(), std::time::Instant::now());
        self.entry.handle.logged_in(&self.identity.user, schema, &change.attributes, now);
        self.find_room()?;
        self.asks = self.worker.context.is_asker(&self.identity.user);
        if let Some(collation) = change.collation {
            self.enter_collation(collation).await?;
        }
        if let Some(schema) = change.schema {
            self.enter_schema(&schema).await?;
        }
        self.send_ok().await
    }

    /// Authenticates for `COM_CHANGE_USER`. A refusal ends the session, as it does with a server.
    async fn authenticate(&mut self, change: &ChangeUser) -> Result<Credential, End> {
        let challenge = Challenge {
            nonce: self.nonce,
            message: login::message(),
            announced: None,
            preferred: login::preferred(self.worker.cluster().mode.dialect),
            capabilities: self.capabilities,
            channel: login::channel(self.client.stream()),
            rsa: Some(self.worker.context.rsa.clone()),
        };
        // Which plugin its first answer is of is anybody's guess, so that it is asked again.
        let attempt =
            Attempt { user: &change.user, host: self.host.as_bytes(), plugin: change.plugin.as_deref(), response: b"" };
        let users = Users::new(self.worker.clone(), self.identity.origin);
        let limit = self.worker.config().timeouts.handshake;
        let conversation = login::converse(&mut self.client, &self.worker.scratch, &users, challenge, attempt);
        timeout(limit, conversation).await.unwrap_or_else(|_| Err(End::Error(ServerError::read_timeout())))
    }
}
