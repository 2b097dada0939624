//! Opens TLS connections to the server.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use magpie_protocol::limits::ALPN;
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::args::Server;

/// Where to connect, and whom to trust.
#[derive(Clone)]
pub(crate) struct Dialer {
    address: Arc<str>,
    name: ServerName<'static>,
    connector: TlsConnector,
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
            connector: TlsConnector::from(Arc::new(config)),
        })
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
        stream.set_nodelay(true)?;
        self.connector
            .connect(self.name.clone(), stream)
            .await
            .with_context(|| format!("no TLS with {}", self.address))
    }
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
