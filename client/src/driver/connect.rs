//! From an address to a stream that is encrypted and believed.

use std::{fmt, io, pin::Pin, sync::Arc, time::Duration};

use magpie_protocol::limits::{ALPN, IDLE_TIMEOUT};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls_platform_verifier::BuilderVerifierExt as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    error::ConnectError,
    server::{Server, Trust},
};

/// For the name, the connection and the handshake together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// ALPN's name of HTTP/1.1.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// How long sent bytes may stay unacknowledged by the peer's system. Below the
/// idle timeout, so that a vanished network is noticed while writing.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
const _: () = assert!(USER_TIMEOUT.as_secs() < IDLE_TIMEOUT.as_secs());

/// When the peer's system is asked whether it is still there, on an idle
/// connection. The session's own heartbeat comes first; this finds dead peers
/// of a suspended process.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What the driver reads and writes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A future that gives a stream.
pub(crate) type Dialling =
    Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, ConnectError>> + Send>>;

/// What opens connections; tests have one of their own.
pub(crate) trait Dial: Send + Sync {
    /// Opens one, within [`CONNECT_TIMEOUT`].
    fn dial(&self) -> Dialling;
}

/// TLS 1.3 over TCP to one server. Keeps sessions to resume between connections.
#[derive(Clone)]
pub(crate) struct TlsDial {
    address: String,
    name: ServerName<'static>,
    connector: TlsConnector,
    alpn: &'static [u8],
}

impl fmt::Debug for TlsDial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TlsDial")
            .field(&self.address)
            .finish()
    }
}

impl TlsDial {
    /// Reads what is to be trusted.
    pub(crate) fn new(server: &Server) -> Result<Self, ConnectError> {
        Ok(Self {
            address: server.address.clone(),
            name: name(&server.address)?,
            connector: Arc::new(config(&server.trust)?).into(),
            alpn: ALPN,
        })
    }

    /// The same for another protocol on the same port.
    pub(crate) fn speaking(&self, alpn: &'static [u8]) -> Self {
        let mut config = ClientConfig::clone(self.connector.config());
        config.alpn_protocols = vec![alpn.to_vec()];
        Self {
            connector: Arc::new(config).into(),
            alpn,
            ..self.clone()
        }
    }

    /// The same to another server, which is trusted by the same certificates.
    pub(crate) fn to(&self, address: &str) -> Result<Self, ConnectError> {
        Ok(Self {
            address: address.to_owned(),
            name: name(address)?,
            ..self.clone()
        })
    }

    /// HOST:PORT.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    async fn connect(self) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = TcpStream::connect(&self.address)
            .await
            .and_then(set_options)
            .map_err(|error| ConnectError::Unreachable {
                address: self.address.clone(),
                reason: system_reason(&error),
            })?;
        let stream = self
            .connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| self.explain(&error))?;
        let agreed = stream.get_ref().1.alpn_protocol();
        // Many that serve HTTP alone agree on nothing.
        let is_http = self.alpn == HTTP_1_1 && agreed.is_none();
        if agreed != Some(self.alpn) && !is_http {
            return Err(ConnectError::Handshake {
                address: self.address,
                reason: "another protocol is spoken there".to_owned(),
            });
        }
        Ok(Box::new(stream))
    }

    fn explain(&self, error: &io::Error) -> ConnectError {
        let address = self.address.clone();
        let tls = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(reason)) => ConnectError::Certificate {
                address,
                reason: certificate_reason(reason),
            },
            Some(other) => ConnectError::Handshake {
                address,
                reason: other.to_string(),
            },
            None => ConnectError::Unreachable {
                address,
                reason: system_reason(error),
            },
        }
    }
}

impl Dial for TlsDial {
    fn dial(&self) -> Dialling {
        let dial = self.clone();
        let address = self.address.clone();
        Box::pin(async move {
            let limit = CONNECT_TIMEOUT;
            timeout(limit, dial.connect())
                .await
                .unwrap_or(Err(ConnectError::TimedOut { address, limit }))
        })
    }
}

fn name(address: &str) -> Result<ServerName<'static>, ConnectError> {
    let wrong = || ConnectError::Address {
        address: address.to_owned(),
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| wrong())
}

/// What the system says, without its number and in lower case.
pub(super) fn system_reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}

