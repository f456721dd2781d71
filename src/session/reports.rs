//! What servers report: their OK packets name what a statement changed, or say that it changed something.

use std::sync::Arc;

use super::{SessionState, Value};
use crate::{
    protocol::{Change, OkPacket, Status, changes, gtid::Position},
    sql::{Effects, Kind},
    telemetry::Pin,
};

/// Reported variables that do not travel to another connection: they stand for one connection's place in time or in
/// replication, or make it collect what is asked for later. Setting one pins. Sorted.
const PINNING: &[&[u8]] = &[
    b"debug",
    b"debug_sync",
    b"gtid_domain_id",
    b"gtid_next",
    b"gtid_seq_no",
    b"identity",
    b"insert_id",
    b"last_insert_id",
    b"optimizer_trace",
    b"profiling",
    b"pseudo_replica_mode",
    b"pseudo_slave_mode",
    b"pseudo_thread_id",
    b"rand_seed1",
    b"rand_seed2",
    b"server_id",
    b"session_track_gtids",
    b"session_track_schema",
    b"session_track_state_change",
    b"session_track_system_variables",
    b"session_track_transaction_info",
    b"skip_parallel_replication",
    b"skip_replication",
    b"sql_log_bin",
    b"sql_slave_skip_counter",
    b"timestamp",
];

/// The status flags that tell of `sql_mode`.
const OF_MODE: Status = Status::NO_BACKSLASH_ESCAPES.with(Status::ANSI_QUOTES);

/// MySQL reports it with every statement.
const NOISE: &[u8] = b"statement_id";

/// What a session chooses for its transactions, which those that have begun do not follow.
const OF_TRANSACTIONS: [&[u8]; 2] = [b"transaction_isolation", b"transaction_read_only"];

/// Reported variables that follow the schema, unless a `SET` has set them. Sorted.
const OF_SCHEMA: &[&[u8]] = &[b"character_set_database", b"collation_database"];

impl SessionState {
    /// Applies what one OK or EOF packet of a server says. `kind` and `effects` are those of the text that ran: they
    /// name the cause of a change that the server does not attribute.
    pub fn observe(&mut self, ok: &OkPacket<'_>, kind: Kind, effects: Effects) {
        let ends = self.in_transaction() && !ok.status.has(Status::IN_TRANSACTION);
        if ends {
            // They were the transaction's. One that an error ended is not reported to have ended.
            self.characteristics = false;
        }
        self.status = match effects.has(Effects::STATEMENT_VARIABLES) {
            // Its `sql_mode` was the statement's own.
            true => Status(ok.status.0 & !OF_MODE.0 | self.status.0 & OF_MODE.0),
            false => ok.status,
        };
        // What the session is told of changes nothing else of it, and a statement that does more pins by itself.
        let tracking = effects.has(Effects::SESSION_TRACKING);
        let (mut attributed, mut changed) = (tracking, false);
        self.observe_names(ok.changes);
        for change in changes(ok.changes).map_while(Result::ok) {
            match change {
                Change::Variable { name, value } if name == b"last_gtid" => {
                    self.require(Position::parse_mariadb(value).ok());
                }
                // They have their old values again, which the server does not report; but of several statements another
                // one may have set them.
                Change::Variable { .. } if effects.has(Effects::STATEMENT_VARIABLES) => {
                    attributed |= !effects.has(Effects::MULTI);
                }
                Change::Variable { name, .. } if tracking && name.starts_with(b"session_track_") => {}
                Change::Variable { name, value } => attributed |= self.observe_variable(name, value, kind),
                Change::Schema(name) => {
                    Arc::make_mut(&mut self.settings).set_schema(name);
                    attributed = true;
                }
                Change::State => changed = true,
                Change::Gtids(text) => self.require(Position::parse_mysql(text).ok()),
                Change::Characteristics(sql) => self.characteristics = !sql.is_empty(),
                Change::TransactionState(letters) => {
                    // MySQL does not tell of the locks any more once DDL has committed under them.
                    if letters.contains(&b'L') || may_unlock(kind) {
                        self.pins.set(Pin::TableLock, letters.contains(&b'L'));
                    }
                    self.explicit = letters.first() == Some(&b'T');
                }
            }
        }
        // MariaDB begins the transaction of `autocommit=0` with them, and does not say so. Of a temporary table that is
        // dropped it remembers that this cannot be undone.
        let begins = effects.has(Effects::SAVEPOINT) || effects.has(Effects::TEMPORARY_TABLE);
        if begins && !self.autocommit() && !self.in_transaction() {
            self.characteristics = true;
        }
        // Behind a transaction that `SET autocommit = 1` ends, MySQL goes on with what that had, once.
        if ends && kind == Kind::Set && OF_TRANSACTIONS.iter().any(|name| self.settings.variable(name).is_some()) {
            self.characteristics = true;
        }
        self.pins.set(Pin::Transaction, self.in_transaction());
        self.pins.set(Pin::NextTransaction, self.characteristics && !self.in_transaction());
        // What stored code changed is never wholly attributed: a user variable hides behind the system variable that was
        // set beside it, or behind the change of schema that a call into another schema brings.
        let explained = attributed || effects.has(Effects::VARIABLE_LITERAL);
        if changed && (!explained || kind.may_run_stored_code(effects)) {
            self.pins.add(self.cause(kind, effects));
        }
    }

