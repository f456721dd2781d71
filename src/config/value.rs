//! Durations and sizes: text to value and back. Ranges belong to the key that reads them.

use std::time::Duration;

/// Why a text is not what it should be. Made to be read after the key's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub(super) String);

impl InvalidValue {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// No duration is longer, so that adding one to the time of day never overflows.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Units of durations in microseconds, largest first.
const DURATION_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Units of sizes in bytes, largest first.
const SIZE_UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Parses `"500ms"`, `"1m 30s"`, `"2h"`: whole numbers with a unit (`d h m s ms us`), larger units first.
///
/// # Errors
/// Anything else, and more than 365 days.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidValue> {
    let invalid =
        || InvalidValue::new(format!("`{text}` is not a duration: write it as \"500ms\", \"10s\" or \"1m 30s\""));
    let too_long = || InvalidValue::new(format!("`{text}` is too long: the longest duration is 365d"));
    let mut rest = text.trim();
    let mut units = DURATION_UNITS.as_slice();
    let mut micros: u64 = 0;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let (number, after) = split_digits(rest).ok_or_else(invalid)?;
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let position = units.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let (_, scale) = units[position];
        units = &units[position + 1..];
        let number: u64 = number.parse().map_err(|_| too_long())?;
        micros = number.checked_mul(scale).and_then(|part| micros.checked_add(part)).ok_or_else(too_long)?;
        rest = after.trim_start();
    }
    let duration = Duration::from_micros(micros);
    if duration > LONGEST { Err(too_long()) } else { Ok(duration) }
}

/// The text that [`parse_duration`] reads back to the same value, but for parts below a microsecond.
pub fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, scale) in DURATION_UNITS {
        if rest >= scale {
            parts.push(format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

/// Parses `"64MiB"`, `"16KiB"`, `"100B"` to bytes.
///
/// # Errors
/// Anything else, and sizes this machine cannot count.
pub fn parse_size(text: &str) -> Result<usize, InvalidValue> {
    let invalid = || {
        InvalidValue::new(format!(
            "`{text}` is not a size: write it as \"64MiB\" (B, KiB, MiB, GiB) or a number of bytes"
        ))
    };
    let (number, unit) = split_digits(text.trim()).ok_or_else(invalid)?;
    let (_, scale) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(invalid)?;
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(*scale))
        .ok_or_else(|| InvalidValue::new(format!("`{text}` is too large")))
}

/// The text that [`parse_size`] reads back to the same value, in the largest unit that divides it.
pub fn size_text(bytes: usize) -> String {
    let (unit, scale) =
        SIZE_UNITS.into_iter().find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale)).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / scale)
}

/// Leading digits, at least one, and what follows them.
fn split_digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("1m 30s", Some(90_000)),
            ("1m30s", Some(90_000)),
            (" 2h ", Some(7_200_000)),
            ("2 s", None),
            ("365d", Some(31_536_000_000)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1s 1m", None),
            ("1s 1s", None),
            ("1S", None),
            ("1s,", None),
            ("1µs", None),
            ("366d", None),
            ("365d 1s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse_duration(text).ok(), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", Some(0)),
            ("100B", Some(100)),
            ("16KiB", Some(16 << 10)),
            ("64MiB", Some(64 << 20)),
            ("64 MiB", Some(64 << 20)),
            ("1GiB", Some(1 << 30)),
            ("", None),
            ("64", None),
            ("64MB", None),
            ("64M", None),
            ("MiB", None),
            ("-1B", None),
            ("1.5MiB", None),
            ("18446744073709551615KiB", None),
            ("99999999999999999999B", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text:?}");
        }
    }

    #[test]
    fn texts_use_the_largest_units() {
        for (micros, text) in [(0, "0s"), (90_000_000, "1m 30s"), (500_000, "500ms"), (86_400_000_001, "1d 1us")] {
            assert_eq!(duration_text(Duration::from_micros(micros)), text, "{micros}");
        }
        for (bytes, text) in [(0, "0B"), (1000, "1000B"), (1024, "1KiB"), (64 << 20, "64MiB"), (3 << 30, "3GiB")] {
            assert_eq!(size_text(bytes), text, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_survives_its_text(micros in 0..=31_536_000_000_000u64) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
        }

        #[test]
        fn a_size_survives_its_text(bytes: usize) {
            prop_assert_eq!(parse_size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9]{0,22}[a-zA-Z ]{0,4}\\PC{0,6}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
