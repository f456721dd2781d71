//! Where a server's reply ends, and which of its packets say something about the session.
//!
//! Rows are never decoded: of every packet the header and the first byte are looked at, and only packets that end a
//! result ([`Control`]) are shown to the caller, who may rewrite them. The tracker keeps no bytes: what it has not
//! taken, the caller offers again with more behind it.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html>

use super::{
    Capabilities,
    heads::{Prepared, ResultHead},
    ok::{OkPacket, Status},
    packet::{HEADER, Header, MAX_PAYLOAD},
    wire::Malformed,
};

/// The first byte of an ERR packet.
const ERR: u8 = 0xFF;
/// How a report of MariaDB on a statement that takes long begins (`MARIADB_CLIENT_PROGRESS`): as an ERR packet with a number
/// that no error has.
const PROGRESS: &[u8] = &[ERR, 0xFF, 0xFF];
/// The first packet of a result with columns has a number and perhaps a byte.
const MAX_HEAD: usize = 10;

/// A packet that ends a result is never longer than this in a sane reply, bytes.
pub const MAX_CONTROL: usize = 128 * 1024;

/// What the reply to a command looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// OK, ERR, or results with columns and rows: `COM_QUERY`, `COM_STMT_EXECUTE`.
    Results,
    /// Rows without columns: `COM_STMT_FETCH`; columns alone: `COM_FIELD_LIST`.
    Rows,
    /// Events of a binary log, of which nobody knows how many: they end like rows, and behind each the client may speak.
    Events,
    /// `COM_STMT_PREPARE`.
    Prepare,
    /// One OK, EOF or ERR.
    Simple,
    /// One packet of any content: `COM_STATISTICS`.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the first packet of a result.
    First,
    /// `left` packets of column or parameter definitions.
    Definitions {
        left: u64,
        then: Then,
    },
    /// At the EOF behind definitions.
    DefinitionsEof {
        then: Then,
    },
    Rows,
    /// The server waits for a file of the client.
    Infile,
    Done,
}

/// What follows definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Rows,
    /// The columns of a prepared statement.
    PreparedColumns {
        count: u16,
        defined: bool,
    },
    Done,
}

/// What a [`Control`] packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKind {
    /// OK, with header byte `0x00`, or `0xFE` where it ends rows.
    Ok,
    Eof,
    Err,
    /// The first packet of a reply to `COM_STMT_PREPARE`.
    Prepared,
    /// The server asks for a local file: the direction turns round.
    Infile,
    /// The first packet of a result with columns. Only of a tracker that [shows columns](ResponseTracker::showing_columns).
    Head,
    /// The definition of a column of a result or of a prepared statement, likewise.
    Column,
    /// The definition of a parameter of a prepared statement. Only of a tracker that
    /// [shows parameters](ResponseTracker::showing_parameters).
    Parameter,
    /// A row of a result. Only of a tracker that [shows rows](ResponseTracker::showing_rows).
    Row,
}

impl ControlKind {
    /// Whether it says how something ended; else it is a part of a result.
    pub fn ends(self) -> bool {
        !matches!(self, Self::Head | Self::Column | Self::Parameter | Self::Row)
    }
}

/// A packet to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    pub kind: ControlKind,
    /// Header and payload, bytes.
    pub length: usize,
    /// Nothing of the reply follows.
    pub last: bool,
}

/// How far [`ResponseTracker::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes at the front of the input to pass on as they are.
    pub pass: usize,
    /// The packet behind them. Without one, everything behind them is to be offered again with more bytes.
    pub control: Option<Control>,
}

/// Follows one reply.
#[derive(Debug)]
pub struct ResponseTracker {
    shape: Shape,
    state: State,
    /// What was agreed on with the server: several change the form of a reply.
    capabilities: Capabilities,
    /// The rows are the output parameters of a procedure: an OK follows, though the EOF behind them does not say so.
    output_parameters: bool,
    /// Bytes of the current packet that are still to come.
    skip: usize,
    /// The packet before was full, so the next one goes on with its payload.
    continued: bool,
    sequence: u8,
    /// The numbers of the packets are to be set, as the server's mean nothing.
    renumbers: bool,
    /// Heads and columns are control packets, too.
    shows_columns: bool,
    shows_parameters: bool,
    /// So are rows.
    shows_rows: bool,
    /// The command asks for a cursor.
    asks_for_cursor: bool,
    /// How many packets the client does not get.
    omitted: u8,
}

impl ResponseTracker {
    /// Follows the reply to a command on a connection with `capabilities`.
    pub fn new(shape: Shape, capabilities: Capabilities) -> Self {
        let state = match shape {
            Shape::Rows | Shape::Events => State::Rows,
            _ => State::First,
        };
        Self {
            shape,
            state,
            capabilities,
            output_parameters: false,
            skip: 0,
            continued: false,
            sequence: 1,
            renumbers: false,
            shows_columns: false,
            shows_parameters: false,
            shows_rows: false,
            asks_for_cursor: false,
            omitted: 0,
        }
    }

