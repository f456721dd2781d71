//! The integer and string forms of the protocol: a reader that cannot run past its end, and the writers that mirror it.
//! It knows no packet; what fields follow each other is the business of the modules above.
//!
//! Source: "Protocol::Integer Types" and "Protocol::String Types".

use thiserror::Error;

/// A packet ended early or held a value that its field cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed packet: {0}")]
pub struct Malformed(pub &'static str);

/// A cursor over one packet's payload. Every read either yields the whole field or leaves an error; none panics.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the first byte of `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes; `field` names them in the error.
    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed(field))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// `int<1>`.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// `int<2>`, little-endian.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// `int<3>`, little-endian.
    pub fn u24(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    /// `int<4>`, little-endian.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// `int<8>`, little-endian.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// `int<lenenc>`. 0xFB (NULL in a row) and 0xFF (an ERR header) are not integers.
    pub fn lenenc(&mut self, field: &'static str) -> Result<u64, Malformed> {
        match self.u8(field)? {
            0xFC => self.u16(field).map(u64::from),
            0xFD => self.u24(field).map(u64::from),
            0xFE => self.u64(field),
            0xFB | 0xFF => Err(Malformed(field)),
            small => Ok(u64::from(small)),
        }
    }

    /// `string<lenenc>`.
    pub fn lenenc_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.lenenc(field)?).map_err(|_| Malformed(field))?;
        self.take(length, field)
    }

    /// `string<NUL>`, without its NUL, which must be there.
    pub fn nul(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(Malformed(field))?;
        let text = self.take(end, field)?;
        self.take(1, field)?;
        Ok(text)
    }

    /// `string<NUL>` as the last string of a packet: connectors exist that leave its NUL out.
    pub fn nul_or_rest(&mut self) -> &'a [u8] {
        self.nul("").unwrap_or_else(|_| std::mem::take(&mut self.0))
    }
}

/// Appends an `int<lenenc>` in its shortest form.
pub fn put_lenenc(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=0xFA => out.push(bytes[0]),
        0xFB..=0xFFFF => {
            out.push(0xFC);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xFF_FFFF => {
            out.push(0xFD);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends a `string<lenenc>`.
pub fn put_lenenc_bytes(out: &mut Vec<u8>, text: &[u8]) {
    put_lenenc(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Appends a `string<NUL>`. A NUL inside `text` would end it early, so what follows one is left out.
pub fn put_nul(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().take_while(|&&byte| byte != 0));
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_take_their_shortest_form() {
        let cases: [(u64, &[u8]); 8] = [
            (0, &[0]),
            (250, &[250]),
            (251, &[0xFC, 251, 0]),
            (0xFFFF, &[0xFC, 0xFF, 0xFF]),
            (0x1_0000, &[0xFD, 0, 0, 1]),
            (0xFF_FFFF, &[0xFD, 0xFF, 0xFF, 0xFF]),
            (0x100_0000, &[0xFE, 0, 0, 0, 1, 0, 0, 0, 0]),
            (u64::MAX, &[0xFE, 255, 255, 255, 255, 255, 255, 255, 255]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            put_lenenc(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(Reader::new(bytes).lenenc(""), Ok(value), "{value}");
        }
    }

    #[test]
    fn a_field_that_does_not_fit_is_an_error() {
        let cases: [&[u8]; 6] =
            [&[], &[0xFB], &[0xFF], &[0xFC, 1], &[5, 1, 2], &[0xFE, 255, 255, 255, 255, 255, 255, 255, 255]];
        for payload in cases {
            assert_eq!(Reader::new(payload).lenenc_bytes("field"), Err(Malformed("field")), "{payload:?}");
        }
        assert_eq!(Reader::new(b"abc").nul("name"), Err(Malformed("name")));
        assert_eq!(Reader::new(b"abc").nul_or_rest(), b"abc");
        assert_eq!(Reader::new(b"abc\0d").nul_or_rest(), b"abc");
    }

    proptest! {
        #[test]
        fn strings_come_back(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            put_lenenc_bytes(&mut out, &text);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.lenenc_bytes("text"), Ok(&text[..]));
            prop_assert!(reader.is_empty());
        }
    }
}
