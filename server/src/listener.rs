//! Accepts connections, finishes TLS before a deadline, and gives each its task.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use magpie_protocol::limits::ALPN;
use rustls::{ServerConfig, server::Acceptor};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::within,
    config::Limits,
    connection::{Arrival, Parts, serve},
    limits::{Admission, Limited},
    media::{self, Speaks},
};

/// How long accepting rests when the process is out of files: whoever is
/// connected may leave meanwhile.
const EXHAUSTED_DELAY: Duration = Duration::from_millis(100);

/// After this much silence the kernel asks whether the peer's host is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// How long written bytes may stay unacknowledged by the peer's host (RFC 5482).
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// What finishes handshakes.
struct Greeter {
    tls: Arc<ArcSwap<ServerConfig>>,
    timeout: Duration,
    /// Bounds the cores that handshakes take.
    computing: Semaphore,
}

impl Greeter {
    fn new(tls: Arc<ArcSwap<ServerConfig>>, limits: &Limits) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let handshakes_max = limits.handshakes_max.0.map_or(cores / 2, |it| it as usize);
        Self {
            tls,
            timeout: limits.handshake_timeout,
            computing: Semaphore::new(handshakes_max.max(1)),
        }
    }
}

/// Accepts until `drain`; the connections' tasks go on in `tasks`.
pub async fn accept(
    listener: TcpListener,
    tls: Arc<ArcSwap<ServerConfig>>,
    parts: Arc<Parts>,
    tasks: TaskTracker,
    drain: CancellationToken,
) {
    let limiter = Arc::clone(&parts.dispatch.limiter);
    let greeter = Arc::new(Greeter::new(tls, &limiter.limits));
    let mut ids = 1_u64..;
    while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let id = ids.next().unwrap_or_default();
                metrics::counter!(crate::metrics::CONNECTIONS_ACCEPTED).increment(1);
                let accepted_at = parts.clock.now();
                let admission = match limiter.door.admit(peer.ip(), accepted_at) {
                    Admission::Admitted(pass) => Ok(pass),
                    Admission::Refused(limited, turn) => Err((limited, turn)),
                    Admission::Closed => continue,
                };
                let arrival = Arrival {
                    id,
                    address: peer.ip(),
                    accepted_at,
                    admission,
                };
                let (greeter, parts) = (Arc::clone(&greeter), Arc::clone(&parts));
                let connections = tasks.clone();
                let drain = drain.clone();
                tasks.spawn(async move {
                    let handshake = handshake(stream, id, peer, &greeter);
                    if let Some(Some(stream)) = drain.run_until_cancelled(handshake).await {
                        // Anew, so that what the handshake needed is freed.
                        connections.spawn(count(stream, arrival, parts, drain));
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                let pause = tokio::time::sleep(EXHAUSTED_DELAY);
                drain.run_until_cancelled(pause).await;
            }
        }
    }
}

async fn count(
    stream: TlsStream<TcpStream>,
    arrival: Arrival,
    parts: Arc<Parts>,
    drain: CancellationToken,
) {
    metrics::gauge!(crate::metrics::CONNECTIONS_OPEN).increment(1);
    let speaks = stream.get_ref().1.alpn_protocol().and_then(Speaks::of);
    match (speaks, parts.dispatch.media.clone()) {
        (None, _) => serve(stream, arrival, parts, drain).await,
        // Who is one too many is closed without a word: HTTP clients come back later.
        (Some(speaks), Some(media)) if arrival.admission.is_ok() => {
            media::serve(stream, speaks, media, &drain).await;
        }
        (Some(_), _) => drop(stream),
    }
    metrics::gauge!(crate::metrics::CONNECTIONS_OPEN).decrement(1);
}

async fn handshake(
    stream: TcpStream,
    id: u64,
    peer: SocketAddr,
    greeter: &Greeter,
) -> Option<TlsStream<TcpStream>> {
    let refused = |reason: &'static str| {
        metrics::counter!(crate::metrics::HANDSHAKES_FAILED, "reason" => reason).increment(1);
        tracing::debug!(connection = id, %peer, reason, "no TLS session");
        None
    };
    if let Err(error) = tune(&stream) {
        tracing::debug!(connection = id, %peer, %error, "socket options were not set");
    }
    let stream = match within(greeter.timeout, greet(stream, greeter)).await {
        None => {
            Limited::new("handshake_timeout", greeter.timeout).counted();
            return refused("timeout");
        }
        Some(Err(_)) => return refused("tls"),
        Some(Ok(stream)) => stream,
    };
    let (_, session) = stream.get_ref();
    // A client without ALPN does not know which protocol this is.
    let is_known = |name: &[u8]| name == ALPN || Speaks::of(name).is_some();
    if !session.alpn_protocol().is_some_and(is_known) {
        return refused("alpn");
    }
    tracing::debug!(connection = id, %peer, "a TLS session");
    Some(stream)
}

async fn greet(stream: TcpStream, greeter: &Greeter) -> std::io::Result<TlsStream<TcpStream>> {
    // Waiting for the peer takes no turn: those who say nothing hold up nobody.
    let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let accepted = {
        let _turn = greeter.computing.acquire().await;
        // Here the keys are agreed upon and the certificate is proved.
        started.into_stream(greeter.tls.load_full())
    };
    accepted.await
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}
