//! Whether a device is owed a wake: the only place that says so.

use std::time::Duration;

use magpie_protocol::setting::NotifyLevel;

use crate::store::{Addressed, Attachment, Candidate, DEADLINE_MS_MAX, WorthyEvent};

/// How much longer a device is given while its user follows the conversation on
/// another one.
const COMPANY_MS: i64 = 10_000;

/// How long a device that was woken, and came, is given until its answer is
/// written down.
const ANSWER_MS: i64 = 3_000;

/// How often it is looked for the answer.
const ANSWER_LOOK_MS: i64 = 250;

// The store takes what is older than this for what nobody will confirm any more.
const _: () = assert!(COMPANY_MS < DEADLINE_MS_MAX);

/// How long devices have to confirm an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    /// If somebody looks at the app.
    pub foreground: Duration,
    /// If the app is connected in the background.
    pub background: Duration,
}

/// Whether a device is woken for an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// Now.
    Owed,
    /// Not before this time of day; then it may have confirmed.
    NotYet {
        /// Milliseconds since 1970.
        at_ms: i64,
    },
    /// Never for this event.
    Not,
    /// Never, because its user wants none for it.
    Muted,
}

/// Decides. Whom the message is meant for in particular must be known if the user wants
/// nothing else. The socket being open is no reason not to: only what the device has
/// confirmed is.
pub(super) fn decide(
    (event, addressed): (&WorthyEvent, Option<&Addressed>),
    device: &Candidate,
    deadlines: &Deadlines,
    now_ms: i64,
) -> Decision {
    let is_own = event.sender == device.user;
    let is_seen = device.cursor >= event.position;
    let may_read = device.from_seq <= event.seq;
    if is_own || is_seen || !may_read {
        return Decision::Not;
    }
    // As it is set now, not as it was when the message came.
    let is_muted = match device.level {
        NotifyLevel::All => false,
        NotifyLevel::Mentions => !addressed.is_some_and(|it| it.is_for(device.user)),
        NotifyLevel::None => true,
    };
    // Who lets friends alone write is woken for being asked, and not for what is said.
    let is_request = device.is_request && event.is_message;
    if is_muted || is_request {
        return Decision::Muted;
    }
    // Unanswered, its wake stands for this event too; answered, it does not.
    if device.is_woken {
        let is_over = now_ms >= event.committed_at_ms.saturating_add(ANSWER_MS);
        let at_ms = now_ms.saturating_add(ANSWER_LOOK_MS);
        return if is_over {
            Decision::Not
        } else {
            Decision::NotYet { at_ms }
        };
    }
    let deadline = match device.attachment {
        Attachment::Away => Duration::ZERO,
        Attachment::Background => deadlines.background,
        Attachment::Foreground => deadlines.foreground,
    };
    // Whoever had read all before it, with another device in hand, will read it.
    let follows = device.has_company && device.read_seq.next() >= event.seq;
    let company_ms = if follows { COMPANY_MS } else { 0 };
    let deadline_ms = i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX);
    let at_ms = event
        .committed_at_ms
        .saturating_add(deadline_ms)
        .saturating_add(company_ms);
    if now_ms < at_ms {
        return Decision::NotYet { at_ms };
    }
    Decision::Owed
}

#[cfg(test)]
mod tests {
    use magpie_protocol::{
        id::{ConversationId, DeviceId, UserId},
        seq::{Position, Seq},
    };

    use super::*;

    const NOON: i64 = 1_700_000_000_000;

    const DEADLINES: Deadlines = Deadlines {
        foreground: Duration::from_secs(15),
        background: Duration::from_secs(8),
    };

    fn event() -> WorthyEvent {
        WorthyEvent {
            position: Position::new(10),
            conversation: ConversationId::new([1; 16]),
            seq: Seq::new(5),
            sender: UserId::new([2; 16]),
            committed_at_ms: NOON,
            is_message: true,
        }
    }

