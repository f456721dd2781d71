//! What a login fixes for good.

use std::sync::Arc;

use crate::protocol::{Capabilities, ProxyHeader, auth::Credential, login::Attributes};

/// Which connections can stand in for each other: what a login fixes for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: Arc<str>,
    pub credential: Credential,
    /// The capabilities that client and server leg must have in common.
    pub capabilities: Capabilities,
    pub collation: u8,
    /// What servers are told of the client's address; None: nothing.
    pub origin: Option<ProxyHeader>,
    /// What servers are told of the client's program. Connections that sessions share have Weir's own.
    pub attributes: Attributes,
}

impl Identity {
    /// Whether a connection opened for `other` serves this one. The password was proven by each when it logged in.
    pub fn fits(&self, other: &Self) -> bool {
        let same_host = match (self.origin, other.origin) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_same_host(other),
            _ => false,
        };
        // Mostly they are one: see `unite`.
        std::ptr::eq(self, other)
            || same_host
                && self.capabilities == other.capabilities
                && self.collation == other.collation
                && self.user == other.user
                && self.attributes == other.attributes
    }
}
