//! One connection to a server: preparation, Weir's own commands on it, and what is known of its state.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
    time::Instant,
};

use tokio::time::timeout;

use super::{
    ConnectError, FormTypes, Identity, Links, PreparedText, Statements,
    align::set_names,
    dial::{Dialled, OWN_REPLY, Place, dial, refused},
    reply::Reply,
    threads::Thread,
};
use crate::{
    net::{PacketStream, Scratch},
    protocol::{Capabilities, Malformed, ParameterTypes, Prepared, code, put_packets, query_attributes},
    session::{CHARACTER_SETS, Settings, Tracking, Value},
    sql::Dialect,
};

/// The variables whose values no two servers at one address share.
const INSTANCE: &str = "hostname,@@port,@@server_id";

/// A connection to a server.
#[derive(Debug)]
pub struct ServerConnection {
    pub packets: PacketStream,
    pub identity: Arc<Identity>,
    /// What both sides agreed on.
    pub capabilities: Capabilities,
    /// The server's id of it.
    pub thread: u32,
    /// Its place among those of a pool; None: it is in none.
    pub entry: Option<Thread>,
    /// Where the server is that has this thread, whatever its name leads to by now; None: not TCP.
    pub peer: Option<SocketAddr>,
    /// Tells the server from others that answer at the same address: a hash of its name, port and id.
    pub instance: u64,
    /// Its server's `completion_type` ends the sessions that choose no other with their first transaction.
    pub releases: bool,
    /// What it has been set to.
    pub settings: Arc<Settings>,
    /// The character sets that the login gave it.
    pub baseline: Settings,
    /// What a client is told on it that has chosen nothing.
    pub tracking: Tracking,
    pub reports: Reports,
    pub statements: Statements,
    /// Statements that are to be closed with the next write.
    closing: Vec<u32>,
    pub opened: Instant,
    /// The worker whose runtime it belongs to: the one that used it last.
    pub worker: usize,
    /// The session that used it last.
    pub last_session: u32,
    /// What `LAST_INSERT_ID()` gives on it, as far as that is known.
    pub insert_id: Option<u64>,
    /// Where the session that used it last looks for that, if it does not know it: [`Self::leave_insert_id`].
    pub wanted_insert_id: Weak<OnceLock<u64>>,
    /// When it was used last.
    pub used: Instant,
    /// Its session is likely to ask about the statement that it ran last.
    pub asked_back: bool,
    /// It may have warnings that a statement leaves as they are, as MariaDB does where no table is used.
    pub warned: bool,
    /// Bytes went out whose reply was not seen to its end, or state is left that no report shows.
    dirty: bool,
    dialect: Dialect,
}

/// What a server connection reports of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reports {
    /// What Weir wants to know.
    All,
    /// What its client chose to be told, which may be less, or other.
    Chosen,
}

impl ServerConnection {
    /// No session has this id.
    pub const NOBODY: u32 = 0;
    /// Weir itself, which has this id for no session either.
    pub const WEIR: u32 = 1;

    /// Connects, logs in and prepares for session tracking.
    ///
    /// # Errors
    /// Whatever stands in the way, within `links.connect_timeout`.
    pub async fn open(
        place: Place<'_>,
        identity: Arc<Identity>,
        links: &Links,
        scratch: &Scratch,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let limit = links.connect_timeout;
        timeout(limit, Self::open_unbounded(place, identity, links, scratch, now))
            .await
            .map_err(|_| ConnectError::Timeout(limit))?
    }

    async fn open_unbounded(
        place: Place<'_>,
        identity: Arc<Identity>,
        links: &Links,
        scratch: &Scratch,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let Dialled { packets, capabilities, greeting, peer } = dial(place, &identity, links, scratch).await?;
        let lacking = identity.capabilities.indispensable().without(capabilities);
        if lacking != Capabilities::NONE {
            return Err(ConnectError::Lacking(lacking));
        }
        let mut connection = Self {
            packets,
            identity,
            capabilities,
            thread: greeting.connection_id,
            entry: None,
            peer,
            instance: 0,
            releases: false,
            settings: Arc::new(Settings::default()),
            baseline: Settings::default(),
            tracking: Tracking::default(),
            reports: Reports::All,
            statements: Statements::default(),
            closing: Vec::new(),
            opened: now,
            worker: usize::MAX,
            last_session: Self::NOBODY,
            insert_id: Some(0),
            wanted_insert_id: Weak::new(),
            used: now,
            asked_back: false,
            warned: false,
            dirty: true,
            dialect: greeting.dialect(),
        };
        connection.prepare(&[], scratch).await?;
        connection.prove_clean();
        Ok(connection)
    }

