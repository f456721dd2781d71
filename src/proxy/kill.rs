//! `KILL` names Weir's ids: what the text asks for, and how a statement on a server is stopped.

use std::{sync::Arc, time::Instant};

use tokio::task::JoinHandle;

use super::{
    Worker,
    session::{End, Session},
};
use crate::{
    backend::{ConnectError, Identity, Server, ServerConnection},
    context::Kill,
    protocol::{ServerError, code},
};

/// The id and what to kill, of `KILL [HARD | SOFT] [CONNECTION | QUERY [ID]] n`. None: something else, such as
/// `KILL USER`, which is the server's business.
pub fn parse(sql: &[u8]) -> Option<(u32, Kill)> {
    let text = std::str::from_utf8(sql).ok()?;
    let mut words = text.trim().trim_end_matches(';').split_ascii_whitespace();
    if !words.next()?.eq_ignore_ascii_case("KILL") {
        return None;
    }
    let mut what = Kill::Session;
    for word in words {
        match word.to_ascii_uppercase().as_str() {
            "HARD" | "SOFT" | "CONNECTION" | "ID" => {}
            "QUERY" => what = Kill::Query,
            number => return Some((number.parse().ok()?, what)),
        }
    }
    None
}

impl Session {
    /// Kills a session of this Weir. Users may kill what is theirs.
    pub async fn kill(&mut self, id: u32, what: Kill) -> Result<(), End> {
        let found = self.worker.context.sessions.find(id);
        match found {
            None => self.send_error(&ServerError::unknown_thread(id.into())).await,
            Some(handle) if handle.user() != *self.identity.user => {
                self.send_error(&ServerError::kill_denied(id.into())).await
            }
            Some(handle) => {
                handle.kill(what);
                self.send_ok().await
            }
        }
    }

    /// What stops the statement that runs on `thread` of a server.
    pub fn killer(&self, server: &Arc<Server>, thread: u32) -> Killer {
        let (server, identity) = (server.clone(), self.identity.clone());
        Killer { server, identity, thread, worker: self.worker.clone() }
    }
}

/// Stops a statement over a connection of its own.
pub struct Killer {
    server: Arc<Server>,
    identity: Arc<Identity>,
    thread: u32,
    worker: Worker,
}

impl Killer {
    /// Sends the `KILL QUERY`. Whoever uses the connection for something else must wait for the end of this first, or the
    /// next statement is killed.
    pub fn kill(&self) -> JoinHandle<()> {
        let Self { server, identity, thread, worker } = self;
        let (server, identity, thread, worker) = (server.clone(), identity.clone(), *thread, worker.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = kill_query(&server, identity, thread, &worker).await {
                tracing::warn!(server = %server.id, %error, "a statement could not be killed on its server");
            }
        })
    }
}

async fn kill_query(
    server: &Server,
    identity: Arc<Identity>,
    thread: u32,
    worker: &Worker,
) -> Result<(), ConnectError> {
    let links = worker.context.cluster.load().links.clone();
    let scratch = &worker.scratch;
    let mut connection = ServerConnection::open(&server.address, identity, &links, scratch, Instant::now()).await?;
    let command = [&[code::QUERY][..], format!("KILL QUERY {thread}").as_bytes()].concat();
    let limit = links.connect_timeout;
    let killed = tokio::time::timeout(limit, connection.command(&command, scratch)).await;
    killed.map_err(|_| ConnectError::Timeout(limit))?.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let cases = [
            ("KILL 7", Some((7, Kill::Session))),
            ("kill connection 7;", Some((7, Kill::Session))),
            ("KILL QUERY 7", Some((7, Kill::Query))),
            ("KILL HARD QUERY 7", Some((7, Kill::Query))),
            ("KILL SOFT CONNECTION 7", Some((7, Kill::Session))),
            ("KILL USER app", None),
            ("KILL QUERY ID 7", Some((7, Kill::Query))),
            ("KILL", None),
            ("KILL 99999999999", None),
        ];
        for (sql, expected) in cases {
            assert_eq!(parse(sql.as_bytes()), expected, "{sql}");
        }
    }
}
