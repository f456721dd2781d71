//! The fixed words that a key may hold, and the words that name a target. One table per word list.

use std::{fmt, str::FromStr};

use super::{
    Algorithm, Auth, Balance, ClientPlugin, ClientTlsMode, Consistency, InvalidValue, LogFormat, Role, Route,
    RuleTarget, ServerCompression, ServerId, ServerTlsMode, State, Transactions, problem::nearest,
};

/// A value that is one of a few fixed words.
pub trait Keyword: Copy + PartialEq + 'static {
    /// Every word with its value, each value once.
    const WORDS: &'static [(&'static str, Self)];

    /// The word as it stands in a configuration.
    fn keyword(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    /// The value of a word.
    ///
    /// # Errors
    /// An unknown word; the message lists the known ones.
    fn from_keyword(text: &str) -> Result<Self, InvalidValue> {
        match Self::WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => Err(unknown(text, &Self::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>())),
        }
    }
}

impl Keyword for Role {
    const WORDS: &'static [(&'static str, Self)] =
        &[("writer", Self::Writer), ("replica", Self::Replica), ("auto", Self::Auto)];
}

impl Keyword for State {
    const WORDS: &'static [(&'static str, Self)] =
        &[("active", Self::Active), ("drain", Self::Drain), ("offline", Self::Offline)];
}

impl Keyword for Consistency {
    const WORDS: &'static [(&'static str, Self)] =
        &[("eventual", Self::Eventual), ("session", Self::Session), ("global", Self::Global)];
}

impl Keyword for Balance {
    const WORDS: &'static [(&'static str, Self)] =
        &[("round-robin", Self::RoundRobin), ("least-outstanding", Self::LeastOutstanding)];
}

impl Keyword for ClientTlsMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("disabled", Self::Disabled), ("preferred", Self::Preferred), ("required", Self::Required)];
}

impl Keyword for ServerTlsMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disabled", Self::Disabled),
        ("preferred", Self::Preferred),
        ("required", Self::Required),
        ("verify-ca", Self::VerifyCa),
        ("verify-identity", Self::VerifyIdentity),
    ];
}

impl Keyword for Transactions {
    const WORDS: &'static [(&'static str, Self)] =
        &[("writer", Self::Writer), ("reads-before-write", Self::ReadsBeforeWrite)];
}

impl Keyword for Algorithm {
    const WORDS: &'static [(&'static str, Self)] = &[("zlib", Self::Zlib), ("zstd", Self::Zstd)];
}

impl Keyword for ServerCompression {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::None), ("zlib", Self::Zlib), ("zstd", Self::Zstd)];
}

impl Keyword for Auth {
    const WORDS: &'static [(&'static str, Self)] = &[("users", Self::Users), ("passthrough", Self::Passthrough)];
}

impl Keyword for ClientPlugin {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("mysql_native_password", Self::Native),
        ("caching_sha2_password", Self::CachingSha2),
        ("client_ed25519", Self::Ed25519),
    ];
}

impl Keyword for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

/// Parses `split`, `writer`, `reader`, `group:NAME` and `server:NAME`.
impl FromStr for Route {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once(':') {
            None if text == "split" => Ok(Self::Split),
            None if text == "writer" => Ok(Self::Writer),
            None if text == "reader" => Ok(Self::Reader),
            Some(("group", name)) if !name.is_empty() => Ok(Self::Group(name.into())),
            Some(("server", name)) if !name.is_empty() => Ok(Self::Server(ServerId::new(name))),
            _ => Err(unknown(text, &["split", "writer", "reader", "group:NAME", "server:NAME"])),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split => f.write_str("split"),
            Self::Writer => f.write_str("writer"),
            Self::Reader => f.write_str("reader"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Server(id) => write!(f, "server:{id}"),
        }
    }
}

/// Parses `writer`, `reader`, `group:NAME` and `reject`.
impl FromStr for RuleTarget {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once(':') {
            None if text == "writer" => Ok(Self::Writer),
            None if text == "reader" => Ok(Self::Reader),
            None if text == "reject" => Ok(Self::Reject),
            Some(("group", name)) if !name.is_empty() => Ok(Self::Group(name.into())),
            _ => Err(unknown(text, &["writer", "reader", "group:NAME", "reject"])),
        }
    }
}

impl fmt::Display for RuleTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer => f.write_str("writer"),
            Self::Reader => f.write_str("reader"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Reject => f.write_str("reject"),
        }
    }
}

fn unknown(text: &str, words: &[&str]) -> InvalidValue {
    InvalidValue::new(match nearest(text, words.iter().copied()) {
        Some(word) => format!("unknown value `{text}` — did you mean `{word}`?"),
        None => format!("unknown value `{text}`; it is one of: {}", words.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_word<T: Keyword + fmt::Debug>() {
        for (word, value) in T::WORDS {
            assert_eq!(T::from_keyword(word), Ok(*value), "{word}");
            assert_eq!(value.keyword(), *word, "{word}");
        }
    }

    #[test]
    fn words_and_values_go_both_ways() {
        every_word::<Role>();
        every_word::<State>();
        every_word::<Consistency>();
        every_word::<Balance>();
        every_word::<Transactions>();
        every_word::<ClientTlsMode>();
        every_word::<ServerTlsMode>();
        every_word::<Algorithm>();
        every_word::<ServerCompression>();
        every_word::<Auth>();
        every_word::<ClientPlugin>();
        every_word::<LogFormat>();
    }

    #[test]
    fn an_unknown_word_names_the_known_ones() {
        for (text, message) in [
            ("wrtier", "unknown value `wrtier` — did you mean `writer`?"),
            ("primary", "unknown value `primary`; it is one of: writer, replica, auto"),
            ("", "unknown value ``; it is one of: writer, replica, auto"),
        ] {
            assert_eq!(Role::from_keyword(text).expect_err(text).to_string(), message, "{text}");
        }
    }

    #[test]
    fn routes_and_targets_go_both_ways() {
        for text in ["split", "writer", "reader", "group:analytics", "server:db1", "server:10.0.0.1:3306"] {
            assert_eq!(text.parse::<Route>().map(|route| route.to_string()), Ok(text.into()), "{text}");
        }
        for text in ["writer", "reader", "group:analytics", "reject"] {
            assert_eq!(text.parse::<RuleTarget>().map(|target| target.to_string()), Ok(text.into()), "{text}");
        }
        for text in ["", "group", "group:", "server:", "writers:", "split:", "Split"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
            assert!(text.parse::<RuleTarget>().is_err(), "{text}");
        }
    }
}
