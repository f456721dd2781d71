//! What a client says after the greeting: the request for TLS, the login, and the body of `COM_CHANGE_USER`. Bytes to
//! values and back; whether a login is accepted is decided in [`super::auth`].
//!
//! Source: "Protocol::SSLRequest", "Protocol::HandshakeResponse41", "COM_CHANGE_USER".

use super::capabilities::Capabilities;
use super::wire::{Malformed, Reader, put_lenenc_bytes, put_nul};

/// Length of the part that both the request for TLS and the login begin with.
const HEAD_LENGTH: usize = 32;
const FILLER_LENGTH: usize = 19;

/// The first packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket {
    /// TLS begins now; the login follows inside.
    Tls(LoginHead),
    /// The login.
    Login(Login),
}

impl FirstPacket {
    /// Reads what a client sends after the greeting.
    ///
    /// # Errors
    /// A client from before 4.1, or a field that runs past the end.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let head = LoginHead::read(&mut reader)?;
        if reader.is_empty() && head.capabilities.has(Capabilities::SSL) {
            return Ok(Self::Tls(head));
        }
        Login::read(head, &mut reader).map(Self::Login)
    }
}

/// What the request for TLS holds, and every login begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginHead {
    /// What the client asks for; not limited to what the server offered.
    pub capabilities: Capabilities,
    /// The longest packet that the client takes. Servers ignore it.
    pub max_packet: u32,
    /// The client's collation: the low byte of its id.
    pub collation: u8,
}

impl LoginHead {
    /// The payload of a request for TLS (`SSLRequest`).
    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LENGTH);
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let extended = match self.capabilities.has(Capabilities::LONG_PASSWORD) {
            true => 0,
            false => self.capabilities.extended(),
        };
        out.extend_from_slice(&self.capabilities.base().to_le_bytes());
        out.extend_from_slice(&self.max_packet.to_le_bytes());
        out.push(self.collation);
        out.extend_from_slice(&[0; FILLER_LENGTH]);
        out.extend_from_slice(&extended.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let base = reader.u32("login: capabilities")?;
        if !Capabilities::from_halves(base, 0).has(Capabilities::PROTOCOL_41) {
            return Err(Malformed("login: a client from before 4.1"));
        }
        let max_packet = reader.u32("login: longest packet")?;
        let collation = reader.u8("login: collation")?;
        reader.take(FILLER_LENGTH, "login: filler")?;
        let extended = reader.u32("login: filler")?;
        let mysql = Capabilities::from_halves(base, 0);
        let capabilities = match mysql.has(Capabilities::LONG_PASSWORD) {
            true => mysql,
            false => Capabilities::from_halves(base, extended),
        };
        Ok(Self { capabilities, max_packet, collation })
    }
}

/// The login (`HandshakeResponse41`). A field that its capability does not announce is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Capabilities, longest packet, collation.
    pub head: LoginHead,
    /// The user's name, in the character set of the collation.
    pub user: Vec<u8>,
    /// The plugin's first answer.
    pub response: Vec<u8>,
    /// The schema to begin in (`CONNECT_WITH_DB`).
    pub schema: Option<Vec<u8>>,
    /// The plugin that made `response` (`PLUGIN_AUTH`).
    pub plugin: Option<Vec<u8>>,
    /// Connection attributes (`CONNECT_ATTRS`).
    pub attributes: Attributes,
    /// Level for `ZSTD`.
    pub zstd_level: Option<u8>,
}

impl Login {
    /// The payload. The capability flags decide which fields are written, so they must be what both sides agreed on.
    ///
    /// # Errors
    /// A response that is too long for its length field.
    pub fn payload(&self) -> Result<Vec<u8>, Malformed> {
        let capabilities = self.head.capabilities;
        let mut out = Vec::with_capacity(HEAD_LENGTH + 128 + self.attributes.0.len());
        self.head.write(&mut out);
        put_nul(&mut out, &self.user);
        if capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            put_lenenc_bytes(&mut out, &self.response);
        } else if capabilities.has(Capabilities::SECURE_CONNECTION) {
            out.push(u8::try_from(self.response.len()).map_err(|_| Malformed("login: response too long"))?);
            out.extend_from_slice(&self.response);
        } else {
            put_nul(&mut out, &self.response);
        }
        if capabilities.has(Capabilities::CONNECT_WITH_DB) {
            put_nul(&mut out, self.schema.as_deref().unwrap_or_default());
        }
        if capabilities.has(Capabilities::PLUGIN_AUTH) {
            put_nul(&mut out, self.plugin.as_deref().unwrap_or_default());
        }
        if capabilities.has(Capabilities::CONNECT_ATTRS) {
            put_lenenc_bytes(&mut out, &self.attributes.0);
        }
        if capabilities.has(Capabilities::ZSTD) {
            out.extend(self.zstd_level);
        }
        Ok(out)
    }

    fn read(head: LoginHead, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let capabilities = head.capabilities;
        let user = reader.nul("login: user")?.to_vec();
        let response = if capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            reader.lenenc_bytes("login: response")?
        } else if capabilities.has(Capabilities::SECURE_CONNECTION) {
            let length = reader.u8("login: response")?;
            reader.take(usize::from(length), "login: response")?
        } else {
            reader.nul_or_rest()
        }
        .to_vec();
        let schema = optional_text(capabilities, Capabilities::CONNECT_WITH_DB, reader);
        let plugin = optional_text(capabilities, Capabilities::PLUGIN_AUTH, reader);
        let attributes = Attributes::read(capabilities, reader)?;
        let zstd_level = match capabilities.has(Capabilities::ZSTD) && !reader.is_empty() {
            true => Some(reader.u8("login: zstd level")?),
            false => None,
        };
        Ok(Self { head, user, response, schema, plugin, attributes, zstd_level })
    }
}

