//! HTTP/1.1 as far as photos and files need it: one request at a time, over TLS with what
//! the home trusts, and given up when nothing moves.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{HOST, HeaderMap, HeaderValue, LOCATION},
    http::uri::Authority,
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::{
    driver::{Dial as _, HTTP_1_1, TlsDial},
    error::ConnectError,
};

/// The port of URLs that name none.
const HTTPS_PORT: u16 = 443;

/// How long nothing may move before a request is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a refusal that are read.
const SENTENCE_SIZE_MAX: usize = 512;

/// What requests consist of.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// There is no answer, or none that is whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("nothing moved for {} s", STALL_TIMEOUT.as_secs())]
    Stalled,
    #[error("the server named a place that is not to be asked: {0:?}")]
    Place(String),
}

impl From<hyper::Error> for HttpError {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// What has moved, so that it is known when nothing does.
#[derive(Clone, Debug, Default)]
pub(super) struct Moved(Arc<AtomicU64>);

impl Moved {
    pub(super) fn add(&self, size: usize) {
        self.0.fetch_add(size as u64, Ordering::Relaxed);
    }

    /// Waits for as long as something moves.
    pub(super) async fn within<T>(&self, what: impl Future<Output = T>) -> Result<T, HttpError> {
        let mut what = std::pin::pin!(what);
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = timeout(STALL_TIMEOUT, what.as_mut()).await {
                return Ok(done);
            }
            let now = self.0.load(Ordering::Relaxed);
            if now == before {
                return Err(HttpError::Stalled);
            }
            before = now;
        }
    }
}

/// Asks a server, and keeps the connection for the next request.
pub(crate) struct Http {
    home: TlsDial,
    kept: Option<(String, SendRequest<Body>)>,
}

impl Http {
    /// To ask the server that this one dials.
    pub(crate) fn new(dial: &TlsDial) -> Self {
        Self {
            home: dial.speaking(HTTP_1_1),
            kept: None,
        }
    }

    /// To ask another server meanwhile: each keeps a connection of its own.
    pub(super) fn another(&self) -> Self {
        Self {
            home: self.home.clone(),
            kept: None,
        }
    }

    /// Asks, by a path at the home's server, or a URL of another one, which must speak
    /// TLS and be trusted as the home's own is.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        place: &str,
        headers: HeaderMap,
        (body, moved): (Body, &Moved),
    ) -> Result<Response<Incoming>, HttpError> {
        let refuse = || HttpError::Place(place.to_owned());
        let uri: Uri = place.parse().map_err(|_| refuse())?;
        let path = uri.path_and_query().ok_or_else(refuse)?.as_str();
        if !path.starts_with('/') {
            return Err(refuse());
        }
        let (dial, host) = match (uri.scheme_str(), uri.authority()) {
            (None, None) => (self.home.clone(), self.home.address().to_owned()),
            (Some("https"), Some(authority)) => {
                let port = authority.port_u16().unwrap_or(HTTPS_PORT);
                let dial = self.home.to(&format!("{}:{port}", authority.host()))?;
                (dial, host(authority))
            }
            (Some(_) | None, _) => return Err(refuse()),
        };
        let host = HeaderValue::try_from(host).map_err(|_| refuse())?;
        let mut request = Request::builder().method(method).uri(path);
        if let Some(all) = request.headers_mut() {
            *all = headers;
            all.insert(HOST, host);
        }
        let request = request.body(body).map_err(|_| refuse())?;
        let mut sender = self.sender(&dial).await?;
        let answer = moved.within(sender.send_request(request)).await??;
        self.kept = Some((dial.address().to_owned(), sender));
        Ok(answer)
    }

    /// Asks for what is at a place, there or where its server sends who asks: once, and over
    /// TLS.
    pub(super) async fn get(
        &mut self,
        place: &str,
        headers: HeaderMap,
        moved: &Moved,
    ) -> Result<Response<Incoming>, HttpError> {
        let asked = self.ask(Method::GET, place, headers.clone(), (nothing(), moved));
        let answer = asked.await?;
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            return Ok(answer);
        }
        let elsewhere = answer.headers().get(LOCATION);
        let elsewhere = elsewhere
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default();
        if !elsewhere.starts_with("https://") {
            return Err(HttpError::Place(elsewhere.to_owned()));
        }
        let elsewhere = elsewhere.to_owned();
        let asked = self.ask(Method::GET, &elsewhere, headers, (nothing(), moved));
        asked.await
    }

    async fn sender(&mut self, dial: &TlsDial) -> Result<SendRequest<Body>, HttpError> {
        if let Some((address, mut sender)) = self.kept.take()
            && address == dial.address()
            // It may wait for the last answer, of which nobody has read the rest.
            && let Ok(Ok(())) = timeout(Duration::from_millis(100), sender.ready()).await
        {
            return Ok(sender);
        }
        let stream = TokioIo::new(dial.dial().await?);
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(async move {
            // Whoever asked is told by the request.
            drop(connection.await);
        });
        Ok(sender)
    }
}

