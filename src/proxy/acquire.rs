//! A server connection for a decision, and what to do while there is none. Which server is left to `choose`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    choose::no_server,
    relay::AHEAD,
    run::Course,
    session::{End, Held, OWN_COMMAND, Session},
};
use crate::{
    backend::{Cluster, ConnectError, Lease, LeaseError, PreparedText, Server, ServerConnection, Wish},
    config::ServerId,
    context::Context,
    protocol::{ServerError, auth::Credential, code, gtid::Position},
    routing::{Decision, Target},
    telemetry::Reason,
};

/// A connection to run a statement on.
pub struct Acquired {
    pub held: Held,
    /// The decision's reason, or what became of it.
    pub reason: Reason,
    /// What the server must be asked to wait for first.
    pub wait: Option<Position>,
}

/// The search for a server that runs one statement: what was tried in vain.
#[derive(Debug, Default)]
pub struct Search {
    /// The statement cannot be sent twice, so that its connection must be alive beyond doubt.
    once: bool,
    /// Left out until the cluster has changed, or a while has passed.
    pub(super) excluded: Vec<ServerId>,
    /// A replica was waited for, and did not get there in time.
    pub(super) waited: bool,
    /// The passwords that the server of this moment has refused.
    pub(super) credentials: Vec<Credential>,
    /// Where the session has a connection that can run the statement, if need be.
    pub(super) home: Option<Arc<Server>>,
    /// A server had no connection to spare in time.
    pub(super) exhausted: bool,
    /// How often the statement was sent again.
    repeats: u32,
    /// What the last server said that would not have the session or the statement.
    refusal: Option<ServerError>,
    /// When there was nobody left to ask.
    held_since: Option<Instant>,
}

/// How often a statement is sent again after the connection broke under it: it may be what breaks them.
const REPEATS: u32 = 2;
/// What failed may be back after this long, without the cluster having changed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Search {
    /// For a statement that cannot be sent twice.
    pub fn once() -> Self {
        Self { once: true, ..Self::default() }
    }

    pub fn exclude(&mut self, server: &ServerId) {
        self.excluded.push(server.clone());
        self.credentials.clear();
    }

    /// The statement is not to wait for another replica.
    pub fn waited(&mut self) {
        self.waited = true;
    }

    /// A server refused the statement; if no other takes it, the client hears `error`.
    pub fn refused(&mut self, error: ServerError) {
        self.refusal = Some(error);
    }

    /// Whether to send the statement once more.
    pub fn may_repeat(&mut self) -> bool {
        self.repeats += 1;
        self.repeats <= REPEATS
    }

    /// Waits for a server to come, or come back; at most `limit` in all. False: that is over.
    async fn hold(&mut self, context: &Context, generation: u64, limit: Duration) -> bool {
        let mut current = context.generation.subscribe();
        let changed = current.wait_for(|current| *current != generation);
        let deadline = *self.held_since.get_or_insert_with(Instant::now) + limit;
        let left = deadline.saturating_duration_since(Instant::now());
        // Either way it is time to look.
        let _ = timeout(left.min(LOOK_AGAIN), changed).await;
        self.excluded.clear();
        self.waited = false;
        !left.is_zero()
    }
}

