//! Takes a changed config file into use: all of it, or nothing.

use std::{fs, sync::Arc};

use super::{Source, files, names::Answer, servers, shutdown};
use crate::{
    config::{self, Applies, Auth, Config, ProcessSecrets, Targets},
    context::{Context, ControlError, Turns},
    net::tls::TlsError,
};

/// What the source holds now.
pub fn read(source: &Source) -> Result<String, ControlError> {
    match source {
        Source::File(path) => {
            fs::read_to_string(path).map_err(|error| ControlError::Reload(format!("{}: {error}", path.display())))
        }
        Source::Flags => Err(ControlError::Reload("there is no configuration file".to_owned())),
    }
}

/// Knows the file and what it held last.
pub struct Reloader {
    source: Source,
    context: Arc<Context>,
    /// What was read last, good or bad: a broken file is reported once.
    seen: Option<String>,
    /// The config in use as it was written, with its `srv:` names.
    written: Config,
    /// What those lead to.
    targets: Targets,
}

impl Reloader {
    /// `seen` is what the source held at the start, and `written` what that meant.
    pub fn new(source: Source, seen: Option<String>, written: Config, context: Arc<Context>) -> Self {
        Self { source, context, seen, written, targets: Targets::new() }
    }

    /// The config in use as it was written, with its `srv:` names.
    pub fn written(&self) -> &Config {
        &self.written
    }

    /// Takes in what the DNS said of a name; what it said before stays if it says nothing. Returns whether other servers
    /// are in use.
    pub fn learn(&mut self, answer: Answer) -> bool {
        let Answer { name, targets } = answer;
        let targets = match targets {
            Ok(targets) if self.targets.get(&name) != Some(&targets) => targets,
            Ok(_) => return false,
            Err(error) => {
                tracing::warn!(%error, "the servers stay as they are");
                return false;
            }
        };
        let before = self.targets.insert(name.clone(), targets);
        match self.take_into_use(self.written.clone()) {
            Ok(changes) => {
                tracing::info!(name, ?changes, "the DNS names other servers");
                true
            }
            Err(problems) => {
                tracing::error!(name, %problems, "the servers that the DNS names cannot be used");
                match before {
                    Some(before) => drop(self.targets.insert(name, before)),
                    None => drop(self.targets.remove(&name)),
                }
                false
            }
        }
    }

    /// Looks whether the file's content has changed, and reloads it then. Comparing content works where watching files
    /// does not: over network file systems, and where an orchestrator swaps a symbolic link. Returns whether a new config
    /// is in use.
    pub fn look(&mut self) -> bool {
        // A file that is missing for a moment is being replaced.
        let Ok(text) = read(&self.source) else { return false };
        self.seen.as_ref() != Some(&text) && self.apply(text).is_ok()
    }

    /// Reloads the file and those it names, changed or not: secrets, certificates, keys. Returns one line for each change.
    pub fn reload(&mut self) -> Result<Vec<String>, ControlError> {
        let text = read(&self.source).inspect_err(|error| {
            self.context.metrics.reloads_failed.inc();
            tracing::error!(%error, "the configuration cannot be read");
        })?;
        self.apply(text)
    }

    fn apply(&mut self, text: String) -> Result<Vec<String>, ControlError> {
        let parsed = config::parse(&text, &ProcessSecrets);
        self.seen = Some(text);
        let applied = parsed.map_err(|problems| problems.to_string()).and_then(|config| self.take_into_use(config));
        match applied {
            Ok(changes) => {
                self.context.metrics.reloads_ok.inc();
                if changes.is_empty() {
                    tracing::info!("the configuration is as it was");
                }
                for change in &changes {
                    tracing::info!(%change, "configuration changed");
                }
                Ok(changes)
            }
            Err(problems) => {
                self.context.metrics.reloads_failed.inc();
                tracing::error!(%problems, "the new configuration was refused; the old one stays in use");
                Err(ControlError::Reload(problems))
            }
        }
    }

    /// Builds everything that can fail first, and then publishes.
    fn take_into_use(&mut self, written: Config) -> Result<Vec<String>, String> {
        let old = self.context.config.load_full();
        let mut new = config::expand(&written, &self.targets);
        let changes = config::diff(&old, &new);
        files::check(&new, files::allowed()).map_err(|error| error.to_string())?;
        let (links, tls) = match (servers::links(&new), servers::client_tls(&new)) {
            (Ok(links), Ok(tls)) => (Arc::new(links), tls),
            (links, tls) => {
                let problem = |key: &str, error: Option<TlsError>| error.map(|error| format!("{key}: {error}"));
                let problems = [problem("tls.server", links.err()), problem("tls.client", tls.err())];
                return Err(problems.into_iter().flatten().collect::<Vec<_>>().join("\n"));
            }
        };
        // A self-made certificate stays as long as nothing else is asked for: clients may have pinned it.
        if old.tls.client != new.tls.client || new.tls.client.cert.is_some() {
            self.context.tls.store(tls);
        }
        if changes.iter().any(|change| change.applies == Applies::Restart) {
            tracing::warn!("some changes take effect only after a restart");
            // What is in use is what the config must say, or the next reload would compare with something else.
            new.listeners.clone_from(&old.listeners);
            new.runtime.clone_from(&old.runtime);
            new.admin.clone_from(&old.admin);
            new.log.level.clone_from(&old.log.level);
            new.log.format = old.log.format;
        }
        if new.auth != Auth::Passthrough {
            self.context.proven.clear();
        }
        let before = self.context.cluster.load_full();
        let cluster = servers::cluster(&new, &links, &self.context.metrics, Some((&old, &before)));
        if old.tls.server != new.tls.server {
            cluster.members.iter().for_each(|member| member.server.pool.renew(servers::now()));
        }
        self.context.turns.store(Arc::new(Turns::new(&new, &self.context.turns.load())));
        self.written = Config { servers: written.servers, ..new.clone() };
        self.context.config.store(Arc::new(new));
        self.context.publish(cluster);
        shutdown::evict_from_retired(&self.context, &before);
        Ok(changes.iter().map(ToString::to_string).collect())
    }
}
