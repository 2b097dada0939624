//! An error as FCM words it:
//! <https://firebase.google.com/docs/cloud-messaging/error-codes>.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// What is answered instead of a message's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Of `google.rpc.Code`.
    pub(crate) canonical: &'static str,
    /// FCM's own, if it has one for this.
    pub(crate) code: Option<&'static str>,
    pub(crate) message: String,
    /// The field that is wrong.
    pub(crate) field: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: u16, canonical: &'static str, code: Option<&'static str>) -> Self {
        Self {
            status,
            canonical,
            code,
            message: "an error that was asked for".to_owned(),
            field: None,
            retry_after: None,
        }
    }

    /// A field of the message is wrong.
    pub(crate) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            message: reason.into(),
            field: Some(field.into()),
            ..Self::new(400, "INVALID_ARGUMENT", Some("INVALID_ARGUMENT"))
        }
    }

    /// The token is none.
    pub(crate) fn not_a_token() -> Self {
        Self {
            message: "The registration token is not a valid FCM registration token".to_owned(),
            ..Self::new(400, "INVALID_ARGUMENT", Some("INVALID_ARGUMENT"))
        }
    }

    /// The access token is none, or has ended.
    pub(crate) fn unauthenticated() -> Self {
        Self {
            message: "Request had invalid authentication credentials.".to_owned(),
            ..Self::new(401, "UNAUTHENTICATED", None)
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut details = Vec::new();
        if let Some(code) = self.code {
            let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
            details.push(json!({ "@type": kind, "errorCode": code }));
        }
        if let Some(field) = &self.field {
            let kind = "type.googleapis.com/google.rpc.BadRequest";
            let violation = json!({ "field": field, "description": self.message });
            details.push(json!({ "@type": kind, "fieldViolations": [violation] }));
        }
        let body = json!({
            "error": {
                "code": self.status,
                "message": self.message,
                "status": self.canonical,
                "details": details,
            }
        });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        let mut response = (status, Json(body)).into_response();
        if let Some(after) = self.retry_after {
            let value = HeaderValue::from(after.as_secs());
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        response
    }
}
