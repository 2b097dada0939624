//! The program itself: its settings, its signals, and what a service manager and it
//! tell each other.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use magpie_protocol::{
    limits::ALPN,
    text::UserName,
    wire::v1::{self, Action, ErrorCode, client_frame, server_frame},
};
use magpie_server::{
    clock::Blocking,
    store::{Account, CreateUser, NewDevice, SharedStore, Standing, User, embedded},
    tls::{self, Source},
};
use rustix::process::{Pid, Signal, kill_process};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

use crate::{
    peer::{Device, PATIENCE, Peer, all_events, fresh_id, hello, register, text_to, texts},
    trust::connector,
};

/// As many connections as a reload must leave alone.
const MANY: usize = 1_000;

/// The program, without the settings of whoever runs the tests.
pub(crate) fn magpied(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magpied"));
    for (name, _) in std::env::vars_os() {
        let is_a_setting = |it: &str| it.starts_with("MAGPIE_") || it.starts_with("AWS_");
        if name.to_str().is_some_and(is_a_setting) {
            command.env_remove(name);
        }
    }
    command
        .env("MAGPIE_ADMIN_LISTEN", "off")
        .env("MAGPIE_LISTEN", "127.0.0.1:0")
        .env("MAGPIE_DATA_DIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where operators look.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) ca: PathBuf,
    /// What it logs, unless somebody reads it already.
    pub(crate) log: Option<ChildStderr>,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Server {
    async fn start(dir: &Path) -> Self {
        Self::spawn(magpied(dir).arg("--json")).await
    }

    pub(crate) async fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await.unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        let text = |key: &str| ready.get(key).and_then(|it| it.as_str()).unwrap();
        Self {
            address: text("listen").parse().unwrap(),
            admin: text("admin").parse().ok(),
            log: child.stderr.take(),
            child,
            ca: text("ca").into(),
            _stdout: stdout,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap()
    }

    /// A connection that trusts this authority.
    pub(crate) async fn peer(&self, ca: &Path) -> std::io::Result<Peer> {
        let stream = TcpStream::connect(self.address).await?;
        let connector = connector(ca, &[ALPN], &[&rustls::version::TLS13]);
        let name = ServerName::try_from("localhost").unwrap();
        Ok(Peer::on(connector.connect(name, stream).await?))
    }

    pub(crate) async fn register(&self, name: &str) -> Device {
        let mut peer = self.peer(&self.ca).await.unwrap();
        peer.control(register(name, "")).await;
        peer.signed_in().await
    }

    pub(crate) async fn connect(&self, device: &Device) -> (Peer, Vec<v1::Page>) {
        let mut peer = self.peer(&self.ca).await.unwrap();
        peer.control(hello(device, Bytes::new())).await;
        let pages = peer.caught_up().await;
        (peer, pages)
    }
}

/// Its output, once it ended.
pub(crate) async fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn wrong_settings_are_told_all_at_once_and_nothing_starts() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let mut command = magpied(&data);
    command
        .env("MAGPIE_LISTEN", "nowhere")
        .args(["--reads-max", "0"]);
    let (code, out, error) = run(&mut command).await;
    assert_eq!((code, out.as_str()), (Some(64), ""));
    assert!(error.contains("MAGPIE_LISTEN is \"nowhere\""), "{error}");
    assert!(error.contains("--reads-max is \"0\""), "{error}");
    assert!(!data.exists());
}

#[tokio::test]
async fn the_settings_in_force_are_printed_with_secrets_masked() {
    let dir = TempDir::new().unwrap();
    let mut command = magpied(dir.path());
    command
        .env("MAGPIE_DATABASE_URL", "postgres://magpie:hush@db/magpie")
        .arg("config");
    let (code, out, error) = run(&mut command).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(out.contains("listen = \"127.0.0.1:0\" # MAGPIE_LISTEN"));
    assert!(out.contains("database_url = \"***\" # MAGPIE_DATABASE_URL"));
    assert!(!out.contains("hush"), "{out}");
}

#[tokio::test]
async fn more_connections_than_files_are_a_wrong_setting() {
    let dir = TempDir::new().unwrap();
    let mut command = magpied(dir.path());
    command.args(["--connections-max", "10000000"]);
    let (code, _, error) = run(&mut command).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("connections_max is 10000000"), "{error}");
}

