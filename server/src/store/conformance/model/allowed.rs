//! Who may do what.

use magpie_protocol::{
    friendship::Friendship,
    id::{ConversationId, UserId},
    role::Role,
    setting::Setting,
    text::UserName,
    wire::Target,
};

use super::{Deed, Model};
use crate::store::{Append, Command};

/// What is done with another one in a group.
#[derive(Clone, Copy)]
enum With {
    Add,
    Remove,
    Ban(bool),
    Role(Role),
}

impl Model<'_> {
    /// Who has this name.
    fn named(&self, name: &UserName) -> Option<UserId> {
        let mut players = self.players.iter();
        let found = players.find(|player| &player.name() == name);
        let found = found.expect("a player").id();
        (!self.deleted.contains(&found)).then_some(found)
    }

    pub(super) fn is_group(&self, conversation: ConversationId) -> bool {
        self.groups.contains(&conversation)
    }

    /// Whether somebody looks after a group.
    pub(super) fn is_admin(&self, conversation: ConversationId, user: UserId) -> bool {
        let role = self.role(conversation, user);
        self.is_group(conversation) && role.is_some_and(|role| role >= Role::Admin)
    }

    pub(super) fn is_allowed(&self, request: &Append) -> bool {
        let actor = request.actor.user;
        if self.deleted.contains(&actor) {
            return self.may_depart(actor, &request.command);
        }
        match &request.command {
            Command::SendMessage { to, message } => {
                self.may_send(actor, to, message.mentions_everybody())
            }
            Command::EditMessage {
                conversation, seq, ..
            } => {
                let may = self.may(request, *conversation, *seq, Deed::Edit);
                may && self.may_write(*conversation, actor)
            }
            Command::DeleteMessage { conversation, seq } => {
                self.may(request, *conversation, *seq, Deed::Delete)
            }
            Command::React {
                conversation,
                seq,
                removed,
                ..
            } => {
                let deed = if *removed { Deed::Unreact } else { Deed::React };
                self.may(request, *conversation, *seq, deed)
            }
            Command::Pin {
                conversation,
                seq,
                pinned,
            } => {
                let deed = if *pinned { Deed::Pin } else { Deed::Unpin };
                self.may(request, *conversation, *seq, deed)
            }
            Command::ChangeAccount { setting } => {
                !matches!(setting, Setting::Block { user, .. } if *user == actor)
            }
            Command::ChangeFriendship { name, action } => {
                let other = self.named(name);
                other.is_some_and(|other| self.may_befriend(actor, other, *action))
            }
            Command::CreateGroup { names, .. } => {
                let other = self.named(&names[0]);
                other.is_some_and(|other| other == actor || self.lets(other, actor))
            }
            Command::LeaveGroup { conversation } => self.is_member(*conversation, actor),
            Command::UpdateGroup {
                conversation,
                update,
            } => self.is_admin(*conversation, actor) && self.changes(*conversation, update),
            Command::Invite { conversation, deed } => self.may_invite(*conversation, actor, *deed),
            Command::AddMembers {
                conversation,
                names,
            } => self.may_with(*conversation, actor, &names[0], With::Add),
            Command::RemoveMember { conversation, name } => {
                self.may_with(*conversation, actor, name, With::Remove)
            }
            Command::Ban {
                conversation,
                name,
                banned,
            } => self.may_with(*conversation, actor, name, With::Ban(*banned)),
            Command::SetRole {
                conversation,
                name,
                role,
            } => self.may_with(*conversation, actor, name, With::Role(*role)),
        }
    }

    fn may_send(&self, actor: UserId, to: &Target, everybody: bool) -> bool {
        match to {
            Target::User(name) => self.named(name).is_some(),
            Target::Conversation(to) => {
                let may_mention = !self.is_group(*to) || self.is_admin(*to, actor);
                self.may_write(*to, actor) && (may_mention || !everybody)
            }
        }
    }

    /// Whether somebody is a member, and not only to read.
    fn may_write(&self, conversation: ConversationId, user: UserId) -> bool {
        let said = self.said(conversation, u64::MAX);
        self.is_member(conversation, user)
            && (!said.announcement_only || self.is_admin(conversation, user))
    }

    /// Whether a user lets another one add them to groups.
    fn lets(&self, user: UserId, other: UserId) -> bool {
        let is_closed = self.settings.closed.contains(&user);
        !is_closed || self.friendship(user, other).0 == Friendship::Friends
    }

    /// Whether somebody may do this with another one in a group.
    fn may_with(
        &self,
        conversation: ConversationId,
        actor: UserId,
        name: &UserName,
        with: With,
    ) -> bool {
        let Some(whom) = self.named(name) else {
            return false;
        };
        let own = self.role(conversation, actor);
        let other = self.role(conversation, whom);
        let is_banned = self.bans(conversation).iter().any(|it| it.0 == whom);
        let outranks = |other| own.is_some_and(|own| own >= Role::Admin && own > other);
        match with {
            With::Add => own.is_some() && other.is_none() && !is_banned && self.lets(whom, actor),
            With::Remove => other.is_some_and(outranks),
            With::Ban(banned) => {
                actor != whom && outranks(other.unwrap_or(Role::Member)) && is_banned != banned
            }
            With::Role(role) => {
                let is_other = other.is_some_and(|other| other != role);
                own == Some(Role::Owner) && whom != actor && is_other
            }
        }
    }
}
