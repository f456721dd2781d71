//! Packets over TCP, Unix sockets and TLS. Knows framing, not meaning.

mod introduction;
mod packets;
mod stream;
pub mod tls;

pub use introduction::{IntroductionError, introduction};
pub use packets::{PacketStream, ReadError, Scratch};
pub use stream::{Socket, Stream};
