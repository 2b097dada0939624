//! Friends, as people read them.

use std::fmt::{self, Write as _};

use magpie_client::{ConversationId, Friend, Friendship, UserId};
use serde::Serialize;

use super::{Line, Shown, people::aside};
use crate::paint::{Painter, Part};

/// Somebody who is a friend, or has asked, or was asked.
#[derive(Debug, Serialize)]
pub(crate) struct FriendFields {
    user: String,
    user_id: Shown<UserId>,
    friendship: &'static str,
    pending: bool,
    conversation_id: Shown<ConversationId>,
    nickname: String,
    display_name: String,
}

impl Line {
    pub(crate) fn friend(friend: Friend) -> Self {
        Self::Friend(FriendFields {
            user: friend.user.name,
            user_id: Shown(friend.user.id),
            friendship: friend.friendship.name(),
            pending: friend.is_pending,
            conversation_id: Shown(friend.conversation),
            nickname: friend.contact.map_or_else(String::new, |it| it.nickname),
            display_name: friend.profile.display_name,
        })
    }
}

impl FriendFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        let user = self.user.as_str();
        to.paint(Part::User(user), format_args!("@{user}"))?;
        let name = match self.nickname.is_empty() {
            true => &self.display_name,
            false => &self.nickname,
        };
        if !name.is_empty() {
            write!(to, "  {name}")?;
        }
        if self.friendship == Friendship::WasAsked.name() {
            to.write_str("  ")?;
            to.paint(Part::Waits, "asks you")?;
        }
        if self.friendship == Friendship::Asked.name() {
            aside(to, "  asked")?;
        }
        if self.pending {
            aside(to, "  (queued)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) fn sample(hostile: &str, friendship: Friendship) -> FriendFields {
    FriendFields {
        user: hostile.to_owned(),
        user_id: Shown(UserId::new([3; 16])),
        friendship: friendship.name(),
        pending: true,
        conversation_id: Shown(ConversationId::new([4; 16])),
        nickname: String::new(),
        display_name: hostile.to_owned(),
    }
}
