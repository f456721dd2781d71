//! Any packets, one per line-feed-separated piece: neither machine panics, and nobody gets in without the password.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use weir::config::Secret;
use weir::protocol::auth::{
    Account, Attempt, Challenge, Channel, ClientAuth, ClientStep, LoginRequest, Plugin, RsaKey, ServerLogin, TlsUse,
};
use weir::protocol::login::Attributes;
use weir::protocol::{Capabilities, Greeting};

const NONCE: [u8; 20] = *b"ABCDEFGHIJKLMNOPQRST";
const PASSWORD: &str = "a password that the fuzzer does not know";

fuzz_target!(|input: &[u8]| {
    let mut packets = input.split(|&byte| byte == b'\n');
    let Some(greeting) = packets.next() else { return };
    let packets: Vec<&[u8]> = packets.collect();
    if let Ok(greeting) = Greeting::parse(greeting) {
        let (mut login, _) = ServerLogin::begin(&greeting, request(), Channel::Plain);
        for packet in &packets {
            login.answer(packet);
        }
    }
    if let [plugin, response, answers @ ..] = &packets[..] {
        let attempt = Attempt { user: b"app", host: b"h", plugin: Some(plugin), response };
        let (mut auth, step) = ClientAuth::begin(challenge(input.len()), attempt, Some(account()));
        assert!(!matches!(step, ClientStep::Accept { .. }));
        for answer in answers {
            assert!(!matches!(auth.answer(answer), ClientStep::Accept { .. }));
        }
    }
});

fn account() -> Account {
    Account { passwords: vec![Secret::new(PASSWORD.to_owned())], plugin: None }
}

fn challenge(seed: usize) -> Challenge {
    static KEY: OnceLock<RsaKey> = OnceLock::new();
    let rsa = KEY.get_or_init(|| RsaKey::generate().expect("the machine has randomness"));
    Challenge {
        nonce: NONCE,
        message: [7; 32],
        announced: [Some(Plugin::CachingSha2), Some(Plugin::Native), None][seed % 3],
        preferred: Plugin::CachingSha2,
        capabilities: Capabilities::PLUGIN_AUTH.with(Capabilities::SECURE_CONNECTION),
        channel: [Channel::Plain, Channel::Tls][seed % 2],
        rsa: Some(rsa.clone()),
    }
}

fn request() -> LoginRequest {
    LoginRequest {
        user: b"app".to_vec(),
        password: Secret::new(PASSWORD.to_owned()),
        schema: None,
        capabilities: Capabilities::NONE,
        collation: 255,
        max_packet: 1 << 24,
        attributes: Attributes::default(),
        tls: TlsUse::Disabled,
    }
}
