//! A TCP relay between Weir and a server, which breaks on command: it refuses, falls silent, drags, and cuts or
//! replaces one reply.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use weir::protocol::{Capabilities, Greeting, HEADER};

/// How a relay treats its connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Open,
    /// Connections close, and new ones at once.
    Closed,
    /// Connections are accepted and stay open; nothing passes.
    Silent,
    /// Every piece of a reply is late by this much.
    Slow(Duration),
    /// New connections go to this address instead; open ones go on.
    Diverted(SocketAddr),
    /// The server greets new connections as one that does not have these capabilities.
    Lacking(Capabilities),
}

/// What happens to the next reply to a statement that contains a marker. Once.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The statement does not reach the server, and the connection closes.
    CutRequest,
    /// The statement does not reach the server, and nobody hears of it: not even that the connection is closed.
    LoseRequest,
    /// The statement reaches the server when this says so.
    HoldRequest(Arc<Notify>),
    /// After at least this many bytes of the reply, at the next boundary of packets, the connection closes.
    CutAtBoundary(usize),
    /// The same, ten bytes into the next packet.
    CutInPacket(usize),
    /// As `CutAtBoundary`, but the connection stays open and silent.
    Stall(usize),
    /// As `CutInPacket`, but the connection stays open and silent. The server gets rid of its reply.
    StallInPacket(usize),
    /// The client gets these bytes instead of the reply, and nothing more.
    Replace(Vec<u8>),
}

/// Listens on a port of its own. Dropping it closes everything.
pub struct Relay {
    pub address: SocketAddr,
    line: watch::Sender<Line>,
    trap: Trap,
    heard: Heard,
    task: JoinHandle<()>,
}

type Trap = Arc<Mutex<Option<(Vec<u8>, Fault)>>>;

/// What was sent to the server, by round trips; None: nobody listens.
type Heard = Arc<Mutex<Option<Vec<Vec<u8>>>>>;

impl Relay {
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_at("127.0.0.1:0", target).await
    }

    /// Listens on an address of the test's choice.
    pub async fn start_at(address: &str, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, watching) = watch::channel(Line::Open);
        let trap = Trap::default();
        let (armed, heard) = (trap.clone(), Heard::default());
        let listening = heard.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let target = match *watching.borrow() {
                    Line::Closed => continue,
                    Line::Diverted(other) => other,
                    _ => target,
                };
                connections.spawn(carry(client, target, watching.clone(), armed.clone(), listening.clone()));
            }
        });
        Self { address, line, trap, heard, task }
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Arms the trap for the next statement that contains `marker`.
    pub fn on(&self, marker: &str, fault: Fault) {
        *self.trap.lock().unwrap() = Some((marker.as_bytes().to_vec(), fault));
    }

    /// Listens from now on.
    pub fn listen(&self) {
        *self.heard.lock().unwrap() = Some(Vec::new());
    }

    /// What was sent since [`Self::listen`], an entry for each round trip.
    pub fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap().take().unwrap_or_default();
        heard.iter().map(|bytes| bytes.escape_ascii().to_string()).collect()
    }

    /// Whether the trap has not been sprung.
    pub fn is_armed(&self) -> bool {
        self.trap.lock().unwrap().is_some()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one connection to its end.
async fn carry(client: TcpStream, target: SocketAddr, mut line: watch::Receiver<Line>, trap: Trap, heard: Heard) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let mut carried = Carried { client, server, trap, heard, fault: None, greeted: false, replied: true };
    let (mut request, mut reply) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let now = *line.borrow_and_update();
        if now == Line::Closed {
            return;
        }
        // Who broke off has nothing more to say.
        let passed = tokio::select! {
            changed = line.changed() => changed.ok(),
            count = carried.client.read(&mut request), if now != Line::Silent => {
                carried.pass_request(&request[..count.unwrap_or_default()]).await
            }
            count = carried.server.read(&mut reply), if now != Line::Silent => {
                carried.pass_reply(&mut reply[..count.unwrap_or_default()], now).await
            }
        };
        if passed.is_none() {
            return;
        }
    }
}

/// A connection to a server through the relay.
struct Carried {
    client: TcpStream,
    server: TcpStream,
    trap: Trap,
    /// What happens to the reply that comes.
    fault: Option<Progress>,
    greeted: bool,
    heard: Heard,
    /// The server spoke last.
    replied: bool,
}

