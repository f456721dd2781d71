//! `ServerLogin` against greetings and packets that `ClientAuth` would not send.

use super::*;

#[test]
fn the_login_asks_for_what_is_wanted_and_offered() {
    let wanted = Capabilities::SSL.with(Capabilities::CONNECT_WITH_DB).with(Capabilities::CONNECT_ATTRS);
    let bare = LoginRequest {
        schema: None,
        attributes: Attributes::default(),
        capabilities: wanted.with(Capabilities::FOUND_ROWS).with(Capabilities::ZSTD).with(Capabilities::PROGRESS),
        ..request("secret", TlsUse::Disabled)
    };
    let always = Capabilities::from_bits(0x28_A205);
    let full = request("secret", TlsUse::Disabled);
    let cases = [
        (bare, always.with(Capabilities::FOUND_ROWS), None),
        (full, always.with(Capabilities::DEPRECATE_EOF).with(wanted).without(Capabilities::SSL), Some(&b"shop"[..])),
    ];
    for (request, capabilities, schema) in cases {
        let (_, step) = ServerLogin::begin(&greeting(Plugin::Native.name()), request.clone(), Channel::Plain);
        let ServerStep::Send(payload) = step else { panic!("{request:?}: {step:?}") };
        let login = parse_login(&payload);
        assert_eq!(login.head.capabilities, capabilities, "{request:?}");
        assert_eq!(login.schema.as_deref(), schema, "{request:?}");
        assert_eq!(login.attributes, request.attributes, "{request:?}");
    }
}

#[test]
fn the_first_plugin_is_the_announced_one_or_the_familys() {
    let mariadb = Capabilities::from_bits(0xFFFF_FFFE);
    let old = Capabilities::from_bits(0xFFFF_FFFF).without(Capabilities::PLUGIN_AUTH);
    let mysql = Capabilities::from_bits(0xFFFF_FFFF);
    let cases: [(Capabilities, &[u8], Plugin); 6] = [
        (mysql, b"caching_sha2_password", Plugin::CachingSha2),
        (mysql, b"mysql_native_password", Plugin::Native),
        (mysql, b"sha256_password", Plugin::CachingSha2),
        (mysql, b"authentication_ldap_sasl", Plugin::CachingSha2),
        (mariadb, b"unix_socket", Plugin::Native),
        (old, b"", Plugin::Native),
    ];
    for (capabilities, announced, expected) in cases {
        let greeting = Greeting { capabilities, ..greeting(announced) };
        let (_, step) = ServerLogin::begin(&greeting, request("secret", TlsUse::Disabled), Channel::Plain);
        let ServerStep::Send(payload) = step else { panic!("{}: {step:?}", announced.escape_ascii()) };
        let login = parse_login(&payload);
        let proof = match expected {
            Plugin::Native => native::scramble(b"secret", &NONCE),
            _ => caching_sha2::scramble(b"secret", &NONCE),
        };
        assert_eq!(login.response, proof, "{}", announced.escape_ascii());
        let named = capabilities.has(Capabilities::PLUGIN_AUTH).then(|| expected.name().to_vec());
        assert_eq!(login.plugin, named, "{}", announced.escape_ascii());
    }
}

#[test]
fn servers_that_ask_too_much_are_left() {
    let clear = [&[SWITCH][..], Plugin::Clear.name(), b"\0"].concat();
    let short_nonce = [&[SWITCH][..], Plugin::Native.name(), b"\0short"].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"\xFEclient_ed25519\0less than 32 bytes", "Malformed"),
        (&[SWITCH], "OldPassword"),
        (&clear, "NotSecret"),
        (&short_nonce, "Malformed"),
        (b"\xFEdialog\0", "UnknownPlugin"),
        (b"\x02more", "SecondFactor"),
        (b"\xFF\x10\x04Too many connections", "Refused"),
        (b"\x01\x09", "Malformed"),
        (b"", "Malformed"),
    ];
    for (packet, expected) in cases {
        let greeting = greeting(Plugin::CachingSha2.name());
        let (mut login, _) = ServerLogin::begin(&greeting, request("secret", TlsUse::Disabled), Channel::Plain);
        let step = login.answer(packet);
        let ServerStep::Failed(error) = step else { panic!("{packet:?}: {step:?}") };
        assert!(format!("{error:?}").starts_with(expected), "{packet:?}: {error:?}");
    }
}

