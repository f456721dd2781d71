//! One statement from its decision to its end: a connection for it, the exchange, what its reply leads to.

use std::{
    future::poll_fn,
    net::IpAddr,
    task::Poll,
    time::{Duration, Instant},
};

use super::{
    acquire::{Acquired, Search},
    observe::{Exchanged, Withhold},
    request::Request,
    session::{End, Session},
    turn::Turn,
};
use crate::{
    backend::Server,
    config::{Config, Consistency, Route, Rule},
    context::Kill,
    protocol::ServerError,
    routing::{self, Asked, Decision, Implicit, Situation, Target},
    session::Pins,
    telemetry::{Pin, Reason},
};

/// What is settled of a request's run before it has a connection.
pub(super) struct Course<'a> {
    pub(super) config: &'a Config,
    rule: Option<&'a Rule>,
    pub(super) consistency: Consistency,
    pub(super) transaction: Implicit,
    /// The request ends the session's transaction on a replica, and runs elsewhere.
    leaves: bool,
    /// Where it goes, unless it asks about the statement before.
    pub(super) free: Decision<'a>,
    /// When the client sent it.
    arrived: Instant,
    /// What pinned the session before.
    pins: Pins,
}

impl Course<'_> {
    /// How long it may run.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.rule.and_then(|rule| rule.timeout)
    }

    /// Whether it cannot run but on the connection that the session holds.
    pub(super) fn is_pinned(&self) -> bool {
        self.free.target == Target::Held
    }

    /// Whether the session is lost with that connection, which else has no more of it than a cursor.
    pub(super) fn is_bound(&self) -> bool {
        self.is_pinned() && !self.pins.without(Pins::of(Pin::Diagnostics)).is_empty()
    }
}

impl Session {
    /// Runs a request and answers the client.
    pub async fn run(&mut self, request: &mut Request<'_>) -> Result<(), End> {
        if self.moves_on(&request.statement, request.sql) {
            self.move_on().await?;
        }
        let config = self.worker.config();
        match self.runs_beside(&config, request) {
            true => self.run_beside(None, &config, request).await,
            false => self.run_where_held(&config, request).await,
        }
    }

    /// Runs a request on the connection that the session holds, if it holds one.
    pub(super) async fn run_where_held(&mut self, config: &Config, request: &mut Request<'_>) -> Result<(), End> {
        let route = self.route.clone();
        request.begins_again = self.moves_read_only_transaction(&request.ran());
        let leaves = request.begins_again
            || self.leaves_read_only_transaction(&request.ran(), request.sql) && self.is_understood(request.sql).await;
        let mut course = self.course(config, &route, request, leaves);
        if course.free.target == Target::Reject {
            self.count(Reason::Rejected);
            let name = course.rule.map_or("", |rule| &rule.name);
            return self.send_error(&ServerError::rejected(name)).await;
        }
        let turn = match course.rule {
            Some(rule) => self.take_turn(config, rule).await?,
            None => Turn::Come(None),
        };
        let Turn::Come(turn) = turn else { return Ok(()) };
        let mut search = self.search(config, request);
        let mut decision = self.leave_others(&course, request).await?;
        loop {
            let mut acquired = match self.acquire_unless_killed(&course, decision, request, &mut search).await? {
                Ok(acquired) => acquired,
                Err(error) if search.home.take().is_some() && error.code != ServerError::interrupted().code => {
                    course = self.course_at_home(config, &route, request, leaves);
                    decision = course.free;
                    continue;
                }
                Err(error) => {
                    self.count(decision.reason);
                    return self.send_error(&error).await;
                }
            };
            request.withhold = match self.may_be_elsewhere(&course, decision.target, request, &acquired.held.server) {
                true => Withhold::Absence,
                false => request.withhold(decision.target),
            };
            let begun = self.now;
            self.entry.handle.statement_begins(acquired.reason, &acquired.held.server, begun);
            let mut said = Exchanged::default();
            let wait = acquired.wait.as_ref();
            let exchanged = self.exchange(&course, &mut acquired.held, request, wait, &mut said).await;
            self.now = Instant::now();
            self.worker.spin.go_on(self.now);
            let Err(failure) = exchanged else {
                drop(turn);
                return self.after_reply(&course, request, acquired, begun, &said);
            };
            match self.after_failure(&course, request, acquired.held, failure, decision, &mut search).await? {
                Some(Decision { target: Target::Held, .. }) => {
                    course = self.course_at_home(config, &route, request, leaves);
                    decision = course.free;
                }
                Some(next) => decision = next,
                None => return Ok(()),
            }
        }
    }

