//! A process that the test runs, reads and kills.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use serde_json::Value;

use crate::plan::until;

/// A running process whose standard output is JSON lines. Killed with -9 when
/// it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    count: Arc<AtomicUsize>,
    reading: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let (read, counted) = (lines.clone(), count.clone());
        let reading = std::thread::spawn(move || {
            for line in out.split(b'\n') {
                // Only the last line of a killed process may be cut short. It
                // is no line then, and is left away.
                let Ok(value) = serde_json::from_slice(&line.unwrap()) else {
                    break;
                };
                read.lock().unwrap().push(value);
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            child,
            lines,
            count,
            reading: Some(reading),
        }
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// How many lines it has printed.
    pub(crate) fn count(&self) -> Arc<AtomicUsize> {
        self.count.clone()
    }

    /// Waits for its first line.
    pub(crate) fn first_line(&mut self) -> Value {
        until("a first line", || {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "ended with {ended:?} before its first line"
            );
            self.count.load(Ordering::SeqCst) > 0
        });
        self.lines.lock().unwrap()[0].clone()
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success(), "kill -s {name} {id}");
    }

    /// Kills it with -9; returns all that it has printed.
    pub(crate) fn kill(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.printed()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self, what: &str) -> (ExitStatus, Vec<Value>) {
        let mut status = None;
        until(what, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        (status.unwrap(), self.printed())
    }

    fn printed(&mut self) -> Vec<Value> {
        self.reading.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The client's binary.
pub(crate) const fn magpie() -> &'static str {
    env!("CARGO_BIN_EXE_magpie")
}

/// The server's binary: where `cargo build --workspace` puts it, beside the
/// client.
pub(crate) fn magpied() -> PathBuf {
    let path = Path::new(magpie()).with_file_name("magpied");
    assert!(
        path.is_file(),
        "build the workspace first: cargo build --workspace"
    );
    path
}
