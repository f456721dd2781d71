//! Names to addresses, again and again: an endpoint's address may change while Weir runs.

use std::{io, net::SocketAddr, time::Duration};

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("cannot resolve {host}: {error}")]
    Lookup { host: String, error: io::Error },
    #[error("cannot resolve {host}: no answer within {deadline:?}")]
    Timeout { host: String, deadline: Duration },
    #[error("cannot resolve {host}: the name has no addresses")]
    Empty { host: String },
}

/// Every address of the host, ordered and each once, so that two answers can be compared. An IP address stands for
/// itself and takes no lookup.
///
/// # Errors
/// The lookup failed, found nothing, or took longer than `deadline`.
pub async fn resolve(host: &str, port: u16, deadline: Duration) -> Result<Vec<SocketAddr>, ResolveError> {
    let owned = || host.to_owned();
    let found = tokio::time::timeout(deadline, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| ResolveError::Timeout { host: owned(), deadline })?
        .map_err(|error| ResolveError::Lookup { host: owned(), error })?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(ResolveError::Empty { host: owned() });
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses() {
        let deadline = Duration::from_secs(10);
        let cases = [("127.0.0.1", "127.0.0.1:3306"), ("::1", "[::1]:3306"), ("localhost", "127.0.0.1:3306")];
        for (host, expected) in cases {
            let addresses = resolve(host, 3306, deadline).await.unwrap();
            assert!(addresses.contains(&expected.parse().unwrap()), "{host}: {addresses:?}");
        }
        let error = resolve("no name at all", 3306, deadline).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot resolve no name at all: "), "{error}");
    }
}
