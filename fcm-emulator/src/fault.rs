//! What is to fail.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse as _, Response},
};
use http_body::Frame;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// Which requests fail.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Sends.
    #[default]
    Send,
    /// Requests for an access token.
    Token,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FaultKind {
    /// 400, with a field.
    InvalidArgument,
    /// 404.
    Unregistered,
    /// 403.
    SenderIdMismatch,
    /// 429.
    QuotaExceeded,
    /// 503.
    Unavailable,
    /// 500.
    Internal,
    /// 401, of the app's credentials for Apple or the web.
    ThirdPartyAuthError,
    /// 401, of the access token.
    Unauthenticated,
    /// The stream is reset in the middle of the answer.
    Reset,
    /// Nothing but the delay.
    Slow,
}

/// Something that fails for a while.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// Which requests.
    #[serde(default)]
    pub target: Target,
    /// How.
    pub kind: FaultKind,
    /// How many of them; all, if it is not given.
    #[serde(default)]
    pub count: Option<u32>,
    /// What the answer asks for, in seconds.
    #[serde(default)]
    pub retry_after_secs: Option<u64>,
    /// How long the answer takes.
    #[serde(default)]
    pub delay_ms: u64,
    /// The push was taken all the same: only its answer is lost.
    #[serde(default)]
    pub after_effect: bool,
}

impl Fault {
    /// All sends fail like this.
    #[must_use]
    pub const fn all(kind: FaultKind) -> Self {
        Self {
            target: Target::Send,
            kind,
            count: None,
            retry_after_secs: None,
            delay_ms: 0,
            after_effect: false,
        }
    }

    /// The next sends fail like this.
    #[must_use]
    pub const fn next(kind: FaultKind, count: u32) -> Self {
        Self {
            count: Some(count),
            ..Self::all(kind)
        }
    }

    /// The answer; `None` if it only takes its time.
    pub(crate) fn answer(&self) -> Option<Response> {
        let fcm = |status, canonical, code| Refusal::new(status, canonical, Some(code));
        let refusal = match self.kind {
            FaultKind::InvalidArgument => Refusal::field("message.android.ttl", "Invalid TTL"),
            FaultKind::Unregistered => fcm(404, "NOT_FOUND", "UNREGISTERED"),
            FaultKind::SenderIdMismatch => fcm(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            FaultKind::QuotaExceeded => fcm(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
            FaultKind::Unavailable => fcm(503, "UNAVAILABLE", "UNAVAILABLE"),
            FaultKind::Internal => fcm(500, "INTERNAL", "INTERNAL"),
            FaultKind::ThirdPartyAuthError => fcm(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
            FaultKind::Unauthenticated => Refusal::unauthenticated(),
            FaultKind::Reset => return Some(Body::new(Broken).into_response()),
            FaultKind::Slow => return None,
        };
        let refusal = Refusal {
            retry_after: self.retry_after_secs.map(Duration::from_secs),
            ..refusal
        };
        Some(refusal.into_response())
    }
}

/// A body that breaks off.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
