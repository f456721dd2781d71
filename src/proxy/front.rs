//! What is sent in front of a command: what brings the connection to the session's state, a statement that it does not
//! have yet, the wait for a position.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    calls::{self, Procedure},
    exchange::Failure,
    insert_id::{read_insert_id, set_insert_id},
    prepared::Legs,
    request::{Body, Request},
    session::Session,
    silence::Silence,
};
use crate::{
    backend::{Alignment, ConnectError, PreparedText, ServerConnection},
    config::Config,
    net::Scratch,
    protocol::{Capabilities, Execute, ServerError, code, gtid::Position},
    session::{Settings, unite},
    sql::{Dialect, Kind},
};

/// The replies that come ahead of a request's own, in this order.
pub(super) struct Ahead {
    /// To the alignment, so many.
    aligned: usize,
    /// The insert id that the connection is given.
    insert_id: Option<u64>,
    /// To the wait for a position.
    waits: bool,
    /// To the question for the text of what is called.
    procedure: Procedure,
}

impl Session {
    /// Makes a connection, whoever had it, one of this session's.
    pub(super) async fn take_over(&mut self, connection: &mut ServerConnection) -> Result<(), Failure> {
        let scratch = self.worker.scratch.clone();
        if connection.last_session != self.entry.handle.id && connection.owes_insert_id() {
            connection.leave_insert_id(&scratch).await?;
        }
        self.share_with(connection);
        // Never one that is held: a session does not unset its user variables but by a reset.
        if connection.settings.must_be_reset(self.state.settings()) {
            connection.reset(&scratch).await?;
            connection.mark_dirty();
        }
        Ok(())
    }

    /// What is equal in sessions and their connections is one, and compared by its address.
    fn share_with(&mut self, connection: &mut ServerConnection) {
        self.state.share_settings(&mut connection.settings);
        if Arc::ptr_eq(&self.identity, &connection.identity) || **self.identity != *connection.identity {
            return;
        }
        let mut identity = Arc::clone(&self.identity);
        unite(&mut identity, &mut connection.identity);
        if !Arc::ptr_eq(&self.identity, &identity) {
            self.identity = Rc::new(identity);
        }
    }

    /// Adds to an alignment what else goes ahead of a request.
    pub(super) fn ask_ahead(
        &mut self,
        config: &Config,
        connection: &ServerConnection,
        request: &Request<'_>,
        wait: Option<&Position>,
        front: &mut Alignment,
    ) -> Ahead {
        let (aligned, capabilities) = (front.replies, connection.capabilities);
        let insert_id = self.guarded_insert_id(connection, request);
        if let Some(id) = insert_id {
            front.query(capabilities, set_insert_id(id).as_bytes());
        }
        if let Some(position) = wait {
            self.worker.shard().freshness_waits.inc();
            front.query(capabilities, wait_query(position, config.reads.wait_timeout).as_bytes());
        }
        let procedure = self.procedure(request);
        if let Procedure::Asked(sql) = &procedure {
            front.query(capabilities, sql.as_bytes());
        }
        Ahead { aligned, insert_id, waits: wait.is_some(), procedure }
    }

    /// Reads what comes ahead of the reply to a request. Returns whether that may leave behind what no report tells.
    pub(super) async fn read_ahead(
        &mut self,
        connection: &mut ServerConnection,
        request: &Request<'_>,
        ahead: Ahead,
    ) -> Result<bool, Failure> {
        let scratch = self.worker.scratch.clone();
        if ahead.aligned > 0 {
            read_alignment(connection, ahead.aligned, &scratch).await?;
        }
        connection.is_aligned_to(self.state.settings());
        if request.begins_again {
            self.state.begin_again();
        }
        if let Some(id) = ahead.insert_id {
            read_insert_id(connection, id, &scratch).await?;
        }
        if ahead.waits && !waited(connection, &scratch).await? {
            return Err(Failure::Stale);
        }
        Ok(match ahead.procedure {
            Procedure::None => false,
            Procedure::Asked(_) => calls::hides(connection, &scratch, self.mode()).await?,
            Procedure::Unknown => true,
        })
    }

    /// Gives a connection the statement of a request, in the form that it needs.
    pub(super) async fn bring_statement(
        &mut self,
        connection: &mut ServerConnection,
        request: &Request<'_>,
        text: &Arc<PreparedText>,
        silence: &Silence,
    ) -> Result<(), Failure> {
        self.prepare_on(connection, request, text, silence).await?;
        self.fit_form(connection, request, true);
        Ok(())
    }

    /// Prepares the statement of a request.
    async fn prepare_on(
        &mut self,
        connection: &mut ServerConnection,
        request: &Request<'_>,
        text: &Arc<PreparedText>,
        silence: &Silence,
    ) -> Result<(), Failure> {
        let reading = Arc::new(self.state.settings().reading_as(&text.settings));
        let scratch = self.worker.scratch.clone();
        let prepared = match prepare_again(connection, text, &reading, &scratch, silence).await {
            Err(Failure::Unprepared(error)) if is_refused_too_early(request, &error) => {
                self.commit(connection).await.map_err(|error| match error {
                    ConnectError::Refused(error) => Failure::Unprepared(error),
                    other => other.into(),
                })?;
                prepare_again(connection, text, &reading, &scratch, silence).await
            }
            prepared => prepared,
        };
        if let Err(Failure::Unprepared(error)) = &prepared {
            raise_again(connection, self.state.settings(), error, &scratch, silence).await?;
        }
        prepared.map_err(|failure| match (failure, &request.body) {
            (Failure::Unprepared(error), Body::Execute { execute, .. }) => {
                self.first_fault(execute, connection.capabilities, error)
            }
            (failure, _) => failure,
        })
    }

