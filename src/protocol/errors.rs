//! The ERR packet, and every error that Weir raises in its own name, each with the number, SQLSTATE and text that a real
//! server uses for it: applications and connection pools look at these. Which error fits a situation is the caller's
//! decision.
//!
//! Source: "ERR_Packet"; the servers' message files.

use std::fmt;

use super::capabilities::Capabilities;
use super::wire::{Malformed, Reader};
use crate::sql::Dialect;

/// First byte of an ERR packet.
pub const ERR: u8 = 0xFF;

/// One error as it travels: number, SQLSTATE, text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The error number.
    pub code: u16,
    /// Five ASCII characters.
    pub state: [u8; 5],
    /// The text, in the connection's character set.
    pub message: Vec<u8>,
}

/// Whether the client gave a password: part of the text of "access denied".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsingPassword {
    /// The response was not empty.
    Yes,
    /// The response was empty.
    No,
}

impl ServerError {
    /// SQLSTATE of an error that has none of its own.
    const GENERAL: &'static [u8; 5] = b"HY000";

    /// Appends the payload. The SQLSTATE is written only to a peer with `PROTOCOL_41`; before the login nothing is agreed
    /// (`Capabilities::NONE`), and servers leave it out too.
    pub fn write(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        out.push(ERR);
        out.extend_from_slice(&self.code.to_le_bytes());
        if capabilities.has(Capabilities::PROTOCOL_41) {
            out.push(b'#');
            out.extend_from_slice(&self.state);
        }
        out.extend_from_slice(&self.message);
    }

    /// [`write`](Self::write) into a payload of its own.
    pub fn payload(&self, capabilities: Capabilities) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.message.len());
        self.write(capabilities, &mut out);
        out
    }

    /// Reads an ERR packet with or without SQLSTATE. MariaDB's progress reports (number 0xFFFF) are not errors; whoever
    /// asked for them (`PROGRESS`) must look at the number first.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8("ERR header")? != ERR {
            return Err(Malformed("ERR header"));
        }
        let code = reader.u16("error number")?;
        let (state, message) = match reader.rest() {
            [b'#', a, b, c, d, e, message @ ..] => ([*a, *b, *c, *d, *e], message),
            message => (*Self::GENERAL, message),
        };
        Ok(Self { code, state, message: message.to_vec() })
    }

    fn new(code: u16, state: &[u8; 5], message: impl Into<Vec<u8>>) -> Self {
        Self { code, state: *state, message: message.into() }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (state, message) = (String::from_utf8_lossy(&self.state), String::from_utf8_lossy(&self.message));
        write!(f, "error {} ({state}): {message}", self.code)
    }
}

impl std::error::Error for ServerError {}

/// Connecting and logging in.
impl ServerError {
    /// No room for another client.
    pub fn too_many_connections() -> Self {
        Self::new(1040, b"08004", "Too many connections")
    }

    /// No room for another client of this user.
    pub fn too_many_of_user(user: &str) -> Self {
        let text = format!("User {user} already has more than 'max_user_connections' active connections");
        Self::new(1203, b"42000", text)
    }

    /// A greeting or login that breaks the protocol.
    pub fn bad_handshake() -> Self {
        Self::new(1043, b"08S01", "Bad handshake")
    }

    /// The user may not use this schema.
    pub fn schema_denied(user: &[u8], host: &[u8], schema: &[u8]) -> Self {
        let (user, host, schema) = (cut(user, 48), cut(host, 64), cut(schema, 192));
        let text = [&b"Access denied for user '"[..], user, b"'@'", host, b"' to database '", schema, b"'"];
        Self::new(1044, b"42000", text.concat())
    }

    /// Unknown user or wrong password: the same text for both.
    pub fn access_denied(user: &[u8], host: &[u8], password: UsingPassword) -> Self {
        let using: &[u8] = match password {
            UsingPassword::Yes => b"YES",
            UsingPassword::No => b"NO",
        };
        let (user, host) = (cut(user, 48), cut(host, 64));
        let text = [&b"Access denied for user '"[..], user, b"'@'", host, b"' (using password: ", using, b")"];
        Self::new(1045, b"28000", text.concat())
    }

