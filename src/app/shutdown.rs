//! Takes Weir down without cutting a transaction, until the deadline.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::{control::Tasks, servers};
use crate::{
    admin::Readiness,
    config::{ServerId, State},
    context::{Context, Kill},
};

/// How long killed sessions may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// How often it is looked whether sessions are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Readiness false → `drain_delay` → no new clients, free sessions close → transactions end, or are cut at the deadline.
pub async fn drain(context: &Arc<Context>, readiness: &watch::Sender<Readiness>, tasks: Tasks) {
    let timeouts = context.config.load().timeouts.clone();
    readiness.send_replace(Readiness::NotReady("shutting down".to_owned()));
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
    left.iter().for_each(|handle| handle.kill(Kill::Session));
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

/// At the drain deadline of a server, ends the sessions that still hold one of its connections.
pub async fn evict(context: Arc<Context>, id: ServerId, limit: Duration) {
    sleep(limit).await;
    let cluster = context.cluster.load();
    let active = |member: &crate::backend::Member| member.server.id == id && member.state == State::Active;
    if cluster.members.iter().any(active) {
        return;
    }
    for handle in servers::holders(&context.sessions, &id) {
        tracing::info!(session = handle.id, server = %id, "a session is cut: its server's drain is over");
        handle.kill(Kill::Session);
    }
}
