//! A bucket of S3, or of what speaks like it: how it is opened and tried, and what is said
//! to it by URLs that we sign.
//!
//! A blob is put in one request, streamed from the parts of its upload: it is there as a
//! whole or not at all, so there is nothing half-made to be found and ended later, and no
//! more of it in memory than a few parts.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{TryStreamExt as _, stream};
use hyper::{
    Method,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue},
};
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::{SignedUrlOptions, Signer as _, Url},
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::depot::broken;
use crate::{
    clock::within,
    config::{Access, Bucket},
};

/// How long it may take to be connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the answer to a request may take; all but whole blobs are small.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a bucket may take nothing of a blob that is being put.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// S3 closes what was idle for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Tries are few: who uploads is told to come back, and goes on where it was.
const RETRIES_MAX: usize = 2;
const RETRIES_WITHIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long the URLs are good with which we put.
const PUT_VALIDITY: Duration = Duration::from_secs(300);

/// The bucket compares what comes with it (S3's own name).
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");

/// Parts of a blob that wait to be sent.
const PIECES_MAX: usize = 1;

/// Bytes of a refusal that are read.
const REFUSAL_SIZE_MAX: usize = 4 * 1024;

/// What each server writes when it starts, to see whether it can.
const SIGN: &str = "magpie.txt";
const SIGN_TEXT: &[u8] = b"Photos and files of Magpie are kept here: docs/media.md.\n";

/// Nothing has this name.
const NOTHING: &str = "uploads/nothing";

/// A bucket, opened.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    store: Arc<AmazonS3>,
    http: reqwest::Client,
    prefix: Arc<str>,
    is_presigned: bool,
    /// It refuses what is not what its checksum says.
    compares: bool,
}

impl Remote {
    /// Opens a bucket and tries all that will be done with it. Why it is of no use is a
    /// sentence.
    pub(super) async fn open(
        bucket: &Bucket,
        access: &Access,
        is_presigned: bool,
    ) -> Result<Self, String> {
        let mut remote = Self::new(bucket, access, is_presigned)?;
        remote.check(bucket).await?;
        remote.compares = is_presigned && remote.refuses_other_bytes().await;
        if is_presigned && !remote.compares {
            tracing::warn!(
                "the bucket does not compare what comes with x-amz-checksum-sha256: what is \
                 uploaded passes this server"
            );
        }
        Ok(remote)
    }

    fn new(bucket: &Bucket, access: &Access, is_presigned: bool) -> Result<Self, String> {
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(ANSWER_TIMEOUT)
            .with_pool_idle_timeout(IDLE_TIMEOUT);
        let retry = RetryConfig {
            backoff: BackoffConfig {
                max_backoff: PAUSE_MAX,
                ..BackoffConfig::default()
            },
            max_retries: RETRIES_MAX,
            retry_timeout: RETRIES_WITHIN,
        };
        let mut builder = AmazonS3Builder::new()
            .with_client_options(options)
            .with_retry(retry)
            .with_bucket_name(&bucket.name);
        for (key, text) in &access.0 {
            builder = builder.with_config(*key, text.reveal());
        }
        let store = builder.build().map_err(|error| error.to_string())?;
        let http = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build();
        Ok(Self {
            store: Arc::new(store),
            http: http.map_err(|error| error.to_string())?,
            prefix: bucket.prefix.as_str().into(),
            is_presigned,
            compares: false,
        })
    }

