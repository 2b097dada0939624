//! Who is in a conversation.

use magpie_client::{ConversationId, Member, Role};

use super::{Line, Shown};

impl Line {
    pub(crate) fn member(conversation: ConversationId, member: Member) -> Self {
        Self::Member {
            conversation_id: Shown(conversation),
            user: member.user.name,
            user_id: Shown(member.user.id),
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
