//! Who is there.

use std::fmt;

use magpie_client::{
    Presence, PresenceState, UserId,
    date::{rfc3339, short},
};
use serde::Serialize;

use super::{Line, Shown, people::aside};
use crate::paint::{Painter, Part};

/// Whether somebody is there.
#[derive(Debug, Serialize)]
pub(crate) struct PresenceFields {
    user: String,
    user_id: Shown<UserId>,
    /// `online`, `offline` or `hidden`.
    state: &'static str,
    /// Of who is offline.
    last_seen_at: Option<String>,
}

impl Line {
    pub(crate) fn presence(user: String, presence: &Presence) -> Self {
        let last_seen_at = match presence.state {
            PresenceState::Offline { last_seen_at_ms } => last_seen_at_ms.map(rfc3339),
            PresenceState::Online | PresenceState::Hidden => None,
        };
        Self::Presence(PresenceFields {
            user,
            user_id: Shown(presence.user),
            state: presence.state.name(),
            last_seen_at,
        })
    }
}

impl PresenceFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        to.paint(Part::User(&self.user), format_args!("@{}", self.user))?;
        match (self.state, &self.last_seen_at) {
            ("offline", Some(at)) => aside(to, format_args!("  last seen {}", short(at))),
            ("hidden", _) => aside(to, "  not told"),
            (state, _) => aside(to, format_args!("  {state}")),
        }
    }
}

#[cfg(test)]
pub(super) fn sample(user: String) -> PresenceFields {
    PresenceFields {
        user,
        user_id: Shown(UserId::new([3; 16])),
        state: "offline",
        last_seen_at: Some(rfc3339(0)),
    }
}
