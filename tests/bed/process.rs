//! The `weir` binary as a process of its own.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
};

use super::until;

/// A running `weir`, killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `weir` with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = weir();
        command.args(arguments);
        Self::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (lines, sink) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut sink = sink.lock().unwrap();
                sink.push_str(&line);
                sink.push('\n');
            }
        });
        Self { child, log }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of the log holds `what`, and returns that line.
    pub async fn logged(&self, what: &str) -> String {
        let found = || self.log().lines().find(|line| line.contains(what)).map(str::to_owned);
        until(&format!("the log says {what:?}"), || async { found().is_some() }).await;
        found().unwrap()
    }

    /// The address in the first line of the log that holds `what`.
    pub async fn address(&self, what: &str) -> SocketAddr {
        let line = self.logged(what).await;
        let (_, address) = line.rsplit_once("address=").unwrap();
        address.trim().parse().unwrap()
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        until("weir ends", || {
            status = self.child.try_wait().unwrap();
            std::future::ready(status.is_some())
        })
        .await;
        status.unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `weir` to its end.
pub fn run(arguments: &[&str]) -> Output {
    weir().args(arguments).output().unwrap()
}

/// `weir` with limits that a shell sets before.
pub fn limited(limits: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_weir")]).args(arguments);
    command
}

/// The exit code; None: a signal ended it.
pub fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env("WEIR_TEST_PASSWORD", "app-secret");
    command
}
