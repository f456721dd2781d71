//! Who may log in, and with what.

use std::time::Duration;

use super::{Config, Secret};

/// Who may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Those in `users`.
    Users,
    /// Whoever the writer lets in; those in `users` by the password that is given there.
    Passthrough,
}

/// What is remembered of users whom the writer let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passthrough {
    /// For how long.
    pub ttl: Duration,
    /// Of how many.
    pub max_users: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// None: the writer judges; only with [`Auth::Passthrough`].
    pub password: Option<Secret>,
    /// While a password is being changed: the one that is valid, too, for clients and towards servers.
    pub old_password: Option<Secret>,
    /// How clients prove the password; None: as they like.
    pub plugin: Option<ClientPlugin>,
    /// Sessions at once; None: as many as there may be of all users.
    pub max_clients: Option<u32>,
}

/// How a client proves its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientPlugin {
    Native,
    CachingSha2,
    /// MariaDB's.
    Ed25519,
}

impl User {
    /// A user with one password.
    pub fn new(name: impl Into<String>, password: Secret) -> Self {
        Self { name: name.into(), password: Some(password), old_password: None, plugin: None, max_clients: None }
    }

    /// Every password that is valid.
    pub fn passwords(&self) -> impl Iterator<Item = &Secret> {
        self.password.iter().chain(&self.old_password)
    }
}

impl Config {
    /// Whom the probes log in as: the user of `[probe]`, or else the first of `[[users]]` that has a password.
    pub fn probe_user(&self) -> Option<User> {
        match &self.probe.user {
            Some(name) => Some(User::new(name, self.probe.password.clone())),
            None => self.users.iter().find(|user| user.password.is_some()).cloned(),
        }
    }
}
