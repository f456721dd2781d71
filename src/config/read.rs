//! Tables to the model, key by key: the list of what can be configured. Checks of one value are in `field`, checks
//! across values in `validate`.
//!
//! A bad value is noted and replaced by one that causes few further problems.

use super::{
    document::Section,
    field::*,
    secret::{OLD_PASSWORD, PASSWORD},
    *,
};

pub(super) fn config(root: &mut Section<'_, '_>) -> Config {
    let auth = root.field("auth", keyword).unwrap_or(Config::default().auth);
    let users = root.sections("users", |section| user(section, auth)).unwrap_or_default();
    Config {
        auth,
        listeners: root.sections("listeners", listener).unwrap_or_else(|| Config::default().listeners),
        servers: root.sections("servers", server).unwrap_or_default(),
        rules: root.sections("rules", rule).unwrap_or_default(),
        probe: root.section("probe", |section| probe(section, &users)),
        users,
        passthrough: root.section("passthrough", passthrough),
        reads: root.section("reads", reads),
        failover: root.section("failover", failover),
        dns: root.section("dns", |dns| Dns { server: dns.field("server", socket_address) }),
        pool: root.section("pool", pool),
        timeouts: root.section("timeouts", timeouts),
        limits: root.section("limits", limits),
        compression: root.section("compression", compression),
        tls: root.section("tls", |tls| Tls {
            client: tls.section("client", client_tls),
            server: tls.section("server", server_tls),
        }),
        admin: root.section("admin", admin),
        runtime: root.section("runtime", runtime),
        log: root.section("log", log),
    }
}

fn listener(section: &mut Section<'_, '_>) -> Listener {
    let address = section.required("address", listen_address).unwrap_or_else(|| nowhere(section));
    // A bad route becomes the one that asks for nothing.
    let or = if section.has("route") { Route::Reader } else { Route::Split };
    Listener {
        address,
        route: section.field("route", parsed).unwrap_or(or),
        proxy_protocol: section.list("proxy_protocol", parsed),
    }
}

fn server(section: &mut Section<'_, '_>) -> Server {
    let name = section.field("name", identifier);
    let address = section.required("address", server_address).unwrap_or_else(|| nowhere(section));
    let role = section.field("role", keyword).unwrap_or(Role::Auto);
    let default = Server::new(address, role);
    Server {
        id: name.map_or(default.id, |name| ServerId::new(&name)),
        address: default.address,
        role,
        weight: section.field("weight", whole(0..=MAX_WEIGHT)).unwrap_or(default.weight),
        state: section.field("state", keyword).unwrap_or(default.state),
        groups: section.list("groups", identifier),
        max_connections: section.field("max_connections", whole(1..=100_000)).unwrap_or(default.max_connections),
        rank: default.rank,
    }
}

fn user(section: &mut Section<'_, '_>, auth: Auth) -> User {
    let name = section.required("name", name).unwrap_or_else(|| section.path().into());
    let given = PASSWORD.given(section);
    if !given && auth == Auth::Users {
        section.problem("password", "is missing: give one of `password`, `password_env` and `password_file`");
    }
    let (password, old_password) = (PASSWORD.read(section), OLD_PASSWORD.read(section));
    let useless = [("old_password", OLD_PASSWORD.given(section)), ("plugin", section.has("plugin"))];
    for (key, _) in useless.into_iter().filter(|(_, has)| *has && !given && auth == Auth::Passthrough) {
        section.problem(key, "has no use without a password");
    }
    User {
        name,
        // One that cannot be read is noted, and not the writer's to judge.
        password: password.or((given || auth == Auth::Users).then(Secret::default)),
        old_password,
        plugin: section.field("plugin", keyword),
        max_clients: section.field("max_clients", whole(1..=1_000_000)),
    }
}

fn passthrough(section: &mut Section<'_, '_>) -> Passthrough {
    let default = Passthrough::default();
    Passthrough {
        ttl: section.field("ttl", brief).unwrap_or(default.ttl),
        max_users: section.field("max_users", whole(1..=100_000)).unwrap_or(default.max_users),
    }
}

fn rule(section: &mut Section<'_, '_>) -> Rule {
    let rule = Rule {
        name: section.required("name", name).unwrap_or_else(|| section.path().into()),
        tables: section.list("tables", parsed),
        schemas: section.list("schemas", parsed),
        users: section.list("users", parsed),
        client_addresses: section.list("client_addresses", parsed),
        digests: section.list("digests", digest),
        regex: section.field("regex", regex),
        to: section.field("to", parsed),
        timeout: section.field("timeout", positive_duration),
        max_concurrency: section.field("max_concurrency", whole(1..=1_000_000)),
        consistency: section.field("consistency", keyword),
    };
    if !["to", "timeout", "max_concurrency", "consistency"].into_iter().any(|key| section.has(key)) {
        section.problem(
            "to",
            "is missing: the rule does nothing without `to`, `timeout`, `max_concurrency` or `consistency`",
        );
    }
    rule
}

