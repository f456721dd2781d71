//! The difference of two configurations, key by key, and when each change takes effect. Who applies it is decided
//! by `app`.

use std::{fmt, path::PathBuf, time::Duration};

use super::*;

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// At once, sessions that are open included.
    Now,
    /// For sessions that begin after the reload.
    NextSession,
    /// Only when Weir is started anew.
    Restart,
}

impl fmt::Display for Applies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "now",
            Self::NextSession => "next session",
            Self::Restart => "restart",
        })
    }
}

/// One changed key, `servers.db2.weight`. Entries of a list are called by their name, listeners by their address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub what: What,
    pub applies: Applies,
}

/// What became of a key. Values are as a configuration would say them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Added,
    Removed,
    Set {
        from: String,
        to: String,
    },
    /// A secret has another value.
    Secret,
    /// The entries are the same in another order.
    Reordered,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, what, applies } = self;
        match what {
            What::Added => write!(f, "{key}: added ({applies})"),
            What::Removed => write!(f, "{key}: removed ({applies})"),
            What::Set { from, to } => write!(f, "{key}: {from} → {to} ({applies})"),
            What::Secret => write!(f, "{key}: changed ({applies})"),
            What::Reordered => write!(f, "{key}: reordered ({applies})"),
        }
    }
}

/// Every key that differs. Empty if, and only if, both configurations ask for the same.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for (old, new) in lists(old).into_iter().zip(lists(new)) {
        old.compare(new, &mut changes);
    }
    for (old, new) in sections(old).into_iter().zip(sections(new)) {
        old.compare(new, &mut changes);
    }
    changes
}

/// The entries of a list, which are the same ones when their keys are.
struct List<'c> {
    key: &'static str,
    order: Order,
    entries: Vec<Settings<'c>>,
}

#[derive(PartialEq)]
enum Order {
    Matters,
    Free,
}

impl List<'_> {
    fn compare(self, new: Self, changes: &mut Vec<Change>) {
        let mut left: Vec<Option<Settings<'_>>> = self.entries.into_iter().map(Some).collect();
        let mut positions = Vec::new();
        for entry in new.entries {
            let same = |old: &Option<Settings<'_>>| old.as_ref().is_some_and(|old| old.key == entry.key);
            let Some(position) = left.iter().position(same) else {
                changes.push(Change { key: entry.key, what: What::Added, applies: entry.applies });
                continue;
            };
            positions.push(position);
            if let Some(old) = left.get_mut(position).and_then(Option::take) {
                old.compare(entry, changes);
            }
        }
        for Settings { key, applies, .. } in left.into_iter().flatten() {
            changes.push(Change { key, what: What::Removed, applies });
        }
        if self.order == Order::Matters && !positions.is_sorted() {
            changes.push(Change { key: self.key.into(), what: What::Reordered, applies: Applies::Now });
        }
    }
}

/// A section or an entry of a list, flattened to comparable texts.
struct Settings<'c> {
    key: String,
    applies: Applies,
    values: Vec<(&'static str, Value<'c>, Applies)>,
}

#[derive(PartialEq)]
enum Value<'c> {
    Text(String),
    Secret(Option<&'c Secret>),
}

impl<'c> Settings<'c> {
    fn new(key: impl Into<String>, applies: Applies) -> Self {
        Self { key: key.into(), applies, values: Vec::new() }
    }

    fn with(self, key: &'static str, text: impl ToString) -> Self {
        let applies = self.applies;
        self.applying(applies, key, text)
    }

    fn applying(mut self, applies: Applies, key: &'static str, text: impl ToString) -> Self {
        self.values.push((key, Value::Text(text.to_string()), applies));
        self
    }

    fn secret(mut self, key: &'static str, secret: Option<&'c Secret>) -> Self {
        self.values.push((key, Value::Secret(secret), self.applies));
        self
    }

    fn compare(self, new: Self, changes: &mut Vec<Change>) {
        for ((key, old, applies), (_, new, _)) in self.values.into_iter().zip(new.values) {
            let what = match (old, new) {
                (old, new) if old == new => continue,
                (Value::Text(from), Value::Text(to)) => What::Set { from, to },
                _ => What::Secret,
            };
            let key = if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) };
            changes.push(Change { key, what, applies });
        }
    }
}

