//! What FCM answered, and what is to be done:
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode>.

use std::time::Duration;

use serde::Deserialize;

/// How long to slow down if a 429 does not say:
/// <https://firebase.google.com/docs/cloud-messaging/scale-fcm>.
const SLOW_DOWN_AFTER: Duration = Duration::from_secs(60);

/// The longest that an answer may make the server wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// What became of a push, by what is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// FCM has taken it.
    Sent,
    /// The token is dead or never was one: forget it, if it is still the same.
    TokenGone,
    /// Project, account or app do not fit together: keep the token, tell the
    /// operator.
    Misconfigured {
        /// FCM's code.
        code: String,
    },
    /// FCM did not understand the message: a bug here. Keep the token.
    BadMessage {
        /// FCM's words.
        reason: String,
    },
    /// Too many: the whole sender waits.
    SlowDown {
        /// For how long.
        after: Duration,
    },
    /// Perhaps sent, perhaps not: try again, later each time.
    Unavailable {
        /// Not before that, if FCM said so.
        after: Option<Duration>,
        /// For the operator.
        reason: String,
    },
}

impl Outcome {
    /// A name, for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::TokenGone => "token_gone",
            Self::Misconfigured { .. } => "misconfigured",
            Self::BadMessage { .. } => "bad_message",
            Self::SlowDown { .. } => "slow_down",
            Self::Unavailable { .. } => "unavailable",
        }
    }
}

/// The body of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Error,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Error {
    message: String,
    status: String,
    details: Vec<Detail>,
}

/// An `FcmError` has a code, a `google.rpc.BadRequest` has violations.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    #[serde(rename = "errorCode")]
    code: String,
    #[serde(rename = "fieldViolations")]
    violations: Vec<FieldViolation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FieldViolation {
    field: String,
}

impl Error {
    /// FCM's own code, or else that of the interface.
    fn code(&self) -> &str {
        let own = self.details.iter().map(|it| it.code.as_str());
        own.into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or(&self.status)
    }

    /// Whether nothing is wrong but the token. A wrong message names its fields,
    /// a wrong token is told in the text.
    fn is_of_the_token(&self) -> bool {
        let mut fields = self.details.iter().flat_map(|it| &it.violations);
        let is_said = self.message.contains("registration token");
        fields.all(|it| it.field == "message.token") && is_said
    }
}

/// FCM's codes, and those of the interface: what an answer is counted by.
const CODES: [&str; 12] = [
    "INVALID_ARGUMENT",
    "UNREGISTERED",
    "SENDER_ID_MISMATCH",
    "QUOTA_EXCEEDED",
    "UNAVAILABLE",
    "INTERNAL",
    "THIRD_PARTY_AUTH_ERROR",
    "UNSPECIFIED_ERROR",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "RESOURCE_EXHAUSTED",
];

/// The code of an answer that is no success, for metrics.
pub(super) fn code(body: &[u8]) -> &'static str {
    let Body { error } = serde_json::from_slice(body).unwrap_or_default();
    let known = CODES.iter().find(|it| **it == error.code());
    known.copied().unwrap_or("other")
}

/// An answer of FCM, sorted. `retry_after` is the header, in seconds.
pub(super) fn sort(status: u16, retry_after: Option<&str>, body: &[u8]) -> Outcome {
    if status == 200 {
        return Outcome::Sent;
    }
    let Body { error } = serde_json::from_slice(body).unwrap_or_default();
    let retry_after = retry_after
        .and_then(|it| it.trim().parse().ok())
        .map(|secs| Duration::from_secs(secs).min(RETRY_AFTER_MAX));
    let code = match error.code() {
        "" => status.to_string(),
        code => code.to_owned(),
    };
    match (status, code.as_str()) {
        (429, _) | (_, "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED") => Outcome::SlowDown {
            after: retry_after.unwrap_or(SLOW_DOWN_AFTER),
        },
        (404, "UNREGISTERED") => Outcome::TokenGone,
        (400, _) if error.is_of_the_token() => Outcome::TokenGone,
        (400, _) => Outcome::BadMessage {
            reason: error.message,
        },
        // A 404 without the code is a wrong project or address.
        (401 | 403 | 404, _) => Outcome::Misconfigured { code },
        _ => Outcome::Unavailable {
            after: retry_after,
            reason: code,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, code: &str, message: &str, violated: Option<&str>) -> Outcome {
        let mut details = vec![serde_json::json!({ "errorCode": code })];
        details.extend(violated.map(
            |field| serde_json::json!({ "fieldViolations": [{ "field": field, "description": "" }] }),
        ));
        let body = serde_json::json!({
            "error": { "code": status, "message": message, "status": "X", "details": details }
        });
        sort(status, None, body.to_string().as_bytes())
    }

    #[test]
    fn a_dead_token_is_forgotten_and_a_mismatch_is_not() {
        assert_eq!(
            error(404, "UNREGISTERED", "Requested entity was not found.", None),
            Outcome::TokenGone
        );
        for (status, code) in [(403, "SENDER_ID_MISMATCH"), (401, "THIRD_PARTY_AUTH_ERROR")] {
            let code = code.to_owned();
            let outcome = error(status, &code, "", None);
            assert_eq!(outcome, Outcome::Misconfigured { code });
        }
        let nowhere = sort(404, None, b"<html>no such page</html>");
        let code = "404".to_owned();
        assert_eq!(nowhere, Outcome::Misconfigured { code });
    }

    #[test]
    fn a_bad_message_costs_nobody_their_token() {
        let token = "The registration token is not a valid FCM registration token";
        let of_token = error(400, "INVALID_ARGUMENT", token, None);
        assert_eq!(of_token, Outcome::TokenGone);
        let of_message = error(
            400,
            "INVALID_ARGUMENT",
            "Invalid TTL",
            Some("message.android.ttl"),
        );
        assert_eq!(of_message.name(), "bad_message");
        let both = error(400, "INVALID_ARGUMENT", token, Some("message.android.ttl"));
        assert_eq!(both.name(), "bad_message");
        assert_eq!(sort(400, None, b"").name(), "bad_message");
    }

    #[test]
    fn a_429_slows_down_for_as_long_as_it_says_or_a_minute() {
        let after = Duration::from_secs(7);
        assert_eq!(sort(429, Some("7"), b""), Outcome::SlowDown { after });
        let after = SLOW_DOWN_AFTER;
        assert_eq!(sort(429, None, b""), Outcome::SlowDown { after });
        let after = RETRY_AFTER_MAX;
        assert_eq!(
            sort(429, Some("99999999"), b""),
            Outcome::SlowDown { after }
        );
    }

    #[test]
    fn an_answer_is_counted_by_a_code_that_is_known() {
        let of = |code: &str| {
            let detail = serde_json::json!({ "errorCode": code });
            let body = serde_json::json!({ "error": { "status": "X", "details": [detail] } });
            super::code(body.to_string().as_bytes())
        };
        assert_eq!(of("UNREGISTERED"), "UNREGISTERED");
        assert_eq!(of("SOMETHING_NEW"), "other");
        assert_eq!(super::code(b"<html>"), "other");
    }

    #[test]
    fn what_is_unknown_may_pass() {
        let outcome = sort(503, Some("20"), b"");
        let reason = "503".to_owned();
        let after = Some(Duration::from_secs(20));
        assert_eq!(outcome, Outcome::Unavailable { after, reason });
        assert_eq!(sort(500, None, b"").name(), "unavailable");
        assert_eq!(sort(302, None, b"").name(), "unavailable");
    }
}
