//! Buckets to test with: one process of [moto](https://docs.getmoto.org) for all tests, in
//! which each makes its own.
//!
//! `MAGPIE_TEST_MOTO` names a Python that has moto; `./test` makes one.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock},
};

use futures_util::TryStreamExt as _;
use magpie_server::config::{Access, Bucket, MediaPlace, Secret};
use object_store::{
    ClientConfigKey, ObjectStore as _,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key},
};

/// Moto lets everybody in, whatever they say.
const KEY: &str = "test-key-id";
pub(crate) const SECRET: &str = "test-secret-that-nobody-sees";

/// The process. It ends when our end of its input does, also if we are killed.
struct Moto {
    _process: Child,
    address: SocketAddr,
}

static MOTO: LazyLock<Option<Moto>> = LazyLock::new(|| {
    let python = std::env::var_os("MAGPIE_TEST_MOTO")?;
    let mut process = Command::new(python)
        .arg("-c")
        .arg(include_str!("moto.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(process.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().expect("moto does not start");
    Some(Moto {
        _process: process,
        address: ([127, 0, 0, 1], port).into(),
    })
});

/// A bucket of a test.
pub(crate) struct Pail {
    /// Where moto is.
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
}

impl Pail {
    /// An empty bucket; `None` if there is no moto, which is said.
    pub(crate) async fn make() -> Option<Self> {
        let moto = tokio::task::spawn_blocking(|| MOTO.as_ref()).await.unwrap();
        let Some(moto) = moto else {
            eprintln!("!!! SKIPPED: MAGPIE_TEST_MOTO names no Python with moto");
            return None;
        };
        let name = format!("magpie-{}", uuid::Uuid::now_v7());
        let url = format!("http://{}/{name}", moto.address);
        let made = reqwest::Client::new().put(url).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
        Some(Self {
            address: moto.address,
            name,
        })
    }

    /// What magpied is told of it, when it is reached at this address.
    pub(crate) fn environment(&self, address: SocketAddr) -> Vec<(&'static str, String)> {
        vec![
            ("MAGPIE_MEDIA_BUCKET", format!("s3://{}/chat", self.name)),
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }

    /// The same for a server in this process.
    pub(crate) fn place(&self, address: SocketAddr, is_presigned: bool) -> MediaPlace {
        let endpoint = format!("http://{address}");
        let access = [
            (Key::Endpoint, endpoint.as_str()),
            (Key::Client(ClientConfigKey::AllowHttp), "true"),
            (Key::AccessKeyId, KEY),
            (Key::SecretAccessKey, SECRET),
        ];
        let access = access.map(|(key, text)| (key, Secret::from(text)));
        MediaPlace::Bucket {
            bucket: Bucket {
                name: self.name.clone(),
                prefix: "chat/".to_owned(),
            },
            access: Access(access.into()),
            is_presigned,
        }
    }

    fn store(&self) -> Arc<AmazonS3> {
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&self.name)
            .with_endpoint(format!("http://{}", self.address))
            .with_allow_http(true)
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET);
        Arc::new(builder.build().unwrap())
    }

    /// All objects but the sign that each server writes.
    pub(crate) async fn names(&self) -> Vec<String> {
        let listed = self.store().list(None).map_ok(|it| it.location.to_string());
        let mut names: Vec<String> = listed.try_collect().await.unwrap();
        assert!(names.iter().all(|name| name.starts_with("chat/")));
        names.retain(|name| name != "chat/magpie.txt");
        names.sort();
        names
    }
}
