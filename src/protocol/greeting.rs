//! The first packet of a connection: who the server is, what it can do, and the nonce for the login. Both directions:
//! Weir reads it from servers and writes it to clients. What Weir claims in it is decided by the login.
//!
//! Source: "Protocol::HandshakeV10"; MariaDB: "Initial Handshake Packet".

use super::capabilities::Capabilities;
use super::wire::{Malformed, Reader, put_nul};
use crate::sql::Dialect;

/// Random bytes that a login mixes into its proof.
pub const NONCE_LENGTH: usize = 20;

/// The nonce of one connection. None of its bytes may be 0 (clients read it as a string); servers also avoid `$`.
pub type Nonce = [u8; NONCE_LENGTH];

const PROTOCOL_VERSION: u8 = 10;
const RESERVED_LENGTH: usize = 6;
const FIRST_PART: usize = 8;
const SECOND_PART: usize = NONCE_LENGTH - FIRST_PART;

/// The greeting, version 10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The version as it travels: MariaDB 10 puts `5.5.5-` in front.
    pub version: Vec<u8>,
    /// The server's id of this connection (its low 32 bits).
    pub connection_id: u32,
    /// The nonce of this connection.
    pub nonce: Nonce,
    /// What the server offers. Without `LONG_PASSWORD` it is a MariaDB, and only then the extended flags travel.
    pub capabilities: Capabilities,
    /// The server's default collation: the low byte of its id.
    pub collation: u8,
    /// Status flags.
    pub status: u16,
    /// The plugin that the nonce is meant for; empty without `PLUGIN_AUTH`.
    pub plugin: Vec<u8>,
}

impl Greeting {
    /// MySQL or MariaDB, as the capability bits tell.
    pub const fn dialect(&self) -> Dialect {
        family(self.capabilities)
    }

    /// The payload of this greeting.
    pub fn payload(&self) -> Vec<u8> {
        let plugins = self.capabilities.has(Capabilities::PLUGIN_AUTH);
        let [b0, b1, b2, b3] = self.capabilities.base().to_le_bytes();
        let extended = match family(self.capabilities) {
            Dialect::MySql => 0,
            Dialect::MariaDb => self.capabilities.extended(),
        };
        let (first, second) = self.nonce.split_at(FIRST_PART);
        let mut out = Vec::with_capacity(80 + self.version.len() + self.plugin.len());
        out.push(PROTOCOL_VERSION);
        put_nul(&mut out, &self.version);
        out.extend_from_slice(&self.connection_id.to_le_bytes());
        out.extend_from_slice(first);
        out.push(0);
        out.extend_from_slice(&[b0, b1, self.collation]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[b2, b3]);
        out.push(if plugins { NONCE_LENGTH as u8 + 1 } else { 0 });
        out.extend_from_slice(&[0; RESERVED_LENGTH]);
        out.extend_from_slice(&extended.to_le_bytes());
        out.extend_from_slice(second);
        out.push(0);
        if plugins {
            put_nul(&mut out, &self.plugin);
        }
        out
    }

    /// Reads a server's greeting. A server may answer with an ERR packet instead (too many connections): that is for the
    /// caller to look at first.
    ///
    /// # Errors
    /// Another protocol version, a server from before 4.1, or a truncated packet.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8("greeting: protocol version")? != PROTOCOL_VERSION {
            return Err(Malformed("greeting: protocol version"));
        }
        let version = reader.nul("greeting: server version")?.to_vec();
        let connection_id = reader.u32("greeting: connection id")?;
        let mut nonce = Nonce::default();
        let (first, second) = nonce.split_at_mut(FIRST_PART);
        first.copy_from_slice(reader.take(FIRST_PART, "greeting: nonce")?);
        reader.take(1, "greeting: filler")?;
        let low = reader.u16("greeting: capabilities")?;
        let collation = reader.u8("greeting: collation")?;
        let status = reader.u16("greeting: status")?;
        let high = reader.u16("greeting: capabilities")?;
        let nonce_length = reader.u8("greeting: nonce length")?;
        reader.take(RESERVED_LENGTH, "greeting: reserved")?;
        let extended = reader.u32("greeting: reserved")?;
        let base = Capabilities::from_bits(u64::from(low) | u64::from(high) << 16);
        if !base.has(Capabilities::PROTOCOL_41.with(Capabilities::SECURE_CONNECTION)) {
            return Err(Malformed("greeting: a server from before 4.1"));
        }
        let capabilities = match family(base) {
            Dialect::MySql => base,
            Dialect::MariaDb => Capabilities::from_halves(base.base(), extended),
        };
        // The second part is at least 13 bytes: 12 of nonce and a NUL that some servers leave out at the very end.
        second.copy_from_slice(reader.take(SECOND_PART, "greeting: nonce")?);
        let padding = usize::from(nonce_length).saturating_sub(NONCE_LENGTH).max(1);
        let plugin = match reader.take(padding, "") {
            Ok(_) if base.has(Capabilities::PLUGIN_AUTH) => reader.nul_or_rest().to_vec(),
            _ => Vec::new(),
        };
        Ok(Self { version, connection_id, nonce, capabilities, collation, status, plugin })
    }
}

