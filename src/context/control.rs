//! Requests to the running application, and the views that answer them.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::{Role, ServerId, State};

/// Answers one [`Control`] request.
pub type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// What an operator, a signal or a session can ask of the application. Every request is answered, or its reply
/// sender is dropped because the application is going down.
#[derive(Debug)]
pub enum Control {
    /// Every server with its health and load.
    Servers(Reply<Vec<ServerView>>),
    /// Every session, oldest first.
    Sessions(Reply<Vec<SessionView>>),
    /// Change a server's state until the next reload that names another one.
    SetState { server: ServerId, state: State, reply: Reply<()> },
    /// Read the config file again. Answers with one line per change.
    Reload(Reply<Vec<String>>),
    /// End a session (`query_only`: only the statement it runs). `user` is who asks; None: an operator.
    Kill { session: u32, query_only: bool, user: Option<String>, reply: Reply<()> },
    /// Drain and exit.
    Shutdown(Reply<()>),
}

/// Why a request was refused: what was asked and what is wrong with it, one problem a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("no server is named {0}")]
    UnknownServer(String),
    #[error("no session has the id {0}")]
    UnknownSession(u32),
    #[error("session {0} belongs to another user")]
    NotYours(u32),
    #[error("the new configuration was refused:\n{0}")]
    Reload(String),
    #[error("Weir is shutting down")]
    Closing,
}

/// One server as an operator sees it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ServerView {
    pub name: String,
    pub address: String,
    /// Configured role.
    #[serde(serialize_with = "debug_lower")]
    pub role: Role,
    /// Whether it is the writer now.
    pub is_writer: bool,
    #[serde(serialize_with = "debug_lower")]
    pub state: State,
    pub weight: u32,
    /// Health as the probes see it: `up`, `down`, `lagging`, `unknown`, with the cause of the last failure.
    pub health: String,
    pub version: Option<String>,
    pub read_only: Option<bool>,
    pub lag: Option<Duration>,
    /// The newest GTID set or position known of it.
    pub gtid: Option<String>,
    pub connections_idle: u32,
    pub connections_used: u32,
    pub max_connections: u32,
    /// Statements served, by what they were.
    pub reads: u64,
    pub writes: u64,
    pub transactions: u64,
    pub errors: u64,
}

/// One session as an operator sees it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SessionView {
    pub id: u32,
    pub user: String,
    pub client: String,
    /// What the client calls itself: its connection attribute `program_name`.
    pub program: Option<String>,
    pub schema: Option<String>,
    /// `idle`, `running`, `login`.
    pub phase: &'static str,
    /// Since the phase began.
    pub since: Duration,
    /// The server whose connection it holds.
    pub server: Option<String>,
    /// Why it holds it.
    pub pin: Option<&'static str>,
    /// The last decision, as `target reason`.
    pub decision: String,
    pub statements: u64,
}

fn debug_lower<T: std::fmt::Debug, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{value:?}").to_ascii_lowercase())
}
