//! The SQL console: Weir's state and switches over the MySQL protocol, for any MySQL client.
//!
//! The engine is opensrv-mysql. It takes part in neither end of a session: it knows only native authentication and
//! answers OK to commands it does not know, so it sees neither the login nor a command that is not on a list.
//!
//! ```text
//! client ──► gate::admit ──► gate::Packets ──► opensrv ──► engine::Console ──► statements
//!   ▲         allow-list       one a read         │
//!   └─────────────────────── deliver ◄── duplex ◄─┘
//! ```
//!
//! A session comes here after its login. The engine insists on a login of its own, so it gets one that Weir makes up,
//! with the client's capabilities, and its greeting and its OK are dropped. From there on the engine's replies are the
//! client's, byte for byte. A command that is not on the list reaches the engine as a statement that is refused: so
//! answers stay in order without Weir having to know where a reply ends.

mod answers;
mod driver;
mod engine;
mod gate;
mod statements;
mod words;

use std::{io, time::Duration};

use opensrv_mysql::{AsyncMysqlIntermediary, CapabilityFlags};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::timeout,
};

use super::Doors;

/// What a greeting may offer to a console client (`CLIENT_…`, protocol page "Capabilities Flags"). `CLIENT_SSL` is
/// Weir's own to add. Offering more would change what bytes mean to the client and not to the engine: query
/// attributes, optional metadata, compression, and MariaDB's extended flags, of which the greeting must offer none.
pub const CAPABILITIES: u32 = CapabilityFlags::CLIENT_LONG_PASSWORD.bits()
    | CapabilityFlags::CLIENT_LONG_FLAG.bits()
    | CapabilityFlags::CLIENT_CONNECT_WITH_DB.bits()
    | CapabilityFlags::CLIENT_PROTOCOL_41.bits()
    | CapabilityFlags::CLIENT_TRANSACTIONS.bits()
    | CapabilityFlags::CLIENT_SECURE_CONNECTION.bits()
    | CapabilityFlags::CLIENT_MULTI_RESULTS.bits()
    | CapabilityFlags::CLIENT_PS_MULTI_RESULTS.bits()
    | CapabilityFlags::CLIENT_PLUGIN_AUTH.bits()
    | CapabilityFlags::CLIENT_CONNECT_ATTRS.bits()
    | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA.bits()
    | CapabilityFlags::CLIENT_DEPRECATE_EOF.bits();

/// Those of them that change the engine's bytes.
const ENGINE_CAPABILITIES: u32 = CapabilityFlags::CLIENT_PROTOCOL_41.bits()
    | CapabilityFlags::CLIENT_TRANSACTIONS.bits()
    | CapabilityFlags::CLIENT_SECURE_CONNECTION.bits()
    | CapabilityFlags::CLIENT_DEPRECATE_EOF.bits();

/// Reply bytes on their way from the engine to the client.
const REPLY_BUFFER: usize = 64 * 1024;
/// How long a client may take to accept reply bytes.
const DELIVERY: Duration = Duration::from_secs(30);

/// Serves a client from behind its login to its end.
///
/// `stream` stands behind the OK that ended the login, at a packet boundary; `capabilities` are those that both sides
/// agreed on (`CLIENT_SSL` aside, which is over by now). Dropping the future ends the session.
///
/// # Errors
/// Capabilities beyond [`CAPABILITIES`] or without `CLIENT_PROTOCOL_41`, before a byte is read; a client that breaks
/// the protocol, stalls or goes away in the middle.
pub async fn serve_session<S>(stream: S, capabilities: u32, doors: Doors) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let capabilities = capabilities & !CapabilityFlags::CLIENT_SSL.bits();
    if capabilities & !CAPABILITIES != 0 || capabilities & CapabilityFlags::CLIENT_PROTOCOL_41.bits() == 0 {
        let message = format!("the console cannot serve a client with the capabilities {capabilities:#x}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let (from_client, to_client) = tokio::io::split(stream);
    let (packets, input) = gate::packets();
    let (output, mut replies) = duplex(REPLY_BUFFER);
    let engine = AsyncMysqlIntermediary::run_on(engine::Console::new(doors), input, output);
    let session = async {
        log_in(capabilities, &packets, &mut replies).await?;
        tokio::try_join!(gate::admit(from_client, packets), deliver(replies, to_client))
    };
    tokio::try_join!(engine, session).map(|_| ())
}

/// Takes the engine past the login it insists on.
async fn log_in(capabilities: u32, packets: &mpsc::Sender<Vec<u8>>, replies: &mut DuplexStream) -> io::Result<()> {
    skip_packet(replies).await?; // the greeting
    let sent = packets.send(gate::framed(1, &handshake_response(capabilities))).await;
    sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the console's engine ended before its login"))?;
    skip_packet(replies).await // the OK
}

/// `HandshakeResponse41` (protocol page "Protocol::HandshakeResponse41") of nobody, without a password.
fn handshake_response(capabilities: u32) -> Vec<u8> {
    const UTF8MB4_GENERAL_CI: u8 = 45;
    let capabilities = capabilities & ENGINE_CAPABILITIES | CapabilityFlags::CLIENT_SECURE_CONNECTION.bits();
    let mut response = capabilities.to_le_bytes().to_vec();
    response.extend((gate::MAX_PACKET as u32).to_le_bytes());
    response.push(UTF8MB4_GENERAL_CI);
    response.extend([0; 23]);
    response.push(0); // end of the empty name
    response.push(0); // length of the password's scramble
    response
}

async fn skip_packet(replies: &mut DuplexStream) -> io::Result<()> {
    let mut header = [0; gate::HEADER];
    replies.read_exact(&mut header).await?;
    let mut payload = vec![0; gate::payload_length(header)];
    replies.read_exact(&mut payload).await.map(|_| ())
}

/// Passes the engine's replies to the client until the engine has ended.
async fn deliver(mut replies: DuplexStream, mut client: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut scratch = vec![0; 16 * 1024];
    loop {
        let n = replies.read(&mut scratch).await?;
        let chunk = scratch.get(..n).unwrap_or_default();
        let delivery = async {
            match chunk {
                [] => client.shutdown().await,
                _ => client.write_all(chunk).await,
            }
        };
        timeout(DELIVERY, delivery).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if chunk.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
