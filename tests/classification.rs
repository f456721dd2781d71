//! What texts are, in both dialects: tables of cases by topic, and properties of every text.

#[path = "classification/comments.rs"]
mod comments;
#[path = "classification/functions.rs"]
mod functions;
#[path = "classification/properties.rs"]
mod properties;
#[path = "classification/reads.rs"]
mod reads;
#[path = "classification/session.rs"]
mod session;
#[path = "classification/writes.rs"]
mod writes;

use weir::sql::{Dialect, Effects, Kind, Mode, classify};

/// The texts of a row are all of one kind and have the same effects, in each of the dialects.
struct Row<'a>(&'a [Mode], Kind, Effects, &'a [&'a str]);

const MYSQL: Mode = Mode { dialect: Dialect::MySql, version: 90_700, ansi_quotes: false, no_backslash_escapes: false };
const MARIADB: Mode = Mode { dialect: Dialect::MariaDb, version: 101_100, ..MYSQL };
const BOTH: &[Mode] = &[MYSQL, MARIADB];

const NONE: Effects = Effects::NONE;

fn check(rows: &[Row<'_>]) {
    for Row(modes, kind, effects, texts) in rows {
        for mode in *modes {
            for text in *texts {
                let seen = classify(text.as_bytes(), *mode);
                assert_eq!((seen.kind, seen.effects), (*kind, *effects), "{:?}: {text}", mode.dialect);
            }
        }
    }
}
