//! Packets over TCP, Unix sockets and TLS, compressed or not. Knows framing, not meaning.

mod codec;
mod compressed;
mod introduction;
mod packets;
mod scratch;
mod stream;
mod tcp;
pub mod tls;

pub use codec::{Method, Unpacker};
pub use compressed::Part;
pub use introduction::{IntroductionError, introduction};
pub use packets::{PacketStream, ReadError};
pub use scratch::Scratch;
pub use stream::{Socket, Stream};
