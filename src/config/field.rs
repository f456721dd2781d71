//! One TOML value to one typed value, with its range. Which key wants which is decided in `read`.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use regex::bytes::Regex;
use toml::de::DeValue;

use super::{Address, InvalidValue, Keyword, duration_text, parse_duration, parse_size, size_text};

/// Largest share of the reads: sums of a thousand of them stay far inside 32 bits.
pub(super) const MAX_WEIGHT: u32 = 1_000_000;

/// "expected …, found …".
pub(super) fn unexpected(expected: &str, found: &DeValue<'_>) -> InvalidValue {
    let found = match found {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    InvalidValue::new(format!("expected {expected}, found {found}"))
}

/// Any text, also an empty one.
pub(super) fn text<'d>(value: &'d DeValue<'_>) -> Result<&'d str, InvalidValue> {
    value.as_str().ok_or_else(|| unexpected("text in quotes", value))
}

/// A name: not empty, no control characters.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, InvalidValue> {
    let name = text(value)?;
    match name {
        "" => Err(InvalidValue::new("must not be empty")),
        _ if name.chars().any(char::is_control) => Err(InvalidValue::new("must not hold control characters")),
        _ => Ok(name.into()),
    }
}

/// A name that can stand in `server:NAME` and in a SQL comment: a [`name`] without white space.
pub(super) fn identifier(value: &DeValue<'_>) -> Result<String, InvalidValue> {
    let name = name(value)?;
    match name.chars().any(char::is_whitespace) {
        true => Err(InvalidValue::new("must not hold white space")),
        false => Ok(name),
    }
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, InvalidValue> {
    value.as_bool().ok_or_else(|| unexpected("true or false", value))
}

/// A whole number in a range.
pub(super) fn whole(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Result<u32, InvalidValue> {
    move |value| {
        let DeValue::Integer(integer) = value else { return Err(unexpected("a whole number", value)) };
        u32::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| range.contains(number)).ok_or_else(
            || InvalidValue::new(format!("must be from {} to {}, found {integer}", range.start(), range.end())),
        )
    }
}

/// A size in bytes in a range: a number, or text with a unit.
pub(super) fn size(range: RangeInclusive<usize>) -> impl Fn(&DeValue<'_>) -> Result<usize, InvalidValue> {
    move |value| {
        let bytes = match value {
            DeValue::Integer(integer) => usize::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(text) => Some(parse_size(text)?),
            _ => return Err(unexpected("a size as \"64MiB\" or a number of bytes", value)),
        };
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            let (least, most) = (size_text(*range.start()), size_text(*range.end()));
            InvalidValue::new(format!("must be from {least} to {most}"))
        })
    }
}

pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, InvalidValue> {
    parse_duration(value.as_str().ok_or_else(|| unexpected("a duration as \"500ms\" or \"10s\"", value))?)
}

pub(super) fn positive_duration(value: &DeValue<'_>) -> Result<Duration, InvalidValue> {
    match duration(value)? {
        Duration::ZERO => Err(InvalidValue::new(format!("must be longer than {}", duration_text(Duration::ZERO)))),
        duration => Ok(duration),
    }
}

/// A duration for which something that may be out of date is believed: at most a day.
pub(super) fn brief(value: &DeValue<'_>) -> Result<Duration, InvalidValue> {
    const MOST: Duration = Duration::from_secs(24 * 60 * 60);
    match positive_duration(value)? {
        duration if duration <= MOST => Ok(duration),
        _ => Err(InvalidValue::new(format!("must be at most {}", duration_text(MOST)))),
    }
}

/// A duration where `"0s"` stands for no limit.
pub(super) fn limit(value: &DeValue<'_>) -> Result<Option<Duration>, InvalidValue> {
    Ok(Some(duration(value)?).filter(|duration| !duration.is_zero()))
}

pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, InvalidValue> {
    match text(value)? {
        "" => Err(InvalidValue::new("must not be empty")),
        path => Ok(path.into()),
    }
}

pub(super) fn keyword<T: Keyword>(value: &DeValue<'_>) -> Result<T, InvalidValue> {
    T::from_keyword(text(value)?)
}

