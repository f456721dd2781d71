//! A client that speaks packets: for what a driver hides or refuses to do. It reads replies by itself, so that it can
//! tell a well-formed one from Weir's idea of one.

use tokio::time::timeout;
use weir::{
    net::{PacketStream, Scratch, Socket, Stream},
    protocol::{
        Capabilities, Greeting, OkPacket, Prepared, ResultHead, ServerError, Status,
        auth::{Channel, Credential, LoginError, LoginRequest, ServerLogin, ServerStep, TlsUse},
        login::Attributes,
        query_attributes,
        wire::Reader,
    },
};

/// What a modern client asks for.
pub const MODERN: Capabilities = Capabilities::MULTI_STATEMENTS
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::SESSION_TRACK)
    .with(Capabilities::DEPRECATE_EOF);

/// Who logs in, and as what kind of client.
#[derive(Debug, Clone)]
pub struct Card {
    pub user: &'static str,
    pub password: &'static str,
    pub schema: Option<Vec<u8>>,
    pub capabilities: Capabilities,
    pub collation: u16,
    pub attributes: Attributes,
}

impl Card {
    /// The user `app` in the schema `app`.
    pub fn app(capabilities: Capabilities) -> Self {
        Self {
            user: "app",
            password: "app-secret",
            schema: Some(b"app".to_vec()),
            capabilities,
            collation: 45,
            attributes: Attributes::default(),
        }
    }
}

/// What the reply to a command looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// OK, ERR or results.
    Results,
    /// `COM_STMT_PREPARE`.
    Prepare,
    /// Rows, or columns, without their head.
    Rows,
    /// Events of a binary log, to an EOF of old.
    Events,
    /// One packet.
    One,
    Nothing,
}

/// A connection.
pub struct Raw {
    packets: PacketStream,
    scratch: Scratch,
    capabilities: Capabilities,
    deprecate_eof: bool,
    /// The command that was sent last.
    asked: Vec<u8>,
    greeting: Greeting,
    /// As the greeting said.
    pub id: u32,
    /// Ids of the statements that were prepared, in order.
    pub statements: Vec<u32>,
    /// Reports of progress that stood in replies, and were taken out.
    pub reports: usize,
}

impl Raw {
    /// Logs in over plain TCP. `Err` is what the other side refused with.
    pub async fn connect(port: u16, card: &Card) -> Result<Self, ServerError> {
        let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self::log_in(socket, card).await
    }

    /// Logs in over a connection that is there.
    pub async fn log_in(socket: tokio::net::TcpStream, card: &Card) -> Result<Self, ServerError> {
        let mut packets = PacketStream::new(Stream::Plain(Socket::Tcp(socket.into())));
        let (scratch, mut payload) = (Scratch::new(64 * 1024), Vec::new());
        packets.read_payload(&scratch, &mut payload, usize::MAX).await.unwrap();
        let greeting = Greeting::parse(&payload).unwrap();
        let request = LoginRequest {
            user: card.user.as_bytes().to_vec(),
            credential: Credential::Password(card.password.as_bytes().into()),
            schema: card.schema.clone(),
            capabilities: card.capabilities,
            collation: card.collation,
            max_packet: 1 << 30,
            attributes: card.attributes.clone(),
            tls: TlsUse::Disabled,
        };
        let (mut login, mut step) = ServerLogin::begin(&greeting, request, Channel::Plain);
        loop {
            match step {
                ServerStep::Send(answer) => packets.write_payload(&answer).await.unwrap(),
                ServerStep::Read => {}
                ServerStep::StartTls(_) => panic!("TLS is not asked for"),
                ServerStep::Done(done) => {
                    let deprecate_eof = done.capabilities.has(Capabilities::DEPRECATE_EOF);
                    let (id, statements, asked) = (greeting.connection_id, Vec::new(), Vec::new());
                    let capabilities = done.capabilities;
                    let reports = 0;
                    return Ok(Self {
                        packets,
                        scratch,
                        capabilities,
                        deprecate_eof,
                        asked,
                        greeting,
                        id,
                        statements,
                        reports,
                    });
                }
                ServerStep::Failed(LoginError::Refused(error)) => return Err(error),
                ServerStep::Failed(other) => panic!("{other}"),
            }
            packets.read_payload(&scratch, &mut payload, usize::MAX).await.unwrap();
            step = login.answer(&payload);
        }
    }

    /// Writes one command.
    pub async fn send(&mut self, payload: &[u8]) {
        self.asked = payload[..payload.len().min(100)].to_vec();
        self.packets.sequence = 0;
        let written = self.packets.write_payload(payload).await;
        written.unwrap_or_else(|error| panic!("the connection broke: {error}"));
    }

