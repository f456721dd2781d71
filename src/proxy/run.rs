//! One statement from its decision to its end: lease, exchange, retry, and what is learned from it.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Instant};

use super::{
    acquire::{Acquired, Search},
    exchange::{Exchanged, Failure},
    observe::Withhold,
    session::{End, Held, Session},
    turn::Turn,
};
use crate::{
    backend::PreparedText,
    config::{Config, Consistency, Rule},
    context::Kill,
    protocol::{Capabilities, Execute, ServerError, Shape, Status},
    routing::{self, Asked, Decision, Situation, Target},
    session::Pins,
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
    /// What the client is not to hear, as it can be sent elsewhere.
    pub withhold: Withhold,
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
        Self { sql: b"", body: Body::Plain(payload), shape, statement, withhold: Withhold::Nothing }
    }

    /// The statement that must be prepared on the connection.
    pub fn text(&self) -> Option<&Arc<PreparedText>> {
        match &self.body {
            Body::Execute { text, .. } | Body::Statement { text, .. } => Some(text),
            Body::Plain(_) | Body::Prepare { .. } => None,
        }
    }

    /// What the server did: preparing does nothing of what the text says.
    fn ran(&self) -> Statement<'a> {
        match self.body {
            Body::Prepare { .. } => Statement { kind: Kind::Read, effects: Effects::NONE, hint: None },
            _ => self.statement,
        }
    }

    /// Whether it may run again on another connection: nothing of it stays behind on a server.
    fn repeatable(&self) -> bool {
        let Statement { kind, effects, .. } = self.statement;
        match kind {
            _ if matches!(self.body, Body::Prepare { .. }) => true,
            Kind::Read => !self.may_write() && !effects.has(Effects::FILE),
            // The transaction ends with its connection.
            Kind::Begin(_) => !effects.has(Effects::MULTI),
            _ => false,
        }
    }

    /// Whether it may change data.
    fn may_write(&self) -> bool {
        let Statement { kind, effects, .. } = self.statement;
        match kind {
            _ if matches!(self.body, Body::Prepare { .. }) => false,
            Kind::Empty | Kind::Diagnostics | Kind::Use | Kind::Kill => false,
            Kind::Read | Kind::Set | Kind::Begin(_) => effects.any(Effects::UNKNOWN_FUNCTION.with(Effects::SEQUENCE)),
            _ => true,
        }
    }

    /// Whether it is one statement that a server runs wholly or not at all.
    fn is_atomic_write(&self) -> bool {
        let Statement { kind, effects, .. } = self.statement;
        matches!(kind, Kind::Write | Kind::Ddl) && !effects.any(Effects::MULTI.with(Effects::UNKNOWN_FUNCTION))
    }

    fn withhold(&self, target: Target<'_>) -> Withhold {
        match target {
            Target::Writer if self.is_atomic_write() => Withhold::ReadOnly,
            Target::Writer | Target::Reader | Target::Group(_) if self.repeatable() => Withhold::Shutdown,
            _ => Withhold::Nothing,
        }
    }
}

