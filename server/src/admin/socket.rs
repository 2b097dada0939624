//! The socket of operators: a Unix socket in the data directory, which only the
//! server's own user may open, and whose kernel tells who did.

use std::{
    fs::Permissions, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, connect_info::Connected},
    routing::post,
    serve::{IncomingStream, Listener},
};
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::Errands;
use crate::operate::{Errand, PATH, SOCKET};

/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_secs(1);

/// A user of the operating system.
#[derive(Clone, Copy, Debug)]
struct Uid(u32);

/// Lets in the server's own user, and root.
struct Guarded(UnixListener);

impl Listener for Guarded {
    type Io = UnixStream;
    type Addr = Uid;

    async fn accept(&mut self) -> (UnixStream, Uid) {
        loop {
            let stream = match self.0.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an operator could not be let in");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) if may_operate(peer.uid()) => return (stream, Uid(peer.uid())),
                Ok(peer) => tracing::warn!(uid = peer.uid(), "this user is no operator"),
                Err(error) => tracing::warn!(%error, "an operator is nobody"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<Uid> {
        Ok(Uid(geteuid().as_raw()))
    }
}

/// Root, or who the server runs as: who could read its database anyway.
fn may_operate(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

impl Connected<IncomingStream<'_, Guarded>> for Uid {
    fn connect_info(stream: IncomingStream<'_, Guarded>) -> Self {
        *stream.remote_addr()
    }
}

/// Serves until `stop`. A server that cannot is still a server.
pub async fn serve(data_dir: &Path, errands: Errands, stop: CancellationToken) {
    let listener = match bind(data_dir) {
        Ok(listener) => Guarded(listener),
        Err(error) => {
            let directory = data_dir.display();
            tracing::warn!(%error, %directory, "there is no socket for operators");
            return;
        }
    };
    let errands = Arc::new(errands);
    let take = async move |ConnectInfo(Uid(uid)): ConnectInfo<Uid>, Json(errand): Json<Errand>| {
        Json(errands.run(uid, errand).await)
    };
    let router = Router::new().route(PATH, post(take));
    let service = router.into_make_service_with_connect_info::<Uid>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the socket of operators ended");
    }
}

/// Takes the place of a socket that an earlier server left, or still has: nobody ever
/// finds one there that others may open.
fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    let fresh = data_dir.join(format!("{SOCKET}.{}", std::process::id()));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, &path)?;
    Ok(listener)
}
