//! Who is there.

use magpie_protocol::{id::UserId, wire::v1};

/// Whether a user is there, as the server said last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presence {
    /// Who.
    pub user: UserId,
    /// Whether they are.
    pub state: PresenceState,
}

/// Whether a user is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PresenceState {
    /// The server does not say: there is no such user, or the two are no friends and have
    /// not both written to each other, or one of them hides their presence or blocks the other.
    Hidden,
    /// They look at the app on one of their devices, or did half a minute ago.
    Online,
    /// They do not.
    Offline {
        /// When they last did, milliseconds since 1970, in whole minutes; `None` if that is
        /// not known.
        last_seen_at_ms: Option<i64>,
    },
}

impl PresenceState {
    /// Its name, for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Online => "online",
            Self::Offline { .. } => "offline",
        }
    }
}

impl Presence {
    /// As the server says it; what a newer one says otherwise is not told.
    pub(crate) fn parse(it: &v1::Presence) -> Option<Self> {
        let state = match it.state() {
            v1::PresenceState::Unspecified | v1::PresenceState::Hidden => PresenceState::Hidden,
            v1::PresenceState::Online => PresenceState::Online,
            v1::PresenceState::Offline => PresenceState::Offline {
                last_seen_at_ms: (it.last_seen_at_ms != 0).then_some(it.last_seen_at_ms),
            },
        };
        let user = UserId::try_from(it.user_id.as_ref()).ok()?;
        Some(Self { user, state })
    }
}