    fn device() -> Candidate {
        Candidate {
            device: DeviceId::new([3; 16]),
            user: UserId::new([4; 16]),
            cursor: Position::new(9),
            from_seq: Seq::new(1),
            attachment: Attachment::Away,
            read_seq: Seq::new(0),
            has_company: false,
            is_woken: false,
            level: NotifyLevel::All,
            is_request: false,
        }
    }

    fn at(device: &Candidate, after_ms: i64) -> Decision {
        decide((&event(), None), device, &DEADLINES, NOON + after_ms)
    }

    #[test]
    fn who_wants_mentions_alone_is_woken_by_nothing_else() {
        let (mentioned, none) = [NotifyLevel::Mentions, NotifyLevel::None]
            .map(|level| Candidate { level, ..device() })
            .into();
        let addressed = |everybody, users| Addressed {
            position: event().position,
            everybody,
            users,
        };
        let of = |device: &Candidate, addressed: Option<&Addressed>| {
            decide((&event(), addressed), device, &DEADLINES, NOON)
        };
        for (everybody, users) in [(true, vec![]), (false, vec![device().user])] {
            let addressed = addressed(everybody, users);
            assert_eq!(of(&mentioned, Some(&addressed)), Decision::Owed);
            assert_eq!(of(&none, Some(&addressed)), Decision::Muted);
        }
        let others = addressed(false, vec![event().sender]);
        assert_eq!(of(&mentioned, Some(&others)), Decision::Muted);
        assert_eq!(of(&mentioned, None), Decision::Muted);
    }

    #[test]
    fn a_message_request_wakes_nobody_and_a_friend_request_does() {
        let asked = Candidate {
            is_request: true,
            ..device()
        };
        assert_eq!(at(&asked, 0), Decision::Muted);
        let request = WorthyEvent {
            is_message: false,
            ..event()
        };
        let decision = decide((&request, None), &asked, &DEADLINES, NOON);
        assert_eq!(decision, Decision::Owed);
    }

    /// D8.
    #[test]
    fn a_connected_device_that_does_not_confirm_is_woken_after_its_deadline() {
        assert_eq!(at(&device(), 0), Decision::Owed);
        for (attachment, ms) in [
            (Attachment::Background, 8_000),
            (Attachment::Foreground, 15_000),
        ] {
            let device = Candidate {
                attachment,
                ..device()
            };
            assert_eq!(at(&device, ms - 1), Decision::NotYet { at_ms: NOON + ms });
            assert_eq!(at(&device, ms), Decision::Owed);
        }
    }

    #[test]
    fn who_is_woken_and_came_is_given_time_to_answer() {
        let woken = Candidate {
            is_woken: true,
            ..device()
        };
        assert_eq!(at(&woken, 100), Decision::NotYet { at_ms: NOON + 350 });
        assert_eq!(at(&woken, 3_000), Decision::Not);
    }

    #[test]
    fn nobody_is_woken_by_what_they_have_said_or_may_not_read() {
        let own = Candidate {
            user: event().sender,
            ..device()
        };
        assert_eq!(at(&own, 0), Decision::Not);
        let late = Candidate {
            from_seq: Seq::new(6),
            ..device()
        };
        assert_eq!(at(&late, 0), Decision::Not);
        let seen = Candidate {
            cursor: Position::new(10),
            ..device()
        };
        assert_eq!(at(&seen, 0), Decision::Not);
    }

    #[test]
    fn a_user_who_follows_on_another_device_is_given_ten_seconds() {
        let follows = Candidate {
            has_company: true,
            read_seq: Seq::new(4),
            ..device()
        };
        assert_eq!(
            at(&follows, 9_999),
            Decision::NotYet {
                at_ms: NOON + 10_000
            }
        );
        assert_eq!(at(&follows, 10_000), Decision::Owed);
        let reads_elsewhere = Candidate {
            read_seq: Seq::new(3),
            ..follows
        };
        assert_eq!(at(&reads_elsewhere, 0), Decision::Owed);
    }
}