/// The body of `COM_CHANGE_USER`: another user on the same connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeUser {
    /// The new user.
    pub user: Vec<u8>,
    /// The plugin's first answer; often empty, because the client has no fresh nonce.
    pub response: Vec<u8>,
    /// The schema to begin in; none if empty.
    pub schema: Option<Vec<u8>>,
    /// The new collation, if the client sent one.
    pub collation: Option<u16>,
    /// The plugin that made `response`.
    pub plugin: Option<Vec<u8>>,
    /// Connection attributes.
    pub attributes: Attributes,
}

impl ChangeUser {
    /// Reads what follows the command byte, with the capabilities that the login agreed on.
    ///
    /// # Errors
    /// A field that runs past the end.
    pub fn parse(body: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let user = reader.nul("change user: user")?.to_vec();
        let response = if capabilities.has(Capabilities::SECURE_CONNECTION) {
            let length = reader.u8("change user: response")?;
            reader.take(usize::from(length), "change user: response")?
        } else {
            reader.nul("change user: response")?
        }
        .to_vec();
        let schema = Some(reader.nul_or_rest().to_vec()).filter(|schema| !schema.is_empty());
        let collation = match reader.is_empty() {
            true => None,
            false => Some(reader.u16("change user: collation")?),
        };
        let plugin = optional_text(capabilities, Capabilities::PLUGIN_AUTH, &mut reader);
        let attributes = Attributes::read(capabilities, &mut reader)?;
        Ok(Self { user, response, schema, collation, plugin, attributes })
    }
}

/// A trailing text that a capability announces. Connectors exist that announce one and send nothing: as good as none.
fn optional_text(capabilities: Capabilities, flag: Capabilities, reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let text = if capabilities.has(flag) { reader.nul_or_rest() } else { b"" };
    (!text.is_empty()).then(|| text.to_vec())
}