    /// Applies an EOF packet, which has no room for changes. MariaDB's flag says that there were some; MySQL tells with
    /// its next OK.
    pub fn observe_eof(&mut self, eof: &OkPacket<'_>, kind: Kind, effects: Effects) {
        self.observe(eof, kind, effects);
        if eof.status.has(Status::SESSION_STATE_CHANGED) && kind.may_run_stored_code(effects) {
            self.pins.add(self.cause(kind, effects));
        }
    }

    /// The most likely cause of an unattributed change.
    fn cause(&self, kind: Kind, effects: Effects) -> Pin {
        match kind {
            _ if effects.has(Effects::USER_VARIABLE) => Pin::UserVariable,
            _ if effects.has(Effects::TEMPORARY_TABLE) => Pin::TemporaryTable,
            // It may get another name.
            Kind::Ddl if self.pins.has(Pin::TemporaryTable) => Pin::TemporaryTable,
            Kind::TextPrepared if !effects.has(Effects::EXECUTE) => Pin::TextPrepared,
            _ => Pin::Unattributed,
        }
    }

    /// Notes a `SET NAMES`, which reports the same character set three times.
    fn observe_names(&mut self, reported: &[u8]) {
        let mut found = [None; NAMES.len()];
        for change in changes(reported).map_while(Result::ok) {
            if let Change::Variable { name, value } = change
                && let Some((_, slot)) = NAMES.iter().zip(&mut found).find(|(known, _)| **known == name)
            {
                *slot = Some(value);
            }
        }
        match found {
            [None, None, None] => {}
            [Some(client), connection, results] if connection == Some(client) && results == Some(client) => {
                self.named = Some(client.into());
            }
            _ => self.named = None,
        }
    }

    /// Whether the variable is one of the session's settings.
    fn observe_variable(&mut self, name: &[u8], value: &[u8], kind: Kind) -> bool {
        if name == b"character_set_connection" {
            // The server does not report the collation that came with it, which decides both.
            self.collation_unknown = true;
            return true;
        }
        if name == b"collation_connection" {
            self.collation_unknown = false;
        }
        let of_schema = OF_SCHEMA.contains(&name);
        if name == NOISE || of_schema && kind != Kind::Set {
            return false;
        }
        if of_schema || PINNING.binary_search(&name).is_ok() {
            self.pins.add(Pin::Variable);
        } else if self.settings.variable(name) != Some(&Value::Text(value.into())) {
            Arc::make_mut(&mut self.settings).set_variable(name, Value::Text(value.into()));
        }
        true
    }

    /// What a variable is after a `SET` of which the server does not report that it was set.
    pub fn learn_variable(&mut self, name: &[u8], value: &[u8]) {
        self.observe_variable(name, value, Kind::Set);
    }

    /// Whether the server must be asked for `@@collation_connection`, see [`Self::learn_collation`].
    pub fn collation_unknown(&self) -> bool {
        self.collation_unknown
    }

    /// What the server answered.
    pub fn learn_collation(&mut self, collation: &[u8]) {
        self.learn_variable(b"collation_connection", collation);
        if let Some(charset) = self.named.take() {
            let value = Value::Named { charset, collation: collation.into() };
            let settings = Arc::make_mut(&mut self.settings);
            settings.set_variable(b"character_set_client", value.clone());
            settings.set_variable(b"character_set_results", value);
        }
    }
}

/// Whether a statement may release the locks of `LOCK TABLES`.
fn may_unlock(kind: Kind) -> bool {
    matches!(kind, Kind::Lock | Kind::Begin(_) | Kind::TextPrepared | Kind::Unknown)
}

