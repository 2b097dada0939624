//! What is hidden from who blocks its sender, read from the log.

use magpie_protocol::{friendship::Friendship, id::UserId, wire::v1::event_content::Kind};

use super::{Model, changes::kind};
use crate::store::{LogEvent, conformance::decoded, direct_conversation};

pub(super) fn sender(event: &LogEvent) -> UserId {
    let sender = decoded(event).sender.unwrap().user_id;
    UserId::try_from(sender.as_ref()).unwrap()
}

impl Model<'_> {
    /// Who alone is shown a new event, if it is hidden.
    pub(super) fn hidden(&self, event: &LogEvent) -> Option<UserId> {
        let sender = sender(event);
        let mut others = self.players.iter().map(super::Player::id);
        let peer = others.find(|other| {
            *other != sender && direct_conversation(sender, *other) == event.conversation
        })?;
        let is_blocked = self.settings.blocks.contains_key(&(peer, sender));
        let earlier = || self.of(event.conversation);
        let of_hidden = |at: u64| {
            let mut earlier = earlier().filter(|it| it.hidden.is_some());
            earlier.any(|it| it.seq.get() == at)
        };
        let is_hidden = match kind(event) {
            Kind::Message(_) => is_blocked,
            Kind::MessageEdited(it) => is_blocked || of_hidden(it.seq),
            Kind::MessageDeleted(it) => of_hidden(it.seq),
            Kind::Reacted(it) if it.removed => {
                let set = earlier().filter(|event| self::sender(event) == sender);
                let set = set.filter(|event| {
                    matches!(kind(event), Kind::Reacted(one) if one.seq == it.seq && !one.removed)
                });
                set.last().is_some_and(|event| event.hidden.is_some())
            }
            Kind::Reacted(it) => is_blocked || of_hidden(it.seq),
            Kind::Pinned(it) if it.pinned => is_blocked || of_hidden(it.seq),
            Kind::Pinned(it) => {
                let pinned = self.pinned(sender, event.conversation);
                pinned.get(&it.seq) == Some(&true)
            }
            Kind::FriendRequested(_) => is_blocked,
            Kind::FriendshipChanged(it) => {
                let theirs = self.friendship(peer, sender).0;
                if self.deleted.contains(&sender) {
                    theirs == Friendship::None
                } else {
                    Self::is_told_to_nobody(it.friends, theirs, is_blocked)
                }
            }
            Kind::GroupCreated(_)
            | Kind::MembersAdded(_)
            | Kind::MemberRemoved(_)
            | Kind::MemberLeft(_)
            | Kind::RoleChanged(_)
            | Kind::GroupUpdated(_)
            | Kind::AccountChanged(_)
            | Kind::Hidden(_)
            | Kind::MemberBanned(_)
            | Kind::InviteCreated(_)
            | Kind::InviteRevoked(_)
            | Kind::MemberJoined(_) => false,
        };
        is_hidden.then_some(sender)
    }
}