/// D1, D12: whatever was accepted is there after the restart; everybody is told to
/// come back, also who never answers; and it is over soon, with success.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_commits_says_goodbye_and_ends_in_time() {
    const COUNT: usize = 200;
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path()).await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let (mut a, _) = server.connect(&alice).await;
    // Stays open and says nothing any more.
    let (_b, _) = server.connect(&bob).await;
    let _no_hello = server.peer(&server.ca).await.unwrap();
    let _no_handshake = TcpStream::connect(server.address).await.unwrap();
    for index in 0..COUNT {
        let message = text_to("alice", &index.to_string());
        a.request(client_frame::Body::SendMessage(message)).await;
    }
    let began = Instant::now();
    server.signal(Signal::TERM);
    let mut accepted = 0;
    let goodbye = loop {
        match a.body().await {
            server_frame::Body::Accepted(_) => accepted += 1,
            server_frame::Body::Goodbye(goodbye) => break goodbye,
            _ => {}
        }
    };
    let said = (goodbye.code(), goodbye.action());
    assert_eq!(said, (ErrorCode::Draining, Action::Reconnect));
    assert!(goodbye.after_ms <= 5_000);
    assert!(server.ended().await.success());
    assert!(began.elapsed() < Duration::from_secs(10));

    let server = Server::start(dir.path()).await;
    let (_, pages) = server.connect(&alice).await;
    let events = all_events(&pages);
    let newest: usize = texts(&events).last().map_or(0, |it| it.parse().unwrap());
    // What was committed and not told comes by the outbox; nothing told is missing.
    assert!(newest + 1 >= accepted, "{accepted} accepted, {newest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_accepts_nobody_and_a_second_signal_ends_it_at_once() {
    let dir = TempDir::new().unwrap();
    let mut server = Server::start(dir.path()).await;
    let alice = server.register("alice").await;
    let (mut a, _) = server.connect(&alice).await;
    server.signal(Signal::TERM);
    // A client that does not close holds the drain up for a while.
    loop {
        if matches!(a.body().await, server_frame::Body::Goodbye(_)) {
            break;
        }
    }
    assert!(TcpStream::connect(server.address).await.is_err());
    let began = Instant::now();
    server.signal(Signal::INT);
    let status = server.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(began.elapsed() < Duration::from_millis(1_500));
    drop(a);
}

/// A certificate made by an authority of its own.
struct Certificate(TempDir);

impl Certificate {
    fn make() -> Self {
        let dir = TempDir::new().unwrap();
        let listen = "127.0.0.1:1".parse().unwrap();
        let source = Source::Development {
            dir: dir.path().into(),
            listen,
        };
        tls::load(&source).unwrap();
        Self(dir)
    }

    fn ca(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// Copies certificate and key to where a server reads them.
    fn install(&self, dir: &Path) {
        for (from, to) in [("cert", "chain.pem"), ("key", "key.pem")] {
            let from = self.0.path().join(format!("development-{from}.pem"));
            fs::copy(from, dir.join(to)).unwrap();
        }
    }
}

/// Devices, made in the store itself: no password is hashed for them.
async fn make_devices(dir: &Path, count: usize) -> Vec<Device> {
    let store: SharedStore = embedded::open(dir, Blocking::Pool, [7; 32]).unwrap();
    let mut devices = Vec::new();
    for index in 0..count {
        let (id, token) = (fresh_id(), [u8::try_from(index % 256).unwrap(); 32]);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &token);
        let user = User {
            id: fresh_id().as_ref().try_into().unwrap(),
            name: UserName::parse(&format!("user{index}")).unwrap(),
        };
        let account = Account {
            user: user.clone(),
            password_hash: String::new(),
            standing: Standing::Active,
        };
        let device = NewDevice {
            id: id.as_ref().try_into().unwrap(),
            name: String::new().try_into().unwrap(),
            token_hash: digest.as_ref().try_into().unwrap(),
        };
        let made = store.create_user(&account, Some(&device), 0).await.unwrap();
        assert_eq!(made, CreateUser::Done);
        devices.push(Device {
            id,
            token: token.to_vec().into(),
            user_id: user.id.to_wire(),
        });
    }
    devices
}

