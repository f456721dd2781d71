//! `ClientAuth` where a server judges, without one.

use super::*;

/// A server with one user, `app`, and what was asked of it.
struct Writer {
    stored: Stored,
    password: &'static str,
    asked: Vec<&'static str>,
}

impl Writer {
    fn new(plugin: &str, password: &'static str) -> Self {
        let mut stored = Stored::default();
        let twice = hex(&native::sha1(&native::sha1(password.as_bytes())));
        stored.add(plugin.as_bytes(), format!("*{twice}").as_bytes());
        Self { stored, password, asked: Vec::new() }
    }

    fn nobody() -> Self {
        Self { stored: Stored::default(), password: "nobody guesses this", asked: Vec::new() }
    }

    /// Answers until the client is to be sent something, or is judged.
    fn consult(&mut self, auth: &mut ClientAuth, mut step: ClientStep) -> ClientStep {
        loop {
            step = match step {
                ClientStep::LookUp => {
                    self.asked.push("look up");
                    auth.looked_up(Ok(self.stored.clone()))
                }
                ClientStep::Prove(credential) => {
                    self.asked.push("prove");
                    let right = credential.is_of(self.password.as_bytes());
                    auth.judged(if right { Verdict::Right } else { Verdict::Wrong })
                }
                other => return other,
            }
        }
    }
}

/// A client with a password logs in; yields the outcome (what was proven, or the error), the headers of what it was sent,
/// and what the server was asked.
fn log_in(
    announced: Plugin,
    channel: Channel,
    password: &str,
    known: Option<Credential>,
    mut writer: Writer,
) -> (Result<Credential, String>, Vec<u8>, Vec<&'static str>) {
    let greeting = greeting(announced.name());
    let (mut login, mut step) = ServerLogin::begin(&greeting, request(password, TlsUse::Disabled), Channel::Local);
    let mut auth: Option<ClientAuth> = None;
    let mut headers = Vec::new();
    loop {
        let ServerStep::Send(sent) = step else { panic!("{step:?}") };
        let answer = match &mut auth {
            None => {
                let packet = parse_login(&sent);
                let (plugin, response) = (packet.plugin.as_deref(), &packet.response[..]);
                let attempt = Attempt { user: &packet.user, host: b"10.0.0.1", plugin, response };
                let challenge = challenge(Some(announced), announced, channel);
                let (mut begun, step) = ClientAuth::begin(challenge, attempt, Some(Account::of_server(known.clone())));
                let step = writer.consult(&mut begun, step);
                auth = Some(begun);
                step
            }
            Some(auth) => {
                let step = auth.answer(&sent);
                writer.consult(auth, step)
            }
        };
        match answer {
            ClientStep::Send(payload) => {
                headers.push(payload[0]);
                step = login.answer(&payload);
            }
            ClientStep::Accept { credential, .. } => return (Ok(credential), headers, writer.asked),
            ClientStep::Reject(error) => return (Err(error.to_string()), headers, writer.asked),
            other => panic!("{other:?}"),
        }
    }
}

fn digest(text: &str) -> Credential {
    Credential::Digest(native::sha1(text.as_bytes()))
}

#[test]
fn passwords_are_got_and_proven_as_the_account_allows() {
    use Plugin::{CachingSha2, Native};
    const ACCOUNTS: [&str; 4] = ["mysql_native_password", "caching_sha2_password", "ed25519", "sha256_password"];
    for account in ACCOUNTS {
        for announced in [Native, CachingSha2] {
            let is_native = account == "mysql_native_password";
            // Native proofs give away a digest; otherwise the password is asked for, over a switch if need be.
            let (expected, packets): (_, &[u8]) = match (is_native, announced) {
                (true, Native) => (digest("secret"), &[]),
                (true, _) => (digest("secret"), &[SWITCH]),
                (false, Native) => (password("secret"), &[SWITCH, MORE_DATA]),
                (false, _) => (password("secret"), &[MORE_DATA]),
            };
            let case = format!("{account}, announced {announced:?}");
            let (outcome, headers, asked) =
                log_in(announced, Channel::Tls, "secret", None, Writer::new(account, "secret"));
            assert_eq!(outcome, Ok(expected), "{case}");
            assert_eq!((&headers[..], &asked[..]), (packets, &["look up", "prove"][..]), "{case}");
            let (outcome, _, _) = log_in(announced, Channel::Tls, "guess", None, Writer::new(account, "secret"));
            assert_eq!(outcome, Err(denied("YES")), "{case}");
            let (outcome, _, _) = log_in(announced, Channel::Tls, "", None, Writer::new(account, "secret"));
            assert_eq!(outcome, Err(denied("NO")), "{case}");
        }
    }
}

