//! A server that says what it is told to say, whatever it is asked.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// One connection of a fake server.
#[derive(Debug, Clone)]
pub enum Script {
    /// Says this instead of a greeting, and then nothing.
    Say(Vec<u8>),
    /// Says this and closes.
    SayAndClose(Vec<u8>),
    /// Says this over and over.
    Repeat(Vec<u8>),
    /// Greets as a server does, reads the login, says this, and then nothing.
    AfterLogin(Vec<u8>),
    /// The same, and then the second over and over.
    RepeatAfterLogin(Vec<u8>, Vec<u8>),
}

/// Listens until it is dropped.
pub struct Fake {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Fake {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(play(client, script.clone()));
            }
        });
        Self { address, task }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends as soon as the peer does not want to hear more.
async fn play(mut peer: TcpStream, script: Script) {
    if let Script::AfterLogin(bytes) | Script::RepeatAfterLogin(bytes, _) = &script {
        let _ = peer.write_all(&greeting()).await;
        let _ = peer.read(&mut [0; 4096]).await;
        let _ = peer.write_all(bytes).await;
    }
    let _ = match script {
        Script::Say(bytes) => peer.write_all(&bytes).await,
        Script::SayAndClose(bytes) => {
            let _ = peer.write_all(&bytes).await;
            return;
        }
        Script::Repeat(bytes) | Script::RepeatAfterLogin(_, bytes) => loop {
            if peer.write_all(&bytes).await.is_err() {
                return;
            }
        },
        Script::AfterLogin(_) => Ok(()),
    };
    let mut rest = [0; 4096];
    while timeout(Duration::from_secs(60), peer.read(&mut rest))
        .await
        .is_ok_and(|read| read.is_ok_and(|count| count > 0))
    {}
}

/// `payload` as one packet.
pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

/// An ERR packet's payload.
pub fn error(code: u16, text: &str) -> Vec<u8> {
    [&[0xFF], &code.to_le_bytes()[..], b"#HY000", text.as_bytes()].concat()
}

/// The greeting of a MariaDB that wants `mysql_native_password`, knows no TLS, and all that Weir wants to know besides.
fn greeting() -> Vec<u8> {
    let capabilities: u32 = 0x01FF_F7FF & !0x0800 & !0x0001;
    let [a, b, c, d] = capabilities.to_le_bytes();
    let payload = [
        &b"\x0A5.5.5-10.11.6-MariaDB\0\x07\0\0\0abcdefgh\0"[..],
        &[a, b, 45, 2, 0, c, d, 21],
        // Progress reports, bulk execute, extended and cached metadata.
        b"\0\0\0\0\0\0\x1D\0\0\0",
        b"ijklmnopqrst\0mysql_native_password\0",
    ];
    packet(0, &payload.concat())
}