/// Text that parses to a `T`.
pub(super) fn parsed<T: FromStr<Err = InvalidValue>>(value: &DeValue<'_>) -> Result<T, InvalidValue> {
    text(value)?.parse()
}

/// A statement digest: up to 16 hexadecimal digits.
pub(super) fn digest(value: &DeValue<'_>) -> Result<u64, InvalidValue> {
    let text = text(value)?;
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or_else(
        || {
            InvalidValue::new(format!(
                "`{text}` is not a digest: up to 16 hexadecimal digits, as `weir explain` prints"
            ))
        },
    )
}

pub(super) fn regex(value: &DeValue<'_>) -> Result<Regex, InvalidValue> {
    Regex::new(text(value)?).map_err(|error| {
        // The message draws the expression with a marker below it; its last line says what is wrong.
        let message = error.to_string();
        let reason = message.lines().last().unwrap_or_default();
        InvalidValue::new(format!("is not a regular expression: {}", reason.trim_start_matches("error: ")))
    })
}

/// Where to listen. Port 0 takes a free one.
pub(super) fn listen_address(value: &DeValue<'_>) -> Result<Address, InvalidValue> {
    to_listen_address(text(value)?)
}

pub(super) fn to_listen_address(text: &str) -> Result<Address, InvalidValue> {
    match text.parse()? {
        Address::Srv(_) => Err(InvalidValue::new("cannot listen on a DNS SRV name")),
        address => Ok(address),
    }
}

/// Where a server is.
pub(super) fn server_address(value: &DeValue<'_>) -> Result<Address, InvalidValue> {
    to_server_address(text(value)?)
}

pub(super) fn to_server_address(text: &str) -> Result<Address, InvalidValue> {
    match text.parse()? {
        Address::Tcp { port: 0, .. } => Err(InvalidValue::new("a server's port is from 1 to 65535")),
        address => Ok(address),
    }
}

/// A name server.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, InvalidValue> {
    let text = text(value)?;
    let wrong = || InvalidValue::new(format!("`{text}` is not an IP address and a port, as in `10.0.0.53:53`"));
    text.parse().map_err(|_| wrong())
}

/// Where an operator's door listens; empty text closes it.
pub(super) fn door(value: &DeValue<'_>) -> Result<Option<Address>, InvalidValue> {
    match text(value)? {
        "" => Ok(None),
        text => to_listen_address(text).map(Some),
    }
}

/// Number of workers; None for `"auto"`.
pub(super) fn workers(value: &DeValue<'_>) -> Result<Option<u32>, InvalidValue> {
    match value {
        DeValue::String(text) if text == "auto" => Ok(None),
        DeValue::Integer(_) => whole(1..=1024)(value).map(Some),
        _ => Err(unexpected("\"auto\" or a whole number", value)),
    }
}

/// A duration in which a core does nothing else: at most 10 ms.
pub(super) fn moment(value: &DeValue<'_>) -> Result<Duration, InvalidValue> {
    const MOST: Duration = Duration::from_millis(10);
    match duration(value)? {
        duration if duration <= MOST => Ok(duration),
        _ => Err(InvalidValue::new(format!("must be at most {}", duration_text(MOST)))),
    }
}

/// A log level, or a list of directives as `info,weir::backend=debug`.
pub(super) fn level(value: &DeValue<'_>) -> Result<String, InvalidValue> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = text(value)?;
    for directive in text.split(',') {
        let (module, level) = match directive.rsplit_once('=') {
            Some((module, level)) => (Some(module), level),
            None => (None, directive),
        };
        let is_path = |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
        if let Some(module) = module.filter(|module| module.is_empty() || !is_path(module)) {
            return Err(InvalidValue::new(format!(
                "`{module}` is not the path of a module, as in `weir::backend=debug`"
            )));
        }
        if !LEVELS.contains(&level) {
            return Err(InvalidValue::new(format!("unknown level `{level}`; it is one of: {}", LEVELS.join(", "))));
        }
    }
    Ok(text.into())
}
