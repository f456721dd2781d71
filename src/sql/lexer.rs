//! Bytes to tokens, as the servers' own lexers cut them (`sql/sql_lex.cc` of both).
//!
//! Decides where a token, a string and a comment end, and which comments are code. What the tokens mean is left to the
//! readers. The lexer never fails: bytes that no server accepts make it [`Lexer::doubtful`].

use super::comment::{self, Gate, GateVersions, Gates};
use super::facts::{Hint, Mode};
pub(super) use super::token::{Token, TokenKind};

/// Copying a lexer is how to look ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    mode: Mode,
    gates: Gates,
    /// Inside `/*! … */` read as code: the next `*/` ends it.
    in_code_comment: bool,
    gate_versions: GateVersions,
    hint: Option<Hint<'a>>,
    doubtful: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8], mode: Mode, gates: Gates) -> Self {
        Self {
            text,
            at: 0,
            mode,
            gates,
            in_code_comment: false,
            gate_versions: GateVersions::NONE,
            hint: None,
            doubtful: false,
        }
    }

    /// Something was not ended, or is not text that a server accepts: the tokens may not be the server's.
    pub(super) fn doubtful(&self) -> bool {
        self.doubtful || self.in_code_comment
    }

    /// The first hint so far.
    pub(super) fn hint(&self) -> Option<Hint<'a>> {
        self.hint
    }

    /// The versions of the gates so far.
    pub(super) fn gate_versions(&self) -> GateVersions {
        self.gate_versions
    }

    /// The byte in front of `place`.
    pub(super) fn byte_before(&self, place: usize) -> Option<u8> {
        self.text.get(place.checked_sub(1)?).copied()
    }

    /// Whether the next token is of `kind`.
    pub(super) fn next_is(&self, kind: TokenKind) -> bool {
        self.peek_token().kind == kind
    }

    /// The next token, which stays the next.
    pub(super) fn peek_token(&self) -> Token<'a> {
        let mut ahead = *self;
        ahead.next()
    }

    /// The next token; `End` at the end, again and again.
    #[inline]
    pub(super) fn next(&mut self) -> Token<'a> {
        #[cfg(test)]
        let from = self.at;
        let token = self.cut();
        #[cfg(test)]
        tests::count_bytes(self.at - from);
        token
    }

    #[inline]
    fn cut(&mut self) -> Token<'a> {
        loop {
            let start = self.at;
            let Some(&byte) = self.text.get(start) else {
                return Token { kind: TokenKind::End, text: b"", start };
            };
            let kind = match byte {
                b' ' | b'\t'..=b'\r' => {
                    self.at += 1;
                    continue;
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80.. => self.word(),
                b'0'..=b'9' => self.digits(),
                b'(' => self.mark(1, TokenKind::Open),
                b')' => self.mark(1, TokenKind::Close),
                b',' => self.mark(1, TokenKind::Comma),
                b';' => self.mark(1, TokenKind::Semicolon),
                b'?' => self.mark(1, TokenKind::Parameter),
                // No longer operator begins with one of these.
                b'=' | b'+' | b'%' => self.mark(1, TokenKind::Operator),
                b'.' => self.dot(),
                b'\'' => self.quoted(b'\'', TokenKind::Text),
                b'"' if self.mode.ansi_quotes => self.quoted(b'"', TokenKind::Quoted),
                b'"' => self.quoted(b'"', TokenKind::Text),
                b'`' => self.quoted(b'`', TokenKind::Quoted),
                b'@' => self.variable(),
                _ => match self.comment_or_operator(byte) {
                    Some(kind) => kind,
                    None => continue,
                },
            };
            let text = self.text.get(start..self.at).unwrap_or_default();
            return Token { kind, text, start };
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn mark(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.at += length;
        kind
    }

    #[inline]
    fn word(&mut self) -> TokenKind {
        let start = self.at;
        self.skip_name();
        match self.byte_before(start) {
            Some(b'.') => TokenKind::Member,
            _ => TokenKind::Word,
        }
    }

    #[inline]
    fn skip_name(&mut self) {
        let mut at = self.at;
        while let Some(byte) = self.text.get(at)
            && is_ascii_name(*byte)
        {
            at += 1;
        }
        self.at = at;
        if self.peek(0).is_some_and(|byte| byte >= 0x80) {
            self.skip_wide_name();
        }
    }

    /// 0xA0 is a blank to a server whose client speaks latin1, and part of a letter to all others.
    fn skip_wide_name(&mut self) {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len());
        self.doubtful |= rest.iter().take(length).any(|byte| *byte == 0xa0);
        self.at += length;
    }

    /// A number, or an identifier that starts with digits (`MY_LEX_NUMBER_IDENT`).
    fn digits(&mut self) -> TokenKind {
        let start = self.at;
        if self.byte_before(start) == Some(b'.') {
            return self.word();
        }
        self.skip_digits();
        if matches!(self.peek(0), Some(b'e' | b'E')) && self.skip_exponent() {
            return TokenKind::Number;
        }
        match self.peek(0) {
            Some(b'.') => self.fraction(),
            Some(byte) if is_name(byte) => {
                self.skip_name();
                let word = self.text.get(start..self.at).unwrap_or_default();
                if is_hexadecimal(word) { TokenKind::Number } else { TokenKind::Word }
            }
            _ => TokenKind::Number,
        }
    }

    fn fraction(&mut self) -> TokenKind {
        self.at += 1;
        self.skip_digits();
        self.skip_exponent();
        TokenKind::Number
    }

    fn skip_digits(&mut self) {
        while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// Skips `e5`, `E+5`; an `e` without digits is not an exponent.
    fn skip_exponent(&mut self) -> bool {
        let digit = match (self.peek(0), self.peek(1)) {
            (Some(b'e' | b'E'), Some(b'+' | b'-')) => 2,
            (Some(b'e' | b'E'), _) => 1,
            _ => return false,
        };
        if !self.peek(digit).is_some_and(|byte| byte.is_ascii_digit()) {
            return false;
        }
        self.at += digit;
        self.skip_digits();
        true
    }

    /// `.5` is a number, unless a name stands right in front of it.
    fn dot(&mut self) -> TokenKind {
        let after_name = self.byte_before(self.at).is_some_and(|byte| is_name(byte) || matches!(byte, b'`' | b'"'));
        if !after_name && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            return self.fraction();
        }
        self.mark(1, TokenKind::Dot)
    }

    /// Doubling stands for the quote itself; a backslash escapes in strings only, and only if the mode lets it.
    fn quoted(&mut self, quote: u8, kind: TokenKind) -> TokenKind {
        let escapes = kind == TokenKind::Text && !self.mode.no_backslash_escapes;
        self.at += 1;
        loop {
            let rest = self.rest();
            let Some(length) = rest.iter().position(|byte| *byte == quote || (escapes && *byte == b'\\')) else {
                self.at = self.text.len();
                self.doubtful = true;
                return kind;
            };
            let doubled = rest.get(length + 1) == Some(&quote);
            if rest.get(length) == Some(&b'\\') || doubled {
                self.at = (self.at + length + 2).min(self.text.len());
            } else {
                self.at += length + 1;
                return kind;
            }
        }
    }

    fn variable(&mut self) -> TokenKind {
        if self.peek(1) == Some(b'@') {
            self.at += 2;
            while let Some(byte) = self.peek(0) {
                match byte {
                    b'.' => self.at += 1,
                    b'`' => _ = self.quoted(b'`', TokenKind::Quoted),
                    byte if is_name(byte) => self.skip_name(),
                    _ => break,
                }
            }
            return TokenKind::SystemVariable;
        }
        self.at += 1;
        match self.peek(0) {
            Some(b'`') => _ = self.quoted(b'`', TokenKind::Quoted),
            Some(quote @ (b'\'' | b'"')) => _ = self.quoted(quote, TokenKind::Text),
            _ => {
                while self.peek(0).is_some_and(|byte| byte == b'.' || is_name(byte)) {
                    self.at += 1;
                }
            }
        }
        TokenKind::UserVariable
    }

    /// `None` if there was a comment, or the end of one.
    fn comment_or_operator(&mut self, byte: u8) -> Option<TokenKind> {
        match (byte, self.peek(1)) {
            (b'#', _) => self.line_comment(1),
            (b'-', Some(b'-')) if self.peek(2).is_none_or(|byte| byte <= b' ' || byte == 0x7f) => self.line_comment(2),
            (b'/', Some(b'*')) => self.block_comment(),
            (b'*', Some(b'/')) if self.in_code_comment => {
                self.in_code_comment = false;
                self.at += 2;
            }
            (b'\\', Some(b'N')) => return Some(self.mark(2, TokenKind::Number)),
            _ => {
                self.doubtful |= byte < b' ' || byte == 0x7f || byte == b'\\';
                return Some(self.mark(operator_length(self.rest()), TokenKind::Operator));
            }
        }
        None
    }

    /// To a server, a NUL ends the line or the text: nobody should send one.
    fn line_comment(&mut self, mark: usize) {
        let rest = self.rest();
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = rest.get(mark..length).unwrap_or_default();
        self.doubtful |= line.contains(&0);
        self.hint = self.hint.or_else(|| comment::hint(line));
        self.at += length;
    }

    fn block_comment(&mut self) {
        let Some(gate) = Gate::of(self.rest(), self.mode.dialect) else {
            let start = self.at + 2;
            self.at = start;
            self.skip_comment(Nested::No);
            let inside = self.text.get(start..self.at.saturating_sub(2)).unwrap_or_default();
            self.hint = self.hint.or_else(|| comment::hint(inside));
            return;
        };
        if let Some(version) = gate.version {
            self.gate_versions.add(version);
        }
        if gate.opens(self.gates, self.mode.dialect) {
            self.in_code_comment = true;
            self.at += gate.length;
        } else {
            self.at += gate.length;
            self.skip_comment(Nested::Once);
        }
    }

    /// To behind the `*/`. A comment that is gated and skipped may hold ordinary comments (`consume_comment`).
    fn skip_comment(&mut self, mut nested: Nested) {
        let mut inside = false;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'*', Some(b'/')) => {
                    self.at += 2;
                    if !inside {
                        return;
                    }
                    (inside, nested) = (false, Nested::Once);
                }
                (b'/', Some(b'*')) if nested == Nested::Once => {
                    self.at += 2;
                    (inside, nested) = (true, Nested::No);
                }
                _ => self.at += 1,
            }
        }
        self.doubtful = true;
    }
}