    /// What of a request's run is settled before it has a connection. `leaves`: it ends the session's transaction on a
    /// replica.
    fn course<'a>(&self, config: &'a Config, route: &'a Route, request: &Request<'a>, leaves: bool) -> Course<'a> {
        let rule = self.rule(config, request);
        let transaction = self.implicit_transaction(config);
        // What lingers is recalled, and stands for nothing else but its cursors.
        let held = self.pin().filter(|pin| !leaves && (*pin != Pin::Diagnostics || request.fetches()));
        let situation = Situation { route, held, transaction };
        Course {
            config,
            rule,
            consistency: rule.and_then(|rule| rule.consistency).unwrap_or(config.reads.consistency),
            transaction,
            leaves,
            free: routing::route(&situation, &request.statement, rule),
            arrived: self.now,
            pins: self.state.pins(),
        }
    }

    fn search(&self, config: &Config, request: &Request<'_>) -> Search {
        let mut search = if request.repeatable() { Search::default() } else { Search::once() };
        search.home = self.home(config, request);
        search
    }

    /// The course of a request that ran beside the connection where the session is at home, and is to run there now.
    fn course_at_home<'a>(
        &mut self,
        config: &'a Config,
        route: &'a Route,
        request: &Request<'a>,
        leaves: bool,
    ) -> Course<'a> {
        // Nothing is held while a statement runs beside.
        drop(self.unpark());
        self.course(config, route, request, leaves)
    }

    /// Leaves the connection that the session holds and that the request does not run on, and takes the one again that the
    /// request asks about. Returns where the request goes.
    async fn leave_others<'a>(&mut self, course: &Course<'a>, request: &Request<'_>) -> Result<Decision<'a>, End> {
        if course.leaves || course.transaction == Implicit::Reading && !course.is_pinned() {
            self.keep_insert_id().await;
            self.stop_reading().await;
        }
        if self.lacks_insert_id(request.sql) {
            self.find_insert_id().await?;
        }
        let decision = self.recall(&request.statement, course.free);
        if decision.target != Target::Held && self.lingers() {
            self.move_on().await?;
        }
        Ok(decision)
    }

    /// Counts what ran and learns what it did.
    fn after_reply(
        &mut self,
        course: &Course<'_>,
        request: &Request<'_>,
        Acquired { held, reason, .. }: Acquired,
        begun: Instant,
        exchanged: &Exchanged,
    ) -> Result<(), End> {
        self.count(reason);
        held.server.metrics.shard(self.worker.index).latency.observe(self.now - begun);
        self.note_if_slow(course.config, request, &held.server.id, reason, course.arrived);
        if !course.is_pinned() {
            let reads_first = matches!(course.transaction, Implicit::ReadsFirst | Implicit::Reading);
            self.reading = reads_first && reason == Reason::Read;
        }
        let refusing = exchanged.read_only.then(|| held.server.clone());
        let finished = self.finish(held, request, exchanged, reason);
        self.count_pins(course.pins);
        match refusing {
            Some(server) => finished.and_then(|()| self.leave_former_writer(&server, request, course.rule)),
            None => finished,
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
        course: &Course<'_>,
        decision: Decision<'_>,
        request: &Request<'_>,
        search: &mut Search,
    ) -> Result<Result<Acquired, ServerError>, End> {
        let calls = self.calls.clone();
        let acquired = {
            let acquire = self.acquire(course, decision, request.text(), search);
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
            mode: self.mode(),
        };
        routing::first_match(&config.rules, &asked)
    }
}