/// As it was signed, if the URL was: without the port that goes without saying.
fn host(authority: &Authority) -> String {
    match authority.port_u16() {
        Some(port) if port != HTTPS_PORT => format!("{}:{port}", authority.host()),
        Some(_) | None => authority.host().to_owned(),
    }
}

/// The sentence with which a server refuses.
pub(super) async fn sentence(answer: Response<Incoming>, moved: &Moved) -> String {
    let status = answer.status();
    let mut text = Vec::new();
    let mut body = answer.into_body();
    while text.len() < SENTENCE_SIZE_MAX
        && let Ok(Some(Ok(frame))) = moved.within(body.frame()).await
    {
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()));
    }
    text.truncate(SENTENCE_SIZE_MAX);
    let text = String::from_utf8_lossy(&text);
    match text.trim() {
        "" => format!("the server answered {status}"),
        sentence => sentence.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        sync::mpsc,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{
        driver::acceptor,
        server::{Server, Trust},
    };

    async fn ask(place: &str) -> HttpError {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let server = Server {
            // Nobody listens there.
            address: "127.0.0.1:1".to_owned(),
            trust: Trust::CaPem(certificate.pem().into_bytes()),
        };
        let mut http = Http::new(&TlsDial::new(&server).unwrap());
        let (headers, moved) = (HeaderMap::new(), Moved::default());
        let asked = http.ask(Method::GET, place, headers, (nothing(), &moved));
        asked.await.err().unwrap()
    }

    #[test]
    fn the_host_is_named_as_a_signed_url_names_it() {
        for (url, named) in [
            ("https://bucket.example/x", "bucket.example"),
            ("https://bucket.example:443/x", "bucket.example"),
            ("https://bucket.example:9000/x", "bucket.example:9000"),
            ("https://[::1]:9000/x", "[::1]:9000"),
        ] {
            let url: Uri = url.parse().unwrap();
            assert_eq!(host(url.authority().unwrap()), named);
        }
    }

    /// A server that gives these answers, one to each request on a connection of its own,
    /// and agrees on no protocol; and the heads of what it was asked.
    async fn answering(
        acceptor: TlsAcceptor,
        answers: Vec<String>,
    ) -> (String, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut head = vec![0; 4_096];
                let size = stream.read(&mut head).await.unwrap();
                head.truncate(size);
                asked.send(String::from_utf8(head).unwrap()).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        (address, heads)
    }

    /// What is fetched where this server sends who asks, with the heads of both requests.
    async fn sent_on(elsewhere: impl Fn(&str) -> String) -> Result<[String; 3], HttpError> {
        let (pem, acceptor) = acceptor("127.0.0.1", &[]);
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbytes".to_owned();
        let (bucket, mut there) = answering(acceptor.clone(), vec![whole]).await;
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
            elsewhere(&bucket)
        );
        let (address, mut here) = answering(acceptor, vec![answer]).await;
        let server = Server {
            address,
            trust: Trust::CaPem(pem),
        };
        let mut http = Http::new(&TlsDial::new(&server).unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("range", HeaderValue::from_static("bytes=3-"));
        let moved = Moved::default();
        let answer = http.get("/media/files/1?key=2", headers, &moved).await?;
        let text = sentence(answer, &moved).await;
        let (here, there) = (here.recv().await, there.recv().await);
        Ok([here.unwrap(), there.unwrap(), text])
    }

    #[tokio::test]
    async fn who_is_sent_elsewhere_asks_there_for_the_same() {
        let [here, there, text] = sent_on(|bucket| format!("https://{bucket}/x?signed=1"))
            .await
            .unwrap();
        assert!(here.starts_with("GET /media/files/1?key=2 HTTP/1.1\r\n"));
        assert!(there.starts_with("GET /x?signed=1 HTTP/1.1\r\n"), "{there}");
        for head in [here, there] {
            assert!(head.contains("range: bytes=3-\r\n"), "{head}");
        }
        assert_eq!(text, "bytes");
    }

    /// D10.
    #[tokio::test]
    async fn nobody_is_sent_where_others_listen() {
        let refused = sent_on(|bucket| format!("http://{bucket}/x")).await;
        assert!(matches!(refused, Err(HttpError::Place(_))), "{refused:?}");
    }

    /// D10.
    #[tokio::test]
    async fn what_a_server_names_is_asked_over_tls_or_not_at_all() {
        for place in [
            "",
            "x",
            "*",
            "media/files/1",
            "http://127.0.0.1:1/media/files/1",
            "ftp://127.0.0.1:1/x",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://",
            "/media/\r\nhost: elsewhere",
        ] {
            let refused = ask(place).await;
            assert!(matches!(refused, HttpError::Place(_)), "{place}: {refused}");
        }
        for place in ["/media/files/1?key=2", "https://127.0.0.1:1/media/files/1"] {
            let refused = ask(place).await;
            assert!(
                matches!(refused, HttpError::Connect(_)),
                "{place}: {refused}"
            );
        }
    }
}