    /// Brings it back to what it was when it was opened: `COM_RESET_CONNECTION` and the preparation in one write. The
    /// schema stays.
    pub async fn reset(&mut self, scratch: &Scratch) -> Result<(), ConnectError> {
        self.mark_dirty();
        self.prepare(&[&[code::RESET_CONNECTION]], scratch).await?;
        self.settings = Arc::new(Settings::with_schema(self.settings.schema()));
        self.statements.clear();
        self.closing.clear();
        self.last_session = Self::NOBODY;
        self.insert_id = Some(0);
        self.wanted_insert_id = Weak::new();
        self.asked_back = false;
        self.warned = false;
        self.prove_clean();
        Ok(())
    }

    /// Sends `first` and asks for session tracking. A reset forgets the login's character sets, so they are set again.
    async fn prepare(&mut self, first: &[&[u8]], scratch: &Scratch) -> Result<(), ConnectError> {
        let names = CHARACTER_SETS.map(|name| String::from_utf8_lossy(name).into_owned());
        let tracking = Tracking::names(self.dialect);
        let select =
            format!("SELECT @@{},@@{},@@completion_type,@@{INSTANCE}", names.join(",@@"), tracking.join(",@@"));
        let queries = [set_names(&self.baseline), Some(select), Some(self.report_all().to_owned())];
        let query = |sql: String| query_attributes::query(self.capabilities, sql.as_bytes());
        let queries: Vec<_> = queries.into_iter().flatten().map(query).collect();
        let commands: Vec<&[u8]> = first.iter().copied().chain(queries.iter().map(Vec::as_slice)).collect();
        self.send(&commands).await?;
        let mut rows = Vec::new();
        for _ in &commands {
            rows.extend(self.read_reply(scratch).await?.rows);
        }
        let mut row = rows.pop().ok_or(Malformed("character sets"))?.into_iter();
        for (name, value) in CHARACTER_SETS.iter().zip(row.by_ref()) {
            self.baseline.set_variable(name, Value::Text(value.unwrap_or_default().into()));
        }
        self.tracking = Tracking::new(row.by_ref().take(tracking.len()));
        self.releases = row.next().flatten().is_some_and(|value| value.eq_ignore_ascii_case(b"RELEASE"));
        let mut instance = DefaultHasher::new();
        row.for_each(|value| value.hash(&mut instance));
        self.instance = instance.finish();
        self.reports = Reports::All;
        Ok(())
    }

