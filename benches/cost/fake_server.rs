//! A light MySQL server: one thread, one event loop, canned replies, so that a proxy's cost does not drown in a
//! database's. It lets every login in. What it answers is decided in `answers`; this file turns that into bytes.

use std::{
    borrow::Cow,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use mysql_common::{
    constants::{CapabilityFlags, Command, StatusFlags},
    packets::HandshakePacket,
    proto::MySerialize as _,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
    task::LocalSet,
};

use crate::{
    answers::{self, Answer, Change, Server, VERSION},
    replies::{Canned, Encoding, error, ok, prepared, result_set},
    wire::{HEADER, payload_length, put_packet, read_packet},
};

/// One server to connect to. All of them live on one thread until the process ends.
pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    served: Arc<AtomicU64>,
}

impl FakeServer {
    /// How many of the bench's own reads this server has answered.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

/// Starts a writer and its replicas on ports that the kernel chooses.
///
/// # Errors
/// When there is no port or no thread to be had.
pub(crate) fn start<const N: usize>() -> io::Result<[FakeServer; N]> {
    let mut servers = Vec::with_capacity(N);
    let mut listeners = Vec::with_capacity(N);
    for number in 0..N {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let served = Arc::new(AtomicU64::new(0));
        servers.push(FakeServer { address: listener.local_addr()?, served: served.clone() });
        listeners.push((listener, Server(number), served));
    }
    thread::Builder::new().name("fake-server".to_owned()).spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let canned = Rc::new(Canned::new());
        let tasks = LocalSet::new();
        for (listener, server, served) in listeners {
            tasks.spawn_local(accept(listener, server, served, canned.clone()));
        }
        runtime.block_on(tasks);
        io::Result::Ok(())
    })?;
    Ok(servers.try_into().unwrap_or_else(|_| unreachable!("one server was pushed for each number")))
}

async fn accept(
    listener: std::net::TcpListener,
    server: Server,
    served: Arc<AtomicU64>,
    canned: Rc<Canned>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (served, canned) = (served.clone(), canned.clone());
        tokio::task::spawn_local(async move {
            // A peer that hangs up is the normal end.
            let _ = Connection { stream, server, served, capabilities: CapabilityFlags::empty(), prepared: Vec::new() }
                .serve(&canned)
                .await;
        });
    }
}

struct Connection {
    stream: TcpStream,
    server: Server,
    served: Arc<AtomicU64>,
    capabilities: CapabilityFlags,
    /// What each prepared statement answers; a statement's id is its place, from 1.
    prepared: Vec<Answer>,
}

impl Connection {
    async fn serve(mut self, canned: &Canned) -> io::Result<()> {
        self.login().await?;
        let mut input = Vec::with_capacity(16 * 1024);
        loop {
            while let Some(end) = payload_length(&input).map(|length| HEADER + length)
                && end <= input.len()
            {
                let reply = self.reply(&input[HEADER..end], canned);
                // One write for each command, as a real server does.
                self.stream.write_all(&reply).await?;
                input.drain(..end);
            }
            if self.stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn login(&mut self) -> io::Result<()> {
        let capabilities = offered();
        // The port tells this server's connections apart.
        let id = u32::from(self.stream.peer_addr()?.port());
        let mut greeting = Vec::new();
        put_packet(&mut greeting, &mut 0, |out| {
            let (salt_1, salt_2) = (*b"eight888", &b"twelve012345\0"[..]);
            let status = StatusFlags::SERVER_STATUS_AUTOCOMMIT;
            let plugin = Some(&b"mysql_native_password"[..]);
            HandshakePacket::new(10, VERSION.as_bytes(), id, salt_1, Some(salt_2), capabilities, 255, status, plugin)
                .serialize(out);
        });
        self.stream.write_all(&greeting).await?;
        let (sequence, response) = read_packet(&mut self.stream).await?;
        let wanted = response.first_chunk().map_or(0, |bits| u32::from_le_bytes(*bits));
        self.capabilities = CapabilityFlags::from_bits_truncate(wanted) & capabilities;
        if !self.capabilities.contains(CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_DEPRECATE_EOF) {
            return Err(io::Error::other("the fake server knows only results without EOF packets"));
        }
        self.stream.write_all(&ok(sequence + 1, &[], self.capabilities)).await
    }

    /// The bytes that answer one command; none for a command without a reply.
    fn reply<'a>(&mut self, command: &[u8], canned: &'a Canned) -> Cow<'a, [u8]> {
        let Some((&code, body)) = command.split_first() else { return Cow::default() };
        let text = || String::from_utf8_lossy(body);
        match code {
            QUERY => self.encode(&answers::answer(&text(), self.server), Encoding::Text, canned),
            PREPARE => {
                let answer = answers::answer(&text(), self.server);
                let parameters = body.iter().filter(|&&byte| byte == b'?').count();
                self.prepared.push(answer);
                self.prepared_reply(parameters).into()
            }
            EXECUTE => {
                let id = body.first_chunk().map_or(0, |id| u32::from_le_bytes(*id)) as usize;
                match self.prepared.get(id.wrapping_sub(1)) {
                    Some(answer) => self.encode(answer, Encoding::Binary, canned),
                    None => error(1243, "HY000", "Unknown prepared statement handler").into(),
                }
            }
            INIT_DB => ok(1, &[Change::Schema(text().into()), Change::State], self.capabilities).into(),
            RESET_CONNECTION | CHANGE_USER => {
                self.prepared.clear();
                ok(1, &[], self.capabilities).into()
            }
            PING | STMT_RESET | SET_OPTION => ok(1, &[], self.capabilities).into(),
            QUIT | STMT_CLOSE | SEND_LONG_DATA => Cow::default(),
            _ => error(1047, "08S01", "Unknown command").into(),
        }
    }

