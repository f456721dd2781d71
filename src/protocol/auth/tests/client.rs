//! `ClientAuth` against answers that `ServerLogin` would not give.

use super::*;

#[test]
fn clients_are_asked_with_a_plugin_that_they_know() {
    use Plugin::{CachingSha2, Native};
    let native = native::scramble(b"secret", &NONCE);
    let sha2 = caching_sha2::scramble(b"secret", &NONCE);
    let signature = ed25519::sign(b"secret", &MESSAGE);
    let asked = |plugin| Some(Switch::payload(plugin, &NONCE));
    /// Announced, the client's plugin, its response, what it is sent: none if it gets in at once.
    type Case<'a> = (Option<Plugin>, &'a [u8], &'a [u8], Option<Vec<u8>>);
    let cases: [Case<'_>; 12] = [
        (Some(CachingSha2), b"mysql_native_password", &native, None),
        (Some(CachingSha2), b"mysql_native_password", b"", asked(Native)),
        (Some(Native), b"caching_sha2_password", &sha2, None),
        (Some(Native), b"caching_sha2_password", b"", asked(CachingSha2)),
        (None, b"caching_sha2_password", b"", asked(CachingSha2)),
        (Some(CachingSha2), b"mysql_clear_password", b"secret\0", asked(CachingSha2)),
        (Some(CachingSha2), b"sha256_password", b"", asked(CachingSha2)),
        (Some(CachingSha2), b"", b"", asked(CachingSha2)),
        (Some(CachingSha2), b"client_ed25519", b"", Some(Switch::to_sign(&MESSAGE))),
        (Some(Native), b"client_ed25519", &signature, Some(Switch::to_sign(&MESSAGE))),
        (Some(CachingSha2), b"dialog", b"", asked(Native)),
        (Some(CachingSha2), b"dummy_fallback_auth", b"", asked(Native)),
    ];
    for (announced, plugin, response, expected) in cases {
        let attempt = Attempt { user: b"app", host: b"10.0.0.1", plugin: Some(plugin), response };
        let challenge = challenge(announced, CachingSha2, Channel::Tls);
        let (mut auth, step) = ClientAuth::begin(challenge, attempt, account(&["secret"]));
        let step = match (step, &expected) {
            (ClientStep::Send(sent), Some(expected)) => {
                assert_eq!(&sent, expected, "{announced:?} {}", plugin.escape_ascii());
                let plugin = Plugin::named(Switch::parse(&sent[1..]).unwrap().plugin).unwrap();
                auth.answer(match plugin {
                    Native => &native,
                    CachingSha2 => &sha2,
                    _ => &signature,
                })
            }
            (step, _) => step,
        };
        assert!(matches!(step, ClientStep::Accept { .. }), "{announced:?} {}: {step:?}", plugin.escape_ascii());
    }
}

#[test]
fn an_account_may_want_one_plugin() {
    use Plugin::{CachingSha2, Ed25519, Native};
    let proof = |plugin| match plugin {
        Native => native::scramble(b"secret", &NONCE),
        CachingSha2 => caching_sha2::scramble(b"secret", &NONCE),
        _ => ed25519::sign(b"secret", &MESSAGE).to_vec(),
    };
    for wanted in [Native, CachingSha2, Ed25519] {
        for named in [Native, CachingSha2, Ed25519] {
            let account = Account { plugin: Some(wanted), ..account(&["secret"]).unwrap() };
            let challenge = challenge(Some(Native), CachingSha2, Channel::Tls);
            // Right for the plugin that the client named; what was announced counts for nothing else.
            let response = proof(named);
            let attempt = Attempt { user: b"app", host: b"h", plugin: Some(named.name()), response: &response };
            let (mut auth, mut step) = ClientAuth::begin(challenge, attempt, Some(account));
            let at_once = named == wanted && wanted != Ed25519;
            if let ClientStep::Send(sent) = &step {
                assert_eq!(Switch::parse(&sent[1..]).unwrap().plugin, wanted.name(), "{wanted:?} {named:?}");
                assert!(!at_once, "{wanted:?} {named:?}");
                step = auth.answer(&proof(wanted));
            }
            assert!(matches!(step, ClientStep::Accept { .. }), "{wanted:?} {named:?}: {step:?}");
        }
    }
}

