//! The server's certificate: from files, or one made here for development.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use magpie_protocol::limits::ALPN;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    version::TLS13,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};

/// Where the certificate comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// PEM files: the certificate with its chain, and its key.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made here, in this directory, and kept there.
    Development {
        /// The data directory.
        dir: PathBuf,
        /// What it must be good for, besides localhost.
        listen: SocketAddr,
    },
}

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// Certificate and key do not work together.
    #[error("certificate {} and its key cannot be used: {reason}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// A bug, or a broken operating system.
    #[error("a development certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What a listener needs, and what a client needs to trust it.
pub struct Tls {
    /// TLS 1.3 alone; by ALPN sessions (`magpie/1`), or HTTP for media.
    pub config: Arc<ServerConfig>,
    /// The certificate authority to trust, if the certificate was made here; else
    /// the chain itself.
    pub ca: PathBuf,
}

/// Loads the certificate, or makes one.
///
/// # Errors
///
/// [`TlsError`].
pub fn load(source: &Source) -> Result<Tls, TlsError> {
    let (certificate, key, ca) = match source {
        Source::Files { certificate, key } => {
            (certificate.clone(), key.clone(), certificate.clone())
        }
        Source::Development { dir, listen } => development(dir, listen.ip())?,
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&certificate, "certificate", &error))?;
    if chain.is_empty() {
        return Err(unreadable(
            &certificate,
            "certificate",
            &pem::Error::NoItemsFound,
        ));
    }
    let private = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| unreadable(&key, "private key", &error))?;
    let unusable = |error: rustls::Error| TlsError::Unusable {
        path: certificate.clone(),
        reason: error.to_string(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = [ALPN, b"h2", b"http/1.1"].map(<[u8]>::to_vec).to_vec();
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    // One is enough: a device holds one connection.
    config.send_tls13_tickets = 1;
    Ok(Tls {
        config: Arc::new(config),
        ca,
    })
}

fn unreadable(path: &Path, what: &str, error: &pem::Error) -> TlsError {
    let reason = if matches!(error, pem::Error::NoItemsFound) {
        format!("no {what} in PEM form in it")
    } else {
        error.to_string()
    };
    TlsError::File {
        path: path.into(),
        reason,
    }
}

/// The one provider of cryptography.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The development certificate's files, made if they are not there or not good
/// for this address.
fn development(dir: &Path, listen: IpAddr) -> Result<(PathBuf, PathBuf, PathBuf), TlsError> {
    let certificate = dir.join("development-cert.pem");
    let key = dir.join("development-key.pem");
    let ca = dir.join("ca.pem");
    let names_file = dir.join("development-cert.names");
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let listen = listen.to_string();
    if !names.contains(&listen) {
        names.push(listen);
    }
    let wanted = names.join("\n");
    let is_made = [&certificate, &key, &ca].iter().all(|path| path.exists())
        && fs::read_to_string(&names_file).is_ok_and(|made_for| made_for == wanted);
    if !is_made {
        let made = make(names)?;
        write(&key, 0o600, &made.key)?;
        write(&certificate, 0o644, &made.certificate)?;
        write(&ca, 0o644, &made.ca)?;
        write(&names_file, 0o644, &wanted)?;
    }
    Ok((certificate, key, ca))
}

struct Made {
    certificate: String,
    key: String,
    ca: String,
}

/// An authority, whose key is thrown away, and one certificate under it.
fn make(names: Vec<String>) -> Result<Made, TlsError> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    authority.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Magpie development authority");
    let authority_key = rcgen::KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?;
    let issuer = rcgen::Issuer::new(authority, authority_key);

    let mut server = rcgen::CertificateParams::new(names)?;
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    server
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Magpie development server");
    let key = rcgen::KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?;
    Ok(Made {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        ca: ca.pem(),
    })
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), TlsError> {
    let failed = |error: std::io::Error| TlsError::File {
        path: path.into(),
        reason: error.to_string(),
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