impl Carried {
    /// None: the connection ends.
    async fn pass_request(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return None;
        }
        if let Some(heard) = &mut *self.heard.lock().unwrap() {
            match heard.last_mut() {
                Some(last) if !self.replied => last.extend_from_slice(bytes),
                _ => heard.push(bytes.to_vec()),
            }
        }
        self.replied = false;
        if let Some(sprung) = spring(&self.trap, bytes) {
            match sprung {
                Fault::CutRequest => return None,
                Fault::LoseRequest => {
                    read_to_end(&mut self.server).await;
                    return None;
                }
                Fault::HoldRequest(go) => {
                    go.notified().await;
                    return self.server.write_all(bytes).await.ok();
                }
                _ => {}
            }
            self.fault = Some(Progress::new(sprung));
        }
        self.server.write_all(bytes).await.ok()
    }

    /// None: the connection ends.
    async fn pass_reply(&mut self, bytes: &mut [u8], line: Line) -> Option<()> {
        if bytes.is_empty() {
            return None;
        }
        self.replied = true;
        if let Line::Slow(delay) = line {
            sleep(delay).await;
        }
        if let (Line::Lacking(lacking), false) = (line, self.greeted) {
            take_out(lacking, bytes);
        }
        self.greeted = true;
        let Some(progress) = &mut self.fault else { return self.client.write_all(bytes).await.ok() };
        if let Fault::Replace(bytes) = &progress.fault {
            // The client may close as soon as it has read enough of them; if it wants more, there is none.
            let _ = self.client.write_all(bytes).await;
            let _ = timeout(Duration::from_millis(200), self.client.read(&mut [0; 1024])).await;
            return None;
        }
        let (pass, end) = progress.walk(bytes);
        self.client.write_all(&bytes[..pass]).await.ok()?;
        if !end {
            return Some(());
        }
        match progress.fault {
            Fault::Stall(_) => read_to_end(&mut self.client).await,
            Fault::StallInPacket(_) => {
                let (client, server) = (&mut self.client, &mut self.server);
                tokio::select! {
                    () = read_to_end(client) => {}
                    () = read_to_end(server) => {}
                }
            }
            Fault::CutRequest | Fault::LoseRequest | Fault::HoldRequest(_) | Fault::Replace(_) => {}
            Fault::CutAtBoundary(_) | Fault::CutInPacket(_) => {}
        }
        None
    }
}

/// Takes capabilities out of a greeting, which comes alone.
fn take_out(lacking: Capabilities, packet: &mut [u8]) {
    let mut greeting = Greeting::parse(&packet[HEADER..]).unwrap();
    greeting.capabilities = greeting.capabilities.without(lacking);
    let payload = greeting.payload();
    assert_eq!(payload.len(), packet.len() - HEADER, "the greeting comes alone");
    packet[HEADER..].copy_from_slice(&payload);
}

/// Swallows what comes until the other side gives up.
async fn read_to_end(stream: &mut TcpStream) {
    let mut bytes = [0; 16 * 1024];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

fn spring(trap: &Trap, request: &[u8]) -> Option<Fault> {
    let mut trap = trap.lock().unwrap();
    let (marker, _) = trap.as_ref()?;
    let hit = request.windows(marker.len()).any(|window| window == marker);
    if hit { trap.take().map(|(_, fault)| fault) } else { None }
}

/// How far a reply has come on its way to the place of its fault.
struct Progress {
    fault: Fault,
    passed: usize,
    /// Header bytes of the current packet seen so far, and body bytes of it that are still to come.
    header: Vec<u8>,
    body: usize,
}

impl Progress {
    fn new(fault: Fault) -> Self {
        Self { fault, passed: 0, header: Vec::new(), body: 0 }
    }

    /// How many of `bytes` may pass, and whether that is the end.
    fn walk(&mut self, bytes: &[u8]) -> (usize, bool) {
        let (after, extra) = match self.fault {
            Fault::CutAtBoundary(after) | Fault::Stall(after) => (after, 0),
            Fault::CutInPacket(after) | Fault::StallInPacket(after) => (after, 10),
            Fault::CutRequest | Fault::LoseRequest | Fault::HoldRequest(_) | Fault::Replace(_) => (0, 0),
        };
        for (place, byte) in bytes.iter().enumerate() {
            if self.body == 0 && self.header.is_empty() && self.passed >= after {
                return ((place + extra).min(bytes.len()), true);
            }
            self.passed += 1;
            if self.body > 0 {
                self.body -= 1;
                continue;
            }
            self.header.push(*byte);
            if let [a, b, c, _] = self.header[..] {
                self.body = u32::from_le_bytes([a, b, c, 0]) as usize;
                self.header.clear();
            }
        }
        (bytes.len(), false)
    }
}
