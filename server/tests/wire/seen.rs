//! What an operator sees: metrics, readiness, the status, the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    process::Stdio,
};

use bytes::Bytes;
use magpie_protocol::wire::v1::client_frame;
use magpie_server::metrics;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::{sleep, timeout},
};

use crate::{
    peer::{PATIENCE, Peer, hello, sign_in, text_to},
    process::{Server, magpied, run},
};

/// Names that the process itself is measured by.
const PROCESS: &str = "process_";

fn watched(dir: &Path) -> Command {
    let mut command = magpied(dir);
    command
        .env("MAGPIE_ADMIN_LISTEN", "127.0.0.1:0")
        .env("MAGPIE_LOG", "magpie_server=debug")
        .arg("--json");
    command
}

/// Status and body of an answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// A server that has seen a bit of everything, and two devices that stay.
async fn busy(dir: &Path) -> (Server, [Peer; 2]) {
    let server = Server::spawn(&mut watched(dir)).await;
    let alice = server.register("alice").await;
    let bob = server.register("bob").await;
    let (mut sender, _) = server.connect(&alice).await;
    let (mut receiver, _) = server.connect(&bob).await;
    sender.send(text_to("bob", "hello")).await;
    receiver.page_with_events().await;
    let mut stranger = server.peer(&server.ca).await.unwrap();
    let wrong = client_frame::Body::SignIn(sign_in("alice", "not her password"));
    stranger.control(wrong).await;
    stranger.body().await;
    let mut broken = server.peer(&server.ca).await.unwrap();
    broken.write(&[0xff; 16]).await;
    broken.goodbye().await;
    let list = client_frame::Body::FetchDevices(Default::default());
    let number = sender.request(list).await;
    sender.answer(number).await;
    (server, [sender, receiver])
}

