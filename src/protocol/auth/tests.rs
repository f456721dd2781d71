//! The two machines against each other; beside this file, each against packets that the other would not send.

mod client;
mod passthrough;
mod server;

use proptest::prelude::*;

use super::*;
use crate::protocol::capabilities::Capabilities;
use crate::protocol::errors::ServerError;
use crate::protocol::greeting::Greeting;
use crate::protocol::login::{Attributes, FirstPacket, Login};

const NONCE: Nonce = *b"ABCDEFGHIJKLMNOPQRST";
const MESSAGE: Message = *b"abcdefghijklmnopqrstuvwxyz012345";
const OK: &[u8] = b"\x00\x00\x00\x02\x00\x00\x00";

fn key() -> RsaKey {
    static KEY: std::sync::OnceLock<RsaKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| RsaKey::generate().unwrap()).clone()
}

fn password(text: &str) -> Credential {
    Credential::Password(text.as_bytes().into())
}

fn account(passwords: &[&str]) -> Option<Account> {
    let credentials = passwords.iter().map(|text| password(text)).collect();
    Some(Account { credentials, ..Account::default() })
}

fn greeting(plugin: &[u8]) -> Greeting {
    Greeting {
        version: b"8.4.0".to_vec(),
        connection_id: 1,
        nonce: NONCE,
        capabilities: Capabilities::from_bits(0xFFFF_FFFF).without(Capabilities::ZSTD),
        collation: 255,
        status: 2,
        plugin: plugin.to_vec(),
    }
}

fn request(password: &str, tls: TlsUse) -> LoginRequest {
    LoginRequest {
        user: b"app".to_vec(),
        credential: self::password(password),
        schema: Some(b"shop".to_vec()),
        capabilities: Capabilities::DEPRECATE_EOF,
        collation: 255,
        max_packet: 1 << 24,
        attributes: Attributes::new([(&b"program_name"[..], &b"weir"[..])]),
        tls,
    }
}

fn challenge(announced: Option<Plugin>, preferred: Plugin, channel: Channel) -> Challenge {
    let capabilities = Capabilities::PLUGIN_AUTH.with(Capabilities::SECURE_CONNECTION);
    Challenge { nonce: NONCE, message: MESSAGE, announced, preferred, capabilities, channel, rsa: Some(key()) }
}

/// Lets a `ServerLogin` log in to a `ClientAuth`; yields what it came to, and the headers of what was sent to the client.
fn log_in(
    announced: Plugin,
    channel: Channel,
    password: &str,
    account: Option<Account>,
) -> (Result<LoggedIn, LoginError>, Vec<u8>) {
    let (begin_on, tls) = match channel {
        Channel::Tls => (Channel::Plain, TlsUse::Required),
        other => (other, TlsUse::Disabled),
    };
    let (mut login, mut step) = ServerLogin::begin(&greeting(announced.name()), request(password, tls), begin_on);
    if let ServerStep::StartTls(payload) = &step {
        assert!(matches!(FirstPacket::parse(payload), Ok(FirstPacket::Tls(_))));
        step = login.secured();
    }
    let mut auth = None;
    let mut headers = Vec::new();
    loop {
        let sent = match step {
            ServerStep::Send(payload) => payload,
            ServerStep::Done(done) => return (Ok(done), headers),
            ServerStep::Failed(error) => return (Err(error), headers),
            ServerStep::Read | ServerStep::StartTls(_) => panic!("nothing more to read: {step:?}"),
        };
        let answer = match &mut auth {
            None => {
                let packet = parse_login(&sent);
                let plugin = packet.plugin.as_deref();
                let attempt = Attempt { user: &packet.user, host: b"10.0.0.1", plugin, response: &packet.response };
                let challenge = challenge(Some(announced), Plugin::CachingSha2, channel);
                let (machine, answer) = ClientAuth::begin(challenge, attempt, account.clone());
                auth = Some(machine);
                answer
            }
            Some(machine) => machine.answer(&sent),
        };
        let packets = match answer {
            ClientStep::Send(payload) => vec![payload],
            ClientStep::Accept { notice, .. } => notice.into_iter().chain([OK.to_vec()]).collect(),
            ClientStep::Reject(error) => vec![error.payload(Capabilities::PROTOCOL_41)],
            ClientStep::LookUp | ClientStep::Prove(_) => panic!("no server is to be asked"),
        };
        step = ServerStep::Read;
        for packet in packets {
            headers.push(packet[0]);
            step = login.answer(&packet);
        }
    }
}

