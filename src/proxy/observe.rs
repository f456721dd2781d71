//! Looks into the packets that end a result: tells the session what happened, and takes out what the client did not ask
//! to be told.

use std::cell::Cell;

use super::relay::{Observer, Verdict, replace_payload};
use crate::{
    context::Context,
    protocol::{
        Capabilities, Change, Control, ControlKind, HEADER, Malformed, OkPacket, Prepared, ServerError, Status,
        changes, wire::put_lenenc_bytes,
    },
    session::SessionState,
    sql::{Dialect, Mode, Statement, asks_for_file},
};

/// The variables that servers report to a client that has `CLIENT_SESSION_TRACK` and says nothing more
/// (`session_track_system_variables`). Sorted.
const TRACKED_BY_DEFAULT: [&[u8]; 5] =
    [b"autocommit", b"character_set_client", b"character_set_connection", b"character_set_results", b"time_zone"];

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
}

impl Withhold {
    fn covers(self, error: &ServerError) -> bool {
        match (self, error.code) {
            // ER_SERVER_SHUTDOWN, and MariaDB's ER_CONNECTION_KILLED.
            (Self::Shutdown | Self::ShutdownOrReadOnly, 1053 | 1927) => true,
            (Self::ReadOnly | Self::ShutdownOrReadOnly, _) => tells_read_only(error),
            _ => false,
        }
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

/// Watches one reply.
pub struct ReplyObserver<'a> {
    pub state: &'a mut SessionState,
    pub statement: &'a Statement<'a>,
    /// The text of a statement that asks for files of the client, and how it is read.
    pub files: Option<(&'a [u8], Mode)>,
    pub dialect: Dialect,
    /// The statement ran longer than its rule allows, and the server was asked to stop it.
    pub overdue: &'a Cell<bool>,
    /// The client's.
    pub capabilities: Capabilities,
    /// The session's connection reports what the client chose itself; it is told all.
    pub unfiltered: bool,
    pub withhold: Withhold,
    /// Who is told of commits, for reads that must see those of all sessions; None: there are none.
    pub commits: Option<&'a Context>,
    /// The error that was kept from the client.
    pub withheld: Option<ServerError>,
    /// The id that a prepared statement gets towards the client.
    pub statement_id: u32,
    /// What a `COM_STMT_PREPARE` was answered.
    pub prepared: Option<Prepared>,
    /// The error that ended the reply.
    pub error: Option<u16>,
    /// That was because the server takes no writes.
    pub read_only: bool,
    /// The status flags of the last packet that had some.
    pub status: Status,
    /// The last packet was an EOF.
    pub ended_by_eof: bool,
    /// Warnings that the last result had.
    pub warnings: u16,
    /// The last insert id that was told.
    pub insert_id: u64,
    /// The affected rows that were told last.
    pub affected_rows: u64,
}

impl Observer for ReplyObserver<'_> {
    fn control(&mut self, control: Control, packet: &mut [u8], unseen: bool) -> Result<Verdict, Malformed> {
        let payload = packet.get(HEADER..).ok_or(Malformed("header"))?;
        match control.kind {
            ControlKind::Ok => {
                let ok = OkPacket::parse(payload)?;
                self.status = ok.status;
                self.warnings = ok.warnings;
                self.affected_rows = ok.affected_rows;
                if ok.insert_id != 0 {
                    self.insert_id = ok.insert_id;
                }
                self.state.observe(&ok, self.statement.kind, self.statement.effects);
                if let Some((commits, position)) = self.commits.zip(self.state.required()) {
                    // Before the client hears of it: it may tell others.
                    commits.commit(position);
                }
                if ok.status.has(Status::SESSION_STATE_CHANGED) && !self.unfiltered {
                    let told = self.told(&ok, payload.first().copied().unwrap_or_default());
                    return replace_payload(packet, &told).map(Verdict::Pass);
                }
            }
            ControlKind::Eof => {
                let eof = OkPacket::parse_eof(payload)?;
                self.status = eof.status;
                self.warnings = eof.warnings;
                self.ended_by_eof = control.last;
                self.state.observe_eof(&eof, self.statement.kind, self.statement.effects);
                if eof.status.has(Status::SESSION_STATE_CHANGED) && !self.unfiltered {
                    let status = eof.status.without(Status::SESSION_STATE_CHANGED).0.to_le_bytes();
                    packet.get_mut(HEADER + 3..HEADER + 5).ok_or(Malformed("status"))?.copy_from_slice(&status);
                }
            }
            ControlKind::Err => {
                let error = ServerError::parse(payload)?;
                self.error = Some(error.code);
                self.read_only = Withhold::ReadOnly.covers(&error);
                if unseen && self.withhold.covers(&error) {
                    self.withheld = Some(error);
                    return Ok(Verdict::Withhold);
                }
                if self.state.status().has(Status::IN_READ_ONLY_TRANSACTION) && tells_read_only(&error) {
                    // A replica finds its own reason before the one that a single server has.
                    let told = ServerError::read_only_transaction(self.dialect);
                    self.error = Some(told.code);
                    return replace_payload(packet, &told.payload(Capabilities::PROTOCOL_41)).map(Verdict::Pass);
                }
                if self.overdue.get() && error.code == ServerError::interrupted().code {
                    // The number and the SQLSTATE of a time limit; the text says that it was interrupted.
                    let told = ServerError { message: error.message, ..ServerError::statement_timeout() };
                    return replace_payload(packet, &told.payload(Capabilities::PROTOCOL_41)).map(Verdict::Pass);
                }
            }
            ControlKind::Prepared => {
                self.prepared = Some(Prepared::parse(payload, self.capabilities)?);
                let place = HEADER + Prepared::ID.start..HEADER + Prepared::ID.end;
                packet
                    .get_mut(place)
                    .ok_or(Malformed("statement id"))?
                    .copy_from_slice(&self.statement_id.to_le_bytes());
            }
            ControlKind::Infile => {
                let name = payload.get(1..).unwrap_or_default();
                // Clients hand out whatever they are asked for.
                let asked = self.files.is_some_and(|(sql, mode)| asks_for_file(sql, mode, name));
                if !asked || !self.capabilities.has(Capabilities::LOCAL_FILES) {
                    return Err(Malformed("request for a file"));
                }
            }
        }
        Ok(Verdict::Pass(control.length))
    }
}

impl ReplyObserver<'_> {
    /// The OK packet as the client is told it.
    fn told(&self, ok: &OkPacket<'_>, header: u8) -> Vec<u8> {
        let mut kept = Vec::new();
        if self.capabilities.has(Capabilities::SESSION_TRACK) {
            for change in changes(ok.changes).map_while(Result::ok) {
                put_change(&mut kept, change);
            }
        }
        let status = if kept.is_empty() { ok.status.without(Status::SESSION_STATE_CHANGED) } else { ok.status };
        let mut out = Vec::with_capacity(16 + ok.info.len() + kept.len());
        OkPacket { status, changes: &kept, ..*ok }.put(&mut out, header);
        out
    }
}

