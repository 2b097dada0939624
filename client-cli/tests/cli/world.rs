//! A world to test in: a real `magpied`, real `magpie` processes, directories
//! that vanish. Whatever was started is killed when its value is dropped.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The password of every user here.
pub(crate) const PASSWORD: &str = "correct horse";

/// The program under test.
pub(crate) const MAGPIE: &str = env!("CARGO_BIN_EXE_magpie");

/// Where `cargo build --workspace` puts the server: beside the client.
pub(crate) fn magpied() -> PathBuf {
    let path = Path::new(MAGPIE).with_file_name("magpied");
    assert!(
        path.is_file(),
        "build the workspace first: cargo build --workspace"
    );
    path
}

/// A server and the homes of its users, in one directory.
pub(crate) struct World {
    directory: TempDir,
    server: Option<Server>,
    /// Where clients connect: the server, or a proxy in front of it.
    pub(crate) address: String,
    /// What clients trust: the server's certificate authority.
    pub(crate) ca: PathBuf,
    /// Flags of the server.
    pub(crate) settings: Vec<String>,
    /// What its environment says besides.
    pub(crate) environment: Vec<(&'static str, String)>,
}

struct Server {
    child: Child,
}

impl World {
    /// A server that is ready, on a free port, with nobody registered.
    pub(crate) fn new() -> Self {
        let mut world = Self::without_server();
        world.start_server();
        world
    }

    /// A world in which [`World::address`] leads nowhere yet.
    pub(crate) fn without_server() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("server/ca.pem");
        Self {
            directory,
            server: None,
            address: "127.0.0.1:1".to_owned(),
            ca,
            settings: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// A server with these flags.
    pub(crate) fn with_settings(settings: &[&str]) -> Self {
        let mut world = Self::without_server();
        world.settings = settings.iter().map(|it| (*it).to_owned()).collect();
        world.start_server();
        world
    }

    /// A server, and alice and bob registered, each with a home of that name.
    pub(crate) fn with_alice_and_bob() -> Self {
        let world = Self::new();
        world.register("alice");
        world.register("bob");
        world
    }

    /// Where the server keeps everything.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("server")
    }

    /// A file in the directory in which commands are run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The home of that name; the directory need not exist yet.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.directory.path().join("homes").join(name)
    }

    /// Starts the server on the port that it had before, or on a free one, with
    /// the same directory, and waits until it is ready.
    pub(crate) fn start_server(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let listen = if self.address == "127.0.0.1:1" {
            "127.0.0.1:0".to_owned()
        } else {
            self.address.clone()
        };
        let directory = self.data_dir();
        let said = (self.settings.as_slice(), self.environment.as_slice());
        let (server, ready) = start_server(&listen, &directory, said);
        self.server = Some(server);
        self.address = text(&ready, "listen").to_owned();
        self.ca = PathBuf::from(text(&ready, "ca"));
    }

    /// `kill -9`, then waits until the process is gone.
    pub(crate) fn kill_server(&mut self) {
        drop(self.server.take());
    }

    /// Registers a user whose home has the same name.
    pub(crate) fn register(&self, name: &str) {
        self.magpie(name, ["register", name]).done();
    }

    /// Signs a new device in: another home of a user who exists.
    pub(crate) fn log_in(&self, home: &str, name: &str) {
        self.magpie(home, ["login", name]).done();
    }

    /// A `magpie` command for a home, with `--json`; not started yet.
    pub(crate) fn command<I: AsRef<OsStr>>(
        &self,
        home: &str,
        arguments: impl IntoIterator<Item = I>,
    ) -> Command {
        let mut command = self.for_people(home, ["--json"]);
        command.args(arguments);
        command
    }

