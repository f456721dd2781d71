//! Which client character sets make a text ambiguous for a lexer that reads bytes, and which collations a login can name.

use crate::sql::Dialect;

/// In these a byte of a longer character can look like a backslash or a letter, so that the end of a string literal
/// cannot be told without decoding. Sorted.
const AMBIGUOUS: [&[u8]; 5] = [b"big5", b"cp932", b"gb18030", b"gbk", b"sjis"];

/// Their collations, as a login names them. Sorted.
const AMBIGUOUS_COLLATIONS: [u8; 11] = [1, 13, 28, 84, 87, 88, 95, 96, 248, 249, 250];

/// Whether texts of a session cannot be trusted to mean what their bytes say. `name` is its `character_set_client`, if
/// that was changed since the login.
pub fn is_ambiguous(name: Option<&[u8]>, login_collation: u8) -> bool {
    match name {
        Some(name) => AMBIGUOUS.binary_search(&name).is_ok(),
        None => AMBIGUOUS_COLLATIONS.binary_search(&login_collation).is_ok(),
    }
}

/// The collation that a login of Weir's names for a client that wants `id`: a login has one byte for it, a change of user
/// two. It has the same character set, and is another where `id` does not fit ([`SessionState::enter_collation`]).
///
/// [`SessionState::enter_collation`]: super::SessionState::enter_collation
pub fn login_collation(id: u16, dialect: Dialect) -> u8 {
    match (dialect, id) {
        (_, ..=0xFF) => id as u8,
        // All the others are of utf8mb4.
        (Dialect::MySql, _) => 255,
        // Unicode 14.0 (`my_uca1400_collation_definitions_add`): of utf8mb3, of utf8mb4.
        (Dialect::MariaDb, 0x0800..=0x08FF) => 33,
        (Dialect::MariaDb, 0x0900..=0x09FF) => 45,
        // From 1024 on they are those below, without padding.
        (Dialect::MariaDb, _) => (id & 0xFF) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_more_than_the_login() {
        let cases: &[(Option<&[u8]>, u8, bool)] = &[
            (None, 45, false),
            (None, 255, false),
            (None, 28, true),
            (None, 13, true),
            (Some(b"utf8mb4"), 28, false),
            (Some(b"gbk"), 45, true),
            (Some(b"latin1"), 45, false),
        ];
        for (name, collation, expected) in cases {
            assert_eq!(is_ambiguous(*name, *collation), *expected, "{name:?} {collation}");
        }
        assert!(AMBIGUOUS.is_sorted() && AMBIGUOUS_COLLATIONS.is_sorted());
    }
}
