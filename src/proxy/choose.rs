//! Which server serves a decision: one that is allowed, has what the session must see, and whose turn it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{acquire::Search, session::Session};
use crate::{
    backend::{Cluster, Executed},
    config::{Config, Consistency},
    protocol::{ServerError, gtid::Position},
    routing::{Decision, Target},
    telemetry::Reason,
};

/// A server that was chosen.
pub struct Choice {
    /// In the cluster.
    pub place: usize,
    /// The decision's reason, or what became of it.
    pub reason: Reason,
    /// What the server must be asked to wait for first.
    pub wait: Option<Position>,
}

/// What became of looking for a reader.
enum Reader {
    Found(Choice),
    /// There are readers, but none has what the session wrote, nor is worth waiting for.
    Stale,
    None,
}

impl Session {
    /// The server that serves a decision now. None: there is nobody left to ask.
    pub(super) fn choose(
        &mut self,
        cluster: &Cluster,
        config: &Config,
        decision: Decision<'_>,
        consistency: Consistency,
        search: &Search,
    ) -> Result<Option<Choice>, ServerError> {
        let allowed = |place: usize| {
            cluster.members.get(place).is_some_and(|member| !search.excluded.contains(&member.server.id))
        };
        let writer = cluster.writer().filter(|&place| allowed(place));
        let on_writer = |reason| writer.map(|place| Choice { place, reason, wait: None });
        Ok(match decision.target {
            Target::Writer | Target::Held => on_writer(decision.reason),
            Target::Any => on_writer(decision.reason).or_else(|| {
                match self.choose_reader(cluster, config, decision, Consistency::Eventual, search) {
                    Reader::Found(choice) => Some(choice),
                    Reader::Stale | Reader::None => None,
                }
            }),
            Target::Server(name) => {
                let place = cluster.place_of(name).filter(|&place| allowed(place));
                place.map(|place| Choice { place, reason: decision.reason, wait: None })
            }
            Target::Reader | Target::Group(_) => {
                if self.wrote_unseen(cluster, config, consistency) {
                    return Ok(on_writer(Reason::Freshness));
                }
                match self.choose_reader(cluster, config, decision, consistency, search) {
                    Reader::Found(choice) => Some(choice),
                    Reader::Stale => on_writer(Reason::Freshness),
                    Reader::None if config.reads.writer_fallback => on_writer(Reason::NoReplica),
                    // Whoever protects the writer wants no queue in front of it, either.
                    Reader::None if search.excluded.is_empty() => return Err(no_server(decision.target)),
                    Reader::None => None,
                }
            }
            Target::Reject => None,
        })
    }

    /// A reader that is known to be fresh enough, or else one that must wait.
    fn choose_reader(
        &self,
        cluster: &Cluster,
        config: &Config,
        decision: Decision<'_>,
        consistency: Consistency,
        search: &Search,
    ) -> Reader {
        let balance = config.reads.balance;
        let required = match consistency {
            Consistency::Eventual => None,
            Consistency::Session => self.state.required().cloned(),
            Consistency::Global => self.worker.context.committed(),
        };
        let fresh = |place: usize| match &required {
            Some(position) => cluster.writer == Some(place) || cluster.members[place].server.covers(position),
            None => true,
        };
        let cursors_at = |place: usize| {
            let server = &cluster.members[place].server;
            self.dedicated.with_cursors().filter(|kept| Arc::ptr_eq(kept, server)).count()
        };
        let reason = |place| match decision.reason {
            Reason::Read if cluster.writer == Some(place) => Reason::WriterShare,
            reason => reason,
        };
        let excluded = |place: usize| search.excluded.contains(&cluster.members[place].server.id);
        let pick = |fits: &dyn Fn(usize) -> bool| {
            let fits = |place| fits(place) && !excluded(place);
            self.worker.pick(cluster, balance, |found| match decision.target {
                Target::Group(name) => cluster.group(name, balance, fits, found),
                _ => cluster.readers(balance, fits, found),
            })
        };
        // Whoever keeps a connection for a cursor uses it, rather than wait for another one while others wait for this.
        let keeps = self.dedicated.with_cursors().next().is_some();
        let own = keeps.then(|| pick(&|place| cursors_at(place) > 0 && fresh(place))).flatten();
        if let Some(place) = own.or_else(|| pick(&fresh)) {
            return Reader::Found(Choice { place, reason: reason(place), wait: None });
        }
        let now = Instant::now();
        let patient = |place: usize| {
            let server = &cluster.members[place].server;
            let room = cursors_at(place) == 0 || cursors_at(place) == 1 && server.pool.has_room();
            room && !search.waited && !server.was_late(now)
        };
        match pick(&patient) {
            Some(place) => Reader::Found(Choice { place, reason: reason(place), wait: required }),
            None if search.waited || pick(&|_| true).is_some() => Reader::Stale,
            None => Reader::None,
        }
    }

    /// Whether something was written without a GTID being told that reads could wait for. A probe of the writer that
    /// began later tells what they are to wait for; where there are no GTIDs, or no writer, only time does.
    fn wrote_unseen(&mut self, cluster: &Cluster, config: &Config, consistency: Consistency) -> bool {
        let written = match consistency {
            Consistency::Eventual => None,
            Consistency::Session => self.state.unseen_write(),
            Consistency::Global => self.worker.context.unseen_write(),
        };
        let Some(written) = written else { return false };
        let writer = cluster.writer().map(|place| &cluster.members[place].server);
        match writer.map_or(Executed::Unknown, |writer| writer.executed_by(written)) {
            Executed::Within(position) => {
                match consistency {
                    Consistency::Global => self.worker.context.found_unseen(written, &position),
                    Consistency::Session | Consistency::Eventual => self.state.found_unseen(position),
                }
                return false;
            }
            Executed::Awaited => return true,
            Executed::Unknown => {}
        }
        let lag =
            cluster.members.iter().filter(|member| member.fresh).filter_map(|member| member.server.report().lag).max();
        // Probes are one interval old, and servers report whole seconds.
        let margin = 2 * config.probe.interval + Duration::from_secs(1);
        written.elapsed() < lag.unwrap_or_default() + margin
    }
}

/// Why nobody serves.
pub fn no_server(target: Target<'_>) -> ServerError {
    match target {
        Target::Writer | Target::Held | Target::Any => ServerError::no_server("no writer is available"),
        Target::Reader => ServerError::no_server("no replica is available"),
        Target::Group(_) => ServerError::no_server("no server of the group is available"),
        Target::Server(_) | Target::Reject => ServerError::no_server("the server is not available"),
    }
}
