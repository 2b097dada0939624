//! How a connection ends, and what comes after it.

use std::time::Duration;

use magpie_protocol::{
    backoff,
    wire::v1::{self, Action, ErrorCode},
};

use crate::{
    client::Event,
    database::Work,
    error::{DisconnectReason, LocalError},
    model::Refusal,
};

/// The end of a connection.
#[derive(Debug)]
pub(super) enum End {
    /// Connect again, not before `after`.
    Again {
        reason: DisconnectReason,
        after: Duration,
    },
    /// The driver ends, with its last word.
    Stop(Option<Box<Event>>),
}

impl End {
    /// Connect again when the back-off says so.
    pub(super) const fn soon(reason: DisconnectReason) -> Self {
        Self::Again {
            reason,
            after: Duration::ZERO,
        }
    }

    pub(super) fn local(error: &LocalError) -> Self {
        Self::soon(DisconnectReason::Local(error.to_string()))
    }
}

/// A refusal in our words. What the server's code or action is unknown to us is
/// never to be repeated.
pub(crate) fn refusal(code: i32, action: i32, after_ms: u32, message: String) -> Refusal {
    let action = match Action::try_from(action) {
        Ok(Action::Unspecified) | Err(_) => Action::Never,
        Ok(action) => action,
    };
    Refusal {
        code: ErrorCode::try_from(code).unwrap_or_default(),
        action,
        after: Duration::from_millis(after_ms.into()),
        message,
    }
}

pub(super) fn of_error(error: v1::Error) -> Refusal {
    refusal(error.code, error.action, error.after_ms, error.message)
}

/// What a goodbye means: what is to be stored, and how to go on.
pub(super) fn of_goodbye(goodbye: v1::Goodbye) -> (Option<Work>, End) {
    let replaced = goodbye.code() == ErrorCode::Replaced;
    let said = refusal(
        goodbye.code,
        goodbye.action,
        goodbye.after_ms,
        goodbye.message,
    );
    match said.action {
        Action::Never | Action::Unspecified if replaced => {
            (None, End::Stop(Some(Box::new(Event::Replaced))))
        }
        // It can hardly work better at once; but to give up for ever would need
        // a person to notice.
        Action::Never | Action::Unspecified => (
            None,
            End::Again {
                reason: DisconnectReason::Goodbye(said),
                after: backoff::MAX,
            },
        ),
        Action::Retry
        | Action::RetryAfter
        | Action::Reconnect
        | Action::Resync
        | Action::SignIn
        | Action::Upgrade => of_refusal(said, DisconnectReason::Goodbye),
    }
}

/// What a refusal other than "never" means.
pub(super) fn of_refusal(
    refusal: Refusal,
    reason: fn(Refusal) -> DisconnectReason,
) -> (Option<Work>, End) {
    match refusal.action {
        Action::SignIn => (
            Some(Work::SignedOut),
            End::Stop(Some(Box::new(Event::SignedOut { refusal }))),
        ),
        Action::Upgrade => (
            None,
            End::Stop(Some(Box::new(Event::UpgradeRequired { refusal }))),
        ),
        Action::Resync => (Some(Work::ForgetCursor), End::soon(reason(refusal))),
        Action::Retry
        | Action::RetryAfter
        | Action::Reconnect
        | Action::Never
        | Action::Unspecified => {
            let after = refusal.after;
            (
                None,
                End::Again {
                    reason: reason(refusal),
                    after,
                },
            )
        }
    }
}