    /// The schema named at the login or by `COM_INIT_DB` does not exist.
    pub fn unknown_database(schema: &[u8]) -> Self {
        Self::new(1049, b"42000", [&b"Unknown database '"[..], cut(schema, 192), b"'"].concat())
    }

    /// The client address may not connect.
    pub fn host_denied(host: &[u8]) -> Self {
        let text = [&b"Host '"[..], cut(host, 255), b"' is not allowed to connect to this MySQL server"];
        Self::new(1130, b"HY000", text.concat())
    }

    /// One user has more sessions than allowed.
    pub fn too_many_user_connections(user: &[u8]) -> Self {
        let text = [&b"User "[..], cut(user, 64), b" already has more than 'max_user_connections' active connections"];
        Self::new(1203, b"42000", text.concat())
    }

    /// A client from before 4.1, or one that knows no plugin that Weir knows.
    pub fn old_client() -> Self {
        let text =
            "Client does not support authentication protocol requested by server; consider upgrading MySQL client";
        Self::new(1251, b"08004", text)
    }

    /// The listener wants TLS and the client came without.
    pub fn tls_required() -> Self {
        let text = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
        Self::new(3159, b"HY000", text)
    }
}

/// Packets and the connection itself.
impl ServerError {
    /// A command byte that Weir does not serve.
    pub fn unknown_command() -> Self {
        Self::new(1047, b"08S01", "Unknown command")
    }

    /// Weir or the server is shutting down.
    pub fn shutdown() -> Self {
        Self::new(1053, b"08S01", "Server shutdown in progress")
    }

    /// The command is longer than allowed.
    pub fn packet_too_large() -> Self {
        Self::new(1153, b"08S01", "Got a packet bigger than 'max_allowed_packet' bytes")
    }

    /// The sequence id is not the expected one.
    pub fn packets_out_of_order() -> Self {
        Self::new(1156, b"08S01", "Got packets out of order")
    }

    /// The client's connection failed while reading.
    pub fn read_failed() -> Self {
        Self::new(1158, b"08S01", "Got an error reading communication packets")
    }

    /// The client took too long to send.
    pub fn read_timeout() -> Self {
        Self::new(1159, b"08S01", "Got timeout reading communication packets")
    }

    /// The client's connection failed while writing.
    pub fn write_failed() -> Self {
        Self::new(1160, b"08S01", "Got an error writing communication packets")
    }

    /// The client took too long to read.
    pub fn write_timeout() -> Self {
        Self::new(1161, b"08S01", "Got timeout writing communication packets")
    }

    /// A command whose body cannot be parsed; `stop` is how the server ends the sentence.
    pub fn malformed_packet(stop: &str) -> Self {
        Self::new(1835, b"HY000", format!("Malformed communication packet{stop}"))
    }

    /// The client was silent for too long.
    pub fn idle_timeout() -> Self {
        let text = "The client was disconnected by the server because of inactivity. \
                    See wait_timeout and interactive_timeout for configuring this behavior.";
        Self::new(4031, b"HY000", text)
    }

    /// The server went away after it may have begun the statement. The number is a client library's, because that is
    /// what an application sees when a single server dies, and what its retry logic knows.
    pub fn server_lost() -> Self {
        Self::new(2013, b"HY000", "Lost connection to MySQL server during query")
    }

    /// No server could be reached to send the statement to: it was not executed.
    pub fn no_server(why: &str) -> Self {
        Self::new(2003, b"HY000", format!("Can't connect to MySQL server: {why}"))
    }
}

/// Statements.
impl ServerError {
    /// A statement needs a schema and none is chosen.
    pub fn no_database_selected() -> Self {
        Self::new(1046, b"3D000", "No database selected")
    }

    /// `KILL` of a session that is not there.
    pub fn unknown_thread(id: u64) -> Self {
        Self::new(1094, b"HY000", format!("Unknown thread id: {id}"))
    }

    /// `KILL` of another user's session.
    pub fn kill_denied(id: u64) -> Self {
        Self::new(1095, b"HY000", format!("You are not owner of thread {id}"))
    }

    /// An error that no number fits; `what` is the whole text.
    pub fn other(what: &str) -> Self {
        Self::new(1105, b"HY000", what)
    }

    /// A command that is switched off.
    pub fn not_allowed() -> Self {
        Self::new(1148, b"42000", "The used command is not allowed with this MySQL version")
    }

