use super::*;
use proptest::prelude::*;

const WITH: Capabilities = Capabilities::QUERY_ATTRIBUTES;
const WITHOUT: Capabilities = Capabilities::NONE;

#[test]
fn values_without_types_are_refused_and_nulls_are_not() {
    let cases: &[(&[u8], usize, Result<(), Malformed>)] = &[
        (b"\x01\0", 1, Ok(())),
        (b"\xFF\x01\0", 9, Ok(())),
        (b"\0\0\x01a", 1, Err(UNTYPED)),
        (b"\x01\0\x01a", 2, Err(UNTYPED)),
        (b"\0\0\x09a", 1, Err(UNTYPED)),
        (b"\0\0\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 1, Err(UNTYPED)),
        (b"\0\0\x09a", 2, Err(VALUES)),
        (b"\0\0\x01a", 2, Err(VALUES)),
        (b"\0\0", 1, Err(VALUES)),
        (b"\0", 1, Err(BOUND)),
        (b"", 1, Err(NULLS)),
    ];
    for (body, expected, found) in cases {
        assert_eq!(untyped(body, *expected), *found, "{body:x?}");
    }
}

#[test]
fn the_text_stands_behind_the_attributes() {
    let cases: &[(&[u8], Capabilities, Result<&[u8], Malformed>)] = &[
        (b"SELECT 1", WITHOUT, Ok(b"SELECT 1")),
        (b"\0\x01SELECT 1", WITH, Ok(b"SELECT 1")),
        (b"\0\x01", WITH, Ok(b"")),
        (b"\x01\x01\0\x01\x08\0\x02id\x07\0\0\0\0\0\0\0SELECT 1", WITH, Ok(b"SELECT 1")),
        (b"\x02\x01\x01\x01\xFE\0\x01a\xFE\0\x01b\x03xyzSELECT 1", WITH, Ok(b"SELECT 1")),
        (b"\x03\x01\0\x01\x0C\0\0\x06\0\0\x04\0\0\x04\xE9\x07\x01\x02\0\0\x80\x3FDO 1", WITH, Ok(b"DO 1")),
        (b"", WITH, Err(COUNT)),
        (b"SELECT 1", WITH, Err(Malformed("parameter sets"))),
        (b"\0\x02DO 1", WITH, Err(Malformed("parameter sets"))),
        (b"\x01\x01", WITH, Err(NULLS)),
        (b"\x01\x01\0\0DO 1", WITH, Err(TYPES)),
        (b"\x01\x01\0\x01\x08", WITH, Err(TYPES)),
        (b"\x01\x01\0\x01\x08\0\x09id", WITH, Err(Malformed("parameter name"))),
        (b"\x01\x01\0\x01\x08\0\x02id\x07\0", WITH, Err(VALUES)),
        (b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", WITH, Err(COUNT)),
    ];
    for (body, capabilities, expected) in cases {
        assert_eq!(text(body, *capabilities), *expected, "{body:x?}");
    }
    for capabilities in [WITH, WITHOUT] {
        assert_eq!(text(&query(capabilities, b"DO 1")[1..], capabilities), Ok(&b"DO 1"[..]));
    }
}

/// Reads an execute as one leg says it, and writes it as the other reads it.
fn carried(
    body: &[u8],
    expected: usize,
    counted: bool,
    (from, to): (Capabilities, Capabilities),
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    if let Some(parameters) = Parameters::parse(body, expected, counted, from)? {
        let types = parameters.types.ok_or(TYPES)?;
        parameters.put(&mut out, types, expected, to)?;
    }
    Ok(out)
}

#[test]
fn executes_are_said_as_the_other_side_reads_them() {
    let plain: &[u8] = b"\0\x01\x03\0\x05\0\0\0";
    let counted: &[u8] = b"\x01\0\x01\x03\0\0\x05\0\0\0";
    let attributed: &[u8] = b"\x02\0\x01\x03\0\0\xFE\0\x05trace\x05\0\0\0\x02id";
    let only: &[u8] = b"\x01\0\x01\xFE\0\x05trace\x02id";
    let cases: &[(&[u8], usize, (Capabilities, Capabilities), Result<&[u8], Malformed>)] = &[
        (plain, 1, (WITHOUT, WITHOUT), Ok(plain)),
        (plain, 1, (WITHOUT, WITH), Ok(counted)),
        (counted, 1, (WITH, WITH), Ok(counted)),
        (counted, 1, (WITH, WITHOUT), Ok(plain)),
        (attributed, 1, (WITH, WITH), Ok(attributed)),
        (attributed, 1, (WITH, WITHOUT), Ok(plain)),
        (only, 0, (WITH, WITH), Ok(only)),
        (only, 0, (WITH, WITHOUT), Ok(b"")),
        (b"\0", 0, (WITH, WITHOUT), Ok(b"")),
        (b"", 0, (WITHOUT, WITH), Ok(b"")),
        (b"", 0, (WITH, WITH), Err(COUNT)),
        (b"\0", 1, (WITH, WITH), Err(FEWER)),
        (b"\x01\0\x01\x03\0\0", 2, (WITH, WITH), Err(FEWER)),
        (b"", 1, (WITHOUT, WITHOUT), Err(NULLS)),
        (b"\0", 1, (WITHOUT, WITHOUT), Err(BOUND)),
        (b"\0\x01\x03", 1, (WITHOUT, WITHOUT), Err(TYPES)),
        (b"\0\0\x05\0\0\0", 1, (WITHOUT, WITHOUT), Err(TYPES)),
        (b"\x02\0\x01\x03\0\0\xFE\0\x05trace\x05\0", 1, (WITH, WITHOUT), Err(VALUES)),
    ];
    for (body, expected, legs, result) in cases {
        let found = carried(body, *expected, true, *legs);
        assert_eq!(found.as_deref(), result.as_ref().map(|bytes| &bytes[..]), "{body:x?} {expected} {legs:?}");
    }
}

#[test]
fn each_value_stands_behind_the_one_before() {
    let body = b"\x04\x01\x03\x80\xFD\0\xFD\0\x06\0\x0C\0\xFD\0\x05\0\0\0\x02ab\x00\x01c\x09d";
    let parameters = Parameters::parse(body, 6, false, WITHOUT).unwrap().unwrap();
    let values: Vec<_> = parameters.bound(None).unwrap().values().collect();
    let value = |kind, unsigned, bytes| Some(Value { kind, unsigned, bytes });
    let expected = [
        value(0x03, true, Some(&b"\x05\0\0\0"[..])),
        value(0xFD, false, Some(b"ab")),
        None,
        None,
        value(0x0C, false, Some(b"")),
        value(0xFD, false, Some(b"c")),
    ];
    assert_eq!(values, expected);
    let cut = Parameters { values: &parameters.values[..9], ..parameters };
    assert_eq!(cut.bound(None).unwrap().values().last(), Some(value(0xFD, false, None)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..60), expected in 0..4usize) {
        let _ = text(&body, WITH);
        let _ = carried(&body, expected, true, (WITH, WITHOUT));
        let _ = carried(&body, expected, false, (WITHOUT, WITH));
    }
}
