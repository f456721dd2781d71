//! What a lexer cuts a text into.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or an identifier without quotes.
    Word,
    /// The same right behind a `.`: never a keyword.
    Member,
    /// An identifier in quotes, which belong to the text.
    Quoted,
    /// A string in quotes, which belong to the text.
    Text,
    Number,
    /// `?`
    Parameter,
    /// `@name`, ``@`name` ``, `@'name'`.
    UserVariable,
    /// `@@name`, `@@scope.name`.
    SystemVariable,
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
    /// Any other mark.
    Operator,
    End,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a [u8],
    /// Where it starts in the whole.
    pub start: usize,
}
