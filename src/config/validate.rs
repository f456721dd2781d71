//! Checks across values: names that are used twice, that nothing bears, that need each other. Checks of one value
//! are in `field`.

use std::collections::{HashMap, HashSet};

use super::{Address, Auth, ClientPlugin, Config, Role, Route, RuleTarget, ServerId, ServerTlsMode, State};

/// Every problem as key path and message.
pub(super) fn check(config: &Config) -> Vec<(String, String)> {
    let mut found = Found::default();
    names_are_unique(config, &mut found);
    addresses_are_unique(config, &mut found);
    something_is_served(config, &mut found);
    writers_are_clear(config, &mut found);
    targets_exist(config, &mut found);
    tls_is_complete(config, &mut found);
    plugins_have_passwords(config, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Vec<(String, String)>);

impl Found {
    /// Notes a problem; a key has at most one.
    fn problem(&mut self, key: impl Into<String>, message: impl Into<String>) {
        let key = key.into();
        if self.0.iter().all(|(other, _)| *other != key) {
            self.0.push((key, message.into()));
        }
    }

    /// Notes every value that a key before it has already.
    fn unique<'c>(&mut self, values: impl Iterator<Item = (String, &'c str)>) {
        let mut first: HashMap<&str, String> = HashMap::new();
        for (key, value) in values {
            match first.get(value) {
                Some(other) => self.problem(key, format!("`{value}` is used twice, first by {other}")),
                None => drop(first.insert(value, key)),
            }
        }
    }
}

fn names_are_unique(config: &Config, found: &mut Found) {
    let key = |list: &str, index: usize| format!("{list}[{index}].name");
    found.unique(config.servers.iter().enumerate().map(|(index, server)| {
        // A server without a name is called by its address.
        let unnamed = server.id.as_str() == server.address.to_string();
        let key = if unnamed { format!("servers[{index}].address") } else { key("servers", index) };
        (key, server.id.as_str())
    }));
    for (index, server) in config.servers.iter().enumerate() {
        if matches!(server.address, Address::Srv(_)) && server.id.as_str() != server.address.to_string() {
            let message = "names none of the servers that a DNS name leads to, which are called by their addresses: \
                           put them into a group";
            found.problem(key("servers", index), message);
        }
    }
    found.unique(config.users.iter().enumerate().map(|(index, user)| (key("users", index), user.name.as_str())));
    found.unique(config.rules.iter().enumerate().map(|(index, rule)| (key("rules", index), rule.name.as_str())));
}

fn addresses_are_unique(config: &Config, found: &mut Found) {
    let addresses = |list: Vec<(String, &Address)>| -> Vec<(String, String)> {
        // Port 0 is another port every time.
        list.into_iter()
            .filter(|(_, address)| !matches!(address, Address::Tcp { port: 0, .. }))
            .map(|(key, address)| (key, address.to_string()))
            .collect()
    };
    let listeners =
        config.listeners.iter().enumerate().map(|(index, l)| (format!("listeners[{index}].address"), &l.address));
    let doors = [("admin.console", &config.admin.console), ("admin.http", &config.admin.http)];
    let doors = doors.into_iter().filter_map(|(key, door)| Some((key.to_owned(), door.as_ref()?)));
    let listening = addresses(listeners.chain(doors).collect());
    found.unique(listening.iter().map(|(key, address)| (key.clone(), address.as_str())));
    let servers = config.servers.iter().enumerate().map(|(index, s)| (format!("servers[{index}].address"), &s.address));
    let servers = addresses(servers.collect());
    found.unique(servers.iter().map(|(key, address)| (key.clone(), address.as_str())));
}

