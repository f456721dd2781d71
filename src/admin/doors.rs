//! What every door is handed, and how a door asks the application.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    context::{Control, ControlError, Reply},
    telemetry::Metrics,
};

/// How long a question to the application may take.
pub(super) const QUESTION: Duration = Duration::from_secs(2);
/// How long a change may take: a reload reads files, resolves names and builds pools.
pub(super) const CHANGE: Duration = Duration::from_secs(30);

/// What the doors know and whom they ask. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Doors {
    pub control: mpsc::Sender<Control>,
    pub metrics: Arc<Metrics>,
    pub readiness: watch::Receiver<Readiness>,
}

/// Whether new clients should be sent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// With the cause, in words for an operator.
    NotReady(String),
}

/// Why a request to the application has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Refused(#[from] ControlError),
    #[error("Weir did not answer within {0:?}")]
    Late(Duration),
}

impl Doors {
    /// Sends a request and waits for its answer: `doors.ask(deadline, Control::Servers)`.
    ///
    /// # Errors
    /// The application's refusal, [`ControlError::Closing`] when it is gone, or no answer before the deadline.
    pub async fn ask<T>(&self, deadline: Duration, request: impl FnOnce(Reply<T>) -> Control) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.control.send(request(reply)).await.map_err(|_| ControlError::Closing)?;
            answer.await.map_err(|_| ControlError::Closing)?
        };
        Ok(timeout(deadline, exchange).await.map_err(|_| AskError::Late(deadline))??)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        config::{Role, State},
        context::{ServerView, SessionView},
    };

    /// An application of two servers and one session (id 7), as the doors see it. Runs until the doors are gone.
    pub(in crate::admin) fn doors() -> (Doors, watch::Sender<Readiness>) {
        let (control, mut requests) = mpsc::channel(4);
        let (ready, readiness) = watch::channel(Readiness::Ready);
        tokio::spawn(async move {
            let mut servers = vec![server("db1", Role::Writer), server("db2", Role::Replica)];
            while let Some(request) = requests.recv().await {
                answer(request, &mut servers);
            }
        });
        (Doors { control, metrics: Arc::new(Metrics::new(1)), readiness }, ready)
    }

    /// Doors whose application takes requests and never answers them.
    pub(in crate::admin) fn unanswered_doors() -> Doors {
        let (control, mut requests) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Some(request) = requests.recv().await {
                held.push(request);
            }
        });
        let readiness = watch::channel(Readiness::Ready).1;
        Doors { control, metrics: Arc::new(Metrics::new(1)), readiness }
    }

    fn answer(request: Control, servers: &mut [ServerView]) {
        // A door that gave up waiting is not this application's concern.
        match request {
            Control::Servers(reply) => drop(reply.send(Ok(servers.to_vec()))),
            Control::Sessions(reply) => drop(reply.send(Ok(vec![session()]))),
            Control::SetState { server, state, reply } => {
                let found = servers.iter_mut().find(|view| view.name == server.as_str());
                let outcome = found.map(|view| view.state = state);
                drop(reply.send(outcome.ok_or(ControlError::UnknownServer(server.to_string()))));
            }
            Control::Reload(reply) => {
                drop(reply.send(Err(ControlError::Reload("servers[0].weight: not a number".into()))));
            }
            Control::Kill { session: 7, user: None, reply, .. } => drop(reply.send(Ok(()))),
            Control::Kill { session, reply, .. } => drop(reply.send(Err(ControlError::UnknownSession(session)))),
            Control::Shutdown(reply) => drop(reply.send(Ok(()))),
        }
    }

    fn server(name: &str, role: Role) -> ServerView {
        ServerView {
            name: name.into(),
            address: "127.0.0.1:3306".into(),
            role,
            is_writer: role == Role::Writer,
            state: State::Active,
            weight: 100,
            health: "up".into(),
            version: Some("10.11.6-MariaDB".into()),
            read_only: None,
            lag: (role == Role::Replica).then_some(Duration::from_millis(1500)),
            gtid: None,
            connections_idle: 2,
            connections_used: 1,
            max_connections: 100,
            reads: 40,
            writes: 2,
            transactions: 1,
            errors: 0,
        }
    }

    fn session() -> SessionView {
        SessionView {
            id: 7,
            user: "app <b>".into(),
            client: "127.0.0.1:50000".into(),
            program: Some("shop".into()),
            schema: None,
            phase: "running",
            since: Duration::from_millis(12),
            server: Some("db1".into()),
            pin: Some("transaction"),
            decision: "writer transaction".into(),
            statements: 3,
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_refused_or_late() {
        let (doors, _ready) = doors();
        assert_eq!(doors.ask(QUESTION, Control::Servers).await.unwrap().len(), 2);
        let unknown = doors.ask(QUESTION, |reply| kill(8, reply)).await;
        assert_eq!(unknown, Err(AskError::Refused(ControlError::UnknownSession(8))));
        let short = Duration::from_millis(10);
        let late = unanswered_doors().ask(short, Control::Servers).await;
        assert_eq!(late, Err(AskError::Late(short)));
        let gone = Doors { control: mpsc::channel(1).0, ..doors };
        assert_eq!(gone.ask(QUESTION, Control::Servers).await, Err(AskError::Refused(ControlError::Closing)));
    }

    fn kill(session: u32, reply: Reply<()>) -> Control {
        Control::Kill { session, query_only: false, user: None, reply }
    }
}
