//! Who blocks whom, and what is hidden for it, read from the log.

use magpie_protocol::{
    id::{ConversationId, UserId},
    setting::Setting,
    wire::v1::event_content::Kind,
};

use super::{Model, Step, changes::kind};
use crate::store::{LogEvent, conformance::decoded, direct_conversation};

/// Whether such a step is to be seen by what follows it in other shards.
pub(super) const fn is_block(step: &Step) -> bool {
    matches!(step, Step::Block { .. })
}

pub(super) fn sender(event: &LogEvent) -> UserId {
    let sender = decoded(event).sender.unwrap().user_id;
    UserId::try_from(sender.as_ref()).unwrap()
}

impl Model {
    /// The direct conversation of two players.
    pub(super) fn direct(&self, one: usize, other: usize) -> ConversationId {
        direct_conversation(self.players[one].id(), self.players[other].id())
    }

    /// Takes over whom a user blocks.
    pub(super) fn follow_blocks(&mut self, event: &LogEvent) {
        let Kind::AccountChanged(changed) = kind(event) else {
            return;
        };
        let setting = changed.change.unwrap().try_into();
        if let Ok(Setting::Block { user, blocked }) = setting {
            let pair = (sender(event), user);
            match blocked {
                true => self.blocks.insert(pair),
                false => self.blocks.remove(&pair),
            };
        }
    }

    /// Who alone is shown a new event, if it is hidden.
    pub(super) fn hidden(&self, event: &LogEvent) -> Option<UserId> {
        let sender = sender(event);
        let mut others = self.players.iter().map(super::Player::id);
        let peer = others.find(|other| {
            *other != sender && direct_conversation(sender, *other) == event.conversation
        })?;
        let is_blocked = self.blocks.contains(&(peer, sender));
        let earlier = || {
            let log = self.log.iter().map(|(event, _)| event);
            log.filter(|it| it.conversation == event.conversation)
        };
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
            Kind::FriendRequested(_) => is_blocked,
            Kind::FriendshipChanged(it) => {
                let theirs = self.friendship(peer, sender).0;
                Self::is_told_to_nobody(it.friends, theirs, is_blocked)
            }
            Kind::GroupCreated(_)
            | Kind::MembersAdded(_)
            | Kind::MemberRemoved(_)
            | Kind::MemberLeft(_)
            | Kind::RoleChanged(_)
            | Kind::GroupUpdated(_)
            | Kind::AccountChanged(_)
            | Kind::Hidden(_)
            // These the model does not do.
            | Kind::Pinned(_)
            | Kind::MemberBanned(_)
            | Kind::InviteCreated(_)
            | Kind::InviteRevoked(_)
            | Kind::MemberJoined(_) => false,
        };
        is_hidden.then_some(sender)
    }
}
