//! Capability flags: what two ends of a connection agreed to speak. The names are the protocol's without `CLIENT_`.
//! Which of them Weir offers or asks for is decided where it logs in; here is what they are, and which of them must be
//! equal on both legs.
//!
//! Source: "Capabilities Flags"; bits 32 and up are MariaDB's extended capabilities.

use std::fmt;

/// A set of capability flags: bits 0–31 as both families have them, bits 32–63 MariaDB's extended ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)+) => {
        impl Capabilities {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)+

            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name)),)+];
        }
    };
}

flags! {
    /// MySQL: always set. MariaDB calls it `CLIENT_MYSQL` and clears it to say "I am MariaDB": then the reserved
    /// bytes of the greeting and of the login carry the extended capabilities.
    LONG_PASSWORD = 0;
    /// Affected rows count the rows found, not the rows changed.
    FOUND_ROWS = 1;
    /// Two bytes of column flags; implied by `PROTOCOL_41`.
    LONG_FLAG = 2;
    /// The login names a schema.
    CONNECT_WITH_DB = 3;
    /// `schema.table.column` is not allowed.
    NO_SCHEMA = 4;
    /// zlib-compressed packets.
    COMPRESS = 5;
    /// No meaning in a server.
    ODBC = 6;
    /// The client can serve `LOAD DATA LOCAL INFILE`.
    LOCAL_FILES = 7;
    /// A space may stand between a function's name and its parenthesis.
    IGNORE_SPACE = 8;
    /// The 4.1 protocol: what this crate speaks.
    PROTOCOL_41 = 9;
    /// `interactive_timeout` instead of `wait_timeout`.
    INTERACTIVE = 10;
    /// TLS follows a short login.
    SSL = 11;
    /// A client library's own affair.
    IGNORE_SIGPIPE = 12;
    /// Status flags in OK and EOF.
    TRANSACTIONS = 13;
    /// Was the 4.1 protocol's first number.
    RESERVED = 14;
    /// 20-byte nonces; an authentication response with a length byte in front.
    SECURE_CONNECTION = 15;
    /// Several statements in one `COM_QUERY`.
    MULTI_STATEMENTS = 16;
    /// Several results to one `COM_QUERY`.
    MULTI_RESULTS = 17;
    /// Several results to one `COM_STMT_EXECUTE`.
    PS_MULTI_RESULTS = 18;
    /// Named authentication plugins.
    PLUGIN_AUTH = 19;
    /// Connection attributes in the login.
    CONNECT_ATTRS = 20;
    /// The authentication response has a length-encoded length.
    PLUGIN_AUTH_LENENC = 21;
    /// The client can live in the sandbox of an expired password.
    EXPIRED_PASSWORDS = 22;
    /// OK packets report changes of session state.
    SESSION_TRACK = 23;
    /// No EOF packet between columns and rows; an OK packet after the rows.
    DEPRECATE_EOF = 24;
    /// Column definitions can be left out.
    OPTIONAL_RESULTSET_METADATA = 25;
    /// zstd-compressed packets.
    ZSTD = 26;
    /// `COM_QUERY` and `COM_STMT_EXECUTE` carry named attributes.
    QUERY_ATTRIBUTES = 27;
    /// More than one authentication factor.
    MFA = 28;
    /// Reserved for further capabilities.
    EXTENSION = 29;
    /// A client library's own affair.
    SSL_VERIFY_SERVER_CERT = 30;
    /// A client library's own affair.
    REMEMBER_OPTIONS = 31;
    /// MariaDB: progress reports, as ERR packets with code 0xFFFF.
    PROGRESS = 32;
    /// MariaDB: several commands in one packet (never released).
    COM_MULTI = 33;
    /// MariaDB: `COM_STMT_BULK_EXECUTE`.
    STMT_BULK_OPERATIONS = 34;
    /// MariaDB: type names and formats in column definitions.
    EXTENDED_METADATA = 35;
    /// MariaDB: column definitions of a prepared statement are not repeated when unchanged. A leg's own affair: what a
    /// client has been sent, only Weir knows.
    CACHE_METADATA = 36;
    /// MariaDB: a bulk execution answers with a result per row.
    BULK_UNIT_RESULTS = 37;
}

impl Capabilities {
    /// No flag at all: also what both ends assume before the greeting.
    pub const NONE: Self = Self(0);

