//! A server of its own for each test, in this process.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use magpie_protocol::{
    limits::ALPN,
    wire::v1::{self, client_frame},
};
use magpie_server::{
    clock::{Blocking, Clock},
    config::{AdminTask, Limits, MediaPlace},
    node::{Ground, Node, StartError, bind},
    operate,
    random::Random,
    store::{SharedStore, embedded},
    tls::{self, Source},
};
use rustls::SupportedProtocolVersion;
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Device, PASSWORD, Peer, hello, register, sign_in};
use crate::trust::connector;

/// A server and its directory.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    pub(crate) store: SharedStore,
    limits: Limits,
    clock: Clock,
    media: Option<MediaPlace>,
    dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    /// A server with these limits.
    pub(crate) async fn with(limits: Limits) -> Self {
        Self::start_in(TempDir::new().unwrap(), limits, Clock::start(), None).await
    }

    async fn start_in(
        dir: TempDir,
        limits: Limits,
        clock: Clock,
        media: Option<MediaPlace>,
    ) -> Self {
        let key = Random::system().bytes().unwrap();
        let store = embedded::open(dir.path(), Blocking::Pool, key).unwrap();
        let started = Self::start_there(dir, store, limits, clock, media).await;
        started.unwrap()
    }

    /// A server that keeps photos and files there.
    pub(crate) async fn keeping(media: MediaPlace, clock: Clock) -> Self {
        let dir = TempDir::new().unwrap();
        Self::start_in(dir, Limits::default(), clock, Some(media)).await
    }

    /// A server on this store; its other files are in `dir`.
    pub(crate) async fn start_on(dir: TempDir, store: SharedStore) -> Result<Self, StartError> {
        Self::start_with(dir, store, Limits::default()).await
    }

    /// The same with other limits.
    pub(crate) async fn start_with(
        dir: TempDir,
        store: SharedStore,
        limits: Limits,
    ) -> Result<Self, StartError> {
        Self::start_at(dir, store, limits, Clock::start()).await
    }

    /// A server whose time is this.
    pub(crate) async fn at(clock: Clock) -> Self {
        Self::start_in(TempDir::new().unwrap(), Limits::default(), clock, None).await
    }

    pub(crate) async fn start_at(
        dir: TempDir,
        store: SharedStore,
        limits: Limits,
        clock: Clock,
    ) -> Result<Self, StartError> {
        Self::start_there(dir, store, limits, clock, None).await
    }

    async fn start_there(
        dir: TempDir,
        store: SharedStore,
        limits: Limits,
        clock: Clock,
        media: Option<MediaPlace>,
    ) -> Result<Self, StartError> {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let source = Source::Development {
            dir: dir.path().into(),
            listen: address,
        };
        let own = MediaPlace::Directory(dir.path().join("media"));
        let ground = Ground {
            store: Arc::clone(&store),
            tls: tls::load(&source).unwrap(),
            clock,
            random: Random::system(),
            blocking: Blocking::Pool,
            data_dir: Some(dir.path().to_owned()),
            push: None,
            media: Some((media.clone().unwrap_or(own), None)),
            limits: limits.clone(),
        };
        let node = Node::start(ground, listener, None).await?;
        Ok(Self {
            node,
            address,
            store,
            limits,
            clock,
            media,
            dir,
        })
    }

    /// The authority to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.dir.path().join(operate::SOCKET)
    }

    /// What an operator is told.
    pub(crate) async fn operate(&self, task: AdminTask) -> Result<String, String> {
        let told = operate::run(self.dir.path(), &task, true).await;
        told.map_err(|error| error.to_string())
    }

    /// Drains the server. What is left of it.
    pub(crate) async fn stop(self) -> TempDir {
        self.node.drain().await;
        self.dir
    }

    /// Drains the server and starts another on the same store.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            node,
            store,
            limits,
            clock,
            media,
            dir,
            ..
        } = self;
        node.drain().await;
        drop(store);
        Self::start_in(dir, limits, clock, media).await
    }

    pub(crate) async fn tls(
        &self,
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        connector(&self.ca(), alpn, versions)
            .connect(ServerName::try_from("localhost").unwrap(), tcp)
            .await
    }

    /// A TLS connection on which nothing was said yet.
    pub(crate) async fn peer(&self) -> Peer {
        let stream = self.tls(&[ALPN], &[&rustls::version::TLS13]).await.unwrap();
        Peer::on(stream)
    }

    pub(crate) async fn register(&self, name: &str) -> Device {
        let mut peer = self.peer().await;
        peer.control(register(name, "")).await;
        peer.signed_in().await
    }

    pub(crate) async fn sign_in(&self, name: &str) -> Device {
        let mut peer = self.peer().await;
        peer.control(client_frame::Body::SignIn(sign_in(name, PASSWORD)))
            .await;
        peer.signed_in().await
    }

    /// A connection that is welcome and caught up.
    pub(crate) async fn connect(&self, device: &Device, cursor: Bytes) -> (Peer, Vec<v1::Page>) {
        let mut peer = self.peer().await;
        peer.control(hello(device, cursor)).await;
        let pages = peer.caught_up().await;
        (peer, pages)
    }
}
