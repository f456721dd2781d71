//! One statement from its decision to its end: lease, exchange, retry, and what is learned from it.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Instant};

use tokio::time::timeout;

use super::{
    acquire::Acquired,
    exchange::{Exchanged, Failure},
    session::{End, Held, OWN_COMMAND, Session},
};
use crate::{
    backend::{ConnectError, PreparedText},
    config::{Config, Consistency, Rule, ServerId},
    context::Kill,
    protocol::{Execute, ServerError, Shape, Status, code},
    routing::{self, Asked, Decision, Situation, Target},
    session::Fate,
    sql::{Access, Effects, Kind, Statement},
    telemetry::{Pin, Reason},
};

/// A command that runs on a server.
pub struct Request<'a> {
    /// The text that rules look at.
    pub sql: &'a [u8],
    pub body: Body<'a>,
    pub shape: Shape,
    pub statement: Statement<'a>,
}

/// What is sent.
pub enum Body<'a> {
    /// These bytes.
    Plain(&'a [u8]),
    /// `COM_STMT_PREPARE`, whose statement is remembered.
    Prepare { payload: &'a [u8], text: Arc<PreparedText> },
    /// `COM_STMT_EXECUTE`, on whatever connection.
    Execute { execute: Execute<'a>, text: Arc<PreparedText> },
    /// Another command of a prepared statement, whose id stands behind the command byte.
    Statement { payload: &'a [u8], text: Arc<PreparedText>, id: u32 },
}

impl<'a> Request<'a> {
    /// A command that is sent as it came.
    pub fn plain(payload: &'a [u8], shape: Shape, statement: Statement<'a>) -> Self {
        Self { sql: b"", body: Body::Plain(payload), shape, statement }
    }

    /// The statement that must be prepared on the connection.
    pub fn text(&self) -> Option<&Arc<PreparedText>> {
        match &self.body {
            Body::Execute { text, .. } | Body::Statement { text, .. } => Some(text),
            Body::Plain(_) | Body::Prepare { .. } => None,
        }
    }

    /// Whether it changes nothing of the session, even if it fails half-way.
    fn leaves_no_trace(&self) -> bool {
        self.statement.kind == Kind::Read && self.statement.effects == Effects::NONE
    }

    /// Whether it may run twice: it reads, and nothing of it stays behind.
    fn repeatable(&self) -> bool {
        matches!(self.statement.kind, Kind::Read) || matches!(self.body, Body::Prepare { .. })
    }
}

impl Session {
    /// Runs a request and answers the client.
    pub async fn run(&mut self, request: Request<'_>) -> Result<(), End> {
        let config = self.worker.context.config.load_full();
        let rule = self.rule(&config, &request);
        let consistency = rule.and_then(|rule| rule.consistency).unwrap_or(config.reads.consistency);
        let situation = Situation { route: &self.route.clone(), held: self.pin(), autocommit: self.state.autocommit() };
        let mut decision = routing::route(&situation, &request.statement, rule);
        if decision.target == Target::Reject {
            self.count(Reason::Rejected);
            let name = rule.map_or("", |rule| &rule.name);
            return self.send_error(&ServerError::rejected(name)).await;
        }
        let mut excluded: Vec<ServerId> = Vec::new();
        loop {
            let acquired = match self.acquire_unless_killed(decision, &request, consistency, &excluded).await? {
                Ok(acquired) => acquired,
                Err(error) => {
                    self.count(decision.reason);
                    return self.send_error(&error).await;
                }
            };
            let Acquired { mut held, reason, wait } = acquired;
            let again = decision.target == Target::Held;
            self.entry.handle.statement_begins(reason, Instant::now());
            let failure = match self.exchange(&mut held, &request, wait.as_ref()).await {
                Ok(exchanged) => {
                    self.count(reason);
                    return self.finish(held, &request, exchanged, consistency).await;
                }
                Err(failure) => failure,
            };
            if again && let Failure::Unprepared(error) | Failure::Request(error) = &failure {
                // As with a server, the transaction goes on.
                self.held = Some(held);
                return self.send_error(error).await;
            }
            let server = held.server.clone();
            held.lease.discard();
            server.metrics.shard(self.worker.index).errors.inc();
            match self.after_failure(&failure, &request, again, &server).await? {
                Next::GiveUp => return Ok(()),
                Next::Writer => decision = Decision { target: Target::Writer, reason: Reason::Freshness },
                Next::Elsewhere => {
                    self.worker.shard().retries.inc();
                    excluded.push(server.id.clone());
                }
            }
        }
    }

    /// [`Self::acquire`], which may wait for long, until the statement or the session is killed.
    async fn acquire_unless_killed(
        &mut self,
        decision: Decision<'_>,
        request: &Request<'_>,
        consistency: Consistency,
        excluded: &[ServerId],
    ) -> Result<Result<Acquired, ServerError>, End> {
        let handle = self.entry.handle.clone();
        let acquire = self.acquire(decision, request.text(), consistency, excluded);
        tokio::pin!(acquire);
        loop {
            tokio::select! {
                biased;
                acquired = &mut acquire => return Ok(acquired),
                () = handle.called() => match handle.asked() {
                    Some(Kill::Session) => return Err(End::Error(ServerError::interrupted())),
                    Some(Kill::Query) => return Ok(Err(ServerError::interrupted())),
                    Some(Kill::Drain) | None => {}
                }
            }
        }
    }

    fn count(&self, reason: Reason) {
        self.worker.shard().reason(reason).inc();
    }

    fn rule<'a>(&self, config: &'a Config, request: &Request<'_>) -> Option<&'a Rule> {
        if config.rules.is_empty() {
            return None;
        }
        let asked = Asked {
            user: &self.identity.user,
            schema: self.state.settings().schema().unwrap_or_default(),
            client: self.host.parse::<IpAddr>().ok(),
            sql: request.sql,
            mode: self.state.mode(self.worker.context.cluster.load().mode),
        };
        routing::first_match(&config.rules, &asked)
    }

    /// What to do when an exchange failed. The connection is gone already.
    async fn after_failure(
        &mut self,
        failure: &Failure,
        request: &Request<'_>,
        held: bool,
        server: &crate::backend::Server,
    ) -> Result<Next, End> {
        if held {
            self.state.lose_connection();
            self.statements.lose_cursors();
        }
        match failure {
            Failure::Client => Err(End::Client),
            Failure::Killed => Err(End::Error(ServerError::interrupted())),
            Failure::Stale => {
                self.worker.shard().freshness_timeouts.inc();
                Ok(Next::Writer)
            }
            // What the session held is gone, which it must not learn from its next statement.
            Failure::Refused(error) if held => Err(End::Error(error.clone())),
            Failure::Refused(error) | Failure::Unprepared(error) => {
                // A replica may lack what the session's settings name, such as a new schema.
                let writer = self.worker.context.cluster.load().writer;
                let on_writer = writer.is_none_or(|place| self.is_server(place, server));
                if !on_writer && request.repeatable() {
                    return Ok(Next::Writer);
                }
                self.send_error(error).await?;
                Ok(Next::GiveUp)
            }
            Failure::Request(error) => {
                self.send_error(error).await?;
                Ok(Next::GiveUp)
            }
            Failure::Server { cause, sent: 0, .. } => {
                self.worker.context.report_failure(&server.id, cause);
                tracing::info!(server = %server.id, %cause, "a server connection broke");
                if held {
                    return Err(End::Error(ServerError::server_lost()));
                }
                if request.repeatable() {
                    return Ok(Next::Elsewhere);
                }
                self.send_error(&ServerError::server_lost()).await?;
                Ok(Next::GiveUp)
            }
            Failure::Server { cause, boundary, .. } => {
                self.worker.context.report_failure(&server.id, cause);
                tracing::info!(server = %server.id, %cause, "a server connection broke within a reply");
                let Some(sequence) = boundary else { return Err(End::Client) };
                self.client.sequence = *sequence;
                if held {
                    return Err(End::Error(ServerError::server_lost()));
                }
                self.send_error(&ServerError::server_lost()).await?;
                Ok(Next::GiveUp)
            }
        }
    }

    fn is_server(&self, place: usize, server: &crate::backend::Server) -> bool {
        self.worker.context.cluster.load().members.get(place).is_some_and(|member| member.server.id == server.id)
    }

    /// Learns what the reply said, and keeps the connection for [`Session::settle`] to judge.
    async fn finish(
        &mut self,
        mut held: Held,
        request: &Request<'_>,
        exchanged: Exchanged,
        consistency: Consistency,
    ) -> Result<(), End> {
        self.count_on_server(&held, request, &exchanged);
        let before = self.state.pins();
        if let Body::Execute { execute, .. } = &request.body {
            self.was_executed(execute, &exchanged);
        }
        if exchanged.error.is_none() {
            self.state.observe_text(request.statement.effects);
            self.remember_statement(&mut held, request, &exchanged);
        } else if !request.leaves_no_trace() || !self.state.autocommit() || !before.is_empty() {
            // An error says nothing of the session's state; an OK that follows it does.
            held.lease.connection_mut().mark_dirty();
            self.held = Some(held);
            return self.prove(request).await;
        }
        let connection = held.lease.connection_mut();
        connection.settings = self.state.settings().clone();
        self.held = Some(held);
        if consistency == Consistency::Global
            && let Some(required) = self.state.required()
        {
            self.worker.context.commit(required);
        }
        for pin in self.state.pins().iter().filter(|pin| !before.has(*pin)) {
            self.worker.shard().pin(pin).inc();
        }
        Ok(())
    }

    fn remember_statement(&mut self, held: &mut Held, request: &Request<'_>, exchanged: &Exchanged) {
        match &request.body {
            Body::Prepare { text, .. } => {
                let Some((id, prepared)) = exchanged.prepared else { return };
                held.lease.connection_mut().remember_statement(text.clone(), prepared.statement);
                self.statements.insert(id, text.clone(), prepared.parameters);
            }
            Body::Statement { id, .. } => {
                if exchanged.status.has(Status::LAST_ROW_SENT)
                    && let Some(statement) = self.statements.find(*id)
                {
                    statement.cursor = false;
                }
                self.pin_cursors();
            }
            Body::Execute { .. } | Body::Plain(_) => {}
        }
    }

    /// An execute uses up the long data and closes the cursor that was open, whether it succeeds or not.
    fn was_executed(&mut self, execute: &Execute<'_>, exchanged: &Exchanged) {
        let open = execute.flags != 0 && exchanged.error.is_none() && exchanged.status.has(Status::CURSOR_EXISTS);
        let Some(statement) = self.statements.find(execute.statement) else { return };
        statement.forget_long_data();
        if std::mem::replace(&mut statement.cursor, open) != open {
            self.pin_cursors();
        }
    }

    fn pin_cursors(&mut self) {
        if self.statements.any_cursor() {
            self.state.add_pin(Pin::Cursor);
        } else {
            self.state.remove_pin(Pin::Cursor);
        }
    }

    /// Asks the held connection for its state with a ping, whose OK carries it.
    async fn prove(&mut self, request: &Request<'_>) -> Result<(), End> {
        let Some(mut held) = self.held.take() else { return Ok(()) };
        match self.ping(&mut held, request).await {
            Ok(()) => {
                held.lease.connection_mut().settings = self.state.settings().clone();
                self.held = Some(held);
                Ok(())
            }
            Err(cause) => {
                tracing::info!(server = %held.server.id, %cause, "a server connection broke after an error");
                let pinned = self.state.fate() != Fate::Return;
                held.lease.discard();
                self.state.lose_connection();
                self.statements.lose_cursors();
                if pinned { Err(End::Client) } else { Ok(()) }
            }
        }
    }

    async fn ping(&mut self, held: &mut Held, request: &Request<'_>) -> Result<(), ConnectError> {
        let scratch = self.worker.scratch.clone();
        let ping = held.lease.connection_mut().ping(&[code::PING], &scratch);
        let ok = timeout(OWN_COMMAND, ping).await.map_err(|_| ConnectError::Timeout(OWN_COMMAND))??;
        let ok = crate::protocol::OkPacket::parse(&ok)?;
        self.state.observe(&ok, request.statement.kind, request.statement.effects);
        Ok(())
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

/// What follows a failure.
enum Next {
    /// The client has its answer.
    GiveUp,
    Writer,
    Elsewhere,
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
