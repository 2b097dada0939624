//! One HTTP connection: bounded before anybody has said who they are, and closed when
//! nothing moves on it.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use magpie_protocol::id::MediaId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::{
    FILES, Media, UPLOADS,
    replies::{Body, Refused, TUS_RESUMABLE, TUS_VERSION, answer},
};
use crate::clock::within;

/// How often it is looked whether a connection moves.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Bytes that must have moved by then, either way: 1 KiB a second.
const MOVED_MIN: u64 = 30 * 1024;

/// How long a request's head may take, and a new connection may ask for nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head, and of what is read ahead.
const HEAD_SIZE_MAX: u32 = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Requests of one connection at the same time.
const STREAMS_MAX: u32 = 8;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER_MAX: usize = 256 * 1024;

/// How long what is under way may take when the server goes down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// A name that a URL may hold is not longer.
const NAME_SIZE_MAX: usize = 36;

/// Which HTTP a connection speaks, as agreed upon by TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Speaks {
    /// What is agreed upon under this name (RFC 7301).
    #[must_use]
    pub fn of(alpn: &[u8]) -> Option<Self> {
        match alpn {
            b"http/1.1" => Some(Self::Http1),
            b"h2" => Some(Self::Http2),
            _ => None,
        }
    }
}

/// What moves on a connection.
#[derive(Debug, Default)]
struct Meter {
    moved: AtomicU64,
    working: AtomicU32,
    /// Requests whose heads have come since this was asked last.
    begun: AtomicU32,
    /// Requests that are not answered to the end.
    open: AtomicU32,
}

/// A request that is not answered to the end.
struct Open(Arc<Meter>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer, on its way.
struct Answering {
    body: Body,
    _open: Open,
}

impl hyper::body::Body for Answering {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The server works, and the peer can only wait.
pub(super) struct Working(Arc<Meter>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        // Whoever waited for us has not been slow.
        self.0.moved.fetch_add(MOVED_MIN, Ordering::Relaxed);
    }
}

/// Tells a connection that the server works.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Meter>);

impl Pulse {
    pub(super) fn working(&self) -> Working {
        self.0.working.fetch_add(1, Ordering::Relaxed);
        Working(Arc::clone(&self.0))
    }
}

impl Meter {
    /// The head of a request has come.
    fn begin(self: &Arc<Self>) -> Open {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Whether anything was asked for yet.
    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// Whether enough moved since this was asked last, and for the sake of a request: pings
    /// and the like are for none.
    fn has_moved(&self) -> bool {
        let moved = self.moved.swap(0, Ordering::Relaxed);
        let begun = self.begun.swap(0, Ordering::Relaxed);
        let asks = begun > 0 || self.open.load(Ordering::Relaxed) > 0;
        (asks && moved >= MOVED_MIN) || self.working.load(Ordering::Relaxed) > 0
    }

    fn add(&self, count: usize) {
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A stream whose bytes are counted.
struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.meter.add(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.meter.add(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Runs a connection until it is over, too slow, or the server goes down.
macro_rules! run {
    ($connection:expr, $meter:expr, $drain:expr) => {{
        let mut connection = std::pin::pin!($connection);
        let mut is_new = true;
        loop {
            let step = $drain.run_until_cancelled(connection.as_mut());
            let look_after = if is_new { HEAD_TIMEOUT } else { LOOK_EVERY };
            match within(look_after, step).await {
                Some(Some(_over)) => break,
                Some(None) => {
                    connection.as_mut().graceful_shutdown();
                    let _over = within(DRAIN_TIMEOUT, connection).await;
                    break;
                }
                None if is_new && $meter.has_begun() => is_new = false,
                None if !is_new && $meter.has_moved() => {}
                None => {
                    metrics::counter!(crate::metrics::LIMITED, "limit" => "media_rate_min")
                        .increment(1);
                    break;
                }
            }
        }
    }};
}

/// Serves one connection, to its end.
pub async fn serve<S>(stream: S, speaks: Speaks, media: Arc<Media>, drain: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    carry(stream, speaks, drain, move |pulse, request| {
        handle(Arc::clone(&media), pulse, request)
    })
    .await;
}

/// The same with whatever answers.
async fn carry<S, A, F>(stream: S, speaks: Speaks, drain: &CancellationToken, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Pulse, Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let meter = Arc::new(Meter::default());
    let stream = TokioIo::new(Metered {
        stream,
        meter: Arc::clone(&meter),
    });
    let pulse = Pulse(Arc::clone(&meter));
    let service = service_fn(move |request| {
        let open = pulse.0.begin();
        let answering = answer(pulse.clone(), request);
        async move {
            let answer = answering.await;
            Ok::<_, Infallible>(answer.map(|body| Answering { body, _open: open }))
        }
    });
    match speaks {
        Speaks::Http1 => {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEAD_SIZE_MAX as usize);
            run!(builder.serve_connection(stream, service), meter, drain);
        }
        Speaks::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_header_list_size(HEAD_SIZE_MAX)
                .max_concurrent_streams(STREAMS_MAX)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER_MAX);
            run!(builder.serve_connection(stream, service), meter, drain);
        }
    }
}

async fn handle(media: Arc<Media>, pulse: Pulse, request: Request<Incoming>) -> Response<Body> {
    let method = method(&request);
    let answered = route(media, &pulse, method, request).await;
    let mut response = answered.unwrap_or_else(|refused| refused.answer());
    let status = response.status().as_u16().to_string();
    metrics::counter!(crate::metrics::MEDIA_REQUESTS, "status" => status).increment(1);
    response.headers_mut().insert(TUS_RESUMABLE, TUS_VERSION);
    response
}

/// What is to be done: tus lets clients say it in a header that cannot say it otherwise.
fn method<B>(request: &Request<B>) -> Method {
    let said = request.headers().get("x-http-method-override");
    let said = said.and_then(|it| Method::from_bytes(it.as_bytes()).ok());
    match (request.method(), said) {
        (&Method::POST, Some(method)) => method,
        (method, _) => method.clone(),
    }
}

async fn route(
    media: Arc<Media>,
    pulse: &Pulse,
    method: Method,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refused> {
    let path = request.uri().path();
    if let Some(rest) = path.strip_prefix(UPLOADS) {
        return match rest.strip_prefix('/').unwrap_or(rest) {
            "" => media.uploads(&method, &request).await,
            name => {
                let id = name_of(name).ok_or(Refused::NotFound)?;
                media.on_upload(id, &method, pulse, request).await
            }
        };
    }
    if let Some(name) = path.strip_prefix(FILES).and_then(|it| it.strip_prefix('/')) {
        let id = name_of(name).ok_or(Refused::NotFound)?;
        return media.file(id, &method, &request).await;
    }
    Err(Refused::NotFound)
}

fn name_of(text: &str) -> Option<MediaId> {
    (text.len() <= NAME_SIZE_MAX)
        .then(|| text.parse().ok())
        .flatten()
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    answer(status, "")
}

#[cfg(test)]
mod tests;
