//! The servers of a config as things that live: pools that are kept across reloads, and the snapshot they make.

use std::{sync::Arc, time::Instant};

use crate::{
    backend::{Ages, Cluster, Links, Member, Server},
    config::{ClientTlsMode, Config, Role, ServerId, State},
    net::tls::{self, TlsError},
    telemetry::Metrics,
};

/// A failure that a session met: the server and the cause.
pub type Failure = (ServerId, String);

/// How servers are reached, as a config says.
pub fn links(config: &Config) -> Result<Links, TlsError> {
    Ok(Links {
        tls: config.tls.server.mode,
        tls_config: tls::for_servers(&config.tls.server)?,
        connect_timeout: config.timeouts.connect,
        congestion_control: config.runtime.congestion_control.clone(),
        compression: config.compression.server,
    })
}

/// What clients are shown; None: no TLS.
pub fn client_tls(config: &Config) -> Result<Option<Arc<rustls::ServerConfig>>, TlsError> {
    match config.tls.client.mode {
        ClientTlsMode::Disabled => Ok(None),
        ClientTlsMode::Preferred | ClientTlsMode::Required => tls::for_clients(&config.tls.client).map(Some),
    }
}

/// The snapshot that a config makes. A server that `old` knows under the same name and address keeps its pool and what is
/// known of it; the pools of those that are no more are closed. A state that an operator has set stays, unless the
/// config's has changed.
pub fn cluster(config: &Config, links: &Arc<Links>, metrics: &Metrics, old: Option<(&Config, &Cluster)>) -> Cluster {
    let ages = Ages { idle: config.pool.idle_timeout, total: config.pool.max_age };
    let members = config.servers.iter().map(|server| {
        let known = old.and_then(|(_, old)| {
            old.members.iter().find(|member| member.server.id == server.id && member.server.address == server.address)
        });
        let (up, fresh) = known.map_or((false, false), |member| (member.up, member.fresh));
        let kept = match known {
            Some(member) => member.server.clone(),
            None => Arc::new(Server::new(server, metrics.server(server.id.as_str()), ages)),
        };
        let before = old.and_then(|(config, _)| config.servers.iter().find(|before| before.id == server.id));
        let same = before.is_some_and(|before| before.state == server.state);
        let state = known.filter(|_| same).map_or(server.state, |member| member.state);
        kept.pool.set_limits(server.max_connections, ages);
        apply_state(&kept, state);
        Member {
            server: kept,
            role: server.role,
            state,
            groups: server.groups.clone(),
            weight: server.weight,
            effective_weight: known.map_or(server.weight, |member| member.effective_weight.min(server.weight)),
            up,
            fresh,
            rank: server.rank.clone(),
            stands_by: known.is_some_and(|member| member.stands_by),
        }
    });
    let mut cluster = Cluster::new(members.collect(), links.clone());
    if let Some((_, old)) = old {
        close_removed(old, &cluster, metrics);
        cluster.mode = old.mode;
        cluster.version.clone_from(&old.version);
        cluster.collation = old.collation;
        cluster.extras = old.extras;
        cluster.has_positions = old.has_positions;
        cluster.repeatable_reads = old.repeatable_reads;
        cluster.stored = old.stored.clone();
        let writer = old.writer.and_then(|place| old.members.get(place)).map(|member| &member.server.id);
        cluster.writer =
            cluster.members.iter().position(|member| Some(&member.server.id) == writer && member.role != Role::Replica);
        cluster.take_turns();
    }
    cluster
}

fn close_removed(old: &Cluster, new: &Cluster, metrics: &Metrics) {
    for member in &old.members {
        if !new.members.iter().any(|kept| Arc::ptr_eq(&kept.server, &member.server)) {
            member.server.pool.close();
        }
        if !new.members.iter().any(|kept| kept.server.id == member.server.id) {
            metrics.forget(member.server.id.as_str());
        }
    }
}

/// A server that takes no new leases keeps no idle connections.
pub fn apply_state(server: &Server, state: State) {
    match state {
        State::Active => server.pool.reopen(),
        State::Drain | State::Offline => server.pool.close(),
    }
}

/// Now, for bookkeeping that takes it as an argument.
pub fn now() -> Instant {
    Instant::now()
}
