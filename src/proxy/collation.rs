//! A change of user to a collation whose id is too high for a login. Weir logs in with another one of the same character
//! set ([`login_collation`](crate::session::login_collation)), and brings its connections to the client's by name, which
//! a server knows.

use tokio::time::timeout;

use super::session::{End, OWN_COMMAND, Session};
use crate::{
    backend::{ConnectError, ServerConnection},
    net::Scratch,
    sql::{Dialect, Mode},
};

/// The highest id that a login can name.
const HIGHEST: u16 = 0xFF;

impl Session {
    /// Chooses the collation that a change of user names. What a server does not know is its default. While none can be
    /// asked, it is that of the login.
    pub(super) async fn enter_collation(&mut self, id: u16) -> Result<(), End> {
        if id <= HIGHEST {
            return Ok(());
        }
        let mode = self.worker.mode();
        let Some(mut lease) = self.borrow().await? else { return Ok(()) };
        let name = name_of(lease.connection_mut(), id, mode, &self.worker.scratch);
        if let Ok(Ok(names)) = timeout(OWN_COMMAND, name).await {
            self.state.enter_collation(names.as_ref().map(|(charset, collation)| (&charset[..], &collation[..])));
        }
        Ok(())
    }
}

/// The names of its character set and of the collation itself.
async fn name_of(
    connection: &mut ServerConnection,
    id: u16,
    mode: Mode,
    scratch: &Scratch,
) -> Result<Option<(Vec<u8>, Vec<u8>)>, ConnectError> {
    // Another session's character set may be in the way.
    connection.reset(scratch).await?;
    connection.mark_dirty();
    connection.last_session = ServerConnection::WEIR;
    let (collation, table) = match mode.dialect {
        // Since Unicode 14.0 a collation has a name for several character sets, and another for each.
        Dialect::MariaDb if mode.version >= 101_000 => ("full_collation_name", "collation_character_set_applicability"),
        _ => ("collation_name", "collations"),
    };
    let query =
        format!("SELECT character_set_name, {collation} FROM information_schema.{table} WHERE id = {id} LIMIT 1");
    let mut reply = connection.query(&query, scratch).await?;
    connection.prove_clean();
    let mut row = reply.rows.pop().unwrap_or_default().into_iter().flatten();
    Ok(row.next().zip(row.next()))
}
