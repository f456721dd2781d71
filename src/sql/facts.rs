//! The vocabulary of the classifier.

use std::fmt;

/// What changes the meaning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    pub dialect: Dialect,
    /// Version as in `/*!80000 … */`: 101100 for MariaDB 10.11.0, 90700 for MySQL 9.7.0.
    pub version: u32,
    /// `sql_mode` has `ANSI_QUOTES`: `"x"` is an identifier.
    pub ansi_quotes: bool,
    /// `sql_mode` has `NO_BACKSLASH_ESCAPES`.
    pub no_backslash_escapes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    MySql,
    MariaDb,
}

/// What a text is. Of several statements in one text, the strongest (the later variant).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing but blanks and comments.
    Empty,
    /// A statement that only reads; `effects` may still send it to the writer.
    Read,
    /// `SHOW WARNINGS`, `SHOW ERRORS`, `SHOW COUNT(*) …`, `GET DIAGNOSTICS`.
    Diagnostics,
    /// `USE`.
    Use,
    /// `SET` of variables, names, roles, the next transaction's characteristics.
    Set,
    /// `BEGIN`, `START TRANSACTION`.
    Begin(Access),
    /// `COMMIT`, `ROLLBACK`, `SAVEPOINT`, `RELEASE SAVEPOINT`, `XA …`.
    Transaction,
    /// `PREPARE`, `EXECUTE`, `DEALLOCATE PREPARE`.
    TextPrepared,
    /// `LOCK TABLES`, `UNLOCK TABLES`, `FLUSH … WITH READ LOCK`, `BACKUP …`, `HANDLER …`, `LOCK INSTANCE`.
    Lock,
    /// `KILL`.
    Kill,
    /// `INSERT`, `UPDATE`, `DELETE`, `REPLACE`, `LOAD DATA`, `CALL`, `DO`, …
    Write,
    /// `CREATE`, `ALTER`, `DROP`, `GRANT`, `ANALYZE`, `FLUSH`, … : everything else that is known.
    Ddl,
    /// Not known.
    Unknown,
}

impl Kind {
    /// Whether a text of this kind and these effects may run code that is stored in the server: a routine or a trigger.
    /// A view that calls a function does not show.
    pub const fn may_run_stored_code(self, effects: Effects) -> bool {
        matches!(self, Self::Write | Self::TextPrepared | Self::Unknown) || effects.has(Effects::UNKNOWN_FUNCTION)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// `START TRANSACTION READ ONLY`.
    ReadOnly,
    /// Anything else that begins.
    ReadWrite,
}

/// What a text does or refers to besides its kind: a set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Effects(u32);

impl Effects {
    pub const NONE: Self = Self(0);
    /// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`, anywhere in the text.
    pub const LOCKING_READ: Self = Self(1);
    /// `@name` may be written: `:=`, `INTO @x`, `SET @x`, `CALL p(@x)`, ….
    pub const USER_VARIABLE: Self = Self(1 << 1);
    /// `@@name`.
    pub const SYSTEM_VARIABLE: Self = Self(1 << 2);
    /// `INTO OUTFILE`, `INTO DUMPFILE`, `LOAD_FILE()`.
    pub const FILE: Self = Self(1 << 3);
    /// A function that is not known to be free of side effects.
    pub const UNKNOWN_FUNCTION: Self = Self(1 << 4);
    /// `NEXTVAL`, `LASTVAL`, `SETVAL`, `NEXT VALUE FOR`, `PREVIOUS VALUE FOR`.
    pub const SEQUENCE: Self = Self(1 << 5);
    /// `GET_LOCK` and its like, which pin; `RELEASE_LOCK` and its like, which need the pinned connection.
    pub const ADVISORY_LOCK: Self = Self(1 << 6);
    /// `LAST_INSERT_ID()`, `ROW_COUNT()`, `FOUND_ROWS()`, `@@warning_count`, `@@error_count`, `@@identity`,
    /// `@@last_insert_id`, `@@last_gtid`: about a statement that ran before.
    pub const DIAGNOSTICS: Self = Self(1 << 7);
    /// `CONNECTION_ID()`, `PS_CURRENT_THREAD_ID()`, `SHOW PROCESSLIST`, …: state of one connection.
    pub const CONNECTION: Self = Self(1 << 8);
    /// `SQL_CALC_FOUND_ROWS`.
    pub const CALC_FOUND_ROWS: Self = Self(1 << 9);
    /// `CREATE TEMPORARY TABLE` and its like.
    pub const TEMPORARY_TABLE: Self = Self(1 << 10);
    /// `session_track_…` is named: the client changes what servers report.
    pub const SESSION_TRACKING: Self = Self(1 << 11);
    /// `LOAD DATA LOCAL`.
    pub const LOCAL_INFILE: Self = Self(1 << 12);
    /// More than one statement in the text.
    pub const MULTI: Self = Self(1 << 13);
    /// `HANDLER … OPEN`.
    pub const HANDLER: Self = Self(1 << 14);
    /// `FLUSH … WITH READ LOCK`, `BACKUP STAGE`, `LOCK INSTANCE FOR BACKUP`: held by the connection.
    pub const GLOBAL_LOCK: Self = Self(1 << 15);
    /// `RELEASE_ALL_LOCKS()`; with `ADVISORY_LOCK`.
    pub const RELEASE_ALL_LOCKS: Self = Self(1 << 16);
    /// `SET ROLE`: held by the connection, and MySQL does not report it.
    pub const ROLE: Self = Self(1 << 17);
    /// `SET STATEMENT … FOR`: variables that are set for this text alone.
    pub const STATEMENT_VARIABLES: Self = Self(1 << 18);
    /// `SAVEPOINT`, `RELEASE SAVEPOINT`, `XA …`: something in or of a transaction that has a name.
    pub const SAVEPOINT: Self = Self(1 << 19);
    /// A system variable that may differ from server to server; with `SYSTEM_VARIABLE`.
    pub const SERVER_VARIABLE: Self = Self(1 << 20);
    /// `@name` is read and not written.
    pub const VARIABLE_READ: Self = Self(1 << 21);
    /// The text is one `SET` of user variables to literals.
    pub const VARIABLE_LITERAL: Self = Self(1 << 22);

