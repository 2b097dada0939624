//! A server, the homes of some devices, and perhaps a proxy between them.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
};

use magpie_sim::proxy::Proxy;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::{
    database::wait_for,
    plan::{Plan, until},
    process::{Process, magpie, magpied},
};

const PASSWORD: &str = "correct horse battery";

/// All of it; gone when dropped, unless the test fails.
pub(crate) struct Town {
    pub(crate) server: Server,
    /// Where clients connect: the server, or a proxy before it.
    entrance: Arc<OnceLock<SocketAddr>>,
    dir: TempDir,
}

impl Town {
    /// With the embedded store.
    pub(crate) fn start(plan: &Plan) -> Self {
        let mut town = Self::asleep(plan, None);
        town.server.start();
        town
    }

    /// With the database at this URL.
    pub(crate) fn over(plan: &Plan, url: &str) -> Self {
        let mut town = Self::asleep(plan, Some(url.to_owned()));
        town.server.start();
        town
    }

    /// With a server that is not started yet.
    pub(crate) fn asleep(plan: &Plan, database_url: Option<String>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("magpie-fault-{}-", plan.name()))
            .tempdir()
            .unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let port = TcpSocket::new_v4().unwrap();
        port.set_reuseaddr(true).unwrap();
        port.bind(nowhere).unwrap();
        let server = Server {
            data: dir.path().join("server"),
            database_url,
            address: port.local_addr().unwrap(),
            _port: port,
            admin: nowhere,
            process: None,
        };
        Self {
            server,
            entrance: Arc::default(),
            dir,
        }
    }

    /// Puts a proxy between the server and all homes made from here on.
    pub(crate) fn proxy(&mut self, seed: u64) -> Proxy {
        let proxy = wait_for(Proxy::start(self.server.address, seed)).unwrap();
        self.entrance.set(proxy.address()).unwrap();
        proxy
    }

    fn home(&self, device: &str) -> Home {
        Home {
            device: device.to_owned(),
            dir: self.dir.path().join(device),
            ca: self.server.data.join("ca.pem"),
            server: *self.entrance.get().unwrap_or(&self.server.address),
        }
    }

    /// A new user and their first device, of the same name.
    pub(crate) fn register(&self, user: &str) -> Home {
        let home = self.home(user);
        home.done(&["register", user]);
        // A device that connects for the first time begins with what is recent,
        // and a gap marker for the rest: begin before anybody writes.
        home.done(&["sync"]);
        home
    }

    /// Another device of a user.
    pub(crate) fn sign_in(&self, user: &str, device: &str) -> Home {
        let home = self.home(device);
        home.done(&["login", user, "--device-name", device]);
        home.done(&["sync"]);
        home
    }

    /// The id of a new group.
    pub(crate) fn create_group(&self, home: &Home, title: &str, others: &[&str]) -> String {
        let lines = home.done(&[&["group", "create", title], others].concat());
        let mut ids = lines
            .iter()
            .filter_map(|line| line["conversation_id"].as_str());
        ids.next_back().map(str::to_owned).unwrap()
    }

    /// Leaves the files where they are, and says where.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let files = self.keep();
            eprintln!("what the test left is in {}", files.display());
        }
    }
}