    /// What changes the bytes of a command or a result, or the meaning of a statement.
    const FINGERPRINT: Self = Self::FOUND_ROWS
        .with(Self::NO_SCHEMA)
        .with(Self::LOCAL_FILES)
        .with(Self::MULTI_STATEMENTS)
        .with(Self::MULTI_RESULTS)
        .with(Self::PS_MULTI_RESULTS)
        .with(Self::DEPRECATE_EOF)
        .with(Self::OPTIONAL_RESULTSET_METADATA)
        .with(Self::QUERY_ATTRIBUTES)
        .with(Self::PROGRESS)
        .with(Self::COM_MULTI)
        .with(Self::STMT_BULK_OPERATIONS)
        .with(Self::EXTENDED_METADATA)
        .with(Self::BULK_UNIT_RESULTS);

    /// The part of the fingerprint that Weir makes good where a server does not have it, or whose lack only forbids.
    const DISPENSABLE: Self = Self::NO_SCHEMA.with(Self::LOCAL_FILES).with(Self::QUERY_ATTRIBUTES).with(Self::PROGRESS);

    /// The set with exactly these bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits, as they travel.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The low half: the 32 bits that both families have.
    pub const fn base(self) -> u32 {
        self.0 as u32
    }

    /// The high half: MariaDB's extended capabilities.
    pub const fn extended(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Puts the two halves together.
    pub const fn from_halves(base: u32, extended: u32) -> Self {
        Self(base as u64 | (extended as u64) << 32)
    }

    /// Whether every flag of `flags` is in the set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The set with `flags` added.
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// The set with `flags` taken out.
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// What is in both sets.
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The part that changes bytes of commands or results, or the meaning of a statement. A client and the server
    /// connection that answers it must have it equal, because rows are passed on undecoded. Pools are keyed by it.
    pub const fn fingerprint(self) -> Self {
        self.intersect(Self::FINGERPRINT)
    }

    /// The part of the fingerprint without which a connection's replies are not what the client reads.
    pub const fn indispensable(self) -> Self {
        self.fingerprint().without(Self::DISPENSABLE)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_their_documented_bits() {
        let cases = [
            (Capabilities::LONG_PASSWORD, 0x1),
            (Capabilities::PROTOCOL_41, 0x200),
            (Capabilities::SSL, 0x800),
            (Capabilities::SECURE_CONNECTION, 0x8000),
            (Capabilities::PLUGIN_AUTH, 0x8_0000),
            (Capabilities::DEPRECATE_EOF, 0x100_0000),
            (Capabilities::QUERY_ATTRIBUTES, 0x800_0000),
            (Capabilities::PROGRESS, 0x1_0000_0000),
            (Capabilities::BULK_UNIT_RESULTS, 0x20_0000_0000),
        ];
        for (flag, bits) in cases {
            assert_eq!(flag.bits(), bits, "{flag:?}");
            assert_eq!(Capabilities::from_halves(flag.base(), flag.extended()), flag, "{flag:?}");
        }
    }

    #[test]
    fn the_fingerprint_is_what_must_be_equal_on_both_legs() {
        assert_eq!(
            format!("{:?}", Capabilities::from_bits(u64::MAX).fingerprint()),
            "FOUND_ROWS|NO_SCHEMA|LOCAL_FILES|MULTI_STATEMENTS|MULTI_RESULTS|PS_MULTI_RESULTS|\
             DEPRECATE_EOF|OPTIONAL_RESULTSET_METADATA|QUERY_ATTRIBUTES|PROGRESS|COM_MULTI|STMT_BULK_OPERATIONS|\
             EXTENDED_METADATA|BULK_UNIT_RESULTS"
        );
    }

    #[test]
    fn the_fingerprint_keeps_what_changes_bytes_and_drops_what_a_leg_decides_alone() {
        let legs = Capabilities::SSL
            .with(Capabilities::COMPRESS)
            .with(Capabilities::SESSION_TRACK)
            .with(Capabilities::CONNECT_WITH_DB)
            .with(Capabilities::CONNECT_ATTRS)
            .with(Capabilities::LONG_PASSWORD);
        let both = Capabilities::DEPRECATE_EOF.with(Capabilities::FOUND_ROWS).with(Capabilities::EXTENDED_METADATA);
        assert_eq!(legs.with(both).fingerprint(), both);
        assert!(legs.with(both).has(both) && !legs.has(both));
        assert_eq!(legs.with(both).without(legs), both);
    }
}
