//! `srv:` addresses: one entry of a config stands for the servers that a DNS SRV name leads to. Who asks the DNS, and
//! when, is decided elsewhere.

use std::collections::{BTreeMap, HashSet};

use super::{Address, Config, Rank, Server, ServerId};

/// One server that an SRV record names (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub host: String,
    pub port: u16,
    /// The lowest serve, the others stand by.
    pub priority: u16,
    pub weight: u16,
}

/// What SRV names lead to.
pub type Targets = BTreeMap<String, Vec<Target>>;

impl Config {
    /// The SRV names among the servers' addresses.
    pub fn srv_names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().filter_map(|server| match &server.address {
            Address::Srv(name) => Some(name.as_str()),
            Address::Tcp { .. } | Address::Unix(_) => None,
        })
    }
}

/// The config with the servers that its `srv:` names lead to in place of those entries; a name that nothing is known of
/// leads nowhere. Such a server is called by its address, and is as its entry says. Weights of the records of one priority
/// spread the entry's, which is what a server gets on average. A server that is there under its address already is not
/// added once more.
pub fn expand(config: &Config, known: &Targets) -> Config {
    let named =
        config.servers.iter().map(|server| &server.address).filter(|address| !matches!(address, Address::Srv(_)));
    let mut there: HashSet<Address> = named.cloned().collect();
    let mut servers = Vec::with_capacity(config.servers.len());
    for entry in &config.servers {
        match &entry.address {
            Address::Srv(name) => {
                let targets = known.get(name).map(Vec::as_slice).unwrap_or_default();
                let stand_ins = targets.iter().map(|target| stand_in(entry, name, target, targets));
                servers.extend(stand_ins.filter(|server| there.insert(server.address.clone())));
            }
            _ => servers.push(entry.clone()),
        }
    }
    Config { servers, ..config.clone() }
}

/// The server that one of the records of `name` leads to.
fn stand_in(entry: &Server, name: &str, target: &Target, all: &[Target]) -> Server {
    // Of records with weight 0 the RFC says that they are rarely chosen, not never.
    let weight = |target: &Target| u64::from(target.weight.max(1));
    let equals = || all.iter().filter(|other| other.priority == target.priority);
    let (count, total) = (equals().count() as u64, equals().map(weight).sum::<u64>().max(1));
    let address = Address::Tcp { host: target.host.clone(), port: target.port };
    let share = (u64::from(entry.weight) * count * weight(target) + total / 2) / total;
    let share = u32::try_from(share).unwrap_or(u32::MAX).max(entry.weight.min(1));
    let rank = Some(Rank { name: name.to_owned(), priority: target.priority });
    Server { id: ServerId::new(&address.to_string()), address, weight: share, rank, ..entry.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ProcessSecrets, parse};

    fn target(host: &str, weight: u16) -> Target {
        Target { host: host.into(), port: 3306, priority: 10, weight }
    }

    fn spare(host: &str, weight: u16) -> Target {
        Target { priority: 20, ..target(host, weight) }
    }

    #[test]
    fn entries_become_the_servers_that_their_names_lead_to() {
        let text = "[[users]]\nname = 'app'\npassword = 'x'\n[[servers]]\nname = 'db1'\naddress = 'a:3306'\n\
                    [[servers]]\naddress = 'srv:_mysql._tcp.example'\nrole = 'replica'\nweight = 60\ngroups = ['g']\n";
        let config = parse(text, &ProcessSecrets).unwrap();
        let cases: [(&[Target], &[(&str, u32)]); 8] = [
            (&[], &[("db1", 100)]),
            (&[target("b", 0), target("c", 0)], &[("db1", 100), ("b:3306", 60), ("c:3306", 60)]),
            (&[target("b", 33), target("c", 33)], &[("db1", 100), ("b:3306", 60), ("c:3306", 60)]),
            (&[target("b", 1), target("c", 2)], &[("db1", 100), ("b:3306", 40), ("c:3306", 80)]),
            (&[target("b", 0), target("c", 65_535)], &[("db1", 100), ("b:3306", 1), ("c:3306", 120)]),
            (
                &[target("b", 1), target("c", 2), spare("d", 9)],
                &[("db1", 100), ("b:3306", 40), ("c:3306", 80), ("d:3306", 60)],
            ),
            // The same as db1.
            (&[target("a", 1), target("b", 1)], &[("db1", 100), ("b:3306", 60)]),
            (&[target("b", 1), target("b", 1)], &[("db1", 100), ("b:3306", 60)]),
        ];
        for (targets, expected) in cases {
            let known = Targets::from([("_mysql._tcp.example".to_owned(), targets.to_vec())]);
            let servers = expand(&config, &known).servers;
            let seen: Vec<_> = servers.iter().map(|server| (server.id.as_str(), server.weight)).collect();
            assert_eq!(seen, expected, "{targets:?}");
            assert!(servers.iter().skip(1).all(|server| server.groups == ["g"]), "{targets:?}");
            let rank = |server: &Server| server.rank.as_ref().map(|rank| rank.priority);
            assert_eq!(rank(&servers[0]), None, "{targets:?}");
            let told = |server: &&Server| Some(if server.id.as_str() == "d:3306" { 20 } else { 10 }) == rank(server);
            assert!(servers.iter().skip(1).all(|server| told(&server)), "{targets:?}");
        }
        assert_eq!(expand(&config, &Targets::new()).servers.len(), 1, "a name that is not known");
    }
}
