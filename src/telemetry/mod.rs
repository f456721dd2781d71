//! Reasons, counters and the logging setup. Knows nothing of the layers above.

pub mod exposition;
pub mod logging;
mod metrics;
mod reason;

pub use metrics::{Counter, Histogram, Latency, Metrics, ServerMetrics, ServerShard, Shard, Tally};
pub use reason::{Pin, Reason};
