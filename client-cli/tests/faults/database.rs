//! A private `PostgreSQL` behind the server, and what can be done to it.

use std::{future::Future, net::SocketAddr, process::Command, sync::OnceLock};

use magpie_sim::{
    postgres::{self, Client, Cluster},
    proxy::{CommitProxy, Proxy},
};
use tokio::runtime::Runtime;

use crate::plan::until;

/// Runs proxies and connections to databases.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    })
}

/// Waits for something that a proxy or a database does.
pub(crate) fn wait_for<T>(it: impl Future<Output = T>) -> T {
    runtime().block_on(it)
}

/// One database, and the server that it is in.
pub(crate) struct Database {
    /// None: the one that all tests of this process share.
    own: Option<Cluster>,
    name: String,
}

impl Database {
    /// One in the `PostgreSQL` that the tests share: nothing may be done to the
    /// others.
    pub(crate) fn shared() -> Self {
        Self::of(None)
    }

    /// One in a `PostgreSQL` of its own, with these lines in its configuration.
    pub(crate) fn private(settings: &[&str]) -> Self {
        Self::of(Some(Cluster::start_with(settings).unwrap()))
    }

    /// One in a `PostgreSQL` on a small disk.
    pub(crate) fn on_small_disk(megabytes: u32) -> Self {
        Self::of(Some(Cluster::start_on_small_disk(megabytes, &[]).unwrap()))
    }

    fn of(own: Option<Cluster>) -> Self {
        let mut it = Self {
            own,
            name: String::new(),
        };
        let url = wait_for(it.cluster().create_database()).unwrap();
        url.rsplit('/').next().unwrap().clone_into(&mut it.name);
        it
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        match &self.own {
            Some(own) => own,
            None => postgres::shared().unwrap(),
        }
    }

    /// A copy of it, in a `PostgreSQL` of its own, that follows it.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self {
            own: Some(self.cluster().start_standby().unwrap()),
            name: self.name.clone(),
        };
        self.until(
            "the standby follows",
            "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')",
        );
        standby
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        assert!(is(&self.connect(), "SELECT pg_promote()"), "no promotion");
    }

    /// Where it accepts connections.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.cluster().port()))
    }

    /// How the server calls its place.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.address(), self.name)
    }

    /// For a server that reaches it without a proxy.
    pub(crate) fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// For a server that reaches it through the proxy at this address.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        let name = &self.name;
        format!("postgres://postgres@{address}/{name}?sslmode=disable")
    }

    /// A proxy that breaks connections.
    pub(crate) fn proxy(&self, seed: u64) -> Proxy {
        wait_for(Proxy::start(self.address(), seed)).unwrap()
    }

    /// A proxy that breaks commits.
    pub(crate) fn commit_proxy(&self) -> CommitProxy {
        self.rewriting_proxy(None)
    }

    /// A proxy that puts one text in the place of another.
    pub(crate) fn rewriting_proxy(
        &self,
        rewrite: Option<(&'static str, &'static str)>,
    ) -> CommitProxy {
        wait_for(CommitProxy::rewriting(self.address(), rewrite)).unwrap()
    }

    /// A connection to it, as soon as it accepts one.
    pub(crate) fn connect(&self) -> Client {
        wait_for(self.cluster().connect(&self.name)).unwrap()
    }

    /// Runs statements.
    pub(crate) fn run(&self, sql: &str) {
        run(&self.connect(), sql);
    }

    /// The number that a statement gives.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let client = self.connect();
        let row = wait_for(client.query_one(sql, &[]));
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
    }

    /// Waits until a statement gives true.
    pub(crate) fn until(&self, what: &str, sql: &str) {
        let client = self.connect();
        until(what, || is(&client, sql));
    }

    /// Ends up to so many of the server's backends.
    pub(crate) fn end_backends(&self, count: u64) {
        self.run(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM (
                 SELECT pid FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'magpied'
                  ORDER BY random() LIMIT {count}) victims"
        ))
    }

    /// A copy of it, by name. Nobody may use it.
    pub(crate) fn back_up(&self) -> String {
        let copy = format!("{}_copy", self.name);
        self.copy(&self.name, &copy);
        copy
    }

    /// Puts a copy in its place.
    pub(crate) fn restore(&self, copy: &str) {
        self.copy(copy, &self.name);
    }

    fn copy(&self, from: &str, to: &str) {
        let client = wait_for(self.cluster().connect("postgres")).unwrap();
        for name in [from, to] {
            // A server that was killed may not be missed yet.
            run(
                &client,
                &format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                      WHERE datname = '{name}'"
                ),
            );
        }
        run(&client, &format!("DROP DATABASE IF EXISTS {to}"));
        run(&client, &format!("CREATE DATABASE {to} TEMPLATE {from}"));
    }

    /// `kill -9` of all its processes, and back again.
    pub(crate) fn kill_and_restart(&self) {
        self.cluster().kill().unwrap();
        self.cluster().restart().unwrap();
    }

    /// A restart in order.
    pub(crate) fn restart(&self) {
        self.cluster().stop().unwrap();
        self.cluster().restart().unwrap();
    }

    /// Stops one kind of its processes where it stands, for good.
    pub(crate) fn freeze(&self, kind: &str) {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'");
        let process: i32 = wait_for(self.connect().query_one(&sql, &[]))
            .unwrap()
            .get(0);
        let stopped = Command::new("kill")
            .args(["-STOP", &process.to_string()])
            .status();
        assert!(stopped.unwrap().success());
    }
}

/// Runs statements on a connection.
pub(crate) fn run(client: &Client, sql: &str) {
    wait_for(client.batch_execute(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Whether a statement gives true.
pub(crate) fn is(client: &Client, sql: &str) -> bool {
    let row = wait_for(client.query_one(sql, &[]));
    row.unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
}
