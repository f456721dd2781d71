//! `weir sandbox`: a throw-away writer and replicas with Weir in front, until Ctrl-C; with `--demo` also a workload,
//! checked while it runs, and a table of where it went.

mod progress;
mod report;
mod workload;

use std::{
    fmt::Display,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Args, value_parser};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failed, bad_config, exit, runtime};
use crate::{
    app::{self, Running, Source},
    config::{self, ProcessSecrets},
    sandbox::{APP, Cluster, Flavor, Installation, PROBE},
    telemetry::logging::{self, Format},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Run a mixed workload and show where it went
    #[arg(long)]
    demo: bool,
    /// Exit after the table of the demo
    #[arg(long, requires = "demo")]
    once: bool,
    /// How long the demo's workload runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// mariadb or mysql9; without it, whichever this machine has
    #[arg(long)]
    flavor: Option<Flavor>,
    /// How many replicas
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u8).range(1..=8))]
    replicas: u8,
    /// Where Weir listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6033")]
    listen: String,
    /// Where its SQL console listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6032")]
    console: String,
    /// Where metrics, health and dashboard are
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6080")]
    http: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    logging::init("warn", Format::Text)?;
    arguments.check_addresses()?;
    runtime()?
        .block_on(async {
            let mut signals = Signals::new()?;
            let Some(started) = signals.interrupt(start(arguments)).await else { bail!("interrupted") };
            let sandbox = started?;
            let shown = signals.interrupt(sandbox.show(arguments)).await;
            if matches!(shown, Some(Ok(()))) && !arguments.once {
                sandbox.invite()?;
                signals.any().await;
            }
            sandbox.end(&mut signals).await;
            if !arguments.once {
                say("\nEverything is removed.")?;
            }
            shown.context("interrupted")?.map(|()| ExitCode::SUCCESS)
        })
        .map_err(|error| Failed { code: exit::FAILURE, error })
}

impl Arguments {
    /// Says which addresses are taken before anything is started.
    fn check_addresses(&self) -> Result<(), Failed> {
        let addresses = [("--listen", &self.listen), ("--console", &self.console), ("--http", &self.http)];
        let taken: Vec<String> = addresses
            .into_iter()
            .filter_map(|(flag, address)| {
                let error = TcpListener::bind(address).err()?;
                let why =
                    if error.kind() == io::ErrorKind::AddrInUse { "is taken".to_owned() } else { error.to_string() };
                Some(format!("{address}: {why}; choose another with {flag} 127.0.0.1:PORT"))
            })
            .collect();
        if taken.is_empty() {
            Ok(())
        } else {
            Err(anyhow::anyhow!("cannot listen on\n  {}", taken.join("\n  ")).into())
        }
    }

    fn flavor(&self) -> anyhow::Result<Flavor> {
        let found = || Flavor::ALL.into_iter().find(|flavor| Installation::find(*flavor).is_some());
        let none = "no MariaDB and no MySQL 9 server is on this machine; `.ci/install mariadb` brings one";
        self.flavor.or_else(found).context(none)
    }
}

/// The servers and the Weir in front of them.
struct Sandbox {
    cluster: Cluster,
    weir: Running,
    config: PathBuf,
}

async fn start(arguments: &Arguments) -> anyhow::Result<Sandbox> {
    let flavor = arguments.flavor()?;
    let replicas = usize::from(arguments.replicas);
    let noun = if replicas == 1 { "replica" } else { "replicas" };
    say(format_args!("Starting a writer and {replicas} {noun} ({flavor}) …"))?;
    let cluster = Cluster::start(flavor, replicas).await?;
    let text = config_text(arguments, &cluster);
    // In a folder that goes with its server.
    let path = cluster.writer.folder().join("weir.toml");
    std::fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    let config = config::parse(&text, &ProcessSecrets).map_err(|problems| bad_config(&problems).error)?;
    let weir = app::start(config, Source::File(path.clone())).await?;
    Ok(Sandbox { cluster, weir, config: path })
}