    pub(super) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store) as _
    }

    /// With what all names begin.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whoever fetches something is sent to the bucket.
    pub(super) const fn is_presigned(&self) -> bool {
        self.is_presigned
    }

    /// Clients may put parts of uploads into it.
    pub(super) const fn takes_parts(&self) -> bool {
        self.is_presigned && self.compares
    }

    /// Writes, reads, lists and deletes. What it leaves is the same for every server and
    /// every start.
    async fn check(&self, bucket: &Bucket) -> Result<(), String> {
        let (sign, nothing) = (self.path(SIGN), self.path(NOTHING));
        if let Err(error) = self.put_sign(None).await {
            let is_absent = error.kind() == io::ErrorKind::NotFound;
            return Err(match is_absent {
                true => format!("there is no bucket {}", bucket.name),
                false => format!("it cannot be written to: {error}"),
            });
        }
        let read = match self.store.get(&sign).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        let read = read.map_err(|error| format!("it cannot be read: {}", broken(error)))?;
        if read != SIGN_TEXT {
            return Err(format!(
                "what was written to {SIGN} is not what is read there"
            ));
        }
        let listed = self.store.list(Some(&nothing)).try_next().await;
        listed.map_err(|error| format!("what is in it cannot be listed: {}", broken(error)))?;
        match self.store.delete(&nothing).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(format!("nothing can be deleted from it: {}", broken(error))),
        }
    }

    fn path(&self, below: &str) -> Path {
        Path::from(format!("{}{below}", self.prefix))
    }

    async fn put_sign(&self, sha256: Option<&[u8; 32]>) -> io::Result<()> {
        let (path, size) = (self.path(SIGN), SIGN_TEXT.len() as u64);
        let mut putting = self.put(&path, size, sha256).await?;
        putting.write(Bytes::from_static(SIGN_TEXT)).await?;
        putting.finish().await
    }

    /// Puts what is not what its checksum says.
    async fn refuses_other_bytes(&self) -> bool {
        let put = self.put_sign(Some(&[0; 32])).await;
        put.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput)
    }

    /// Where whoever has this URL gets an object from.
    pub(super) async fn presign(
        &self,
        path: &Path,
        content_type: &str,
        valid: Duration,
    ) -> io::Result<String> {
        let options = SignedUrlOptions::default().with_query([
            ("response-content-type", content_type),
            ("response-content-disposition", "attachment"),
        ]);
        let signed = self
            .store
            .signed_url_opts(Method::GET, path, valid, &options);
        Ok(signed.await.map_err(broken)?.into())
    }

    /// Where whoever has this URL may put an object: with this SHA-256, which must be said
    /// in the header, if there is one.
    pub(super) async fn presign_put(
        &self,
        path: &Path,
        sha256: Option<&[u8; 32]>,
        valid: Duration,
    ) -> io::Result<Url> {
        let mut options = SignedUrlOptions::default();
        if let Some(sha256) = sha256 {
            options = options.with_signed_header(CHECKSUM, checksum(sha256)?);
        }
        let signed = self
            .store
            .signed_url_opts(Method::PUT, path, valid, &options);
        signed.await.map_err(broken)
    }

    /// Begins to put an object of so many bytes, which are to be these, if that is known.
    pub(super) async fn put(
        &self,
        path: &Path,
        size: u64,
        sha256: Option<&[u8; 32]>,
    ) -> io::Result<Putting> {
        let url = self.presign_put(path, sha256, PUT_VALIDITY).await?;
        let (pieces, waiting) = mpsc::channel::<Bytes>(PIECES_MAX);
        let body = stream::unfold(waiting, |mut waiting| async {
            let piece = waiting.recv().await?;
            Some((Ok::<_, io::Error>(piece), waiting))
        });
        let mut request = self
            .http
            .put(url)
            .header(CONTENT_LENGTH, size)
            .body(reqwest::Body::wrap_stream(body));
        if let Some(sha256) = sha256 {
            request = request.header(CHECKSUM, checksum(sha256)?);
        }
        Ok(Putting {
            pieces: Some(pieces),
            answer: tokio::spawn(answered(request)),
        })
    }
}

fn checksum(sha256: &[u8; 32]) -> io::Result<HeaderValue> {
    HeaderValue::try_from(BASE64.encode(sha256)).map_err(io::Error::other)
}

/// An object that is being put. Dropped before it is whole, it never is there.
pub(super) struct Putting {
    pieces: Option<mpsc::Sender<Bytes>>,
    answer: JoinHandle<io::Result<()>>,
}

impl Putting {
    /// Sends on.
    pub(super) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let Some(pieces) = &self.pieces else {
            return self.answer().await;
        };
        match within(STALL_TIMEOUT, pieces.send(bytes)).await {
            Some(Ok(())) => Ok(()),
            // It has been answered already.
            Some(Err(_)) => match self.answer().await {
                Ok(()) => Err(io::Error::other("the bucket answered before all was sent")),
                refused => refused,
            },
            None => Err(stalled()),
        }
    }

    /// All has been sent. It is there when this returns.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.pieces = None;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<()> {
        let answered = within(STALL_TIMEOUT, &mut self.answer).await;
        answered.ok_or_else(stalled)?.map_err(io::Error::other)?
    }
}

impl Drop for Putting {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

fn stalled() -> io::Error {
    let seconds = STALL_TIMEOUT.as_secs();
    io::Error::other(format!("the bucket did not take anything for {seconds} s"))
}

/// What became of a request. Its URL stands in no error: whoever has it may do the same.
async fn answered(request: reqwest::RequestBuilder) -> io::Result<()> {
    let answer = request.send().await;
    let mut answer = answer.map_err(|error| unreachable(error.without_url()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let mut text = Vec::new();
    while text.len() < REFUSAL_SIZE_MAX
        && let Ok(Some(piece)) = answer.chunk().await
    {
        text.extend_from_slice(&piece);
    }
    let kind = match status.as_u16() {
        400 => io::ErrorKind::InvalidInput,
        404 => io::ErrorKind::NotFound,
        403 => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    let text = String::from_utf8_lossy(&text);
    let code = code(&text).unwrap_or_default();
    Err(io::Error::new(
        kind,
        format!("the bucket answers {status} {code}").trim_end(),
    ))
}

/// With what it was about.
fn unreachable(error: reqwest::Error) -> io::Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    io::Error::other(text)
}

/// S3's word for why it refuses.
fn code(refusal: &str) -> Option<&str> {
    let (_, rest) = refusal.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    code.bytes()
        .all(|it| it.is_ascii_alphanumeric())
        .then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_refusal_is_found_and_nothing_else_of_it() {
        let refusal = "<Error><Code>AccessDenied</Code><Message>key</Message></Error>";
        assert_eq!(code(refusal), Some("AccessDenied"));
        for other in ["", "<Code>", "<Code>a b</Code>", "<html>"] {
            assert_eq!(code(other), None, "{other}");
        }
    }
}
