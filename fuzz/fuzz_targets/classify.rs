//! Any bytes, in any mode: nothing panics, a text does not become weaker for being one of two, and what ends a session for
//! sure does so perhaps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::sql::{
    Dialect, Kind, Mode, advisory_locks, asks_connection_id, asks_for_file, assigned_literals, belonging, called,
    changes_stored_code, classify, digest, gives_insert_id, is_reported, made_insert_id, may_number_charset, may_release,
    normalised, queried_tables, releases, sets_only_tracking, tables, unscoped_variables, user_variables, victim,
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
    queried_tables(sql, mode).into_iter().flatten().for_each(|table| drop(table.name.unquoted()));
    victim(sql, mode);
    asks_connection_id(sql, mode);
    asks_for_file(sql, mode, b"file");
    changes_stored_code(sql, mode);
    gives_insert_id(sql);
    made_insert_id(sql, mode, 7, b"7");
    may_number_charset(sql, mode);
    sets_only_tracking(sql, mode);
    for by_default in [false, true] {
        assert!(!releases(sql, mode, by_default) || may_release(sql, mode, by_default));
    }
    if alone.kind != Kind::Unknown {
        let text = [b"SELECT 1;\n", sql].concat();
        let second = classify(&text, mode);
        assert!(second.kind >= alone.kind, "{:?} after a read is {:?}", alone.kind, second.kind);
    }
});
