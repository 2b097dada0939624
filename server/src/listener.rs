//! Accepts connections, finishes TLS before a deadline, and gives each its task.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use magpie_protocol::limits::ALPN;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::within,
    connection::{Parts, serve},
};

/// How long a TLS handshake may take, in all.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting rests when the process is out of files: whoever is
/// connected may leave meanwhile.
const EXHAUSTED_DELAY: Duration = Duration::from_millis(100);

/// After this much silence the kernel asks whether the peer's host is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// How long written bytes may stay unacknowledged by the peer's host (RFC 5482).
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Accepts until `drain`; the connections' tasks go on in `tasks`.
pub async fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    parts: Arc<Parts>,
    tasks: TaskTracker,
    drain: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                metrics::counter!(crate::metrics::CONNECTIONS_ACCEPTED).increment(1);
                let (acceptor, parts) = (acceptor.clone(), Arc::clone(&parts));
                let connections = tasks.clone();
                let drain = drain.clone();
                tasks.spawn(async move {
                    let handshake = handshake(stream, peer, acceptor);
                    if let Some(Some(stream)) = drain.run_until_cancelled(handshake).await {
                        // Anew, so that what the handshake needed is freed.
                        connections.spawn(count(stream, parts, drain));
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(EXHAUSTED_DELAY).await;
            }
        }
    }
}

async fn count(stream: TlsStream<TcpStream>, parts: Arc<Parts>, drain: CancellationToken) {
    metrics::gauge!(crate::metrics::CONNECTIONS_OPEN).increment(1);
    serve(stream, parts, drain).await;
    metrics::gauge!(crate::metrics::CONNECTIONS_OPEN).decrement(1);
}

async fn handshake(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
) -> Option<TlsStream<TcpStream>> {
    let refused = |reason: &'static str| {
        metrics::counter!(crate::metrics::HANDSHAKES_FAILED, "reason" => reason).increment(1);
        tracing::debug!(%peer, reason, "no TLS session");
        None
    };
    if let Err(error) = tune(&stream) {
        tracing::debug!(%peer, %error, "socket options were not set");
    }
    let stream = match within(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        None => return refused("timeout"),
        Some(Err(_)) => return refused("tls"),
        Some(Ok(stream)) => stream,
    };
    let (_, session) = stream.get_ref();
    // A client without ALPN does not know which protocol this is.
    if session.alpn_protocol() != Some(ALPN) {
        return refused("alpn");
    }
    Some(stream)
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}