#[test]
fn what_is_known_needs_no_server_and_what_is_not_does() {
    use Plugin::{CachingSha2, Native};
    let (native, sha2) = ("mysql_native_password", "caching_sha2_password");
    let cases = [
        ("password", CachingSha2, Some(password("secret")), sha2, "secret", Ok(password("secret")), &[][..]),
        ("password, by native", Native, Some(password("secret")), native, "secret", Ok(password("secret")), &[]),
        ("digest", Native, Some(digest("secret")), native, "secret", Ok(digest("secret")), &[]),
        ("digest, by another plugin", CachingSha2, Some(digest("secret")), native, "secret", Ok(digest("secret")), &[]),
        ("wrong", CachingSha2, Some(password("secret")), sha2, "guess", Err(denied("YES")), &["look up", "prove"]),
        ("wrong digest", Native, Some(digest("secret")), native, "guess", Err(denied("YES")), &["look up"]),
        ("changed", CachingSha2, Some(password("old")), sha2, "secret", Ok(password("secret")), &["look up", "prove"]),
        ("changed digest", Native, Some(digest("old")), native, "secret", Ok(digest("secret")), &["look up", "prove"]),
        ("changed plugin", Native, Some(digest("old")), sha2, "secret", Ok(password("secret")), &["look up", "prove"]),
        ("none", CachingSha2, Some(password("")), sha2, "", Ok(password("")), &[]),
    ];
    for (name, announced, known, account, given, expected, asked) in cases {
        let outcome = log_in(announced, Channel::Tls, given, known, Writer::new(account, "secret"));
        assert_eq!((outcome.0, &outcome.2[..]), (expected, asked), "{name}");
    }
}

#[test]
fn a_stranger_takes_the_path_of_a_wrong_password() {
    for (announced, account) in
        [(Plugin::Native, "mysql_native_password"), (Plugin::CachingSha2, "caching_sha2_password")]
    {
        for channel in [Channel::Plain, Channel::Tls, Channel::Local] {
            for password in ["guess", ""] {
                let wrong = log_in(announced, channel, password, None, Writer::new(account, "secret"));
                let unknown = log_in(announced, channel, password, None, Writer::nobody());
                assert_eq!(wrong, unknown, "{account}, {channel:?}, {password:?}");
            }
        }
    }
}

#[test]
fn passwords_over_plain_connections_are_encrypted_or_refused() {
    let writer = || Writer::new("caching_sha2_password", "secret");
    let (outcome, headers, _) = log_in(Plugin::CachingSha2, Channel::Local, "secret", None, writer());
    assert_eq!((outcome, &headers[..]), (Ok(password("secret")), &[MORE_DATA][..]));
    let challenge =
        Challenge { rsa: None, ..challenge(Some(Plugin::CachingSha2), Plugin::CachingSha2, Channel::Plain) };
    let attempt =
        Attempt { user: b"app", host: b"10.0.0.1", plugin: Some(b"caching_sha2_password"), response: &[7; 32] };
    let (mut auth, step) = ClientAuth::begin(challenge, attempt, Some(Account::of_server(None)));
    let step = writer().consult(&mut auth, step);
    assert!(matches!(&step, ClientStep::Reject(error) if error.to_string() == denied("YES")), "{step:?}");
}

