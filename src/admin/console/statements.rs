//! The console's statements: one table that parses them, describes them and says what runs them.

use std::{future::Future, pin::Pin};

use opensrv_mysql::ErrorKind;

use super::{
    answers::{kill, reload, set_state, show_pins, show_reasons, show_servers, show_sessions, shut_down, word},
    engine::{Field, FieldKind, Refused, Row},
    words::{Word, words},
};
use crate::{
    admin::{AskError, Doors},
    config::{ServerId, State},
};

/// A row of the table.
struct Statement {
    /// How it is written; the first spelling is the one that HELP shows.
    spellings: &'static [&'static str],
    help: &'static str,
    /// The answer's columns; none: the answer is an OK.
    fields: &'static [Field],
    run: Run,
}

/// What runs a statement, by the argument that stands behind its words.
enum Run {
    Alone(for<'a> fn(&'a Doors) -> Answer<'a>),
    Server(for<'a> fn(&'a Doors, ServerId) -> Answer<'a>),
    Session(for<'a> fn(&'a Doors, u32) -> Answer<'a>),
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, AskError>> + Send + 'a>>;

static STATEMENTS: &[Statement] = &[
    Statement {
        spellings: &["SHOW SERVERS"],
        help: "Every server with its health, connections and statements served",
        fields: &[
            text("server"),
            text("address"),
            text("role"),
            text("writer"),
            text("state"),
            number("weight"),
            text("health"),
            text("version"),
            text("read_only"),
            number("lag_ms"),
            text("gtid"),
            number("idle"),
            number("used"),
            number("max"),
            number("reads"),
            number("writes"),
            number("transactions"),
            number("errors"),
        ],
        run: Run::Alone(|doors| Box::pin(show_servers(doors))),
    },
    Statement {
        spellings: &["SHOW SESSIONS", "SHOW PROCESSLIST", "SHOW FULL PROCESSLIST"],
        help: "Every client's session, oldest first",
        fields: &[
            number("id"),
            text("user"),
            text("client"),
            text("program"),
            text("schema"),
            text("phase"),
            number("since_ms"),
            text("server"),
            text("pin"),
            text("decision"),
            number("statements"),
        ],
        run: Run::Alone(|doors| Box::pin(show_sessions(doors))),
    },
    Statement {
        spellings: &["SHOW REASONS"],
        help: "How many statements went where they went, by reason",
        fields: &[text("reason"), number("statements")],
        run: Run::Alone(|doors| Box::pin(show_reasons(doors))),
    },
    Statement {
        spellings: &["SHOW PINS"],
        help: "How many times a session had to keep its server connection, by reason",
        fields: &[text("pin"), number("count")],
        run: Run::Alone(|doors| Box::pin(show_pins(doors))),
    },
    Statement {
        spellings: &["SHOW VERSION"],
        help: "Weir's version",
        fields: &[text("version")],
        run: Run::Alone(|_| Box::pin(async { Ok(vec![vec![word(env!("CARGO_PKG_VERSION"))]]) })),
    },
    Statement {
        spellings: &["DRAIN SERVER"],
        help: "Give a server no new work, and let what it does come to an end",
        fields: &[],
        run: Run::Server(|doors, server| Box::pin(set_state(doors, server, State::Drain))),
    },
    Statement {
        spellings: &["DISABLE SERVER"],
        help: "Take a server out at once",
        fields: &[],
        run: Run::Server(|doors, server| Box::pin(set_state(doors, server, State::Offline))),
    },
    Statement {
        spellings: &["ENABLE SERVER"],
        help: "Put a server back to work",
        fields: &[],
        run: Run::Server(|doors, server| Box::pin(set_state(doors, server, State::Active))),
    },
    Statement {
        spellings: &["KILL", "KILL CONNECTION"],
        help: "End a session",
        fields: &[],
        run: Run::Session(|doors, session| Box::pin(kill(doors, session, false))),
    },
    Statement {
        spellings: &["KILL QUERY"],
        help: "End the statement that a session runs",
        fields: &[],
        run: Run::Session(|doors, session| Box::pin(kill(doors, session, true))),
    },
    Statement {
        spellings: &["RELOAD"],
        help: "Read the configuration file again, and say what changed",
        fields: &[text("change")],
        run: Run::Alone(|doors| Box::pin(reload(doors))),
    },
    Statement {
        spellings: &["SHUTDOWN"],
        help: "Drain and exit",
        fields: &[],
        run: Run::Alone(|doors| Box::pin(shut_down(doors))),
    },
    Statement {
        // The stock clients keep HELP to themselves.
        spellings: &["SHOW HELP", "HELP"],
        help: "This list",
        fields: &[text("statement"), text("what_it_does")],
        run: Run::Alone(|_| Box::pin(async { Ok(help()) })),
    },
];

const fn text(name: &'static str) -> Field {
    Field { name, kind: FieldKind::Text }
}

const fn number(name: &'static str) -> Field {
    Field { name, kind: FieldKind::Number }
}

/// A statement with its argument, ready to run as often as wanted.
pub(super) struct Call {
    pub(super) fields: &'static [Field],
    run: Bound,
}

impl Call {
    pub(super) async fn run(&self, doors: &Doors) -> Result<Vec<Row>, AskError> {
        (self.run)(doors).await
    }
}

/// Finds a text's statement: case does not matter, names may be quoted, semicolons may end it.
///
/// # Errors
/// The syntax error for the client.
pub(super) fn parse(text: &str) -> Result<Call, Refused> {
    let words = words(text).ok_or_else(|| not_understood(text))?;
    if words.is_empty() {
        return Err(Refused { kind: ErrorKind::ER_EMPTY_QUERY, message: "Query was empty".into() });
    }
    let called = |statement: &'static Statement| {
        let run = statement.spellings.iter().find_map(|spelling| statement.run.bind(behind(&words, spelling)?))?;
        Some(Call { fields: statement.fields, run })
    };
    STATEMENTS.iter().find_map(called).ok_or_else(|| not_understood(text))
}

