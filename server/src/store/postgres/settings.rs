//! Where the database is and how it is reached, from its URL.

use std::{fmt, path::PathBuf, str::FromStr as _, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::provider;

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a silent network path is trusted before it is asked, and how long
/// it may then take to answer.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a URL cannot be used. Never says what it is: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is no URL of `PostgreSQL`.
    #[error("the database URL cannot be read: {reason}; expected postgres://USER@HOST/DATABASE")]
    Url {
        /// What is wrong.
        reason: String,
    },
    /// A mode that we do not know.
    #[error(
        "sslmode is {mode:?}, expected disable, allow, prefer, require, verify-ca or verify-full"
    )]
    Mode {
        /// As given.
        mode: String,
    },
    /// The certificate cannot be checked without one to trust.
    #[error("sslmode=verify-ca needs sslrootcert=FILE, the certificate to trust")]
    NoRoot,
    /// The trusted certificate cannot be used.
    #[error("sslrootcert {} cannot be used: {reason}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS to the database cannot be set up: {reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
}

/// How to reach the database.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl Settings {
    /// Reads a URL, or libpq's `name=value` pairs.
    pub(super) fn read(url: &str) -> Result<Self, SettingsError> {
        let (rest, asked) = Asked::take(url);
        let mut config = Config::from_str(&rest).map_err(|error| SettingsError::Url {
            reason: reason(&error),
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(SettingsError::Url {
                reason: "it names no host".to_owned(),
            });
        }
        let (mode, check) = asked.mode()?;
        config
            .ssl_mode(mode)
            .application_name("magpied")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_AFTER)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(USER_TIMEOUT);
        let tls = MakeRustlsConnect::new(client_config(&check)?);
        Ok(Self { config, tls })
    }

    /// The database's place, for people: without user and password.
    pub(super) fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let ports = self.config.get_ports();
        let hosts: Vec<String> = hosts
            .enumerate()
            .map(|(number, host)| {
                let port = ports.get(number).or_else(|| ports.first());
                format!("{host}:{}", port.unwrap_or(&5432))
            })
            .collect();
        let name = self.config.get_dbname().or(self.config.get_user());
        format!("{}/{}", hosts.join(","), name.unwrap_or_default())
    }
}

/// An error of `tokio_postgres` with what caused it: it says little itself.
pub(super) fn reason(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What libpq knows and the driver's parser does not.
#[derive(Default)]
struct Asked {
    mode: Option<String>,
    root: Option<String>,
}

/// How far the database's certificate is checked.
enum Check {
    /// Not at all: somebody in between can read and change everything.
    Nothing,
    /// It was issued by whom we trust, to whomever.
    Issuer(PathBuf),
    /// It was issued by whom we trust, to this host.
    Host(Option<PathBuf>),
}

impl Asked {
    /// Takes these settings out of a URL or out of `name=value` pairs.
    fn take(url: &str) -> (String, Self) {
        let mut asked = Self::default();
        let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let rest = match url.split_once('?') {
            Some((place, query)) if is_url => {
                let kept: Vec<&str> = query.split('&').filter(|it| !asked.is_ours(it)).collect();
                match kept.as_slice() {
                    [] => place.to_owned(),
                    kept => format!("{place}?{}", kept.join("&")),
                }
            }
            _ if is_url => url.to_owned(),
            _ => {
                let pairs = url.split_ascii_whitespace();
                let kept: Vec<&str> = pairs.filter(|it| !asked.is_ours(it)).collect();
                kept.join(" ")
            }
        };
        (rest, asked)
    }

    fn is_ours(&mut self, pair: &str) -> bool {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => self.mode = Some(mode.to_owned()),
            Some(("sslrootcert", root)) => self.root = Some(root.replace("%2F", "/")),
            _ => return false,
        }
        true
    }

    fn mode(self) -> Result<(SslMode, Check), SettingsError> {
        // `system` means the roots of the operating system, as for libpq.
        let root = self.root.filter(|root| root != "system").map(PathBuf::from);
        let mode = self.mode.as_deref().unwrap_or("prefer");
        Ok(match mode {
            "disable" => (SslMode::Disable, Check::Nothing),
            "allow" | "prefer" => (SslMode::Prefer, Check::Nothing),
            // Whoever names a root wants it used: libpq's rule.
            "require" => (SslMode::Require, root.map_or(Check::Nothing, Check::Issuer)),
            "verify-ca" => {
                let root = root.ok_or(SettingsError::NoRoot)?;
                (SslMode::Require, Check::Issuer(root))
            }
            "verify-full" => (SslMode::Require, Check::Host(root)),
            other => {
                return Err(SettingsError::Mode {
                    mode: other.to_owned(),
                });
            }
        })
    }
}

fn client_config(check: &Check) -> Result<ClientConfig, SettingsError> {
    let unusable = |error: Error| SettingsError::Tls {
        reason: error.to_string(),
    };
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match check {
        Check::Nothing => Arc::new(Lenient {
            issuer: None,
            provider: Arc::clone(&provider),
        }),
        Check::Issuer(root) => Arc::new(Lenient {
            issuer: Some(web_verifier(root, &provider)?),
            provider: Arc::clone(&provider),
        }),
        Check::Host(Some(root)) => web_verifier(root, &provider)?,
        Check::Host(None) => Arc::new(
            rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).map_err(unusable)?,
        ),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn web_verifier(
    path: &PathBuf,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, SettingsError> {
    let unusable = |reason: String| SettingsError::Root {
        path: path.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path);
    for certificate in certificates.map_err(|error| unusable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| unusable(error.to_string()))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(error.to_string()))
}

/// Does not ask for whom a certificate is, and without an issuer not from whom.
struct Lenient {
    issuer: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Lenient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lenient").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(issuer) = &self.issuer else {
            return Ok(ServerCertVerified::assertion());
        };
        // The chain is checked before the name.
        match issuer.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match Settings::read(url) {
            Ok(_) => panic!("it was read"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn tls_is_preferred_as_libpq_does() {
        let mode = |url| Settings::read(url).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://magpie@db/magpie"), SslMode::Prefer);
        assert_eq!(
            mode("host=db user=magpie sslmode=disable"),
            SslMode::Disable
        );
        let require = "postgresql://magpie@db/magpie?sslmode=require&connect_timeout=3";
        assert_eq!(mode(require), SslMode::Require);
        assert_eq!(
            mode("postgres://db/m?sslmode=verify-full"),
            SslMode::Require
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert!(refused("postgres://db/m?sslmode=verify-ca").contains("sslrootcert=FILE"));
        let root = refused("postgres://db/m?sslmode=verify-full&sslrootcert=/nowhere.pem");
        assert!(root.contains("/nowhere.pem"), "{root}");
        assert!(refused("postgres://db/m?sslmode=tls").contains("verify-full"));
        assert!(refused("mysql://db/m").contains("postgres://"));
    }

    #[test]
    fn the_place_says_no_password() {
        let settings = Settings::read("postgres://magpie:hush@db:6000/chat").unwrap();
        assert_eq!(settings.place(), "db:6000/chat");
        let refused = refused("postgres://magpie:hush@db:port/chat");
        assert!(!refused.contains("hush"), "{refused}");
    }
}
