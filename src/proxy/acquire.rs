//! A server connection for a decision: which server, whether to wait for freshness, and what to do while there is none.

use std::{sync::Arc, time::Instant};

use tokio::time::{timeout, timeout_at};

use super::session::{End, Held, OWN_COMMAND, Session};
use crate::{
    backend::{Cluster, ConnectError, Lease, LeaseError, PreparedText, Server, Wish},
    config::{Config, Consistency, ServerId},
    protocol::{ServerError, auth::LoginError, code, gtid::Position},
    routing::{Candidate, Decision, Target},
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

/// A server that was chosen.
struct Choice {
    place: usize,
    reason: Reason,
    wait: Option<Position>,
}

impl Session {
    /// Takes the held connection, or leases one from a server of the decision's target. While there is no such server
    /// it waits, at most for `failover.hold`.
    pub async fn acquire(
        &mut self,
        decision: Decision<'_>,
        text: Option<&Arc<PreparedText>>,
        consistency: Consistency,
        excluded: &[ServerId],
    ) -> Result<Acquired, ServerError> {
        if decision.target == Target::Held
            && let Some(held) = self.held.take()
        {
            return Ok(Acquired { held, reason: decision.reason, wait: None });
        }
        let config = self.worker.context.config.load_full();
        let begun = Instant::now();
        let mut excluded = excluded.to_vec();
        let mut exhausted = false;
        loop {
            let cluster = self.worker.context.cluster.load_full();
            if let Some(choice) = self.choose(&cluster, &config, decision, consistency, &excluded) {
                let server = cluster.members[choice.place].server.clone();
                let deadline = begun + config.pool.acquire_timeout;
                match self.lease(&server, &cluster, text, deadline).await {
                    Ok(lease) => {
                        let held = Held { lease, server };
                        return Ok(Acquired { held, reason: choice.reason, wait: choice.wait });
                    }
                    Err(error) => {
                        exhausted |= matches!(error, LeaseError::Exhausted);
                        self.after_lease_error(&server, error)?;
                    }
                }
                excluded.push(server.id.clone());
                continue;
            }
            if exhausted && Instant::now() >= begun + config.pool.acquire_timeout {
                return Err(ServerError::no_server("every connection was in use until pool.acquire_timeout"));
            }
            // What failed a moment ago may be back when the cluster has changed.
            let mut generation = self.worker.context.generation.subscribe();
            let changed = generation.wait_for(|current| *current != cluster.generation);
            if timeout_at((begun + config.failover.hold).into(), changed).await.is_err() {
                return Err(no_server(decision.target));
            }
            excluded.clear();
        }
    }

    async fn lease(
        &self,
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
        };
        let waits = &self.worker.shard().lease_waits;
        server.pool.lease(wish, &cluster.links, &self.worker.scratch, deadline, waits).await
    }

    /// A refusal is the client's to hear; anything else is a reason to try another server.
    fn after_lease_error(&self, server: &Server, error: LeaseError) -> Result<(), ServerError> {
        match error {
            LeaseError::Connect(ConnectError::Login(LoginError::Refused(error)) | ConnectError::Refused(error))
                if !matches!(error.code, 1040 | 1053 | 1203) =>
            {
                tracing::warn!(server = %server.id, code = error.code, "the server refused a login");
                Err(error)
            }
            LeaseError::Exhausted => {
                self.worker.shard().lease_timeouts.inc();
                Ok(())
            }
            LeaseError::Connect(error) => {
                tracing::info!(server = %server.id, %error, "cannot connect");
                self.worker.context.report_failure(&server.id, &error);
                Ok(())
            }
        }
    }

    fn choose(
        &self,
        cluster: &Cluster,
        config: &Config,
        decision: Decision<'_>,
        consistency: Consistency,
        excluded: &[ServerId],
    ) -> Option<Choice> {
        let allowed =
            |place: &usize| cluster.members.get(*place).is_some_and(|member| !excluded.contains(&member.server.id));
        let writer = cluster.writer().filter(allowed);
        match decision.target {
            Target::Writer | Target::Held => writer.map(|place| Choice { place, reason: decision.reason, wait: None }),
            Target::Server(name) => {
                let place = cluster.place_of(name).filter(allowed)?;
                Some(Choice { place, reason: decision.reason, wait: None })
            }
            Target::Reader | Target::Group(_) => {
                let required = match consistency {
                    Consistency::Eventual => None,
                    Consistency::Session => self.state.required().cloned(),
                    Consistency::Global => self.worker.context.committed(),
                };
                let unsure = consistency != Consistency::Eventual && self.wrote_unseen(cluster, config);
                let fallback = |reason| writer.map(|place| Choice { place, reason, wait: None });
                if unsure {
                    return fallback(Reason::Freshness);
                }
                self.choose_reader(cluster, config, decision, required, &allowed)
                    .or_else(|| fallback(Reason::NoReplica).filter(|_| config.reads.writer_fallback))
            }
            Target::Reject => None,
        }
    }

    /// A reader that is known to be fresh enough, or else one that must wait.
    fn choose_reader(
        &self,
        cluster: &Cluster,
        config: &Config,
        decision: Decision<'_>,
        required: Option<Position>,
        allowed: &dyn Fn(&usize) -> bool,
    ) -> Option<Choice> {
        let balance = config.reads.balance;
        let fill = |found: &mut Vec<Candidate>| match decision.target {
            Target::Group(name) => cluster.group(name, balance, found),
            _ => cluster.readers(balance, found),
        };
        let fresh = |place: usize| match &required {
            Some(position) => cluster.writer == Some(place) || cluster.members[place].server.covers(position),
            None => true,
        };
        let pick = |fits: &dyn Fn(&Candidate) -> bool| self.worker.pick(cluster, balance, fill, fits);
        let known = pick(&|candidate| allowed(&candidate.place) && fresh(candidate.place));
        let place = known.or_else(|| pick(&|candidate| allowed(&candidate.place)))?;
        let reason = match decision.reason {
            Reason::Read if cluster.writer == Some(place) => Reason::WriterShare,
            reason => reason,
        };
        Some(Choice { place, reason, wait: required.filter(|_| known.is_none()) })
    }

    /// Whether the session wrote lately without being told a GTID that its reads could wait for.
    fn wrote_unseen(&self, cluster: &Cluster, config: &Config) -> bool {
        let Some(written) = self.state.unseen_write() else { return false };
        let lag =
            cluster.members.iter().filter(|member| member.fresh).filter_map(|member| member.server.report().lag).max();
        // Probes are one interval old, and servers report whole seconds.
        let margin = 2 * config.probe.interval + std::time::Duration::from_secs(1);
        written.elapsed() < lag.unwrap_or_default() + margin
    }

    /// Chooses a schema on behalf of a login: the writer says whether it exists and the user may use it. While no server
    /// can be asked, the client is let in, and hears of it with its first statement.
    pub async fn enter_schema(&mut self, name: &[u8]) -> Result<(), End> {
        let cluster = self.worker.context.cluster.load_full();
        let any = || cluster.members.iter().position(|member| member.up);
        if let Some(place) = cluster.writer().or_else(any) {
            let server = cluster.members[place].server.clone();
            let deadline = Instant::now() + self.config().timeouts.connect;
            match self.lease(&server, &cluster, None, deadline).await {
                Ok(mut lease) => self.use_schema(&mut lease, name).await?,
                Err(error) => self.after_lease_error(&server, error).map_err(End::Error)?,
            }
        }
        self.state.enter_schema(name);
        Ok(())
    }

    async fn use_schema(&self, lease: &mut Lease, name: &[u8]) -> Result<(), End> {
        let connection = lease.connection_mut();
        let settings = &connection.settings;
        if settings.schema() == Some(name) {
            return Ok(());
        }
        let mut settings = crate::session::Settings::clone(settings);
        settings.set_schema(name);
        connection.mark_dirty();
        let command = [&[code::INIT_DB][..], name].concat();
        match timeout(OWN_COMMAND, connection.command(&command, &self.worker.scratch)).await {
            Ok(Ok(_)) => {
                connection.settings = Arc::new(settings);
                connection.prove_clean();
                Ok(())
            }
            Ok(Err(ConnectError::Refused(error))) => {
                connection.prove_clean();
                Err(End::Error(error))
            }
            // The first statement will find out.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

fn no_server(target: Target<'_>) -> ServerError {
    match target {
        Target::Writer | Target::Held => ServerError::no_server("no writer is available"),
        Target::Reader => ServerError::no_server("no replica is available"),
        Target::Group(_) => ServerError::no_server("no server of the group is available"),
        Target::Server(_) | Target::Reject => ServerError::no_server("the server is not available"),
    }
}
