//! Names that mean something to a router: of schemas, tables and system variables.

use super::facts::Effects;

/// The name without its quotes; doubled quotes inside stay doubled, which no name of interest has.
pub(super) fn inside(name: &[u8]) -> &[u8] {
    match name {
        [b'`', inner @ .., b'`'] | [b'"', inner @ .., b'"'] => inner,
        _ => name,
    }
}

/// How the variables begin that say what a server is to report of the session.
pub(super) const SESSION_TRACKING: &[u8] = b"session_track_";

/// `session_track_…`.
#[inline]
pub(super) fn is_session_tracking(name: &[u8]) -> bool {
    name.len() > SESSION_TRACKING.len() && starts_with(name, SESSION_TRACKING)
}

/// Tables of `information_schema` and `performance_schema` that list the session's variables.
pub(super) fn lists_variables(table: &[u8]) -> bool {
    table.eq_ignore_ascii_case(b"session_variables") || table.eq_ignore_ascii_case(b"system_variables")
}

/// `s.nextval`, as the Oracle mode of MariaDB has it.
pub(super) fn is_sequence_member(name: &[u8]) -> bool {
    name.len() == 7 && (name.eq_ignore_ascii_case(b"nextval") || name.eq_ignore_ascii_case(b"currval"))
}

/// Schemas whose tables tell of the server that is asked, not of data.
pub(super) fn is_schema_of_one_server(name: &[u8]) -> bool {
    match name.len() {
        3 => name.eq_ignore_ascii_case(b"sys"),
        18 => name.eq_ignore_ascii_case(b"performance_schema"),
        _ => false,
    }
}

/// Tables of `information_schema` that do.
pub(super) fn is_about_one_server(table: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 10] = [
        b"innodb_",
        b"session_",
        b"global_",
        b"system_variables",
        b"processlist",
        b"profiling",
        b"optimizer_trace",
        b"thread_pool_",
        b"wsrep_",
        b"metadata_lock_info",
    ];
    const STATISTICS: [&[u8]; 4] = [b"user_statistics", b"client_statistics", b"index_statistics", b"table_statistics"];
    PREFIXES.iter().any(|prefix| starts_with(table, prefix))
        || STATISTICS.iter().any(|name| table.eq_ignore_ascii_case(name))
}

/// Variables that are a session's, or that all servers of a cluster agree on; those among them that drivers ask for.
const SAME_EVERYWHERE: [&[u8]; 34] = [
    b"auto_increment_increment",
    b"autocommit",
    b"character_set_client",
    b"character_set_connection",
    b"character_set_results",
    b"character_set_server",
    b"collation_connection",
    b"collation_server",
    b"default_storage_engine",
    b"foreign_key_checks",
    b"group_concat_max_len",
    b"init_connect",
    b"innodb_lock_wait_timeout",
    b"interactive_timeout",
    b"license",
    b"lower_case_table_names",
    b"max_allowed_packet",
    b"net_buffer_length",
    b"net_read_timeout",
    b"net_write_timeout",
    b"performance_schema",
    b"query_cache_size",
    b"query_cache_type",
    b"sql_auto_is_null",
    b"sql_mode",
    b"system_time_zone",
    b"time_zone",
    b"transaction_isolation",
    b"transaction_read_only",
    b"tx_isolation",
    b"tx_read_only",
    b"version",
    b"version_comment",
    b"wait_timeout",
];

/// A reference `@@name` or `@@scope.name`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SystemVariable<'a> {
    /// It is the server's, not the session's.
    pub global: bool,
    name: &'a [u8],
}

impl<'a> SystemVariable<'a> {
    pub(super) fn of(reference: &'a [u8]) -> Self {
        let reference = reference.strip_prefix(b"@@").unwrap_or(reference);
        let dot = reference.iter().position(|byte| *byte == b'.');
        let (scope, name) = match dot.and_then(|dot| reference.split_at_checked(dot)) {
            Some((scope, name)) => (scope, name.strip_prefix(b".").unwrap_or(name)),
            None => (b"".as_slice(), reference),
        };
        let global = [b"global".as_slice(), b"persist", b"persist_only"];
        Self { global: global.iter().any(|word| scope.eq_ignore_ascii_case(word)), name: inside(name) }
    }

    /// What reading it refers to. A name that cannot be seen (blanks behind the scope) may be any.
    pub(super) fn effects(&self) -> Effects {
        const ABOUT_LAST: [&[u8]; 8] =
            [b"warning_count", b"error_count", b"identity", b"last_insert_id", b"last_gtid", b"", b"session", b"local"];
        const ABOUT_CONNECTION: [&[u8]; 2] = [b"pseudo_thread_id", b"in_transaction"];
        if is_session_tracking(self.name) {
            return Effects::SESSION_TRACKING;
        }
        if ABOUT_LAST.iter().any(|name| self.name.eq_ignore_ascii_case(name)) {
            return Effects::DIAGNOSTICS;
        }
        if ABOUT_CONNECTION.iter().any(|name| self.name.eq_ignore_ascii_case(name)) {
            return Effects::CONNECTION;
        }
        match !self.global && SAME_EVERYWHERE.iter().any(|name| self.name.eq_ignore_ascii_case(name)) {
            true => Effects::NONE,
            false => Effects::SERVER_VARIABLE,
        }
    }
}

fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
