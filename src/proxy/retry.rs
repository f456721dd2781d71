//! What follows when an exchange failed: the statement goes elsewhere, the client hears of it, or its session ends.

use super::{
    acquire::Search,
    exchange::Failure,
    observe::{tells_absence, tells_read_only},
    request::{Body, Request},
    run::Course,
    session::{End, Held, Session},
};
use crate::{
    backend::Server,
    protocol::ServerError,
    routing::{Decision, Implicit, Target},
    sql::Effects,
    telemetry::Reason,
};

impl Session {
    /// Returns where the request goes next, [`Target::Held`] being where the session is at home; None: the client has its
    /// answer.
    pub(super) async fn after_failure<'a>(
        &mut self,
        course: &Course<'a>,
        request: &Request<'_>,
        mut held: Held,
        failure: Failure,
        mut decision: Decision<'a>,
        search: &mut Search,
    ) -> Result<Option<Decision<'a>>, End> {
        if let Some(text) = request.text().filter(|text| text.is_own() && !request.fetches()) {
            // It was prepared for this one execute.
            held.lease.connection_mut().close_statement(text);
        }
        self.unfit_form(held.lease.connection_mut(), request, None);
        if course.is_pinned()
            && let Failure::Unprepared(error) | Failure::Request(error) = &failure
        {
            // As with a server, the transaction goes on.
            self.held = Some(held);
            return self.refuse(request, error).await.map(|()| None);
        }
        let failure = match failure {
            // As with a server, which says no more.
            Failure::Server { cause, sent, .. } if sent > 0 && self.may_have_ended(request, &held, None) => {
                Failure::Server { cause, sent, boundary: None }
            }
            other => other,
        };
        let server = held.server.clone();
        self.leave_after_failure(held, course, request, &failure);
        (self.doubt, self.unread) = (None, None);
        server.metrics.shard(self.worker.index).errors.inc();
        if course.is_pinned() {
            self.state.lose_connection();
            if let (Body::Fetch { id, .. }, false) = (&request.body, course.is_bound()) {
                return self.lose_cursor(*id, failure).await.map(|()| None);
            }
            if course.transaction != Implicit::Reading || !request.repeatable() {
                return Err(self.after_loss(failure));
            }
            // Nothing of the transaction is lost with its replica.
            self.reading = false;
            decision = Decision { target: Target::Reader, reason: Reason::Read };
        } else if decision.target == Target::Held {
            self.state.lose_connection();
            decision = course.free;
        }
        Ok(match self.what_follows(failure, request, &server, search).await? {
            Next::GiveUp => None,
            Next::Writer(reason) => Some(Decision { target: Target::Writer, reason }),
            Next::Elsewhere => {
                search.exclude(&server.id);
                Some(decision)
            }
            Next::Tables => Some(Decision { target: Target::Held, reason: Reason::Pinned }),
        })
    }

    /// Tells the client of an error for which a server would not have run the request, but used up its long data.
    async fn refuse(&mut self, request: &Request<'_>, error: &ServerError) -> Result<(), End> {
        if let Body::Execute { execute, .. } = &request.body
            && let Some(statement) = self.statements.find(execute.statement)
        {
            statement.use_up_long_data(Some(error.code));
        }
        self.send_error(error).await
    }

    /// Closes the connection, but for one that said that something is not there: applications may ask for that often.
    fn leave_after_failure(&mut self, mut held: Held, course: &Course<'_>, request: &Request<'_>, failure: &Failure) {
        let absence = matches!(failure, Failure::Withheld(error) if tells_absence(error));
        if absence && course.transaction == Implicit::None && request.statement.effects == Effects::NONE {
            held.lease.connection_mut().prove_clean();
            self.put_aside(held);
        } else {
            held.lease.discard();
        }
    }

    /// Whether what the request does not find on `server` may be elsewhere: in the session's temporary tables, or on the
    /// writer, whose changes to tables and privileges a replica may not have yet. A writer that is down is not waited for.
    pub(super) fn may_be_elsewhere(
        &self,
        course: &Course<'_>,
        target: Target<'_>,
        request: &Request<'_>,
        server: &Server,
    ) -> bool {
        self.parked.is_some() && !request.fetches()
            || matches!(target, Target::Any | Target::Reader)
                && course.config.reads.writer_fallback
                && request.repeatable()
                && self.worker.cluster().writer_but(server).is_some()
    }

    /// How a session ends whose connection is gone with what it stood for.
    pub(super) fn after_loss(&mut self, failure: Failure) -> End {
        match failure {
            Failure::Client => End::Client,
            Failure::Killed(error)
            | Failure::Refused(error)
            | Failure::Unprepared(error)
            | Failure::Request(error)
            | Failure::Withheld(error) => End::Error(error),
            Failure::Unsent | Failure::Stale | Failure::NoSchema => End::Error(ServerError::server_lost()),
            Failure::Server { sent, boundary, .. } => self.broken_reply(sent, boundary),
        }
    }

    /// What to do about a request whose connection is gone.
    async fn what_follows(
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
            Failure::Withheld(error) if tells_absence(&error) => Ok(match self.parked {
                Some(_) => Next::Tables,
                None => {
                    search.refused(error);
                    Next::Writer(Reason::Freshness)
                }
            }),
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
                self.refuse(request, &error).await?;
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
                self.refuse(request, &error).await?;
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
    fn may_move_to_writer(&self, request: &Request<'_>, server: &Server) -> bool {
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
