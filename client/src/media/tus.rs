//! One object to the server, by tus 1.0: begun once, and gone on with where it broke off.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http_body_util::BodyExt as _;
use hyper::{
    Method, Response, StatusCode,
    body::{Frame, Incoming, SizeHint},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
};
use magpie_protocol::id::MediaId;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    Http, Object,
    http::{HttpError, Moved, nothing, sentence},
};

/// Bytes read from the file at once.
const CHUNK: usize = 64 * 1024;

const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const OFFSET_STREAM: HeaderValue = HeaderValue::from_static("application/offset+octet-stream");
const PART_MAX: &str = "magpie-part-max";
const CHECKSUM_MISMATCH: u16 = 460;

/// With what uploads are begun.
#[derive(Clone, Debug)]
pub(super) struct Leave {
    /// Where.
    pub(super) url: String,
    /// With which token.
    pub(super) token: HeaderValue,
}

/// Why it did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// Worth another try, after this long at least.
    #[error("{0}")]
    Later(String, Duration),
    /// The token is not good any more.
    #[error("the token is not good any more")]
    Token,
    /// The server knows nothing of it (any more).
    #[error("the server has it no more")]
    Gone,
    /// No try helps.
    #[error("{0}")]
    Never(String),
}

impl From<HttpError> for Halt {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Place(_) => Self::Never(error.to_string()),
            HttpError::Connect(_) | HttpError::Broken(_) | HttpError::Stalled => {
                Self::Later(error.to_string(), Duration::ZERO)
            }
        }
    }
}

/// How an upload is, as the server says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Bytes that it has.
    pub(super) offset: u64,
    /// Bytes of a part that may be put into its bucket, if any may.
    pub(super) part_max: Option<u64>,
}

/// Begins an upload. The server's name of it, and how it is.
pub(super) async fn begin(
    http: &mut Http,
    leave: &Leave,
    object: &Object,
) -> Result<(MediaId, Told), Halt> {
    let mut headers = headers(leave);
    headers.insert("upload-length", object.size.into());
    let sha256 = HEXLOWER.encode(&object.sha256);
    let metadata = format!("sha256 {}", BASE64.encode(sha256.as_bytes()));
    if let Ok(metadata) = HeaderValue::try_from(metadata) {
        headers.insert("upload-metadata", metadata);
    }
    let moved = Moved::default();
    let asked = http.ask(Method::POST, &leave.url, headers, (nothing(), &moved));
    let answer = asked.await?;
    if answer.status() != StatusCode::CREATED {
        return Err(refused(answer, &moved).await);
    }
    let location = answer.headers().get(LOCATION);
    let location = location.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let name = location.rsplit('/').next().unwrap_or_default();
    let named = name
        .parse()
        .map_err(|_| Halt::Never("the server has begun an upload without a name".to_owned()))?;
    let told = Told {
        offset: 0,
        part_max: number(&answer, PART_MAX),
    };
    Ok((named, told))
}

/// How an upload is.
pub(super) async fn ask(http: &mut Http, leave: &Leave, id: MediaId) -> Result<Told, Halt> {
    let moved = Moved::default();
    let place = place(leave, id);
    let asked = http.ask(Method::HEAD, &place, headers(leave), (nothing(), &moved));
    let answer = asked.await?;
    if !answer.status().is_success() {
        return Err(refused(answer, &moved).await);
    }
    Ok(Told {
        offset: told(&answer)?,
        part_max: number(&answer, PART_MAX),
    })
}

/// Sends what follows `offset`. How many bytes the server has then.
pub(super) async fn send(
    http: &mut Http,
    leave: &Leave,
    (id, path): (MediaId, &Path),
    (offset, size): (u64, u64),
    progress: impl Fn(u64) + Send + 'static,
) -> Result<u64, Halt> {
    let headers = headers_of_bytes(leave, offset);
    let moved = Moved::default();
    let mut file = FileBody::new(path.to_owned(), (offset, size), moved.clone());
    file.progress = Box::new(progress);
    let place = place(leave, id);
    let body = (file.boxed_unsync(), &moved);
    let answer = http.ask(Method::PATCH, &place, headers, body).await?;
    if answer.status() != StatusCode::NO_CONTENT {
        return Err(refused(answer, &moved).await);
    }
    told(&answer)
}

