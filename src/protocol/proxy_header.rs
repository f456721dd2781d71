//! The PROXY protocol, versions 1 and 2: what a load balancer says of a client before the client's first byte. Whose word
//! is taken is decided where connections are accepted.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::wire::{Malformed, Reader};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const TEXT: &[u8] = b"PROXY ";

/// The shortest header is `PROXY UNKNOWN` with its end of line, bytes.
const SHORTEST: usize = 15;
/// Signature, version and command, family, length, bytes.
const HEAD: usize = 16;
/// The longest header of version 1, bytes.
const LONGEST_TEXT: usize = 107;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The sender's own, such as a health check, or that of a client without an address.
    Own,
    /// This client's.
    Client(SocketAddr),
}

/// What the bytes so far come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The header is not whole; at least so many bytes of it are missing, so that none behind it is read.
    Missing(usize),
    Whole(ProxyHeader),
}

impl ProxyHeader {
    /// Reads a header of either version. `bytes` must hold nothing behind it.
    ///
    /// # Errors
    /// Bytes that cannot become a header.
    pub fn hear(bytes: &[u8]) -> Result<Heard, Malformed> {
        let begins = |start: &[u8]| start.iter().zip(bytes).all(|(expected, byte)| expected == byte);
        match bytes.len() {
            _ if !begins(&SIGNATURE) && !begins(TEXT) => Err(Malformed("PROXY header")),
            length if length < SHORTEST => Ok(Heard::Missing(SHORTEST - length)),
            _ if begins(TEXT) => hear_text(bytes),
            length if length < HEAD => Ok(Heard::Missing(HEAD - length)),
            _ => hear_binary(bytes),
        }
    }

    /// The header of version 2 for a connection to `server`.
    pub fn put(self, out: &mut Vec<u8>, server: SocketAddr) {
        out.extend_from_slice(&SIGNATURE);
        let Self::Client(client) = self else {
            return out.extend_from_slice(&[LOCAL, 0, 0, 0]);
        };
        match (client.ip().to_canonical(), server.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                out.extend_from_slice(&[PROXY, TCP4, 0, 12]);
                out.extend_from_slice(&from.octets());
                out.extend_from_slice(&to.octets());
            }
            (from, to) => {
                out.extend_from_slice(&[PROXY, TCP6, 0, 36]);
                out.extend_from_slice(&as_v6(from).octets());
                out.extend_from_slice(&as_v6(to).octets());
            }
        }
        out.extend_from_slice(&client.port().to_be_bytes());
        out.extend_from_slice(&server.port().to_be_bytes());
    }

    /// Whether a server that goes by addresses takes both for the same.
    pub fn is_same_host(self, other: Self) -> bool {
        match (self, other) {
            (Self::Own, Self::Own) => true,
            (Self::Client(one), Self::Client(other)) => one.ip() == other.ip(),
            _ => false,
        }
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// `PROXY TCP4 client server port port\r\n`.
fn hear_text(bytes: &[u8]) -> Result<Heard, Malformed> {
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        return match bytes {
            _ if bytes.len() + 1 >= LONGEST_TEXT => Err(Malformed("PROXY header: line")),
            [.., b'\r'] => Ok(Heard::Missing(1)),
            _ => Ok(Heard::Missing(2)),
        };
    };
    let malformed = Malformed("PROXY header: line");
    let line = std::str::from_utf8(line).map_err(|_| malformed)?;
    let fields: Vec<&str> = line.split(' ').skip(1).collect();
    let client = match fields[..] {
        ["UNKNOWN", ..] => return Ok(Heard::Whole(ProxyHeader::Own)),
        ["TCP4", client, server, _, _] => both::<Ipv4Addr>(client, server).map(IpAddr::V4),
        ["TCP6", client, server, _, _] => both::<Ipv6Addr>(client, server).map(IpAddr::V6),
        _ => None,
    };
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let ports = match fields[..] {
        [_, _, _, client, server] => port(client).zip(port(server)),
        _ => None,
    };
    let (client, (port, _)) = client.zip(ports).ok_or(malformed)?;
    Ok(Heard::Whole(ProxyHeader::Client(SocketAddr::new(client, port))))
}

/// The first of two addresses, if both are some.
fn both<T: std::str::FromStr>(client: &str, server: &str) -> Option<T> {
    server.parse::<T>().ok()?;
    client.parse().ok()
}

fn hear_binary(bytes: &[u8]) -> Result<Heard, Malformed> {
    let mut reader = Reader::new(bytes);
    reader.take(SIGNATURE.len(), "PROXY header")?;
    let command = reader.u8("PROXY header: command")?;
    let family = reader.u8("PROXY header: family")?;
    let length = usize::from(reader.u16("PROXY header: length")?.swap_bytes());
    let missing = length.saturating_sub(reader.rest().len());
    if missing > 0 {
        return Ok(Heard::Missing(missing));
    }
    Ok(Heard::Whole(match (command, family) {
        (LOCAL, _) => ProxyHeader::Own,
        // Stream and datagram are the same to whoever wants the address.
        (PROXY, TCP4 | 0x12) => ProxyHeader::Client(addresses::<4>(&mut reader)?),
        (PROXY, TCP6 | 0x22) => ProxyHeader::Client(addresses::<16>(&mut reader)?),
        // Unspecified, and Unix sockets.
        (PROXY, 0 | 0x31 | 0x32) => ProxyHeader::Own,
        _ => return Err(Malformed("PROXY header: command")),
    }))
}

