//! What a client's library makes of an error whose number is a library's own.
//!
//! Where a server is lost or none is to be reached, Weir says so with the numbers that libraries have for it (2013, 2003):
//! applications know them. To MariaDB's C library a packet with such a number is malformed, which is all that it tells
//! before it closes the connection: <https://mariadb.com/kb/en/err_packet/>.

use std::borrow::Cow;

use crate::protocol::{ServerError, login::Attributes};

/// A client's library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Library {
    /// It takes any number from a server.
    #[default]
    Open,
    /// It takes only those that are a server's.
    Strict,
}

impl Library {
    /// The library of a client that says this of itself.
    pub fn of(attributes: &Attributes) -> Self {
        match attributes.value(b"_client_name") {
            Some(b"libmariadb") => Self::Strict,
            _ => Self::Open,
        }
    }

    /// How the client is told of an error. None: by the end of its connection, for which its library has that number.
    pub fn told(self, error: &ServerError) -> Option<Cow<'_, ServerError>> {
        match error.code {
            2013 if self == Self::Strict => None,
            // ER_CONNECT_TO_FOREIGN_DATA_SOURCE
            2003 if self == Self::Strict => Some(Cow::Owned(ServerError { code: 1429, ..error.clone() })),
            _ => Some(Cow::Borrowed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strict_library_is_spared_its_own_numbers() {
        let lost = ServerError::server_lost();
        let (none, unknown) = (ServerError::no_server("none"), ServerError::unknown_command());
        let cases = [
            (&b"libmariadb"[..], &lost, None),
            (b"libmariadb", &none, Some(1429)),
            (b"libmariadb", &unknown, Some(1047)),
            (b"libmysql", &lost, Some(2013)),
            (b"libmysql", &none, Some(2003)),
        ];
        for (name, error, expected) in cases {
            let library = Library::of(&Attributes::new([(&b"_client_name"[..], name)]));
            let told = library.told(error);
            assert_eq!(told.as_ref().map(|told| told.code), expected, "{library:?} {error:?}");
            assert!(told.is_none_or(|told| told.message == error.message), "{library:?} {error:?}");
        }
        assert_eq!(Library::of(&Attributes::default()), Library::Open);
    }
}
