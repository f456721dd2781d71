//! The words that decide what a statement is, or what it does besides.
//!
//! A word that is not here says nothing to the classifier unless a `(` follows it, see `functions`.

use super::words::Words;

/// The keyword that `word` is, or `Keyword::None`.
#[inline]
pub(super) fn keyword(word: &[u8]) -> Keyword {
    KEYWORDS.of(word).unwrap_or(Keyword::None)
}

macro_rules! keywords {
    ($($(#[$doc:meta])* $keyword:ident = $words:literal),* $(,)?) => {
        /// A keyword; synonyms share one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Keyword {
            /// Any other word.
            None,
            $($(#[$doc])* $keyword),*
        }

        static KEYWORDS: Words<Keyword, 512> = Words::new(&[$((Keyword::$keyword, $words)),*]);
    };
}

keywords! {
    All = "all",
    Alter = "alter",
    Analyze = "analyze",
    As = "as",
    Backup = "backup",
    Begin = "begin",
    Call = "call",
    Checksum = "checksum",
    Commit = "commit rollback",
    Connection = "connection",
    Count = "count",
    Create = "create",
    Deallocate = "deallocate",
    Default = "default",
    Delete = "delete",
    Describe = "describe desc explain",
    Do = "do",
    Drop = "drop",
    Dumpfile = "dumpfile outfile",
    Exists = "exists",
    Export = "export",
    Flush = "flush",
    For = "for",
    Format = "format",
    From = "from",
    Full = "full extended",
    Get = "get",
    Global = "global persist persist_only",
    Grant = "grant revoke",
    Handler = "handler",
    Having = "having where group order limit window fetch",
    Help = "help",
    If = "if",
    Ignore = "ignore low_priority high_priority delayed",
    In = "in",
    Index = "index",
    Infile = "infile",
    InformationSchema = "information_schema",
    Insert = "insert",
    Instance = "instance",
    Into = "into",
    Join = "join straight_join",
    Key = "key",
    Kill = "kill",
    Lateral = "lateral",
    Like = "like",
    Load = "load",
    Local = "local",
    Lock = "lock",
    Next = "next previous",
    Not = "not",
    NoWriteToBinlog = "no_write_to_binlog",
    Odbc = "oj",
    On = "on",
    Only = "only",
    Open = "open",
    Optimize = "optimize purge",
    Password = "password",
    Prepare = "prepare",
    Execute = "execute",
    Procedure = "procedure",
    Read = "read",
    Recursive = "recursive",
    References = "references",
    Rename = "rename",
    Replace = "replace",
    Replica = "replica slave group_replication",
    Resource = "resource",
    Role = "role",
    Routine = "function trigger event package",
    Row = "row",
    Savepoint = "savepoint release xa",
    Select = "select",
    Session = "session",
    Set = "set",
    Share = "share",
    Show = "show",
    SqlCalcFoundRows = "sql_calc_found_rows",
    Start = "start",
    Statement = "statement",
    Status = "status",
    Storage = "storage",
    Table = "table",
    Tables = "tables",
    Temporary = "temporary",
    To = "to",
    Transaction = "transaction",
    Truncate = "truncate",
    Union = "union except intersect minus",
    Unlock = "unlock",
    Update = "update",
    Use = "use",
    Using = "using",
    Value = "value",
    Values = "values",
    View = "view",
    Warnings = "warnings errors",
    With = "with",
    Work = "work",
    /// What `CREATE` makes, other than a table, a view, an index or a routine.
    Schema = "database schema user sequence server",
    /// `SHOW` of what replication carries to every server.
    Shown = "columns fields indexes keys databases schemas triggers events character charset collation grants
        privileges engines plugins authors contributors parse_tree",
    /// First words of the remaining statements that change or administer something.
    Administer = "repair check reset change install uninstall stop cache shutdown restart clone binlog import signal
        resignal",
}