fn lists(config: &Config) -> [List<'_>; 4] {
    [
        List { key: "listeners", order: Order::Free, entries: config.listeners.iter().map(listener).collect() },
        List { key: "servers", order: Order::Free, entries: config.servers.iter().map(server).collect() },
        List { key: "users", order: Order::Free, entries: config.users.iter().map(user).collect() },
        List { key: "rules", order: Order::Matters, entries: config.rules.iter().map(rule).collect() },
    ]
}

// Each function takes its struct apart by name, so that a new field cannot be forgotten here.

fn listener(listener: &Listener) -> Settings<'_> {
    let Listener { address, route, proxy_protocol } = listener;
    Settings::new(format!("listeners.{address}"), Applies::Restart)
        .with("route", route)
        .with("proxy_protocol", list(proxy_protocol))
}

fn server(server: &Server) -> Settings<'_> {
    let Server { id, address, role, weight, state, groups, max_connections, rank } = server;
    Settings::new(format!("servers.{id}"), Applies::Now)
        .with("address", address)
        .with("role", role.keyword())
        .with("weight", weight)
        .with("state", state.keyword())
        .with("groups", list(groups))
        .with("max_connections", max_connections)
        .with("priority", rank.as_ref().map_or(0, |rank| rank.priority))
}

fn user(user: &User) -> Settings<'_> {
    let User { name, password, old_password, plugin, max_clients } = user;
    Settings::new(format!("users.{name}"), Applies::NextSession)
        .secret("password", password.as_ref())
        .secret("old_password", old_password.as_ref())
        .with("plugin", or_none(plugin.map(Keyword::keyword)))
        .with("max_clients", or_none(max_clients.as_ref()))
}

fn rule(rule: &Rule) -> Settings<'_> {
    let Rule {
        name,
        tables,
        schemas,
        users,
        client_addresses,
        digests,
        regex,
        to,
        timeout,
        max_concurrency,
        consistency,
    } = rule;
    let digests: Vec<String> = digests.iter().map(|digest| format!("{digest:016x}")).collect();
    Settings::new(format!("rules.{name}"), Applies::Now)
        .with("tables", list(tables))
        .with("schemas", list(schemas))
        .with("users", list(users))
        .with("client_addresses", list(client_addresses))
        .with("digests", list(&digests))
        .with("regex", or_none(regex.as_ref()))
        .with("to", or_none(to.as_ref()))
        .with("timeout", or_none(timeout.map(duration_text)))
        .with("max_concurrency", or_none(*max_concurrency))
        .with("consistency", or_none(consistency.map(Keyword::keyword)))
}

fn sections(config: &Config) -> [Settings<'_>; 15] {
    let Passthrough { ttl, max_users } = &config.passthrough;
    [
        Settings::new("", Applies::NextSession).with("auth", config.auth.keyword()),
        Settings::new("passthrough", Applies::NextSession)
            .with("ttl", duration_text(*ttl))
            .with("max_users", max_users),
        probe(config),
        reads(&config.reads),
        Settings::new("failover", Applies::Now).with("hold", duration_text(config.failover.hold)),
        pool(&config.pool),
        timeouts(&config.timeouts),
        limits(&config.limits),
        compression(&config.compression),
        client_tls(&config.tls.client),
        server_tls(&config.tls.server),
        admin(&config.admin),
        dns(&config.dns),
        runtime(&config.runtime),
        log(&config.log),
    ]
}

fn probe(config: &Config) -> Settings<'_> {
    let Probe { user, password, interval, timeout, rise, fall } = &config.probe;
    // Without a user of its own it is the first of `[[users]]`, who may change.
    let first = config.users.iter().find(|user| user.password.is_some());
    let user = user.as_deref().or(first.map(|user| user.name.as_str()));
    Settings::new("probe", Applies::Now)
        .with("user", or_none(user))
        .secret("password", Some(password))
        .with("interval", duration_text(*interval))
        .with("timeout", duration_text(*timeout))
        .with("rise", rise)
        .with("fall", fall)
}

fn reads(reads: &Reads) -> Settings<'_> {
    let Reads { consistency, max_lag, wait_timeout, balance, writer_fallback, transactions } = reads;
    Settings::new("reads", Applies::Now)
        .with("consistency", consistency.keyword())
        .with("max_lag", duration_text(*max_lag))
        .with("wait_timeout", duration_text(*wait_timeout))
        .with("balance", balance.keyword())
        .with("writer_fallback", writer_fallback)
        .with("transactions", transactions.keyword())
}