impl Session {
    /// Runs a request and answers the client.
    pub async fn run(&mut self, mut request: Request<'_>) -> Result<(), End> {
        let config = self.worker.context.config.load_full();
        let rule = self.rule(&config, &request);
        let consistency = rule.and_then(|rule| rule.consistency).unwrap_or(config.reads.consistency);
        let situation = Situation { route: &self.route.clone(), held: self.pin(), autocommit: self.state.autocommit() };
        let decision = routing::route(&situation, &request.statement, rule);
        if decision.target == Target::Reject {
            self.count(Reason::Rejected);
            let name = rule.map_or("", |rule| &rule.name);
            return self.send_error(&ServerError::rejected(name)).await;
        }
        let arrived = Instant::now();
        let turn = match self.take_turn(&config, rule).await? {
            Turn::Free => None,
            Turn::Taken(permit) => Some(permit),
            Turn::Refused => return Ok(()),
        };
        let limit = rule.and_then(|rule| rule.timeout);
        let mut search = if request.repeatable() { Search::default() } else { Search::once() };
        let before = self.state.pins();
        let mut decision = self.recall(&request.statement, decision);
        loop {
            let acquired = match self.acquire_unless_killed(decision, &request, consistency, &mut search).await? {
                Ok(acquired) => acquired,
                Err(error) => {
                    self.count(decision.reason);
                    return self.send_error(&error).await;
                }
            };
            let Acquired { mut held, reason, wait } = acquired;
            let pinned = decision.target == Target::Held;
            request.withhold = request.withhold(decision.target);
            let begun = Instant::now();
            self.entry.handle.statement_begins(reason, &held.server, begun);
            let failure = match self.exchange(&mut held, &request, wait.as_ref(), limit).await {
                Ok(exchanged) => {
                    drop(turn);
                    self.count(reason);
                    let ended = Instant::now();
                    held.server.metrics.shard(self.worker.index).latency.observe(ended - begun);
                    self.note_if_slow(&config, &request, &held.server.id, reason, ended - arrived);
                    let finished = self.finish(held, &request, exchanged, reason).await;
                    self.count_pins(before);
                    return finished;
                }
                Err(failure) => failure,
            };
            if pinned && let Failure::Unprepared(error) | Failure::Request(error) = &failure {
                // As with a server, the transaction goes on.
                self.held = Some(held);
                return self.send_error(error).await;
            }
            let server = held.server.clone();
            held.lease.discard();
            server.metrics.shard(self.worker.index).errors.inc();
            let next = match pinned {
                true => self.after_loss(&failure).await?,
                false => self.after_failure(failure, &request, &server, &mut search).await?,
            };
            match next {
                Next::GiveUp => return Ok(()),
                Next::Writer => decision = Decision { target: Target::Writer, reason: Reason::Freshness },
                Next::Elsewhere => search.exclude(&server.id),
            }
        }
    }

