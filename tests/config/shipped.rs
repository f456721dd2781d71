//! The files in `config/`: valid, complete, and true about defaults and the time of effect.

use std::{collections::HashMap, fs, path::Path};

use weir::config::*;

use super::{app_user, local_writer, read};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).expect(name)
}

/// The reference with its commented keys and headers in force.
fn uncommented_reference() -> String {
    let text = file("weir.toml");
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') || key_of(rest).is_some() => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(key)
}

#[test]
fn the_smallest_configuration_has_every_default() {
    let expected =
        Config { servers: vec![local_writer("127.0.0.1:3306")], users: vec![app_user()], ..Config::default() };
    assert_eq!(read(&file("minimal.toml")), Ok(expected));
}

#[test]
fn the_reference_tells_the_defaults() {
    let expected = Config { servers: vec![local_writer("db1")], users: vec![app_user()], ..Config::default() };
    assert_eq!(read(&file("weir.toml")), Ok(expected));
}

#[test]
fn commented_keys_of_the_reference_are_real() {
    let config = read(&uncommented_reference()).expect("a valid configuration");
    assert_eq!((config.listeners.len(), config.servers.len(), config.users.len()), (2, 2, 3));
    assert_eq!(config.rules[0].digests, [0x00c0_ffee_00c0_ffee]);
    assert_eq!(config.probe.user.as_deref(), Some("weir_probe"));
    assert_eq!(config.runtime.congestion_control.as_deref(), Some("cubic"));
}

/// The message about an unknown key lists all that its section reads.
#[test]
fn the_reference_names_every_key() {
    let text = uncommented_reference();
    let mut named: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if let Some(key) = key_of(line) {
            named.entry(section).or_default().push(key);
        }
    }
    assert_eq!(named.len(), 19, "{:?}", named.keys());
    for (section, keys) in named {
        let problems = read(&format!("{section}\nzzzzzzzz = 1")).expect_err(section);
        let known = problems.split("`zzzzzzzz`; known here: ").nth(1).and_then(|rest| rest.lines().next());
        for key in known.expect(section).split(", ") {
            // The root's other keys are the sections.
            if section.is_empty() && text.contains(&format!("[{key}")) {
                continue;
            }
            // The three ways to give a password are explained once, at the head.
            let password = key.contains("password") && keys.iter().any(|key| key.contains("password"));
            assert!(keys.contains(&key) || password, "{section} {key}");
        }
    }
}

/// Each key's bracket, `[now]`, against what the difference of two configurations says.
#[test]
fn the_reference_tells_when_a_change_takes_effect() {
    let text = file("weir.toml");
    let mut times: HashMap<String, &str> = HashMap::new();
    let (mut section, mut before) = ("", "");
    for line in text.lines() {
        let code = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = code.strip_prefix('[') {
            section = header.trim_matches(['[', ']']);
        } else if let (Some(key), Some((_, time))) = (key_of(code), before.rsplit_once(" [")) {
            let path = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            times.insert(path, time.trim_end_matches(']'));
        }
        before = line;
    }
    let told = |change: &Change| {
        let mut parts = change.key.split('.');
        match (parts.next(), parts.next(), parts.next_back()) {
            // The name of an entry stands between the list and the key.
            (Some(list @ ("listeners" | "servers" | "rules")), _, Some(key)) => format!("{list}.{key}"),
            (Some("users"), _, Some(key)) => match key.strip_suffix("password") {
                Some(_) => format!("users.{key}_env"),
                None => format!("users.{key}"),
            },
            (Some("probe"), Some("password"), _) => "probe.password_env".into(),
            _ => change.key.clone(),
        }
    };
    let changes = everything_changed();
    for change in &changes {
        let key = told(change);
        assert_eq!(times.get(&key).copied(), Some(change.applies.to_string().as_str()), "{key}: {change}");
    }
    // All keys of the reference but the names, by which entries are known, and a listener's address, likewise.
    let mut changed: Vec<_> = changes.iter().map(told).collect();
    changed.extend(["listeners.address", "servers.name", "users.name", "rules.name"].map(str::to_owned));
    let mut unchanged: Vec<_> = times.keys().filter(|key| !changed.contains(key)).collect();
    unchanged.sort();
    assert!(unchanged.is_empty(), "no change of: {unchanged:?}");
}

/// From the defaults to another value of every key.
fn everything_changed() -> Vec<Change> {
    let entries = |listener: &str, server: &str, user: &str, rule: &str| {
        format!(
            "[[listeners]]\naddress = \"a:7\"\n{listener}\n[[servers]]\nname = \"other\"\n{server}\n\
             [[users]]\nname = \"app\"\n{user}\n[[rules]]\nname = \"rule\"\n{rule}\n"
        )
    };
    let old = entries("", "address = \"a:1\"\nrole = \"writer\"", "password = \"a\"", "timeout = \"1s\"");
    let new = entries(
        "route = \"reader\"\nproxy_protocol = [\"::1\"]",
        "address = \"a:2\"\nrole = \"auto\"\nweight = 7\nstate = \"drain\"\ngroups = [\"g\"]\nmax_connections = 7",
        "password = \"b\"\nold_password = \"a\"\nplugin = \"client_ed25519\"\nmax_clients = 7",
        "tables = [\"t\"]\nschemas = [\"s\"]\nusers = [\"u\"]\nclient_addresses = [\"::1\"]\ndigests = [\"1\"]\n\
         regex = \"r\"\nto = \"writer\"\ntimeout = \"2s\"\nmax_concurrency = 7\nconsistency = \"global\"",
    );
    let sections = r#"
        auth = "passthrough"
        passthrough = { ttl = "7s", max_users = 7 }
        probe = { user = "p", password = "p", interval = "7s", timeout = "7s", rise = 7, fall = 7 }
        reads.writer_fallback = false
        reads.transactions = "reads-before-write"
        reads.balance = "least-outstanding"
        reads.consistency = "global"
        reads.max_lag = "7s"
        reads.wait_timeout = "7s"
        failover.hold = "7s"
        dns.server = "[::7]:7"
        pool.idle_timeout = "7s"
        pool.max_age = "7s"
        pool.acquire_timeout = "7s"
        pool.linger = "7s"
        pool.multiplex = false
        pool.proxy_protocol = true
        timeouts.connect = "7s"
        timeouts.handshake = "7s"
        timeouts.client_idle = "7s"
        timeouts.transaction_idle = "7s"
        timeouts.client_write = "7s"
        timeouts.server_silence = "7s"
        timeouts.drain = "7s"
        timeouts.drain_delay = "7s"
        limits = { max_clients = 7, max_packet = "7MiB", max_prepared = 7, local_infile = false }
        compression = { client = ["zlib"], server = "zstd" }
        tls.client = { mode = "required", cert = "c", key = "k", ca = "a" }
        tls.server = { mode = "verify-ca", cert = "c", key = "k", ca = "a" }
        admin = { console = "", user = "u", password = "p", http = "" }
        runtime = { workers = 7, spin = "7us", congestion_control = "reno" }
        log = { level = "debug", format = "json", slow_statement = "7s" }
    "#;
    let (old, new) = (read(&old).expect("old"), read(&format!("{sections}{new}")).expect("new"));
    diff(&old, &new)
}
