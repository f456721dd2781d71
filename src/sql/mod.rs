//! SQL text to facts, in one pass over the bytes, without allocating, and without ever failing.
//!
//! The facts are a prediction that decides where a statement goes; what it did to the session is read from the
//! server's reply. When unsure, the answer is the one that sends the statement to the writer.

mod facts;

pub use facts::{Access, Dialect, Effects, Hint, Kind, Mode, Statement};