/// Whether a comment may hold another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nested {
    No,
    Once,
}

fn operator_length(text: &[u8]) -> usize {
    match text {
        [b'<', b'=', b'>', ..] | [b'-', b'>', b'>', ..] => 3,
        [b'<', b'=' | b'>' | b'<', ..] | [b'>', b'=' | b'>', ..] => 2,
        [b'!', b'=', ..] | [b':', b'=', ..] | [b'|', b'|', ..] | [b'&', b'&', ..] | [b'-', b'>', ..] => 2,
        _ => 1,
    }
}

/// Whether the byte may be in an identifier without quotes.
fn is_name(byte: u8) -> bool {
    byte >= 0x80 || is_ascii_name(byte)
}

#[inline]
fn is_ascii_name(byte: u8) -> bool {
    const NAME: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            table[byte] = (byte as u8).is_ascii_alphanumeric() || byte == b'_' as usize || byte == b'$' as usize;
            byte += 1;
        }
        table
    };
    NAME[usize::from(byte)]
}

/// `0xAB`, `0b01`: literals to the servers if every digit is one, else identifiers.
fn is_hexadecimal(word: &[u8]) -> bool {
    match word {
        [b'0', b'x', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit),
        [b'0', b'b', digits @ ..] => !digits.is_empty() && digits.iter().all(|digit| matches!(digit, b'0' | b'1')),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
