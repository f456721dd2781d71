//! What binds a session to a connection, set aside while it runs something elsewhere.

use super::{Pins, SessionState, belongings::Belongings};
use crate::protocol::Status;

/// What binds a session to a connection, while it runs a statement elsewhere.
#[derive(Debug)]
pub struct Aside {
    pins: Pins,
    belongings: Belongings,
    transaction: Status,
    explicit: bool,
    characteristics: bool,
}

impl Aside {
    /// The flags of the transaction that the session is in.
    pub fn transaction(&self) -> Status {
        self.transaction
    }
}

impl SessionState {
    /// Sets aside what binds the session, for a statement that runs as if nothing did.
    pub fn set_aside(&mut self) -> Aside {
        let transaction = self.status.of_transaction();
        self.status = self.status.without(transaction);
        Aside {
            pins: std::mem::take(&mut self.pins),
            belongings: std::mem::take(&mut self.belongings),
            transaction,
            explicit: std::mem::take(&mut self.explicit),
            characteristics: std::mem::take(&mut self.characteristics),
        }
    }

    /// Takes it back. False: something else pins the session by now, and is forgotten.
    pub fn take_back(&mut self, aside: Aside) -> bool {
        let free = self.pins.is_empty();
        self.status = self.status.without(self.status.of_transaction()).with(aside.transaction);
        (self.pins, self.belongings) = (aside.pins, aside.belongings);
        (self.explicit, self.characteristics) = (aside.explicit, aside.characteristics);
        free
    }
}