async fn is_alive(peer: &mut Peer) {
    let ping = v1::Ping {
        id: 42,
        ..Default::default()
    };
    peer.control(client_frame::Body::Ping(ping)).await;
    loop {
        if let server_frame::Body::Pong(pong) = peer.body().await {
            assert_eq!(pong.id, 42);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_replaces_the_certificate_and_leaves_a_thousand_connections_alone() {
    magpie_server::limits::raise();
    let dir = TempDir::new().unwrap();
    let (old, new) = (Certificate::make(), Certificate::make());
    old.install(dir.path());
    let data = dir.path().join("data");
    let devices = make_devices(&data, MANY).await;
    let file = |name: &str| dir.path().join(name);
    let mut command = magpied(&data);
    command
        .args(["--json", "--hello-timeout", "1min", "--tls-cert"])
        .arg(file("chain.pem"))
        .arg("--tls-key")
        .arg(file("key.pem"));
    let mut server = Server::spawn(&mut command).await;
    let mut log = BufReader::new(server.log.take().unwrap()).lines();

    server.ca = old.ca();
    let mut peers = Vec::new();
    for device in &devices {
        peers.push(server.connect(device).await.0);
    }
    new.install(dir.path());
    server.signal(Signal::HUP);
    log_line(&mut log, "the certificate as it is now").await;
    server.peer(&new.ca()).await.unwrap();
    assert!(server.peer(&old.ca()).await.is_err());
    // One that is of no use changes nothing.
    fs::write(file("key.pem"), "no key").unwrap();
    server.signal(Signal::HUP);
    log_line(&mut log, "the certificate was not replaced").await;
    server.peer(&new.ca()).await.unwrap();

    for peer in &mut peers {
        is_alive(peer).await;
    }
}

async fn log_line<R: tokio::io::AsyncBufRead + Unpin>(log: &mut Lines<R>, part: &str) {
    loop {
        let line = timeout(PATIENCE, log.next_line()).await.unwrap();
        if line.unwrap().expect("the log ended").contains(part) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_of_readiness_and_of_the_end() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 1_000];
        let size = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..size].to_vec()).unwrap()
    };
    let mut command = magpied(dir.path());
    command.arg("--json").env("NOTIFY_SOCKET", &path);
    let mut server = Server::spawn(&mut command).await;
    assert!(told().starts_with("READY=1\n"));
    server.signal(Signal::TERM);
    assert!(told().starts_with("STOPPING=1\n"));
    assert!(server.ended().await.success());
}

/// The sockets are open before the server is: whoever connects meanwhile waits.
#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_the_service_manager_opened_are_served() {
    let dir = TempDir::new().unwrap();
    let passed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = passed.local_addr().unwrap();
    let mut early = TcpStream::connect(address).await.unwrap();
    // A shell puts the socket where systemd would, and becomes the server.
    let own = magpied(dir.path());
    let mut command = Command::new("sh");
    for (name, value) in own.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .arg("-c")
        .arg("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" --json")
        .arg(env!("CARGO_BIN_EXE_magpied"))
        .stdin(Stdio::from(OwnedFd::from(passed)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut server = Server::spawn(&mut command).await;
    assert_eq!(server.address, address);
    server.register("alice").await;
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    let mut byte = [0];
    assert!(matches!(early.read(&mut byte).await, Ok(0) | Err(_)));
}