fn something_is_served(config: &Config, found: &mut Found) {
    if config.listeners.is_empty() {
        found.problem("listeners", "needs at least one; without the key there is one on 127.0.0.1:6033");
    }
    if config.servers.is_empty() {
        found.problem("servers", "needs at least one: [[servers]] with an address");
    }
    if config.users.is_empty() && config.auth == Auth::Users {
        found.problem("users", "needs at least one: [[users]] with a name and a password");
    }
    if config.auth == Auth::Passthrough && config.probe_user().is_none() {
        found.problem("probe.user", "is missing: there is no user with a password to look at the servers as");
    }
}

fn writers_are_clear(config: &Config, found: &mut Found) {
    let mut active =
        config.servers.iter().enumerate().filter(|(_, s)| s.role == Role::Writer && s.state == State::Active);
    if let Some((_, first)) = active.next() {
        for (index, _) in active {
            found.problem(
                format!("servers[{index}].role"),
                format!(
                    "`{}` is the active writer already: drain one, or let role = \"auto\" find the writer",
                    first.id
                ),
            );
        }
    }
    if config.servers.is_empty() || config.servers.iter().any(|server| server.role != Role::Replica) {
        return;
    }
    let listeners =
        config.listeners.iter().enumerate().filter(|(_, l)| matches!(l.route, Route::Split | Route::Writer));
    let rules = config.rules.iter().enumerate().filter(|(_, r)| r.to == Some(RuleTarget::Writer));
    let needing = listeners
        .map(|(index, listener)| (format!("listeners[{index}].route"), listener.route.to_string()))
        .chain(rules.map(|(index, _)| (format!("rules[{index}].to"), RuleTarget::Writer.to_string())));
    for (key, target) in needing {
        found.problem(key, format!("`{target}` needs a server with role = \"writer\" or \"auto\", and there is none"));
    }
}

fn targets_exist(config: &Config, found: &mut Found) {
    let groups: HashSet<&str> = config.servers.iter().flat_map(|server| &server.groups).map(String::as_str).collect();
    let servers: HashSet<&ServerId> = config.servers.iter().map(|server| &server.id).collect();
    for (index, listener) in config.listeners.iter().enumerate() {
        if matches!(listener.address, Address::Unix(_)) && !listener.proxy_protocol.is_empty() {
            let key = format!("listeners[{index}].proxy_protocol");
            found.problem(key, "who connects to a Unix socket comes from no network");
        }
        let key = format!("listeners[{index}].route");
        match &listener.route {
            Route::Group(name) if !groups.contains(name.as_str()) => found.problem(key, no_group(name)),
            Route::Server(id) if !servers.contains(id) => found.problem(key, format!("there is no server `{id}`")),
            _ => {}
        }
    }
    for (index, rule) in config.rules.iter().enumerate() {
        match &rule.to {
            Some(RuleTarget::Group(name)) if !groups.contains(name.as_str()) => {
                found.problem(format!("rules[{index}].to"), no_group(name));
            }
            _ => {}
        }
    }
}

fn no_group(name: &str) -> String {
    format!("no server is in the group `{name}`")
}

fn plugins_have_passwords(config: &Config, found: &mut Found) {
    for (index, user) in config.users.iter().enumerate() {
        if user.plugin == Some(ClientPlugin::Ed25519) && user.passwords().any(|password| password.expose().is_empty()) {
            found.problem(format!("users[{index}].plugin"), "an empty password signs nothing");
        }
    }
}

fn tls_is_complete(config: &Config, found: &mut Found) {
    let (client, server) = (&config.tls.client, &config.tls.server);
    for (section, cert, key) in [("tls.client", &client.cert, &client.key), ("tls.server", &server.cert, &server.key)] {
        match (cert, key) {
            (Some(_), None) => found.problem(format!("{section}.key"), "is missing: a certificate needs its key"),
            (None, Some(_)) => found.problem(format!("{section}.cert"), "is missing: a key needs its certificate"),
            _ => {}
        }
    }
    if matches!(server.mode, ServerTlsMode::VerifyCa | ServerTlsMode::VerifyIdentity) && server.ca.is_none() {
        found.problem("tls.server.ca", "is missing: this mode checks certificates against it");
    }
}
