//! SQL text to facts, in one pass over the bytes, without allocating, and without ever failing.
//!
//! The facts are a prediction that decides where a statement goes; what it did to the session is read from the
//! server's reply. When unsure, the answer is the one that sends the statement to the writer.
//!
//! `lexer` cuts bytes into tokens, with `comment` deciding which comments are code; `reading` and `verb` turn tokens
//! into facts, with `keywords`, `functions` and `names` saying which words matter; [`classify`](fn@classify) joins the
//! readings. [`victim`] reads a `KILL`, [`releases`] a `COMMIT`, [`asks_for_file`] a `LOAD DATA LOCAL`,
//! [`asks_connection_id`] a `SELECT CONNECTION_ID()`, [`made_insert_id`] an insert, [`assigned_literals`],
//! [`sets_only_tracking`] and [`may_number_charset`] a `SET`, [`belonging`] what makes or ends what a connection has.
//! [`StoredCode`] knows which names lead to code that leaves something behind. [`tables`](fn@tables) and [`digest`](fn@digest)
//! serve rules, and are read when a rule asks.

mod belongings;
mod charsets;
mod classify;
mod comment;
mod connection_id;
mod digest;
mod facts;
mod functions;
mod inserted;
mod keywords;
mod kill;
mod lexer;
mod literal;
mod local_file;
mod locks;
mod names;
mod reading;
mod release;
mod routines;
mod stored;
mod tables;
mod token;
mod tracking;
mod variables;
mod verb;
mod words;

pub use belongings::{Belonging, GlobalLock, belonging};
pub use charsets::may_number_charset;
pub use classify::classify;
pub use connection_id::asks_connection_id;
pub use digest::{Digest, NotADigest, digest, normalised};
pub use facts::{Access, Dialect, Effects, Hint, Kind, Mode, Statement};
pub use inserted::{gives_insert_id, made_insert_id};
pub use kill::{Victim, victim};
pub use local_file::asks_for_file;
pub use locks::{AdvisoryLocks, advisory_locks};
pub use release::{may_release, releases};
pub use routines::{Called, called, changes_stored_code, is_reported};
pub use stored::{Stored, StoredCode, StoredKind};
pub use tables::{Name, TableName, queried_tables, tables};
pub use tracking::sets_only_tracking;
pub use variables::{Literal, assigned_literals, unscoped_variables, user_variables};
