//! TLS to the database, as `sslmode` asks for it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use magpie_sim::postgres::{self, Cluster};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::store::postgres::{OpenError, Postgres, open};

/// Writes a file that the database may read, as itself and alone.
fn give(path: &Path, text: &str) {
    let owner = fs::metadata(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// An authority for certificates.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A database with a certificate for `localhost`.
async fn with_tls(authority: &CertifiedIssuer<'static, KeyPair>) -> (Cluster, String) {
    let cluster = Cluster::start().unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let url = cluster.create_database().await.unwrap();
    let files = cluster.directory().join("data");
    give(&files.join("tls.crt"), &certificate.pem());
    give(&files.join("tls.key"), &key.serialize_pem());
    let client = cluster.connect("postgres").await.unwrap();
    for sql in [
        "ALTER SYSTEM SET ssl_cert_file = 'tls.crt'",
        "ALTER SYSTEM SET ssl_key_file = 'tls.key'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    (cluster, url)
}

async fn opened(url: &str) -> Result<std::sync::Arc<Postgres>, OpenError> {
    open(url, None, [5; 32]).await
}

fn refusal(opened: Result<std::sync::Arc<Postgres>, OpenError>) -> String {
    match opened {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_database_is_reached_as_sslmode_asks() {
    if postgres::is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ours = authority();
    let root = dir.path().join("root.pem");
    fs::write(&root, ours.pem()).unwrap();
    let other_root = dir.path().join("other.pem");
    fs::write(&other_root, authority().pem()).unwrap();
    let (cluster, url) = with_tls(&ours).await;
    let by_name = url.replace("127.0.0.1", "localhost");
    let root = root.display();
    let other_root = other_root.display();
    let watcher = cluster.connect("postgres").await.unwrap();
    let encrypted = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                      WHERE a.application_name = 'magpied'";

    for (url, is_encrypted) in [
        (format!("{url}?sslmode=disable"), false),
        (format!("{url}?sslmode=require"), true),
        (format!("{url}?sslmode=verify-ca&sslrootcert={root}"), true),
        (
            format!("{by_name}?sslmode=verify-full&sslrootcert={root}"),
            true,
        ),
    ] {
        let store = opened(&url).await;
        let store = store.unwrap_or_else(|error| panic!("{url}: {error}"));
        crate::store::Store::state(store.as_ref()).await.unwrap();
        let found: bool = watcher.query_one(encrypted, &[]).await.unwrap().get(0);
        assert_eq!(found, is_encrypted, "{url}");
        drop(store);
        until_gone(&watcher).await;
    }

    // It is another host's, or nobody's that we know.
    let wrong = format!("{url}?sslmode=verify-full&sslrootcert={root}");
    assert!(refusal(opened(&wrong).await).contains("certificate"));
    let unknown = format!("{by_name}?sslmode=verify-ca&sslrootcert={other_root}");
    assert!(refusal(opened(&unknown).await).contains("certificate"));
}

/// Until no connection of a store is left.
async fn until_gone(watcher: &postgres::Client) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'magpied'";
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while watcher.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(tokio::time::Instant::now() < deadline, "connections stay");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
