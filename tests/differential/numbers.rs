//! Numbers in rows of the binary protocol, whatever type a server sends them as.

use weir::protocol::wire::{Malformed, Reader, put_lenenc_bytes};

use super::play::Reply;

/// A column: its type, and whether that is unsigned.
type Column = (u8, bool);

/// Makes a reply that differs from another in the types of its numbers alone equal to that: numbers become texts, and
/// what defines their columns tells no type.
pub fn unify(reply: &mut Reply) {
    let mut columns = Vec::new();
    for packet in reply {
        match packet.as_slice() {
            [0x03, b'd', b'e', b'f', ..] => columns.extend(define(packet)),
            [0x00, ..] if !columns.is_empty() => {
                if let Ok(row) = texts(packet, &columns) {
                    *packet = row;
                }
            }
            // The head of the next result.
            [_] => columns.clear(),
            _ => {}
        }
    }
}

/// Reads what defines a column, and takes from that of a number what it tells of the type.
fn define(packet: &mut Vec<u8>) -> Option<Column> {
    // Behind the names: a length, the character set, the width, the type, the flags, the decimals and two bytes of nothing.
    let names = packet.len().checked_sub(13)?;
    let [_, _, _, _, _, _, _, kind, low, ..] = packet[names..] else { return None };
    let column = (kind, low & 0x20 != 0);
    if is_number(kind) {
        packet.truncate(names);
    }
    Some(column)
}

/// TINY, SHORT, LONG, FLOAT, DOUBLE, LONGLONG, INT24, NEWDECIMAL.
fn is_number(kind: u8) -> bool {
    matches!(kind, 0x01..=0x05 | 0x08 | 0x09 | 0xF6)
}

/// The row with its numbers as texts.
fn texts(row: &[u8], columns: &[Column]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(row);
    // The bits of the NULLs begin with two of nothing.
    let head = reader.take(1 + (columns.len() + 2).div_ceil(8), "head")?;
    let mut unified = head.to_vec();
    for (place, column) in columns.iter().enumerate() {
        let bit = place + 2;
        if head[1 + bit / 8] & (1 << (bit % 8)) == 0 {
            put_lenenc_bytes(&mut unified, &value(&mut reader, *column)?);
        }
    }
    Ok(unified)
}

/// One value: that of a number as a text, any other as it is.
fn value(reader: &mut Reader<'_>, (kind, unsigned): Column) -> Result<Vec<u8>, Malformed> {
    let length = match kind {
        0x01 => 1,
        0x02 | 0x0D => 2,
        0x03 | 0x04 | 0x09 => 4,
        0x05 | 0x08 => 8,
        0x07 | 0x0A | 0x0B | 0x0C => reader.u8("length")?.into(),
        0xF6 => return Ok(without_zeros(reader.lenenc_bytes("decimal")?)),
        _ => return reader.lenenc_bytes("text").map(<[u8]>::to_vec),
    };
    let bytes = reader.take(length, "value")?;
    Ok(match (kind, bytes) {
        (0x04, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).to_string().into_bytes(),
        (0x05, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]).to_string().into_bytes(),
        _ if is_number(kind) => integer(bytes, unsigned).to_string().into_bytes(),
        _ => bytes.to_vec(),
    })
}

fn integer(bytes: &[u8], unsigned: bool) -> i128 {
    let magnitude = bytes.iter().rev().fold(0, |sum: i128, byte| sum << 8 | i128::from(*byte));
    let negative = !unsigned && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    if negative { magnitude - (1 << (8 * bytes.len())) } else { magnitude }
}

/// A decimal without the zeros at its end.
fn without_zeros(decimal: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(decimal);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text.into_owned().into() }
}

#[cfg(test)]
mod tests {
    use weir::sandbox::Flavor;

    use super::super::{
        compare::difference,
        play::Seen,
        script::{Bind, ClientKind, Parameter, Script, Slot, Step},
    };

    const ONE: (u8, &[u8]) = (0x08, b"\x01\0\0\0\0\0\0\0");

    /// A prepared statement that is executed twice, the second time with a value.
    fn script(first: Option<&[u8]>) -> Script {
        let execute = |value: Option<&[u8]>, bind| {
            let parameter = Parameter { kind: 252, unsigned: false, value: value.map(<[u8]>::to_vec) };
            Step::Execute { slot: Slot::Own(0), cursor: false, parameters: vec![parameter], bind }
        };
        let prepare = Step::Prepare { slot: 0, sql: "SELECT CONCAT('a', 'b'), ? + 1".to_owned() };
        let steps = vec![prepare, execute(first, Bind::Types), execute(Some(b"\x011"), Bind::AsBefore)];
        Script { kind: ClientKind::Modern, steps }
    }

    /// What is seen of it, if the second execute is answered with this value.
    fn seen((kind, value): (u8, &[u8])) -> Seen {
        let define = |name: &[u8], kind| {
            [b"\x03def\0\0\0\x01", name, b"\0\x0C\x3F\0\x17\0\0\0", &[kind], b"\0\0\0\0\0"].concat()
        };
        let row = [b"\0\0\x02ab", value].concat();
        let end = b"\xFE\0\0\x02\0\0\0".to_vec();
        let rows = vec![b"\x02".to_vec(), define(b"t", 0xFD), define(b"n", kind), row, end.clone()];
        Seen { replies: vec![vec![b"\0\0\0\0\0".to_vec()], vec![end], rows], broken: None }
    }

    #[test]
    fn behind_a_null_a_number_is_the_same_in_every_type() {
        let null = script(None);
        for other in [
            (0x01, &b"\x01"[..]),
            (0x02, b"\x01\0"),
            (0x03, b"\x01\0\0\0"),
            (0x04, &1_f32.to_le_bytes()),
            (0x05, &1_f64.to_le_bytes()),
            (0xF6, b"\x041.00"),
        ] {
            assert_eq!(difference(Flavor::MySql9, &null, &seen(ONE), &seen(other)), None, "{other:x?}");
            let typed = script(Some(b"\x011"));
            assert!(difference(Flavor::MySql9, &typed, &seen(ONE), &seen(other)).is_some(), "no NULL: {other:x?}");
            assert!(difference(Flavor::MariaDb, &null, &seen(ONE), &seen(other)).is_some(), "MariaDB: {other:x?}");
        }
    }

    #[test]
    fn another_number_or_a_text_is_a_difference() {
        for other in [
            (0x08, &b"\x02\0\0\0\0\0\0\0"[..]),
            (0x08, b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
            (0x01, b"\xFF"),
            (0x05, &1.5_f64.to_le_bytes()),
            (0xF6, b"\x0210"),
            (0xF6, b"\x041.01"),
            (0xFD, b"\x011"),
        ] {
            assert!(difference(Flavor::MySql9, &script(None), &seen(ONE), &seen(other)).is_some(), "{other:x?}");
        }
    }
}
