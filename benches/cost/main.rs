//! `cargo bench --bench cost [-- text prepared big]`: what a query costs in the proxy. Servers without a database, and the
//! load on them, share core 0; the proxy has core 1 for itself. HAProxy in TCP mode, which understands nothing of what it
//! forwards, is the yardstick: both proxies run all the time and are loaded in turns, so that what else the machine does
//! hits both.
//!
//! Environment: `WEIR_BENCH_SECONDS` (of one turn, 2), `WEIR_BENCH_ROUNDS` (turns of each proxy, 5),
//! `WEIR_BENCH_CONNECTIONS` (32), `WEIR_BENCH_SPIN` (Weir's `runtime.spin`, 0s), `WEIR_BENCH_PROXIES` (`haproxy,weir`: the
//! yardstick and the other), `WEIR_BENCH_PROGRAM` (the Weir to measure: the one that cargo built).
#![allow(clippy::print_stdout, reason = "a table on stdout is what a bench is for")]

mod answers;
mod fake_server;
mod load;
mod proxies;
mod replies;
mod reply_scan;
mod wire;

use std::{env, fs, str::FromStr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fake_server::FakeServer;
use load::Workload;
use proxies::{Folder, Kind, Proxy};
use tokio::{runtime, select, signal::unix, task::LocalSet};

const LOAD_CORE: &str = "0";
const PROXY_CORE: &str = "1";

fn main() -> Result<()> {
    // `cargo test --all-targets` starts benches too, without this argument.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let plan = Plan::from_environment()?;
    ensure!(thread::available_parallelism()?.get() >= 2, "one core is for the proxy, one for the load: two are needed");
    print_machine()?;
    proxies::pin_self(LOAD_CORE)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut terminate = unix::signal(unix::SignalKind::terminate())?;
        // Whatever ends first: dropping the other branch ends the proxies and removes their files.
        select! {
            result = measure(&plan) => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

struct Plan {
    workloads: Vec<Workload>,
    turn: Duration,
    rounds: usize,
    connections: usize,
    /// The yardstick and the other.
    proxies: [Kind; 2],
}

impl Plan {
    fn from_environment() -> Result<Self> {
        let names: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
        let chosen = |workload: &Workload| names.is_empty() || names.iter().any(|name| name == workload.name());
        let proxies: String = setting("WEIR_BENCH_PROXIES", "haproxy,weir".to_owned())?;
        let (yardstick, other) = proxies.split_once(',').context("WEIR_BENCH_PROXIES names two proxies")?;
        let plan = Self {
            workloads: Workload::ALL.into_iter().filter(chosen).collect(),
            turn: Duration::try_from_secs_f64(setting("WEIR_BENCH_SECONDS", 2.0)?)?,
            rounds: setting("WEIR_BENCH_ROUNDS", 5)?,
            connections: setting("WEIR_BENCH_CONNECTIONS", 32)?,
            proxies: [Kind::parse(yardstick)?, Kind::parse(other)?],
        };
        ensure!(!plan.workloads.is_empty(), "no such workload: text, prepared or big");
        ensure!(plan.rounds > 0 && plan.connections > 0, "rounds and connections start at 1");
        Ok(plan)
    }
}

fn setting<T: FromStr>(name: &str, default: T) -> Result<T> {
    match env::var(name) {
        Ok(text) => text.parse().ok().with_context(|| format!("{name}={text} is not usable")),
        Err(_) => Ok(default),
    }
}

fn print_machine() -> Result<()> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let model = model.trim_start_matches(|c: char| c == ':' || c.is_whitespace());
    let cores = thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
    println!("{cores} cores, {model}, Linux {}, congestion control {}", kernel.trim(), congestion.trim());
    Ok(())
}

/// One turn of one proxy, or of none.
#[derive(Clone, Copy)]
struct Cost {
    /// Microseconds of the proxy's CPU time for each query.
    cpu: f64,
    p50: f64,
    p99: f64,
    queries_per_second: f64,
    /// The replicas' share of the queries.
    at_replicas: f64,
}

async fn measure(plan: &Plan) -> Result<()> {
    let servers = fake_server::start::<3>()?;
    let folder = Folder::create().context("creating a temporary folder")?;
    let [yardstick, other] = plan.proxies;
    let proxies = [
        Proxy::start(yardstick, &servers, PROXY_CORE, &folder.0).await?,
        Proxy::start(other, &servers, PROXY_CORE, &folder.0).await?,
    ];
    println!("{} connections, median of {} turns of {:?}; latencies in µs", plan.connections, plan.rounds, plan.turn);
    for &workload in &plan.workloads {
        println!(
            "\n{:<32}{:>12}{:>9}{:>9}{:>12}{:>13}",
            workload.title(),
            "CPU µs/query",
            "p50",
            "p99",
            "queries/s",
            "at replicas"
        );
        print_row("no proxy", &[turn(plan, workload, None, &servers).await?]);
        let mut costs = [Vec::new(), Vec::new()];
        for _round in 0..plan.rounds {
            for (proxy, costs) in proxies.iter().zip(&mut costs) {
                costs.push(turn(plan, workload, Some(proxy), &servers).await?);
            }
        }
        for (proxy, costs) in proxies.iter().zip(&costs) {
            print_row(proxy.kind.name(), costs);
        }
        print_ratio(&format!("{} / {}", other.name(), yardstick.name()), &costs);
    }
    for proxy in proxies {
        proxy.end().await?;
    }
    Ok(())
}

async fn turn(plan: &Plan, workload: Workload, proxy: Option<&Proxy>, servers: &[FakeServer; 3]) -> Result<Cost> {
    let target = proxy.map_or(servers[0].address, |proxy| proxy.address);
    let at_edge = || {
        let cpu = proxy.map(Proxy::cpu_time).transpose()?;
        Ok((cpu, servers.each_ref().map(FakeServer::served)))
    };
    let (sample, [before, after]) = load::run(target, workload, plan.connections, plan.turn, at_edge).await?;
    let cpu = match (before.0, after.0) {
        (Some(before), Some(after)) => (after - before).as_secs_f64() * 1e6 / sample.queries(),
        _ => f64::NAN,
    };
    let served = [0, 1, 2].map(|server| (after.1[server] - before.1[server]) as f64);
    Ok(Cost {
        cpu,
        p50: sample.percentile(0.5),
        p99: sample.percentile(0.99),
        queries_per_second: sample.queries_per_second(),
        at_replicas: (served[1] + served[2]) / served.iter().sum::<f64>(),
    })
}

fn print_row(name: &str, costs: &[Cost]) {
    let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part));
    let cpu = of(|cost| cost.cpu);
    let cpu = if cpu.is_nan() { "-".to_owned() } else { format!("{cpu:.2}") };
    println!(
        "  {name:<30}{cpu:>12}{:>9.0}{:>9.0}{:>12.0}{:>12.0}%",
        of(|cost| cost.p50),
        of(|cost| cost.p99),
        of(|cost| cost.queries_per_second),
        of(|cost| cost.at_replicas) * 100.0
    );
}

/// The other proxy in units of the yardstick: the median over the rounds, in which they ran one after the other, and how
/// far the rounds' CPU ratios lie apart.
fn print_ratio(name: &str, [yardstick, other]: &[Vec<Cost>; 2]) {
    let ratios = |part: fn(&Cost) -> f64| yardstick.iter().zip(other).map(move |(a, b)| part(b) / part(a));
    let cpu = || ratios(|cost| cost.cpu);
    println!(
        "  {name:<30}{:>12.2}{:>9.2}{:>9.2}{:>12.2}   CPU {:.2} to {:.2}",
        median(cpu()),
        median(ratios(|cost| cost.p50)),
        median(ratios(|cost| cost.p99)),
        median(ratios(|cost| cost.queries_per_second)),
        cpu().fold(f64::INFINITY, f64::min),
        cpu().fold(0.0, f64::max)
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
