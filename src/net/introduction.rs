//! Reads the PROXY header in front of a client's stream, and not a byte behind it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::protocol::{
    Malformed,
    proxy_header::{Heard, ProxyHeader},
};

/// Why nobody was introduced.
#[derive(Debug, thiserror::Error)]
pub enum IntroductionError {
    #[error("the connection broke in front of the PROXY header")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads the header. Not cancel-safe; the caller sets the deadline.
pub async fn introduction(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, IntroductionError> {
    let mut bytes = Vec::new();
    loop {
        match ProxyHeader::hear(&bytes)? {
            Heard::Whole(header) => return Ok(header),
            Heard::Missing(count) => {
                let start = bytes.len();
                // A header has at most 64 KiB.
                bytes.resize(start + count, 0);
                // What comes may be enough to see that it is no header, so it is not waited for the rest.
                let read = stream.read(bytes.get_mut(start..).unwrap_or_default()).await?;
                if read == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                bytes.truncate(start + read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_client_behind_the_header_is_left_alone() {
        for (bytes, expected) in [
            (
                &b"PROXY TCP4 10.1.2.3 127.0.0.1 8080 6033\r\n"[..],
                ProxyHeader::Client("10.1.2.3:8080".parse().unwrap()),
            ),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x04tlvs", ProxyHeader::Own),
        ] {
            let (mut near, mut far) = duplex(64);
            let send = async {
                for byte in bytes {
                    far.write_all(&[*byte]).await.unwrap();
                }
                far.write_all(b"behind").await.unwrap();
            };
            let (heard, ()) = tokio::join!(introduction(&mut near), send);
            assert_eq!(heard.unwrap(), expected);
            let mut rest = [0; 6];
            near.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"behind");
        }
    }

    #[tokio::test]
    async fn no_header_is_an_error() {
        for (bytes, expected) in [
            (&b""[..], "the connection broke in front of the PROXY header"),
            (b"PROXY TCP4", "the connection broke in front of the PROXY header"),
            (b"hello", "malformed packet: PROXY header"),
        ] {
            let (mut near, mut far) = duplex(64);
            far.write_all(bytes).await.unwrap();
            drop(far);
            assert_eq!(introduction(&mut near).await.unwrap_err().to_string(), expected, "{bytes:x?}");
        }
    }
}
