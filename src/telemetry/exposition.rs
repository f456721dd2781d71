//! Metrics in Prometheus' text format, version 0.0.4.
//!
//! Decides names, help texts and labels. Values come from [`Metrics`]; what only the application knows (health, lag,
//! connections in use) is appended by the door that can ask it, with the same [`Exposition`].

use std::fmt::{Display, Write as _};

use super::{Counter, Metrics, Pin, Reason, ServerMetrics, ServerShard, Shard, Tally};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that is built family by family.
#[derive(Debug, Default)]
pub struct Exposition(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
    Histogram,
}

impl Exposition {
    /// Begins a family: `name` without the prefix `weir_`.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Type, help: &str) -> Family<'a> {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        self.line(format_args!("# HELP weir_{name} {help}"));
        self.line(format_args!("# TYPE weir_{name} {kind}"));
        Family { text: self, name }
    }

    pub fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("writing to a String cannot fail");
    }
}

/// The samples of one family.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut Exposition,
    name: &'a str,
}

impl Family<'_> {
    /// One sample. Label values are escaped here; label names are ours.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.suffixed("", labels, value)
    }

    fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let name = self.name;
        if labels.is_empty() {
            self.text.line(format_args!("weir_{name}{suffix} {value}"));
        } else {
            self.text.line(format_args!("weir_{name}{suffix}{{{}}} {value}", labels.join(",")));
        }
        self
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Metrics {
    /// Every counter.
    pub fn exposition(&self) -> Exposition {
        let mut text = Exposition::default();
        let by_reason = text.family("statements_total", Type::Counter, "Statements by why they went where they went.");
        each(by_reason, "reason", Reason::ALL.iter().map(|reason| (reason.label(), self.reason(*reason))));
        let by_pin = text.family("pins_total", Type::Counter, "Times a session had to keep its server connection.");
        each(by_pin, "pin", Pin::ALL.iter().map(|pin| (pin.label(), self.pin(*pin))));
        text.family("clients", Type::Gauge, "Sessions that are open.").sample(&[], self.clients());
        text.family("clients_refused_total", Type::Counter, "Clients turned away at the limit.")
            .sample(&[], self.clients_refused.value());
        for (name, help, counter) in TOTALS {
            text.family(name, Type::Counter, help).sample(&[], self.total(counter));
        }
        text.family("reloads_total", Type::Counter, "Configuration reloads by how they ended.")
            .sample(&[("result", "ok")], self.reloads_ok.value())
            .sample(&[("result", "failed")], self.reloads_failed.value());
        self.expose_servers(&mut text);
        text
    }

    fn expose_servers(&self, text: &mut Exposition) {
        let servers = self.servers();
        for (name, help, counter) in SERVER_TOTALS {
            let family = text.family(name, Type::Counter, help);
            each(family, "server", servers.iter().map(|(server, metrics)| (server.as_str(), metrics.total(counter))));
        }
        for (name, help, counter) in SERVER_COUNTERS {
            let family = text.family(name, Type::Counter, help);
            each(family, "server", servers.iter().map(|(server, metrics)| (server.as_str(), counter(metrics).value())));
        }
        let help = "From a statement's first byte out to its reply's last byte to the client.";
        let mut family = text.family("server_latency_seconds", Type::Histogram, help);
        for (server, metrics) in &servers {
            let latency = metrics.latency();
            for (bound, seen) in latency.cumulative() {
                let bound = bound.map_or("+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
                family.suffixed("_bucket", &[("server", server), ("le", &bound)], seen);
            }
            family.suffixed("_sum", &[("server", server)], latency.sum().as_secs_f64());
            family.suffixed("_count", &[("server", server)], latency.count());
        }
    }
}

fn each<'a>(mut family: Family<'_>, label: &str, samples: impl Iterator<Item = (&'a str, u64)>) {
    for (value, count) in samples {
        family.sample(&[(label, value)], count);
    }
}

/// Name, help, counter of a worker.
type Total = (&'static str, &'static str, fn(&Shard) -> &Tally);

const TOTALS: &[Total] = &[
    ("clients_total", "Clients accepted.", |shard| &shard.clients_accepted),
    ("login_failures_total", "Logins that were refused.", |shard| &shard.login_failures),
    ("client_received_bytes_total", "Bytes from clients.", |shard| &shard.bytes_in),
    ("client_sent_bytes_total", "Bytes to clients.", |shard| &shard.bytes_out),
    ("retries_total", "Statements sent again, provably without effect before.", |shard| &shard.retries),
    ("freshness_waits_total", "Reads that waited on a replica for the session's own writes.", |shard| {
        &shard.freshness_waits
    }),
    ("freshness_timeouts_total", "Reads that gave up waiting on a replica.", |shard| &shard.freshness_timeouts),
    ("lease_waits_total", "Times no server connection was free at once.", |shard| &shard.lease_waits),
    ("lease_timeouts_total", "Times no server connection became free in time.", |shard| &shard.lease_timeouts),
];

/// Name, help, counter of a worker about a server.
type ServerTotal = (&'static str, &'static str, fn(&ServerShard) -> &Tally);

const SERVER_TOTALS: &[ServerTotal] = &[
    ("server_reads_total", "Statements that only read.", |shard| &shard.reads),
    ("server_writes_total", "Every other statement but what begins and ends transactions.", |shard| &shard.writes),
    ("server_transactions_total", "Transactions begun.", |shard| &shard.transactions),
    ("server_errors_total", "Statements answered with an error, and connections lost.", |shard| &shard.errors),
];

/// Name, help, counter of a server.
type ServerCounter = (&'static str, &'static str, fn(&ServerMetrics) -> &Counter);

const SERVER_COUNTERS: &[ServerCounter] = &[
    ("server_connects_total", "Connections opened.", |metrics| &metrics.connects),
    ("server_connect_failures_total", "Connections that could not be opened.", |metrics| &metrics.connect_failures),
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut text = Exposition::default();
        text.family("x", Type::Gauge, "X.").sample(&[("server", "a\"b\\c\nd"), ("role", "writer")], 1.5);
        let wanted = "# HELP weir_x X.\n# TYPE weir_x gauge\nweir_x{server=\"a\\\"b\\\\c\\nd\",role=\"writer\"} 1.5\n";
        assert_eq!(text.into_text(), wanted);
    }

    #[test]
    fn every_counter_is_exposed() {
        let metrics = Metrics::new(2);
        metrics.shard(0).reason(Reason::LockingRead).add(3);
        metrics.shard(1).pin(Pin::TableLock).add(4);
        metrics.shard(1).clients_accepted.add(5);
        metrics.shard(0).clients_ended.add(2);
        metrics.shard(0).bytes_out.add(1 << 40);
        metrics.clients_refused.add(6);
        metrics.reloads_failed.add(7);
        let server = metrics.server("db 1");
        server.connect_failures.add(8);
        server.shard(1).writes.add(9);
        server.shard(0).latency.observe(Duration::from_micros(20));
        server.shard(1).latency.observe(Duration::from_secs(60));
        let text = metrics.exposition().into_text();
        for line in [
            "weir_statements_total{reason=\"locking-read\"} 3",
            "weir_statements_total{reason=\"read\"} 0",
            "weir_pins_total{pin=\"table-lock\"} 4",
            "weir_clients_total 5",
            "weir_clients 3",
            "weir_client_sent_bytes_total 1099511627776",
            "weir_clients_refused_total 6",
            "weir_reloads_total{result=\"failed\"} 7",
            "weir_server_connect_failures_total{server=\"db 1\"} 8",
            "weir_server_writes_total{server=\"db 1\"} 9",
            "weir_server_latency_seconds_bucket{server=\"db 1\",le=\"0.000016\"} 0",
            "weir_server_latency_seconds_bucket{server=\"db 1\",le=\"0.000032\"} 1",
            "weir_server_latency_seconds_bucket{server=\"db 1\",le=\"+Inf\"} 2",
            "weir_server_latency_seconds_sum{server=\"db 1\"} 60.00002",
            "weir_server_latency_seconds_count{server=\"db 1\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_sample_belongs_to_the_family_above_it_and_no_family_comes_twice() {
        let metrics = Metrics::new(1);
        metrics.server("a");
        metrics.server("b");
        let text = metrics.exposition().into_text();
        let mut family = "";
        let mut families = BTreeSet::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
                Some(name) => {
                    assert!(families.insert(name), "{name} comes twice");
                    family = name;
                }
                None if line.starts_with('#') => {}
                None => assert!(line.starts_with(family), "{line} is not of {family}"),
            }
        }
    }
}
