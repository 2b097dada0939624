//! Round trips of 100 bytes over TLS on the loopback, echo server and clients
//! in this process.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::Run;
use crate::dialer::trusting;

/// Bytes of what is echoed.
const SIZE: usize = 100;

/// Round trips a second on so many connections with so many in flight.
///
/// # Errors
///
/// No socket, or no certificate.
pub(super) async fn run(
    connections: usize,
    in_flight: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let (acceptor, connector) = tls()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut servers = JoinSet::new();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            servers.spawn(echo(acceptor.clone(), stream));
        }
    });
    let run = Run::default();
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await?;
        clients.spawn(ask(connector.clone(), stream, in_flight, run.clone()));
    }
    // Handshakes are over soon; a few in the measured time do not matter.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, started) = (run.count.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(time).await;
    let count = run.count.load(Ordering::Relaxed) - before;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    run.ended.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client??;
    }
    accepting.abort();
    Ok(rate)
}

fn tls() -> anyhow::Result<(TlsAcceptor, TlsConnector)> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|reason| anyhow::anyhow!("no key: {reason}"))?;
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    server.alpn_protocols = vec![magpie_protocol::limits::ALPN.to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client = trusting(roots)?;
    Ok((
        TlsAcceptor::from(Arc::new(server)),
        TlsConnector::from(Arc::new(client)),
    ))
}

async fn echo(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let size = stream.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..size).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        stream.write_all(bytes).await?;
        stream.flush().await?;
    }
}

/// Keeps `in_flight` pieces on their way.
async fn ask(
    connector: TlsConnector,
    stream: TcpStream,
    in_flight: usize,
    run: Run,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").context("no name")?;
    let mut stream = connector.connect(name, stream).await?;
    let pieces = vec![0x2a; SIZE * in_flight];
    let mut buffer = vec![0; 16 * 1024];
    let (mut received, mut counted) = (0, 0);
    stream.write_all(&pieces).await?;
    stream.flush().await?;
    while !run.is_ended() {
        received += stream.read(&mut buffer).await?;
        let whole = received / SIZE - counted;
        counted += whole;
        let Some(again) = pieces.get(..whole * SIZE).filter(|it| !it.is_empty()) else {
            continue;
        };
        run.count.fetch_add(whole as u64, Ordering::Relaxed);
        stream.write_all(again).await?;
        stream.flush().await?;
    }
    Ok(())
}
