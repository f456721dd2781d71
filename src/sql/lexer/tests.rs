//! Where tokens end, and how often a lexer goes over a byte.

use std::cell::Cell;

use super::TokenKind::*;
use super::*;
use crate::sql::{Dialect, classify, digest, tables};

const MODE: Mode = Mode { dialect: Dialect::MySql, version: 90_700, ansi_quotes: false, no_backslash_escapes: false };

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Counts the bytes that lexers of this thread went over, those of looking ahead too.
pub(super) fn count_bytes(bytes: usize) {
    BYTES.set(BYTES.get() + bytes);
}

#[test]
fn tokens() {
    let cases: [(&str, &[TokenKind]); 21] = [
        ("SELECT a", &[Word, Word]),
        ("a.b . c", &[Word, Dot, Member, Dot, Word]),
        ("a.1b .5 `a`.5", &[Word, Dot, Member, Number, Quoted, Dot, Member]),
        (
            "1 1.5 1.5e5 1e+5 1e5a 1e 1ea 0x1F 0xG 0b1 0b2",
            &[Number, Number, Number, Number, Number, Word, Word, Word, Number, Word, Number, Word],
        ),
        ("1.5UPDATE", &[Number, Word]),
        ("1e1UPDATE", &[Number, Word]),
        ("1UPDATE", &[Word]),
        ("0x1UPDATE", &[Word]),
        ("'a''b' 'c\\'d' \"e\"\"f\"", &[Text, Text, Text]),
        ("`a``b`'c'", &[Quoted, Text]),
        (
            "@a @`b c` @'d' @\"e\" @ f.g @h.i",
            &[UserVariable, UserVariable, UserVariable, UserVariable, UserVariable, Word, Dot, Member, UserVariable],
        ),
        ("@@a @@b.c @@`d` @@e.`f`,", &[SystemVariable, SystemVariable, SystemVariable, SystemVariable, Comma]),
        ("<=> ->> <= >= <> != := || && << >> -> + :", &[Operator; 14]),
        ("a--b", &[Word, Operator, Operator, Word]),
        ("a-- b\nc", &[Word, Word]),
        ("a#b\nc", &[Word, Word]),
        ("a/*b*/c", &[Word, Word]),
        ("/*!99999 a /* b */ c */d", &[Word]),
        ("/*! a /* b */ c */d", &[Word, Word, Word]),
        ("a*/b", &[Word, Operator, Operator, Word]),
        ("(?,?);{}", &[Open, Parameter, Comma, Parameter, Close, Semicolon, Operator, Operator]),
    ];
    for (text, expected) in cases {
        let mut lexer = Lexer::new(text.as_bytes(), MODE, Gates::UpTo(MODE.version));
        let cut: Vec<_> = std::iter::from_fn(|| Some(lexer.next().kind)).take_while(|kind| *kind != End).collect();
        assert_eq!(cut, expected, "{text}");
    }
}

#[test]
fn work_grows_with_the_text_and_no_faster() {
    let pieces = [
        "(",
        ")",
        "'",
        "\"",
        "`",
        "/*",
        "*/",
        "/*!",
        "/*!99999 ",
        "/*!40000 a */",
        "--",
        "-- \n",
        "#",
        "@",
        "@@",
        ".",
        "a.",
        "REPLACE ",
        "REPLACE/**/",
        "REPLACE'",
        "INSERT",
        "SELECT ",
        "IN (",
        "VALUES (1),",
        "1e",
        "0x",
        "\\",
        "FOR UPDATE ",
        "a,",
        ";",
        "SELECT;",
        "WITH a AS (",
        "-",
        "a IN (1,2) ",
        "FROM a,b ",
        "JOIN `a`.",
        "\u{e9}",
    ];
    for piece in pieces {
        let work = |count: usize| {
            let text = piece.repeat(count);
            BYTES.set(0);
            classify(text.as_bytes(), MODE);
            digest(text.as_bytes(), MODE);
            tables(text.as_bytes(), MODE).for_each(drop);
            BYTES.get()
        };
        let (small, large) = (work(500), work(5000));
        assert!(large <= small * 11, "{piece:?}: {small} and {large} bytes");
    }
}
