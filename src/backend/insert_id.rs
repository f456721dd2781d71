//! The insert id that a connection alone knows, on its way to the session that used it last: it is asked for before another
//! session uses the connection, or it is closed.

use std::sync::Weak;

use tokio::time::timeout;

use super::{ConnectError, Links, ServerConnection};
use crate::{net::Scratch, protocol::Malformed};

impl ServerConnection {
    /// Asks for the insert id, of which it then knows.
    pub async fn ask_insert_id(&mut self, scratch: &Scratch) -> Result<u64, ConnectError> {
        self.mark_dirty();
        let reply = self.query("SELECT LAST_INSERT_ID() LIMIT 1", scratch).await?;
        let field = reply.rows.into_iter().flatten().flatten().next().unwrap_or_default();
        let id = std::str::from_utf8(&field).ok().and_then(|text| text.parse().ok()).ok_or(Malformed("insert id"))?;
        self.insert_id = Some(id);
        self.wanted_insert_id = Weak::new();
        Ok(id)
    }

    /// Whether the session that used the connection last wants its insert id.
    pub fn owes_insert_id(&self) -> bool {
        self.wanted_insert_id.strong_count() > 0
    }

    /// Leaves the insert id for the session that used the connection last, if that wants it, before another one uses it.
    pub async fn leave_insert_id(&mut self, scratch: &Scratch) -> Result<(), ConnectError> {
        if let Some(wanted) = self.wanted_insert_id.upgrade() {
            let id = self.ask_insert_id(scratch).await?;
            wanted.get_or_init(|| id);
        }
        Ok(())
    }

    /// Leaves what its last session wants of it, as it is going to be closed in favour of another one.
    pub async fn retire(&mut self, worker: usize, links: &Links, scratch: &Scratch) {
        if self.owes_insert_id() && self.move_to(worker).is_ok() {
            // If it does not answer, it is closed all the same, and its session takes what is likely.
            let _ = timeout(links.connect_timeout, self.leave_insert_id(scratch)).await;
        }
    }
}
