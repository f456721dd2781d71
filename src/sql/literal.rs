//! What a string literal stands for.

use super::facts::Mode;

/// The bytes that `literal`, a string in its quotes, stands for; None: it does not end.
pub(super) fn string_value(literal: &[u8], mode: Mode) -> Option<Vec<u8>> {
    let [quote, inner @ .., end] = literal else { return None };
    if end != quote {
        return None;
    }
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if !mode.no_backslash_escapes => match bytes.next()? {
                b'0' => value.push(0),
                b'b' => value.push(8),
                b'n' => value.push(b'\n'),
                b'r' => value.push(b'\r'),
                b't' => value.push(b'\t'),
                b'Z' => value.push(26),
                wildcard @ (b'%' | b'_') => value.extend([b'\\', wildcard]),
                other => value.push(other),
            },
            // A quote inside stands twice.
            byte if byte == *quote => value.extend(bytes.next()),
            byte => value.push(byte),
        }
    }
    Some(value)
}
