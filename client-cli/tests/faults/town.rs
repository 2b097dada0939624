//! A server, the homes of some devices, and perhaps a proxy between them.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
};

use magpie_sim::proxy::Proxy;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    plan::Plan,
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
    pub(crate) fn start(plan: &Plan) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("magpie-fault-{}-", plan.name()))
            .tempdir()
            .unwrap();
        let mut server = Server {
            data: dir.path().join("server"),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            process: None,
        };
        server.start();
        Self {
            server,
            entrance: Arc::default(),
            dir,
        }
    }

    /// Puts a proxy between the server and all homes made from here on.
    pub(crate) fn proxy(&mut self, seed: u64) -> Proxied {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let starting = Proxy::start(self.server.address, seed);
        let proxy = runtime.block_on(starting).unwrap();
        self.entrance.set(proxy.address()).unwrap();
        Proxied {
            proxy,
            _runtime: runtime,
        }
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
    pub(crate) fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

/// What processes say to people goes here, behind what was said before: it is
/// kept with the other files when a test fails.
fn log(dir: &Path) -> File {
    let path = dir.with_extension("log");
    let log = File::options().append(true).create(true).open(&path);
    log.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A proxy and what runs it.
pub(crate) struct Proxied {
    pub(crate) proxy: Proxy,
    _runtime: Runtime,
}

impl Proxied {
    /// The weather clears up. Half-open connections stay so: their ends must
    /// find out.
    pub(crate) fn clear(&self) {
        self.proxy.cut_none();
        self.proxy.pass();
    }
}

/// A server on one port and one directory, however often it is killed.
pub(crate) struct Server {
    data: PathBuf,
    address: SocketAddr,
    process: Option<Process>,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let mut command = Command::new(magpied());
        command
            .arg("--listen")
            .arg(self.address.to_string())
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--admin-listen", "off", "--json"])
            .stdin(Stdio::null())
            .stderr(log(&self.data));
        let mut process = Process::start(&mut command);
        let ready = process.first_line();
        assert_eq!(ready["type"], "ready", "{ready}");
        self.address = ready["listen"].as_str().unwrap().parse().unwrap();
        self.process = Some(process);
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
    dir: PathBuf,
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

    /// Runs a command to its end, which must be a good one.
    pub(crate) fn done(&self, args: &[&str]) -> Vec<Value> {
        let what = format!("{}: magpie {}", self.device, args.join(" "));
        let (status, lines) = Process::start(&mut self.command(args)).wait(&what);
        assert!(status.success(), "{what} ended with {status}: {lines:#?}");
        lines
    }
}
