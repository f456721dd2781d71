//! Reasons, counters and the logging setup. Knows nothing of the layers above.

mod reason;

pub use reason::{Pin, Reason};
