//! DNS SRV names to the servers that they lead to. How often they are asked for is decided by `app`.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    Resolver,
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::RData,
    system_conf::read_system_conf,
};

use crate::config::{Address, Target};

/// What the DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Ordered, so that two answers can be compared; never empty.
    pub targets: Vec<Target>,
    /// How long it may be believed.
    pub ttl: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SrvError {
    #[error("cannot look up srv:{name}: {error}")]
    Lookup { name: String, error: NetError },
    #[error("cannot look up srv:{name}: no answer within {deadline:?}")]
    Timeout { name: String, deadline: Duration },
    #[error("srv:{name} leads to no server")]
    Empty { name: String },
}

/// Asks `server`, or else the system's name servers.
///
/// # Errors
/// The lookup failed, found nothing, or took longer than `deadline`.
pub async fn lookup(name: &str, server: Option<SocketAddr>, deadline: Duration) -> Result<Answer, SrvError> {
    let failed = |error| SrvError::Lookup { name: name.to_owned(), error };
    // Read each time: what the system says may have changed.
    let (config, mut options) = match server {
        Some(address) => (only(address), ResolverOpts::default()),
        None => read_system_conf().map_err(failed)?,
    };
    options.cache_size = 0;
    let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    let resolver = builder.build().map_err(failed)?;
    let found = tokio::time::timeout(deadline, resolver.srv_lookup(name))
        .await
        .map_err(|_| SrvError::Timeout { name: name.to_owned(), deadline })?
        .map_err(failed)?;
    let records = found.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some((record.ttl, target(&srv.target.to_ascii(), srv.port, (srv.priority, srv.weight))?)),
        _ => None,
    });
    let (ttls, mut targets): (Vec<u32>, Vec<Target>) = records.unzip();
    targets.sort_unstable();
    targets.dedup_by(|one, other| (&one.host, one.port) == (&other.host, other.port));
    match ttls.into_iter().min() {
        Some(ttl) => Ok(Answer { targets, ttl: Duration::from_secs(ttl.into()) }),
        None => Err(SrvError::Empty { name: name.to_owned() }),
    }
}

/// One name server, at any port.
fn only(address: SocketAddr) -> ResolverConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections.iter_mut().for_each(|connection| connection.port = address.port());
    ResolverConfig::from_parts(None, Vec::new(), vec![server])
}

/// None: no place that can be connected to, such as `.`, which says that there is no such service.
fn target(host: &str, port: u16, (priority, weight): (u16, u16)) -> Option<Target> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = format!("{host}:{port}").parse();
    matches!(address, Ok(Address::Tcp { port: 1.., .. })).then_some(Target { host, port, priority, weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_can_be_connected_to() {
        let cases = [
            ("DB1.Example.", 3306, Some("db1.example")),
            ("10.0.0.1.", 3306, Some("10.0.0.1")),
            ("_db.example", 1, Some("_db.example")),
            ("db1.example.", 0, None),
            (".", 3306, None),
            ("", 3306, None),
            ("a\\032b.", 3306, None),
        ];
        for (host, port, expected) in cases {
            assert_eq!(target(host, port, (0, 7)).map(|target| target.host).as_deref(), expected, "{host}:{port}");
        }
    }
}
