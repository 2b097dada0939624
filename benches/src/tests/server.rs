//! A real server in this process, for what the model of one cannot show: deadlines,
//! and an end that is announced.

use std::{net::SocketAddr, time::Duration};

use magpie_server::{
    clock::{Blocking, Clock},
    config::{Limits, MediaPlace},
    node::{Ground, Node, bind},
    random::Random,
    store::embedded,
    tls::{self, Source},
};
use tempfile::TempDir;

use crate::args;

/// A running server and its directory.
pub(super) struct Server {
    pub(super) args: args::Server,
    pub(super) dir: TempDir,
    node: Node,
}

impl Server {
    pub(super) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let node = node(&dir, "127.0.0.1:0".parse().unwrap()).await;
        let args = args::Server {
            server: node.listen.to_string(),
            ca: dir.path().join("ca.pem"),
            pid: Some(std::process::id()),
            database_pid: None,
            credentials: Some(dir.path().join("credentials.json")),
        };
        Self { args, dir, node }
    }

    /// Ends the server as a signal does, and starts another at the same address.
    pub(super) async fn restart(self) -> Self {
        let Self { args, dir, node } = self;
        let address = node.listen;
        node.drain().await;
        let node = self::node(&dir, address).await;
        Self { args, dir, node }
    }
}

/// A server that is impatient with those who say nothing.
async fn node(dir: &TempDir, address: SocketAddr) -> Node {
    let listener = bind(address).unwrap();
    let source = Source::Development {
        dir: dir.path().into(),
        listen: listener.local_addr().unwrap(),
    };
    let random = Random::system();
    let key = random.bytes().unwrap();
    let ground = Ground {
        store: embedded::open(dir.path(), Blocking::Pool, key).unwrap(),
        tls: tls::load(&source).unwrap(),
        clock: Clock::start(),
        random,
        blocking: Blocking::Pool,
        data_dir: Some(dir.path().to_owned()),
        push: None,
        media: Some((MediaPlace::Directory(dir.path().join("media")), None)),
        limits: Limits {
            handshake_timeout: Duration::from_secs(3),
            hello_timeout: Duration::from_secs(4),
            drain_slots: Duration::from_millis(500),
            ..Limits::default()
        },
    };
    Node::start(ground, listener, None).await.unwrap()
}
