//! The control thread: starts everything, then answers requests until it is told to shut down.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{
    Addresses, Source, StartError,
    acceptor::{self, Bound},
    context, doors,
    monitor::{self, Probed, Servers},
    names::{Answer, Names},
    reload::{self, Reloader},
    servers::{self, Failure},
    shutdown, stored_code,
    workers::Workers,
};
use crate::{
    admin::Readiness,
    config::{self, Config, ServerId, State, Targets},
    context::{Context, Control, ControlError, Kill, ServerView, SessionView},
};

/// How often a config file is looked at.
const WATCH: Duration = Duration::from_secs(1);

/// What runs until the end.
struct Plane {
    context: Arc<Context>,
    servers: Servers,
    reloader: Reloader,
    names: Names,
    readiness: watch::Sender<Readiness>,
    closing: bool,
}

/// Runs Weir; `ready` is told where it can be reached, or why not.
pub async fn run(
    config: Config,
    source: Source,
    ready: oneshot::Sender<Result<(Addresses, Arc<Context>), StartError>>,
) {
    match begin(config, source).await {
        Ok((plane, inputs, addresses, tasks, workers)) => {
            // Nobody to tell: the caller was cancelled, and the shutdown follows from its channel.
            let _ = ready.send(Ok((addresses, plane.context.clone())));
            plane.run(inputs, tasks, workers).await;
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

/// What comes in.
struct Inputs {
    requests: mpsc::Receiver<Control>,
    failures: mpsc::Receiver<Failure>,
    probed: mpsc::Receiver<Probed>,
    named: mpsc::Receiver<Answer>,
}

/// The tasks that end with Weir: those that accept clients, and the doors.
pub struct Tasks {
    pub acceptors: Vec<JoinHandle<()>>,
    pub others: Vec<JoinHandle<()>>,
}

async fn begin(config: Config, source: Source) -> Result<(Plane, Inputs, Addresses, Tasks, Rc<Workers>), StartError> {
    let seen = reload::read(&source).ok();
    let config = Arc::new(config);
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let count = config.runtime.workers.map_or_else(cores, |count| count as usize);
    let known = Arc::new(config::expand(&config, &Targets::new()));
    let (context, requests, failures) = context(&known, count)?;
    let mut reloader = Reloader::new(source, seen, Config::clone(&config), context.clone());
    let (names, named) = first_names(&mut reloader, &context).await;
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let socket = Bound::new(&listener.address).await?;
        if let Some(name) = &config.runtime.congestion_control {
            socket.set_congestion_control(name)?;
        }
        bound.push((socket, listener.clone()));
    }
    let (readiness, ready) = watch::channel(Readiness::NotReady("starting".to_owned()));
    let (mut others, console, http) = doors::open(&config, &context, &ready).await?;
    let workers = Rc::new(Workers::start(count, &context)?);
    let (mut servers, mut probed) = Servers::new(context.clone());
    others.push(tokio::task::spawn_local(monitor::sweep(context.clone())));
    others.push(tokio::task::spawn_local(stored_code::watch(context.clone())));
    // Clients are greeted with the servers' version, so somebody should have told it.
    let deadline = Instant::now() + config.probe.timeout;
    while !servers.all_probed() {
        match timeout_at(deadline, probed.recv()).await {
            Ok(Some(result)) => servers.probed(result),
            _ => break,
        }
    }
    let mut addresses = Addresses { console, http, listeners: Vec::new() };
    let mut acceptors = Vec::new();
    for (bound, listener) in bound {
        addresses.listeners.push(bound.address());
        let accept = acceptor::accept(bound, listener, context.clone(), workers.clone());
        acceptors.push(tokio::task::spawn_local(accept));
    }
    let mut plane = Plane { context, servers, reloader, names, readiness, closing: false };
    plane.judge_readiness();
    Ok((plane, Inputs { requests, failures, probed, named }, addresses, Tasks { acceptors, others }, workers))
}

/// Asks for the `srv:` names of the config, and waits for a first answer to each, or that there is none.
async fn first_names(reloader: &mut Reloader, context: &Arc<Context>) -> (Names, mpsc::Receiver<Answer>) {
    let (mut names, mut named) = Names::new(context.clone());
    for _ in 0..names.follow(reloader.written()) {
        // Every lookup has a deadline.
        if let Some(answer) = named.recv().await {
            reloader.learn(answer);
        }
    }
    (names, named)
}

impl Plane {
    /// Answers until it is told to shut down, and while it does; a second request ends it at once.
    async fn run(mut self, mut inputs: Inputs, tasks: Tasks, workers: Rc<Workers>) {
        self.serve(&mut inputs).await;
        self.closing = true;
        self.judge_readiness();
        let context = self.context.clone();
        tokio::select! {
            () = shutdown::drain(&context, tasks) => {}
            () = self.serve(&mut inputs) => {
                tracing::warn!(cut = context.sessions.count(), "asked again: ending at once");
                return;
            }
        }
        // Only the acceptors shared it, and they are gone.
        if let Some(workers) = Rc::into_inner(workers) {
            workers.join();
        }
    }

    /// Answers until it is told to shut down.
    async fn serve(&mut self, inputs: &mut Inputs) {
        let mut look = tokio::time::interval(WATCH);
        loop {
            tokio::select! {
                request = inputs.requests.recv() => match request {
                    Some(Control::Shutdown(reply)) => {
                        // Whoever asked may not wait for the answer.
                        let _ = reply.send(Ok(()));
                        return;
                    }
                    Some(request) => self.answer(request),
                    None => return,
                },
                Some(probed) = inputs.probed.recv() => {
                    self.servers.probed(probed);
                    self.judge_readiness();
                }
                Some((server, cause)) = inputs.failures.recv() => {
                    tracing::debug!(%server, %cause, "a session met a failure");
                    self.servers.suspect(&server);
                }
                Some(answer) = inputs.named.recv() => {
                    if self.reloader.learn(answer) {
                        self.servers.follow_config();
                    }
                }
                _ = look.tick() => {
                    if self.reloader.look() {
                        self.follow_config();
                    }
                }
            }
        }
    }

    /// Another config is in use.
    fn follow_config(&mut self) {
        self.servers.follow_config();
        self.names.follow(self.reloader.written());
    }

    fn judge_readiness(&mut self) {
        let cluster = self.context.cluster.load();
        let now = if self.closing {
            Readiness::NotReady("shutting down".to_owned())
        } else if cluster.members.iter().any(|member| member.up) {
            Readiness::Ready
        } else {
            Readiness::NotReady("no server is up".to_owned())
        };
        self.readiness.send_if_modified(|old| {
            let changed = *old != now;
            *old = now;
            changed
        });
    }

    /// Whoever asked may be gone, in which case nobody needs the answer.
    fn answer(&mut self, request: Control) {
        match request {
            Control::Servers(reply) => drop(reply.send(Ok(self.server_views()))),
            Control::Sessions(reply) => drop(reply.send(Ok(self.session_views()))),
            Control::SetState { server, state, reply } => drop(reply.send(self.set_state(&server, state))),
            Control::Reload(reply) => {
                let result = self.reloader.reload();
                if result.is_ok() {
                    self.follow_config();
                }
                drop(reply.send(result));
            }
            Control::Kill { session, query_only, user, reply } => {
                drop(reply.send(self.kill(session, query_only, user.as_deref())));
            }
            Control::Shutdown(reply) => drop(reply.send(Err(ControlError::Closing))),
        }
    }

    fn server_views(&self) -> Vec<ServerView> {
        let cluster = self.context.cluster.load();
        let config = self.context.config.load();
        let view = |(place, member): (usize, &crate::backend::Member)| {
            let report = member.server.report();
            let (idle, used) = member.server.pool.counts();
            let metrics = &member.server.metrics;
            let limit = config.servers.iter().find(|server| server.id == member.server.id);
            ServerView {
                name: member.server.id.to_string(),
                address: member.server.address.to_string(),
                role: member.role,
                is_writer: cluster.writer == Some(place),
                state: member.state,
                weight: member.weight,
                health: report.health.clone(),
                version: report.version.clone(),
                read_only: report.read_only,
                lag: report.lag,
                gtid: member.server.position().map(|position| position.to_string()),
                connections_idle: idle,
                connections_used: used,
                max_connections: limit.map_or(0, |server| server.max_connections),
                reads: metrics.total(|shard| &shard.reads),
                writes: metrics.total(|shard| &shard.writes),
                transactions: metrics.total(|shard| &shard.transactions),
                errors: metrics.total(|shard| &shard.errors),
            }
        };
        cluster.members.iter().enumerate().map(view).collect()
    }

    fn session_views(&self) -> Vec<SessionView> {
        let now = servers::now();
        self.context.sessions.all().iter().map(|handle| handle.view(now)).collect()
    }

    fn set_state(&mut self, id: &ServerId, state: State) -> Result<(), ControlError> {
        let before = self.context.cluster.load_full();
        let mut cluster = crate::backend::Cluster::clone(&before);
        let member = cluster.members.iter_mut().find(|member| member.server.id == *id);
        let member = member.ok_or_else(|| ControlError::UnknownServer(id.to_string()))?;
        member.state = state;
        servers::apply_state(&member.server, state);
        self.context.publish(cluster);
        tracing::info!(server = %id, ?state, "a server's state was set");
        shutdown::evict_from_retired(&self.context, &before);
        self.servers.follow_config();
        Ok(())
    }

    fn kill(&self, id: u32, query_only: bool, user: Option<&str>) -> Result<(), ControlError> {
        let handle = self.context.sessions.find(id).ok_or(ControlError::UnknownSession(id))?;
        if user.is_some_and(|user| handle.user() != user) {
            return Err(ControlError::NotYours(id));
        }
        handle.kill(if query_only { Kill::Query } else { Kill::Session });
        Ok(())
    }
}