    /// The reply to a command of several packets goes on with their numbers: `sequence` is its first.
    pub fn starting_at(self, sequence: u8) -> Self {
        Self { sequence, ..self }
    }

    /// Packet numbers are set right instead of checked, if `renumbers`.
    pub fn renumbering(self, renumbers: bool) -> Self {
        Self { renumbers, ..self }
    }

    /// The caller is shown the heads and the definitions of columns, if `shows`.
    pub fn showing_columns(self, shows: bool) -> Self {
        Self { shows_columns: shows, ..self }
    }

    /// The caller is shown the definitions of a prepared statement's parameters, if `shows`.
    pub fn showing_parameters(self, shows: bool) -> Self {
        Self { shows_parameters: shows, ..self }
    }

    /// The caller is shown the rows of results, if `shows`. They must be as short as a control packet.
    pub fn showing_rows(self, shows: bool) -> Self {
        Self { shows_rows: shows, ..self }
    }

    /// The command asks for a cursor, if `asks`: a reply that tells of one ends behind the columns. Any other does not, though
    /// MariaDB tells of the cursors inside a procedure, too.
    pub fn asking_for_cursor(self, asks: bool) -> Self {
        Self { asks_for_cursor: asks, ..self }
    }

    /// So many packets are not passed on, modulo 256: those behind them get lower numbers.
    pub fn omit(&mut self, packets: u8) {
        self.omitted = self.omitted.wrapping_add(packets);
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && self.skip == 0
    }

    /// The sequence number that an own packet must have to stand here; None inside a packet.
    pub fn boundary(&self) -> Option<u8> {
        (self.skip == 0 && !self.continued).then_some(self.told())
    }

    /// The number of the next packet for the client.
    fn told(&self) -> u8 {
        self.sequence.wrapping_sub(self.omitted)
    }

    /// Whether the server waits for a file of the client.
    pub fn awaits_file(&self) -> bool {
        matches!(self.state, State::Infile)
    }

    /// After the client's file was sent (`sent` packets): the server answers with OK or ERR.
    pub fn infile_sent(&mut self, sent: u8) {
        self.state = State::First;
        self.sequence = self.sequence.wrapping_add(sent);
    }

    /// Walks `input`, to the end of the reply and not further. It begins where the last call's `pass` and `control` ended.
    pub fn advance(&mut self, input: &mut [u8]) -> Result<Progress, Malformed> {
        let mut at = 0;
        loop {
            let step = self.skip.min(input.len() - at);
            self.skip -= step;
            at += step;
            if self.is_done() {
                break;
            }
            let rest = input.get_mut(at..).unwrap_or_default();
            let Some(header) = Header::parse(rest) else { break };
            if header.sequence != self.sequence && !self.renumbers {
                return Err(Malformed("packet order"));
            }
            let step = self.packet(header, rest.get(HEADER..).unwrap_or_default())?;
            if step != Step::Incomplete
                && header.sequence != self.told()
                && let Some(sequence) = rest.get_mut(HEADER - 1)
            {
                *sequence = self.told();
            }
            match step {
                Step::Incomplete => break,
                Step::Pass => self.pass_packet(header),
                Step::Control(kind) => {
                    self.sequence = self.sequence.wrapping_add(1);
                    let control =
                        Control { kind, length: HEADER + header.length, last: matches!(self.state, State::Done) };
                    return Ok(Progress { pass: at, control: Some(control) });
                }
            }
        }
        Ok(Progress { pass: at, control: None })
    }

