//! Name patterns and networks of rules: parsing and matching. Which of them a rule asks is decided by routing.

use std::{fmt, net::IpAddr, str::FromStr};

use super::{InvalidValue, Network, Pattern};

impl Pattern {
    /// Whether the whole of `name` matches. ASCII letters compare without case; at most
    /// `pattern × name` steps, whatever the pattern.
    pub fn matches(&self, name: &[u8]) -> bool {
        let pattern = self.0.as_bytes();
        let (mut at, mut read) = (0, 0);
        // Where to take up again after a mismatch: behind the last `*`, which then swallows one byte more.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(&byte) = name.get(read) {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    retry = Some((at, read));
                }
                Some(wanted) if wanted.eq_ignore_ascii_case(&byte) => {
                    at += 1;
                    read += 1;
                }
                _ => {
                    let Some((behind_star, swallowed)) = retry else { return false };
                    at = behind_star;
                    read = swallowed + 1;
                    retry = Some((at, read));
                }
            }
        }
        pattern.iter().skip(at).all(|byte| *byte == b'*')
    }
}

impl FromStr for Pattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "" => Err(InvalidValue::new("a pattern must not be empty; `*` matches everything")),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Network {
    /// Whether `address` lies in this network. An IPv4 client of an IPv6 socket (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(128_u32.saturating_sub(self.prefix.into())).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Parses `10.0.0.0/8`, `fd00::/8` or a single address.
impl FromStr for Network {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |why: &str| InvalidValue::new(format!("`{text}` is not a network: {why}"));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| invalid("write it as `10.0.0.0/8`, `fd00::/8` or one address"))?;
        if address != address.to_canonical() {
            return Err(invalid("write an IPv4 network as IPv4"));
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|bits| *bits <= longest)
                .ok_or_else(|| invalid(&format!("the prefix length is a number from 0 to {longest}")))?,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::bytes::RegexBuilder;

    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, matches) in [
            ("django_cache", "django_cache", true),
            ("django_cache", "DJANGO_Cache", true),
            ("django_cache", "django_cache2", false),
            ("django_cache", "django_cach", false),
            ("oauth2_provider_*", "oauth2_provider_accesstoken", true),
            ("oauth2_provider_*", "oauth2_provider_", true),
            ("oauth2_provider_*", "oauth2_provider", false),
            ("*", "", true),
            ("*", "anything", true),
            ("**", "x", true),
            ("*_log", "access_log", true),
            ("*_log", "access_log_log", true),
            ("*_log", "access_logs", false),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("shop.*", "shop.orders", true),
            ("shop.*", "shopxorders", false),
            ("a", "", false),
            ("?", "x", false),
            ("straße", "STRAßE", true),
        ] {
            let found = Pattern(pattern.into()).matches(name.as_bytes());
            assert_eq!(found, matches, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_stays_cheap() {
        let pattern = Pattern("*a".repeat(200) + "b");
        assert!(!pattern.matches("a".repeat(20_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn patterns_agree_with_a_regular_expression(pattern in "[abA*]{0,8}", name in "[abB]{0,10}") {
            let regex = RegexBuilder::new(&format!("^{}$", pattern.replace('*', ".*")))
                .case_insensitive(true)
                .build()
                .expect("letters and stars");
            prop_assert_eq!(Pattern(pattern).matches(name.as_bytes()), regex.is_match(name.as_bytes()));
        }

        #[test]
        fn any_bytes_can_be_asked(pattern: String, name: Vec<u8>) {
            Pattern(pattern).matches(&name);
        }
    }

    #[test]
    fn networks() {
        for (network, address, contains) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "::1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("128.0.0.0/1", "127.0.0.1", false),
            ("::1", "::1", true),
            ("::1", "::2", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let parsed: Network = network.parse().expect(network);
            let found = parsed.contains(address.parse().expect(address));
            assert_eq!(found, contains, "{address} in {network}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{network}");
        }
    }

    #[test]
    fn bad_networks_say_why() {
        for (text, why) in [
            ("", "write it as"),
            ("10.0.0/8", "write it as"),
            ("localhost", "write it as"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/-1", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("::ffff:10.0.0.0/104", "as IPv4"),
        ] {
            let error = text.parse::<Network>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
