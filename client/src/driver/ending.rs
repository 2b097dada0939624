//! How a connection ends, and what comes after it.

use std::time::Duration;

use magpie_protocol::{
    backoff,
    wire::v1::{self, Action, ErrorCode},
};
use tokio::time::Instant;

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
    /// Another connection of the same device took over.
    Replaced(Refusal),
    /// The driver ends, with its last word.
    Stop(Option<Box<Event>>),
}

/// How long to stay away after another connection took over, before jitter; the
/// jitter is at most as long.
const REPLACED_DELAY: Duration = Duration::from_secs(20);

/// Who is replaced again so soon after coming back stays away.
const REPLACED_AGAIN_MAX: Duration = Duration::from_mins(2);

/// When this device was replaced and came back.
///
/// The home's lock keeps a second process out, so what took over is mostly a
/// ghost: an old hello of this device that the network delivered late. A copy of
/// the home elsewhere takes over again and again; of the two, one must give way.
#[derive(Debug, Default)]
pub(super) struct Replacements {
    is_away: bool,
    came_back_at: Option<Instant>,
}

impl Replacements {
    /// There is a connection.
    pub(super) fn connected(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_away) {
            self.came_back_at = Some(now);
        }
    }

    /// It was replaced: how long to stay away; `None`: for good. `random` is
    /// uniform in 0..=`u32::MAX`.
    pub(super) fn replaced(&mut self, now: Instant, random: u32) -> Option<Duration> {
        let is_again = self
            .came_back_at
            .is_some_and(|at| now.saturating_duration_since(at) < REPLACED_AGAIN_MAX);
        if is_again {
            return None;
        }
        self.is_away = true;
        let jitter = REPLACED_DELAY.mul_f64(f64::from(random) / f64::from(u32::MAX));
        Some(REPLACED_DELAY + jitter)
    }
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
        Action::Never | Action::Unspecified if replaced => (None, End::Replaced(said)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_replaced_soon_after_coming_back_stays_away() {
        let mut replacements = Replacements::default();
        let start = Instant::now();
        replacements.connected(start);
        let short = replacements.replaced(start, 0);
        assert_eq!(short, Some(Duration::from_secs(20)));

        let back_at = start + Duration::from_secs(20);
        replacements.connected(back_at);
        // Neither a connection lost in between nor the next one counts as coming back.
        replacements.connected(back_at + Duration::from_mins(1));
        let long = replacements.replaced(back_at + REPLACED_AGAIN_MAX, u32::MAX);
        assert_eq!(long, Some(Duration::from_secs(40)));

        let back_at = back_at + Duration::from_mins(3);
        replacements.connected(back_at);
        let soon = back_at + REPLACED_AGAIN_MAX - Duration::from_millis(1);
        assert_eq!(replacements.replaced(soon, 0), None);
    }
}
