//! MySQL bytes to values and back: framing, commands, replies, logins. Pure: no sockets, clock or randomness.

pub mod bytes;
mod command;
pub mod gtid;
mod ok;
mod packet;
mod response;

pub use bytes::Malformed;
pub use command::{Command, Execute, code};
pub use ok::{Change, OkPacket, Status, changes};
pub use packet::{HEADER, Header, MAX_PAYLOAD, put_packets};
pub use response::{Control, ControlKind, MAX_CONTROL, Prepared, Progress, ResponseTracker, Shape};
