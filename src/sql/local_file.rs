//! Which files of the client a text asks for.

use super::{
    comment::Gates,
    facts::Mode,
    lexer::{Lexer, TokenKind},
    literal::string_value,
};

/// Whether a text asks the client for the file `name`: `LOAD DATA LOCAL INFILE 'name' …`, `LOAD XML LOCAL INFILE …`.
///
/// A server names the file to the client as the text does, byte for byte, unless the session has a
/// `character_set_filesystem` and the name is not ASCII.
pub fn asks_for_file(sql: &[u8], mode: Mode, name: &[u8]) -> bool {
    let mut lexer = Lexer::new(sql, mode, Gates::UpTo(mode.version));
    // How many of the two words in front of the name stand right before the token.
    let mut words = 0;
    loop {
        let token = lexer.next();
        let is = |word: &str| token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes());
        words = match token.kind {
            TokenKind::End => return false,
            TokenKind::Text if words == 2 && string_value(token.text, mode).as_deref() == Some(name) => return true,
            _ if is("LOCAL") => 1,
            _ if is("INFILE") && words == 1 => 2,
            _ => 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;

    #[test]
    fn files_that_are_asked_for() {
        let mode =
            Mode { dialect: Dialect::MariaDb, version: 101_100, ansi_quotes: false, no_backslash_escapes: false };
        let plain = Mode { no_backslash_escapes: true, ..mode };
        let cases: &[(&str, Mode, &str, bool)] = &[
            ("LOAD DATA LOCAL INFILE '/tmp/a' INTO TABLE t", mode, "/tmp/a", true),
            ("load data concurrent local/**/infile \"/tmp/a\" into table t", mode, "/tmp/a", true),
            ("LOAD XML LOCAL INFILE '/tmp/a' INTO TABLE t", mode, "/tmp/a", true),
            ("SELECT 1; LOAD DATA /*! LOCAL */ INFILE '/tmp/a' INTO TABLE t", mode, "/tmp/a", true),
            ("LOAD DATA LOCAL INFILE 'b' INTO TABLE t; LOAD DATA LOCAL INFILE 'a' INTO TABLE t", mode, "a", true),
            ("LOAD DATA LOCAL INFILE 'it''s\\t\\a\\%\\\\' INTO TABLE t", mode, "it's\ta\\%\\", true),
            ("LOAD DATA LOCAL INFILE 'C:\\new' INTO TABLE t", plain, "C:\\new", true),
            ("LOAD DATA LOCAL INFILE 'C:\\new' INTO TABLE t", mode, "C:\\new", false),
            ("LOAD DATA LOCAL INFILE '/tmp/a' INTO TABLE t", mode, "/etc/passwd", false),
            ("LOAD DATA LOCAL INFILE '/tmp/a' INTO TABLE t", mode, "/tmp/a ", false),
            ("LOAD DATA INFILE '/tmp/a' INTO TABLE t", mode, "/tmp/a", false),
            ("LOAD DATA -- LOCAL INFILE '/tmp/a'\n INFILE 'b' INTO TABLE t", mode, "/tmp/a", false),
            ("SELECT 'LOCAL INFILE ''/tmp/a'''", mode, "/tmp/a", false),
            ("SELECT local, infile, '/tmp/a'", mode, "/tmp/a", false),
            ("SELECT 1", mode, "", false),
            ("LOAD DATA LOCAL INFILE '", mode, "", false),
            ("LOAD DATA LOCAL INFILE 'a\\", mode, "a", false),
        ];
        for (sql, mode, name, expected) in cases {
            assert_eq!(asks_for_file(sql.as_bytes(), *mode, name.as_bytes()), *expected, "{sql}: {name}");
        }
    }
}