fn certificate_reason(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Reason;
    let known = [
        (
            matches!(error, Reason::UnknownIssuer),
            "it is not signed by a certificate that is trusted here",
        ),
        (
            matches!(error, Reason::BadSignature),
            "its signature is wrong",
        ),
        (
            matches!(error, Reason::Expired | Reason::ExpiredContext { .. }),
            "it has expired",
        ),
        (
            matches!(
                error,
                Reason::NotValidYet | Reason::NotValidYetContext { .. }
            ),
            "it is not valid yet",
        ),
        (
            matches!(
                error,
                Reason::NotValidForName | Reason::NotValidForNameContext { .. }
            ),
            "it is for another name",
        ),
    ];
    known
        .into_iter()
        .find(|(is_it, _)| *is_it)
        .map_or_else(|| error.to_string(), |(_, reason)| reason.to_owned())
}

fn set_options(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(stream)
}

/// The certificates of a trust, as PEM; `None` for the system's.
pub(crate) fn pem(trust: &Trust) -> Result<Option<Vec<u8>>, ConnectError> {
    match trust {
        Trust::System => Ok(None),
        Trust::CaPem(pem) => Ok(Some(pem.clone())),
        Trust::CaFile(path) => std::fs::read(path)
            .map(Some)
            .map_err(|error| ConnectError::Trust {
                what: path.display().to_string(),
                reason: system_reason(&error),
            }),
    }
}

fn config(trust: &Trust) -> Result<ClientConfig, ConnectError> {
    let what = match trust {
        Trust::CaFile(path) => path.display().to_string(),
        Trust::CaPem(_) => "the certificate".to_owned(),
        Trust::System => "what the system trusts".to_owned(),
    };
    let refuse = |reason: String| ConnectError::Trust {
        what: what.clone(),
        reason,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| refuse(error.to_string()))?;
    let mut config = match pem(trust)? {
        None => builder
            .with_platform_verifier()
            .map_err(|error| refuse(error.to_string()))?
            .with_no_client_auth(),
        Some(pem) => builder
            .with_root_certificates(roots(&pem).map_err(refuse)?)
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate in PEM form".to_owned());
    }
    Ok(roots)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A certificate to trust, as PEM, and what shows one for `name` under it.
    pub(crate) fn acceptor(name: &str, alpn: &[&[u8]]) -> (Vec<u8>, TlsAcceptor) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        (
            issuer.pem().into_bytes(),
            TlsAcceptor::from(Arc::new(config)),
        )
    }

    /// A certificate to trust, and a server on loopback that shows one for `name`.
    async fn listen(name: &str, alpn: &[u8]) -> (Vec<u8>, String) {
        let (pem, acceptor) = acceptor(name, &[alpn]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        });
        (pem, address)
    }

    async fn dial(address: &str, trust: Trust) -> Result<(), ConnectError> {
        let server = Server {
            address: address.to_owned(),
            trust,
        };
        let dialled = timeout(Duration::from_secs(20), TlsDial::new(&server)?.dial()).await;
        dialled.unwrap().map(drop)
    }

    #[tokio::test]
    async fn a_server_is_believed_by_its_certificate_and_name_alone() {
        let (pem, address) = listen("127.0.0.1", ALPN).await;
        assert_eq!(dial(&address, Trust::CaPem(pem.clone())).await, Ok(()));

        let (_, other) = listen("127.0.0.1", ALPN).await;
        let refused = dial(&other, Trust::CaPem(pem)).await.unwrap_err();
        assert!(refused.is_permanent(), "{refused}");
        let sentence = format!("the certificate of {other} is not trusted: ");
        assert!(refused.to_string().starts_with(&sentence), "{refused}");

        let (pem, address) = listen("example.org", ALPN).await;
        let refused = dial(&address, Trust::CaPem(pem)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("the certificate of {address} is not trusted: it is for another name")
        );
    }

    #[tokio::test]
    async fn a_server_of_another_protocol_is_refused() {
        let (pem, address) = listen("127.0.0.1", b"http/1.1").await;
        let refused = dial(&address, Trust::CaPem(pem)).await.unwrap_err();
        assert!(
            matches!(refused, ConnectError::Handshake { .. }),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn what_can_never_work_says_so_before_the_first_try() {
        for address in ["localhost", "localhost:", "localhost:port", ":7443"] {
            let refused = dial(address, Trust::System).await.unwrap_err();
            assert!(matches!(refused, ConnectError::Address { .. }), "{refused}");
        }
        let trust = Trust::CaPem(b"nothing".to_vec());
        let refused = dial("localhost:1", trust).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the certificate cannot be trusted: it holds no certificate in PEM form"
        );
    }
}
