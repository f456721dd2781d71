//! `srv:` addresses: one entry of a config stands for the servers that a DNS SRV name leads to. Who asks the DNS, and
//! when, is decided elsewhere.

use std::collections::{BTreeMap, HashSet};

use super::{Address, Config, Server, ServerId};

/// One server that an SRV record names (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub host: String,
    pub port: u16,
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
/// leads nowhere. Such a server is called by its address, and is as its entry says. Weights of the records spread the
/// entry's, which is what a server gets on average. Their priorities are not looked at: who serves is what probes tell.
/// A server that is there under its address already is not added once more.
pub fn expand(config: &Config, known: &Targets) -> Config {
    let named =
        config.servers.iter().map(|server| &server.address).filter(|address| !matches!(address, Address::Srv(_)));
    let mut there: HashSet<Address> = named.cloned().collect();
    let mut servers = Vec::with_capacity(config.servers.len());
    for entry in &config.servers {
        match &entry.address {
            Address::Srv(name) => {
                let targets = known.get(name).map(Vec::as_slice).unwrap_or_default();
                servers.extend(stand_ins(entry, targets).filter(|server| there.insert(server.address.clone())));
            }
            _ => servers.push(entry.clone()),
        }
    }
    Config { servers, ..config.clone() }
}

fn stand_ins<'a>(entry: &'a Server, targets: &'a [Target]) -> impl Iterator<Item = Server> + 'a {
    // Of records with weight 0 the RFC says that they are rarely chosen, not never.
    let weight = |target: &Target| u64::from(target.weight.max(1));
    let (count, total) = (targets.len() as u64, targets.iter().map(weight).sum::<u64>().max(1));
    targets.iter().map(move |target| {
        let address = Address::Tcp { host: target.host.clone(), port: target.port };
        let share = (u64::from(entry.weight) * count * weight(target) + total / 2) / total;
        let share = u32::try_from(share).unwrap_or(u32::MAX).max(entry.weight.min(1));
        Server { id: ServerId::new(&address.to_string()), address, weight: share, ..entry.clone() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ProcessSecrets, parse};

    fn target(host: &str, weight: u16) -> Target {
        Target { host: host.into(), port: 3306, weight }
    }

    #[test]
    fn entries_become_the_servers_that_their_names_lead_to() {
        let text = "[[users]]\nname = 'app'\npassword = 'x'\n[[servers]]\nname = 'db1'\naddress = 'a:3306'\n\
                    [[servers]]\naddress = 'srv:_mysql._tcp.example'\nrole = 'replica'\nweight = 60\ngroups = ['g']\n";
        let config = parse(text, &ProcessSecrets).unwrap();
        let cases: [(&[Target], &[(&str, u32)]); 7] = [
            (&[], &[("db1", 100)]),
            (&[target("b", 0), target("c", 0)], &[("db1", 100), ("b:3306", 60), ("c:3306", 60)]),
            (&[target("b", 33), target("c", 33)], &[("db1", 100), ("b:3306", 60), ("c:3306", 60)]),
            (&[target("b", 1), target("c", 2)], &[("db1", 100), ("b:3306", 40), ("c:3306", 80)]),
            (&[target("b", 0), target("c", 65_535)], &[("db1", 100), ("b:3306", 1), ("c:3306", 120)]),
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
        }
        assert_eq!(expand(&config, &Targets::new()).servers.len(), 1, "a name that is not known");
    }
}
