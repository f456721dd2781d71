//! One command and its reply over one server connection: alignment, a wait for freshness, the command, the relay.

use std::{borrow::Cow, sync::Arc};

use super::{
    forms::Fit,
    front::read_alignment,
    inquire::Doubt,
    observe::{Exchanged, ReplyObserver},
    parked::Parked,
    prepared::Legs,
    relay::{Relay, RelayError},
    request::{Body, Request, with_statement_id},
    run::Course,
    session::{Held, Session},
    watch::{Signals, Watch},
};
use crate::{
    backend::{Alignment, ConnectError, Reports, Server, ServerConnection},
    config::{Config, Consistency},
    protocol::{
        Capabilities, ResponseTracker, ServerError, Shape, code, gtid::Position, put_packets, query_attributes,
    },
    sql::{Dialect, Effects, Kind, asks_connection_id, changes_stored_code},
    telemetry::Pin,
};

/// Why there is no complete reply. Unless it says so, the connection is of no use any more.
#[derive(Debug)]
pub enum Failure {
    Client,
    /// The session was killed, of which this error tells. Nothing reached the client.
    Killed(ServerError),
    /// The server was found dead before anything was sent to it.
    Unsent,
    /// The server did not run the statement; another one may. Nothing reached the client.
    Withheld(ServerError),
    /// The replica did not have the session's own writes in time. Nothing reached the client.
    Stale,
    /// The server refused the alignment. Nothing reached the client.
    Refused(ServerError),
    /// The server refused to prepare the statement again. Nothing reached the client, and the connection is in step.
    Unprepared(ServerError),
    /// The server would not enter the session's schema. Nothing was run.
    NoSchema,
    /// The client's command is wrong. Nothing reached the client, and the connection is in step.
    Request(ServerError),
    /// The connection broke after the client was sent that many bytes; an error may follow with the sequence number
    /// `boundary`, if there is one.
    Server {
        cause: String,
        sent: u64,
        boundary: Option<u8>,
    },
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused(error) => Self::Refused(error),
            other => Self::Server { cause: other.to_string(), sent: 0, boundary: Some(1) },
        }
    }
}

impl Session {
    /// Sends a request and relays its reply, of which `said` learns. Past the limit the server is asked to stop.
    pub async fn exchange(
        &mut self,
        course: &Course<'_>,
        held: &mut Held,
        request: &Request<'_>,
        wait: Option<&Position>,
        said: &mut Exchanged,
    ) -> Result<(), Failure> {
        let Held { lease, server } = held;
        // Who is found dead later than this wakes the statement.
        if server.is_down() {
            return Err(Failure::Unsent);
        }
        let (written, begun) = (self.client.written, self.now);
        let connection = lease.connection_mut();
        let beside = self.beside(server, connection);
        let (signals, calls, shape) = (Signals::default(), self.calls.clone(), request.shape);
        let mut watch = Watch { calls, server, beside: &beside, shape, signals: &signals, killing: None };
        let result = {
            let to = (&**server, connection);
            let conversation = self.converse(course.config, to, request, wait, &signals, said);
            tokio::pin!(conversation);
            watch.over(conversation, course.limit(), begun).await
        };
        if watch.has_to_end(&result) {
            watch.end(&result).await;
        }
        // Of a conversation that was given up, the stream alone knows how far it came.
        let sent = self.client.written - written;
        match result {
            // An error packet cannot stand in the middle of a reply.
            Err(Failure::Killed(_)) if sent > 0 => Err(Failure::Client),
            Err(Failure::Server { cause, boundary, .. }) => Err(Failure::Server { cause, sent, boundary }),
            Err(failure) => Err(failure),
            Ok(()) => {
                if let Some(position) = wait {
                    server.advance(position);
                }
                said.sent = sent;
                match said.withheld.take() {
                    Some(error) => Err(Failure::Withheld(error)),
                    None => Ok(()),
                }
            }
        }
    }

