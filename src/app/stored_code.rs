//! Looks at the code that is stored in the writer: at the start, when a session has changed it, when the writer is another
//! one, and when its counters say that somebody else has changed it. Replicas have the same.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mysql_async::Conn;
use tokio::time::{Instant, timeout};

use crate::{
    backend::{
        Cluster,
        driver::{self, Target},
        stored_code::{self, Seen},
    },
    config::{Auth, Config, Server, ServerId},
    context::Context,
    sql::{Dialect, StoredCode},
};

/// How many probe intervals lie between two looks at the counters.
const INTERVALS: u32 = 10;
/// How long one look may take: on some servers it opens every table.
pub const LOOK: Duration = Duration::from_secs(10);
/// How long nobody looks after one that took longer; each further one doubles it.
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);
/// How many accounts look.
const MOST_ACCOUNTS: usize = 8;

/// Keeps the cluster snapshot's stored code true, for ever.
pub async fn watch(context: Arc<Context>) {
    let (mut wanted, mut generation) = (context.looks.wanted(), context.generation.subscribe());
    let mut eye = Eye::default();
    loop {
        let want = *wanted.borrow_and_update();
        generation.mark_unchanged();
        let config = context.config.load_full();
        let writer = writer(&config, &context.cluster.load());
        // Without one: whoever becomes it is looked at.
        if let Some(writer) = writer.as_ref().filter(|writer| !eye.rests_from(&writer.id)) {
            let looked = timeout(LOOK, eye.look(&context, &config, writer, want)).await;
            eye.rest(looked.is_err());
        }
        // Before there was one, nothing is known, and the first statements wait.
        if writer.is_some() || eye.server.is_some() {
            context.looks.answer(want);
        }
        let id = writer.map(|writer| writer.id);
        let another = async {
            // A watch whose sender is gone ends with Weir.
            while generation.changed().await.is_ok() {
                let config = context.config.load();
                if self::writer(&config, &context.cluster.load()).map(|writer| writer.id) != id {
                    return;
                }
            }
        };
        tokio::select! {
            _ = wanted.changed() => {}
            () = another => {}
            () = tokio::time::sleep(config.probe.interval * INTERVALS) => {}
        }
    }
}

fn writer(config: &Config, cluster: &Cluster) -> Option<Server> {
    let id = &cluster.members.get(cluster.writer?)?.server.id;
    config.servers.iter().find(|server| server.id == *id).cloned()
}

/// What was seen last.
#[derive(Default)]
struct Eye {
    server: Option<ServerId>,
    conn: Option<Conn>,
    changes: String,
    want: u64,
    /// What was not to be seen, of which the log tells.
    gaps: Vec<String>,
    /// How long it rests after a look that took too long, and until when.
    rest: Duration,
    awake: Option<Instant>,
}

impl Eye {
    fn rests_from(&self, server: &ServerId) -> bool {
        self.server.as_ref() == Some(server) && self.awake.is_some_and(|awake| Instant::now() < awake)
    }

    fn rest(&mut self, tired: bool) {
        self.rest = if tired { (self.rest * 2).clamp(REST, LONGEST_REST) } else { Duration::ZERO };
        self.awake = tired.then(|| Instant::now() + self.rest);
        if tired {
            self.conn = None;
            tracing::warn!(again_in = ?self.rest, "the stored routines, triggers and views could not be read in time");
        }
    }

    /// Looks if there may be something new, and publishes it.
    async fn look(&mut self, context: &Context, config: &Config, writer: &Server, want: u64) {
        if self.server.as_ref() != Some(&writer.id) {
            *self = Self { server: Some(writer.id.clone()), ..Self::default() };
        }
        let changes = self.changes(config, writer).await;
        if want == self.want && changes.as_ref().is_none_or(|changes| *changes == self.changes) {
            return;
        }
        let dialect = context.cluster.load().mode.dialect;
        // Else what was known stays so, until the next time.
        let Some(seen) = survey(config, writer, dialect).await else { return };
        let gaps = seen.gaps(dialect, &config.probe_user().map(|user| user.name).unwrap_or_default());
        if gaps != self.gaps {
            gaps.iter().for_each(|gap| tracing::warn!(server = %writer.id, "{gap}"));
            self.gaps = gaps;
        }
        let before = context.cluster.load_full();
        let stored = StoredCode::of(&seen.code(), before.mode);
        if *before.stored != stored {
            context.publish(Cluster { stored: Arc::new(stored), ..Cluster::clone(&before) });
        }
        self.want = want;
        self.changes = changes.unwrap_or_default();
    }

    /// What the server's counters say; None: they cannot be read.
    async fn changes(&mut self, config: &Config, writer: &Server) -> Option<String> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => driver::connect(&Target::for_probes(config, writer)?).await.ok()?,
        };
        let changes = stored_code::changes(&mut conn).await.ok()?;
        self.conn = Some(conn);
        Some(changes)
    }
}

/// What Weir's accounts see on a server, and may do, with all in mind who may log in; None: none of them can look.
pub async fn survey(config: &Config, server: &Server, dialect: Dialect) -> Option<Seen> {
    let mut seen = None;
    for target in accounts(config, server) {
        match see(&target, dialect).await {
            Ok(found) => seen.get_or_insert_with(Seen::default).add(found),
            Err(error) => tracing::debug!(server = %server.id, user = target.user, error, "cannot see stored code"),
        }
    }
    let all_look = config.auth == Auth::Users && config.users.len() < MOST_ACCOUNTS;
    if let Some(seen) = seen.as_mut().filter(|_| !all_look) {
        seen.grants.anybody_writes();
    }
    seen
}

/// What one account sees.
async fn see(account: &Target, dialect: Dialect) -> Result<Seen, String> {
    let mut conn = driver::connect(account).await.map_err(|error| error.to_string())?;
    let found = stored_code::look(&mut conn, dialect, LOOK).await.map_err(|error| error.to_string());
    // A goodbye that does not arrive changes nothing.
    let _ = conn.disconnect().await;
    found
}

/// The accounts that Weir can look as.
fn accounts(config: &Config, writer: &Server) -> Vec<Target> {
    let users = config.users.iter().filter(|user| user.password.is_some()).cloned();
    let mut names = BTreeSet::new();
    let all = config.probe_user().into_iter().chain(users).filter(|user| names.insert(user.name.clone()));
    all.take(MOST_ACCOUNTS).map(|user| Target::for_user(config, writer, &user)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_take_too_long_become_rare() {
        let (slow, other) = (ServerId::new("slow"), ServerId::new("other"));
        let mut eye = Eye { server: Some(slow.clone()), ..Eye::default() };
        let rests: Vec<_> = (0..8).map(|_| (eye.rest(true), eye.rest.as_secs()).1).collect();
        assert_eq!(rests, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert!(eye.rests_from(&slow) && !eye.rests_from(&other));
        eye.rest(false);
        assert!(!eye.rests_from(&slow));
        eye.rest(true);
        assert_eq!(eye.rest, REST);
    }
}
