//! One statement from its decision to its end: lease, exchange, retry.

use std::{future::poll_fn, net::IpAddr, task::Poll, time::Instant};

use super::{
    acquire::{Acquired, Search},
    exchange::Failure,
    observe::{Withhold, lacks_table, tells_read_only},
    request::Request,
    session::{End, Session},
    turn::Turn,
};
use crate::{
    backend::Server,
    config::{Config, Consistency, Rule},
    context::Kill,
    protocol::ServerError,
    routing::{self, Asked, Decision, Implicit, Situation, Target},
    telemetry::{Pin, Reason},
};

impl Session {
    /// Runs a request and answers the client.
    pub async fn run(&mut self, request: Request<'_>) -> Result<(), End> {
        self.move_on_unless_asked(&request.statement, request.sql).await?;
        match self.runs_beside(&self.worker.config(), &request) {
            true => self.run_beside(request).await,
            false => self.run_where_held(request).await,
        }
    }

    /// Runs a request on the connection that the session holds, if it holds one.
    pub(super) async fn run_where_held(&mut self, mut request: Request<'_>) -> Result<(), End> {
        let config = self.worker.config();
        let rule = self.rule(&config, &request);
        let consistency = rule.and_then(|rule| rule.consistency).unwrap_or(config.reads.consistency);
        let transaction = self.implicit_transaction(&config);
        let leaves = self.leaves_read_only_transaction(&request.ran(), request.sql);
        // What lingers is recalled, and stands for nothing else.
        let held = self.pin().filter(|pin| !leaves && *pin != Pin::Diagnostics);
        let situation = Situation { route: &self.route.clone(), held, transaction };
        let decision = routing::route(&situation, &request.statement, rule);
        if decision.target == Target::Reject {
            self.count(Reason::Rejected);
            let name = rule.map_or("", |rule| &rule.name);
            return self.send_error(&ServerError::rejected(name)).await;
        }
        let arrived = self.now;
        let turn = match self.take_turn(&config, rule).await? {
            Turn::Free => None,
            Turn::Taken(permit) => {
                self.now = Instant::now();
                Some(permit)
            }
            Turn::Refused => return Ok(()),
        };
        let limit = rule.and_then(|rule| rule.timeout);
        let mut search = if request.repeatable() { Search::default() } else { Search::once() };
        let before = self.state.pins();
        if leaves || transaction == Implicit::Reading && decision.target != Target::Held {
            self.keep_insert_id().await;
            self.stop_reading();
        }
        self.find_insert_id(request.sql).await;
        let free = decision;
        let mut decision = self.recall(&request.statement, decision);
        if decision.target != Target::Held {
            self.move_on().await?;
        }
        loop {
            let acquired = match self.acquire_unless_killed(decision, &request, consistency, &mut search).await? {
                Ok(acquired) => acquired,
                Err(error) => {
                    self.count(decision.reason);
                    return self.send_error(&error).await;
                }
            };
            let Acquired { mut held, reason, wait } = acquired;
            let pinned = free.target == Target::Held;
            request.withhold = match self.parked {
                Some(_) => Withhold::Beside,
                None => request.withhold(decision.target),
            };
            let begun = self.now;
            self.entry.handle.statement_begins(reason, &held.server, begun);
            let exchanged = self.exchange(&mut held, &request, wait.as_ref(), limit).await;
            self.now = Instant::now();
            let failure = match exchanged {
                Ok(exchanged) => {
                    drop(turn);
                    self.count(reason);
                    held.server.metrics.shard(self.worker.index).latency.observe(self.now - begun);
                    self.note_if_slow(&config, &request, &held.server.id, reason, self.now - arrived);
                    if !pinned {
                        let reads_first = matches!(transaction, Implicit::ReadsFirst | Implicit::Reading);
                        self.reading = reads_first && reason == Reason::Read;
                    }
                    let refusing = exchanged.read_only.then(|| held.server.clone());
                    let finished = self.finish(held, &request, exchanged, reason);
                    self.count_pins(before);
                    return match refusing {
                        Some(server) => finished.and_then(|()| self.leave_former_writer(&server, &request, rule)),
                        None => finished,
                    };
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
            (self.doubt, self.unread) = (None, None);
            server.metrics.shard(self.worker.index).errors.inc();
            let next = match pinned {
                true if transaction == Implicit::Reading && request.repeatable() => {
                    // Nothing of the transaction is lost with its replica.
                    self.reading = false;
                    self.state.lose_connection();
                    decision = Decision { target: Target::Reader, reason: Reason::Read };
                    self.after_failure(failure, &request, &server, &mut search).await?
                }
                true => self.after_loss(&failure).await?,
                false => {
                    if decision.target == Target::Held {
                        self.state.lose_connection();
                        decision = free;
                    }
                    self.after_failure(failure, &request, &server, &mut search).await?
                }
            };
            match next {
                Next::GiveUp => return Ok(()),
                Next::Writer(reason) => decision = Decision { target: Target::Writer, reason },
                Next::Elsewhere => search.exclude(&server.id),
                Next::Tables => {
                    // Nothing is held while a statement runs beside.
                    drop(self.return_to_tables());
                    decision = Decision { target: Target::Held, reason: Reason::Pinned };
                }
            }
        }
    }

    /// Ends a session that is pinned, by other than a transaction, to a server that was the writer and is not any more. It
    /// would be refused every write from now on, and only a new session gets to the new writer: the client has the
    /// server's error, and a driver's pool takes out the connection.
    fn leave_former_writer(&self, server: &Server, request: &Request<'_>, rule: Option<&Rule>) -> Result<(), End> {
        let free = Situation { route: &self.route, held: None, transaction: Implicit::None };
        let left_behind = matches!(self.pin(), Some(pin) if pin != Pin::Transaction)
            && !self.worker.cluster().is_writer(server)
            && routing::route(&free, &request.statement, rule).target == Target::Writer;
        if left_behind {
            tracing::info!(session = self.entry.handle.id, server = %server.id, "pinned to a former writer");
            return Err(End::Client);
        }
        Ok(())
    }

    /// [`Self::acquire`], which may wait for long, until the statement or the session is killed. `now` is the moment when
    /// it is over.
    async fn acquire_unless_killed(
        &mut self,
        decision: Decision<'_>,
        request: &Request<'_>,
        consistency: Consistency,
        search: &mut Search,
    ) -> Result<Result<Acquired, ServerError>, End> {
        let calls = self.calls.clone();
        let acquired = {
            let acquire = self.acquire(decision, request.text(), consistency, search);
            tokio::pin!(acquire);
            if let Poll::Ready(acquired) = poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx))).await {
                return Ok(acquired);
            }
            loop {
                tokio::select! {
                    biased;
                    acquired = &mut acquire => break Ok(acquired),
                    () = calls.called() => match calls.asked() {
                        Some(Kill::Session) => break Err(End::Error(ServerError::interrupted())),
                        Some(Kill::Shutdown) => break Err(End::Error(ServerError::shutdown())),
                        Some(Kill::Query) => break Ok(Err(ServerError::interrupted())),
                        Some(Kill::Drain) | None => {}
                    }
                }
            }
        };
        self.now = Instant::now();
        acquired
    }

    fn count(&self, reason: Reason) {
        self.worker.shard().reason(reason).inc();
    }

    pub(super) fn rule<'a>(&self, config: &'a Config, request: &Request<'_>) -> Option<&'a Rule> {
        if config.rules.is_empty() {
            return None;
        }
        let asked = Asked {
            user: &self.identity.user,
            schema: self.state.settings().schema().unwrap_or_default(),
            client: self.host.parse::<IpAddr>().ok(),
            sql: request.sql,
            mode: self.state.mode(self.worker.cluster().mode),
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
        server: &Server,
        search: &mut Search,
    ) -> Result<Next, End> {
        match failure {
            Failure::Client => Err(End::Client),
            Failure::Killed(error) => Err(End::Error(error)),
            Failure::Unsent => Ok(Next::Elsewhere),
            Failure::Stale => {
                self.worker.shard().freshness_timeouts.inc();
                server.note_late(self.now);
                search.waited();
                Ok(Next::Elsewhere)
            }
            Failure::Withheld(error) if lacks_table(&error) => Ok(Next::Tables),
            Failure::Withheld(error) if tells_read_only(&error) && self.may_move_to_writer(request, server) => {
                // A view may call a function that writes.
                Ok(Next::Writer(Reason::UnknownFunction))
            }
            Failure::Withheld(error) => {
                self.worker.context.report_failure(&server.id, &error);
                self.worker.shard().retries.inc();
                search.refused(error);
                Ok(Next::Elsewhere)
            }
            Failure::Refused(error) | Failure::Unprepared(error) => {
                // A replica may lack what the session's settings name, such as a new schema.
                if self.may_move_to_writer(request, server) {
                    return Ok(Next::Writer(Reason::Freshness));
                }
                self.send_error(&error).await?;
                Ok(Next::GiveUp)
            }
            Failure::NoSchema => {
                // A replica may not have it yet. If the writer does not have it, the session is in none.
                if self.worker.cluster().is_writer(server) {
                    self.state.leave_schema();
                }
                Ok(Next::Writer(Reason::Freshness))
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

    /// Whether a statement that failed on `server` is to be tried on the writer, which is another one.
    fn may_move_to_writer(&self, request: &Request<'_>, server: &crate::backend::Server) -> bool {
        let cluster = self.worker.cluster();
        cluster.writer.is_some() && !cluster.is_writer(server) && request.repeatable()
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
}

/// What follows a failure.
enum Next {
    /// The client has its answer.
    GiveUp,
    Writer(Reason),
    Elsewhere,
    /// To the connection with the session's temporary tables.
    Tables,
}
