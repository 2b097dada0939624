//! What somebody says of themself.

use std::fmt::{self, Write as _};

use magpie_client::{ConversationId, MediaId, Profile, User, UserId};
use serde::Serialize;

use super::{Line, Shown, people::aside};
use crate::paint::{Painter, Part};

/// A user, and what they say of themself.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileFields {
    user: String,
    user_id: Shown<UserId>,
    display_name: String,
    status: String,
    photo_id: Option<Shown<MediaId>>,
    /// Of the user's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    discoverable: Option<bool>,
}

impl Line {
    pub(crate) fn profile(user: User, profile: Profile, discoverable: Option<bool>) -> Self {
        Self::Profile(ProfileFields {
            user: user.name,
            user_id: Shown(user.id),
            display_name: profile.display_name,
            status: profile.status,
            photo_id: profile.photo.map(Shown),
            discoverable,
        })
    }
}

impl Line {
    pub(crate) fn typing(
        conversation: ConversationId,
        user: String,
        typing: bool,
        place: String,
    ) -> Self {
        Self::Typing {
            conversation_id: Shown(conversation),
            user,
            typing,
            place,
        }
    }

    /// Who types.
    pub(super) fn paint_typing(&self, to: &mut Painter) -> fmt::Result {
        if let Self::Typing {
            user,
            typing,
            place,
            ..
        } = self
        {
            let what = if *typing { "types" } else { "types no more" };
            aside(to, format_args!("{user} {what} in {place}"))?;
        }
        Ok(())
    }
}

impl ProfileFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        to.paint(Part::User(&self.user), format_args!("@{}", self.user))?;
        if !self.display_name.is_empty() {
            write!(to, "  {}", self.display_name)?;
        }
        if !self.status.is_empty() {
            aside(to, format_args!("  {}", self.status))?;
        }
        match self.discoverable {
            Some(true) => aside(to, "  can be found by the beginning of the name"),
            Some(false) | None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) fn sample(text: String) -> ProfileFields {
    ProfileFields {
        user: text.clone(),
        user_id: Shown(UserId::new([3; 16])),
        display_name: text.clone(),
        status: text,
        photo_id: Some(Shown(MediaId::new([6; 16]))),
        discoverable: Some(true),
    }
}