fn config_text(arguments: &Arguments, cluster: &Cluster) -> String {
    let (app, probe) = (APP, PROBE);
    let mut text = format!(
        "# The sandbox's Weir. Edit and save: it is read again at once.\n\n\
         [[listeners]]\naddress = {:?}\n\n\
         [[users]]\nname = {:?}\npassword = {:?}\n\n\
         [probe]\nuser = {:?}\npassword = {:?}\n\n\
         [admin]\nconsole = {:?}\nhttp = {:?}\n\n\
         [timeouts]\ndrain = \"2s\"\n",
        arguments.listen, app.name, app.password, probe.name, probe.password, arguments.console, arguments.http,
    );
    for (number, server) in cluster.servers().enumerate() {
        let (name, role) = match number {
            0 => ("writer".to_owned(), "writer"),
            _ => (format!("replica{number}"), "replica"),
        };
        let address = server.address();
        text += &format!("\n[[servers]]\nname = {name:?}\naddress = \"{address}\"\nrole = {role:?}\n");
    }
    text
}

impl Sandbox {
    /// Runs the demo, if there is to be one.
    async fn show(&self, arguments: &Arguments) -> anyhow::Result<()> {
        if !arguments.demo {
            return Ok(());
        }
        let metrics = &self.weir.context.metrics;
        let address = self.listener().context("the demo needs a TCP listener")?;
        let length = Duration::from_secs(arguments.seconds);
        say(format_args!("Running a mixed workload through Weir for {} seconds …", arguments.seconds))?;
        workload::fill(address).await.context("filling the tables")?;
        // Each client sees its own writes; what another wrote, once it is there.
        self.cluster.wait_caught_up().await?;
        let seen = progress::shown(metrics, length, workload::run(address, length)).await?;
        say(format_args!("\n{}", report::Report { metrics, seen }))?;
        report::check(metrics)
    }

    fn listener(&self) -> Option<SocketAddr> {
        self.weir.addresses.listeners.first().copied().flatten()
    }

    /// Tells what can be tried.
    fn invite(&self) -> io::Result<()> {
        let client = client(self.cluster.flavor());
        let mut lines = String::from("\nWeir is up. Try it from another terminal:\n");
        let mut line = |what: &str, how: &dyn Display| lines += &format!("  {what:<10} {how}\n");
        if let Some(address) = self.listener().map(reachable) {
            let (user, password) = (APP.name, APP.password);
            let how = format!("{client} -h{} -P{} -u{user} -p{password} app", address.ip(), address.port());
            line("SQL", &how);
        }
        if let Some(address) = self.weir.addresses.console.map(reachable) {
            let how = format!("{client} -h{} -P{} -uadmin -e 'SHOW SERVERS'", address.ip(), address.port());
            line("console", &how);
        }
        if let Some(address) = self.weir.addresses.http.map(reachable) {
            line("dashboard", &format!("http://{address}/  (metrics: http://{address}/metrics)"));
        }
        line("config", &format!("{}  (edit and save: it is read again)", self.config.display()));
        lines += "Ctrl-C ends Weir and the servers, and removes everything.";
        say(lines)
    }

    /// Ends Weir, then the servers, and removes their folders. A second signal does not wait for Weir.
    async fn end(self, signals: &mut Signals) {
        let Self { cluster, weir, .. } = self;
        weir.shut_down();
        signals.interrupt(weir.ended()).await;
        drop(cluster);
    }
}

/// The client to call: `mysql` as everybody knows it, or the one that came with the server.
fn client(flavor: Flavor) -> String {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("mysql").is_file()));
    let beside = || {
        let folder = Installation::find(flavor)?.program().parent().map(Path::to_owned)?;
        ["mysql", "mariadb"].map(|name| folder.join(name)).into_iter().find(|path| path.is_file())
    };
    let found = if on_path { None } else { beside() };
    found.map_or_else(|| "mysql".to_owned(), |path| path.display().to_string())
}

/// An address that stands for all is reached on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// What ends the sandbox: Ctrl-C, `kill`, a terminal that is closed.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// The outcome of `work`; None if a signal came first, in which case the work is dropped.
    async fn interrupt<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            outcome = work => Some(outcome),
            () = self.any() => None,
        }
    }
}

fn say(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