    /// What comes of an execute whose statement a server does not prepare: it reads what is bound before it looks whether
    /// the statement is still one.
    fn first_fault(&mut self, execute: &Execute<'_>, server: Capabilities, error: ServerError) -> Failure {
        let legs = Legs { client: self.capabilities, server };
        let bound = self.statements.find(execute.statement).map(|statement| statement.bind(execute, legs));
        match bound {
            Some(Err(malformed)) => Failure::Request(self.malformed_execute(execute.statement, malformed)),
            _ => Failure::Unprepared(error),
        }
    }
}

/// Whether a server refuses to prepare what it would execute: in a read-only transaction, or before one, MariaDB prepares
/// no `CREATE TABLE`, which commits when it is executed.
fn is_refused_too_early(request: &Request<'_>, error: &ServerError) -> bool {
    // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    request.statement.kind == Kind::Ddl && error.code == 1792
}

/// Swallows the replies to an alignment.
pub(super) async fn read_alignment(
    connection: &mut ServerConnection,
    replies: usize,
    scratch: &Scratch,
) -> Result<(), Failure> {
    for _ in 0..replies {
        connection.read_reply(scratch).await.map_err(|error| match error {
            // Unknown, or forbidden by now.
            ConnectError::Refused(error) if matches!(error.code, 1044 | 1049) => Failure::NoSchema,
            other => other.into(),
        })?;
    }
    Ok(())
}

/// Prepares a statement on a connection. `reading` is the session's settings, but for what the text
/// was read under first: more must not be touched, as `SET autocommit` would commit a transaction that is open.
async fn prepare_again(
    connection: &mut ServerConnection,
    text: &Arc<PreparedText>,
    reading: &Arc<Settings>,
    scratch: &Scratch,
    silence: &Silence,
) -> Result<(), Failure> {
    let mut front = Alignment::default();
    front.settings(connection, reading);
    let aligned = front.replies;
    front.push(code::STMT_PREPARE, &text.sql);
    connection.packets.write_bytes(&front.bytes).await.map_err(ConnectError::from)?;
    silence.expects_own();
    read_alignment(connection, aligned, scratch).await?;
    connection.settings = reading.clone();
    let (prepared, types) = connection.read_prepared(scratch).await.map_err(|error| match error {
        ConnectError::Refused(error) => Failure::Unprepared(error),
        other => other.into(),
    })?;
    connection.remember_statement(text.clone(), prepared.statement, types);
    Ok(())
}

/// Brings a connection that was to read a text as it was read first back to the session's settings. That is a statement,
/// too, of which the client would be told when it asks about its own: so the error is raised once more behind it.
async fn raise_again(
    connection: &mut ServerConnection,
    settings: &Arc<Settings>,
    error: &ServerError,
    scratch: &Scratch,
    silence: &Silence,
) -> Result<(), Failure> {
    let mut front = Alignment::default();
    front.settings(connection, settings);
    let aligned = front.replies;
    if aligned == 0 {
        return Ok(());
    }
    front.query(connection.capabilities, signal(error, connection.dialect()).as_bytes());
    connection.packets.write_bytes(&front.bytes).await.map_err(ConnectError::from)?;
    silence.expects_own();
    read_alignment(connection, aligned, scratch).await?;
    connection.is_aligned_to(settings);
    match connection.read_reply(scratch).await {
        Ok(_) | Err(ConnectError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The statement that fails with an error, of whose text servers take only so many characters.
fn signal(error: &ServerError, dialect: Dialect) -> String {
    let longest = match dialect {
        Dialect::MySql => 128,
        Dialect::MariaDb => 512,
    };
    let text: String = String::from_utf8_lossy(&error.message).chars().take(longest).collect();
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let (code, state) = (error.code, String::from_utf8_lossy(&error.state));
    format!("SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = _utf8mb4 x'{hex}'")
}

/// The query that waits on a replica until it has executed `position`. The limit is for sessions whose
/// `sql_select_limit` is 0.
fn wait_query(position: &Position, limit: Duration) -> String {
    let limit = limit.as_secs_f64();
    match position {
        Position::MySql(set) => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}',{limit}) LIMIT 1"),
        Position::MariaDb(list) => format!("SELECT MASTER_GTID_WAIT('{list}',{limit}) LIMIT 1"),
    }
}

/// Whether the wait in front of the read succeeded.
async fn waited(connection: &mut ServerConnection, scratch: &Scratch) -> Result<bool, Failure> {
    let reply = connection.read_reply(scratch).await?;
    Ok(reply.rows.first().and_then(|row| row.first()) == Some(&Some(b"0".to_vec())))
}