    /// `EXECUTE`: what a text does that is not seen.
    pub const EXECUTE: Self = Self(1 << 23);
    /// `KILL`, alone or among others.
    pub const KILL: Self = Self(1 << 24);

    /// A name that leads to code stored in the server, which may leave something behind that is not reported; with
    /// `LEAVING_CODE`.
    pub const HIDING_CODE: Self = Self(1 << 25);
    /// The same, reported or not; with `UNKNOWN_FUNCTION`. Not a fact of the text alone: the session adds it.
    pub const LEAVING_CODE: Self = Self(1 << 26);
    /// The id of the server connection is told or used, as by `CONNECTION_ID()`, in more than a `SELECT` of it alone;
    /// with `CONNECTION`.
    pub const CONNECTION_ID: Self = Self(1 << 27);

    const NAMES: [(Self, &'static str); 28] = [
        (Self::LOCKING_READ, "locking-read"),
        (Self::USER_VARIABLE, "user-variable"),
        (Self::SYSTEM_VARIABLE, "system-variable"),
        (Self::FILE, "file"),
        (Self::UNKNOWN_FUNCTION, "unknown-function"),
        (Self::SEQUENCE, "sequence"),
        (Self::ADVISORY_LOCK, "advisory-lock"),
        (Self::DIAGNOSTICS, "diagnostics"),
        (Self::CONNECTION, "connection"),
        (Self::CALC_FOUND_ROWS, "calc-found-rows"),
        (Self::TEMPORARY_TABLE, "temporary-table"),
        (Self::SESSION_TRACKING, "session-tracking"),
        (Self::LOCAL_INFILE, "local-infile"),
        (Self::MULTI, "multi"),
        (Self::HANDLER, "handler"),
        (Self::GLOBAL_LOCK, "global-lock"),
        (Self::RELEASE_ALL_LOCKS, "release-all-locks"),
        (Self::ROLE, "role"),
        (Self::STATEMENT_VARIABLES, "statement-variables"),
        (Self::SAVEPOINT, "savepoint"),
        (Self::SERVER_VARIABLE, "server-variable"),
        (Self::VARIABLE_READ, "variable-read"),
        (Self::VARIABLE_LITERAL, "variable-literal"),
        (Self::EXECUTE, "execute"),
        (Self::KILL, "kill"),
        (Self::HIDING_CODE, "hiding-code"),
        (Self::LEAVING_CODE, "leaving-code"),
        (Self::CONNECTION_ID, "connection-id"),
    ];

    /// Every effect.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::NAMES.iter().map(|(effect, _)| *effect)
    }

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for Effects {
    /// The effects' names, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let names = Self::NAMES.iter().filter(|(effect, _)| self.has(*effect)).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(" "))
    }
}

/// What a comment of the form `/* weir:… */` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint<'a> {
    /// `weir:writer`
    Writer,
    /// `weir:reader`: a replica, whatever the classification says of a read.
    Reader,
    /// `weir:group=NAME`
    Group(&'a [u8]),
    /// `weir:server=NAME`
    Server(&'a [u8]),
}

/// The facts of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    pub kind: Kind,
    pub effects: Effects,
    /// The first hint of the text.
    pub hint: Option<Hint<'a>>,
}
