//! The operator's doors: a SQL console ([`console`]) and HTTP for metrics, health and a dashboard ([`http`]).
//!
//! Decides how questions are put and how answers look. What is true, and what happens on a request, the application
//! decides: every door asks it through [`Doors`] and never waits for longer than a deadline.

pub mod console;
mod doors;
pub mod http;

pub use doors::{AskError, Doors, Readiness};
