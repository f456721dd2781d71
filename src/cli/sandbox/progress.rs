//! Shows that something happens: one line that is written over on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval_at};

use super::report::grouped;
use crate::telemetry::Metrics;

/// Between two looks on a terminal, and elsewhere.
const TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(3);
/// Characters of the bar.
const BAR: usize = 24;

/// Runs `work`, which takes `length`, and shows meanwhile how many statements went through.
pub async fn shown<T>(
    metrics: &Metrics,
    length: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let on_terminal = io::stdout().is_terminal();
    let begun = Instant::now();
    let period = if on_terminal { TERMINAL } else { ELSEWHERE };
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(work);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            _ = ticks.tick() => draw(metrics, begun.elapsed(), length, on_terminal)?,
        }
    };
    if on_terminal {
        write!(io::stdout(), "\r\x1b[K")?;
    }
    outcome
}

fn draw(metrics: &Metrics, elapsed: Duration, length: Duration, on_terminal: bool) -> io::Result<()> {
    let line = line(metrics.statements(), metrics.clients(), elapsed, length);
    let mut out = io::stdout();
    if on_terminal {
        write!(out, "\r\x1b[K  {line}")?
    } else {
        writeln!(out, "  {line}")?
    }
    out.flush()
}

fn line(statements: u64, clients: u64, elapsed: Duration, length: Duration) -> String {
    let done = (elapsed.as_secs_f64() / length.as_secs_f64()).min(1.0);
    // In range: `done` is between 0 and 1.
    let filled = (done * BAR as f64) as usize;
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
    format!("{bar} {:>3}s  {clients} clients, {} statements", elapsed.as_secs(), grouped(statements))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_does_not_overflow() {
        let second = Duration::from_secs(1);
        for (elapsed, filled) in [(0, 0), (1, 6), (2, 12), (4, 24), (9, 24)] {
            let line = line(1234, 5, second * elapsed, second * 4);
            assert_eq!(line.matches('█').count(), filled, "{line}");
            assert_eq!(line.matches('░').count(), BAR - filled, "{line}");
            assert!(line.ends_with(&format!("{elapsed}s  5 clients, 1,234 statements")), "{line}");
        }
    }
}
