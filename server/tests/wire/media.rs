//! Photos and files over HTTPS, in raw requests: what uploads and downloads do with good
//! ones, and with those of strangers and broken clients.

mod bucket;
mod clients;
mod cuts;
mod direct;
mod hostile;
mod messages;
mod moto;
mod restarts;

use std::{net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use data_encoding::BASE64;
use magpie_protocol::{
    limits::ALPN,
    wire::v1::{self, client_frame, server_frame},
};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{
    peer::{Device, PATIENCE, Peer, World, hello, register},
    process::Server,
    trust::connector,
};

/// A server, in this process or another.
pub(crate) trait Site {
    /// Where it listens, and the authority to trust.
    fn place(&self) -> (SocketAddr, PathBuf);
}

impl Site for World {
    fn place(&self) -> (SocketAddr, PathBuf) {
        (self.address, self.ca())
    }
}

impl Site for Server {
    fn place(&self) -> (SocketAddr, PathBuf) {
        (self.address, self.ca.clone())
    }
}

/// A connection that speaks frames.
async fn peer(world: &impl Site) -> Peer {
    let (address, ca) = world.place();
    let connector = connector(&ca, &[ALPN], &[&rustls::version::TLS13]);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    Peer::on(connector.connect(name, stream).await.unwrap())
}

/// What HTTP answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    fn offset(&self) -> u64 {
        self.header("upload-offset").unwrap().parse().unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection that speaks HTTP/1.1.
pub(crate) struct Http(TlsStream<TcpStream>);

impl Http {
    pub(crate) async fn connect(world: &impl Site) -> Self {
        let (address, ca) = world.place();
        let connector = connector(&ca, &[b"http/1.1"], &[&rustls::version::TLS13]);
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        Self(connector.connect(name, stream).await.unwrap())
    }

    async fn write(&mut self, bytes: &[u8]) {
        // The server may have answered and closed: that is read after this.
        drop(self.0.write_all(bytes).await);
        drop(self.0.flush().await);
    }

    /// A request as it is; what came back, unless the server closed before.
    pub(crate) async fn raw(&mut self, head: &str, body: &[u8], has_body: bool) -> Option<Answer> {
        self.write(head.as_bytes()).await;
        self.write(body).await;
        timeout(PATIENCE, self.read(has_body)).await.unwrap()
    }

    async fn read(&mut self, has_body: bool) -> Option<Answer> {
        let mut bytes = Vec::new();
        let head_size = loop {
            if let Some(at) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            let read = self.0.read_buf(&mut bytes).await;
            if matches!(read, Ok(0) | Err(_)) {
                return None;
            }
        };
        let mut body = bytes.split_off(head_size);
        let head = String::from_utf8(bytes).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer {
            status: status.unwrap(),
            headers,
            body: Vec::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |it| it.parse().unwrap());
        while has_body && body.len() < length {
            let read = self.0.read_buf(&mut body).await;
            if matches!(read, Ok(0) | Err(_)) {
                break;
            }
        }
        answer.body = body;
        Some(answer)
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (key, value) in headers {
            head += &format!("{key}: {value}\r\n");
        }
        let has_length = headers.iter().any(|(key, _)| *key == "content-length");
        if !has_length {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        let answered = self.raw(&head, body, method != "HEAD").await;
        answered.expect("the server closed")
    }
}

/// Somebody who uploads.
pub(crate) struct Uploader {
    pub(crate) device: Device,
    authorization: String,
    size_max: u64,
}

impl Uploader {
    pub(crate) async fn new(world: &impl Site, name: &str) -> Self {
        let mut peer = peer(world).await;
        peer.control(register(name, "")).await;
        let device = peer.signed_in().await;
        Self::of(world, device).await
    }

    async fn of(world: &impl Site, device: Device) -> Self {
        let asked = client_frame::Body::FetchMediaToken(v1::FetchMediaToken {});
        let server_frame::Body::MediaToken(token) = ask(world, &device, asked).await else {
            panic!("no token");
        };
        assert_eq!(token.uploads_url, "/media/uploads");
        Self {
            device,
            authorization: format!("Bearer {}", token.token),
            size_max: token.size_max,
        }
    }

    pub(crate) fn headers<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut headers = vec![
            ("tus-resumable", "1.0.0"),
            ("authorization", self.authorization.as_str()),
        ];
        headers.extend(more);
        headers
    }

    async fn create(&self, world: &impl Site, more: &[(&str, &str)]) -> Answer {
        let headers = self.headers(more);
        let mut http = Http::connect(world).await;
        http.ask("POST", "/media/uploads", &headers, b"").await
    }

    /// Where an upload of so many bytes is.
    pub(crate) async fn begin(&self, world: &impl Site, size: usize) -> String {
        let size = size.to_string();
        let answer = self.create(world, &[("upload-length", &size)]).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert!(answer.header("upload-expires").is_some());
        answer.header("location").unwrap().to_owned()
    }

    pub(crate) async fn patch(
        &self,
        world: &impl Site,
        place: &str,
        offset: usize,
        body: &[u8],
        more: &[(&str, &str)],
    ) -> Answer {
        let offset = offset.to_string();
        let mut headers = self.headers(&[
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", &offset),
        ]);
        headers.extend(more);
        let mut http = Http::connect(world).await;
        http.ask("PATCH", place, &headers, body).await
    }

    pub(crate) async fn head(&self, world: &impl Site, place: &str) -> Answer {
        let mut http = Http::connect(world).await;
        http.ask("HEAD", place, &self.headers(&[]), b"").await
    }

    /// Uploads all of it. Its id.
    pub(crate) async fn upload(&self, world: &impl Site, bytes: &[u8]) -> Bytes {
        let place = self.begin(world, bytes.len()).await;
        let answer = self.patch(world, &place, 0, bytes, &[]).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        assert_eq!(answer.offset(), bytes.len() as u64);
        id_of(&place)
    }
}

/// What the session answers.
async fn ask(world: &impl Site, device: &Device, body: client_frame::Body) -> server_frame::Body {
    let mut peer = peer(world).await;
    peer.control(hello(device, Bytes::new())).await;
    peer.caught_up().await;
    let number = peer.request(body).await;
    peer.answer(number).await
}

pub(crate) fn id_of(place: &str) -> Bytes {
    let name = place.rsplit('/').next().unwrap();
    uuid::Uuid::parse_str(name)
        .unwrap()
        .as_bytes()
        .to_vec()
        .into()
}

pub(crate) async fn urls(world: &impl Site, device: &Device, ids: &[Bytes]) -> Vec<v1::MediaUrl> {
    let media_ids = ids.to_vec();
    let asked = client_frame::Body::FetchMediaUrls(v1::FetchMediaUrls { media_ids });
    match ask(world, device, asked).await {
        server_frame::Body::MediaUrls(it) => it.urls,
        other => panic!("no URLs: {other:?}"),
    }
}

async fn get(world: &impl Site, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut http = Http::connect(world).await;
    http.ask("GET", url, headers, b"").await
}

/// Bytes that begin like a PNG, and are none.
fn picture(size: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend((0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()));
    bytes.truncate(size);
    bytes
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_fetched_as_it_was() {
    fetches_what_was_uploaded(&World::start().await).await;
}

async fn fetches_what_was_uploaded(world: &World) {
    let alice = Uploader::new(world, "alice").await;
    // More than a part, and no multiple of it.
    let bytes = picture(1_300_001);
    let id = alice.upload(world, &bytes).await;
    let urls = urls(world, &alice.device, &[id.clone(), id.clone()]).await;
    assert_eq!(urls.len(), 1);
    let url = &urls[0];
    assert_eq!((url.media_id.clone(), url.size), (id, 1_300_001));
    assert_eq!(url.sha256, sha256(&bytes));
    assert_eq!(url.content_type, "image/png");

    let answer = get(world, &url.url, &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == bytes);
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("content-disposition"), Some("attachment"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let cache = answer.header("cache-control").unwrap();
    assert!(cache.starts_with("public, max-age=") && cache.ends_with(", immutable"));
    let etag = answer.header("etag").unwrap();

    let part = get(world, &url.url, &[("range", "bytes=600000-600009")]).await;
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &bytes[600_000..600_010])
    );
    let range = part.header("content-range");
    assert_eq!(range, Some("bytes 600000-600009/1300001"));
    let same = [("range", "bytes=-3"), ("if-range", etag)];
    assert_eq!(get(world, &url.url, &same).await.status, 206);
    let other = [("range", "bytes=-3"), ("if-range", "\"other\"")];
    assert_eq!(get(world, &url.url, &other).await.body.len(), bytes.len());
    let known = get(world, &url.url, &[("if-none-match", etag)]).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let mut http = Http::connect(world).await;
    let head = http.ask("HEAD", &url.url, &[], b"").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("1300001"))
    );
    // The connection goes on.
    assert_eq!(
        http.ask("GET", &url.url, &[], b"").await.body.len(),
        bytes.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_was_cut_off() {
    goes_on_where_it_was_cut_off(&World::start().await).await;
}

async fn goes_on_where_it_was_cut_off(world: &World) {
    let alice = Uploader::new(world, "alice").await;
    let bytes = picture(3_000_000);
    let place = alice.begin(world, bytes.len()).await;
    let (mut offset, mut sent) = (0, 0);
    while offset < bytes.len() {
        // Cut after about 700 kB, in the middle of a part.
        let end = (offset + 700_000).min(bytes.len());
        let mut http = Http::connect(world).await;
        let head = format!(
            "PATCH {place} HTTP/1.1\r\nhost: localhost\r\ntus-resumable: 1.0.0\r\n\
             authorization: {}\r\ncontent-type: application/offset+octet-stream\r\n\
             upload-offset: {offset}\r\ncontent-length: {}\r\n\r\n",
            alice.authorization,
            bytes.len() - offset,
        );
        http.write(head.as_bytes()).await;
        http.write(&bytes[offset..end]).await;
        sent += end - offset;
        drop(http.0.shutdown().await);
        // Until the server closes: else what it has not read yet is thrown away.
        drop(timeout(PATIENCE, http.read(true)).await.unwrap());
        // What came is written down, also if nobody waits for it any more.
        let answer = alice.head(world, &place).await;
        offset = usize::try_from(answer.offset()).unwrap();
        assert!(offset <= end);
    }
    assert!(sent * 100 < bytes.len() * 105, "{sent} bytes were sent");
    assert_eq!(alice.head(world, &place).await.offset(), bytes.len() as u64);
    let urls = urls(world, &alice.device, &[id_of(&place)]).await;
    assert!(get(world, &urls[0].url, &[]).await.body == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_it_can_do() {
    let world = World::start().await;
    let mut http = Http::connect(&world).await;
    let answer = http.ask("OPTIONS", "/media/uploads", &[], b"").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("tus-version"), Some("1.0.0"));
    assert_eq!(answer.header("tus-resumable"), Some("1.0.0"));
    assert_eq!(
        answer.header("tus-extension"),
        Some("creation,termination,checksum,expiration")
    );
    assert_eq!(answer.header("tus-checksum-algorithm"), Some("sha1,sha256"));
    let alice = Uploader::new(&world, "alice").await;
    let size_max = alice.size_max.to_string();
    assert_eq!(answer.header("tus-max-size"), Some(size_max.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_ended_is_gone() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let place = alice.begin(&world, 10).await;
    let mut http = Http::connect(&world).await;
    let headers = alice.headers(&[]);
    assert_eq!(http.ask("DELETE", &place, &headers, b"").await.status, 204);
    assert_eq!(http.ask("DELETE", &place, &headers, b"").await.status, 404);
    assert_eq!(alice.head(&world, &place).await.status, 404);
    assert_eq!(alice.patch(&world, &place, 0, b"1", &[]).await.status, 404);
    // Some clients can say POST alone.
    let place = alice.begin(&world, 10).await;
    let headers = alice.headers(&[("x-http-method-override", "DELETE")]);
    assert_eq!(http.ask("POST", &place, &headers, b"").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_is_of_one_request_or_of_all() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(700_000);
    let place = alice.begin(&world, bytes.len()).await;
    let right = format!("sha256 {}", BASE64.encode(&sha256(&bytes)));
    let wrong = format!("sha256 {}", BASE64.encode(&[1; 32]));
    let answer = alice
        .patch(&world, &place, 0, &bytes, &[("upload-checksum", &wrong)])
        .await;
    assert_eq!(answer.status, 460);
    assert_eq!(
        alice.head(&world, &place).await.offset(),
        0,
        "nothing of it counts"
    );
    let answer = alice
        .patch(&world, &place, 0, &bytes, &[("upload-checksum", &right)])
        .await;
    assert_eq!((answer.status, answer.offset()), (204, 700_000));

    // Of the whole: what is not as it was to be is gone.
    for (digest, status) in [(sha256(&bytes), 204), (vec![1; 32], 460)] {
        let digits = data_encoding::HEXLOWER.encode(&digest);
        let metadata = format!("filename eA==,sha256 {}", BASE64.encode(digits.as_bytes()));
        let more = [("upload-length", "700000"), ("upload-metadata", &metadata)];
        let answer = alice.create(&world, &more).await;
        let place = answer.header("location").unwrap().to_owned();
        let answer = alice.patch(&world, &place, 0, &bytes, &[]).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let there = alice.head(&world, &place).await.status;
        assert_eq!(there, if status == 204 { 200 } else { 404 });
    }
}
