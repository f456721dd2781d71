//! Any bytes, in any mode: nothing panics, and a text does not become weaker for being one of two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::sql::{
    Dialect, Kind, Mode, advisory_locks, assigned_literals, belonging, called, classify, digest, is_reported, normalised,
    tables, unscoped_variables, user_variables,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (flags, sql) = input;
    let mode = Mode {
        dialect: if flags & 1 == 0 { Dialect::MySql } else { Dialect::MariaDb },
        version: if flags & 1 == 0 { 90_700 } else { 101_100 },
        ansi_quotes: flags & 2 != 0,
        no_backslash_escapes: flags & 4 != 0,
    };
    let alone = classify(sql, mode);
    tables(sql, mode).for_each(|table| drop(table.name.unquoted()));
    digest(sql, mode);
    normalised(sql, mode);
    belonging(sql, mode);
    called(sql, mode);
    is_reported(sql, mode);
    unscoped_variables(sql, mode);
    advisory_locks(sql, mode);
    assigned_literals(sql, mode);
    user_variables(sql, mode).for_each(drop);
    if alone.kind != Kind::Unknown {
        let text = [b"SELECT 1;\n", sql].concat();
        let second = classify(&text, mode);
        assert!(second.kind >= alone.kind, "{:?} after a read is {:?}", alone.kind, second.kind);
    }
});
