//! Packets over TCP, Unix sockets and TLS. Knows framing, not meaning.

mod packets;
mod stream;
pub mod tls;

pub use packets::{PacketStream, ReadError, Scratch};
pub use stream::{Socket, Stream};
