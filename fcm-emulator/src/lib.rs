//! Firebase Cloud Messaging, for tests: what its documentation says it does, and
//! nothing that it does not say.
//!
//! It takes the token request and `messages:send` of the HTTP v1 interface, over
//! HTTP/2 on a loopback address, with TLS or without, and has control endpoints
//! under `/control` by which a test says what its devices are doing and what is to
//! fail, and waits for what a device is sent.
//!
//! Each rule names the page that states it.

mod access;
mod client;
mod control;
mod device;
mod fault;
mod message;
mod refusal;
mod send;
mod tls;
mod world;

use std::{
    fs, io, io::Write as _, net::SocketAddr, os::unix::fs::OpenOptionsExt as _, path::Path,
    sync::Arc,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, header::DATE},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use tokio::{net::TcpListener, task::JoinHandle};

pub use self::{
    client::{Control, ControlError},
    device::{Delivered, Reach, Standing},
    fault::{Fault, FaultKind, Target},
    world::{Counts, World},
};

/// A running emulator.
pub struct Emulator {
    /// Where it listens.
    pub address: SocketAddr,
    world: Arc<World>,
    /// In PEM, if it speaks TLS.
    ca: Option<String>,
    task: JoinHandle<()>,
}

impl Emulator {
    /// Starts one on a loopback address, without TLS.
    ///
    /// # Errors
    ///
    /// If the address is taken, or there is no randomness for a key.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = bind(address).await?;
        let address = listener.local_addr()?;
        let world = Arc::new(world(&format!("http://{address}"))?);
        let app = router(Arc::clone(&world));
        let task = tokio::spawn(async move {
            // Ends with the process or with the emulator.
            drop(axum::serve(listener, app).await);
        });
        Ok(Self {
            address,
            world,
            ca: None,
            task,
        })
    }

    /// Starts one that speaks TLS, with a certificate that is made now.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub async fn start_with_tls(address: SocketAddr) -> io::Result<Self> {
        let listener = bind(address).await?;
        let address = listener.local_addr()?;
        let world = Arc::new(world(&format!("https://{address}"))?);
        let app = router(Arc::clone(&world));
        let made = tls::make()?;
        let ca = Some(made.ca.clone());
        let listener = tls::TlsListener::new(listener, made)?;
        let task = tokio::spawn(async move {
            drop(axum::serve(listener, app).await);
        });
        Ok(Self {
            address,
            world,
            ca,
            task,
        })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate authority to trust, in PEM, if it speaks TLS.
    #[must_use]
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// What it knows: to be looked at and changed by a test in this process.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Writes the service-account file of its project, for its owner alone.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write_account(&self, path: &Path) -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options
            .open(path)?
            .write_all(self.world.account_file().as_bytes())
    }

    /// Serves until the process ends.
    pub async fn wait(mut self) {
        drop((&mut self.task).await);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        let reason = "the emulator listens on loopback addresses only";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    TcpListener::bind(address).await
}

fn world(url: &str) -> io::Result<World> {
    World::new(format!("{url}/token")).map_err(io::Error::other)
}

fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/token", post(access::grant))
        // The last part is `{project}/messages:send`: a colon is no separator.
        .route("/v1/projects/{project}/{method}", post(send::send))
        .route("/control/device", post(control::set_device))
        .route("/control/pushes", get(control::pushes))
        .route(
            "/control/fault",
            post(control::set_fault).delete(control::clear_faults),
        )
        .route("/control/counts", get(control::counts))
        .layer(from_fn_with_state(Arc::clone(&world), with_date))
        .with_state(world)
}

/// Says what time it is here: senders compare it with theirs.
async fn with_date(
    State(world): State<Arc<World>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let date = httpdate::fmt_http_date(world.time_of_day());
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
    response
}
