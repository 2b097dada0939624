//! TLS for those who test that the sender uses it: a certificate authority that
//! lives as long as the emulator, and one certificate under it.

use std::{io, net::SocketAddr, sync::Arc};

use axum::serve::Listener;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Connections whose handshake is done and that are not taken yet.
const READY_MAX: usize = 64;

/// A certificate, and who signed it.
pub(crate) struct Made {
    /// The authority, in PEM.
    pub(crate) ca: String,
    config: ServerConfig,
}

/// Makes a certificate for loopback addresses; HTTP/2 is preferred, as FCM does.
pub(crate) fn make() -> io::Result<Made> {
    let (ca, chain, key) = sign().map_err(io::Error::other)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Made { ca, config })
}

type Signed = (String, CertificateDer<'static>, PrivateKeyDer<'static>);

fn sign() -> Result<Signed, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let name = &mut authority.distinguished_name;
    name.push(DnType::CommonName, "FCM emulator authority");
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut server = CertificateParams::new(names.to_vec())?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let name = &mut server.distinguished_name;
    name.push(DnType::CommonName, "FCM emulator");
    let key = KeyPair::generate()?;
    let chain = server.signed_by(&key, &issuer)?.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Ok((ca, chain, key))
}

/// Takes connections and finishes their handshakes beside each other.
pub(crate) struct TlsListener {
    address: SocketAddr,
    ready: Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    /// Listens until it is dropped.
    pub(crate) fn new(listener: TcpListener, made: Made) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(made.config));
        let (done, ready) = channel(READY_MAX);
        tokio::spawn(take(listener, acceptor, done));
        Ok(Self { address, ready })
    }
}

async fn take(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    done: Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    loop {
        let next = Listener::accept(&mut listener);
        let (stream, address) = tokio::select! {
            () = done.closed() => return,
            next = next => next,
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            // Whoever does not trust us goes away; that is theirs to tell.
            if let Ok(stream) = acceptor.accept(stream).await {
                drop(done.send((stream, address)).await);
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(next) => next,
            // The task above ends after this one.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