    /// Writes packets as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.packets.write_bytes(bytes).await.unwrap();
        self.packets.sequence = 1;
    }

    /// Sends one command and reads its reply: the payloads of all its packets.
    pub async fn ask(&mut self, payload: &[u8], answer: Answer) -> Vec<Vec<u8>> {
        self.send(payload).await;
        self.receive(answer).await
    }

    /// Sends a `COM_CHANGE_USER` and proves the password as it is asked for.
    pub async fn change_user(&mut self, command: &[u8], password: &str) -> Result<(), ServerError> {
        self.send(command).await;
        let request = LoginRequest {
            user: Vec::new(),
            credential: Credential::Password(password.as_bytes().into()),
            schema: None,
            capabilities: MODERN,
            collation: 45,
            max_packet: 1 << 30,
            attributes: Attributes::default(),
            tls: TlsUse::Disabled,
        };
        // The server asks for its plugin with a nonce of its own, so the greeting's does not matter.
        let (mut login, _) = ServerLogin::begin(&self.greeting, request, Channel::Plain);
        loop {
            let packet = self.read(&mut Vec::new()).await;
            match login.answer(&packet) {
                ServerStep::Send(answer) => self.packets.write_payload(&answer).await.unwrap(),
                ServerStep::Read => {}
                ServerStep::Done(_) => return Ok(()),
                ServerStep::Failed(LoginError::Refused(error)) => return Err(error),
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn query(&mut self, sql: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let payload = query_attributes::query(self.capabilities, sql.as_ref());
        self.ask(&payload, Answer::Results).await
    }

    /// Sends a statement whose reply asks for a file, and waits until it does. Returns the name of the file.
    pub async fn ask_for_file(&mut self, sql: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(&[b"\x03", sql.as_ref()].concat()).await;
        loop {
            let packet = self.read(&mut Vec::new()).await;
            match packet.split_first() {
                Some((0xFB, name)) => return name.to_vec(),
                Some((0xFF, _)) => panic!("{:?}", ServerError::parse(&packet)),
                _ => {}
            }
        }
    }

    /// Writes one payload with the next number: of a file that was asked for.
    pub async fn say(&mut self, payload: &[u8]) -> std::io::Result<()> {
        self.packets.write_payload(payload).await
    }

    /// Says that nothing more will be said.
    pub async fn hang_up_writing(&mut self) {
        self.packets.shutdown().await;
    }

    /// What the other side said first.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Whether a ping is answered.
    pub async fn is_alive(&mut self) -> bool {
        self.packets.sequence = 0;
        self.packets.write_payload(b"\x0E").await.is_ok() && !self.is_closed().await
    }

    /// Runs a statement that must succeed.
    pub async fn run(&mut self, sql: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let reply = self.query(sql.as_ref()).await;
        if let Some(error) = error(&reply) {
            panic!("{}: {error}", String::from_utf8_lossy(sql.as_ref()));
        }
        reply
    }

    /// Runs statements that have no rows: the replies as far as they come, and whether the connection is there behind them.
    pub async fn run_while_it_lasts(&mut self, sql: &str) -> (Vec<Vec<u8>>, bool) {
        self.send(&query_attributes::query(self.capabilities, sql.as_bytes())).await;
        let mut replies = Vec::new();
        loop {
            let mut reply = Vec::new();
            let read = self.packets.read_payload(&self.scratch, &mut reply, usize::MAX);
            if timeout(super::PATIENCE, read).await.expect("a reply or an end").is_err() {
                return (replies, false);
            }
            let more = OkPacket::parse(&reply).is_ok_and(|ok| ok.status.has(Status::MORE_RESULTS));
            replies.push(reply);
            if !more {
                return (replies, self.is_alive().await);
            }
        }
    }

    /// The fields of the first row of a text result; NULL is `None`.
    pub async fn row(&mut self, sql: impl AsRef<[u8]>) -> Vec<Option<Vec<u8>>> {
        let reply = self.run(sql).await;
        let columns = usize::from(reply[0][0]);
        let row = &reply[1 + columns + usize::from(!self.deprecate_eof)];
        let (mut reader, mut fields) = (Reader::new(row), Vec::new());
        for _ in 0..columns {
            let null = reader.rest().first() == Some(&0xFB);
            fields.push(if null {
                reader.u8("NULL").map(|_| None)
            } else {
                reader.lenenc_bytes("field").map(|v| Some(v.to_vec()))
            });
        }
        fields.into_iter().map(Result::unwrap).collect()
    }

    /// The only field of a text result.
    pub async fn value(&mut self, sql: impl AsRef<[u8]>) -> Vec<u8> {
        self.row(sql).await.remove(0).unwrap()
    }

    /// Prepares a statement and returns its id.
    pub async fn prepare(&mut self, sql: &str) -> u32 {
        let reply = self.ask(&[b"\x16", sql.as_bytes()].concat(), Answer::Prepare).await;
        assert_eq!(error(&reply), None, "{sql}");
        *self.statements.last().unwrap()
    }

    /// Reads the packets of one reply, sequence numbers checked.
    pub async fn receive(&mut self, answer: Answer) -> Vec<Vec<u8>> {
        let mut reply = Vec::new();
        match answer {
            Answer::Nothing => {}
            Answer::One => _ = self.read(&mut reply).await,
            Answer::Events => while self.read(&mut reply).await[0] == 0 {},
            Answer::Rows => _ = self.rows(&mut reply).await,
            Answer::Prepare => self.prepared(&mut reply).await,
            Answer::Results => while self.result(&mut reply).await.has(Status::MORE_RESULTS) {},
        }
        // The next command may be on its way, in one packet.
        self.packets.sequence = 1;
        reply
    }

    /// Whether the other side has closed the connection; waits until it says something or does.
    pub async fn is_closed(&mut self) -> bool {
        self.packets.read_payload(&self.scratch, &mut Vec::new(), usize::MAX).await.is_err()
    }

    async fn read(&mut self, reply: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let mut payload = Vec::new();
        let read = self.packets.read_payload(&self.scratch, &mut payload, usize::MAX);
        let read = timeout(super::PATIENCE, read).await.map_err(|_| "silence".to_owned());
        let read = read.and_then(|read| read.map_err(|error| error.to_string()));
        read.unwrap_or_else(|error| {
            panic!("{error} in the reply to {:?} after {reply:02x?}", String::from_utf8_lossy(&self.asked))
        });
        if self.capabilities.has(Capabilities::PROGRESS) && payload.starts_with(b"\xFF\xFF\xFF") {
            self.reports += 1;
            return Box::pin(self.read(reply)).await;
        }
        reply.push(payload.clone());
        payload
    }

    async fn prepared(&mut self, reply: &mut Vec<Vec<u8>>) {
        let first = self.read(reply).await;
        if first[0] == 0xFF {
            return;
        }
        let prepared = Prepared::parse(&first, self.capabilities).unwrap();
        self.statements.push(prepared.statement);
        for count in [prepared.parameters, prepared.columns].into_iter().filter(|count| *count > 0) {
            let definitions = if prepared.defined { usize::from(count) } else { 0 };
            for _ in 0..definitions + usize::from(!self.deprecate_eof) {
                self.read(reply).await;
            }
        }
    }

    /// One result; returns its status.
    async fn result(&mut self, reply: &mut Vec<Vec<u8>>) -> Status {
        let first = self.read(reply).await;
        match first.first() {
            Some(0xFF) => return Status::default(),
            Some(0x00) => return OkPacket::parse(&first).unwrap().status,
            _ => {}
        }
        for _ in 0..ResultHead::parse(&first, self.capabilities).unwrap().definitions() {
            let definition = self.read(reply).await;
            let mut catalog = Reader::new(&definition).lenenc_bytes("catalog").unwrap().to_vec();
            // The names come in `character_set_results`, which may have wide characters.
            catalog.retain(|byte| *byte != 0);
            assert_eq!(catalog, b"def", "a column definition");
        }
        if !self.deprecate_eof {
            let eof = self.read(reply).await;
            assert_eq!((eof[0], eof.len()), (0xFE, 5), "the EOF behind the columns");
            let status = OkPacket::parse_eof(&eof).unwrap().status;
            // MariaDB says so of the cursors inside a procedure, too.
            let asks_for_cursor = self.asked[0] == 0x17 && self.asked[5] != 0;
            if asks_for_cursor && status.has(Status::CURSOR_EXISTS) {
                return status;
            }
            if status.has(Status::PS_OUT_PARAMS) {
                // The EOF behind the row of output parameters does not say that an OK follows.
                return self.rows(reply).await.with(Status::MORE_RESULTS);
            }
        }
        self.rows(reply).await
    }

    /// Rows and what ends them; returns the status.
    async fn rows(&mut self, reply: &mut Vec<Vec<u8>>) -> Status {
        loop {
            let packet = self.read(reply).await;
            match packet[0] {
                0xFF => return Status::default(),
                0xFE if self.deprecate_eof && packet.len() < 0xFF_FFFF => {
                    return OkPacket::parse(&packet).unwrap().status;
                }
                0xFE if !self.deprecate_eof && packet.len() < 9 => {
                    assert_eq!(packet.len(), 5, "an EOF packet");
                    return OkPacket::parse_eof(&packet).unwrap().status;
                }
                _ => {}
            }
        }
    }
}

/// The error that ends a reply.
pub fn error(reply: &[Vec<u8>]) -> Option<ServerError> {
    let last = reply.last().filter(|packet| packet.first() == Some(&0xFF))?;
    Some(ServerError::parse(last).unwrap())
}

/// The error that must end a reply: its number and SQLSTATE.
pub fn code(reply: &[Vec<u8>]) -> (u16, String) {
    let error = error(reply).unwrap_or_else(|| panic!("no error: {reply:02x?}"));
    (error.code, String::from_utf8(error.state.to_vec()).unwrap())
}
