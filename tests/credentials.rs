//! Ways to prove who one is that drivers hide: the whole of `caching_sha2_password`, spoken by hand, and client
//! certificates.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;

use std::{path::Path, sync::Arc};

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use bed::{Bed, flavors, raw::MODERN};
use mysql_async::{ClientIdentity, Conn, SslOpts};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use tokio_rustls::TlsConnector;
use weir::{
    config::{ServerTls, ServerTlsMode},
    net::{PacketStream, Scratch, Socket, Stream, tls},
    protocol::{
        Capabilities, Greeting, ServerError,
        login::{Attributes, Login, LoginHead},
    },
    sandbox::Cluster,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Channel {
    Plain,
    Tls,
}

const SWITCH: u8 = 0xFE;
const FULL: &[u8] = b"\x01\x04";
const KEY_REQUEST: &[u8] = b"\x02";

/// A client in the middle of its login.
struct Login41 {
    packets: PacketStream,
    scratch: Scratch,
    nonce: Vec<u8>,
}

impl Login41 {
    async fn read(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        self.packets.read_payload(&self.scratch, &mut payload, 1 << 20).await.unwrap();
        payload
    }

    /// Logs in as `app` with a scramble of nothing, so that it is asked for the password itself, if for anything.
    /// Returns what Weir answers to that.
    async fn begin(port: u16, channel: Channel) -> (Self, Vec<u8>) {
        let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let packets = PacketStream::new(Stream::Plain(Socket::Tcp(socket.into())));
        let mut login = Self { packets, scratch: Scratch::new(4096), nonce: Vec::new() };
        let greeting = Greeting::parse(&login.read().await).unwrap();
        login.nonce = greeting.nonce.to_vec();
        let mut capabilities = MODERN
            .with(Capabilities::LONG_PASSWORD)
            .with(Capabilities::PROTOCOL_41)
            .with(Capabilities::SECURE_CONNECTION)
            .with(Capabilities::PLUGIN_AUTH);
        let mut head = LoginHead { capabilities, max_packet: 1 << 24, collation: 45 };
        if channel == Channel::Tls {
            capabilities = capabilities.with(Capabilities::SSL);
            head = LoginHead { capabilities, ..head };
            login.packets.write_payload(&head.payload()).await.unwrap();
            login.packets = encrypted(login.packets).await;
        }
        let plugin = Some(b"caching_sha2_password".to_vec());
        let response = vec![7; 32];
        let attributes = Attributes::default();
        let first = Login { head, user: b"app".into(), response, schema: None, plugin, attributes, zstd_level: None };
        login.packets.write_payload(&first.payload().unwrap()).await.unwrap();
        let mut answer = login.read().await;
        if let [SWITCH, body @ ..] = &answer[..] {
            let nonce = body.strip_prefix(b"caching_sha2_password\0").unwrap();
            login.nonce = nonce[..20].to_vec();
            login.packets.write_payload(&[7; 32]).await.unwrap();
            answer = login.read().await;
        }
        (login, answer)
    }

    /// Sends the password as the channel allows. Returns the last word.
    async fn tell(&mut self, password: &str, channel: Channel) -> Vec<u8> {
        let mut text = [password.as_bytes(), b"\0"].concat();
        if channel == Channel::Plain {
            self.packets.write_payload(KEY_REQUEST).await.unwrap();
            let answer = self.read().await;
            let pem = answer.strip_prefix(b"\x01").expect("a key");
            text.iter_mut().zip(self.nonce.iter().cycle()).for_each(|(byte, nonce)| *byte ^= nonce);
            text = encrypt(pem, &text);
        }
        self.packets.write_payload(&text).await.unwrap();
        self.read().await
    }
}

async fn encrypted(packets: PacketStream) -> PacketStream {
    let anyone = ServerTls { mode: ServerTlsMode::Required, ca: None, cert: None, key: None };
    let connector = TlsConnector::from(tls::for_servers(&anyone).unwrap());
    let (sequence, socket) = (packets.sequence, packets.into_socket().unwrap());
    let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    let mut packets = PacketStream::new(Stream::Tls(Box::new(stream.into())));
    packets.sequence = sequence;
    packets
}

fn encrypt(pem: &[u8], text: &[u8]) -> Vec<u8> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).unwrap();
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).unwrap()).unwrap();
    let mut room = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA1_MGF1SHA1, text, &mut room, None).unwrap().to_vec()
}