    fn prepared_reply(&self, parameters: usize) -> Vec<u8> {
        let columns = match self.prepared.last() {
            Some(Answer::PointRow) => answers::point_row().columns,
            Some(Answer::BigResult) => answers::big_result().columns,
            Some(Answer::Rows(rows)) => rows.columns.clone(),
            Some(Answer::Ok(_) | Answer::UnknownTable) | None => Vec::new(),
        };
        prepared(self.prepared.len() as u32, parameters, &columns)
    }

    fn encode<'a>(&self, answer: &Answer, encoding: Encoding, canned: &'a Canned) -> Cow<'a, [u8]> {
        if matches!(answer, Answer::PointRow | Answer::BigResult) {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        match (answer, encoding) {
            (Answer::PointRow, Encoding::Text) => Cow::Borrowed(&canned.point_text),
            (Answer::PointRow, Encoding::Binary) => Cow::Borrowed(&canned.point_binary),
            (Answer::BigResult, Encoding::Text) => Cow::Borrowed(&canned.big_text),
            (Answer::BigResult, Encoding::Binary) => result_set(&answers::big_result(), encoding).into(),
            (Answer::Rows(rows), _) => result_set(rows, encoding).into(),
            (Answer::UnknownTable, _) => error(1146, "42S02", "Table doesn't exist").into(),
            (Answer::Ok(changes), _) => ok(1, changes, self.capabilities).into(),
        }
    }
}

const QUIT: u8 = Command::COM_QUIT as u8;
const INIT_DB: u8 = Command::COM_INIT_DB as u8;
const QUERY: u8 = Command::COM_QUERY as u8;
const PING: u8 = Command::COM_PING as u8;
const CHANGE_USER: u8 = Command::COM_CHANGE_USER as u8;
const PREPARE: u8 = Command::COM_STMT_PREPARE as u8;
const EXECUTE: u8 = Command::COM_STMT_EXECUTE as u8;
const SEND_LONG_DATA: u8 = Command::COM_STMT_SEND_LONG_DATA as u8;
const STMT_CLOSE: u8 = Command::COM_STMT_CLOSE as u8;
const STMT_RESET: u8 = Command::COM_STMT_RESET as u8;
const SET_OPTION: u8 = Command::COM_SET_OPTION as u8;
const RESET_CONNECTION: u8 = Command::COM_RESET_CONNECTION as u8;

fn offered() -> CapabilityFlags {
    CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_FOUND_ROWS
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_IGNORE_SPACE
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_INTERACTIVE
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_RESERVED
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_SESSION_TRACK
        | CapabilityFlags::CLIENT_DEPRECATE_EOF
}