/// Connection attributes as they travel: pairs of length-encoded strings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Packs the pairs.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in pairs {
            put_lenenc_bytes(&mut bytes, key);
            put_lenenc_bytes(&mut bytes, value);
        }
        Self(bytes)
    }

    /// Weir's own, for connections that sessions share.
    pub fn of_weir() -> Self {
        Self::new([(&b"program_name"[..], &b"weir"[..])])
    }

    /// Those that are well formed.
    pub fn well_formed(&self) -> Self {
        Self::new(self.iter())
    }

    /// The value of one.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The pairs, up to the first one that is malformed.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            let key = reader.lenenc_bytes("attribute name").ok()?;
            Some((key, reader.lenenc_bytes("attribute value").ok()?))
        })
    }

    fn read(capabilities: Capabilities, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if !capabilities.has(Capabilities::CONNECT_ATTRS) || reader.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self(reader.lenenc_bytes("connection attributes")?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Capabilities = Capabilities::LONG_PASSWORD.with(Capabilities::PROTOCOL_41);

    fn login(capabilities: Capabilities) -> Login {
        let text = |flag, text: &[u8]| capabilities.has(flag).then(|| text.to_vec());
        let attributes = match capabilities.has(Capabilities::CONNECT_ATTRS) {
            true => Attributes::new([(&b"_os"[..], &b"Linux"[..]), (b"program_name", b"mysql")]),
            false => Attributes::default(),
        };
        Login {
            head: LoginHead { capabilities, max_packet: 1 << 24, collation: 255 },
            user: b"app".to_vec(),
            response: b"12345678901234567890".to_vec(),
            schema: text(Capabilities::CONNECT_WITH_DB, b"shop"),
            plugin: text(Capabilities::PLUGIN_AUTH, b"mysql_native_password"),
            attributes,
            zstd_level: capabilities.has(Capabilities::ZSTD).then_some(3),
        }
    }

    fn forms() -> Vec<Capabilities> {
        let all = [
            Capabilities::SECURE_CONNECTION,
            Capabilities::PLUGIN_AUTH_LENENC,
            Capabilities::CONNECT_WITH_DB,
            Capabilities::PLUGIN_AUTH,
            Capabilities::CONNECT_ATTRS,
            Capabilities::ZSTD,
        ];
        let mariadb = Capabilities::PROTOCOL_41.with(Capabilities::CACHE_METADATA);
        (0..1_usize << all.len())
            .map(|set| (0..all.len()).filter(|i| set >> i & 1 == 1).fold(BASE, |sum, i| sum.with(all[i])))
            .flat_map(|mysql| [mysql, mysql.without(BASE).with(mariadb)])
            .collect()
    }

    #[test]
    fn every_form_comes_back() {
        for capabilities in forms() {
            let login = login(capabilities);
            let payload = login.payload().unwrap();
            assert_eq!(FirstPacket::parse(&payload), Ok(FirstPacket::Login(login)), "{capabilities:?}");
        }
    }

    #[test]
    fn truncation_is_an_error_or_shortens_the_tail() {
        for capabilities in forms() {
            let payload = login(capabilities).payload().unwrap();
            for length in 0..payload.len() {
                if let Ok(FirstPacket::Login(read)) = FirstPacket::parse(&payload[..length]) {
                    assert_eq!(read.user, b"app", "{capabilities:?} {length}");
                }
            }
        }
    }

    #[test]
    fn a_short_packet_with_the_flag_is_the_request_for_tls() {
        let head = login(BASE.with(Capabilities::SSL)).head;
        assert_eq!(head.payload().len(), HEAD_LENGTH);
        assert_eq!(FirstPacket::parse(&head.payload()), Ok(FirstPacket::Tls(head)));
        let without = LoginHead { capabilities: BASE, ..head };
        assert!(FirstPacket::parse(&without.payload()).is_err(), "no TLS asked for, no user given");
    }

    #[test]
    fn a_response_longer_than_its_length_field_is_refused() {
        let long = Login { response: vec![1; 256], ..login(BASE.with(Capabilities::SECURE_CONNECTION)) };
        assert!(long.payload().is_err());
        let long = Login { response: vec![1; 256], ..login(BASE.with(Capabilities::PLUGIN_AUTH_LENENC)) };
        assert_eq!(FirstPacket::parse(&long.payload().unwrap()), Ok(FirstPacket::Login(long)));
    }

    #[test]
    fn change_user_in_its_long_and_short_forms() {
        let all = BASE
            .with(Capabilities::SECURE_CONNECTION)
            .with(Capabilities::PLUGIN_AUTH)
            .with(Capabilities::CONNECT_ATTRS);
        let plain = BASE.with(Capabilities::SECURE_CONNECTION);
        type Fields<'a> = (Option<&'a [u8]>, Option<u16>, Option<&'a [u8]>);
        let cases: [(&[u8], Capabilities, Fields<'_>); 5] = [
            (
                b"app\0\x03pwdshop\0\x2D\x01mysql_native_password\0\x00",
                all,
                (Some(b"shop"), Some(301), Some(b"mysql_native_password")),
            ),
            (b"app\0\x03pwd\0\x2D\0", all, (None, Some(45), None)),
            (b"app\0\x03pwdshop\0", plain, (Some(b"shop"), None, None)),
            (b"app\0\x03pwdshop", plain, (Some(b"shop"), None, None)),
            (b"app\0pwd\0shop\0\x2D\0", BASE, (Some(b"shop"), Some(45), None)),
        ];
        for (body, capabilities, expected) in cases {
            let read = ChangeUser::parse(body, capabilities).unwrap();
            let found = (read.schema.as_deref(), read.collation, read.plugin.as_deref());
            assert_eq!(found, expected, "{}", body.escape_ascii());
            assert_eq!((&read.user[..], &read.response[..]), (&b"app"[..], &b"pwd"[..]), "{}", body.escape_ascii());
        }
        for body in [&b""[..], b"app", b"app\0", b"app\0\x05pwd", b"app\0\x03pwd\0\x2D"] {
            assert!(ChangeUser::parse(body, all).is_err(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn attributes_end_at_the_first_malformed_pair() {
        let pairs = [(&b"a"[..], &b"1"[..]), (b"b", b"")];
        let mut attributes = Attributes::new(pairs);
        assert_eq!(attributes.iter().collect::<Vec<_>>(), pairs);
        attributes.0.extend_from_slice(b"\x01c\x09short");
        assert_eq!(attributes.iter().collect::<Vec<_>>(), pairs);
        assert_eq!(attributes.well_formed(), Attributes::new(pairs));
        let values = [&b"a"[..], b"b", b"c"].map(|name| attributes.value(name));
        assert_eq!(values, [Some(&b"1"[..]), Some(b""), None]);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(payload in proptest::collection::vec(any::<u8>(), 0..200), bits in any::<u64>()) {
            let _ = FirstPacket::parse(&payload);
            if let Ok(read) = ChangeUser::parse(&payload, Capabilities::from_bits(bits)) {
                prop_assert!(read.attributes.iter().count() <= payload.len());
            }
        }
    }
}
