//! Any packets, one per line-feed-separated piece: neither machine panics, and nobody gets in without the password.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use weir::protocol::auth::{
    Account, Attempt, Challenge, Channel, ClientAuth, ClientStep, Credential, LoginRequest, Plugin, RsaKey,
    ServerLogin, Stored, TlsUse, Verdict,
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
        for account in [account(), Account::of_server(None), Account::of_server(Some(credential()))] {
            let (mut auth, step) = ClientAuth::begin(challenge(input.len()), attempt, Some(account));
            refused(&mut auth, step);
            for answer in answers {
                let step = auth.answer(answer);
                refused(&mut auth, step);
            }
        }
    }
});

/// A server that has stored the password finds everything else wrong.
fn refused(auth: &mut ClientAuth, mut step: ClientStep) {
    loop {
        step = match step {
            ClientStep::Accept { .. } => panic!("somebody got in"),
            ClientStep::LookUp => auth.looked_up(Ok(stored())),
            ClientStep::Prove(proven) => {
                assert_ne!(proven, credential());
                auth.judged(Verdict::Wrong)
            }
            ClientStep::Send(_) | ClientStep::Reject(_) => return,
        };
    }
}

fn stored() -> Stored {
    let mut stored = Stored::default();
    stored.add(b"mysql_native_password", b"*14E65567ABDB5135D0CFD9A70B3032C179A49EE7");
    stored
}

fn credential() -> Credential {
    Credential::Password(PASSWORD.as_bytes().into())
}

fn account() -> Account {
    Account { credentials: vec![credential()], ..Account::default() }
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
        credential: credential(),
        schema: None,
        capabilities: Capabilities::NONE,
        collation: 255,
        max_packet: 1 << 24,
        attributes: Attributes::default(),
        tls: TlsUse::Disabled,
    }
}