fn probe(section: &mut Section<'_, '_>, users: &[User]) -> Probe {
    let default = Probe::default();
    let user = section.field("user", name);
    let password = PASSWORD.read(section);
    let listed = users.iter().find(|listed| Some(&listed.name) == user.as_ref());
    match (section.has("user"), PASSWORD.given(section)) {
        (false, true) => section.problem("user", "is missing: a password without it has no use"),
        (true, false) if user.is_some() && listed.is_none_or(|listed| listed.password.is_none()) => {
            section.problem("password", "is missing: the probe's user is none of [[users]], or has none there");
        }
        _ => {}
    }
    Probe {
        user,
        password: password.or(listed.and_then(|listed| listed.password.clone())).unwrap_or_default(),
        interval: section.field("interval", positive_duration).unwrap_or(default.interval),
        timeout: section.field("timeout", positive_duration).unwrap_or(default.timeout),
        rise: section.field("rise", whole(1..=1000)).unwrap_or(default.rise),
        fall: section.field("fall", whole(1..=1000)).unwrap_or(default.fall),
    }
}

fn reads(section: &mut Section<'_, '_>) -> Reads {
    let default = Reads::default();
    Reads {
        consistency: section.field("consistency", keyword).unwrap_or(default.consistency),
        max_lag: section.field("max_lag", positive_duration).unwrap_or(default.max_lag),
        wait_timeout: section.field("wait_timeout", duration).unwrap_or(default.wait_timeout),
        balance: section.field("balance", keyword).unwrap_or(default.balance),
        writer_fallback: section.field("writer_fallback", boolean).unwrap_or(default.writer_fallback),
        transactions: section.field("transactions", keyword).unwrap_or(default.transactions),
    }
}

fn failover(section: &mut Section<'_, '_>) -> Failover {
    Failover { hold: section.field("hold", duration).unwrap_or(Failover::default().hold) }
}

fn pool(section: &mut Section<'_, '_>) -> Pool {
    let default = Pool::default();
    Pool {
        idle_timeout: section.field("idle_timeout", positive_duration).unwrap_or(default.idle_timeout),
        max_age: section.field("max_age", positive_duration).unwrap_or(default.max_age),
        acquire_timeout: section.field("acquire_timeout", positive_duration).unwrap_or(default.acquire_timeout),
        linger: section.field("linger", duration).unwrap_or(default.linger),
        multiplex: section.field("multiplex", boolean).unwrap_or(default.multiplex),
        proxy_protocol: section.field("proxy_protocol", boolean).unwrap_or(default.proxy_protocol),
    }
}

fn timeouts(section: &mut Section<'_, '_>) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        connect: section.field("connect", positive_duration).unwrap_or(default.connect),
        handshake: section.field("handshake", positive_duration).unwrap_or(default.handshake),
        client_idle: section.field("client_idle", limit).unwrap_or(default.client_idle),
        transaction_idle: section.field("transaction_idle", limit).unwrap_or(default.transaction_idle),
        client_write: section.field("client_write", positive_duration).unwrap_or(default.client_write),
        server_silence: section.field("server_silence", limit).unwrap_or(default.server_silence),
        drain: section.field("drain", duration).unwrap_or(default.drain),
        drain_delay: section.field("drain_delay", duration).unwrap_or(default.drain_delay),
    }
}

fn limits(section: &mut Section<'_, '_>) -> Limits {
    let default = Limits::default();
    Limits {
        max_clients: section.field("max_clients", whole(1..=1_000_000)).unwrap_or(default.max_clients),
        // The range of the servers' own `max_allowed_packet`.
        max_packet: section.field("max_packet", size(1 << 10..=1 << 30)).unwrap_or(default.max_packet),
        max_prepared: section.field("max_prepared", whole(1..=1_048_576)).unwrap_or(default.max_prepared),
        local_infile: section.field("local_infile", boolean).unwrap_or(default.local_infile),
    }
}

fn compression(section: &mut Section<'_, '_>) -> Compression {
    let default = Compression::default();
    let client = if section.has("client") { section.list("client", keyword) } else { default.client };
    Compression { client, server: section.field("server", keyword).unwrap_or(default.server) }
}

fn client_tls(section: &mut Section<'_, '_>) -> ClientTls {
    ClientTls {
        mode: section.field("mode", keyword).unwrap_or(ClientTls::default().mode),
        cert: section.field("cert", path),
        key: section.field("key", path),
        ca: section.field("ca", path),
    }
}

fn server_tls(section: &mut Section<'_, '_>) -> ServerTls {
    ServerTls {
        mode: section.field("mode", keyword).unwrap_or(ServerTls::default().mode),
        ca: section.field("ca", path),
        cert: section.field("cert", path),
        key: section.field("key", path),
    }
}

fn admin(section: &mut Section<'_, '_>) -> Admin {
    let default = Admin::default();
    Admin {
        console: section.field("console", door).unwrap_or(default.console),
        user: section.field("user", name).unwrap_or(default.user),
        password: PASSWORD.read(section).unwrap_or_default(),
        http: section.field("http", door).unwrap_or(default.http),
    }
}

fn runtime(section: &mut Section<'_, '_>) -> Runtime {
    Runtime {
        workers: section.field("workers", workers).flatten(),
        spin: section.field("spin", moment).unwrap_or_default(),
        congestion_control: section.field("congestion_control", identifier),
    }
}

fn log(section: &mut Section<'_, '_>) -> Log {
    let default = Log::default();
    Log {
        level: section.field("level", level).unwrap_or(default.level),
        format: section.field("format", keyword).unwrap_or(default.format),
        slow_statement: section.field("slow_statement", limit).unwrap_or(default.slow_statement),
    }
}

/// Stands for a bad address: no other one is equal to it.
fn nowhere(section: &Section<'_, '_>) -> Address {
    Address::Unix(section.path().into())
}
