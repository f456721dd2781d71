//! Looks into the packets that end a result: tells the session what happened, and takes out what the client did not ask
//! to be told.

use std::cell::Cell;

use super::{
    columns::Columns,
    relay::{Observer, Verdict, replace_payload},
};
use crate::{
    context::{Context, Looks},
    protocol::{
        Capabilities, Control, ControlKind, HEADER, Malformed, OkPacket, Prepared, ServerError, Status,
        wire::put_lenenc_bytes,
    },
    session::{Boundary, SessionState, Tracking, Untold},
    sql::{Dialect, Kind, Mode, Statement, asks_for_file},
    telemetry::Pin,
};

/// Which errors are kept from the client, because another server may not give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withhold {
    Nothing,
    /// That the server is going away.
    Shutdown,
    /// That the server takes no writes: it was the writer until a moment ago.
    ReadOnly,
    /// Either: what is taken for a read may write behind a view.
    ShutdownOrReadOnly,
    /// Either, and that something is not there: a table may be a temporary one, and a replica may not have yet what the
    /// writer has.
    Absence,
}

impl Withhold {
    fn covers(self, error: &ServerError) -> bool {
        match (self, error.code) {
            // ER_SERVER_SHUTDOWN, and MariaDB's ER_CONNECTION_KILLED.
            (Self::Shutdown | Self::ShutdownOrReadOnly | Self::Absence, 1053 | 1927) => true,
            (Self::Absence, _) if tells_absence(error) => true,
            (Self::ReadOnly | Self::ShutdownOrReadOnly | Self::Absence, _) => tells_read_only(error),
            _ => false,
        }
    }
}

/// Whether a server says that what a statement names is not there, or not for this user.
pub fn tells_absence(error: &ServerError) -> bool {
    is_of_absence(error.code)
}

/// Whether an error with this number does.
pub fn is_of_absence(code: u16) -> bool {
    match code {
        // A schema, a column, a table, an index, a routine; what a view names; MariaDB's sequences.
        1049 | 1054 | 1146 | 1176 | 1305 | 1356 | 4091 => true,
        // A privilege: for a schema, a table, a column, at all, for a routine.
        1044 | 1142 | 1143 | 1227 | 1370 => true,
        _ => false,
    }
}

/// Whether a server says that it takes no writes.
pub fn tells_read_only(error: &ServerError) -> bool {
    match error.code {
        // ER_OPTION_PREVENTS_STATEMENT: --read-only or --super-read-only, in every language of the servers.
        1290 => error.message.windows(9).any(|text| text == b"read-only"),
        // ER_READ_ONLY_MODE.
        1836 => true,
        _ => false,
    }
}

/// What a complete reply said.
#[derive(Debug, Default)]
pub struct Exchanged {
    /// The error that ended it.
    pub error: Option<u16>,
    /// That was because the server takes no writes.
    pub read_only: bool,
    /// Of the last packet that had some.
    pub status: Status,
    /// Its last packet was an EOF, which has no room for changes.
    pub ended_by_eof: bool,
    /// That the last result had.
    pub warnings: u16,
    /// The last that was told; 0: none.
    pub insert_id: u64,
    /// Of the last OK.
    pub affected_rows: u64,
    /// The client's id and the server's answer to `COM_STMT_PREPARE`.
    pub prepared: Option<(u32, Prepared)>,
    /// The definitions of the parameters that it has told so far.
    pub parameters: Vec<Vec<u8>>,
    /// It may have left something behind that servers do not report.
    pub hides: bool,
    /// Bytes that the client was sent.
    pub sent: u64,
    /// The error that the client was not sent.
    pub withheld: Option<ServerError>,
    /// A digest of the definitions of columns that the client has now, if it keeps them.
    pub columns: Option<u64>,
}

