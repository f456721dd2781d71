use super::*;
use proptest::prelude::*;

#[test]
fn the_sqlstate_is_left_out_before_anything_is_agreed() {
    let error = ServerError::too_many_connections();
    assert_eq!(error.payload(Capabilities::NONE), b"\xFF\x10\x04Too many connections");
    assert_eq!(error.payload(Capabilities::PROTOCOL_41), b"\xFF\x10\x04#08004Too many connections");
}

#[test]
fn errors_carry_a_real_servers_text() {
    let cases = [
        (
            ServerError::access_denied(b"app", b"10.0.0.1", UsingPassword::Yes),
            "error 1045 (28000): Access denied for user 'app'@'10.0.0.1' (using password: YES)",
        ),
        (
            ServerError::access_denied(b"app", b"::1", UsingPassword::No),
            "error 1045 (28000): Access denied for user 'app'@'::1' (using password: NO)",
        ),
        (
            ServerError::schema_denied(b"app", b"%", b"shop"),
            "error 1044 (42000): Access denied for user 'app'@'%' to database 'shop'",
        ),
        (ServerError::unknown_database(b"shop"), "error 1049 (42000): Unknown database 'shop'"),
        (
            ServerError::unknown_statement(7, "mysqld_stmt_execute"),
            "error 1243 (HY000): Unknown prepared statement handler (7) given to mysqld_stmt_execute",
        ),
        (ServerError::unknown_thread(9), "error 1094 (HY000): Unknown thread id: 9"),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
        assert_eq!(ServerError::parse(&error.payload(Capabilities::PROTOCOL_41)), Ok(error.clone()), "{text}");
    }
}

#[test]
fn names_are_cut_as_servers_do() {
    let (long, wide) = ("x".repeat(49), format!("{}é", "x".repeat(47)));
    let cases = [("", ""), ("app", "app"), (&long[..48], &long[..48]), (&long, &long[..48]), (&wide, &wide[..47])];
    for (name, expected) in cases {
        assert_eq!(cut(name.as_bytes(), 48), expected.as_bytes(), "{name}");
    }
    assert_eq!(cut(&[0x80; 60], 48), b"");
}

#[test]
fn what_is_not_an_error_packet_is_malformed() {
    for payload in [&b""[..], b"\xFF", b"\xFF\x10", b"\x00\x10\x04x"] {
        assert!(ServerError::parse(payload).is_err(), "{payload:?}");
    }
    assert_eq!(ServerError::parse(b"\xFF\x10\x04#123").map(|e| e.message), Ok(b"#123".to_vec()));
}

proptest! {
    #[test]
    fn any_bytes_parse_or_fail(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(error) = ServerError::parse(&payload) {
            prop_assert_eq!(ServerError::parse(&error.payload(Capabilities::PROTOCOL_41)), Ok(error));
        }
    }
}