    /// [`Self::acquire`], which may wait for long, until the statement or the session is killed.
    async fn acquire_unless_killed(
        &mut self,
        decision: Decision<'_>,
        request: &Request<'_>,
        consistency: Consistency,
        search: &mut Search,
    ) -> Result<Result<Acquired, ServerError>, End> {
        let handle = self.entry.handle.clone();
        let acquire = self.acquire(decision, request.text(), consistency, search);
        tokio::pin!(acquire);
        loop {
            tokio::select! {
                biased;
                acquired = &mut acquire => return Ok(acquired),
                () = handle.called() => match handle.asked() {
                    Some(Kill::Session) => return Err(End::Error(ServerError::interrupted())),
                    Some(Kill::Shutdown) => return Err(End::Error(ServerError::shutdown())),
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

    /// What to do when an exchange failed on a connection of the session's own, which is gone with what it stood for.
    async fn after_loss(&mut self, failure: &Failure) -> Result<Next, End> {
        self.state.lose_connection();
        self.statements.lose_cursors();
        match failure {
            Failure::Client => Err(End::Client),
            Failure::Killed(error)
            | Failure::Refused(error)
            | Failure::Unprepared(error)
            | Failure::Request(error)
            | Failure::Withheld(error) => Err(End::Error(error.clone())),
            Failure::Unsent | Failure::Stale | Failure::NoSchema => Err(End::Error(ServerError::server_lost())),
            Failure::Server { sent, boundary, .. } => Err(self.broken_reply(*sent, *boundary)),
        }
    }

    /// What to do when an exchange failed. The connection is gone already.
    async fn after_failure(
        &mut self,
        failure: Failure,
        request: &Request<'_>,
        server: &crate::backend::Server,
        search: &mut Search,
    ) -> Result<Next, End> {
        match failure {
            Failure::Client => Err(End::Client),
            Failure::Killed(error) => Err(End::Error(error)),
            Failure::Unsent => Ok(Next::Elsewhere),
            Failure::Stale => {
                self.worker.shard().freshness_timeouts.inc();
                server.note_late(Instant::now());
                search.waited();
                Ok(Next::Elsewhere)
            }
            Failure::Withheld(error) => {
                self.worker.context.report_failure(&server.id, &error);
                self.worker.shard().retries.inc();
                search.refused(error);
                Ok(Next::Elsewhere)
            }
            Failure::Refused(error) | Failure::Unprepared(error) => {
                // A replica may lack what the session's settings name, such as a new schema.
                let cluster = self.worker.context.cluster.load_full();
                if cluster.writer.is_some() && !cluster.is_writer(server) && request.repeatable() {
                    return Ok(Next::Writer);
                }
                self.send_error(&error).await?;
                Ok(Next::GiveUp)
            }
            Failure::NoSchema => {
                // A replica may not have it yet. If the writer does not have it, the session is in none.
                if self.worker.context.cluster.load().is_writer(server) {
                    self.state.leave_schema();
                }
                Ok(Next::Writer)
            }
            Failure::Request(error) => {
                self.send_error(&error).await?;
                Ok(Next::GiveUp)
            }
            Failure::Server { cause, sent, boundary } => {
                self.worker.context.report_failure(&server.id, &cause);
                tracing::info!(server = %server.id, %cause, sent, "a server connection broke");
                if sent == 0 && request.repeatable() && search.may_repeat() {
                    self.worker.shard().retries.inc();
                    return Ok(Next::Elsewhere);
                }
                if request.may_write() {
                    // Nobody knows whether it was executed.
                    self.note_unseen_write();
                }
                match self.broken_reply(sent, boundary) {
                    End::Error(error) => self.send_error(&error).await.map(|()| Next::GiveUp),
                    End::Client => Err(End::Client),
                }
            }
        }
    }

    /// How a client hears of a reply that broke after `sent` bytes: by an error where a packet of its own can stand, or
    /// else by the end of its connection.
    fn broken_reply(&mut self, sent: u64, boundary: Option<u8>) -> End {
        if sent > 0 {
            let Some(sequence) = boundary else { return End::Client };
            self.client.sequence = sequence;
        }
        End::Error(ServerError::server_lost())
    }

    /// Learns what the reply said, and keeps the connection for [`Session::settle`] to judge.
    async fn finish(
        &mut self,
        mut held: Held,
        request: &Request<'_>,
        exchanged: Exchanged,
        reason: Reason,
    ) -> Result<(), End> {
        self.count_on_server(&held, request, &exchanged);
        let pins = self.state.pins();
        if let Body::Execute { execute, .. } = &request.body {
            self.was_executed(execute, &exchanged);
        }
        self.learn_of_writes(&held, request, &exchanged, reason);
        if exchanged.error.is_none() {
            self.state.observe_text(request.ran().effects);
            self.remember_statement(&mut held, request, &exchanged);
        }
        let effects = request.statement.effects;
        let asked_back = exchanged.error.is_some() || exchanged.warnings > 0 || effects.has(Effects::CALC_FOUND_ROWS);
        if exchanged.insert_id != 0 {
            held.lease.connection_mut().insert_id = exchanged.insert_id;
        }
        self.note_use(&mut held, asked_back);
        let Some(mut held) = self.inquire(held, &request.ran(), &exchanged, pins).await? else { return Ok(()) };
        held.lease.connection_mut().settings = self.state.settings().clone();
        self.held = Some(held);
        Ok(())
    }

    fn count_pins(&self, before: Pins) {
        for pin in self.state.pins().iter().filter(|&pin| !before.has(pin)) {
            self.worker.shard().pin(pin).inc();
        }
    }

    /// Remembers what reads must see from now on, beyond the positions that the reply told.
    fn learn_of_writes(&mut self, held: &Held, request: &Request<'_>, exchanged: &Exchanged, reason: Reason) {
        let told = self.state.take_told();
        let wrote = reason == Reason::Transaction || request.may_write();
        let Statement { kind, effects, .. } = request.statement;
        let unseen = match exchanged.error {
            // Parts of it may be committed, and an error tells no position.
            Some(_) => request.may_write() && !request.is_atomic_write() && kind != Kind::Transaction,
            None if told => false,
            // Only an OK tells positions, and only those that count writes have some to tell.
            None => {
                let eof = !held.lease.connection().capabilities.has(Capabilities::DEPRECATE_EOF);
                let blind = !self.worker.context.cluster.load().has_positions;
                wrote && (blind || eof && kind == Kind::Read && effects.has(Effects::UNKNOWN_FUNCTION))
            }
        };
        if unseen {
            self.note_unseen_write();
        }
    }

    fn note_unseen_write(&mut self) {
        let now = Instant::now();
        self.state.wrote_unseen(now);
        self.worker.context.wrote_unseen(now);
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