pub(super) fn headers_of_bytes(leave: &Leave, offset: u64) -> HeaderMap {
    let mut headers = headers(leave);
    headers.insert(CONTENT_TYPE, OFFSET_STREAM);
    headers.insert("upload-offset", offset.into());
    headers
}

pub(super) fn headers(leave: &Leave) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("tus-resumable", VERSION);
    headers.insert(AUTHORIZATION, leave.token.clone());
    headers
}

pub(super) fn place(leave: &Leave, id: MediaId) -> String {
    format!("{}/{id}", leave.url.trim_end_matches('/'))
}

fn number(answer: &Response<Incoming>, name: &str) -> Option<u64> {
    answer.headers().get(name)?.to_str().ok()?.parse().ok()
}

pub(super) fn told(answer: &Response<Incoming>) -> Result<u64, Halt> {
    let told = number(answer, "upload-offset");
    told.ok_or_else(|| Halt::Never("the server does not say how far the upload is".to_owned()))
}

pub(super) async fn refused(answer: Response<Incoming>, moved: &Moved) -> Halt {
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER);
    let after = after.and_then(|it| it.to_str().ok()?.parse().ok());
    let after = Duration::from_secs(after.unwrap_or(0));
    let sentence = sentence(answer, moved).await;
    match status {
        StatusCode::UNAUTHORIZED => Halt::Token,
        StatusCode::NOT_FOUND | StatusCode::GONE => Halt::Gone,
        // Somebody else sends it too, and has come further.
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Halt::Later(sentence, after)
        }
        // What the whole was to be is not what came: the server has thrown it away.
        _ if status.as_u16() == CHECKSUM_MISMATCH => Halt::Gone,
        _ if status.is_server_error() => Halt::Later(sentence, after),
        _ => Halt::Never(sentence),
    }
}

pub(super) type ReadChunk = (Option<File>, io::Result<Bytes>);

/// The rest of a file, read as it is sent.
struct FileBody {
    path: PathBuf,
    file: Option<File>,
    at: u64,
    end: u64,
    reading: Option<JoinHandle<ReadChunk>>,
    moved: Moved,
    progress: Box<dyn Fn(u64) + Send>,
}

impl FileBody {
    fn new(path: PathBuf, (at, end): (u64, u64), moved: Moved) -> Self {
        Self {
            path,
            file: None,
            at,
            end,
            reading: None,
            moved,
            progress: Box::new(|_| {}),
        }
    }
}

pub(super) fn read(path: &Path, file: Option<File>, at: u64, size: usize) -> ReadChunk {
    let open = || -> io::Result<File> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(file)
    };
    let opened = match file {
        Some(file) => Ok(file),
        None => open(),
    };
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return (None, Err(error)),
    };
    let mut chunk = vec![0; size];
    let read = file.read_exact(&mut chunk);
    (Some(file), read.map(|()| chunk.into()))
}

impl hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        // Who asks for more has sent what was given.
        (self.progress)(self.at);
        if self.reading.is_none() {
            let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            if left == 0 {
                return Poll::Ready(None);
            }
            let (path, file, at) = (self.path.clone(), self.file.take(), self.at);
            let size = left.min(CHUNK);
            self.reading = Some(spawn_blocking(move || read(&path, file, at, size)));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(None);
        };
        let done = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let (file, chunk) = done.map_err(io::Error::other)?;
        self.file = file;
        let chunk = chunk?;
        self.at += chunk.len() as u64;
        self.moved.add(chunk.len());
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end.saturating_sub(self.at))
    }
}
