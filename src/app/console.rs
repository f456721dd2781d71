//! Clients of the console: Weir's own login in front of `admin::console`.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::acceptor::{Bound, refuse};
use crate::{
    admin::{self, Doors},
    backend::{UNKNOWN_COLLATION, UNKNOWN_VERSION},
    config::Admin,
    context::Context,
    net::{Scratch, Socket, Stream},
    protocol::{Capabilities, OkPacket, ServerError, Status, auth::Account},
    proxy::{Accounts, Admitted, Door, End, Policy},
    sql::Dialect,
};

/// Most clients at once.
const CLIENTS: usize = 32;
/// The console's read buffer, bytes.
const SCRATCH: usize = 16 * 1024;

/// Accepts console clients until the task is aborted.
pub async fn serve(bound: Bound, context: Arc<Context>, doors: Doors) {
    let mut id = 0;
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        match bound.accept().await {
            Ok((socket, peer)) => {
                let Ok(place) = places.clone().try_acquire_owned() else {
                    tracing::warn!(client = peer.name(), "the console is full");
                    tokio::task::spawn_local(refuse(socket, ServerError::too_many_connections()));
                    continue;
                };
                id += 1;
                let (context, doors) = (context.clone(), doors.clone());
                tokio::task::spawn_local(async move {
                    let _place = place;
                    if let Err(error) = converse(socket, peer.host(), id, &context, doors).await {
                        tracing::debug!(client = peer.name(), %error, "a console client is gone");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a console client");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(socket: Socket, host: String, id: u32, context: &Context, doors: Doors) -> std::io::Result<()> {
    let config = context.config.load_full();
    let offered = Capabilities::from_halves(admin::console::CAPABILITIES, 0);
    let local = is_local(&socket);
    let admin = config.admin.clone();
    let policy = Policy {
        id,
        version: UNKNOWN_VERSION.to_owned(),
        collation: UNKNOWN_COLLATION,
        dialect: Dialect::MySql,
        offered,
        tls: context.tls.load_full(),
        tls_required: false,
        rsa: context.rsa.clone(),
        accounts: Box::new(Operator { admin, local }),
    };
    let mut door = Door::new(Stream::Plain(socket), Scratch::new(SCRATCH), host, policy);
    let refusal = match timeout(config.timeouts.handshake, door.pass()).await {
        Ok(Ok(admitted)) => {
            let capabilities = door.capabilities.without(Capabilities::SSL).base();
            return enter(admitted, capabilities, doors).await;
        }
        Ok(Err(End::Error(error))) => error,
        Ok(Err(End::Client)) => return Ok(()),
        Err(_) => ServerError::read_timeout(),
    };
    door.refuse(&refusal).await;
    Ok(())
}

/// The only account of the console.
struct Operator {
    admin: Admin,
    /// The client sits at the machine.
    local: bool,
}

impl Accounts for Operator {
    /// Without a password, only who sits at the machine is let in.
    fn find(&self, user: &[u8]) -> Option<Account> {
        let Self { admin, local } = self;
        let known = user == admin.user.as_bytes() && (*local || !admin.password.expose().is_empty());
        known.then(|| Account { credentials: vec![(&admin.password).into()], ..Account::default() })
    }
}

fn is_local(socket: &Socket) -> bool {
    match socket {
        Socket::Tcp(stream) => stream.get_ref().peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
        Socket::Unix(_) | Socket::Memory(_) => true,
    }
}

async fn enter(admitted: Admitted, capabilities: u32, doors: Doors) -> std::io::Result<()> {
    let mut packets = admitted.packets;
    let ok =
        OkPacket { affected_rows: 0, insert_id: 0, status: Status::AUTOCOMMIT, warnings: 0, info: b"", changes: b"" };
    let mut payload = Vec::new();
    ok.put(&mut payload, 0);
    packets.write_payload(&payload).await?;
    admin::console::serve_session(packets.into_stream(), capabilities, doors).await
}
