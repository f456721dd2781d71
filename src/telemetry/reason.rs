//! Why a statement went where it went, and why a session keeps its server connection.
//!
//! One word per reason, used as the metric label, the log field, the output of `weir explain`, the console
//! column and what tests assert on.

use std::fmt;

macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in declaration order; `self as usize` is its place here.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label, as it stands in metrics, logs and the console.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}

labelled! {
    /// Why a statement went to its target.
    Reason {
        /// A plain read, to a replica.
        Read => "read",
        /// A plain read that a writer with a weight served as its share.
        WriterShare => "writer-share",
        /// A plain read, to the writer because no replica was eligible.
        NoReplica => "no-replica",
        /// A plain read, to the writer because no replica had the session's own writes in time, or the one that was asked
        /// did not have what it names.
        Freshness => "freshness",
        /// `START TRANSACTION READ ONLY`, whole on a replica.
        ReadOnlyTransaction => "read-only-transaction",
        /// Data or schema changes.
        Write => "write",
        /// Opens a transaction that may write.
        Begin => "begin",
        /// Inside a transaction: follows the held lease.
        Transaction => "transaction",
        /// `autocommit=0`: every statement may open a transaction.
        AutocommitOff => "autocommit-off",
        /// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`.
        LockingRead => "locking-read",
        /// `GET_LOCK`, `LOCK TABLES` and their like.
        Lock => "lock",
        /// Reads or assigns a user variable.
        UserVariable => "user-variable",
        /// Reads a system variable.
        SystemVariable => "system-variable",
        /// `INTO OUTFILE`, `INTO DUMPFILE`, `LOAD_FILE`.
        File => "file",
        /// A function whose effects are not known.
        UnknownFunction => "unknown-function",
        /// `NEXTVAL` and other sequence functions.
        Sequence => "sequence",
        /// `SHOW WARNINGS`, `LAST_INSERT_ID()`, …: about a statement that ran before.
        Diagnostics => "diagnostics",
        /// `CONNECTION_ID()` and other state of one connection.
        ConnectionState => "connection-state",
        /// `SET`, `USE`: changes the session.
        SessionStatement => "session-statement",
        /// A temporary table is named.
        TemporaryTable => "temporary-table",
        /// A text that the classifier does not know.
        Unknown => "unknown",
        /// The session is pinned to its connection; the pin has its own reason.
        Pinned => "pinned",
        /// A hint in a comment.
        Hint => "hint",
        /// A rule of the config.
        Rule => "rule",
        /// The listener's route.
        Route => "route",
        /// Answered by Weir itself.
        Local => "local",
        /// Refused by a rule.
        Rejected => "rejected",
    }
}

labelled! {
    /// Why a session must keep the server connection it holds.
    Pin {
        /// A transaction is open.
        Transaction => "transaction",
        /// `SET TRANSACTION …` waits for the next transaction.
        NextTransaction => "next-transaction",
        /// `LOCK TABLES`.
        TableLock => "table-lock",
        /// `GET_LOCK`.
        AdvisoryLock => "advisory-lock",
        /// `FLUSH TABLES … WITH READ LOCK`, `BACKUP STAGE`, `LOCK INSTANCE`.
        GlobalLock => "global-lock",
        /// User variables are set.
        UserVariable => "user-variable",
        /// A temporary table exists.
        TemporaryTable => "temporary-table",
        /// `PREPARE … FROM`.
        TextPrepared => "text-prepared",
        /// A cursor is open on a connection, which stands for nothing else.
        Cursor => "cursor",
        /// `HANDLER … OPEN`.
        Handler => "handler",
        /// Session tracking was changed by the client.
        SessionTracking => "session-tracking",
        /// `SET ROLE`.
        Role => "role",
        /// A variable that cannot travel (`timestamp`, `insert_id`, …).
        Variable => "variable",
        /// The server reported a change without saying what it was.
        Unattributed => "unattributed",
        /// A replica registered, or reads a binary log.
        Replication => "replication",
        /// The session was told the id of the server connection, or wrote it down.
        ConnectionId => "connection-id",
        /// The last statement left an error, warnings or counts, and the next may ask about them.
        Diagnostics => "diagnostics",
        /// The listener's route is a connection of its own.
        Dedicated => "dedicated",
    }
}