    /// `said` learns what the reply said.
    async fn converse(
        &mut self,
        config: &Config,
        (server, connection): (&Server, &mut ServerConnection),
        request: &Request<'_>,
        wait: Option<&Position>,
        signals: &Signals,
        said: &mut Exchanged,
    ) -> Result<(), Failure> {
        connection.mark_dirty();
        let scratch = self.worker.scratch.clone();
        let silence = &signals.silence;
        silence.expects_own();
        self.take_over(connection).await?;
        let mut front = Alignment { bytes: scratch.take_spare(), replies: 0 };
        self.disown(server, connection, request, &mut front).await?;
        if let Some(text) = request.text()
            && self.fit_form(connection, request, false) == Fit::Missing
        {
            self.bring_statement(connection, request, text, silence).await?;
        }
        front.settings(connection, self.state.settings());
        if request.ran().effects.has(Effects::SESSION_TRACKING) {
            let chosen = self.tracking.clone().unwrap_or_else(|| Arc::new(connection.tracking.clone()));
            front.tracking(connection, &chosen, !self.state.in_transaction());
        }
        if request.begins_again {
            front.query(connection.capabilities, b"START TRANSACTION READ ONLY");
        }
        let harmless = request.statement.kind == Kind::Read
            && !request.statement.kind.may_run_stored_code(request.statement.effects);
        if !harmless && front.replies > 0 {
            // If the server refuses a part of it, the statement would do its work in another schema or another mode.
            connection.packets.write_bytes(&front.bytes).await.map_err(ConnectError::from)?;
            silence.expects_own();
            read_alignment(connection, front.replies, &scratch).await?;
            front = Alignment::default();
        }
        let ahead = self.ask_ahead(config, connection, request, wait, &mut front);
        let mut bytes = front.bytes;
        let sequence = self.put_request(&mut bytes, connection, request)?;
        connection.put_closing(&mut bytes);
        silence.expects_reply();
        connection.packets.write_bytes(&bytes).await.map_err(ConnectError::from)?;
        scratch.leave_spare(bytes);
        if front.replies > 0 {
            silence.expects_own();
        }
        said.hides = self.read_ahead(connection, request, ahead).await?;
        silence.expects_reply();
        self.relay(config, connection, request, sequence, signals, said).await
    }

    /// Returns the sequence number that the reply begins with.
    fn put_request(
        &mut self,
        out: &mut Vec<u8>,
        connection: &mut ServerConnection,
        request: &Request<'_>,
    ) -> Result<u8, Failure> {
        let mut sequence = 0;
        let unknown = |id| Failure::Request(ServerError::unknown_statement(id, "mysqld_stmt_execute"));
        match &request.body {
            Body::Plain(payload) | Body::Prepare { payload, .. } => {
                let payload = understood(payload, request.sql, self.capabilities, connection.capabilities);
                put_packets(out, &mut sequence, &payload);
            }
            Body::Execute { execute, text } => {
                let id = connection.statements.id(text).ok_or_else(|| unknown(execute.statement))?;
                let statement = self.statements.find(execute.statement).ok_or_else(|| unknown(execute.statement))?;
                let legs = Legs { client: self.capabilities, server: connection.capabilities };
                let executed = statement.put_execute(out, id, execute, legs);
                let malformed = |error| Failure::Request(self.malformed_execute(execute.statement, error));
                sequence = executed.map_err(malformed)?;
            }
            Body::BulkExecute { bulk, text } => {
                let id = connection.statements.id(text).ok_or_else(|| unknown(bulk.statement))?;
                let statement = self.statements.find(bulk.statement).ok_or_else(|| unknown(bulk.statement))?;
                let executed = statement.put_bulk_execute(out, id, bulk);
                let wrong = |_| Failure::Request(ServerError::wrong_arguments("mysqld_stmt_bulk_execute"));
                sequence = executed.map_err(wrong)?;
            }
            Body::Fetch { payload, text, id } => {
                let id = connection.statements.id(text).ok_or_else(|| unknown(*id))?;
                put_packets(out, &mut sequence, &with_statement_id(payload, id));
            }
        }
        Ok(sequence)
    }