/// The words behind a spelling.
fn behind<'a>(mut words: &'a [Word], spelling: &str) -> Option<&'a [Word]> {
    for wanted in spelling.split(' ') {
        let (first, rest) = words.split_first()?;
        if !first.is_keyword(wanted) {
            return None;
        }
        words = rest;
    }
    Some(words)
}

fn not_understood(text: &str) -> Refused {
    /// How much of a text its error repeats.
    const NEAR: usize = 80;
    let near: String = text.chars().take(NEAR).collect();
    let message = format!("The console does not understand '{near}'; SHOW HELP lists what it does understand");
    Refused { kind: ErrorKind::ER_PARSE_ERROR, message }
}

/// A statement's run, bound to its argument.
type Bound = Box<dyn for<'a> Fn(&'a Doors) -> Answer<'a> + Send + Sync>;

impl Run {
    /// None: these words are not the argument that is wanted.
    fn bind(&'static self, argument: &[Word]) -> Option<Bound> {
        match (self, argument) {
            (Self::Alone(run), []) => Some(Box::new(run)),
            (Self::Server(run), [name]) => {
                let server = ServerId::new(&name.text);
                Some(Box::new(move |doors| run(doors, server.clone())))
            }
            (Self::Session(run), [id]) => {
                let session = id.text.parse().ok()?;
                Some(Box::new(move |doors| run(doors, session)))
            }
            _ => None,
        }
    }

    /// The argument's name, as HELP shows it.
    fn argument(&self) -> &'static str {
        match self {
            Self::Alone(_) => "",
            Self::Server(_) => " <server>",
            Self::Session(_) => " <session>",
        }
    }
}

fn help() -> Vec<Row> {
    let row = |statement: &Statement| {
        let spelling = statement.spellings.first().copied().unwrap_or_default();
        vec![word(&format!("{spelling}{}", statement.run.argument())), word(statement.help)]
    };
    STATEMENTS.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_parsed_to_its_own_statement() {
        for statement in STATEMENTS {
            for spelling in statement.spellings {
                let argument = if statement.run.argument().is_empty() { "" } else { " 7" };
                for text in [format!("{spelling}{argument}"), format!(" {}{argument} ;", spelling.to_lowercase())] {
                    let call = parse(&text).unwrap_or_else(|refused| panic!("{text}: {refused:?}"));
                    assert_eq!(call.fields, statement.fields, "{text}");
                }
            }
        }
    }

    #[test]
    fn everything_else_points_to_help() {
        let cases = [
            ("SELECT 1", 1064),
            ("SHOW SERVERS LIKE 'a'", 1064),
            ("SHOW `SERVERS`", 1064),
            ("DRAIN SERVER", 1064),
            ("DRAIN SERVER a b", 1064),
            ("KILL", 1064),
            ("KILL QUERY", 1064),
            ("KILL -1", 1064),
            ("KILL 4294967296", 1064),
            ("RELOAD; SHUTDOWN", 1064),
            ("SHUTDOWN NOW", 1064),
            ("", 1065),
            (" ; ", 1065),
        ];
        for (text, code) in cases {
            let refused = parse(text).err().unwrap_or_else(|| panic!("{text} was understood"));
            assert_eq!(refused.kind as u16, code, "{text}");
            assert_eq!(refused.message.contains("HELP"), code == 1064, "{text}: {}", refused.message);
        }
    }
}
