//! Weir: a read/write-splitting proxy that speaks the MySQL wire protocol.
//!
//! # Layout
//! Layers point strictly downward; `tests/layering.rs` holds the `use` lines to it.
//!
//! | layer | module | decides |
//! |---|---|---|
//! | L5 | [`cli`] | arguments and output of `weir run`, `check`, `explain`, `sandbox` |
//! | L5 | [`app`] | builds everything from a config: workers, listeners, reload, shutdown |
//! | L4 | [`admin`] | the operator's doors: SQL console, HTTP metrics and health |
//! | L4 | [`proxy`] | one client's life: login, session loop, dispatch, relay, retry |
//! | L4 | [`sandbox`] | a throw-away writer and replicas from a local `mysqld`/`mariadbd` |
//! | L3 | [`context`] | what every session and every door is handed: snapshots, registry, control channel |
//! | L3 | [`backend`] | the servers behind us: connect, pool, align, probe, cluster snapshot |
//! | L2 | [`net`] | packets over TCP, Unix sockets and TLS, compressed or not |
//! | L1 | [`routing`] | where a statement goes, and why. Pure |
//! | L1 | [`session`] | what is known about one client's session. Pure |
//! | L0 | [`protocol`] | MySQL bytes to values and back. Pure |
//! | L0 | [`sql`] | SQL text to facts. Pure, never fails |
//! | L0 | [`config`] | TOML text to a valid `Config`, and the difference of two |
//! | L0 | [`telemetry`] | reasons, counters, logging setup |
//!
//! # Life of a statement
//! A listener accepts and hands the socket to the least busy worker, which owns the session from then on
//! (`app::workers`). After the login (`proxy::login`, `proxy::admission`) the session loop (`proxy::session`) reads
//! one command, parses it ([`protocol::Command`]), asks what the text means ([`sql::classify`]) and where it goes
//! ([`routing::route`]), takes a server connection ([`backend::Lease`]) unless it holds one, writes the alignment
//! and the command in one go, and pumps the reply through [`protocol::ResponseTracker`] without decoding rows
//! (`proxy::relay`). What the server reported is applied to the session ([`session::SessionState::observe`]), and
//! the lease goes back to the pool unless a pin keeps it.

pub mod admin;
pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod context;
pub mod net;
pub mod protocol;
pub mod proxy;
pub mod routing;
pub mod sandbox;
pub mod session;
pub mod sql;
pub mod telemetry;