/// Watches one reply.
pub struct ReplyObserver<'a> {
    pub state: &'a mut SessionState,
    pub statement: &'a Statement<'a>,
    /// An earlier statement may have changed what its reply did not tell.
    pub doubted: bool,
    /// The text of a statement that asks for files of the client, and how it is read.
    pub files: Option<(&'a [u8], Mode)>,
    pub dialect: Dialect,
    /// The statement ran longer than its rule allows, and the server was asked to stop it.
    pub overdue: &'a Cell<bool>,
    /// The client's.
    pub capabilities: Capabilities,
    /// What of the server's reports the client chose to be told; None: the server reports just that.
    pub tracking: Option<&'a Tracking>,
    /// What of earlier statements the client has yet to hear.
    pub untold: &'a mut Untold,
    /// The statement may change the session by itself.
    pub may_change_session: bool,
    pub withhold: Withhold,
    /// The flags of the transaction that the session is in, if that is on another connection.
    pub transaction: Status,
    /// Who is told of commits, for reads that must see those of all sessions; None: there are none.
    pub commits: Option<&'a Context>,
    /// Who is told that the statement has changed stored code; None: it has not.
    pub looks: Option<&'a Looks>,
    /// The id that a prepared statement gets towards the client.
    pub statement_id: u32,
    /// The client's own id, if that is what the statement asks for and all that it asks for.
    pub own_id: Option<u32>,
    /// What becomes of definitions of columns; None: the client did not ask to be told.
    pub columns: Option<Box<Columns>>,
    /// What the reply said so far.
    pub said: &'a mut Exchanged,
}

impl Observer for ReplyObserver<'_> {
    fn control(&mut self, control: Control, packet: &mut [u8], unseen: bool) -> Result<Verdict, Malformed> {
        let verdict = match control.kind {
            ControlKind::Ok => self.ok(control, packet),
            ControlKind::Eof => self.eof(control, packet),
            ControlKind::Err => self.err(control, packet, unseen),
            ControlKind::Prepared => self.prepared(control, packet),
            ControlKind::Infile => self.infile(control, packet),
            ControlKind::Row => self.row(control, packet),
            ControlKind::Parameter => self.parameter(control, packet),
            ControlKind::Head | ControlKind::Column => Ok(Verdict::Pass(control.length)),
        };
        match &mut self.columns {
            Some(columns) => columns.judge(control.kind, packet, verdict?),
            None => verdict,
        }
    }
}

