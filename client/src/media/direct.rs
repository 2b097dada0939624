//! Parts of a large object, put into the bucket of the server by ourselves: it says where,
//! and counts what came. What does not work that way goes through the server.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, StatusCode,
    header::{CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION},
};
use magpie_protocol::id::MediaId;
use tokio::task::spawn_blocking;

use super::{
    Http,
    http::{Body, Moved, nothing, sentence},
    tus::{self, Halt, Leave},
};

/// Bytes of an object that is worth three requests for each part. Smaller ones are there
/// sooner in one.
pub(super) const OBJECT_SIZE_MIN: u64 = 4 << 20;

/// Bytes of a part: so much is lost by a cut, once.
const PART_SIZE: u64 = 1 << 20;

/// Both who is asked: the server, and its bucket.
pub(super) struct Ways<'a> {
    pub(super) server: &'a mut Http,
    pub(super) bucket: &'a mut Http,
}

/// Puts the next part of an object. How many bytes the server has then.
pub(super) async fn send_part(
    ways: Ways<'_>,
    leave: &Leave,
    (id, path): (MediaId, &Path),
    (offset, size): (u64, u64),
    part_max: u64,
) -> Result<u64, Halt> {
    let count = PART_SIZE.min(part_max).min(size.saturating_sub(offset));
    let (path, wanted) = (path.to_owned(), usize::try_from(count).unwrap_or(0));
    let reading = spawn_blocking(move || tus::read(&path, None, offset, wanted).1);
    let read = reading.await.map_err(|error| never(&error))?;
    let bytes = read.map_err(|error| never(&error))?;
    let checksum = BASE64.encode(digest(&SHA256, &bytes).as_ref());

    let mut headers = tus::headers(leave);
    headers.insert("upload-offset", offset.into());
    headers.insert("magpie-part", count.into());
    headers.insert("upload-checksum", value(&format!("sha256 {checksum}"))?);
    let (place, moved) = (tus::place(leave, id), Moved::default());
    let body = (nothing(), &moved);
    let asked = ways.server.ask(Method::POST, &place, headers, body).await;
    let answer = asked?;
    if answer.status() != StatusCode::CREATED {
        return Err(tus::refused(answer, &moved).await);
    }
    let bucket = answer.headers().get(LOCATION);
    let bucket = bucket.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let bucket = bucket.to_owned();
    put(ways.bucket, &bucket, &checksum, bytes).await?;

    let mut headers = tus::headers_of_bytes(leave, offset);
    headers.insert("magpie-part", count.into());
    headers.insert(CONTENT_LENGTH, 0.into());
    let body = (nothing(), &moved);
    let asked = ways.server.ask(Method::PATCH, &place, headers, body).await;
    let answer = asked?;
    if answer.status() != StatusCode::NO_CONTENT {
        return Err(tus::refused(answer, &moved).await);
    }
    tus::told(&answer)
}

/// Puts these bytes where the server said, which speaks TLS or gets nothing.
async fn put(bucket: &mut Http, url: &str, checksum: &str, bytes: Bytes) -> Result<(), Halt> {
    if !url.starts_with("https://") {
        return Err(Halt::Never("the server named no place over TLS".to_owned()));
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-checksum-sha256", value(checksum)?);
    let moved = Moved::default();
    let body: Body = Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync();
    let asked = bucket.ask(Method::PUT, url, headers, (body, &moved));
    let answer = asked.await?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(Halt::Never(sentence(answer, &moved).await)),
    }
}

fn value(text: &str) -> Result<HeaderValue, Halt> {
    HeaderValue::try_from(text).map_err(|error| never(&error))
}

fn never(error: &dyn std::error::Error) -> Halt {
    Halt::Never(error.to_string())
}