fn parse_login(payload: &[u8]) -> Login {
    match FirstPacket::parse(payload) {
        Ok(FirstPacket::Login(login)) => login,
        other => panic!("not a login: {other:?}"),
    }
}

fn denied(using: &str) -> String {
    format!("error 1045 (28000): Access denied for user 'app'@'10.0.0.1' (using password: {using})")
}

#[test]
fn the_machines_agree_on_every_plugin_channel_and_password() {
    let accounts = [
        ("right", "secret", account(&["secret"]), None),
        ("second of two", "secret", account(&["older", "secret"]), None),
        ("wrong", "guess", account(&["secret"]), Some("YES")),
        ("unknown user", "secret", None, Some("YES")),
        ("nobody gets in", "secret", account(&[]), Some("YES")),
        ("empty and right", "", account(&[""]), None),
        ("empty and wrong", "", account(&["secret"]), Some("NO")),
        ("empty, unknown user", "", None, Some("NO")),
        ("given where empty is right", "secret", account(&[""]), Some("YES")),
    ];
    for announced in [Plugin::Native, Plugin::CachingSha2] {
        for channel in [Channel::Plain, Channel::Tls, Channel::Local] {
            for (name, password, account, denial) in accounts.clone() {
                let (outcome, _) = log_in(announced, channel, password, account);
                let text = match outcome {
                    Ok(_) => None,
                    Err(LoginError::Refused(error)) => Some(error.to_string()),
                    Err(other) => Some(other.to_string()),
                };
                assert_eq!(text, denial.map(denied), "{announced:?} {channel:?} {name}");
            }
        }
    }
}

#[test]
fn an_unknown_user_looks_like_a_wrong_password() {
    for announced in [Plugin::Native, Plugin::CachingSha2] {
        for channel in [Channel::Plain, Channel::Tls, Channel::Local] {
            for password in ["", "guess"] {
                let wrong = log_in(announced, channel, password, account(&["secret"]));
                let unknown = log_in(announced, channel, password, None);
                assert_eq!(wrong, unknown, "{announced:?} {channel:?} {password:?}");
            }
        }
    }
}

#[test]
fn a_login_takes_no_detours() {
    let cases = [
        (Plugin::Native, Channel::Plain, "secret", vec![0]),
        (Plugin::CachingSha2, Channel::Plain, "secret", vec![1, 0]),
        (Plugin::CachingSha2, Channel::Plain, "guess", vec![1, 1, 0xFF]),
        (Plugin::CachingSha2, Channel::Tls, "guess", vec![1, 0xFF]),
        (Plugin::Native, Channel::Plain, "guess", vec![0xFF]),
        (Plugin::Native, Channel::Plain, "", vec![0]),
        (Plugin::CachingSha2, Channel::Plain, "", vec![0]),
    ];
    for (plugin, channel, password, expected) in cases {
        let (_, headers) = log_in(plugin, channel, password, account(&["secret", ""]));
        assert_eq!(headers, expected, "{plugin:?} {channel:?} {password}");
    }
}

#[test]
fn proofs_are_the_known_ones() {
    // Made with an independent implementation (Python's hashlib).
    assert_eq!(hex(&native::scramble(b"secret", &NONCE)), NATIVE_PROOF);
    assert_eq!(hex(&caching_sha2::scramble(b"secret", &NONCE)), CACHING_SHA2_PROOF);
}

const NATIVE_PROOF: &str = "28441590674285e7d03cae7af237504797f70e91";
const CACHING_SHA2_PROOF: &str = "d721e183c1f036a196c1389201b8d53f38064a16f1d0923683ab886763152d75";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn any_packets_end_or_go_on(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..48), 1..6)) {
        let greeting = greeting(Plugin::CachingSha2.name());
        let (mut login, _) = ServerLogin::begin(&greeting, request("secret", TlsUse::Disabled), Channel::Plain);
        let attempt = Attempt { user: b"app", host: b"h", plugin: Some(b"caching_sha2_password"), response: &packets[0] };
        let challenge = challenge(Some(Plugin::CachingSha2), Plugin::CachingSha2, Channel::Plain);
        let (mut auth, step) = ClientAuth::begin(challenge, attempt, account(&["secret"]));
        let accepted = |step: &ClientStep| matches!(step, ClientStep::Accept { .. });
        prop_assert!(!accepted(&step));
        for packet in &packets {
            prop_assert!(!accepted(&auth.answer(packet)));
            login.answer(packet);
        }
    }
}