impl ReplyObserver<'_> {
    fn ok(&mut self, control: Control, packet: &mut [u8]) -> Result<Verdict, Malformed> {
        let payload = payload(packet)?;
        let ok = OkPacket::parse(payload)?;
        self.said.status = ok.status;
        self.said.warnings = ok.warnings;
        self.said.affected_rows = ok.affected_rows;
        if ok.insert_id != 0 {
            self.said.insert_id = ok.insert_id;
        }
        let before = self.state.in_explicit_transaction();
        self.state.observe(&ok, self.statement.kind, self.statement.effects);
        let after = self.state.in_explicit_transaction();
        let begins = after && matches!(self.statement.kind, Kind::Begin(_));
        let boundary = Boundary::of(before, after, begins);
        if let Some((commits, position)) = self.commits.zip(self.state.required()) {
            // Before the client hears of it: it may tell others.
            commits.commit(position);
        }
        if let Some(looks) = self.looks {
            looks.want();
        }
        let as_reported = !ok.status.has(Status::SESSION_STATE_CHANGED) || self.is_told_all();
        if as_reported && self.untold.is_empty() && self.transaction == Status::default() {
            return Ok(Verdict::Pass(control.length));
        }
        let ok = OkPacket { status: ok.status.with(self.transaction), ..ok };
        let told = self.told(&ok, boundary, payload.first().copied().unwrap_or_default());
        replace_payload(packet, &told)
    }

    fn eof(&mut self, control: Control, packet: &mut [u8]) -> Result<Verdict, Malformed> {
        let eof = OkPacket::parse_eof(payload(packet)?)?;
        self.said.status = eof.status;
        self.said.warnings = eof.warnings;
        self.said.ended_by_eof = control.last;
        if self.doubted {
            self.state.observe(&eof, self.statement.kind, self.statement.effects);
            // It may be told that another statement changed something, and not what. A transaction always has.
            if eof.status.has(Status::SESSION_STATE_CHANGED) && !self.state.in_transaction() {
                self.state.set_pin(Pin::Unattributed, true);
            }
        } else {
            self.state.observe_eof(&eof, self.statement.kind, self.statement.effects);
        }
        let flagged = self.is_told_all() || self.chosen().is_some_and(Tracking::flags_reads);
        let hidden = if flagged { Status::default() } else { Status::SESSION_STATE_CHANGED };
        let told = eof.status.without(hidden).with(self.transaction);
        if told != eof.status {
            let place = packet.get_mut(HEADER + 3..HEADER + 5).ok_or(Malformed("status"))?;
            place.copy_from_slice(&told.0.to_le_bytes());
        }
        Ok(Verdict::Pass(control.length))
    }

    fn err(&mut self, control: Control, packet: &mut [u8], unseen: bool) -> Result<Verdict, Malformed> {
        let error = ServerError::parse(payload(packet)?)?;
        self.said.error = Some(error.code);
        self.said.read_only = Withhold::ReadOnly.covers(&error);
        if unseen && self.withhold.covers(&error) {
            self.said.withheld = Some(error);
            return Ok(Verdict::Withhold);
        }
        if self.state.status().has(Status::IN_READ_ONLY_TRANSACTION) && tells_read_only(&error) {
            // A replica finds its own reason before the one that a single server has.
            let told = ServerError::read_only_transaction(self.dialect);
            self.said.error = Some(told.code);
            return replace_payload(packet, &told.payload(Capabilities::PROTOCOL_41));
        }
        if self.overdue.get() && error.code == ServerError::interrupted().code {
            // The number and the SQLSTATE of a time limit; the text says that it was interrupted.
            let told = ServerError { message: error.message, ..ServerError::statement_timeout() };
            return replace_payload(packet, &told.payload(Capabilities::PROTOCOL_41));
        }
        Ok(Verdict::Pass(control.length))
    }

    fn prepared(&mut self, control: Control, packet: &mut [u8]) -> Result<Verdict, Malformed> {
        self.said.prepared = Some((self.statement_id, Prepared::parse(payload(packet)?, self.capabilities)?));
        let place = HEADER + Prepared::ID.start..HEADER + Prepared::ID.end;
        packet.get_mut(place).ok_or(Malformed("statement id"))?.copy_from_slice(&self.statement_id.to_le_bytes());
        Ok(Verdict::Pass(control.length))
    }

    fn parameter(&mut self, control: Control, packet: &[u8]) -> Result<Verdict, Malformed> {
        self.said.parameters.push(payload(packet.get(..control.length).unwrap_or_default())?.to_vec());
        Ok(Verdict::Pass(control.length))
    }

    fn infile(&self, control: Control, packet: &[u8]) -> Result<Verdict, Malformed> {
        let name = payload(packet)?.get(1..).unwrap_or_default();
        // Clients hand out whatever they are asked for.
        let asked = self.files.is_some_and(|(sql, mode)| asks_for_file(sql, mode, name));
        if !asked || !self.capabilities.has(Capabilities::LOCAL_FILES) {
            return Err(Malformed("request for a file"));
        }
        Ok(Verdict::Pass(control.length))
    }

    /// A client is told the id that it was greeted with and that `KILL` knows.
    fn row(&self, control: Control, packet: &mut [u8]) -> Result<Verdict, Malformed> {
        let Some(id) = self.own_id else { return Ok(Verdict::Pass(control.length)) };
        let mut told = Vec::new();
        match payload(packet)? {
            // Binary: a header, the NULLs, and a number of 4 bytes in MariaDB, of 8 in MySQL.
            [0, 0, number @ ..] => {
                told.extend_from_slice(&[0, 0]);
                told.extend(u64::from(id).to_le_bytes().into_iter().take(number.len()));
            }
            _ => put_lenenc_bytes(&mut told, id.to_string().as_bytes()),
        }
        replace_payload(packet, &told)
    }

    /// Whether the client is told what the server reports.
    fn is_told_all(&self) -> bool {
        self.tracking.is_none() && self.capabilities.has(Capabilities::SESSION_TRACK)
    }

    /// What the client chose of more that the server reports.
    fn chosen(&self) -> Option<&Tracking> {
        self.tracking.filter(|_| self.capabilities.has(Capabilities::SESSION_TRACK))
    }

    /// The OK packet as the client is told it.
    fn told(&mut self, ok: &OkPacket<'_>, boundary: Boundary, header: u8) -> Vec<u8> {
        let told = match ok.status.has(Status::SESSION_STATE_CHANGED) {
            true if self.is_told_all() => Some(ok.changes.to_vec()),
            true => self.chosen().and_then(|tracking| tracking.told(ok.changes, boundary)),
            false => None,
        };
        let told = self.untold.tell(told, self.dialect, self.may_change_session);
        let status = match told {
            Some(_) => ok.status.with(Status::SESSION_STATE_CHANGED),
            None => ok.status.without(Status::SESSION_STATE_CHANGED),
        };
        let kept = told.unwrap_or_default();
        let mut out = Vec::with_capacity(16 + ok.info.len() + kept.len());
        OkPacket { status, changes: &kept, ..*ok }.put(&mut out, header);
        out
    }
}

