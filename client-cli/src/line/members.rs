//! Who is in a conversation.

use std::fmt::{self, Write as _};

use magpie_client::{ConversationId, Member, Role};
use serde::Serialize;

use super::{Line, Shown, people::aside};
use crate::paint::{Painter, Part};

impl Line {
    pub(crate) fn member(
        conversation: ConversationId,
        member: Member,
        display_name: String,
    ) -> Self {
        Self::Member {
            conversation_id: Shown(conversation),
            user: member.user.name,
            user_id: Shown(member.user.id),
            display_name,
            role: member.role.map(role_name),
            read_seq: member.read_seq.get(),
        }
    }

    pub(crate) fn members(conversation: ConversationId, count: u64, listed: u64) -> Self {
        Self::Members {
            conversation_id: Shown(conversation),
            count,
            listed,
        }
    }
}

/// What a role is called.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

/// Who has read a message.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ReadersFields {
    pub(crate) conversation_id: Shown<ConversationId>,
    pub(crate) seq: u64,
    /// Of more than 64 members nobody is named.
    pub(crate) read: Option<Vec<String>>,
    pub(crate) delivered: Option<Vec<String>>,
    pub(crate) read_count: Option<u64>,
    pub(crate) hidden: bool,
}

impl ReadersFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        if self.hidden {
            return aside(to, "you hide your read receipts, so you see nobody's");
        }
        let Some(read) = &self.read else {
            return write!(to, "read by {}", self.read_count.unwrap_or_default());
        };
        names(to, "read by", read)?;
        match self.delivered.as_deref() {
            None | Some([]) => Ok(()),
            Some(delivered) => names(to, "; on devices of", delivered),
        }
    }
}

fn names(to: &mut Painter, what: &str, users: &[String]) -> fmt::Result {
    to.write_str(what)?;
    if users.is_empty() {
        return to.write_str(" nobody");
    }
    for user in users {
        to.write_char(' ')?;
        to.paint(Part::User(user), format_args!("@{user}"))?;
    }
    Ok(())
}
