//! `MARIADB_CLIENT_CACHE_METADATA`: what definitions of columns a client has, and which it therefore is not sent again.
//!
//! A client that asked for it is told with every result whether definitions follow. They are left out of the reply to an
//! execute if they are those that the client was sent last for the statement, be it with the reply to its preparation.
//! What servers would leave out does not help: a statement of a client runs on many server connections, each with an idea
//! of its own of what it sent. So servers are not asked to, and always send them.
//! <https://mariadb.com/kb/en/result-set-packets/>

use std::{
    hash::{DefaultHasher, Hasher},
    mem,
};

use super::{
    relay::Verdict,
    request::{Body, Request},
    session::Session,
};
use crate::{
    protocol::{BulkExecute, Capabilities, ControlKind, Execute, HEADER, Header, Malformed, ResultHead},
    sql::{Effects, Kind, Statement},
};

/// Definitions longer than this together are not kept back to be compared, and always sent, bytes.
const MOST: usize = 64 * 1024;

/// The definitions of columns in one reply to a client that asked for the capability.
pub struct Columns {
    role: Role,
    /// A digest of the definitions that the client was sent last for the statement. None: none, or who knows.
    known: Option<u64>,
    /// Of the server connection.
    capabilities: Capabilities,
    /// Head and definitions, while it is not clear whether the client must get them.
    kept: Vec<u8>,
    digest: DefaultHasher,
    /// The number of them that the head told, and how many of those are still to come.
    count: u16,
    left: u16,
    results: u32,
}

/// What the definitions in a reply are to those before and behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The client keeps them.
    Preparation,
    /// The client keeps them, and needs only those that it does not have.
    Execution,
    /// The client needs them.
    Other,
}

impl Session {
    /// What to do about the columns in the reply to a request. Until [`ClientStatement::columns`] is set again, nobody knows
    /// what the client has.
    ///
    /// [`ClientStatement::columns`]: super::prepared::ClientStatement::columns
    pub(super) fn columns(&mut self, request: &Request<'_>, server: Capabilities) -> Option<Box<Columns>> {
        if !self.capabilities.has(Capabilities::CACHE_METADATA) {
            return None;
        }
        let known = match &request.body {
            Body::Execute { execute: Execute { statement, .. }, .. }
            | Body::BulkExecute { bulk: BulkExecute { statement, .. }, .. } => self.statements.find(*statement),
            _ => None,
        };
        Some(Box::new(Columns {
            role: role(request),
            known: known.and_then(|statement| statement.columns.take()),
            capabilities: server,
            kept: Vec::new(),
            digest: DefaultHasher::new(),
            count: 0,
            left: 0,
            results: 0,
        }))
    }
}

fn role(request: &Request<'_>) -> Role {
    let Statement { kind, effects, .. } = request.statement;
    match request.body {
        Body::Prepare { .. } => Role::Preparation,
        // What a procedure selects, servers always define.
        Body::Execute { .. } | Body::BulkExecute { .. } => match kind {
            Kind::Read | Kind::Diagnostics | Kind::Ddl => Role::Execution,
            Kind::Write if !effects.has(Effects::UNKNOWN_FUNCTION) => Role::Execution,
            _ => Role::Other,
        },
        Body::Plain(_) | Body::Fetch { .. } => Role::Other,
    }
}

impl Columns {
    /// A digest of what the client has, after a complete reply.
    pub fn known(&self) -> Option<u64> {
        self.known
    }

    /// What becomes of a control packet, header and payload, if it were `verdict` for a client without the capability.
    pub fn judge(&mut self, kind: ControlKind, packet: &[u8], verdict: Verdict) -> Result<Verdict, Malformed> {
        match verdict {
            _ if kind == ControlKind::Head => self.head(packet),
            _ if kind == ControlKind::Column => self.column(packet, verdict),
            // An error in the middle of definitions.
            Verdict::Pass(length) if !self.kept.is_empty() => {
                self.known = None;
                self.release(packet.get(..length).ok_or(Malformed("header"))?)
            }
            Verdict::Replace(told, 0) if !self.kept.is_empty() => {
                self.known = None;
                self.release(&told)
            }
            _ => Ok(verdict),
        }
    }

    fn head(&mut self, packet: &[u8]) -> Result<Verdict, Malformed> {
        self.count = ResultHead::parse(packet.get(HEADER..).unwrap_or_default(), self.capabilities)?.columns;
        self.left = self.count;
        self.results += 1;
        if self.role == Role::Execution && self.results == 1 {
            self.kept.extend_from_slice(packet);
            return Ok(Verdict::Keep);
        }
        // Which of several results' columns a client keeps is its own affair.
        self.known = self.known.filter(|_| self.role == Role::Other);
        let mut told = Vec::with_capacity(packet.len() + 1);
        put_head(&mut told, packet, Definitions::Follow)?;
        Ok(Verdict::Replace(told, 0))
    }