fn pool(pool: &Pool) -> Settings<'_> {
    let Pool { idle_timeout, max_age, acquire_timeout, linger, multiplex, proxy_protocol } = pool;
    Settings::new("pool", Applies::Now)
        .with("idle_timeout", duration_text(*idle_timeout))
        .with("max_age", duration_text(*max_age))
        .with("acquire_timeout", duration_text(*acquire_timeout))
        .with("linger", duration_text(*linger))
        .with("multiplex", multiplex)
        .applying(Applies::NextSession, "proxy_protocol", proxy_protocol)
}

fn timeouts(timeouts: &Timeouts) -> Settings<'_> {
    let Timeouts { connect, handshake, client_idle, transaction_idle, .. } = timeouts;
    let Timeouts { client_write, server_silence, drain, drain_delay, .. } = timeouts;
    Settings::new("timeouts", Applies::Now)
        .with("connect", duration_text(*connect))
        .with("handshake", duration_text(*handshake))
        .with("client_idle", limit(*client_idle))
        .with("transaction_idle", limit(*transaction_idle))
        .with("client_write", duration_text(*client_write))
        .with("server_silence", limit(*server_silence))
        .with("drain", duration_text(*drain))
        .with("drain_delay", duration_text(*drain_delay))
}

fn limits(limits: &Limits) -> Settings<'_> {
    let Limits { max_clients, max_packet, max_prepared, local_infile } = limits;
    Settings::new("limits", Applies::NextSession)
        .with("max_clients", max_clients)
        .with("max_packet", size_text(*max_packet))
        .with("max_prepared", max_prepared)
        .with("local_infile", local_infile)
}

fn compression(compression: &Compression) -> Settings<'_> {
    let Compression { client, server } = compression;
    let words: Vec<&str> = client.iter().map(|algorithm| algorithm.keyword()).collect();
    Settings::new("compression", Applies::NextSession).with("client", list(&words)).with("server", server.keyword())
}

fn client_tls(tls: &ClientTls) -> Settings<'_> {
    let ClientTls { mode, cert, key, ca } = tls;
    Settings::new("tls.client", Applies::NextSession)
        .with("mode", mode.keyword())
        .with("cert", file(cert))
        .with("key", file(key))
        .with("ca", file(ca))
}

fn server_tls(tls: &ServerTls) -> Settings<'_> {
    let ServerTls { mode, ca, cert, key } = tls;
    Settings::new("tls.server", Applies::NextSession)
        .with("mode", mode.keyword())
        .with("ca", file(ca))
        .with("cert", file(cert))
        .with("key", file(key))
}

fn admin(admin: &Admin) -> Settings<'_> {
    let Admin { console, user, password, http } = admin;
    Settings::new("admin", Applies::Restart)
        .with("console", or_none(console.as_ref()))
        .with("user", user)
        .secret("password", Some(password))
        .with("http", or_none(http.as_ref()))
}

fn dns(dns: &Dns) -> Settings<'_> {
    let Dns { server } = dns;
    Settings::new("dns", Applies::Now).with("server", or_none(server.map(|server| server.to_string()).as_ref()))
}

fn runtime(runtime: &Runtime) -> Settings<'_> {
    let Runtime { workers, spin, congestion_control } = runtime;
    Settings::new("runtime", Applies::Restart)
        .with("workers", workers.map_or("auto".into(), |workers| workers.to_string()))
        .with("spin", duration_text(*spin))
        .with("congestion_control", or_none(congestion_control.as_ref()))
}

fn log(log: &Log) -> Settings<'_> {
    let Log { level, format, slow_statement } = log;
    Settings::new("log", Applies::Restart).with("level", level).with("format", format.keyword()).applying(
        Applies::Now,
        "slow_statement",
        limit(*slow_statement),
    )
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("none".into(), |value| value.to_string())
}

fn limit(value: Option<Duration>) -> String {
    duration_text(value.unwrap_or_default())
}

fn file(path: &Option<PathBuf>) -> String {
    or_none(path.as_ref().map(|path| path.display()))
}

/// As in a configuration: quoted, so that no entry can pass for two.
fn list(values: &[impl ToString]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{:?}", value.to_string())).collect();
    format!("[{}]", values.join(", "))
}
