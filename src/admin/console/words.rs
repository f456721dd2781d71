//! A console statement's text to its words.

use std::{iter::Peekable, str::Chars};

/// A word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// A quoted word is a name, whatever it says.
    quoted: bool,
}

impl Word {
    pub(super) fn is_keyword(&self, keyword: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(keyword)
    }
}

/// Splits at blanks. `'…'`, `"…"` and `` `…` `` are one word each, a doubled quote in them stands for itself;
/// semicolons may end the text. None: a quote that does not end, or something behind a semicolon.
pub(super) fn words(text: &str) -> Option<Vec<Word>> {
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
    let mut rest = text.chars().peekable();
    let mut words = Vec::new();
    while let Some(&first) = rest.peek() {
        match first {
            ';' => return None,
            '\'' | '"' | '`' => words.push(Word { text: quoted(&mut rest)?, quoted: true }),
            _ if first.is_whitespace() => drop(rest.next()),
            _ => words.push(Word { text: plain(&mut rest), quoted: false }),
        }
    }
    Some(words)
}

/// From an opening quote to behind the closing one.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let quote = rest.next()?;
    let mut text = String::new();
    loop {
        let c = rest.next()?;
        if c == quote && rest.next_if_eq(&quote).is_none() {
            return Some(text);
        }
        text.push(c);
    }
}

fn plain(rest: &mut Peekable<Chars<'_>>) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '\'' | '"' | '`');
    std::iter::from_fn(|| rest.next_if(|&c| !ends(c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("", Some(&[])),
            (" ;; ", Some(&[])),
            ("SHOW  servers ;", Some(&["SHOW", "servers"])),
            ("drain\tserver\n`db 1`", Some(&["drain", "server", "db 1"])),
            ("x'it''s'\"a\"\"b\"", Some(&["x", "it's", "a\"b"])),
            ("kill 1; kill 2", None),
            ("drain server 'db1", None),
            ("drain server 'db1''", None),
        ];
        for (text, wanted) in cases {
            let found = words(text);
            let found = found.as_ref().map(|words| words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), *wanted, "{text}");
        }
    }

    #[test]
    fn a_quoted_word_is_no_keyword() {
        let words = words("reload `reload` RELOAD").unwrap();
        assert_eq!(words.iter().map(|word| word.is_keyword("RELOAD")).collect::<Vec<_>>(), [true, false, true]);
    }
}
