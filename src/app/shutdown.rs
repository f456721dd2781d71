//! Takes Weir down without cutting a transaction, until the deadline.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};

use super::control::Tasks;
use crate::{
    backend::{Cluster, Server},
    config::State,
    context::{Context, Kill},
};

/// How long killed sessions may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// How often it is looked whether sessions are gone.
const LOOK: Duration = Duration::from_millis(20);

/// `drain_delay` → no new clients, free sessions close → transactions end, or are cut at the deadline. Readiness is false
/// by now. Dropped, it leaves everything as it is.
pub async fn drain(context: &Arc<Context>, tasks: Tasks) {
    let timeouts = context.config.load().timeouts.clone();
    tracing::info!(sessions = context.sessions.count(), "shutting down");
    sleep(timeouts.drain_delay).await;
    for acceptor in tasks.acceptors {
        acceptor.abort();
        // Aborted, or ended by a panic that was reported: either way it accepts no more.
        let _ = acceptor.await;
    }
    let cut = end_sessions(context, Instant::now() + timeouts.drain).await;
    for task in tasks.others {
        task.abort();
    }
    tracing::info!(cut, "shut down");
}

/// Returns how many sessions had to be cut.
async fn end_sessions(context: &Context, deadline: Instant) -> usize {
    context.sessions.all().iter().for_each(|handle| handle.kill(Kill::Drain));
    if timeout_at(deadline, nobody(context)).await.is_ok() {
        return 0;
    }
    let left = context.sessions.all();
    left.iter().for_each(|handle| handle.kill(Kill::Shutdown));
    if timeout_at(Instant::now() + GOODBYE, nobody(context)).await.is_err() {
        tracing::warn!(sessions = context.sessions.count(), "sessions do not end");
    }
    left.len()
}

async fn nobody(context: &Context) {
    while context.sessions.count() > 0 {
        sleep(LOOK).await;
    }
}

/// Gives the sessions that use servers which were active in `before`, and are not any more, until the drain deadline.
pub fn evict_from_retired(context: &Arc<Context>, before: &Cluster) {
    let limit = context.config.load().timeouts.drain;
    // They give up what they keep for themselves.
    context.sessions.all().iter().for_each(|handle| handle.wake());
    for member in before.members.iter().filter(|member| member.state == State::Active) {
        if !is_active(context, &member.server) {
            tokio::task::spawn_local(evict(context.clone(), member.server.clone(), limit));
        }
    }
}

fn is_active(context: &Context, server: &Arc<Server>) -> bool {
    context.cluster.load().is_active(server)
}

/// At the deadline, ends the sessions that still use a server; unless it is active again by then.
async fn evict(context: Arc<Context>, server: Arc<Server>, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut generation = context.generation.subscribe();
    while !is_active(&context, &server) {
        if timeout_at(deadline, generation.changed()).await.is_ok() {
            continue;
        }
        for handle in context.sessions.all().iter().filter(|handle| handle.holds(&server)) {
            tracing::warn!(session = handle.id, server = %server.id, "a session is cut: its server's drain is over");
            handle.kill(Kill::Shutdown);
        }
        return;
    }
}
