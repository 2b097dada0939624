//! Answers over HTTP. A refusal is one sentence of plain text.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};

use crate::{limits::Limited, store::StoreError};

/// What answers consist of.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The version of tus that we speak.
pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const TUS_VERSION: HeaderValue = HeaderValue::from_static("1.0.0");

/// tus: what was sent is not what its checksum says.
pub(super) const CHECKSUM_MISMATCH: u16 = 460;

/// Why a request over HTTP is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("there is nothing here")]
    NotFound,
    #[error("this is not to be done here")]
    Method,
    #[error("a token is needed, and a good one: ask for another over the session")]
    Token,
    #[error("this URL is not good any more, or never was: ask for another over the session")]
    Url,
    #[error("this server speaks tus 1.0.0: say so in Tus-Resumable")]
    Version,
    #[error("{0}")]
    Wrong(&'static str),
    #[error("the body must be application/offset+octet-stream")]
    ContentType,
    #[error("the upload is not at this offset: ask with HEAD where it is")]
    Offset,
    #[error("{0}")]
    TooLarge(&'static str),
    #[error("you have too many uploads that are not whole: finish or end one")]
    TooManyUnfinished,
    #[error("too many uploads at a time: wait for one of them")]
    TooManyAtOnce,
    #[error("this server has too many uploads now: try again")]
    Busy,
    #[error(transparent)]
    Limited(#[from] Limited),
    #[error("what came is not what its checksum says: send it again")]
    Checksum,
    #[error("the part is not in the bucket: put it there, or ask where again")]
    NotPlaced,
    #[error("the bytes that were asked for are not there")]
    Range(u64),
    #[error("the body broke off")]
    Broken,
    #[error("the server cannot store now: try again")]
    Unavailable(String),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Url => StatusCode::FORBIDDEN,
            Self::Version => StatusCode::PRECONDITION_FAILED,
            Self::Wrong(_) | Self::Broken => StatusCode::BAD_REQUEST,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Offset | Self::NotPlaced => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyUnfinished | Self::TooManyAtOnce | Self::Limited(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Checksum => {
                StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST)
            }
            Self::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Busy | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which it may be tried again.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyAtOnce | Self::Busy | Self::Unavailable(_) => Some(2),
            Self::Limited(limited) => Some(limited.after.as_secs().saturating_add(1)),
            Self::NotFound
            | Self::Method
            | Self::Token
            | Self::Url
            | Self::Version
            | Self::Wrong(_)
            | Self::ContentType
            | Self::Offset
            | Self::NotPlaced
            | Self::TooLarge(_)
            | Self::TooManyUnfinished
            | Self::Checksum
            | Self::Range(_)
            | Self::Broken => None,
        }
    }

    pub(super) fn answer(&self) -> Response<Body> {
        if let Self::Unavailable(reason) = self {
            tracing::warn!(%reason, "a request for media could not be answered");
        }
        let mut response = answer(self.status(), format!("{self}\n"));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if matches!(self, Self::Version) {
            headers.insert("tus-version", TUS_VERSION);
        }
        if let Self::Range(size) = self
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{size}"))
        {
            headers.insert("content-range", range);
        }
        response
    }
}

/// An answer with this body.
pub(super) fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    with_body(status, body.boxed_unsync())
}

/// An answer that nobody keeps, unless somebody says otherwise.
pub(super) fn with_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}
