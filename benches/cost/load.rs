//! The load: a number of connections, each of which sends its command again as soon as the reply is complete. Runs on
//! the caller's event loop. Decides nothing about what is put under load.

use std::{
    cell::RefCell,
    convert::Infallible,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use mysql_common::{
    auth::plugins::{caching_sha2_password::scramble_sha256, mysql_native_password::scramble_native},
    constants::{CapabilityFlags, Command},
    io::ParseBuf,
    packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse},
    proto::MySerialize as _,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::sleep};

use crate::{
    answers::{BIG_READ, BIG_ROWS, POINT_READ},
    reply_scan::ReplyScan,
    wire::{packet, put_packet, read_packet},
};

/// What logs in, at the proxies and at the servers behind them.
pub(crate) const USER: &str = "bench";
pub(crate) const PASSWORD: &str = "bench";

/// Time for connecting and for caches to fill, before anything is counted.
const WARM_UP: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    Text,
    Prepared,
    Big,
}

impl Workload {
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::Prepared, Self::Big];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Prepared => "prepared",
            Self::Big => "big",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Text => "one row of 119 bytes, text",
            Self::Prepared => "one row of 119 bytes, prepared",
            Self::Big => "1 MB result, text",
        }
    }

    fn rows(self) -> usize {
        match self {
            Self::Text | Self::Prepared => 1,
            Self::Big => BIG_ROWS,
        }
    }
}

/// What the clients saw between two instants.
pub(crate) struct Sample {
    /// Nanoseconds, in rising order.
    latencies: Vec<u32>,
    elapsed: Duration,
}

impl Sample {
    pub(crate) fn queries(&self) -> f64 {
        self.latencies.len() as f64
    }

    pub(crate) fn queries_per_second(&self) -> f64 {
        self.queries() / self.elapsed.as_secs_f64()
    }

    /// Microseconds below which the given share of the queries stayed.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        self.latencies.get(place).map_or(f64::NAN, |&nanoseconds| f64::from(nanoseconds) / 1e3)
    }
}

/// Loads `target` for `duration`. `at_edge` is called at the instant when counting starts and when it ends; its two
/// values come back beside the sample.
///
/// # Errors
/// When a connection fails, a reply is not the expected one, or a connection made no progress.
pub(crate) async fn run<T>(
    target: SocketAddr,
    workload: Workload,
    connections: usize,
    duration: Duration,
    at_edge: impl Fn() -> Result<T>,
) -> Result<(Sample, [T; 2])> {
    let mut clients = JoinSet::new();
    let tapes: Vec<Tape> = (0..connections).map(|_| Tape::default()).collect();
    for tape in &tapes {
        clients.spawn_local(client(target, workload, tape.clone()));
    }
    // Not cancelled but for an error, which ends the run.
    let counted = async {
        sleep(WARM_UP).await;
        let before = at_edge()?;
        tapes.iter().for_each(|tape| tape.borrow_mut().clear());
        let start = Instant::now();
        sleep(duration).await;
        let after = at_edge()?;
        let latencies: Vec<Vec<u32>> = tapes.iter().map(|tape| tape.take()).collect();
        let stuck = latencies.iter().filter(|latencies| latencies.is_empty()).count();
        ensure!(stuck == 0, "{stuck} of {connections} connections to {target} made no progress in {duration:?}");
        let mut latencies = latencies.concat();
        latencies.sort_unstable();
        Ok((Sample { latencies, elapsed: start.elapsed() }, [before, after]))
    };
    tokio::select! {
        result = counted => result,
        Some(ended) = clients.join_next() => match ended? {
            Err(error) => Err(error.context(format!("under the {} load on {target}", workload.name()))),
        },
    }
}

/// One client's latencies, in nanoseconds.
type Tape = Rc<RefCell<Vec<u32>>>;

async fn client(target: SocketAddr, workload: Workload, tape: Tape) -> Result<Infallible> {
    let mut stream = log_in(target).await?;
    let command = match workload {
        Workload::Text => query(&format!("{POINT_READ}4711")),
        Workload::Prepared => execute(prepare(&mut stream, &format!("{POINT_READ}?")).await?),
        Workload::Big => query(BIG_READ),
    };
    let mut reply = ReplyScan::default();
    loop {
        let start = Instant::now();
        stream.write_all(&command).await?;
        let rows = reply.read(&mut stream).await?;
        tape.borrow_mut().push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
        ensure!(rows == workload.rows(), "a reply has {rows} rows, expected {}", workload.rows());
    }
}