/// Who is at the other end, as the `LONG_PASSWORD` bit tells.
const fn family(capabilities: Capabilities) -> Dialect {
    if capabilities.has(Capabilities::LONG_PASSWORD) { Dialect::MySql } else { Dialect::MariaDb }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greeting(capabilities: Capabilities, plugin: &[u8]) -> Greeting {
        Greeting {
            version: b"8.4.0".to_vec(),
            connection_id: 0x0102_0304,
            nonce: *b"abcdefghijklmnopqrst",
            capabilities: capabilities.with(Capabilities::PROTOCOL_41).with(Capabilities::SECURE_CONNECTION),
            collation: 255,
            status: 2,
            plugin: plugin.to_vec(),
        }
    }

    #[test]
    fn a_greeting_comes_back() {
        let mysql = Capabilities::LONG_PASSWORD;
        let cases = [
            greeting(mysql, b""),
            greeting(mysql.with(Capabilities::PLUGIN_AUTH), b"caching_sha2_password"),
            greeting(Capabilities::PLUGIN_AUTH, b"mysql_native_password"),
            greeting(Capabilities::PLUGIN_AUTH.with(Capabilities::EXTENDED_METADATA), b"mysql_native_password"),
        ];
        for case in cases {
            assert_eq!(Greeting::parse(&case.payload()), Ok(case.clone()), "{case:?}");
        }
    }

    #[test]
    fn greetings_of_real_servers() {
        let mysql = b"\x0A9.7.4-2\0\x08\0\0\0i<_3\x1FvI\x1F\0\xFF\xFF\xFF\x02\0\xFF\xDF\x15\0\0\0\0\0\0\0\0\0\0L(\x05\x19\x07hu\r[2lm\0\
            caching_sha2_password\0";
        let mariadb = b"\x0A5.5.5-10.11.18-MariaDB-0+deb12u1\0\x04\0\0\0j((-IgM*\0\xFE\xFF\x08\x02\0\xFF\x81\x15\0\0\0\0\0\0\x1D\0\0\0\
            '&):*c3sk?63\0mysql_native_password\0";
        let cases: [(&[u8], Greeting, Dialect); 2] = [
            (
                mysql,
                Greeting {
                    version: b"9.7.4-2".to_vec(),
                    connection_id: 8,
                    nonce: *b"i<_3\x1FvI\x1FL(\x05\x19\x07hu\r[2lm",
                    capabilities: Capabilities::from_bits(0xDFFF_FFFF),
                    collation: 255,
                    status: 2,
                    plugin: b"caching_sha2_password".to_vec(),
                },
                Dialect::MySql,
            ),
            (
                mariadb,
                Greeting {
                    version: b"5.5.5-10.11.18-MariaDB-0+deb12u1".to_vec(),
                    connection_id: 4,
                    nonce: *b"j((-IgM*'&):*c3sk?63",
                    capabilities: Capabilities::from_halves(0x81FF_FFFE, 0x1D),
                    collation: 8,
                    status: 2,
                    plugin: b"mysql_native_password".to_vec(),
                },
                Dialect::MariaDb,
            ),
        ];
        for (payload, expected, dialect) in cases {
            let read = Greeting::parse(payload).unwrap();
            assert_eq!(read, expected);
            assert_eq!(read.dialect(), dialect, "{read:?}");
            assert_eq!(read.payload(), payload, "{read:?}: written as it was read");
        }
    }

    #[test]
    fn a_mysql_greeting_keeps_its_reserved_bytes_zero() {
        let claimed = greeting(Capabilities::LONG_PASSWORD.with(Capabilities::EXTENDED_METADATA), b"");
        let read = Greeting::parse(&claimed.payload()).unwrap();
        assert_eq!(read.capabilities, claimed.capabilities.without(Capabilities::EXTENDED_METADATA));
    }

    #[test]
    fn the_plugin_is_found_behind_any_nonce_length() {
        let expected = greeting(Capabilities::LONG_PASSWORD.with(Capabilities::PLUGIN_AUTH), b"caching_sha2_password");
        let length_at = 1 + expected.version.len() + 1 + 4 + FIRST_PART + 1 + 7;
        for length in [0, 8, 20, 21] {
            let mut payload = expected.payload();
            assert_eq!(payload[length_at], 21);
            payload[length_at] = length;
            assert_eq!(Greeting::parse(&payload), Ok(expected.clone()), "{length}");
        }
    }

    #[test]
    fn truncated_greetings_are_malformed() {
        let whole = greeting(Capabilities::LONG_PASSWORD, b"").payload();
        for length in 0..whole.len() - 1 {
            assert!(Greeting::parse(&whole[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(mut payload in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(first) = payload.first_mut() {
                *first = PROTOCOL_VERSION;
            }
            if let Ok(read) = Greeting::parse(&payload) {
                prop_assert_eq!(Greeting::parse(&read.payload()).map(|again| again.nonce), Ok(read.nonce));
            }
        }
    }
}