#[test]
fn a_bad_key_from_a_server_is_an_error() {
    for key in [&b"\x01"[..], b"\x01no pem", b"\x01\x04", b"\x01-----BEGIN PUBLIC KEY-----\n"] {
        let greeting = greeting(Plugin::CachingSha2.name());
        let (mut login, _) = ServerLogin::begin(&greeting, request("secret", TlsUse::Disabled), Channel::Plain);
        assert!(matches!(login.answer(b"\x01\x04"), ServerStep::Send(sent) if sent == b"\x02"), "{key:?}");
        let step = login.answer(key);
        assert!(matches!(step, ServerStep::Failed(LoginError::Key(KeyError::Public))), "{key:?}: {step:?}");
    }
}

#[test]
fn sha256_sends_the_password_or_asks_for_the_key() {
    let switch = [&b"\xFEsha256_password\0"[..], &NONCE, b"\0"].concat();
    let cases = [
        (Channel::Tls, "secret", b"secret\0".to_vec()),
        (Channel::Local, "secret", b"\x01".to_vec()),
        (Channel::Plain, "secret", b"\x01".to_vec()),
        (Channel::Plain, "", b"".to_vec()),
    ];
    for (channel, password, expected) in cases {
        let greeting = greeting(Plugin::CachingSha2.name());
        let (mut login, _) = ServerLogin::begin(&greeting, request(password, TlsUse::Disabled), channel);
        let step = login.answer(&switch);
        assert!(matches!(&step, ServerStep::Send(sent) if *sent == expected), "{channel:?} {password:?}: {step:?}");
        if expected == b"\x01" {
            let ServerStep::Send(sent) = login.answer(&more_data(key().public_pem().as_bytes())) else { panic!() };
            assert_eq!(key().decrypt(&sent).map(|text| xor(&text, &NONCE)), Some(b"secret\0".to_vec()));
        }
    }
}

#[test]
fn a_signature_goes_to_servers_that_ask_for_one() {
    for (password, end) in [("secret", &b""[..]), ("secret", b"\0"), ("", b"")] {
        let greeting = greeting(Plugin::Native.name());
        let (mut login, _) = ServerLogin::begin(&greeting, request(password, TlsUse::Disabled), Channel::Plain);
        let step = login.answer(&[&Switch::to_sign(&MESSAGE)[..], end].concat());
        let ServerStep::Send(sent) = step else { panic!("{password:?}: {step:?}") };
        assert_eq!(sent, ed25519::sign(password.as_bytes(), &MESSAGE), "{password:?}");
    }
}

#[test]
fn no_step_prints_a_password() {
    let step = ServerStep::Send(b"secret\0".to_vec());
    assert_eq!(format!("{step:?}"), "Send(7 bytes)");
}

#[test]
fn clear_text_is_for_tls() {
    let greeting = greeting(Plugin::CachingSha2.name());
    let (mut login, _) = ServerLogin::begin(&greeting, request("secret", TlsUse::Preferred), Channel::Plain);
    assert!(matches!(login.secured(), ServerStep::Send(_)));
    let step = login.answer(b"\xFEmysql_clear_password\0");
    assert!(matches!(&step, ServerStep::Send(sent) if sent == b"secret\0"), "{step:?}");
}

#[test]
fn tls_is_used_as_asked_for() {
    let without = Capabilities::from_bits(0xFFFF_FFFF).without(Capabilities::SSL);
    let with = without.with(Capabilities::SSL);
    let cases = [
        (TlsUse::Disabled, Channel::Plain, with, "Send"),
        (TlsUse::Preferred, Channel::Plain, with, "StartTls"),
        (TlsUse::Required, Channel::Plain, with, "StartTls"),
        (TlsUse::Preferred, Channel::Plain, without, "Send"),
        (TlsUse::Required, Channel::Plain, without, "Failed(NoTls"),
        (TlsUse::Required, Channel::Local, with, "Send"),
    ];
    for (tls, channel, capabilities, expected) in cases {
        let greeting = Greeting { capabilities, ..greeting(Plugin::CachingSha2.name()) };
        let step = format!("{:?}", ServerLogin::begin(&greeting, request("secret", tls), channel).1);
        assert!(step.starts_with(expected), "{tls:?} {channel:?} {capabilities:?}: {step}");
    }
}