    /// A wait for a server, a lease or a failover took too long: safe to run the transaction again.
    pub fn wait_timeout() -> Self {
        Self::new(1205, b"HY000", "Lock wait timeout exceeded; try restarting transaction")
    }

    /// Bad arguments of a command, such as too few bound parameters.
    pub fn wrong_arguments(command: &str) -> Self {
        Self::new(1210, b"HY000", format!("Incorrect arguments to {command}"))
    }

    /// A privilege is missing.
    pub fn privilege_denied(privilege: &str) -> Self {
        let text = format!("Access denied; you need (at least one of) the {privilege} privilege(s) for this operation");
        Self::new(1227, b"42000", text)
    }

    /// A statement that Weir cannot take; `what` goes into the server's text.
    pub fn not_supported(what: &str) -> Self {
        Self::new(1235, b"42000", format!("This version of MySQL doesn't yet support '{what}'"))
    }

    /// A command that servers do not have for the statement, or not for this client.
    pub fn not_prepared_yet() -> Self {
        Self::new(1295, b"HY000", "This command is not supported in the prepared statement protocol yet")
    }

    /// A prepared statement that this client does not have; `command` is the server's name for the caller, such as
    /// `mysqld_stmt_execute`.
    pub fn unknown_statement(id: u32, command: &str) -> Self {
        Self::new(1243, b"HY000", format!("Unknown prepared statement handler ({id}) given to {command}"))
    }

    /// The server's `read_only` (or `option`) forbids the write.
    pub fn read_only(option: &str) -> Self {
        let text = format!("The MySQL server is running with the {option} option so it cannot execute this statement");
        Self::new(1290, b"HY000", text)
    }

    /// The statement was killed.
    pub fn interrupted() -> Self {
        Self::new(1317, b"70100", "Query execution was interrupted")
    }

    /// What servers say to whoever kills his own session.
    pub fn connection_killed(dialect: Dialect) -> Self {
        match dialect {
            Dialect::MySql => Self::interrupted(),
            Dialect::MariaDb => Self::new(1927, b"70100", "Connection was killed"),
        }
    }

    /// `COM_STMT_FETCH` of a statement that was not executed with a cursor. `stop` is the full stop that only MySQL
    /// ends the text with.
    pub fn no_open_cursor(id: u32, stop: &str) -> Self {
        Self::new(1421, b"HY000", format!("The statement ({id}) has no open cursor{stop}"))
    }

    /// A rule of Weir's config refuses the statement. The number is that of a statement that an audit plugin aborts.
    pub fn rejected(rule: &str) -> Self {
        Self::new(3164, b"HY000", format!("The statement was rejected by the rule '{rule}'"))
    }

    /// As many statements of a rule of Weir's config ran as it allows, for too long.
    pub fn no_turn(rule: &str, limit: u32) -> Self {
        let text =
            format!("The statement was not executed: the rule '{rule}' lets {limit} run at once, and none ended");
        Self::new(3164, b"HY000", text)
    }

    /// The client has as many prepared statements as allowed.
    pub fn too_many_statements(limit: u64) -> Self {
        let text = format!("Can't create more than max_prepared_stmt_count statements (current value: {limit})");
        Self::new(1461, b"42000", text)
    }

    /// A write in a read-only transaction.
    pub fn read_only_transaction(dialect: Dialect) -> Self {
        let stop = if dialect == Dialect::MySql { "." } else { "" };
        Self::new(1792, b"25006", format!("Cannot execute statement in a READ ONLY transaction{stop}"))
    }

    /// No server takes writes now.
    pub fn read_only_mode() -> Self {
        Self::new(1836, b"HY000", "Running in read-only mode")
    }

    /// The statement ran longer than a rule allows.
    pub fn statement_timeout() -> Self {
        Self::new(3024, b"HY000", "Query execution was interrupted, maximum statement execution time exceeded")
    }
}

/// A name as servers put it into a text: no longer than `limit` bytes, and not ending inside a UTF-8 character.
fn cut(name: &[u8], limit: usize) -> &[u8] {
    let is_start = |at: &usize| name.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80);
    let end = (0..=limit).rev().find(is_start).unwrap_or(0).min(name.len());
    name.get(..end).unwrap_or(name)
}

#[cfg(test)]
mod tests;