    async fn relay(
        &mut self,
        config: &Config,
        connection: &mut ServerConnection,
        request: &Request<'_>,
        sequence: u8,
        signals: &Signals,
        said: &mut Exchanged,
    ) -> Result<(), Failure> {
        let scratch = self.worker.scratch.clone();
        let tracker = ResponseTracker::new(request.shape, connection.capabilities).starting_at(sequence);
        let columns = self.columns(request, connection.capabilities);
        // Who knows the server's is told nothing else.
        let asks_id = request.statement.effects.has(Effects::CONNECTION)
            && !self.state.pins().has(Pin::ConnectionId)
            && asks_connection_id(request.sql, self.mode());
        let own_id = asks_id.then_some(self.entry.handle.id);
        let tracker = tracker.renumbering(connection.packets.miscounts());
        let prepares = matches!(request.body, Body::Prepare { .. }) && connection.dialect() == Dialect::MySql;
        let tracker = tracker.showing_columns(columns.is_some()).showing_parameters(prepares);
        let mut tracker = tracker.showing_rows(asks_id);
        tracker = tracker.asking_for_cursor(request.asks_for_cursor());
        let statement_id = match request.body {
            Body::Prepare { .. } => self.statements.next_id(),
            _ => 0,
        };
        let tracking = match connection.reports {
            Reports::All => Some(self.tracking.as_deref().unwrap_or(&connection.tracking)),
            Reports::Chosen => None,
        };
        let told = Doubt::spread(self.doubt, request.statement);
        let asks_for_files = request.statement.effects.has(Effects::LOCAL_INFILE);
        let may_change_code = request.statement.kind >= Kind::Ddl && changes_stored_code(request.sql, self.mode());
        let files = asks_for_files.then(|| (request.sql, self.mode()));
        let may_change_session = self.may_change_session(request);
        let mut observer = ReplyObserver {
            state: &mut self.state,
            statement: &told,
            doubted: self.doubt.is_some(),
            files,
            dialect: connection.dialect(),
            overdue: &signals.overdue,
            capabilities: self.capabilities,
            tracking,
            untold: &mut self.untold,
            may_change_session,
            withhold: request.withhold,
            transaction: self.parked.as_ref().map(Parked::transaction).unwrap_or_default(),
            commits: uses_global(config).then_some(&*self.worker.context),
            looks: may_change_code.then_some(&self.worker.context.looks),
            statement_id,
            own_id,
            columns,
            said,
        };
        let (client, server) = (&mut self.client, &mut connection.packets);
        let mut relay = Relay::new(client, server, &mut tracker, &mut observer, &scratch, &signals.silence);
        relay.patience = config.timeouts.client_write;
        if request.shape == Shape::Events {
            relay.listen_to_client();
        }
        let run = relay.run().await;
        self.worker.shard().bytes_in.add(relay.received);
        let (error, boundary) = match run {
            Ok(()) => {
                observer.said.columns = observer.columns.and_then(|columns| columns.known());
                return Ok(());
            }
            Err(RelayError::Client) => return Err(Failure::Client),
            // The packets in front of the malformed one were counted, and may not have been passed on.
            Err(error @ RelayError::Malformed(_)) => (error, None),
            Err(error) => (error, tracker.boundary()),
        };
        Err(Failure::Server { cause: error.to_string(), sent: 0, boundary })
    }
}

/// The payload as the server reads it: a query that was sent with attributes, to a server that has none, without.
fn understood<'a>(payload: &'a [u8], sql: &[u8], client: Capabilities, server: Capabilities) -> Cow<'a, [u8]> {
    let both = client.intersect(server);
    let stripped = client.has(Capabilities::QUERY_ATTRIBUTES) && !both.has(Capabilities::QUERY_ATTRIBUTES);
    match payload.first() {
        Some(&code::QUERY) if stripped => Cow::Owned(query_attributes::query(server, sql)),
        _ => Cow::Borrowed(payload),
    }
}

/// Whether some reads must see what all sessions wrote.
fn uses_global(config: &Config) -> bool {
    let global = |consistency| consistency == Some(Consistency::Global);
    global(Some(config.reads.consistency)) || config.rules.iter().any(|rule| global(rule.consistency))
}
