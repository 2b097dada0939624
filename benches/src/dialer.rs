//! Opens TLS connections to the server.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use magpie_protocol::limits::ALPN;
use rustls::{ClientConfig, ClientConnection, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::args::Server;

/// Addresses that connections to a server on this machine come from: one address
/// has 28,000 ports, and a closed connection keeps its port for a minute.
const SOURCES: u8 = 200;

/// Where to connect, and whom to trust.
#[derive(Clone)]
pub(crate) struct Dialer {
    address: Arc<str>,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Dialer {
    /// A dialer for the server that was asked for; full handshakes only.
    ///
    /// # Errors
    ///
    /// The address or the CA file is not usable.
    pub(crate) fn new(server: &Server) -> anyhow::Result<Self> {
        Self::with(server, false)
    }

    /// As [`Self::new`], but resumes TLS sessions.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub(crate) fn resuming(server: &Server) -> anyhow::Result<Self> {
        Self::with(server, true)
    }

    fn with(server: &Server, resumes: bool) -> anyhow::Result<Self> {
        let (host, _) = server
            .server
            .rsplit_once(':')
            .with_context(|| format!("--server is {:?}, expected HOST:PORT", server.server))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("{host:?} is no host name"))?;
        let mut config = client_config(&server.ca)?;
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self {
            address: server.server.as_str().into(),
            name,
            config: Arc::new(config),
        })
    }

    /// The same for HTTP.
    pub(crate) fn http(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// The same for a device of its own, which remembers its own TLS session.
    pub(crate) fn remembering(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(1);
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// A new connection, its handshake done.
    ///
    /// # Errors
    ///
    /// The server is not there, or not the one that we trust.
    pub(crate) async fn dial(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&*self.address)
            .await
            .with_context(|| format!("no connection to {}", self.address))?;
        self.encrypt(stream).await
    }

    /// A new connection on which nothing was said. The `number`th one: they come
    /// from many addresses if the server is on this machine.
    ///
    /// # Errors
    ///
    /// The server is not there.
    pub(crate) async fn knock(&self, number: usize) -> anyhow::Result<TcpStream> {
        let knock = async {
            let address = lookup_host(&*self.address).await?.next();
            let address = address.ok_or(std::io::ErrorKind::NotFound)?;
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if let Some(source) = source(address.ip(), number) {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            socket.connect(address).await
        };
        let knocked: std::io::Result<TcpStream> = knock.await;
        knocked.with_context(|| format!("no connection to {}", self.address))
    }

    /// Finishes the handshake.
    ///
    /// # Errors
    ///
    /// The server is not the one that we trust.
    pub(crate) async fn encrypt(&self, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::clone(&self.config))
            .connect(self.name.clone(), stream)
            .await
            .with_context(|| format!("no TLS with {}", self.address))
    }

    /// The first bytes of a handshake.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub(crate) fn client_hello(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())?
            .write_tls(&mut bytes)?;
        Ok(bytes)
    }
}

/// Where the `number`th connection to a server at `address` comes from, if it
/// matters.
fn source(address: IpAddr, number: usize) -> Option<IpAddr> {
    let number = u8::try_from(number % usize::from(SOURCES)).ok()?;
    let IpAddr::V4(address) = address else {
        return None;
    };
    address
        .is_loopback()
        .then(|| Ipv4Addr::new(127, 0, 1, 1 + number).into())
}

fn client_config(ca: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca)
        .with_context(|| format!("{} is not readable", ca.display()))?;
    for certificate in certificates {
        roots.add(certificate.with_context(|| format!("{} is damaged", ca.display()))?)?;
    }
    trusting(roots)
}

/// TLS 1.3 with Magpie's protocol name.
///
/// # Errors
///
/// The provider lacks TLS 1.3, which it never does.
pub(crate) fn trusting(roots: RootCertStore) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