/// What processes say to people goes here, behind what was said before: it is
/// kept with the other files when a test fails.
fn log(dir: &Path) -> File {
    let path = log_path(dir);
    let log = File::options().append(true).create(true).open(&path);
    log.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A directory without directories, in the place of what was there.
fn copy(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The socket of operators is of no use in a copy.
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

/// A few writers write more here than a person could.
const UNLIMITED: [&str; 5] = [
    "--send-rate-per-device=off",
    "--send-rate-per-user=off",
    "--send-size-rate-per-device=off",
    "--send-size-rate-per-user=off",
    "--delivery-rate-per-user=off",
];

/// A server on one port and one store, however often it is killed.
pub(crate) struct Server {
    pub(crate) data: PathBuf,
    database_url: Option<String>,
    address: SocketAddr,
    /// Bound and not listening: while the server is down nobody else is given its port.
    _port: TcpSocket,
    admin: SocketAddr,
    process: Option<Process>,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(&mut self) {
        self.launch();
        self.await_ready();
    }

    /// Starts it.
    pub(crate) fn launch(&mut self) {
        let mut command = Command::new(magpied());
        command
            .arg("--listen")
            .arg(self.address.to_string())
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--admin-listen", "127.0.0.1:0", "--json"])
            .args(UNLIMITED)
            .stdin(Stdio::null())
            .stderr(log(&self.data));
        if let Some(url) = &self.database_url {
            command.arg("--database-url").arg(url);
        }
        self.process = Some(Process::start(&mut command));
    }

    /// Tells it, while it is down, that its log went back and that it may go on.
    pub(crate) fn begin_epoch(&self) {
        let mut command = Command::new(magpied());
        command.args(["epoch", "new", "--data-dir"]).arg(&self.data);
        if let Some(url) = &self.database_url {
            command.arg("--database-url").arg(url);
        }
        let status = command.stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Waits until it says that it is ready.
    pub(crate) fn await_ready(&mut self) {
        let ready = self.process.as_mut().unwrap().first_line();
        assert_eq!(ready["type"], "ready", "{ready}");
        let address = |field: &str| ready[field].as_str().unwrap().parse().unwrap();
        self.address = address("listen");
        self.admin = address("admin");
    }

    /// Waits until it has ended by itself, and gives its exit code.
    pub(crate) fn await_end(&mut self) -> Option<i32> {
        let process = self.process.take().unwrap();
        let (status, lines) = process.wait("the server ends");
        assert_eq!(lines.len(), 0, "{lines:?}");
        status.code()
    }

    /// What it has said to people so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(log_path(&self.data)).unwrap()
    }

    /// The status with which `/readyz` is answered.
    pub(crate) fn readiness(&self) -> u16 {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nHost: magpied\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        status.parse().unwrap_or_else(|_| panic!("{answer:?}"))
    }

    /// Waits until `/readyz` is answered so.
    pub(crate) fn until_readiness(&self, status: u16) {
        let what = format!("/readyz says {status}");
        until(&what, || self.readiness() == status);
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.as_ref().unwrap().signal(name);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}

/// A device's directory.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    /// Tells devices apart in stories.
    pub(crate) device: String,
    pub(crate) dir: PathBuf,
    ca: PathBuf,
    server: SocketAddr,
}

impl Home {
    /// `magpie` in this home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(magpie());
        command
            .arg("--server")
            .arg(self.server.to_string())
            .arg("--ca")
            .arg(&self.ca)
            .arg("--home")
            .arg(&self.dir)
            .arg("--json")
            .args(args)
            .env("MAGPIE_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stderr(log(&self.dir));
        command
    }

    /// Remembers all of it. Nobody may use it meanwhile.
    pub(crate) fn save(&self) {
        copy(&self.dir, &self.dir.with_extension("saved"));
    }

    /// It is again as it was when it was saved; as it is, if it never was.
    pub(crate) fn roll_back(&self) {
        let saved = self.dir.with_extension("saved");
        if saved.is_dir() {
            std::fs::remove_dir_all(&self.dir).unwrap();
            copy(&saved, &self.dir);
        }
    }

    /// Runs a command to its end, which must be a good one.
    pub(crate) fn done(&self, args: &[&str]) -> Vec<Value> {
        let (code, lines) = self.ended(args);
        let Self { device, .. } = self;
        let last = lines.last();
        assert_eq!(code, Some(0), "{device}: magpie {args:?}: {last:#?}");
        lines
    }

    /// Runs a command to its end. Returns its exit code and its lines.
    pub(crate) fn ended(&self, args: &[&str]) -> (Option<i32>, Vec<Value>) {
        let what = format!("{}: magpie {}", self.device, args.join(" "));
        let (status, lines) = Process::start(&mut self.command(args)).wait(&what);
        (status.code(), lines)
    }
}
