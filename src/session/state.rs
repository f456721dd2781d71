//! The state of one session, and what becomes of it when the session or its connection starts anew. What changes it in
//! between is left to `reports` (what servers say) and `belongings` (what texts give away).

use std::{sync::Arc, time::Instant};

use super::{Pins, Settings, Value, belongings::Belongings, unite};
use crate::{
    protocol::{Status, gtid::Position},
    sql::{Dialect, Mode},
    telemetry::Pin,
};

/// Whether a session must keep the connection it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Return,
    Keep(Pin),
}

/// One client's session.
#[derive(Debug, Clone)]
pub struct SessionState {
    pub(super) settings: Arc<Settings>,
    pub(super) status: Status,
    pub(super) pins: Pins,
    /// It is in a transaction that `BEGIN` opened.
    pub(super) explicit: bool,
    /// What the connection has that pins it and has a name.
    pub(super) belongings: Belongings,
    /// A `SET TRANSACTION` waits for the next transaction, or a transaction has characteristics.
    pub(super) characteristics: bool,
    /// What a server must have executed before it may serve this session's reads.
    required: Option<Position>,
    /// A server told a position since [`SessionState::take_told`].
    told: bool,
    /// When it last wrote without being told a GTID.
    unseen_write: Option<Instant>,
    /// What `LAST_INSERT_ID()` gives; None: the connection that ran the last insert knows.
    insert_id: Option<u64>,
    /// The connection's collation changed, and nobody said to which.
    pub(super) collation_unknown: bool,
    /// It did so with the other character sets, by a `SET NAMES` to this one.
    pub(super) named: Option<Box<[u8]>>,
    /// The values of [`CHARACTER_SETS`] that the session began with, if not with those of its connections' login.
    began_with: Option<[Value; 3]>,
}