#[tokio::test]
async fn the_password_itself_proves_it_where_the_scramble_did_not() {
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "").await;
        for channel in [Channel::Plain, Channel::Tls] {
            for (password, right) in [("app-secret", true), ("app-secre", false), ("app-secret ", false), ("", false)] {
                let (mut login, answer) = Login41::begin(bed.port(), channel).await;
                assert_eq!(answer, FULL, "{flavor}, {channel:?}");
                let answer = login.tell(password, channel).await;
                if !right {
                    let error = ServerError::parse(&answer).unwrap();
                    assert_eq!(error.code, 1045, "{flavor}, {channel:?}, {password:?}");
                    continue;
                }
                assert_eq!(answer[0], 0, "{flavor}, {channel:?}: {answer:?}");
                login.packets.sequence = 0;
                login.packets.write_payload(b"\x03SELECT 1").await.unwrap();
                assert_eq!(login.read().await, [1], "{flavor}, {channel:?}: one column");
            }
        }
        // Without a secret channel the password must not go over the wire as it is.
        let (mut login, _) = Login41::begin(bed.port(), Channel::Plain).await;
        login.packets.write_payload(b"app-secret\0").await.unwrap();
        assert_eq!(ServerError::parse(&login.read().await).unwrap().code, 1045, "{flavor}");
        bed.stop().await;
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a client shows that an authority vouches for.
fn identity(authority: &Authority) -> ClientIdentity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a client".to_owned()]).unwrap();
    let cert = params.signed_by(&key, authority).unwrap();
    ClientIdentity::new(cert.pem().into_bytes().into(), key.serialize_pem().into_bytes().into())
}

#[tokio::test]
async fn clients_show_a_certificate_that_the_authority_signed() {
    let (ours, theirs) = (Arc::new(authority()), authority());
    for flavor in flavors() {
        let bed = Bed::with(Cluster::start(flavor, 0).await.unwrap(), "").await;
        let (basics, ca) =
            (std::fs::read_to_string(bed.config_file()).unwrap(), bed.config_file().with_extension("ca"));
        std::fs::write(&ca, ours.pem()).unwrap();
        for mode in ["preferred", "required"] {
            bed.edit(&format!("{basics}[tls.client]\nmode = {mode:?}\nca = {:?}\n", ca.display().to_string()));
            reload(&bed).await;
            let connect = async |identity: Option<ClientIdentity>| {
                let tls = SslOpts::default().with_danger_accept_invalid_certs(true).with_client_identity(identity);
                Conn::new(bed.options().ssl_opts(Some(tls))).await
            };
            connect(Some(identity(&ours))).await.unwrap_or_else(|error| panic!("{flavor}, {mode}: {error}"));
            assert!(connect(Some(identity(&theirs))).await.is_err(), "{flavor}, {mode}: somebody else's");
            assert!(connect(None).await.is_err(), "{flavor}, {mode}: none");
            let plain = Conn::new(bed.options()).await;
            assert_eq!(plain.is_ok(), mode == "preferred", "{flavor}, {mode}: without TLS: {plain:?}");
        }
        // An authority that cannot be read changes nothing.
        let missing = format!("{basics}[tls.client]\nca = {:?}\n", Path::new("/nowhere/ca.pem").display().to_string());
        bed.edit(&missing);
        let (reply, answer) = tokio::sync::oneshot::channel();
        bed.weir.context.control.send(weir::context::Control::Reload(reply)).await.unwrap();
        let error = answer.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("tls.client") && error.contains("/nowhere/ca.pem"), "{flavor}: {error}");
        bed.stop().await;
    }
}

async fn reload(bed: &Bed) {
    let (reply, answer) = tokio::sync::oneshot::channel();
    bed.weir.context.control.send(weir::context::Control::Reload(reply)).await.unwrap();
    answer.await.unwrap().unwrap();
}
