//! Addresses: text to [`Address`] and back. Names are resolved where they are connected to.

use std::{
    fmt,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Address, InvalidValue};

/// Parses `host:port`, `[ipv6]:port`, `unix:/path` and `srv:_service._proto.name`.
impl FromStr for Address {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match Path::new(path).is_absolute() {
                true => Ok(Self::Unix(PathBuf::from(path))),
                false => Err(invalid(text, "the path of a Unix socket starts with `/`")),
            };
        }
        if let Some(name) = text.strip_prefix("srv:") {
            return match is_host_name(name) {
                true => Ok(Self::Srv(name.into())),
                false => Err(invalid(text, "a DNS name follows `srv:`")),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(invalid(text, "the port is missing, as in `db1.example:3306`"));
        };
        let port = parse_port(port).ok_or_else(|| invalid(text, "a port is a number from 0 to 65535"))?;
        let host = parse_host(host).map_err(|why| invalid(text, why))?;
        Ok(Self::Tcp { host, port })
    }
}

/// The text that parses back to the same address.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Srv(name) => write!(f, "srv:{name}"),
        }
    }
}

fn invalid(text: &str, why: &str) -> InvalidValue {
    InvalidValue::new(format!("`{text}` is not an address: {why}"))
}

fn parse_port(text: &str) -> Option<u16> {
    // `u16::from_str` would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn parse_host(text: &str) -> Result<String, &'static str> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or("`]` is missing")?;
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err("an IPv6 address stands between `[` and `]`"),
        };
    }
    match text {
        "" => Err("the host is missing"),
        _ if text.contains(':') => Err("an IPv6 address is written as `[::1]:3306`"),
        _ if is_host_name(text) => Ok(text.into()),
        _ => Err("a host has letters, digits, `.`, `-` and `_` only"),
    }
}

fn is_host_name(text: &str) -> bool {
    // RFC 1035: at most 253 characters. Underscores occur in container and SRV names.
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    #[test]
    fn good_addresses_and_their_texts() {
        for (text, address) in [
            ("10.0.0.11:3306", tcp("10.0.0.11", 3306)),
            ("db1.example:3306", tcp("db1.example", 3306)),
            ("my_db-1:0", tcp("my_db-1", 0)),
            ("[::1]:3306", tcp("::1", 3306)),
            ("[2001:db8::1]:65535", tcp("2001:db8::1", 65535)),
            ("unix:/run/weir/weir.sock", Address::Unix("/run/weir/weir.sock".into())),
            ("srv:_mysql._tcp.example", Address::Srv("_mysql._tcp.example".into())),
        ] {
            assert_eq!(text.parse(), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string(), text, "{text}");
        }
    }

    #[test]
    fn bad_addresses_say_why() {
        for (text, why) in [
            ("", "port is missing"),
            ("db1", "port is missing"),
            ("db1:", "port is a number"),
            ("db1:+1", "port is a number"),
            ("db1:65536", "port is a number"),
            ("db1:mysql", "port is a number"),
            (":3306", "host is missing"),
            ("::1:3306", "`[::1]:3306`"),
            ("[::1:3306", "`]` is missing"),
            ("[::1]", "port is a number"),
            ("[db1]:3306", "IPv6"),
            ("db 1:3306", "letters, digits"),
            ("mysql://db1:3306", "`[::1]:3306`"),
            ("unix:weir.sock", "starts with `/`"),
            ("unix:", "starts with `/`"),
            ("srv:", "DNS name"),
            ("srv:a b", "DNS name"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_survives_its_text(text in "\\PC{0,20}(:[0-9]{0,6})?") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
