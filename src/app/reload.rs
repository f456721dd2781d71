//! Takes a changed config file into use: all of it, or nothing.

use std::{fs, sync::Arc};

use super::{Source, servers, shutdown};
use crate::{
    config::{self, Applies, Config, ProcessSecrets, State},
    context::{Context, ControlError},
};

/// Knows the file and what it held last.
pub struct Reloader {
    source: Source,
    context: Arc<Context>,
    /// What was read last, good or bad: a broken file is reported once.
    seen: Option<String>,
}

impl Reloader {
    pub fn new(source: Source, context: Arc<Context>) -> Self {
        let mut reloader = Self { source, context, seen: None };
        reloader.seen = reloader.read().ok();
        reloader
    }

    fn read(&self) -> Result<String, ControlError> {
        match &self.source {
            Source::File(path) => {
                fs::read_to_string(path).map_err(|error| ControlError::Reload(format!("{}: {error}", path.display())))
            }
            Source::Flags => Err(ControlError::Reload("there is no configuration file".to_owned())),
        }
    }

    /// Looks whether the file's content has changed, and reloads it then. Comparing content works where watching files
    /// does not: over network file systems, and where an orchestrator swaps a symbolic link. Returns whether a new config
    /// is in use.
    pub fn look(&mut self) -> bool {
        // A file that is missing for a moment is being replaced.
        let Ok(text) = self.read() else { return false };
        self.seen.as_ref() != Some(&text) && self.apply(text).is_ok()
    }

    /// Reloads the file, changed or not. Returns one line for each change.
    pub fn reload(&mut self) -> Result<Vec<String>, ControlError> {
        let text = self.read()?;
        self.apply(text)
    }

    fn apply(&mut self, text: String) -> Result<Vec<String>, ControlError> {
        let parsed = config::parse(&text, &ProcessSecrets);
        self.seen = Some(text);
        let applied = parsed
            .map_err(|problems| problems.to_string())
            .and_then(|config| self.take_into_use(config).map_err(|error| error.to_string()));
        match applied {
            Ok(changes) => {
                self.context.metrics.reloads_ok.inc();
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
    fn take_into_use(&self, new: Config) -> Result<Vec<String>, crate::net::tls::TlsError> {
        let old = self.context.config.load_full();
        let changes = config::diff(&old, &new);
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let links = Arc::new(servers::links(&new)?);
        let tls = servers::client_tls(&new)?;
        let mut new = new;
        if changes.iter().any(|change| change.applies == Applies::Restart) {
            tracing::warn!("some changes take effect only after a restart");
            // What is in use is what the config must say, or the next reload would compare with something else.
            new.listeners.clone_from(&old.listeners);
            new.runtime.clone_from(&old.runtime);
            new.admin.clone_from(&old.admin);
            new.log.level.clone_from(&old.log.level);
            new.log.format = old.log.format;
        }
        let cluster = servers::cluster(&new, &links, &self.context.metrics, Some(&self.context.cluster.load()));
        self.evict_from(&old, &new);
        if old.tls.client != new.tls.client {
            self.context.tls.store(tls);
        }
        self.context.config.store(Arc::new(new));
        self.context.publish(cluster);
        Ok(changes.iter().map(ToString::to_string).collect())
    }

    /// Sessions that hold a connection to a server that goes away have until the drain deadline.
    fn evict_from(&self, old: &Config, new: &Config) {
        let active = |config: &Config, id: &config::ServerId| {
            config.servers.iter().any(|server| server.id == *id && server.state == State::Active)
        };
        for server in &old.servers {
            if active(old, &server.id) && !active(new, &server.id) {
                let evict = shutdown::evict(self.context.clone(), server.id.clone(), new.timeouts.drain);
                tokio::task::spawn_local(evict);
            }
        }
    }
}