#[test]
fn signatures_of_any_other_shape_are_refused() {
    let right = ed25519::sign(b"secret", &MESSAGE);
    let other = ed25519::sign(b"secret", &[1; 32]);
    let long = [&right[..], b"\0"].concat();
    let cases: [(&str, &[u8]); 7] = [
        ("nothing", b""),
        ("a byte", b"\0"),
        ("cut", &right[..63]),
        ("long", &long),
        ("of another message", &other),
        ("zeros", &[0; 64]),
        ("the password", b"secret\0"),
    ];
    for (name, answer) in cases {
        for account in [account(&["secret"]), account(&["secret", ""]), account(&[]), None] {
            let challenge = challenge(Some(Plugin::Native), Plugin::Native, Channel::Tls);
            let attempt =
                Attempt { user: b"app", host: b"10.0.0.1", plugin: Some(Plugin::Ed25519.name()), response: b"" };
            let (mut auth, _) = ClientAuth::begin(challenge, attempt, account);
            let step = auth.answer(answer);
            assert!(
                matches!(&step, ClientStep::Reject(error) if error.to_string() == denied("YES")),
                "{name}: {step:?}"
            );
            assert!(matches!(auth.answer(&right), ClientStep::Reject(_)), "{name}: the check is over");
        }
    }
}