/// The documentation has every metric, and every metric is as it is documented.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_exports_is_what_the_table_says() {
    let dir = TempDir::new().unwrap();
    let (server, _peers) = busy(dir.path()).await;
    let (status, text) = get(server.admin.unwrap(), "/metrics").await;
    assert_eq!(status, 200);
    let (mut kinds, mut helped) = (BTreeMap::new(), BTreeSet::new());
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap();
            kinds.insert(name, kind);
        } else if let Some(line) = line.strip_prefix("# HELP ") {
            helped.insert(line.split_once(' ').unwrap().0);
        } else if let Some((name, rest)) = line.split_once('{') {
            let of_name = labels.entry(name).or_default();
            let (pairs, _) = rest.rsplit_once('}').unwrap();
            of_name.extend(
                pairs
                    .split(',')
                    .filter_map(|it| Some(it.split_once('=')?.0)),
            );
        }
    }
    let ours = kinds.iter().filter(|(name, _)| !name.starts_with(PROCESS));
    for (name, kind) in ours {
        let metric = metrics::ALL.iter().find(|it| it.name == *name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is in no table"));
        assert_eq!(metric.kind.name(), *kind, "{name}");
        assert!(helped.contains(name), "{name} has no help");
        let known = metric.labels.iter().copied().collect();
        assert_eq!(labels.remove(name).unwrap_or_default(), known, "{name}");
    }
    for metric in metrics::ALL.iter().filter(|it| it.labels.is_empty()) {
        let is_there = kinds.contains_key(metric.name);
        // A histogram begins with what it sees first.
        let may_lack = metric.name == metrics::PUSH_ANSWER_SECONDS;
        assert!(is_there || may_lack, "{} is not exported", metric.name);
    }
    for seen in [
        metrics::VIOLATIONS,
        metrics::SIGN_INS,
        metrics::HELLOS,
        metrics::REQUESTS,
        metrics::PAGES_SENT,
        "process_resident_memory_bytes",
    ] {
        assert!(kinds.contains_key(seen), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_server_is_told_and_its_absence_too() {
    let dir = TempDir::new().unwrap();
    let (mut server, _peers) = busy(dir.path()).await;
    let admin = server.admin.unwrap();
    assert_eq!(get(admin, "/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(get(admin, "/readyz").await, (200, "ready\n".to_owned()));
    let address = admin.to_string();
    let ask = |json: bool| {
        let mut command = magpied(dir.path());
        command.args(["status", "--admin-listen", &address]);
        command.args(json.then_some("--json"));
        command
    };
    let (code, out, error) = run(&mut ask(true)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(status["ready"], true);
    assert_eq!(status["devices"], 2);
    assert_eq!(status["events_committed"], 1, "{out}");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["resident_bytes"].as_u64() > Some(1_000_000), "{out}");
    let (code, out, _) = run(&mut ask(false)).await;
    assert_eq!(code, Some(0));
    assert!(out.starts_with("state        ready\n"), "{out}");
    assert!(out.contains("2 devices signed in"), "{out}");

    server.signal(Signal::TERM);
    server.ended().await;
    let (code, out, error) = run(&mut ask(true)).await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        error.contains("no server answers on the admin address"),
        "{error}"
    );
}

/// One event is one line that a program can read, with the connection and the
/// request that it is about, whatever a client calls itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_the_log_names_connection_and_request() {
    let dir = TempDir::new().unwrap();
    let (mut server, _peers) = busy(dir.path()).await;
    let eve = server.register("eve").await;
    let mut peer = server.peer(&server.ca).await.unwrap();
    let client_frame::Body::Hello(mut greeting) = hello(&eve, Bytes::new()) else {
        unreachable!()
    };
    greeting.client_name = "eve\n{\"level\":\"ERROR\"}\u{1b}[2J".to_owned();
    peer.control(client_frame::Body::Hello(greeting)).await;
    peer.caught_up().await;
    server.signal(Signal::TERM);
    server.ended().await;
    let mut text = String::new();
    let log = server.log.as_mut().unwrap();
    log.read_to_string(&mut text).await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let request = lines
        .iter()
        .find(|it| it["fields"]["kind"] == "send_message")
        .unwrap();
    assert_eq!(request["span"]["name"], "connection");
    assert!(request["span"]["id"].is_u64(), "{request}");
    assert!(request["span"]["device"].is_string(), "{request}");
    assert!(request["fields"]["request"].is_u64(), "{request}");
    assert!(text.contains("eve") && !text.contains('\u{1b}'), "{text}");
    assert!(lines.iter().all(|it| it["timestamp"].is_string()), "{text}");
}

/// Prometheus itself understands what a server exports.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_a_server() {
    let Some(program) = std::env::var_os("MAGPIE_TEST_PROMETHEUS") else {
        eprintln!("!!! SKIPPED: MAGPIE_TEST_PROMETHEUS names no Prometheus");
        return;
    };
    let dir = TempDir::new().unwrap();
    let (server, _peers) = busy(dir.path()).await;
    let admin = server.admin.unwrap();
    let file = dir.path().join("prometheus.yml");
    let settings = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs: [{{job_name: magpie, static_configs: [{{targets: ['{admin}']}}]}}]\n"
    );
    std::fs::write(&file, settings).unwrap();
    // Free a moment ago. Another may take it first: then Prometheus ends, and the
    // test fails rather than asks somebody else.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let mut prometheus = Command::new(program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.path().join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let asked = timeout(PATIENCE * 3, async {
        loop {
            assert_eq!(prometheus.try_wait().unwrap(), None, "Prometheus ended");
            if let Some(found) = query(address, metrics::EVENTS_COMMITTED).await {
                break found;
            }
            sleep(std::time::Duration::from_millis(200)).await;
        }
    });
    assert_eq!(asked.await.unwrap(), "1");
    assert_eq!(query(address, "up").await.as_deref(), Some("1"));
    let commits = format!("{}_bucket{{le=\"%2BInf\"}}", metrics::COMMIT_SECONDS);
    assert!(query(address, &commits).await.is_some());
    prometheus.kill().await.unwrap();
}

/// The first value that Prometheus has for a query.
async fn query(address: SocketAddr, query: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).ok()?;
    let value = body.pointer("/data/result/0/value/1")?;
    Some(value.as_str()?.to_owned())
}
