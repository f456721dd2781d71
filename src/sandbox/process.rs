//! One child process: it dies with us, whichever thread started it, and can be signalled and waited for.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

/// What a server process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Terminate,
    Kill,
    Freeze,
    Thaw,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Freeze => "STOP",
            Self::Thaw => "CONT",
        }
    }
}

/// A running child. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    /// Becomes true when the child is gone.
    exited: watch::Receiver<bool>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `program`; its output is appended to `log`, its input read from `input` (None: nothing).
    ///
    /// The kernel's parent-death signal follows the *thread* that started the child, so a thread of its own starts
    /// it and stays until it is gone.
    pub(super) fn spawn(program: &Path, arguments: &[String], input: Option<File>, log: File) -> io::Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.stdin(input.map_or_else(Stdio::null, Stdio::from));
        command.stdout(log.try_clone()?).stderr(log);
        let (started, start) = mpsc::sync_channel(1);
        let (gone, exited) = watch::channel(false);
        let keeper = thread::Builder::new().name("sandbox-keeper".into()).spawn(move || {
            match command.spawn() {
                Ok(mut child) => {
                    let _ = started.send(Ok(child.id()));
                    // An error would mean that it was reaped already: gone in either case.
                    let _ = child.wait();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
            let _ = gone.send(true);
        })?;
        let pid = start.recv().expect("the keeper sends before it ends")?;
        Ok(Self { pid, exited, keeper: Some(keeper) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn is_running(&self) -> bool {
        !*self.exited.borrow()
    }

    /// Tells when the child is gone, for as long as the caller likes to wait.
    pub(super) fn exited(&self) -> impl Future<Output = ()> + use<> {
        let mut exited = self.exited.clone();
        async move {
            // An error means that the keeper ended, and it ends after the child.
            let _ = exited.wait_for(|gone| *gone).await;
        }
    }

    /// Sends a signal. Through the shell's `kill`: a safe route that every system has.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), String> {
        if !self.is_running() {
            return Err("it is gone".to_owned());
        }
        let output = Command::new("sh")
            .args(["-c", r#"kill -s "$0" "$1""#, signal.name(), &self.pid.to_string()])
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// Whether every thread stands still. A signal that stops the process reaches them one after the other.
    pub(super) fn is_still(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return true };
        threads.flatten().all(|thread| {
            // proc_pid_stat(5): the state follows the name, which ends at the last ')'. A thread may be gone by now.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
            !matches!(state, Some('R' | 'S' | 'D'))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Joining a keeper whose child could not be killed would wait for ever; the child then dies with us.
        let killed = self.signal(Signal::Kill).is_ok() || !self.is_running();
        if let Some(keeper) = self.keeper.take().filter(|_| killed) {
            let _ = keeper.join();
        }
    }
}