#[test]
fn odd_passwords_are_refused_without_asking() {
    let mut long = vec![b'x'; 257];
    long.push(0);
    for answer in [&b"\0"[..], b"", b"secret", &long] {
        let challenge = challenge(Some(Plugin::CachingSha2), Plugin::CachingSha2, Channel::Tls);
        let attempt =
            Attempt { user: b"app", host: b"10.0.0.1", plugin: Some(b"caching_sha2_password"), response: &[7; 32] };
        let (mut auth, _) = ClientAuth::begin(challenge, attempt, Some(Account::of_server(None)));
        assert_eq!(auth.looked_up(Ok(Stored::UNTOLD)), ClientStep::Send(more_data(&[caching_sha2::FULL])));
        let step = auth.answer(answer);
        assert!(matches!(&step, ClientStep::Reject(error) if error.to_string() == denied("YES")), "{step:?}");
    }
}

#[test]
fn errors_of_the_server_are_the_clients_to_hear() {
    let begin = || {
        let challenge = challenge(Some(Plugin::Native), Plugin::Native, Channel::Tls);
        let attempt = Attempt { user: b"app", host: b"h", plugin: Some(b"mysql_native_password"), response: b"" };
        ClientAuth::begin(challenge, attempt, Some(Account::of_server(None)))
    };
    let locked =
        ServerError::parse(b"\xFF\x2E\x0C#HY000Access denied for user 'app'@'weir'. Account is locked.").unwrap();
    let (mut auth, step) = begin();
    assert_eq!(step, ClientStep::Prove(password("")));
    let step = auth.judged(Verdict::Error(locked));
    let told = "error 3118 (HY000): Access denied for user 'app'@'h'. Account is locked.";
    assert!(matches!(&step, ClientStep::Reject(error) if error.to_string() == told), "{step:?}");
    // What nobody asked for.
    let (mut auth, _) = begin();
    assert!(matches!(auth.looked_up(Ok(Stored::default())), ClientStep::Reject(error) if error.code == 1156));
    assert!(matches!(auth.judged(Verdict::Right), ClientStep::Reject(error) if error.code == 1156), "after that");
    let (mut auth, _) = begin();
    assert!(matches!(auth.answer(b"x"), ClientStep::Reject(error) if error.code == 1156), "a client that cannot wait");
    assert!(matches!(auth.judged(Verdict::Right), ClientStep::Reject(error) if error.code == 1156), "gains nothing");
}

#[test]
fn a_client_without_plugins_is_told_that_it_is_too_old() {
    let old = Challenge {
        capabilities: Capabilities::SECURE_CONNECTION,
        ..challenge(Some(Plugin::Native), Plugin::Native, Channel::Tls)
    };
    let response = native::scramble(b"secret", &NONCE);
    let attempt = Attempt { user: b"app", host: b"h", plugin: None, response: &response };
    for (account, code) in [("caching_sha2_password", Some(1251)), ("mysql_native_password", None)] {
        let (mut auth, step) = ClientAuth::begin(old.clone(), attempt, Some(Account::of_server(None)));
        let step = Writer::new(account, "secret").consult(&mut auth, step);
        let found = match step {
            ClientStep::Reject(error) => Some(error.code),
            ClientStep::Accept { .. } => None,
            other => panic!("{account}: {other:?}"),
        };
        assert_eq!(found, code, "{account}");
    }
}

proptest! {
    #[test]
    fn nothing_but_a_proof_gets_in(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..48), 1..6)) {
        for account in ["mysql_native_password", "caching_sha2_password"] {
            let mut writer = Writer::new(account, "a password that nobody guesses");
            let challenge = challenge(Some(Plugin::Native), Plugin::Native, Channel::Tls);
            let attempt =
                Attempt { user: b"app", host: b"h", plugin: Some(b"caching_sha2_password"), response: &packets[0] };
            let (mut auth, step) = ClientAuth::begin(challenge, attempt, Some(Account::of_server(None)));
            prop_assert!(!matches!(writer.consult(&mut auth, step), ClientStep::Accept { .. }), "{:?}", packets);
            for packet in &packets {
                let step = auth.answer(packet);
                prop_assert!(!matches!(writer.consult(&mut auth, step), ClientStep::Accept { .. }), "{:?}", packets);
            }
        }
    }
}