impl Session {
    /// Takes the held connection, or leases one from a server of the decision's target. While there is no such server
    /// it waits, at most for `failover.hold`.
    pub async fn acquire(
        &mut self,
        course: &Course<'_>,
        decision: Decision<'_>,
        text: Option<&Arc<PreparedText>>,
        search: &mut Search,
    ) -> Result<Acquired, ServerError> {
        if decision.target == Target::Held
            && let Some(held) = self.held.take()
        {
            return Ok(Acquired { held, reason: decision.reason, wait: None });
        }
        let Course { config, consistency, .. } = *course;
        let deadline = self.now + config.pool.acquire_timeout;
        loop {
            let cluster = self.worker.cluster();
            if let Some(choice) = self.choose(&cluster, config, decision, consistency, search)? {
                let server = cluster.members[choice.place].server.clone();
                if search.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, &server)) {
                    return Err(ServerError::no_server("the session's own connection is as good as another"));
                }
                let dedicated = self.dedicated.take(&server, |connection| {
                    // A wait in vain costs the connection, so it takes a second one.
                    let may_wait = choice.wait.is_none() || !connection.has_cursor();
                    let settings = self.state.settings();
                    may_wait && connection.identity.fits(&self.identity) && connection.settings.can_become(settings)
                });
                let leased = match dedicated {
                    Some(held) => Ok(held.lease),
                    None => self.lease(&server, &cluster, text, deadline).await,
                };
                match leased {
                    // The runtime may not have heard yet that the server closed it.
                    Ok(lease) if search.once && !lease.connection().packets.stream().socket().is_silent() => {
                        lease.discard();
                        continue;
                    }
                    Ok(lease) => {
                        let held = Held { lease, server };
                        return Ok(Acquired { held, reason: choice.reason, wait: choice.wait });
                    }
                    Err(error) if self.follow_password(&error, search) => continue,
                    Err(error) => self.after_lease_error(&server, error, search)?,
                }
                search.exclude(&server.id);
            } else if search.exhausted && Instant::now() >= deadline {
                return Err(ServerError::no_server("every connection was in use until pool.acquire_timeout"));
            } else {
                let held = search.hold(&self.worker.context, cluster.generation, config.failover.hold);
                let goes_on = tokio::select! {
                    biased;
                    goes_on = held => goes_on,
                    () = self.client.closed(AHEAD) => return Err(ServerError::interrupted()),
                };
                if !goes_on {
                    return Err(search.refusal.take().unwrap_or_else(|| no_server(decision.target)));
                }
            }
        }
    }

    /// Leases a connection, unless the client hangs up meanwhile.
    async fn lease(
        &mut self,
        server: &Arc<Server>,
        cluster: &Cluster,
        text: Option<&Arc<PreparedText>>,
        deadline: Instant,
    ) -> Result<Lease, LeaseError> {
        let wish = Wish {
            identity: &self.identity,
            settings: self.state.settings(),
            statement: text,
            worker: self.worker.index,
            session: self.entry.handle.id,
        };
        if let Some(lease) = server.pool.lease_idle(wish) {
            return Ok(lease);
        }
        let waits = &self.worker.shard().lease_waits;
        tokio::select! {
            biased;
            leased = server.pool.lease(wish, &cluster.links, &self.worker.scratch, deadline, waits) => leased,
            () = self.client.closed(AHEAD) => Err(LeaseError::Abandoned),
        }
    }

    /// Chooses a schema on behalf of a login: the writer says whether it exists and the user may use it. While no server
    /// can be asked, the client is let in, and hears of it with its first statement.
    pub async fn enter_schema(&mut self, name: &[u8]) -> Result<(), End> {
        let mut schema = name.to_vec();
        // A connection that is in a schema serves a session that is to be in one, and best if it is the same.
        self.state.enter_schema(name);
        if let Some(mut lease) = self.borrow().await? {
            schema = self.use_schema(&mut lease, name).await?;
        }
        self.state.enter_schema(&schema);
        Ok(())
    }

    /// A connection for a question of Weir's own: to the writer, or else to any server that is up. None: there is none. Nobody
    /// can ask it any more about the statement that it ran before, which the caller notes on it.
    pub(super) async fn borrow(&mut self) -> Result<Option<Lease>, End> {
        let cluster = self.worker.cluster();
        let any = || cluster.members.iter().position(|member| member.up);
        let Some(place) = cluster.writer().or_else(any) else { return Ok(None) };
        let server = cluster.members[place].server.clone();
        let deadline = Instant::now() + self.worker.config().timeouts.connect;
        let mut search = Search::default();
        loop {
            match self.lease(&server, &cluster, None, deadline).await {
                Ok(mut lease) => {
                    let left = lease.connection_mut().leave_insert_id(&self.worker.scratch);
                    if matches!(timeout(OWN_COMMAND, left).await, Ok(Ok(()))) {
                        return Ok(Some(lease));
                    }
                    lease.discard();
                    return Ok(None);
                }
                Err(error) if self.follow_password(&error, &mut search) => {}
                Err(error) => {
                    self.after_lease_error(&server, error, &mut search).map_err(End::Error)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Returns the name as servers report it; they read it in the client's character set.
    async fn use_schema(&self, lease: &mut Lease, name: &[u8]) -> Result<Vec<u8>, End> {
        let connection = lease.connection_mut();
        if name.is_ascii() && connection.settings.schema() == Some(name) {
            return Ok(name.to_vec());
        }
        if !name.is_ascii() {
            // Another session's character set may be in the way.
            let reset = timeout(OWN_COMMAND, connection.reset(&self.worker.scratch)).await;
            if !reset.is_ok_and(|reset| reset.is_ok()) {
                // The first statement will find out.
                return Ok(name.to_vec());
            }
        }
        connection.mark_dirty();
        connection.last_session = ServerConnection::WEIR;
        let command = [&[code::INIT_DB][..], name].concat();
        let answer = timeout(OWN_COMMAND, connection.command(&command, &self.worker.scratch)).await;
        match answer.unwrap_or(Err(ConnectError::Timeout(OWN_COMMAND))) {
            Ok(reply) => {
                let name = reply.schema.unwrap_or_else(|| name.to_vec());
                Arc::make_mut(&mut connection.settings).set_schema(&name);
                connection.prove_clean();
                Ok(name)
            }
            Err(ConnectError::Refused(error)) => {
                connection.prove_clean();
                Err(End::Error(error))
            }
            // The first statement will find out.
            Err(_) => Ok(name.to_vec()),
        }
    }
}