    fn pass_packet(&mut self, header: Header) {
        self.skip = HEADER + header.length;
        self.continued = header.length == MAX_PAYLOAD;
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Looks at one packet; `body` is what is there of its payload.
    fn packet(&mut self, header: Header, body: &[u8]) -> Result<Step, Malformed> {
        if self.continued {
            return Ok(Step::Pass);
        }
        if self.shape == Shape::Text {
            self.state = State::Done;
            return Ok(Step::Pass);
        }
        // What stands behind an empty packet belongs to the next one.
        if header.length == 0 {
            return Err(Malformed("empty packet"));
        }
        let Some(&first) = body.first() else { return Ok(Step::Incomplete) };
        if first < 0xFE && matches!(self.state, State::Rows) && !self.shows_rows {
            // A row, as most packets are.
            return Ok(Step::Pass);
        }
        if first == ERR && self.capabilities.has(Capabilities::PROGRESS) {
            match body.get(..PROGRESS.len().min(header.length)) {
                Some(PROGRESS) => return Ok(Step::Pass),
                Some(_) => {}
                None => return Ok(Step::Incomplete),
            }
        }
        let Some(kind) = self.control_kind(first, header.length)? else {
            return self.pass_definition_or_row(header, body);
        };
        if header.length > MAX_CONTROL {
            return Err(Malformed("end of result"));
        }
        match body.get(..header.length) {
            Some(payload) if kind.ends() => self.control(kind, payload).map(|()| Step::Control(kind)),
            Some(_) => self.pass_definition_or_row(header, body).map(|_| Step::Control(kind)),
            None => Ok(Step::Incomplete),
        }
    }

    /// Whether the packet must be looked into; None: pass it on.
    fn control_kind(&self, first: u8, length: usize) -> Result<Option<ControlKind>, Malformed> {
        let short = length < 9;
        let deprecate_eof = self.capabilities.has(Capabilities::DEPRECATE_EOF);
        Ok(Some(match (self.state, self.shape, first) {
            (_, _, ERR) if length < MAX_PAYLOAD => ControlKind::Err,
            (State::First, Shape::Prepare, 0x00) => ControlKind::Prepared,
            (State::First, Shape::Results | Shape::Simple, 0x00) => ControlKind::Ok,
            (State::First, Shape::Simple, 0xFE) if short && !deprecate_eof => ControlKind::Eof,
            (State::First, Shape::Simple, 0xFE) => ControlKind::Ok,
            (State::First, Shape::Results, 0xFB) => ControlKind::Infile,
            (State::First, Shape::Results, _) if length <= MAX_HEAD && self.shows_columns => ControlKind::Head,
            (State::First, Shape::Results, _) if length <= MAX_HEAD => return Ok(None),
            // Whatever was agreed on, a server may end events with the EOF of old.
            (State::Rows, Shape::Events, 0xFE) if length == 5 => ControlKind::Eof,
            (State::Rows, _, 0xFE) if deprecate_eof && length < MAX_PAYLOAD => ControlKind::Ok,
            (State::Rows, _, 0xFE) if !deprecate_eof && short => ControlKind::Eof,
            (State::DefinitionsEof { .. }, _, 0xFE) if short => ControlKind::Eof,
            (State::Definitions { then: Then::Rows | Then::Done, .. }, _, _) if self.shows_columns => {
                ControlKind::Column
            }
            (State::Definitions { then: Then::PreparedColumns { .. }, .. }, _, _) if self.shows_parameters => {
                ControlKind::Parameter
            }
            (State::Rows, Shape::Results, _) if self.shows_rows => ControlKind::Row,
            (State::Rows | State::Definitions { .. }, _, _) => return Ok(None),
            _ => return Err(Malformed("header byte")),
        }))
    }

    fn pass_definition_or_row(&mut self, header: Header, body: &[u8]) -> Result<Step, Malformed> {
        match self.state {
            State::First => {
                let Some(payload) = body.get(..header.length) else { return Ok(Step::Incomplete) };
                let head = ResultHead::parse(payload, self.capabilities)?;
                self.state = self.definitions(head.columns, head.defined, Then::Rows);
            }
            State::Definitions { left: left @ 2.., then } => {
                self.state = State::Definitions { left: left - 1, then };
            }
            State::Definitions { then, .. } => self.state = self.behind_definitions(then),
            _ => {}
        }
        Ok(Step::Pass)
    }

    /// The state in front of `count` definitions, if they are sent. The EOF behind them comes in any case.
    fn definitions(&self, count: u16, defined: bool, then: Then) -> State {
        match defined {
            true => State::Definitions { left: count.into(), then },
            false => self.behind_definitions(then),
        }
    }

    fn behind_definitions(&self, then: Then) -> State {
        match self.capabilities.has(Capabilities::DEPRECATE_EOF) {
            true => self.next(then),
            false => State::DefinitionsEof { then },
        }
    }

    fn next(&self, then: Then) -> State {
        match then {
            Then::Rows => State::Rows,
            Then::PreparedColumns { count: 0, .. } | Then::Done => State::Done,
            Then::PreparedColumns { count, defined } => self.definitions(count, defined, Then::Done),
        }
    }

    /// Moves on behind a control packet.
    fn control(&mut self, kind: ControlKind, payload: &[u8]) -> Result<(), Malformed> {
        let status = match kind {
            ControlKind::Ok => OkPacket::parse(payload)?.status,
            ControlKind::Eof => OkPacket::parse_eof(payload)?.status,
            _ => Status::default(),
        };
        let more = status.has(Status::MORE_RESULTS) || self.output_parameters;
        let behind_columns = matches!(self.state, State::DefinitionsEof { .. });
        self.output_parameters = behind_columns && status.has(Status::PS_OUT_PARAMS);
        self.state = match (kind, self.state) {
            (ControlKind::Err, _) => State::Done,
            (ControlKind::Infile, _) => State::Infile,
            (ControlKind::Prepared, _) => {
                let Prepared { parameters, columns, defined, .. } = Prepared::parse(payload, self.capabilities)?;
                let then = Then::PreparedColumns { count: columns, defined };
                if parameters == 0 { self.next(then) } else { self.definitions(parameters, defined, then) }
            }
            (_, State::DefinitionsEof { then: Then::Rows })
                if self.asks_for_cursor && status.has(Status::CURSOR_EXISTS) =>
            {
                State::Done
            }
            (_, State::DefinitionsEof { then }) => self.next(then),
            _ if self.shape == Shape::Results && more => State::First,
            _ => State::Done,
        };
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Pass,
    Control(ControlKind),
    /// More bytes are needed to tell.
    Incomplete,
}

#[cfg(test)]
mod tests;
