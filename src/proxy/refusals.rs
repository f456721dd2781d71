//! Servers that would not have the session: another password, another server, or an error for the client.

use std::{rc::Rc, sync::Arc};

use super::{acquire::Search, session::Session};
use crate::{
    backend::{ConnectError, Identity, LeaseError, Server},
    context::Proven,
    protocol::{ServerError, auth::LoginError, errors::UsingPassword},
};

impl Session {
    /// A server refused the session's password. Whether another one is known, which may have been changed there.
    pub fn follow_password(&mut self, error: &LeaseError, search: &mut Search) -> bool {
        let LeaseError::Connect(ConnectError::Login(
            LoginError::Refused(ServerError { code: 1045, .. }) | LoginError::OnlyDigest,
        )) = error
        else {
            return false;
        };
        let Identity { user, credential, origin, .. } = &**self.identity;
        search.credentials.push(credential.clone());
        self.worker.context.proven.forget(&Proven::key(user.as_bytes(), *origin), credential);
        let known = self.worker.context.credentials(user, *origin, self.now);
        let Some(credential) = known.into_iter().find(|known| !search.credentials.contains(known)) else {
            return false;
        };
        self.identity = Rc::new(Arc::new(Identity { credential, ..Identity::clone(&self.identity) }));
        true
    }

    /// The writer's refusal is the client's to hear; anything else is a reason to try another server.
    pub fn after_lease_error(
        &self,
        server: &Server,
        error: LeaseError,
        search: &mut Search,
    ) -> Result<(), ServerError> {
        let refusal = match error {
            LeaseError::Connect(ConnectError::Login(LoginError::OnlyDigest)) => {
                let (user, host) = (self.identity.user.as_bytes(), self.host.as_bytes());
                let error = ServerError::access_denied(user, host, UsingPassword::Yes);
                LeaseError::Connect(ConnectError::Refused(error))
            }
            other => other,
        };
        match refusal {
            LeaseError::Connect(ConnectError::Login(LoginError::Refused(error)) | ConnectError::Refused(error)) => {
                tracing::warn!(server = %server.id, code = error.code, "the server refused a login");
                let cluster = self.worker.cluster();
                if cluster.is_writer(server) && !is_passing(&error) {
                    return Err(error);
                }
                search.refused(error);
            }
            LeaseError::Connect(error @ ConnectError::Lacking(_)) => {
                tracing::warn!(server = %server.id, %error, "a server cannot serve a client");
                let error = ServerError::no_server(&error.to_string());
                if self.worker.cluster().is_writer(server) {
                    return Err(error);
                }
                search.refused(error);
            }
            // Nobody will hear of it.
            LeaseError::Abandoned => return Err(ServerError::interrupted()),
            LeaseError::Exhausted => {
                self.worker.shard().lease_timeouts.inc();
                search.exhausted = true;
            }
            LeaseError::Connect(error) => {
                tracing::info!(server = %server.id, %error, "cannot connect");
                self.worker.context.report_failure(&server.id, &error);
            }
        }
        Ok(())
    }
}

/// Whether the refusal says something of the moment and not of the login: too many connections, shutting down, and
/// a host that is blocked for errors that others made.
pub fn is_passing(error: &ServerError) -> bool {
    matches!(error.code, 1040 | 1053 | 1129 | 1203 | 1226)
}
