//! What a bound text is to MySQL beyond doubt: a number, a date, or neither. What becomes of a parameter then is
//! `parameter_types`' to say.

/// What a text looks like beyond doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// At most 18 digits.
    Digits,
    /// As many with a sign or a point.
    Number,
    Date,
    DateTime,
    /// Nothing, or begins with a letter.
    Word,
    Other,
}

impl Spelling {
    /// That of a text.
    pub fn of(text: &[u8]) -> Self {
        match text {
            [] | [b'a'..=b'z' | b'A'..=b'Z', ..] => return Self::Word,
            [_, ..] if text.len() <= 18 && text.iter().all(u8::is_ascii_digit) => return Self::Digits,
            _ => {}
        }
        let unsigned = text.strip_prefix(b"-").unwrap_or(text);
        let points = unsigned.iter().filter(|byte| **byte == b'.').count();
        let bare = |end: Option<&u8>| end.is_some_and(u8::is_ascii_digit);
        if text.len() <= 18 && points <= 1 && unsigned.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
            return if bare(unsigned.first()) && bare(unsigned.last()) { Self::Number } else { Self::Other };
        }
        match text.split_at_checked(10) {
            Some((date, [])) if is_date(date) => Self::Date,
            Some((date, [b' ' | b'T', time @ ..])) if is_date(date) && is_time(time) => Self::DateTime,
            _ => Self::Other,
        }
    }
}

/// Whether a text is a day of the calendar.
fn is_date(text: &[u8]) -> bool {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).unwrap_or_default();
        digits.iter().fold(0, |number, digit| 10 * number + u32::from(digit.wrapping_sub(b'0')))
    };
    if !reads(text, b"9999-99-99") {
        return false;
    }
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

fn is_time(text: &[u8]) -> bool {
    reads(text, b"29:59:59") && text < b"24".as_slice()
}

/// Whether a text has digits where the pattern has some, none of which is larger, and else the same.
fn reads(text: &[u8], pattern: &[u8]) -> bool {
    let fits = |(byte, most): (&u8, &u8)| byte == most || byte.is_ascii_digit() && most.is_ascii_digit() && byte < most;
    text.len() == pattern.len() && text.iter().zip(pattern).all(fits)
}

/// A text that is a number from end to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    pub negative: bool,
    /// None: it has a point or an exponent, or is too large for any integer.
    pub whole: Option<u64>,
}

impl Number {
    /// None: it is none.
    pub fn of(text: &[u8]) -> Option<Self> {
        let (negative, unsigned) = match text.trim_ascii() {
            [b'-', unsigned @ ..] => (true, unsigned),
            [b'+', unsigned @ ..] | unsigned => (false, unsigned),
        };
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (whole, rest) = unsigned.split_at(digits(unsigned));
        let (fraction, rest) = match rest {
            [b'.', behind @ ..] => behind.split_at(digits(behind)),
            rest => (&b""[..], rest),
        };
        let ends = match rest {
            [] => true,
            [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
                !exponent.is_empty() && digits(exponent) == exponent.len()
            }
            _ => false,
        };
        if !ends || whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let only = std::str::from_utf8(whole).ok().filter(|_| whole.len() == unsigned.len());
        Some(Self { negative, whole: only.and_then(|digits| digits.parse().ok()) })
    }
}