impl SessionState {
    /// A session after its login.
    pub fn new(schema: Option<&[u8]>) -> Self {
        Self {
            settings: Arc::new(Settings::with_schema(schema)),
            status: Status::AUTOCOMMIT,
            pins: Pins::default(),
            explicit: false,
            belongings: Belongings::default(),
            characteristics: false,
            required: None,
            told: false,
            unseen_write: None,
            insert_id: Some(0),
            collation_unknown: false,
            named: None,
            began_with: None,
        }
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Makes the settings and those of a connection one if they are equal.
    pub fn share_settings(&mut self, connection: &mut Arc<Settings>) {
        unite(&mut self.settings, connection);
    }

    /// The status flags that an answer of Weir itself carries: those that tell of the session, not of a statement.
    pub fn status(&self) -> Status {
        Status(self.status.0 & Status::OF_SESSION.0)
    }

    pub fn in_transaction(&self) -> bool {
        self.status.has(Status::IN_TRANSACTION)
    }

    /// Whether it is in a transaction that `BEGIN` opened, as far as servers report it.
    pub fn in_explicit_transaction(&self) -> bool {
        self.explicit
    }

    pub fn autocommit(&self) -> bool {
        self.status.has(Status::AUTOCOMMIT)
    }

    /// Whether the session's isolation level promises that reads can be repeated; `default` is that of the servers.
    pub fn repeatable_reads(&self, default: bool) -> bool {
        let names: [&[u8]; 2] = [b"transaction_isolation", b"tx_isolation"];
        match names.iter().find_map(|name| self.settings.variable(name)) {
            Some(Value::Text(level)) => !level.starts_with(b"READ-"),
            _ => default,
        }
    }

    pub fn required(&self) -> Option<&Position> {
        self.required.as_ref()
    }

    /// What `LAST_INSERT_ID()` gives; None: the connection that ran the last insert knows.
    pub fn insert_id(&self) -> Option<u64> {
        self.insert_id
    }

    pub fn set_insert_id(&mut self, id: Option<u64>) {
        self.insert_id = id;
    }

    pub fn pins(&self) -> Pins {
        self.pins
    }

    pub fn set_pin(&mut self, pin: Pin, present: bool) {
        self.pins.set(pin, present);
    }

    pub fn fate(&self) -> Fate {
        self.pins.iter().next().map_or(Fate::Return, Fate::Keep)
    }

    /// How the lexer must read this session's texts.
    pub fn mode(&self, server: Mode) -> Mode {
        let mut mode = server;
        if let Some(Value::Text(sql_mode)) = self.settings.variable(b"sql_mode") {
            let has = |name: &[u8]| sql_mode.split(|&byte| byte == b',').any(|part| part.eq_ignore_ascii_case(name));
            mode.ansi_quotes = has(b"ANSI_QUOTES");
            mode.no_backslash_escapes = has(b"NO_BACKSLASH_ESCAPES");
        }
        mode
    }

    /// Adds what this session's reads must see.
    pub fn require(&mut self, position: Option<Position>) {
        let Some(position) = position.filter(|position| !position.is_empty()) else { return };
        match &mut self.required {
            Some(required) => required.require(&position),
            None => self.required = Some(position),
        }
        self.told = true;
    }

    /// Whether a server told a position since the last call.
    pub fn take_told(&mut self) -> bool {
        std::mem::take(&mut self.told)
    }

    /// When the session last wrote without being told a GTID that its reads could wait for.
    pub fn unseen_write(&self) -> Option<Instant> {
        self.unseen_write
    }

    /// The session wrote, and the server does not tell GTIDs.
    pub fn wrote_unseen(&mut self, now: Instant) {
        self.unseen_write = Some(now);
    }

    /// What it wrote so, and perhaps more of what its reads must see, is known to be in `position`.
    pub fn found_unseen(&mut self, position: Position) {
        let told = self.told;
        self.unseen_write = None;
        self.require(Some(position));
        // No server told it of a statement.
        self.told = told;
    }

    /// The schema is gone.
    pub fn leave_schema(&mut self) {
        Arc::make_mut(&mut self.settings).set_schema(b"");
    }

    /// A login chose a schema.
    pub fn enter_schema(&mut self, name: &[u8]) {
        Arc::make_mut(&mut self.settings).set_schema(name);
    }

    /// The session begins with this collation of a character set, or with the server's default, and not with the one that
    /// its connections log in with.
    pub fn enter_collation(&mut self, names: Option<(&[u8], &[u8])>) {
        self.begin_with(match names {
            Some((charset, collation)) => {
                let [client, connection] = [charset, collation].map(|name| Value::Text(name.into()));
                [client, Value::Named { charset: charset.into(), collation: collation.into() }, connection]
            }
            None => [Value::Default, Value::Default, Value::Default],
        });
    }

    fn begin_with(&mut self, values: [Value; 3]) {
        let settings = Arc::make_mut(&mut self.settings);
        for (name, value) in CHARACTER_SETS.iter().zip(&values) {
            settings.set_variable(name, value.clone());
        }
        self.began_with = Some(values);
    }

    /// A login asked for `IGNORE_SPACE`.
    pub fn ignore_space(&mut self) {
        Arc::make_mut(&mut self.settings).set_variable(b"sql_mode", Value::DefaultIgnoringSpace);
    }

    /// `COM_RESET_CONNECTION`: what a server forgets, the session forgets. The schema and the position stay; the
    /// character set is MySQL's default, and in MariaDB the login's.
    pub fn reset(&mut self, dialect: Dialect) {
        let mut settings = Settings::with_schema(self.settings.schema());
        if dialect == Dialect::MySql {
            for name in CHARACTER_SETS {
                settings.set_variable(name, Value::Default);
            }
        }
        let required = self.required.take();
        let unseen_write = self.unseen_write;
        let began_with = self.began_with.take().filter(|_| dialect == Dialect::MariaDb);
        *self = Self { settings: Arc::new(settings), required, unseen_write, ..Self::new(None) };
        if let Some(values) = began_with {
            self.begin_with(values);
        }
    }

    /// The transaction that it had has begun again on another connection.
    pub fn begin_again(&mut self) {
        self.explicit = true;
        self.status = self.status.with(Status::IN_TRANSACTION).with(Status::IN_READ_ONLY_TRANSACTION);
    }

    /// The connection that held the transaction and the pins is gone, and they with it.
    pub fn lose_connection(&mut self) {
        self.pins = Pins::default();
        self.explicit = false;
        self.belongings = Belongings::default();
        self.characteristics = false;
        self.status = self.status.without(Status::IN_TRANSACTION);
    }
}

/// The variables that a login sets from the client's collation; `DEFAULT` is not what the login set. The collation
/// decides `character_set_connection`, too.
pub const CHARACTER_SETS: [&[u8]; 3] = [b"character_set_client", b"character_set_results", b"collation_connection"];
