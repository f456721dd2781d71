//! User variables that were set to literals: they travel with the session, as SQL that means the same under every
//! `sql_mode` and character set. A session that sets too many or too long ones, or one whose literal cannot be said so,
//! keeps its connection instead.

use std::sync::Arc;

use super::SessionState;
use crate::{
    sql::{Dialect, Literal},
    telemetry::Pin,
};

/// How many travel.
const MOST: usize = 64;
/// How many bytes of names and literals travel.
const MOST_BYTES: usize = 16 * 1024;

/// How the server read the strings of a text, by `character_set_client` and `collation_connection`.
#[derive(Debug, Clone, Copy)]
pub struct TextCharset<'a> {
    pub client: &'a [u8],
    pub collation: &'a [u8],
}

impl SessionState {
    /// Notes the user variables that a `SET` has set; `charset`: how its strings were read, if that is known.
    pub fn assign(&mut self, assigned: &[(Vec<u8>, Literal)], dialect: Dialect, charset: Option<TextCharset<'_>>) {
        let settings = Arc::make_mut(&mut self.settings);
        for (name, literal) in assigned {
            let said = match literal {
                Literal::Null => None,
                Literal::Plain(sql) => Some(sql.clone()),
                // Some mode of MariaDB's takes it for NULL.
                Literal::Text(text) if text.is_empty() && dialect == Dialect::MariaDb => return self.keep_variables(),
                Literal::Text(text) => match charset.and_then(|charset| charset.literal(text)) {
                    Some(sql) => Some(sql),
                    None => return self.keep_variables(),
                },
            };
            settings.set_user_variable(name, said.as_deref());
        }
        let (count, bytes) = settings.user_variables();
        if count > MOST || bytes > MOST_BYTES {
            self.keep_variables();
        }
    }

    fn keep_variables(&mut self) {
        self.pins.add(Pin::UserVariable);
    }
}

impl TextCharset<'_> {
    /// SQL for the string `text`, or None: what the server made of it is not certain.
    fn literal(&self, text: &[u8]) -> Option<Vec<u8>> {
        let word =
            |name: &[u8]| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let Self { client, collation } = *self;
        let own = collation.strip_prefix(client).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_"));
        let valid = match client {
            b"utf8mb4" => std::str::from_utf8(text).is_ok(),
            _ => text.is_ascii(),
        };
        if !own || !valid || !word(client) || !word(collation) {
            return None;
        }
        let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
        Some([b"_", client, b" x'", hex.as_bytes(), b"' COLLATE ", collation].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Value;

    const UTF8: TextCharset<'static> = TextCharset { client: b"utf8mb4", collation: b"utf8mb4_bin" };

    fn assigned(literal: Literal, dialect: Dialect, charset: Option<TextCharset<'_>>) -> Option<String> {
        let mut state = SessionState::new(None);
        state.assign(&[(b"a".to_vec(), literal)], dialect, charset);
        if state.pins().has(Pin::UserVariable) {
            return None;
        }
        match state.settings().variable(b"@a") {
            Some(Value::Literal(sql)) => Some(String::from_utf8_lossy(sql).into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn literals_are_said_for_any_mode() {
        let text = |text: &str| Literal::Text(text.as_bytes().to_vec());
        let latin1 = TextCharset { client: b"latin1", collation: b"latin1_swedish_ci" };
        let mixed = TextCharset { client: b"latin1", collation: b"utf8mb4_bin" };
        let odd = TextCharset { client: b"utf8mb4", collation: b"utf8mb4_bin; x" };
        let cases = [
            (Literal::Plain(b"-1.5".to_vec()), None, Some("-1.5")),
            (Literal::Null, None, Some("NULL")),
            (text("it's"), Some(UTF8), Some("_utf8mb4 x'69742773' COLLATE utf8mb4_bin")),
            (text("é"), Some(UTF8), Some("_utf8mb4 x'c3a9' COLLATE utf8mb4_bin")),
            (text("x"), Some(latin1), Some("_latin1 x'78' COLLATE latin1_swedish_ci")),
            (text("é"), Some(latin1), None),
            (Literal::Text(vec![0xFF]), Some(UTF8), None),
            (text("x"), Some(mixed), None),
            (text("x"), Some(odd), None),
            (text("x"), None, None),
        ];
        for (literal, charset, expected) in cases {
            let case = format!("{literal:?} {charset:?}");
            assert_eq!(assigned(literal, Dialect::MySql, charset).as_deref(), expected, "{case}");
        }
        assert_eq!(assigned(text(""), Dialect::MariaDb, Some(UTF8)), None);
        assert!(assigned(text(""), Dialect::MySql, Some(UTF8)).is_some());
    }

    #[test]
    fn what_travels_is_bounded() {
        let number = || Literal::Plain(b"1".to_vec());
        let mut many = SessionState::new(None);
        for place in 0..=MOST {
            assert!(many.pins().is_empty(), "{place}");
            many.assign(&[(format!("v{place}").into_bytes(), number())], Dialect::MySql, None);
        }
        assert!(many.pins().has(Pin::UserVariable));
        let mut long = SessionState::new(None);
        long.assign(&[(b"a".to_vec(), Literal::Text(vec![b'x'; MOST_BYTES]))], Dialect::MySql, Some(UTF8));
        assert!(long.pins().has(Pin::UserVariable));
        long.reset(Dialect::MySql);
        assert_eq!(long.settings().user_variables(), (0, 0));
    }
}
