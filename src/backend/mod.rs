//! The servers behind us: connecting, pooling, aligning, probing, and the snapshot of who is who.

pub mod accounts;
mod align;
mod cluster;
mod connection;
mod dial;
pub mod driver;
pub mod grants;
pub mod health;
mod identity;
mod insert_id;
pub mod observation;
mod pool;
pub mod probe;
mod reply;
pub mod resolve;
mod shelf;
pub mod srv;
mod statements;
pub mod stored_code;
mod texts;
mod threads;

pub use align::Alignment;
pub use cluster::{Cluster, Executed, Member, Report, Server, UNKNOWN_COLLATION, UNKNOWN_VERSION};
pub use connection::{Reports, ServerConnection};
pub use dial::{ConnectError, Links, Place};
pub use identity::Identity;
pub use pool::{Lease, LeaseError, Pool, Wish};
pub use reply::Reply;
pub use shelf::Ages;
pub use statements::{Form, FormTypes, PreparedText, Statements};
pub use texts::Texts;
