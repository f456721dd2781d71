//! Plays a script over one connection and keeps every packet of every reply.

use std::sync::{Arc, Mutex};

use super::{
    bed::raw::{self, Answer, Card, Raw},
    fixtures,
    script::{Script, Step},
};

/// The packets of one reply.
pub type Reply = Vec<Vec<u8>>;

/// What a client has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub replies: Vec<Reply>,
    /// How the connection broke, if it did.
    pub broken: Option<String>,
}

impl Seen {
    /// Whether the other side closed the connection once it had answered something.
    pub fn was_closed(&self) -> bool {
        let closed = |how: &String| how.starts_with("the peer closed") || how.starts_with("the connection broke");
        !self.replies.is_empty() && self.broken.as_ref().is_some_and(closed)
    }

    /// Forgets the commands without a reply that a closed connection still took: whether the client could write them, or
    /// heard of its end by then, is a matter of when the end reached its socket.
    fn forget_unheard(&mut self) {
        if self.broken.is_some() {
            let heard = self.replies.iter().rposition(|reply| !reply.is_empty());
            self.replies.truncate(heard.map_or(0, |last| last + 1));
        }
    }

    /// Whether the server ended a deadlock with an error.
    pub fn deadlocked(&self) -> bool {
        self.replies.iter().filter_map(|reply| raw::error(reply)).any(|error| error.code == 1213)
    }
}

/// Plays `script` in the schema `schema`, which is made anew. A connection that breaks ends it.
pub async fn play(port: u16, script: Arc<Script>, schema: String) -> Seen {
    let replies = Arc::new(Mutex::new(Vec::new()));
    let playing = tokio::task::spawn_local(conversation(port, script, schema, replies.clone()));
    let broken = playing.await.err().map(|error| match error.try_into_panic() {
        Ok(panic) => match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(_) => "the client panicked".to_owned(),
        },
        Err(error) => error.to_string(),
    });
    let mut seen = Seen { replies: std::mem::take(&mut replies.lock().unwrap()), broken };
    seen.forget_unheard();
    seen
}

async fn conversation(port: u16, script: Arc<Script>, schema: String, replies: Arc<Mutex<Vec<Reply>>>) {
    let card = Card::app(script.kind.capabilities());
    let mut raw = Raw::connect(port, &card).await.unwrap_or_else(|error| panic!("no login: {error}"));
    // A script before it may have left one, and killed its connection.
    forget_xa(&mut raw, &schema).await;
    for sql in fixtures::of(&script, &schema) {
        raw.run(&sql).await;
    }
    let mut ids = Vec::new();
    for step in &script.steps {
        let (command, answer) = step.command(&ids);
        let reply = match step {
            Step::ChangeUser { .. } => match raw.change_user(&command, card.password).await {
                Ok(()) => vec![b"changed".to_vec()],
                Err(error) => vec![error.to_string().into_bytes()],
            },
            _ => raw.ask(&command, answer).await,
        };
        if let Step::Prepare { slot, .. } = step {
            let id = (reply[0][0] == 0).then(|| *raw.statements.last().unwrap());
            ids.resize(ids.len().max(slot + 1), None);
            ids[*slot] = id;
        }
        replies.lock().unwrap().push(reply);
    }
    if script.uses_xa() {
        forget_xa(&mut raw, &schema).await;
    }
    raw.ask(b"\x01", Answer::Nothing).await;
}

/// Ends the transaction that a script may have left prepared: it would lock its tables for ever.
async fn forget_xa(raw: &mut Raw, schema: &str) {
    for verb in ["END", "ROLLBACK"] {
        raw.query(format!("XA {verb} '{schema}'")).await;
    }
}
