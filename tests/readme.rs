//! The README says what is true: its statements go where it says, its configurations are valid, its commands and metrics
//! exist.

#![allow(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env::VarError,
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Output},
};

use weir::{
    app::{self, Source},
    config::{self, Config, Route, SecretSource},
    routing::{self, Implicit, Situation, Target},
    sql::{self, Dialect, Mode},
    telemetry::{Pin, Reason},
};

const README: &str = include_str!("../README.md");

/// The rows of the table whose first column is called `header`, without the header; cells without blanks around.
fn table(header: &str) -> Vec<Vec<&'static str>> {
    let mut lines = README.lines().skip_while(|line| !line.starts_with(&format!("| {header} |")));
    assert!(lines.next().is_some(), "no table of {header}");
    let rows: Vec<Vec<_>> = lines
        .skip(1)
        .map_while(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    assert!(!rows.is_empty(), "the table of {header} is empty");
    rows
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let opened = README.split(&fence).skip(1);
    opened.map(|rest| rest.split("```").next().unwrap()).collect()
}

fn weir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).output().unwrap()
}

#[test]
fn every_statement_goes_where_the_table_says() {
    for row in table("statement") {
        let [statement, target, reason] = row[..] else { panic!("{row:?}") };
        let [statement, reason] = [statement, reason].map(|cell| quoted(cell).next().unwrap());
        for (dialect, version) in [(Dialect::MySql, 90_700), (Dialect::MariaDb, 101_100)] {
            let mode = Mode { dialect, version, ansi_quotes: false, no_backslash_escapes: false };
            let facts = sql::classify(statement.as_bytes(), mode);
            let situation = Situation { route: &Route::Split, held: None, transaction: Implicit::None };
            let decision = routing::route(&situation, &facts, None);
            let found = match decision.target {
                Target::Held | Target::Reject => panic!("{statement}: {decision:?}"),
                Target::Writer | Target::Any => "writer".to_owned(),
                Target::Reader => "replica".to_owned(),
                Target::Group(name) => format!("group {}", String::from_utf8_lossy(name)),
                Target::Server(name) => format!("server {}", String::from_utf8_lossy(name)),
            };
            assert_eq!((&*found, decision.reason.label()), (target, reason), "{dialect:?}: {statement}");
        }
    }
}

#[test]
fn every_reason_and_every_pin_is_named() {
    let named: BTreeSet<&str> = quoted_words();
    for label in Reason::ALL.iter().map(|reason| reason.label()) {
        assert!(named.contains(label), "the reason {label} is not in the README");
    }
    let pins: BTreeSet<&str> = table("pin").into_iter().flat_map(|row| quoted(row[0]).collect::<Vec<_>>()).collect();
    assert_eq!(pins, Pin::ALL.iter().map(|pin| pin.label()).collect());
}

fn quoted_words() -> BTreeSet<&'static str> {
    README.lines().filter(|line| !line.starts_with("```")).flat_map(quoted).collect()
}

/// Every variable is set.
struct Secrets;

impl SecretSource for Secrets {
    fn variable(&self, _: &str) -> Result<String, VarError> {
        Ok("secret".into())
    }

    fn file(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn parsed(text: &str) -> Config {
    config::parse(text, &Secrets).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

#[test]
fn every_driver_is_in_the_table() {
    let sources = [("pypi", "PyPI"), ("npm", "npm"), ("mysql9", "MySQL 9, and on it only"), ("bookworm", "Debian 12")];
    let mut listed = BTreeMap::<&str, Vec<String>>::new();
    for line in include_str!("drivers/list").lines().filter(|line| !line.starts_with('#')) {
        let [_, version, on, from, _, name @ ..] = &line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (_, source) = sources.iter().find(|(source, _)| source == from).unwrap();
        let only = match (*on, *from) {
            ("mariadb", _) => " (on MariaDB)",
            ("mysql9", "mysql9") | ("both", _) => "",
            _ => " (on MySQL)",
        };
        listed.entry(source).or_default().push(format!("{} {version}{only}", name.join(" ")));
    }
    let shown = table("from").into_iter().map(|row| (row[0], row[1].split(", ").map(str::to_owned).collect()));
    assert_eq!(shown.collect::<BTreeMap<&str, Vec<String>>>(), listed);
}

#[test]
fn every_configuration_is_valid() {
    let blocks = blocks("toml");
    assert!(blocks.len() >= 2, "{blocks:?}");
    for text in blocks {
        parsed(text);
    }
    parsed(include_str!("../config/minimal.toml"));
    parsed(include_str!("../config/compose/weir.toml"));
}

#[test]
fn every_example_prints_what_it_shows() {
    let mut seen = 0;
    for block in blocks("console") {
        let (command, shown) = block.strip_prefix("$ weir ").unwrap().split_once('\n').unwrap();
        let (subcommand, statement) = command.split_once(' ').unwrap();
        let output = weir(&[subcommand, statement.trim_matches('\'')]);
        let found = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && found.starts_with(shown), "{command}\n{found}");
        seen += 1;
    }
    assert!(seen > 0, "no example");
}

#[test]
fn every_make_target_and_linked_file_exists() {
    let makefile = include_str!("../Makefile");
    for text in ["`make ", "\nmake "].into_iter().flat_map(|start| README.split(start).skip(1)) {
        let target: String = text.chars().take_while(char::is_ascii_lowercase).collect();
        assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
    }
    for link in README.split("](").skip(1) {
        let path = link.split(')').next().unwrap();
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
    }
}

#[test]
fn exit_codes_are_as_it_says() {
    assert!(README.contains("0, 1 (failed), 64 (wrong usage), 78 (bad configuration)"));
    let nobody = ["check", "--writer", "127.0.0.1:1", "--user", "app"];
    let cases: [(&[&str], i32); 5] = [
        (&["explain", "SELECT 1"], 0),
        (&nobody, 1),
        (&["frobnicate"], 64),
        (&["run", "--config", "/nonexistent/weir.toml"], 78),
        (&["run", "--writer", "nowhere", "--user", "app"], 78),
    ];
    for (arguments, code) in cases {
        let output = weir(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Against what a Weir shows whose only server is not there.
#[tokio::test]
async fn every_metric_is_in_the_table() {
    let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[servers]]\naddress = \"127.0.0.1:1\"\nrole = \"writer\"\n\
                [[users]]\nname = \"app\"\npassword = \"\"\n[admin]\nconsole = \"\"\nhttp = \"127.0.0.1:0\"\n";
    let weir = app::start(parsed(text), Source::Flags).await.unwrap();
    let address = weir.addresses.http.unwrap();
    let shown = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let shown = shown.await.unwrap();
    let exposed: BTreeSet<&str> =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let listed: BTreeSet<&str> =
        table("metric").into_iter().flat_map(|row| quoted(row[0]).collect::<Vec<_>>()).collect();
    assert_eq!(listed, exposed);
    weir.shut_down();
    weir.ended().await;
}