/// What `SET NAMES` sets to one character set.
const NAMES: [&[u8]; 3] = [b"character_set_client", b"character_set_connection", b"character_set_results"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Fate;
    use crate::sql::Dialect;

    fn entry(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, body.len() as u8][..], body].concat()
    }

    fn variable(name: &str, value: &str) -> Vec<u8> {
        let body = [&[name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat();
        entry(0, &body)
    }

    fn observe(state: &mut SessionState, status: Status, changes: &[Vec<u8>], effects: Effects) {
        let changes = changes.concat();
        let status = if changes.is_empty() { status } else { status.with(Status::SESSION_STATE_CHANGED) };
        let ok = OkPacket { affected_rows: 0, insert_id: 0, status, warnings: 0, info: b"", changes: &changes };
        state.observe(&ok, Kind::Set, effects);
    }

    #[test]
    fn the_lists_are_sorted() {
        assert!(PINNING.is_sorted() && OF_SCHEMA.is_sorted());
    }

    #[test]
    fn an_attributed_change_travels_and_an_unattributed_one_pins() {
        let state = entry(2, b"1");
        let cases: &[(&[Vec<u8>], Effects, Fate)] = &[
            (&[variable("sql_mode", "ANSI"), state.clone()], Effects::NONE, Fate::Return),
            (&[entry(1, b"\x03app"), state.clone()], Effects::NONE, Fate::Return),
            (std::slice::from_ref(&state), Effects::NONE, Fate::Keep(Pin::Unattributed)),
            (std::slice::from_ref(&state), Effects::USER_VARIABLE, Fate::Keep(Pin::UserVariable)),
            (std::slice::from_ref(&state), Effects::TEMPORARY_TABLE, Fate::Keep(Pin::TemporaryTable)),
            (&[variable("timestamp", "1"), state.clone()], Effects::NONE, Fate::Keep(Pin::Variable)),
            (&[variable("statement_id", "9")], Effects::NONE, Fate::Return),
            (&[entry(4, b"\x05SET T")], Effects::NONE, Fate::Keep(Pin::NextTransaction)),
            (&[entry(5, b"\x08_______L")], Effects::NONE, Fate::Keep(Pin::TableLock)),
        ];
        for (changes, effects, expected) in cases {
            let mut session = SessionState::new(None);
            observe(&mut session, Status::AUTOCOMMIT, changes, *effects);
            assert_eq!(session.fate(), *expected, "{changes:x?}");
        }
    }

    /// Session 2731 of the differential run's seed 9905.
    #[test]
    fn what_begins_the_transaction_of_autocommit_0_keeps_the_connection_for_it() {
        for effects in [Effects::SAVEPOINT, Effects::TEMPORARY_TABLE] {
            let mut session = SessionState::new(None);
            observe(&mut session, Status::AUTOCOMMIT, &[], effects);
            assert_eq!(session.fate(), Fate::Return, "{effects:?} with autocommit");
            observe(&mut session, Status(0), &[], effects);
            assert_eq!(session.fate(), Fate::Keep(Pin::NextTransaction), "{effects:?}");
            observe(&mut session, Status::IN_TRANSACTION, &[], Effects::NONE);
            observe(&mut session, Status(0), &[], Effects::NONE);
            assert_eq!(session.fate(), Fate::Return, "{effects:?} behind the transaction");
        }
    }

    #[test]
    fn a_transaction_pins_until_it_ends() {
        let mut session = SessionState::new(Some(b"app"));
        observe(&mut session, Status::AUTOCOMMIT.with(Status::IN_TRANSACTION), &[], Effects::NONE);
        assert_eq!(session.fate(), Fate::Keep(Pin::Transaction));
        observe(&mut session, Status::AUTOCOMMIT, &[], Effects::NONE);
        assert_eq!(session.fate(), Fate::Return);
    }

    #[test]
    fn commits_are_required_of_later_reads() {
        let mut session = SessionState::new(None);
        observe(&mut session, Status::AUTOCOMMIT, &[variable("last_gtid", "0-1-7")], Effects::NONE);
        observe(&mut session, Status::AUTOCOMMIT, &[variable("last_gtid", "0-1-9")], Effects::NONE);
        assert_eq!(session.required().map(ToString::to_string).as_deref(), Some("0-1-9"));
        session.reset(Dialect::MySql);
        assert!(session.required().is_some(), "a reset does not forget what was written");
    }

    #[test]
    fn a_reset_forgets_pins_and_variables_but_not_the_schema() {
        for (dialect, charset) in [(Dialect::MySql, Some(&Value::Default)), (Dialect::MariaDb, None)] {
            let mut session = SessionState::new(Some(b"app"));
            let changes = [variable("sql_mode", "ANSI"), variable("timestamp", "1")];
            observe(&mut session, Status(0), &changes, Effects::NONE);
            session.reset(dialect);
            assert_eq!(session.fate(), Fate::Return, "{dialect:?}");
            assert!(session.autocommit(), "{dialect:?}");
            assert_eq!(session.settings().schema(), Some(&b"app"[..]), "{dialect:?}");
            assert_eq!(session.settings().variable(b"sql_mode"), None, "{dialect:?}");
            assert_eq!(session.settings().variable(b"character_set_results"), charset, "{dialect:?}");
        }
    }
}
