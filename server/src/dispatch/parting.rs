//! Goodbyes, and what each means for the client.

use std::time::Duration;

use magpie_protocol::{
    session::{TimedOut, Violation},
    wire::v1::{self, Action, ErrorCode},
};

use crate::limits::Limited;

/// The goodbye to a peer that broke the protocol. Another connection may do
/// better, so the client may come back, but not at once.
#[must_use]
pub fn violated(violation: &Violation, after_ms: u32) -> v1::Goodbye {
    let kind = match violation {
        Violation::Frame(_) => "frame",
        Violation::Link(_) => "link",
        Violation::OutOfPlace { .. } => "out_of_place",
        Violation::WronglyNumbered { .. } => "wrongly_numbered",
        Violation::Hello(_) => "hello",
        Violation::TooManyTries => "too_many_tries",
        Violation::PingFlood => "ping_flood",
    };
    metrics::counter!(crate::metrics::VIOLATIONS, "kind" => kind).increment(1);
    goodbye(
        ErrorCode::Violation,
        Action::Reconnect,
        after_ms,
        &violation.to_string(),
    )
}

/// The goodbye to a peer that was silent for too long.
#[must_use]
pub fn timed_out(reason: &TimedOut) -> v1::Goodbye {
    if *reason == TimedOut::Hello {
        Limited::new("hello_timeout", Duration::ZERO).counted();
    }
    silent(&reason.to_string())
}

/// The goodbye to a peer that acknowledges nothing.
pub(super) fn stalled(timeout: Duration) -> v1::Goodbye {
    Limited::new("ack_timeout", timeout).counted();
    let seconds = timeout.as_secs();
    silent(&format!("nothing acknowledged for {seconds} s"))
}

fn silent(reason: &str) -> v1::Goodbye {
    goodbye(ErrorCode::TimedOut, Action::Reconnect, 0, reason)
}

pub(super) fn goodbye(
    code: ErrorCode,
    action: Action,
    after_ms: u32,
    message: &str,
) -> v1::Goodbye {
    v1::Goodbye {
        code: code.into(),
        action: action.into(),
        after_ms,
        message: message.to_owned(),
    }
}

/// The goodbye to a peer that wants more than it may.
pub(super) fn limited_goodbye(limited: Limited, after_ms: u32) -> v1::Goodbye {
    goodbye(
        ErrorCode::RateLimited,
        Action::Reconnect,
        after_ms,
        &limited.to_string(),
    )
}
