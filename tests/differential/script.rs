//! A session as a list of steps, each a command with its arguments: what is generated, played, shrunk and printed.

use std::fmt;

use weir::protocol::Capabilities;

use super::{
    bed::raw::{Answer, MODERN},
    texts,
};

/// What a client asks a server for, and what it does then.
#[derive(Debug, Clone)]
pub struct Script {
    pub kind: ClientKind,
    pub steps: Vec<Step>,
}

impl Script {
    /// Whether it may leave a transaction behind that outlives its connection.
    pub fn uses_xa(&self) -> bool {
        self.steps.iter().any(|step| step.text().contains("XA "))
    }
}

/// How the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    Modern,
    /// With EOF packets, and without reports of session state.
    Classic,
    /// Affected rows are found rows.
    FoundRows,
}

impl ClientKind {
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::Modern => MODERN,
            Self::Classic => MODERN.without(Capabilities::DEPRECATE_EOF).without(Capabilities::SESSION_TRACK),
            Self::FoundRows => MODERN.with(Capabilities::FOUND_ROWS),
        }
    }
}

/// One command. Statements are named by the client's own slot, whatever id the server gave.
#[derive(Debug, Clone)]
pub enum Step {
    Query(String),
    Prepare { slot: usize, sql: String },
    Execute { slot: Slot, cursor: bool, parameters: Vec<Parameter>, bind: Bind },
    LongData { slot: usize, parameter: u16, data: String },
    ResetStatement(usize),
    Close(usize),
    Fetch { slot: usize, rows: u32 },
    InitDb(String),
    FieldList(String),
    Ping,
    SetOption(u16),
    ResetConnection,
    ChangeUser { schema: Option<String>, collation: u16 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Own(usize),
    /// The id that stands for the statement prepared last, in MariaDB.
    Last,
}

/// Whether an execute says the types of its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    Types,
    AsBefore,
}

/// A parameter of an execute: its type, and its value in binary; None: NULL.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub kind: u8,
    pub unsigned: bool,
    pub value: Option<Vec<u8>>,
}

/// A statement id that no server gives so soon.
const NO_STATEMENT: u32 = 77_777;

impl Step {
    /// The command's payload and the shape of its reply. `ids` are the statements' ids by slot. A change of user is not
    /// one command.
    pub fn command(&self, ids: &[Option<u32>]) -> (Vec<u8>, Answer) {
        let id = |slot: usize| ids.get(slot).copied().flatten().unwrap_or(NO_STATEMENT).to_le_bytes();
        match self {
            Self::Query(sql) => ([b"\x03", sql.as_bytes()].concat(), Answer::Results),
            Self::Prepare { sql, .. } => ([b"\x16", sql.as_bytes()].concat(), Answer::Prepare),
            Self::Execute { slot, cursor, parameters, bind } => {
                let id = match slot {
                    Slot::Own(slot) => id(*slot),
                    Slot::Last => u32::MAX.to_le_bytes(),
                };
                (execute(id, *cursor, parameters, *bind), Answer::Results)
            }
            Self::LongData { slot, parameter, data } => {
                ([&[0x18][..], &id(*slot), &parameter.to_le_bytes(), data.as_bytes()].concat(), Answer::Nothing)
            }
            Self::ResetStatement(slot) => ([&[0x1A][..], &id(*slot)].concat(), Answer::One),
            Self::Close(slot) => ([&[0x19][..], &id(*slot)].concat(), Answer::Nothing),
            Self::Fetch { slot, rows } => ([&[0x1C][..], &id(*slot), &rows.to_le_bytes()].concat(), Answer::Rows),
            Self::InitDb(name) => ([b"\x02", name.as_bytes()].concat(), Answer::One),
            Self::FieldList(table) => ([b"\x04", table.as_bytes(), b"\0"].concat(), Answer::Rows),
            Self::Ping => (b"\x0E".to_vec(), Answer::One),
            Self::SetOption(option) => ([&[0x1B][..], &option.to_le_bytes()].concat(), Answer::One),
            Self::ResetConnection => (b"\x1F".to_vec(), Answer::One),
            Self::ChangeUser { schema, collation } => (change_user(schema.as_deref(), *collation), Answer::One),
        }
    }

    /// Whether it runs a procedure; an execute may.
    pub fn calls(&self) -> bool {
        self.text().contains("CALL") || matches!(self, Self::Execute { .. })
    }

    /// Whether it can only run where data is written.
    pub fn writes(&self) -> bool {
        matches!(self, Self::Query(sql) if ["INSERT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb)))
    }

    /// Whether it asks about the statement before.
    pub fn asks_back(&self) -> bool {
        matches!(self, Self::Query(sql) if [texts::DIAGNOSTICS, texts::INTO_VARIABLES].concat().contains(&sql.as_str()))
    }

    /// The text in it, if it has one.
    pub fn text(&self) -> &str {
        match self {
            Self::Query(sql) | Self::Prepare { sql, .. } | Self::FieldList(sql) => sql,
            _ => "",
        }
    }
}

fn execute(id: [u8; 4], cursor: bool, parameters: &[Parameter], bind: Bind) -> Vec<u8> {
    let mut payload = [&[0x17][..], &id, &[u8::from(cursor), 1, 0, 0, 0]].concat();
    if parameters.is_empty() {
        return payload;
    }
    let mut nulls = vec![0; parameters.len().div_ceil(8)];
    for (place, _) in parameters.iter().enumerate().filter(|(_, parameter)| parameter.value.is_none()) {
        nulls[place / 8] |= 1 << (place % 8);
    }
    payload.extend(nulls);
    payload.push(u8::from(bind == Bind::Types));
    if bind == Bind::Types {
        payload.extend(parameters.iter().flat_map(|parameter| [parameter.kind, u8::from(parameter.unsigned) << 7]));
    }
    payload.extend(parameters.iter().flat_map(|parameter| parameter.value.clone().unwrap_or_default()));
    payload
}

/// `COM_CHANGE_USER` to the same user, with an empty proof: both families ask for a fresh one.
fn change_user(schema: Option<&str>, collation: u16) -> Vec<u8> {
    let mut payload = b"\x11app\0\0".to_vec();
    payload.extend_from_slice(schema.unwrap_or_default().as_bytes());
    payload.push(0);
    payload.extend_from_slice(&collation.to_le_bytes());
    payload.extend_from_slice(b"mysql_clear_password\0");
    payload
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(sql) => f.write_str(sql),
            Self::Prepare { slot, sql } => write!(f, "[prepare {slot}] {sql}"),
            Self::Execute { slot, cursor, parameters, bind } => {
                write!(f, "[execute {slot:?}{} {bind:?}]", if *cursor { " with a cursor" } else { "" })?;
                parameters.iter().try_for_each(|parameter| {
                    let value = parameter.value.as_ref().map(|value| value.escape_ascii().to_string());
                    write!(f, " {}:{}", parameter.kind, value.as_deref().unwrap_or("NULL"))
                })
            }
            other => write!(f, "[{other:?}]"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a {:?} client", self.kind)?;
        self.steps.iter().enumerate().try_for_each(|(number, step)| writeln!(f, "{number:4}  {step}"))
    }
}