/// Appends a change that servers report by default, and no other.
fn put_change(out: &mut Vec<u8>, change: Change<'_>) {
    let mut body = Vec::new();
    let kind = match change {
        Change::Variable { name, value } if TRACKED_BY_DEFAULT.contains(&name) => {
            put_lenenc_bytes(&mut body, name);
            put_lenenc_bytes(&mut body, value);
            0
        }
        Change::Schema(name) => {
            put_lenenc_bytes(&mut body, name);
            1
        }
        _ => return,
    };
    out.push(kind);
    put_lenenc_bytes(out, &body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Effects, Kind};

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
        let mut observer = ReplyObserver {
            state: &mut state,
            statement: &statement,
            files: None,
            dialect: Dialect::MySql,
            overdue: &Cell::new(false),
            capabilities,
            unfiltered: false,
            withhold: Withhold::Nothing,
            commits: None,
            withheld: None,
            statement_id: 0,
            prepared: None,
            error: None,
            read_only: false,
            status: Status::default(),
            ended_by_eof: false,
            warnings: 0,
            insert_id: 0,
            affected_rows: 0,
        };
        let control = Control { kind: ControlKind::Ok, length: packet.len(), last: true };
        let Verdict::Pass(length) = observer.control(control, &mut packet, true).unwrap() else { panic!("withheld") };
        assert_eq!(usize::from(packet[0]), length - HEADER);
        packet[HEADER..length].to_vec()
    }

    #[test]
    fn a_client_is_told_what_it_asked_for() {
        let schema = entry(1, b"\x03app");
        let time_zone = entry(0, b"\x09time_zone\x03UTC");
        let sql_mode = entry(0, b"\x08sql_mode\x04ANSI");
        let all = [schema.clone(), time_zone.clone(), sql_mode, entry(2, b"1"), entry(5, b"\x08T_______")].concat();
        let kept = [schema, time_zone].concat();
        let plain: &[u8] = b"\0\x01\x02\x02\0\0\0";
        assert_eq!(told(Capabilities::NONE, &all), plain);
        assert_eq!(told(Capabilities::SESSION_TRACK, &entry(2, b"1")), plain);
        let mut expected = b"\0\x01\x02\x02\x40\0\0\0".to_vec();
        put_lenenc_bytes(&mut expected, &kept);
        assert_eq!(told(Capabilities::SESSION_TRACK, &all), expected);
    }
}
