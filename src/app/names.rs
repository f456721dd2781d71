//! Keeps asking the DNS what the `srv:` names of the config lead to, as long as the config has them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use crate::{
    backend::srv::{self, SrvError},
    config::{Config, Target},
    context::Context,
};

/// An answer is believed at least and at most for this long, whatever its time to live.
const BELIEVED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// After a lookup that failed, until the next.
const RETRY: Duration = Duration::from_secs(2);

/// What a lookup found.
pub struct Answer {
    pub name: String,
    pub targets: Result<Vec<Target>, SrvError>,
}

/// The tasks that ask, one for each name.
pub struct Names {
    context: Arc<Context>,
    asking: BTreeMap<String, JoinHandle<()>>,
    answers: mpsc::Sender<Answer>,
}

impl Names {
    /// The receiver gets every answer.
    pub fn new(context: Arc<Context>) -> (Self, mpsc::Receiver<Answer>) {
        let (answers, receiver) = mpsc::channel(16);
        (Self { context, asking: BTreeMap::new(), answers }, receiver)
    }

    /// Asks for the names that a config has as it was written, and for no others. Returns how many they are.
    pub fn follow(&mut self, written: &Config) -> usize {
        let names: Vec<&str> = written.srv_names().collect();
        self.asking.retain(|name, task| {
            let kept = names.contains(&name.as_str());
            if !kept {
                task.abort();
            }
            kept
        });
        for name in names {
            let task = || tokio::task::spawn_local(ask(name.to_owned(), self.context.clone(), self.answers.clone()));
            self.asking.entry(name.to_owned()).or_insert_with(task);
        }
        self.asking.len()
    }
}

/// Asks for one name for ever.
async fn ask(name: String, context: Arc<Context>, answers: mpsc::Sender<Answer>) {
    loop {
        let (server, deadline) = {
            let config = context.config.load();
            (config.dns.server, config.timeouts.connect)
        };
        let (pause, targets) = match srv::lookup(&name, server, deadline).await {
            Ok(answer) => (answer.ttl.clamp(BELIEVED.0, BELIEVED.1), Ok(answer.targets)),
            Err(error) => (RETRY, Err(error)),
        };
        if answers.send(Answer { name: name.clone(), targets }).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}
