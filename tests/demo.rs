//! The demo as a newcomer meets it: what it prints, what it leaves behind (nothing), and what it says when it cannot run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "how a test fails")]

mod bed;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Any free ports.
const PORTS: [&str; 6] = ["--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--http", "127.0.0.1:0"];

/// A folder for temporary files that must be empty in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("demo-{}-{:x}", std::process::id(), rand::random::<u32>()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.arg("sandbox").args(arguments).env("TMPDIR", &self.0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        timeout(4 * bed::PATIENCE, self.weir(arguments).output()).await.unwrap().unwrap()
    }

    /// Processes that name this folder in their arguments: the servers.
    fn servers(&self) -> usize {
        let name = self.0.display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let arguments = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        arguments.filter(|arguments| String::from_utf8_lossy(arguments).contains(&name)).count()
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.servers(), 0, "processes are left");
        let left: Vec<_> = fs::read_dir(&self.0).unwrap().flatten().map(|entry| entry.path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_demo_runs_says_what_it_did_and_leaves_nothing() {
    for flavor in bed::flavors() {
        let place = Place::new();
        let arguments = [&PORTS[..], &["--demo", "--once", "--seconds", "4", "--flavor", flavor.name()]].concat();
        let output = place.run(&arguments).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{flavor}: {:?}\n{out}\n{err}", output.status);
        assert_eq!(err, "", "{flavor}");
        assert!(!out.contains(['\r', '\x1b']), "{flavor}: nothing is written over where there is no terminal\n{out}");
        assert!(out.contains(" clients, "), "{flavor}: the progress is shown\n{out}");
        for server in ["replica1", "replica2"] {
            let [reads, writes, transactions] = row(&out, server);
            assert!(reads > 0 && writes == 0, "{flavor}: {server}\n{out}");
            assert!(transactions > 0, "{flavor}: {server} runs read-only transactions\n{out}");
        }
        let [_, writes, transactions] = row(&out, "writer");
        assert!(writes > 0 && transactions > 0, "{flavor}: writer\n{out}");
        for reason in ["read", "write", "transaction", "begin", "read-only-transaction", "locking-read", "pinned"] {
            assert!(row::<1>(&out, reason) > [0], "{flavor}: {reason}\n{out}");
        }
        place.assert_nothing_is_left();
    }
}

/// The numbers in the line that begins with `name`.
fn row<const N: usize>(out: &str, name: &str) -> [u64; N] {
    let line = out.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no line of {name} in\n{out}"));
    let numbers: Vec<u64> =
        line.split_whitespace().skip(1).take(N).map(|number| number.replace(',', "").parse().unwrap()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("{line}"))
}

#[tokio::test]
async fn the_sandbox_stays_up_until_ctrl_c_and_leaves_nothing() {
    let Some(flavor) = bed::flavors().into_iter().next() else { return };
    let place = Place::new();
    let arguments = [&PORTS[..], &["--demo", "--seconds", "1", "--replicas", "1", "--flavor", flavor.name()]].concat();
    let mut weir = place.weir(&arguments).spawn().unwrap();
    let mut lines = BufReader::new(weir.stdout.take().unwrap()).lines();
    let invitation = line_with(&mut lines, " -uapp ").await;
    let config = line_with(&mut lines, "weir.toml").await;
    line_with(&mut lines, "Ctrl-C").await;
    assert_eq!(place.servers(), 2);

    // As the line says.
    let word = |prefix| invitation.split_whitespace().find_map(|word| word.strip_prefix(prefix)).unwrap();
    let options = OptsBuilder::default()
        .ip_or_hostname(word("-h"))
        .tcp_port(word("-P").parse().unwrap())
        .prefer_socket(false)
        .user(Some(word("-u")))
        .pass(Some(word("-p")))
        .db_name(invitation.split_whitespace().last());
    let mut conn = Conn::new(options).await.unwrap();
    let products: Option<u32> = conn.query_first("SELECT COUNT(*) FROM products").await.unwrap();
    assert_eq!(products, Some(500));
    let config = config.split_whitespace().find(|word| word.ends_with("weir.toml")).unwrap();
    assert!(Path::new(config).is_file(), "{config}");

    assert_eq!(ended_by(&mut weir, "INT").await, Some(0));
    place.assert_nothing_is_left();
}

#[tokio::test]
async fn a_signal_while_it_starts_leaves_nothing() {
    let Some(flavor) = bed::flavors().into_iter().next() else { return };
    for signal in ["INT", "TERM"] {
        let place = Place::new();
        let mut weir = place.weir(&[&PORTS[..], &["--flavor", flavor.name()]].concat()).spawn().unwrap();
        let mut lines = BufReader::new(weir.stdout.take().unwrap()).lines();
        line_with(&mut lines, "Starting").await;
        assert_eq!(ended_by(&mut weir, signal).await, Some(1), "{signal}");
        place.assert_nothing_is_left();
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new();
    for (flag, place_of_flag) in [("--listen", 1), ("--console", 3), ("--http", 5)] {
        let mut arguments = PORTS;
        arguments[place_of_flag] = &address;
        let output = place.run(&arguments).await;
        let expected =
            format!("weir: cannot listen on\n  {address}: is taken; choose another with {flag} 127.0.0.1:PORT\n");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), expected), "{flag}");
        assert_eq!(text(&output.stdout), "", "{flag}: nothing is started");
    }
    place.assert_nothing_is_left();
}

async fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, part: &str) -> String {
    let find = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(part) {
                return line;
            }
        }
        panic!("it ended without a line with {part:?}")
    };
    timeout(4 * bed::PATIENCE, find).await.unwrap_or_else(|_| panic!("no line with {part:?}"))
}

/// The exit code after a signal.
async fn ended_by(weir: &mut Child, signal: &str) -> Option<i32> {
    let pid = weir.id().unwrap().to_string();
    let sent = std::process::Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, signal, &pid]).status().unwrap();
    assert!(sent.success());
    timeout(bed::PATIENCE, weir.wait()).await.unwrap().unwrap().code()
}