    fn column(&mut self, packet: &[u8], verdict: Verdict) -> Result<Verdict, Malformed> {
        if self.role == Role::Other || self.results > 1 {
            return Ok(verdict);
        }
        let definition = packet.get(HEADER..).unwrap_or_default();
        self.digest.write_usize(definition.len());
        self.digest.write(definition);
        let digest = self.digest.finish();
        if self.role == Role::Preparation {
            self.known = Some(digest);
            return Ok(verdict);
        }
        self.left = self.left.saturating_sub(1);
        let fits = !self.kept.is_empty() && self.kept.len() + packet.len() <= MOST;
        if self.left > 0 && fits {
            self.kept.extend_from_slice(packet);
            return Ok(Verdict::Keep);
        }
        let had = if self.left == 0 { self.known.replace(digest) } else { None };
        match had {
            _ if self.kept.is_empty() => Ok(verdict),
            Some(had) if had == digest && fits => {
                let mut told = Vec::new();
                put_head(&mut told, &self.kept, Definitions::LeftOut)?;
                self.kept.clear();
                Ok(Verdict::Replace(told, self.count.to_le_bytes()[0]))
            }
            _ => self.release(packet),
        }
    }

    /// Gives back what was kept, with `packet` behind it.
    fn release(&mut self, packet: &[u8]) -> Result<Verdict, Malformed> {
        let kept = mem::take(&mut self.kept);
        let mut told = Vec::with_capacity(kept.len() + 1 + packet.len());
        let definitions = put_head(&mut told, &kept, Definitions::Follow)?;
        told.extend_from_slice(definitions);
        told.extend_from_slice(packet);
        Ok(Verdict::Replace(told, 0))
    }
}

/// What the byte in a head says.
#[derive(Debug, Clone, Copy)]
enum Definitions {
    LeftOut = 0,
    Follow = 1,
}

/// Appends the head at the front of `packets` as the client reads it. Returns what is behind it.
fn put_head<'a>(out: &mut Vec<u8>, packets: &'a [u8], definitions: Definitions) -> Result<&'a [u8], Malformed> {
    let Header { length, sequence } = Header::parse(packets).ok_or(Malformed("header"))?;
    let (head, behind) = packets.split_at_checked(HEADER + length).ok_or(Malformed("header"))?;
    out.extend_from_slice(&Header { length: length + 1, sequence }.bytes());
    out.extend_from_slice(head.get(HEADER..).unwrap_or_default());
    out.push(definitions as u8);
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets with these numbers and payloads.
    fn packets(packets: &[(u8, &[u8])]) -> Vec<u8> {
        let packet = |(sequence, payload): &(u8, &[u8])| {
            [&Header { length: payload.len(), sequence: *sequence }.bytes()[..], payload].concat()
        };
        packets.iter().flat_map(packet).collect()
    }

    fn columns(role: Role, known: Option<u64>) -> Columns {
        let (kept, digest, capabilities) = (Vec::new(), DefaultHasher::new(), Capabilities::NONE);
        Columns { role, known, capabilities, kept, digest, count: 0, left: 0, results: 0 }
    }

    /// What becomes of a reply's packets, and what the client knows then.
    fn judged(role: Role, known: Option<u64>, reply: &[(ControlKind, &[u8])]) -> (Vec<Verdict>, Option<u64>) {
        let mut columns = columns(role, known);
        let judge = |(place, (kind, payload)): (usize, &(ControlKind, &[u8]))| {
            let packet = packets(&[(place as u8 + 1, payload)]);
            columns.judge(*kind, &packet, Verdict::Pass(packet.len())).unwrap()
        };
        (reply.iter().enumerate().map(judge).collect(), columns.known())
    }

    #[test]
    fn definitions_are_left_out_if_the_client_has_them() {
        use ControlKind::{Column, Err, Head, Ok};
        use Verdict::{Keep, Pass, Replace};
        let reply: &[(ControlKind, &[u8])] = &[(Head, b"\x02"), (Column, b"one"), (Column, b"two"), (Ok, b"\xFE")];
        let prepared = [(ControlKind::Prepared, &b"\0"[..]), (Column, b"one"), (Column, b"two")];
        let (passed, known) = judged(Role::Preparation, None, &prepared);
        assert_eq!(passed, [Pass(5), Pass(7), Pass(7)]);
        assert!(known.is_some());
        let left_out = Replace(packets(&[(1, b"\x02\0")]), 2);
        let sent = Replace(packets(&[(1, b"\x02\x01"), (2, b"one"), (3, b"two")]), 0);
        for (had, expected) in [(known, left_out), (None, sent.clone()), (Some(7), sent)] {
            let (verdicts, now) = judged(Role::Execution, had, reply);
            assert_eq!(verdicts, [Keep, Keep, expected, Pass(5)], "{had:?}");
            assert_eq!(now, known, "{had:?}");
        }
        // A procedure's are always sent, and those of what the client has prepared stay.
        let told = Replace(packets(&[(1, b"\x02\x01")]), 0);
        assert_eq!(judged(Role::Other, known, reply), (vec![told, Pass(7), Pass(7), Pass(5)], known));
        // An error in the middle.
        let cut = [reply[0], reply[1], (Err, &b"\xFF"[..])];
        let told = Replace(packets(&[(1, b"\x02\x01"), (2, b"one"), (3, b"\xFF")]), 0);
        assert_eq!(judged(Role::Execution, known, &cut), (vec![Keep, Keep, told], None));
        // An error instead.
        assert_eq!(judged(Role::Execution, known, &[(Err, b"\xFF")]), (vec![Pass(5)], known));
        // Of two results who knows.
        let twice = [&reply[..3], reply].concat();
        assert_eq!(judged(Role::Execution, known, &twice).1, None);
    }
}
