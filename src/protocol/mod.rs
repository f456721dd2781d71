//! MySQL bytes to values and back: framing, commands, replies, logins. Pure: no sockets, no clock, no randomness but
//! what a cryptographic primitive draws inside itself (OAEP padding, key generation).

pub mod auth;
pub mod capabilities;
mod command;
pub mod errors;
pub mod greeting;
pub mod gtid;
mod heads;
pub mod login;
mod ok;
mod packet;
mod parameter_types;
pub mod proxy_header;
pub mod query_attributes;
mod response;
mod spelling;
pub mod version;
pub mod wire;

pub use capabilities::Capabilities;
pub use command::{BulkExecute, Command, Execute, code};
pub use errors::ServerError;
pub use greeting::Greeting;
pub use heads::{Prepared, ResultHead};
pub use ok::{Change, OkPacket, Status, changes};
pub use packet::{HEADER, Header, MAX_PAYLOAD, put_framed, put_packets};
pub use parameter_types::{ParameterTypes, TypeStep};
pub use proxy_header::ProxyHeader;
pub use response::{Control, ControlKind, MAX_CONTROL, Progress, ResponseTracker, Shape};
pub use version::ServerVersion;
pub use wire::Malformed;
