//! What is stored, to whoever has its URL.

use std::{io, ops::Range, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Frame,
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
    },
};
use magpie_protocol::id::MediaId;

use super::{
    Media,
    depot::Depot,
    http::empty,
    replies::{Body, Refused, with_body},
};
use crate::store::StoredMedia;

/// Bytes that are read at once.
const READ_SIZE: u64 = 256 * 1024;

/// How long a URL of the bucket is good. Whoever is sent there asks at once.
const PRESIGNED_VALIDITY: Duration = Duration::from_secs(120);

impl Media {
    /// Answers with all or a part of what is stored.
    pub(super) async fn file<B>(
        &self,
        id: MediaId,
        method: &Method,
        request: &Request<B>,
    ) -> Result<Response<Body>, Refused> {
        if ![Method::GET, Method::HEAD].contains(method) {
            return Err(Refused::Method);
        }
        let now_ms = self.parts.clock.wall_ms();
        let expires_at_ms = self
            .admitted_until(id, request.uri().query().unwrap_or_default())
            .filter(|expires_at_ms| now_ms < *expires_at_ms)
            .ok_or(Refused::Url)?;
        let stored = self.parts.store.stored_media(id).await?;
        let stored = stored.ok_or(Refused::NotFound)?;
        let etag = format!("\"{id}\"");
        let headers = request.headers();
        let range = match is_for(headers, IF_RANGE.as_str(), &etag).unwrap_or(true) {
            true => range(headers, stored.size)?,
            false => None,
        };
        let is_known = is_for(headers, IF_NONE_MATCH.as_str(), &etag).unwrap_or(false);
        if *method == Method::GET
            && !is_known
            && let Some(elsewhere) = self.elsewhere(&stored, expires_at_ms - now_ms).await?
        {
            return Ok(elsewhere);
        }
        let mut response = match &range {
            _ if is_known => empty(StatusCode::NOT_MODIFIED),
            _ if *method == Method::HEAD => empty(StatusCode::OK),
            None => {
                let body = read(self.depot.clone(), stored.blob, 0..stored.size);
                with_body(StatusCode::OK, body)
            }
            Some(range) => {
                let body = read(self.depot.clone(), stored.blob, range.clone());
                with_body(StatusCode::PARTIAL_CONTENT, body)
            }
        };
        let headers = response.headers_mut();
        put(headers, ETAG.as_str(), &etag);
        let age = expires_at_ms.saturating_sub(now_ms) / 1_000;
        let cache = format!("public, max-age={age}, immutable");
        put(headers, CACHE_CONTROL.as_str(), &cache);
        if is_known {
            return Ok(response);
        }
        put(headers, CONTENT_TYPE.as_str(), &stored.content_type);
        put(headers, CONTENT_DISPOSITION.as_str(), "attachment");
        put(
            headers,
            "content-security-policy",
            "default-src 'none'; sandbox",
        );
        put(headers, ACCEPT_RANGES.as_str(), "bytes");
        let range = range.filter(|_| *method == Method::GET);
        let length = range.as_ref().map_or(stored.size, |it| it.end - it.start);
        headers.insert(CONTENT_LENGTH, length.into());
        if let Some(Range { start, end }) = range {
            let of = format!("bytes {start}-{}/{}", end.saturating_sub(1), stored.size);
            put(headers, CONTENT_RANGE.as_str(), &of);
        }
        Ok(response)
    }

    /// Sends whoever asks to the bucket, if that is wanted.
    async fn elsewhere(
        &self,
        stored: &StoredMedia,
        left_ms: i64,
    ) -> Result<Option<Response<Body>>, Refused> {
        let left = Duration::from_millis(left_ms.unsigned_abs());
        let valid = left.clamp(Duration::from_secs(1), PRESIGNED_VALIDITY);
        let (blob, content_type) = (stored.blob, &stored.content_type);
        let presigned = self.depot.presign_blob(blob, content_type, valid).await?;
        Ok(presigned.map(|url| {
            let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
            put(response.headers_mut(), LOCATION.as_str(), &url);
            response
        }))
    }

    /// Until when a URL with this query is good, if we made it.
    fn admitted_until(&self, id: MediaId, query: &str) -> Option<i64> {
        let (expires, key) = query.split_once('&')?;
        let expires_at_ms = expires.strip_prefix("expires=")?.parse().ok()?;
        let key = key.strip_prefix("key=")?.as_bytes();
        self.key
            .is_url_key(id, expires_at_ms, key)
            .then_some(expires_at_ms)
    }
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// Whether a condition names this tag; `None` without a condition.
fn is_for(headers: &HeaderMap, name: &str, etag: &str) -> Option<bool> {
    let said = headers.get(name)?.to_str().unwrap_or_default();
    let mut tags = said.split(',').map(str::trim);
    Some(tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag))
}

/// The one range that is asked for; `None` for all. Several are more work for us than
/// for who asks.
fn range(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>, Refused> {
    let Some(said) = headers.get(RANGE) else {
        return Ok(None);
    };
    let said = said.to_str().unwrap_or_default();
    let Some(said) = said.strip_prefix("bytes=") else {
        return Ok(None);
    };
    parse(said, size).map(Some).ok_or(Refused::Range(size))
}

fn parse(said: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = said.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (start, end) = match (first.trim(), last.trim()) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (first, "") => (number(first)?, size),
        (first, last) => (number(first)?, number(last)?.saturating_add(1).min(size)),
    };
    (start < end).then_some(start..end)
}

/// Reads while somebody takes it.
fn read(depot: Depot, blob: [u8; 16], range: Range<u64>) -> Body {
    let pieces = stream::unfold(Some(range), move |left| {
        let depot = depot.clone();
        async move {
            let left = left.filter(|left| !left.is_empty())?;
            let end = left.start.saturating_add(READ_SIZE).min(left.end);
            let read = depot.get_blob(blob, left.start..end).await;
            let next = read.is_ok().then_some(end..left.end);
            let frame = read.map(|bytes: Bytes| {
                metrics::counter!(crate::metrics::MEDIA_BYTES_SENT).increment(bytes.len() as u64);
                Frame::data(bytes)
            });
            Some((frame, next))
        }
    });
    StreamBody::new(pieces)
        .map_err(|error: io::Error| {
            tracing::warn!(%error, "a stored object cannot be read");
            error
        })
        .boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_no_other() {
        let cases = [
            ("0-", Some(0..10)),
            ("0-0", Some(0..1)),
            ("3-5", Some(3..6)),
            ("3-99", Some(3..10)),
            ("-4", Some(6..10)),
            ("-99", Some(0..10)),
            ("10-", None),
            ("5-3", None),
            ("-0", None),
            ("-", None),
            ("", None),
            ("a-b", None),
            ("0-1,3-4", None),
            ("0-18446744073709551615", Some(0..10)),
            ("99999999999999999999-", None),
        ];
        for (said, range) in cases {
            assert_eq!(parse(said, 10), range, "{said:?}");
        }
    }
}