    /// The statement that makes it report what Weir wants to know.
    fn report_all(&self) -> &'static str {
        match self.dialect {
            Dialect::MySql => {
                "SET session_track_schema=1,session_track_state_change=1,session_track_transaction_info='CHARACTERISTICS',\
                 session_track_system_variables='*',session_track_gtids='OWN_GTID'"
            }
            Dialect::MariaDb => {
                "SET session_track_schema=1,session_track_state_change=1,session_track_transaction_info='CHARACTERISTICS',\
                 session_track_system_variables='*'"
            }
        }
    }

    /// Asks what its client has chosen to be told.
    pub async fn ask_tracking(&mut self, scratch: &Scratch) -> Result<Tracking, ConnectError> {
        let names = Tracking::names(self.dialect).join(",@@");
        let mut reply = self.query(&format!("SELECT @@{names} LIMIT 1"), scratch).await?;
        Ok(Tracking::new(reply.rows.pop().ok_or(Malformed("session tracking"))?))
    }

    /// Reports all again; of GTIDs, it does so already but `outside` of a transaction.
    pub async fn track_all(&mut self, outside: bool, scratch: &Scratch) -> Result<(), ConnectError> {
        let all = self.report_all();
        let sql = if outside { all } else { all.split_once(",session_track_gtids").map_or(all, |(others, _)| others) };
        self.query(sql, scratch).await?;
        self.reports = Reports::All;
        Ok(())
    }

    /// Runs one command of Weir's own.
    pub async fn command(&mut self, payload: &[u8], scratch: &Scratch) -> Result<Reply, ConnectError> {
        self.send(&[payload]).await?;
        self.read_reply(scratch).await
    }

    /// Runs one query of Weir's own.
    pub async fn query(&mut self, sql: &str, scratch: &Scratch) -> Result<Reply, ConnectError> {
        let payload = query_attributes::query(self.capabilities, sql.as_bytes());
        self.command(&payload, scratch).await
    }

    /// Runs commands that are answered by an OK packet each, in one write. Returns the payloads, which tell the session's
    /// state.
    pub async fn told(&mut self, commands: &[&[u8]], scratch: &Scratch) -> Result<Vec<Vec<u8>>, ConnectError> {
        self.send(commands).await?;
        let mut told = Vec::with_capacity(commands.len());
        for _ in commands {
            self.packets.sequence = 1;
            let mut ok = Vec::new();
            self.packets.read_payload(scratch, &mut ok, OWN_REPLY).await?;
            if ok.first() == Some(&0xFF) {
                return Err(refused(&ok));
            }
            told.push(ok);
        }
        Ok(told)
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Takes it over to the worker that calls this.
    pub fn move_to(&mut self, worker: usize) -> io::Result<()> {
        if self.worker != worker {
            self.packets.move_here()?;
            self.worker = worker;
        }
        Ok(())
    }

    /// Remembers a statement that was prepared on it, and closes what had to make room. `types`: what the server takes its
    /// parameters for.
    pub fn remember_statement(&mut self, text: Arc<PreparedText>, id: u32, types: Option<ParameterTypes>) {
        self.closing.extend(self.statements.insert(text, id, types.map(FormTypes::new)));
    }

    /// Closes the form of a statement that was used last.
    pub fn close_form(&mut self, text: &Arc<PreparedText>) {
        self.closing.extend(self.statements.remove_form(text));
    }

    /// Closes a statement, and with it its cursor.
    pub fn close_statement(&mut self, text: &Arc<PreparedText>) {
        self.closing.extend(self.statements.remove(text));
    }

    /// Whether a cursor is open on it.
    pub fn has_cursor(&self) -> bool {
        self.statements.any_own()
    }

    /// Appends the commands that close what was to be closed. They have no reply.
    pub fn put_closing(&mut self, out: &mut Vec<u8>) {
        for id in self.closing.drain(..) {
            let payload = [&[code::STMT_CLOSE][..], &id.to_le_bytes()].concat();
            put_packets(out, &mut 0, &payload);
        }
    }

    /// What a server takes the parameters of a statement for before it tells.
    pub fn parameter_types(&self, prepared: &Prepared) -> Option<ParameterTypes> {
        let remembers = self.dialect == Dialect::MySql && prepared.parameters > 0;
        remembers.then(|| ParameterTypes::unknown(prepared.parameters.into()))
    }

    /// Reads the reply to `COM_STMT_PREPARE`. If the server remembers what is bound to parameters, it tells what it takes them
    /// for.
    pub async fn read_prepared(
        &mut self,
        scratch: &Scratch,
    ) -> Result<(Prepared, Option<ParameterTypes>), ConnectError> {
        self.packets.sequence = 1;
        let mut payload = Vec::new();
        self.packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
        if payload.first() == Some(&0xFF) {
            return Err(refused(&payload));
        }
        let prepared = Prepared::parse(&payload, self.capabilities)?;
        let eof = usize::from(!self.capabilities.has(Capabilities::DEPRECATE_EOF));
        let packets = |count: u16| match count {
            0 => 0,
            _ if !prepared.defined => eof,
            count => usize::from(count) + eof,
        };
        let mut types = self.parameter_types(&prepared);
        for place in 0..packets(prepared.parameters) + packets(prepared.columns) {
            self.packets.read_payload(scratch, &mut payload, OWN_REPLY).await?;
            if let Some(types) = types.as_mut().filter(|_| prepared.defined && place < prepared.parameters.into()) {
                types.define(place, &payload)?;
            }
        }
        Ok((prepared, types))
    }

    /// Whether the server can make sense of a statement.
    pub async fn parses(&mut self, sql: &[u8], scratch: &Scratch) -> Result<bool, ConnectError> {
        self.send(&[&[&[code::STMT_PREPARE], sql].concat()]).await?;
        match self.read_prepared(scratch).await {
            Ok((prepared, _)) => {
                self.closing.push(prepared.statement);
                Ok(true)
            }
            // ER_PARSE_ERROR, ER_NO_DB_ERROR; all else is for when it runs.
            Err(ConnectError::Refused(error)) => Ok(!matches!(error.code, 1046 | 1064)),
            Err(error) => Err(error),
        }
    }

    async fn send(&mut self, commands: &[&[u8]]) -> Result<(), ConnectError> {
        let mut bytes = Vec::new();
        for payload in commands {
            put_packets(&mut bytes, &mut 0, payload);
        }
        Ok(self.packets.write_bytes(&bytes).await?)
    }

    /// Its session's settings are its own now.
    pub fn is_aligned_to(&mut self, settings: &Arc<Settings>) {
        if !Arc::ptr_eq(&self.settings, settings) {
            self.settings = settings.clone();
        }
    }

    /// From here on the connection must not be used by another session, until [`Self::prove_clean`].
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// The reply was complete, no transaction is open, nothing is pinned.
    pub fn prove_clean(&mut self) {
        self.dirty = false;
    }

    pub fn is_clean(&self) -> bool {
        !self.dirty
    }
}
