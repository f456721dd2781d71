//! The proxies under test as child processes: their configuration, their start on a core of their own, the CPU time they
//! have used. They end with the value that holds them.

use std::{
    env, fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{
    fake_server::FakeServer,
    load::{self, PASSWORD, USER},
};

/// How long a proxy may take until it serves a query.
const START: Duration = Duration::from_secs(15);
/// How long a proxy without clients may take until it has ended.
const END: Duration = Duration::from_secs(15);

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// TCP mode: forwards bytes to the writer and understands none of them. The yardstick.
    HaProxy,
    /// With splitting and pooling, as it comes.
    Weir,
}

impl Kind {
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match name {
            "haproxy" => Ok(Self::HaProxy),
            "weir" => Ok(Self::Weir),
            _ => bail!("{name:?} is not a proxy: haproxy or weir"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HaProxy => "haproxy",
            Self::Weir => "weir",
        }
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pid: u32,
    /// Killed when dropped.
    child: Child,
}

impl Proxy {
    /// Starts a proxy on `core` and waits until a query gets through it.
    ///
    /// # Errors
    /// When it cannot be started, ends early, or serves no query in time.
    pub(crate) async fn start(kind: Kind, servers: &[FakeServer], core: &str, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let file = folder.join(format!("{}-{}.conf", kind.name(), address.port()));
        let weir = env::var("WEIR_BENCH_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_weir").to_owned());
        let (text, program, arguments) = match kind {
            Kind::HaProxy => (haproxy_config(address, servers), "haproxy", ["-db", "-f"].as_slice()),
            Kind::Weir => (weir_config(address, servers), weir.as_str(), ["run", "--config"].as_slice()),
        };
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let mut child = Command::new("taskset")
            .args(["--cpu-list", core, program])
            .args(arguments)
            .arg(&file)
            .kill_on_drop(true)
            .spawn()
            .context("starting taskset (util-linux)")?;
        let deadline = Instant::now() + START;
        while let Err(error) = load::try_once(address).await {
            if let Some(status) = child.try_wait()? {
                bail!("{program} ended before it served a query ({status}); is it installed?");
            }
            if Instant::now() > deadline {
                return Err(error.context(format!("{program} served no query within {START:?}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        let pid = child.id().context("a running child has an id")?;
        Ok(Self { kind, address, pid, child })
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(crate) async fn end(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.pid as i32).context("a child's id is positive")?;
        kill_process(pid, Signal::TERM).context("ending a proxy")?;
        timeout(END, self.child.wait()).await.with_context(|| format!("{} did not end", self.kind.name()))??;
        Ok(())
    }

    /// CPU time of all its threads so far, user and system.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .with_context(|| format!("reading the CPU time of {}", self.kind.name()))?;
        // proc_pid_stat(5): fields 14 and 15, counted behind the name, which may hold anything but ends at the last ')'.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        // The kernel's unit towards user space (USER_HZ) is 10 ms on every architecture that Weir runs on.
        Ok(Duration::from_millis(ticks * 10))
    }
}

/// An address that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Over the servers that Weir sends the reads to, so that both proxies have the same number of peers.
fn haproxy_config(address: SocketAddr, servers: &[FakeServer]) -> String {
    let mut text = format!(
        "global\n    nbthread 1\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1m\n    timeout server 1m\n\
         listen mysql\n    bind {address}\n"
    );
    for (number, server) in servers.iter().enumerate().skip(1) {
        text.push_str(&format!("    server db{number} {}\n", server.address));
    }
    text
}

fn weir_config(address: SocketAddr, servers: &[FakeServer]) -> String {
    let spin = env::var("WEIR_BENCH_SPIN").unwrap_or_else(|_| "0s".to_owned());
    let mut text = format!(
        "[[listeners]]\naddress = \"{address}\"\nroute = \"split\"\n\
         [[users]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\n\
         [tls.client]\nmode = \"disabled\"\n\
         [tls.server]\nmode = \"disabled\"\n\
         [runtime]\nworkers = 1\nspin = \"{spin}\"\n\
         [admin]\nconsole = \"\"\nhttp = \"\"\n\
         [log]\nlevel = \"warn\"\n"
    );
    for (number, server) in servers.iter().enumerate() {
        let role = if number == 0 { "writer" } else { "replica" };
        let address = server.address;
        text.push_str(&format!("[[servers]]\nname = \"db{number}\"\naddress = \"{address}\"\nrole = \"{role}\"\n"));
    }
    text
}

/// A folder that is removed when dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("weir-bench-{}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind in the temporary folder is all that can go wrong.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Keeps this process, and every thread it starts from now on, on one core.
///
/// # Errors
/// When the core does not exist.
pub(crate) fn pin_self(core: &str) -> Result<()> {
    let pid = process::id().to_string();
    let output = process::Command::new("taskset").args(["--pid", "--cpu-list", core, &pid]).output();
    let output = output.context("starting taskset (util-linux)")?;
    ensure!(output.status.success(), "pinning to core {core}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
