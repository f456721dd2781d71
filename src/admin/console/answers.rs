//! What the console's statements ask of the application, and how the answers become rows. The order of the cells is
//! that of the fields in the table of statements.

use std::{fmt::Debug, time::Duration};

use super::engine::{Cell, Row};
use crate::{
    admin::{
        AskError, Doors,
        doors::{CHANGE, QUESTION},
    },
    config::{ServerId, State},
    context::{Control, ServerView, SessionView},
    telemetry::{Pin, Reason},
};

pub(super) async fn show_servers(doors: &Doors) -> Result<Vec<Row>, AskError> {
    let servers = doors.ask(QUESTION, Control::Servers).await?;
    Ok(servers.iter().map(server_row).collect())
}

fn server_row(server: &ServerView) -> Row {
    vec![
        word(&server.name),
        word(&server.address),
        lower(server.role),
        yes_no(server.is_writer),
        lower(server.state),
        Cell::Number(server.weight.into()),
        word(&server.health),
        word_or_null(server.version.as_deref()),
        server.read_only.map_or(Cell::Null, yes_no),
        server.lag.map_or(Cell::Null, millis),
        word_or_null(server.gtid.as_deref()),
        Cell::Number(server.connections_idle.into()),
        Cell::Number(server.connections_used.into()),
        Cell::Number(server.max_connections.into()),
        Cell::Number(server.reads),
        Cell::Number(server.writes),
        Cell::Number(server.transactions),
        Cell::Number(server.errors),
    ]
}

pub(super) async fn show_sessions(doors: &Doors) -> Result<Vec<Row>, AskError> {
    let sessions = doors.ask(QUESTION, Control::Sessions).await?;
    Ok(sessions.iter().map(session_row).collect())
}

fn session_row(session: &SessionView) -> Row {
    vec![
        Cell::Number(session.id.into()),
        word(&session.user),
        word(&session.client),
        word_or_null(session.program.as_deref()),
        word_or_null(session.schema.as_deref()),
        word(session.phase),
        millis(session.since),
        word_or_null(session.server.as_deref()),
        word_or_null(session.pin),
        word(&session.decision),
        Cell::Number(session.statements),
    ]
}

pub(super) async fn show_reasons(doors: &Doors) -> Result<Vec<Row>, AskError> {
    let row = |reason: &Reason| vec![word(reason.label()), Cell::Number(doors.metrics.reason(*reason))];
    Ok(Reason::ALL.iter().map(row).collect())
}

pub(super) async fn show_pins(doors: &Doors) -> Result<Vec<Row>, AskError> {
    let row = |pin: &Pin| vec![word(pin.label()), Cell::Number(doors.metrics.pin(*pin))];
    Ok(Pin::ALL.iter().map(row).collect())
}

pub(super) async fn set_state(doors: &Doors, server: ServerId, state: State) -> Result<Vec<Row>, AskError> {
    doors.ask(CHANGE, |reply| Control::SetState { server, state, reply }).await?;
    Ok(Vec::new())
}

pub(super) async fn kill(doors: &Doors, session: u32, query_only: bool) -> Result<Vec<Row>, AskError> {
    doors.ask(QUESTION, |reply| Control::Kill { session, query_only, user: None, reply }).await?;
    Ok(Vec::new())
}

pub(super) async fn reload(doors: &Doors) -> Result<Vec<Row>, AskError> {
    let changes = doors.ask(CHANGE, Control::Reload).await?;
    Ok(changes.iter().map(|change| vec![word(change)]).collect())
}

pub(super) async fn shut_down(doors: &Doors) -> Result<Vec<Row>, AskError> {
    doors.ask(QUESTION, Control::Shutdown).await?;
    Ok(Vec::new())
}

pub(super) fn word(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn word_or_null(text: Option<&str>) -> Cell {
    text.map_or(Cell::Null, word)
}

fn lower(value: impl Debug) -> Cell {
    Cell::Text(format!("{value:?}").to_ascii_lowercase())
}

fn yes_no(value: bool) -> Cell {
    word(if value { "yes" } else { "no" })
}

fn millis(duration: Duration) -> Cell {
    Cell::Number(duration.as_millis().try_into().unwrap_or(u64::MAX))
}