#[test]
fn old_clients_are_judged_by_what_they_can() {
    let native = native::scramble(b"secret", &NONCE);
    let old = ServerError::old_client().code;
    let cases = [
        ("no plugins: native", Capabilities::SECURE_CONNECTION, None),
        ("8-byte nonces", Capabilities::PLUGIN_AUTH, Some(old)),
        ("nothing", Capabilities::NONE, Some(old)),
    ];
    for plugin in [Plugin::CachingSha2, Plugin::Ed25519] {
        let challenge = challenge(Some(Plugin::Native), Plugin::Native, Channel::Plain);
        let challenge = Challenge { capabilities: Capabilities::SECURE_CONNECTION, ..challenge };
        let attempt = Attempt { user: b"app", host: b"h", plugin: None, response: &native };
        let account = Account { plugin: Some(plugin), ..account(&["secret"]).unwrap() };
        let step = ClientAuth::begin(challenge, attempt, Some(account)).1;
        assert!(matches!(&step, ClientStep::Reject(error) if error.code == old), "{plugin:?}: {step:?}");
    }
    for (name, capabilities, refusal) in cases {
        let challenge =
            Challenge { capabilities, ..challenge(Some(Plugin::CachingSha2), Plugin::CachingSha2, Channel::Plain) };
        let attempt = Attempt { user: b"app", host: b"h", plugin: None, response: &native };
        let code = match ClientAuth::begin(challenge, attempt, account(&["secret"])).1 {
            ClientStep::Reject(error) => Some(error.code),
            ClientStep::Accept { .. } => None,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(code, refusal, "{name}");
    }
}

#[test]
fn without_a_key_a_wrong_proof_over_a_plain_connection_is_refused_at_once() {
    let challenge =
        Challenge { rsa: None, ..challenge(Some(Plugin::CachingSha2), Plugin::CachingSha2, Channel::Plain) };
    let plugin = Some(Plugin::CachingSha2.name());
    let attempt = Attempt { user: b"app", host: b"10.0.0.1", plugin, response: &[7; 32] };
    let (_, step) = ClientAuth::begin(challenge, attempt, account(&["secret"]));
    assert!(matches!(&step, ClientStep::Reject(error) if error.to_string() == denied("YES")), "{step:?}");
}

/// A check that waits for the password, because the proof was made for another nonce.
fn asked_for_password(channel: Channel, passwords: &[&str]) -> ClientAuth {
    let plugin = Some(Plugin::CachingSha2.name());
    let attempt = Attempt { user: b"app", host: b"10.0.0.1", plugin, response: &[7; 32] };
    let challenge = challenge(Some(Plugin::CachingSha2), Plugin::CachingSha2, channel);
    let (auth, step) = ClientAuth::begin(challenge, attempt, account(passwords));
    assert_eq!(step, ClientStep::Send(more_data(&[caching_sha2::FULL])), "{channel:?}");
    auth
}

fn encrypted(text: &[u8]) -> Vec<u8> {
    rsa::encrypt(key().public_pem().as_bytes(), &xor(text, &NONCE)).unwrap()
}

#[test]
fn the_password_itself_is_accepted_where_nobody_can_listen() {
    let cases = [
        (Channel::Tls, b"secret\0".to_vec(), "accepted"),
        (Channel::Local, b"secret\0".to_vec(), "accepted"),
        (Channel::Tls, b"secret".to_vec(), "denied"),
        (Channel::Tls, b"secret\0\0".to_vec(), "denied"),
        (Channel::Tls, b"\0".to_vec(), "denied"),
        (Channel::Tls, b"".to_vec(), "denied"),
        (Channel::Plain, encrypted(b"secret\0"), "accepted"),
        (Channel::Plain, encrypted(b"secret"), "denied"),
        (Channel::Plain, encrypted(b"\0"), "denied"),
        (Channel::Plain, rsa::encrypt(key().public_pem().as_bytes(), b"secret\0").unwrap(), "denied"),
        (Channel::Plain, b"secret\0".to_vec(), "denied"),
        (Channel::Plain, b"".to_vec(), "denied"),
        (Channel::Plain, vec![0; 256], "denied"),
    ];
    for (channel, answer, expected) in cases {
        let mut auth = asked_for_password(channel, &["", "secret"]);
        let outcome = match auth.answer(&answer) {
            ClientStep::Accept { notice: None, credential } if credential == password("secret") => "accepted",
            ClientStep::Reject(error) if error.to_string() == denied("YES") => "denied",
            other => panic!("{channel:?} {}: {other:?}", answer.escape_ascii()),
        };
        assert_eq!(outcome, expected, "{channel:?} {}", answer.escape_ascii());
        let after = auth.answer(b"secret\0");
        assert!(matches!(after, ClientStep::Reject(_)), "{channel:?} {}: the check is over", answer.escape_ascii());
    }
}

#[test]
fn the_key_is_shown_once() {
    let mut auth = asked_for_password(Channel::Plain, &["secret"]);
    let request = [caching_sha2::KEY_REQUEST];
    assert_eq!(auth.answer(&request), ClientStep::Send(more_data(key().public_pem().as_bytes())));
    assert!(matches!(auth.answer(&request), ClientStep::Reject(_)));
}

#[test]
fn an_empty_password_is_proven_by_an_empty_answer_only() {
    let (native, sha2) = (native::scramble(b"", &NONCE), caching_sha2::scramble(b"", &NONCE));
    let cases: [(Plugin, &[u8], &str, &str); 7] = [
        (Plugin::Native, b"", "", "accepted"),
        (Plugin::CachingSha2, b"", "", "accepted"),
        (Plugin::CachingSha2, b"\0", "", "accepted"),
        (Plugin::CachingSha2, b"\0", "secret", "error 1045"),
        (Plugin::Native, b"\0", "", "error 1043"),
        (Plugin::Native, &native, "", "error 1045"),
        (Plugin::CachingSha2, &sha2, "", "error 1045"),
    ];
    for (plugin, response, password, expected) in cases {
        let challenge = Challenge { rsa: None, ..challenge(Some(plugin), plugin, Channel::Plain) };
        let attempt = Attempt { user: b"app", host: b"h", plugin: Some(plugin.name()), response };
        let outcome = match ClientAuth::begin(challenge, attempt, account(&[password])).1 {
            ClientStep::Accept { notice: None, .. } => "accepted".to_owned(),
            ClientStep::Reject(error) => error.to_string(),
            other => format!("{other:?}"),
        };
        assert!(outcome.starts_with(expected), "{plugin:?} {} {password:?}: {outcome}", response.escape_ascii());
    }
}