    /// A `magpie` command for a home, without `--json`; not started yet.
    pub(crate) fn for_people<I: AsRef<OsStr>>(
        &self,
        home: &str,
        arguments: impl IntoIterator<Item = I>,
    ) -> Command {
        let mut command = Command::new(MAGPIE);
        command
            .args(["--server", &self.address])
            .arg("--ca")
            .arg(&self.ca)
            .arg("--home")
            .arg(self.home(home))
            .args(arguments)
            .env("MAGPIE_PASSWORD", PASSWORD)
            .env_remove("MAGPIE_SERVER")
            .env_remove("MAGPIE_CA")
            .env_remove("MAGPIE_HOME")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR")
            .env_remove("CLICOLOR_FORCE")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `magpie` to its end, with an empty standard input.
    pub(crate) fn magpie<I: AsRef<OsStr>>(
        &self,
        home: &str,
        arguments: impl IntoIterator<Item = I>,
    ) -> Finished {
        Finished::of(self.command(home, arguments).output().unwrap())
    }

    /// Runs `magpie` to its end, with `input` on standard input.
    pub(crate) fn magpie_with_input<I: AsRef<OsStr>>(
        &self,
        home: &str,
        arguments: impl IntoIterator<Item = I>,
        input: &str,
    ) -> Finished {
        let mut child = self
            .command(home, arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = thread::spawn(move || {
            // A program that ends before it has read everything is not our matter.
            drop(stdin.write_all(input.as_bytes()));
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Finished::of(output)
    }

    /// Starts `magpie` and lets it run; its lines can be waited for.
    pub(crate) fn start<I: AsRef<OsStr>>(
        &self,
        home: &str,
        arguments: impl IntoIterator<Item = I>,
    ) -> Running {
        Running::of(
            self.command(home, arguments)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn start_server(
    listen: &str,
    directory: &Path,
    (settings, environment): (&[String], &[(&str, String)]),
) -> (Server, Value) {
    // A port that a killed server held may take a moment to be free again.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut child = Command::new(magpied())
            .args(["--listen", listen, "--admin-listen", "off", "--json"])
            .arg("--data-dir")
            .arg(directory)
            .args(settings)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::of(child.stdout.take().unwrap());
        let errors = read_aside(child.stderr.take().unwrap());
        let server = Server { child };
        if let Some(ready) = lines.next(PATIENCE) {
            assert_eq!(text(&ready, "type"), "ready");
            return (server, ready);
        }
        drop(server);
        let sentence = errors.recv_timeout(PATIENCE).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "the server did not start: {sentence}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// Reads to the end on a thread, so that nobody blocks on a full pipe.
fn read_aside(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

/// JSON lines of a process, as they come.
struct Lines(Receiver<Value>);

impl Lines {
    fn of(from: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(from).lines() {
                // A process that was killed may leave half a line.
                let Some(value) = line.ok().and_then(|line| serde_json::from_str(&line).ok())
                else {
                    return;
                };
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    fn next(&self, patience: Duration) -> Option<Value> {
        self.0.recv_timeout(patience).ok()
    }
}

/// What a `magpie` that ended left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Its JSON lines.
    pub(crate) lines: Vec<Value>,
    /// What it said to people.
    pub(crate) stderr: String,
}

impl Finished {
    fn of(output: Output) -> Self {
        let stdout = String::from_utf8(output.stdout).unwrap();
        Self {
            code: output.status.code(),
            lines: stdout
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its lines, after it ended with that code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Vec<Value> {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.lines
    }

    /// Its lines, after it ended with 0.
    #[track_caller]
    pub(crate) fn done(self) -> Vec<Value> {
        self.with_code(0)
    }
}

/// A `magpie` that runs. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines,
    errors: Receiver<String>,
}

impl Running {
    fn of(mut child: Child) -> Self {
        let lines = Lines::of(child.stdout.take().unwrap());
        let errors = read_aside(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Self {
            child,
            stdin,
            lines,
            errors,
        }
    }

    /// Its next line.
    #[track_caller]
    pub(crate) fn line(&self) -> Value {
        self.lines.next(PATIENCE).expect("no line came in time")
    }

    /// Its next line, if it comes in time.
    pub(crate) fn next(&self, patience: Duration) -> Option<Value> {
        self.lines.next(patience)
    }

    /// Reads lines up to and including the next one of that type.
    #[track_caller]
    pub(crate) fn until(&self, kind: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let found = text(&line, "type") == kind;
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, input: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Asks it to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Stops it where it is (SIGSTOP): its sockets stay open.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success());
    }

    /// `kill -9`; returns the lines that were not read yet.
    pub(crate) fn kill(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.lines.next(PATIENCE)).collect()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        self.stdin = None;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not end in time");
            thread::sleep(Duration::from_millis(5));
        };
        Finished {
            code: status.code(),
            lines: std::iter::from_fn(|| self.lines.next(PATIENCE)).collect(),
            stderr: self.errors.recv_timeout(PATIENCE).unwrap_or_default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A field that is a string.
#[track_caller]
pub(crate) fn text<'line>(line: &'line Value, field: &str) -> &'line str {
    line[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {line}"))
}

/// A field that is a number.
#[track_caller]
pub(crate) fn number(line: &Value, field: &str) -> u64 {
    line[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no {field} in {line}"))
}

/// The lines of one type.
pub(crate) fn of_type<'lines>(lines: &'lines [Value], kind: &str) -> Vec<&'lines Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// The texts of the message lines, in order.
pub(crate) fn texts(lines: &[Value]) -> Vec<&str> {
    of_type(lines, "message")
        .into_iter()
        .map(|line| text(line, "text"))
        .collect()
}
