//! The console as opensrv-mysql sees it: statements in, rows or an error out, by text or prepared.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter, OkResponse, ParamParser, QueryResultWriter,
    StatementMetaWriter, StatusFlags, ToMysqlValue,
};
use tokio::io::AsyncWrite;

use super::{
    driver,
    gate::Refusal,
    statements::{self, Call},
};
use crate::admin::{AskError, Doors};
use crate::context::ControlError;

/// Prepared statements of one session.
const MAX_PREPARED: usize = 64;

/// One session of the console.
pub(super) struct Console {
    doors: Doors,
    prepared: HashMap<u32, Request>,
    last_id: u32,
}

/// A statement that was understood.
pub(super) enum Request {
    /// One of the console's own.
    Call(Call),
    /// What drivers ask of every server when they connect.
    Variables(Vec<driver::Variable>),
    /// What drivers tell every server when they connect, and what means nothing here.
    Nothing,
}

/// A row, in the order of its fields.
pub(super) type Row = Vec<Cell>;

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Text(String),
    Number(u64),
}

/// A column of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: FieldKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldKind {
    Text,
    Number,
}

/// An error as the client gets it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Console {
    pub(super) fn new(doors: Doors) -> Self {
        Self { doors, prepared: HashMap::new(), last_id: 0 }
    }
}

/// Tells the statement's meaning, or why it has none.
fn understand(text: &str) -> Result<Request, Refused> {
    if let Some((kind, message)) = Refusal::in_query(text) {
        return Err(Refused { kind, message: message.into() });
    }
    match driver::understand(text)? {
        Some(request) => Ok(request),
        None => Ok(Request::Call(statements::parse(text)?)),
    }
}

impl Request {
    /// Empty: the answer is an OK.
    fn columns(&self) -> Vec<Column> {
        match self {
            Self::Call(call) => call.fields.iter().map(|field| column(field.name, field.kind)).collect(),
            Self::Variables(variables) => variables.iter().map(driver::Variable::column).collect(),
            Self::Nothing => Vec::new(),
        }
    }

    async fn run(&self, doors: &Doors) -> Result<Vec<Row>, Refused> {
        match self {
            Self::Call(call) => Ok(call.run(doors).await?),
            Self::Variables(variables) => Ok(vec![variables.iter().map(driver::Variable::value).collect()]),
            Self::Nothing => Ok(Vec::new()),
        }
    }

    async fn answer<W: AsyncWrite + Send + Unpin>(
        &self,
        doors: &Doors,
        results: QueryResultWriter<'_, W>,
    ) -> io::Result<()> {
        let rows = match self.run(doors).await {
            Ok(rows) => rows,
            Err(refused) => return results.error(refused.kind, refused.message.as_bytes()).await,
        };
        let columns = self.columns();
        if columns.is_empty() {
            return results.completed(done()).await;
        }
        let mut table = results.start(&columns).await?;
        for row in rows {
            table.write_row(row).await?;
        }
        table.finish().await
    }
}

pub(super) fn column(name: &str, kind: FieldKind) -> Column {
    let (coltype, colflags) = match kind {
        FieldKind::Text => (ColumnType::MYSQL_TYPE_VAR_STRING, ColumnFlags::empty()),
        FieldKind::Number => (ColumnType::MYSQL_TYPE_LONGLONG, ColumnFlags::UNSIGNED_FLAG),
    };
    Column { table: String::new(), column: name.into(), coltype, colflags }
}

fn done() -> OkResponse {
    OkResponse { status_flags: StatusFlags::SERVER_STATUS_AUTOCOMMIT, ..OkResponse::default() }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Console {
    type Error = io::Error;

    /// None, so that the engine does not ask the login that Weir made up to switch to one.
    async fn auth_plugin_for_username(&self, _user: &[u8]) -> &str {
        ""
    }

    async fn on_query<'a>(&'a mut self, query: &'a str, results: QueryResultWriter<'a, W>) -> io::Result<()> {
        match understand(query) {
            Ok(request) => request.answer(&self.doors, results).await,
            Err(refused) => results.error(refused.kind, refused.message.as_bytes()).await,
        }
    }

    async fn on_prepare<'a>(&'a mut self, query: &'a str, info: StatementMetaWriter<'a, W>) -> io::Result<()> {
        let request = match understand(query) {
            Ok(_) if self.prepared.len() >= MAX_PREPARED => {
                let message = format!("The console keeps {MAX_PREPARED} prepared statements of a session");
                return info.error(ErrorKind::ER_MAX_PREPARED_STMT_COUNT_REACHED, message.as_bytes()).await;
            }
            Ok(request) => request,
            Err(refused) => return info.error(refused.kind, refused.message.as_bytes()).await,
        };
        let columns = request.columns();
        self.last_id = self.last_id.wrapping_add(1);
        self.prepared.insert(self.last_id, request);
        info.reply(self.last_id, &[], &columns).await
    }

    async fn on_execute<'a>(
        &'a mut self,
        id: u32,
        _params: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        match self.prepared.get(&id) {
            Some(request) => request.answer(&self.doors, results).await,
            // The engine ends the session of a client that executes what it has not prepared, before it gets here.
            None => results.error(ErrorKind::ER_UNKNOWN_STMT_HANDLER, b"Unknown prepared statement".as_slice()).await,
        }
    }

    async fn on_close<'a>(&'a mut self, id: u32)
    where
        W: 'async_trait,
    {
        self.prepared.remove(&id);
    }

    async fn on_init<'a>(&'a mut self, _schema: &'a str, answer: InitWriter<'a, W>) -> io::Result<()> {
        answer.error(ErrorKind::ER_BAD_DB_ERROR, b"The console has no databases".as_slice()).await
    }
}

impl ToMysqlValue for Cell {
    fn to_mysql_text<W: Write>(&self, w: &mut W) -> io::Result<()> {
        match self {
            Self::Null => None::<u64>.to_mysql_text(w),
            Self::Text(text) => text.to_mysql_text(w),
            Self::Number(number) => number.to_mysql_text(w),
        }
    }

    fn to_mysql_bin<W: Write>(&self, w: &mut W, column: &Column) -> io::Result<()> {
        match self {
            // A NULL is a bit of the row's bitmap, and no bytes.
            Self::Null => Ok(()),
            Self::Text(text) => text.to_mysql_bin(w, column),
            Self::Number(number) => number.to_mysql_bin(w, column),
        }
    }

    fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

impl From<AskError> for Refused {
    fn from(error: AskError) -> Self {
        let kind = match &error {
            AskError::Refused(ControlError::UnknownSession(_)) => ErrorKind::ER_NO_SUCH_THREAD,
            AskError::Refused(ControlError::NotYours(_)) => ErrorKind::ER_KILL_DENIED_ERROR,
            AskError::Refused(ControlError::Closing) => ErrorKind::ER_SERVER_SHUTDOWN,
            AskError::Refused(ControlError::UnknownServer(_) | ControlError::Reload(_)) | AskError::Late(_) => {
                ErrorKind::ER_UNKNOWN_ERROR
            }
        };
        Self { kind, message: error.to_string() }
    }
}
