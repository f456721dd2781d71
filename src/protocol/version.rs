//! What a server's version text says: which family, and how new. What a version can do is decided where it matters.

use super::Capabilities;
use crate::sql::Dialect;

/// MariaDB 10 puts this in front of its version in the greeting: old replicas looked at the first digit only.
const MARIADB_PREFIX: &str = "5.5.5-";

/// Family and version number of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerVersion {
    /// MySQL (and what derives from it) or MariaDB.
    pub dialect: Dialect,
    /// `major * 10_000 + minor * 100 + patch`, as in executable comments: 8.4.3 is 80403, 10.11.14 is 101114.
    pub number: u32,
}

impl ServerVersion {
    /// Reads the version text of a greeting or of `@@version`. A part that is no number counts as 0
    /// (Aurora: `8.0.mysql_aurora.3.05.2`), so every text has a version.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let dialect = if text.to_ascii_lowercase().contains("mariadb") { Dialect::MariaDb } else { Dialect::MySql };
        let text = match dialect {
            Dialect::MariaDb => text.strip_prefix(MARIADB_PREFIX).unwrap_or(&text),
            Dialect::MySql => &text,
        };
        let mut parts = text.splitn(3, '.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>().unwrap_or(0).min(99)
        });
        let number = (0..3).fold(0, |number, _| number * 100 + parts.next().unwrap_or(0));
        Self { dialect, number }
    }

    /// What changes the bytes of commands or results and not every server has: the part that one of this version has.
    pub fn extras(self) -> Capabilities {
        let since: &[(u32, Capabilities)] = match self.dialect {
            Dialect::MySql => &[
                (50_705, Capabilities::DEPRECATE_EOF),
                (80_003, Capabilities::OPTIONAL_RESULTSET_METADATA),
                (80_023, Capabilities::QUERY_ATTRIBUTES),
            ],
            Dialect::MariaDb => &[
                (100_200, Capabilities::DEPRECATE_EOF),
                (100_200, Capabilities::PROGRESS),
                (100_200, Capabilities::STMT_BULK_OPERATIONS),
                (100_502, Capabilities::EXTENDED_METADATA),
                (100_600, Capabilities::CACHE_METADATA),
                (110_501, Capabilities::BULK_UNIT_RESULTS),
            ],
        };
        let had = since.iter().filter(|(version, _)| self.number >= *version);
        had.fold(Capabilities::NONE, |sum, (_, capability)| sum.with(*capability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_as_servers_write_them() {
        use Dialect::{MariaDb, MySql};
        let cases = [
            ("9.7.0", MySql, 90_700),
            ("8.0.36-28", MySql, 80_036),
            ("5.7.44-log", MySql, 50_744),
            ("8.0.mysql_aurora.3.05.2", MySql, 80_000),
            ("8.0.11-TiDB-v7.5.0", MySql, 80_011),
            ("5.5.5-10.11.14-MariaDB-0+deb12u2", MariaDb, 101_114),
            ("11.4.2-MariaDB", MariaDb, 110_402),
            ("10.6.12-7-MariaDB-enterprise", MariaDb, 100_612),
            ("8.0.100", MySql, 80_099),
            ("", MySql, 0),
            ("x.y", MySql, 0),
            ("4294967296.1.1", MySql, 101),
        ];
        for (text, dialect, number) in cases {
            assert_eq!(ServerVersion::parse(text.as_bytes()), ServerVersion { dialect, number }, "{text}");
        }
    }

    #[test]
    fn versions_have_what_came_before_them() {
        let cases = [
            ("8.0.36", "DEPRECATE_EOF|OPTIONAL_RESULTSET_METADATA|QUERY_ATTRIBUTES"),
            ("8.0.mysql_aurora.3.05.2", "DEPRECATE_EOF"),
            ("5.6.51", ""),
            ("10.1.48-MariaDB", ""),
            ("10.4.2-MariaDB", "DEPRECATE_EOF|PROGRESS|STMT_BULK_OPERATIONS"),
            ("10.5.29-MariaDB", "DEPRECATE_EOF|PROGRESS|STMT_BULK_OPERATIONS|EXTENDED_METADATA"),
            ("5.5.5-10.11.14-MariaDB", "DEPRECATE_EOF|PROGRESS|STMT_BULK_OPERATIONS|EXTENDED_METADATA|CACHE_METADATA"),
            (
                "11.8.1-MariaDB",
                "DEPRECATE_EOF|PROGRESS|STMT_BULK_OPERATIONS|EXTENDED_METADATA|CACHE_METADATA|BULK_UNIT_RESULTS",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(format!("{:?}", ServerVersion::parse(text.as_bytes()).extras()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_has_a_version(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(ServerVersion::parse(&text).number < 1_000_000);
        }
    }
}