/// Sends the point read once: whether the target serves at all.
pub(crate) async fn try_once(target: SocketAddr) -> Result<()> {
    let mut stream = log_in(target).await?;
    stream.write_all(&query(&format!("{POINT_READ}1"))).await?;
    ReplyScan::default().read(&mut stream).await?;
    Ok(())
}

/// Logs in as drivers do: with the plugin that the greeting names, or the one it is asked to switch to.
async fn log_in(target: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (mut sequence, greeting) = read_packet(&mut stream).await.context("waiting for the greeting")?;
    let greeting: HandshakePacket<'_> = ParseBuf(&greeting).parse(()).context("reading the greeting")?;
    let wanted = wanted();
    ensure!(greeting.capabilities().contains(wanted), "lacks {:?}", wanted - greeting.capabilities());
    let plugin = greeting.auth_plugin().unwrap_or(AuthPlugin::MysqlNativePassword);
    let first_proof = proof(&plugin, &greeting.nonce())?;
    let response = HandshakeResponse::new(
        Some(first_proof),
        (8, 4, 0),
        Some(USER.as_bytes()),
        Some(&b"bench"[..]),
        Some(plugin),
        wanted,
        None,
        16 << 20,
    );
    let mut answer = Vec::new();
    sequence += 1;
    put_packet(&mut answer, &mut sequence, |out| response.serialize(out));
    loop {
        stream.write_all(&answer).await?;
        answer.clear();
        let (sequence, reply) = read_packet(&mut stream).await.context("waiting for the end of the login")?;
        match reply.first() {
            Some(0x00) => return Ok(stream),
            // More data: the "fast path succeeded" of caching_sha2_password; the OK follows.
            Some(0x01) if reply == [1, 3] => {}
            Some(0xfe) => {
                let switch: AuthSwitchRequest<'_> = ParseBuf(&reply).parse(()).context("reading an auth switch")?;
                let proof = proof(&switch.auth_plugin(), switch.plugin_data())?;
                put_packet(&mut answer, &mut (sequence + 1), |out| out.extend(proof));
            }
            _ => bail!("login refused: {}", String::from_utf8_lossy(&reply)),
        }
    }
}

fn proof(plugin: &AuthPlugin<'_>, nonce: &[u8]) -> Result<Vec<u8>> {
    let nonce: &[u8; 20] = nonce.first_chunk().context("a nonce has 20 bytes")?;
    let proof = match plugin {
        AuthPlugin::MysqlNativePassword => scramble_native(nonce, PASSWORD.as_bytes()).map(Vec::from),
        AuthPlugin::CachingSha2Password => scramble_sha256(nonce, PASSWORD.as_bytes()).map(Vec::from),
        other => bail!("asked for {}", String::from_utf8_lossy(other.as_bytes())),
    };
    proof.context("an empty password has no proof")
}

fn wanted() -> CapabilityFlags {
    CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_DEPRECATE_EOF
}

fn query(sql: &str) -> Vec<u8> {
    packet(&[&[Command::COM_QUERY as u8], sql.as_bytes()].concat())
}

/// The id of a new prepared statement with one parameter and one column.
async fn prepare(stream: &mut TcpStream, sql: &str) -> Result<u32> {
    stream.write_all(&packet(&[&[Command::COM_STMT_PREPARE as u8], sql.as_bytes()].concat())).await?;
    let (_, reply) = read_packet(stream).await?;
    let [0, a, b, c, d, 1, 0, 1, 0, ..] = reply[..] else {
        bail!("prepare was answered with {}", String::from_utf8_lossy(&reply))
    };
    for _definition in ["parameter", "column"] {
        read_packet(stream).await?;
    }
    Ok(u32::from_le_bytes([a, b, c, d]))
}

/// Executes with the one parameter 4711.
fn execute(statement: u32) -> Vec<u8> {
    let mut command = vec![Command::COM_STMT_EXECUTE as u8];
    command.extend(statement.to_le_bytes());
    command.push(0); // no cursor
    command.extend(1_u32.to_le_bytes()); // iterations
    command.extend([0, 1]); // no nulls, types follow
    command.extend([8, 0]); // BIGINT, signed
    command.extend(4711_u64.to_le_bytes());
    packet(&command)
}
