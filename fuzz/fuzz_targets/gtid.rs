//! Any bytes are a position with a canonical text, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::protocol::gtid::{GtidError, Position};

fuzz_target!(|text: &[u8]| {
    check(text, Position::parse_mysql);
    check(text, Position::parse_mariadb);
});

fn check(text: &[u8], parse: fn(&[u8]) -> Result<Position, GtidError>) {
    let Ok(position) = parse(text) else { return };
    assert_eq!(parse(position.to_string().as_bytes()).as_ref(), Ok(&position));
    assert!(position.covers(&position) && position.since(&position).is_empty());

    let mut required = position.clone();
    required.require(&position);
    assert!(required.covers(&position));
}
