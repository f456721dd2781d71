//! What the fake server answers to a statement, as values. Knows just enough SQL for the bench's own reads, for a proxy's
//! probes and for the session statements with which a proxy prepares a connection; the bytes are `fake_server`'s.

pub(crate) const VERSION: &str = "8.4.0";

/// Which of the fake servers: the first is the writer, the others are its replicas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server(pub(crate) usize);

impl Server {
    pub(crate) const WRITER: Self = Self(0);

    fn uuid(self) -> String {
        format!("00000000-0000-0000-0000-{:012}", self.0 + 1)
    }
}

/// What every server has: no statement of the bench adds to it.
const GTIDS: &str = "00000000-0000-0000-0000-000000000001:1-1000";

#[derive(Clone)]
pub(crate) enum Answer {
    /// Done; what it changed in the session.
    Ok(Vec<Change>),
    Rows(Rows),
    /// The bench's reads, encoded once and for all.
    PointRow,
    BigResult,
    UnknownTable,
}

/// One entry of an OK packet's session tracking.
#[derive(Clone)]
pub(crate) enum Change {
    Variable(String, String),
    Schema(String),
    State,
}

/// A result of text columns; every row has one value for each column.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Rows {
    fn none<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self { columns: columns.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }
}

/// One row of 119 characters, as sysbench's point select returns.
pub(crate) const POINT_READ: &str = "SELECT c FROM sbtest1 WHERE id=";
/// 1 MB.
pub(crate) const BIG_READ: &str = "SELECT big FROM report";
pub(crate) const BIG_ROWS: usize = 1000;

pub(crate) fn point_row() -> Rows {
    let value = "68487932199-96439406143-93774651418-41631865787-96406072701-20604855487-25459966574-28203206787-\
                 41238978918-19503783441";
    Rows { columns: vec!["c".to_owned()], rows: vec![vec![value.to_owned()]] }
}

pub(crate) fn big_result() -> Rows {
    Rows { columns: vec!["big".to_owned()], rows: vec![vec!["x".repeat(1000)]; BIG_ROWS] }
}

pub(crate) fn answer(sql: &str, server: Server) -> Answer {
    if sql.starts_with(POINT_READ) {
        return Answer::PointRow;
    }
    if sql == BIG_READ {
        return Answer::BigResult;
    }
    let sql = sql.trim().trim_end_matches(';');
    let (verb, rest) = sql.split_once(char::is_whitespace).unwrap_or((sql, ""));
    match verb.to_ascii_lowercase().as_str() {
        "set" => Answer::Ok(assignments(rest)),
        "use" => Answer::Ok(vec![Change::Schema(unquoted(rest.trim()).to_owned()), Change::State]),
        "show" => show(&rest.to_ascii_lowercase(), server),
        "select" => select(&rest.to_ascii_lowercase(), server),
        _ => Answer::Ok(Vec::new()),
    }
}

/// `SET a = 1, @@session.b = 'x'`: the variables; `SET @user = 1`: a change without a name.
fn assignments(list: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some((names, charset)) = list.split_once(' ')
        && names.eq_ignore_ascii_case("names")
    {
        let charset = charset.split([' ', ',']).next().unwrap_or_default();
        for end in ["client", "connection", "results"] {
            changes.push(Change::Variable(format!("character_set_{end}"), unquoted(charset).to_owned()));
        }
    }
    for assignment in top_level(list) {
        let Some((name, value)) = assignment.split_once('=') else { continue };
        let name = name.trim_end_matches(':').trim().to_ascii_lowercase();
        let name = bare_variable(&name);
        let value = match value.trim() {
            null if null.eq_ignore_ascii_case("null") => "",
            value => unquoted(value),
        };
        if !name.starts_with('@') {
            changes.push(Change::Variable(name.to_owned(), value.to_owned()));
        }
    }
    changes.push(Change::State);
    changes
}

fn show(what: &str, server: Server) -> Answer {
    let (columns, row) = match what {
        "replica status" => (
            ["Replica_IO_Running", "Replica_SQL_Running", "Seconds_Behind_Source", "Source_UUID"],
            ["Yes", "Yes", "0", &Server::WRITER.uuid()].map(str::to_owned),
        ),
        "slave status" | "all slaves status" => (
            ["Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master", "Master_UUID"],
            ["Yes", "Yes", "0", &Server::WRITER.uuid()].map(str::to_owned),
        ),
        _ => return Answer::Rows(Rows::none(["Variable_name", "Value"])),
    };
    let mut result = Rows::none(columns);
    if server != Server::WRITER {
        result.rows.push(row.to_vec());
    }
    Answer::Rows(result)
}

/// A row of the expressions' values; a table other than the performance schema's is unknown.
fn select(list: &str, server: Server) -> Answer {
    if let Some((columns, table)) = split_from(list) {
        return match table.contains("performance_schema") {
            true => Answer::Rows(Rows::none(top_level(columns))),
            false => Answer::UnknownTable,
        };
    }
    let list = list.split(" limit ").next().unwrap_or(list);
    let (columns, row) = top_level(list)
        .map(|item| {
            let (expression, name) = item.split_once(" as ").unwrap_or((item, item));
            (unquoted(name.trim()).to_owned(), value(expression.trim(), server))
        })
        .unzip();
    Answer::Rows(Rows { columns, rows: vec![row] })
}

/// Splits at the first ` from ` outside of parentheses.
fn split_from(list: &str) -> Option<(&str, &str)> {
    let mut depth = 0_i32;
    let (at, _) = list.match_indices([' ', '(', ')']).find(|&(at, found)| {
        depth += i32::from(found == "(") - i32::from(found == ")");
        depth == 0 && list[at..].starts_with(" from ")
    })?;
    Some((&list[..at], &list[at + " from ".len()..]))
}

fn value(expression: &str, server: Server) -> String {
    let text = match bare_variable(expression) {
        // The id of the default collation.
        subquery if subquery.starts_with('(') => "255",
        "server_uuid" => return server.uuid(),
        "read_only" | "super_read_only" if server != Server::WRITER => "1",
        "version" | "version()" => VERSION,
        "gtid_mode" => "ON",
        "gtid_executed" => GTIDS,
        "max_allowed_packet" => "67108864",
        "wait_timeout" | "interactive_timeout" => "28800",
        "collation_connection" => "utf8mb4_0900_ai_ci",
        "socket" | "version_comment" | "gtid_purged" | "database()" => "",
        charset if charset.starts_with("character_set") => "utf8mb4",
        number if number.parse::<u64>().is_ok() => number,
        _ => "0",
    };
    text.to_owned()
}

/// `@@global.x` and `session x` are about `x`.
fn bare_variable(name: &str) -> &str {
    let name = name.strip_prefix("@@").unwrap_or(name);
    let scopes = ["global.", "session.", "local.", "global ", "session ", "local "];
    scopes.iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(name).trim_matches('`')
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['\'', '"', '`'])
}

/// The parts between the commas that stand outside of parentheses and quotes.
fn top_level(list: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut quote) = (0_i32, None);
    list.split(move |c: char| {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ',') => return depth == 0,
            _ => {}
        }
        false
    })
    .map(str::trim)
}