fn payload(packet: &[u8]) -> Result<&[u8], Malformed> {
    packet.get(HEADER..).ok_or(Malformed("header"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Effects;

    fn entry(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, body.len() as u8][..], body].concat()
    }

    fn told(capabilities: Capabilities, changes: &[u8]) -> Vec<u8> {
        let status = Status::AUTOCOMMIT.with(Status::SESSION_STATE_CHANGED);
        let ok = OkPacket { affected_rows: 1, insert_id: 2, status, warnings: 0, info: b"", changes };
        let mut packet = vec![0; HEADER];
        ok.put(&mut packet, 0);
        let mut state = SessionState::new(None);
        let statement = Statement { kind: Kind::Set, effects: Effects::NONE, hint: None };
        let tracking = Tracking::new(["1", "0", "OFF", "time_zone"].map(|value| Some(value.into())));
        let mut observer = ReplyObserver {
            state: &mut state,
            statement: &statement,
            doubted: false,
            files: None,
            dialect: Dialect::MySql,
            overdue: &Cell::new(false),
            capabilities,
            tracking: Some(&tracking),
            untold: &mut Untold::default(),
            may_change_session: true,
            withhold: Withhold::Nothing,
            transaction: Status::default(),
            commits: None,
            looks: None,
            statement_id: 0,
            own_id: None,
            columns: None,
            said: &mut Exchanged::default(),
        };
        let control = Control { kind: ControlKind::Ok, length: packet.len(), last: true };
        let Verdict::Pass(length) = observer.control(control, &mut packet, true).unwrap() else { panic!("withheld") };
        assert_eq!(usize::from(packet[0]), length - HEADER);
        packet[HEADER..length].to_vec()
    }

    #[test]
    fn a_client_is_told_what_it_asked_for() {
        let schema = entry(1, b"\x03app");
        let all = [schema.clone(), entry(2, b"1"), entry(5, b"\x08T_______")].concat();
        let plain: &[u8] = b"\0\x01\x02\x02\0\0\0";
        assert_eq!(told(Capabilities::NONE, &all), plain);
        assert_eq!(told(Capabilities::SESSION_TRACK, &entry(2, b"1")), plain);
        let mut expected = b"\0\x01\x02\x02\x40\0\0\0".to_vec();
        put_lenenc_bytes(&mut expected, &schema);
        assert_eq!(told(Capabilities::SESSION_TRACK, &all), expected);
    }
}