/// The client's of the two addresses of `N` bytes each; what follows them is of no interest.
fn addresses<const N: usize>(reader: &mut Reader<'_>) -> Result<SocketAddr, Malformed>
where
    [u8; N]: Into<IpAddr>,
{
    let malformed = Malformed("PROXY header: addresses");
    let client: [u8; N] = reader.take(N, malformed.0)?.try_into().map_err(|_| malformed)?;
    reader.take(N, malformed.0)?;
    let port = reader.u16(malformed.0)?.swap_bytes();
    reader.u16(malformed.0)?;
    Ok(SocketAddr::new(client.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(text: &str) -> ProxyHeader {
        ProxyHeader::Client(text.parse().unwrap())
    }

    /// Reads `bytes` as they are asked for; returns the header and what was left.
    fn heard(bytes: &[u8]) -> Result<(ProxyHeader, usize), Malformed> {
        let mut end = 0;
        loop {
            match ProxyHeader::hear(&bytes[..end])? {
                Heard::Whole(header) => return Ok((header, bytes.len() - end)),
                Heard::Missing(count) if end + count > bytes.len() => return Err(Malformed("end")),
                Heard::Missing(count) => end += count,
            }
        }
    }

    fn binary(head: &[u8], body: &[u8]) -> Vec<u8> {
        [&SIGNATURE, head, &(body.len() as u16).to_be_bytes(), body].concat()
    }

    #[test]
    fn headers_are_read_to_their_end_and_not_further() {
        let v4 = b"\x0A\x01\x02\x03\x7F\0\0\x01\x1F\x90\x17\x91";
        let v6 = [&[0x20, 1, 0xD, 0xB8], &[0; 11][..], &[9], &[0; 15], &[1], b"\x1F\x90\x17\x91"].concat();
        let cases: [(Vec<u8>, ProxyHeader); 10] = [
            (b"PROXY TCP4 10.1.2.3 127.0.0.1 8080 6033\r\n".to_vec(), client("10.1.2.3:8080")),
            (b"PROXY TCP6 2001:db8::9 ::1 8080 6033\r\n".to_vec(), client("[2001:db8::9]:8080")),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Own),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), ProxyHeader::Own),
            (binary(&[0x21, 0x11], v4), client("10.1.2.3:8080")),
            (binary(&[0x21, 0x11], &[v4, &b"\x04\0\x05tlv.."[..]].concat()), client("10.1.2.3:8080")),
            (binary(&[0x21, 0x21], &v6), client("[2001:db8::9]:8080")),
            (binary(&[0x20, 0x00], b""), ProxyHeader::Own),
            (binary(&[0x20, 0x11], v4), ProxyHeader::Own),
            (binary(&[0x21, 0x31], &[7; 216]), ProxyHeader::Own),
        ];
        for (bytes, expected) in cases {
            assert_eq!(heard(&bytes), Ok((expected, 0)), "{bytes:x?}");
            assert_eq!(heard(&[&bytes[..], b"behind"].concat()), Ok((expected, 6)), "{bytes:x?}");
            for end in 0..bytes.len() {
                assert_eq!(heard(&bytes[..end]), Err(Malformed("end")), "{bytes:x?} to {end}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_found_early() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let cases: [&[u8]; 12] = [
            b"GET / HTTP/1.1\r\n",
            b"PROXY  TCP4 10.1.2.3 127.0.0.1 8080 6033\r\n",
            b"PROXY TCP4 10.1.2.3 127.0.0.1 8080\r\n",
            b"PROXY TCP4 10.1.2.3 ::1 8080 6033\r\n",
            b"PROXY TCP4 10.1.2.3 127.0.0.1 80800 6033\r\n",
            b"PROXY TCP4 10.1.2.3 127.0.0.1 +1 6033\r\n",
            b"PROXY TCP5 10.1.2.3 127.0.0.1 8080 6033\r\n",
            long.as_bytes(),
            &binary(&[0x11, 0x11], &[0; 12]),
            &binary(&[0x22, 0x11], &[0; 12]),
            &binary(&[0x21, 0x11], &[0; 11]),
            &binary(&[0x21, 0x41], &[0; 12]),
        ];
        for bytes in cases {
            let error = heard(bytes).unwrap_err();
            assert!(error.0.starts_with("PROXY header"), "{}: {error}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_is_said_of_a_client_comes_back() {
        let cases = [
            (client("10.1.2.3:8080"), "127.0.0.1:3306"),
            (client("[2001:db8::9]:8080"), "[::1]:3306"),
            (client("[2001:db8::9]:8080"), "127.0.0.1:3306"),
            (client("[::ffff:10.1.2.3]:8080"), "[::1]:3306"),
            (ProxyHeader::Own, "127.0.0.1:3306"),
        ];
        for (header, server) in cases {
            let mut bytes = Vec::new();
            header.put(&mut bytes, server.parse().unwrap());
            assert_eq!(heard(&bytes), Ok((header, 0)), "{header:?} {server}");
        }
        assert!(client("10.1.2.3:1").is_same_host(client("10.1.2.3:2")));
        assert!(
            !client("10.1.2.3:1").is_same_host(client("10.1.2.4:1"))
                && !client("[::]:1").is_same_host(ProxyHeader::Own)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_end(tail in proptest::collection::vec(any::<u8>(), 0..80), text: bool) {
            let bytes = [if text { TEXT } else { &SIGNATURE }, &tail].concat();
            let _ = heard(&bytes);
        }
    }
}
