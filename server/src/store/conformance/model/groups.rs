//! What is said of groups, and who is kept out of them.

use magpie_protocol::{
    id::{ConversationId, UserId},
    wire::{FetchListed, GroupUpdate, v1::event_content::Kind},
};

use super::{Model, changes::kind, roles::id_of};
use crate::store::{
    Refusal,
    conformance::{Player, seq},
};

/// What is said of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) title: String,
    pub(super) announcement_only: bool,
    pub(super) history_for_newcomers: bool,
}

impl Model<'_> {
    /// What was said of it at an event.
    pub(super) fn said(&self, conversation: ConversationId, at: u64) -> Said {
        let mut said = Said::default();
        for event in self.of(conversation).filter(|it| it.seq.get() <= at) {
            if let Kind::GroupCreated(it) = kind(event) {
                said.title = it.title;
            } else if let Kind::GroupUpdated(it) = kind(event) {
                said.title = it.title.unwrap_or(said.title);
                said.announcement_only = it.announcement_only.unwrap_or(said.announcement_only);
                let history = it.history_for_newcomers;
                said.history_for_newcomers = history.unwrap_or(said.history_for_newcomers);
            }
        }
        said
    }

    /// Whether an update says anything new.
    pub(super) fn changes(&self, conversation: ConversationId, update: &GroupUpdate) -> bool {
        let said = self.said(conversation, u64::MAX);
        let title = update.title.as_ref().map(|it| it.as_str());
        title.is_some_and(|it| it != said.title)
            || (update.announcement_only).is_some_and(|it| it != said.announcement_only)
            || (update.history_for_newcomers).is_some_and(|it| it != said.history_for_newcomers)
    }

    /// Who is kept out, since which event.
    pub(super) fn bans(&self, conversation: ConversationId) -> Vec<(UserId, u64)> {
        let mut bans = Vec::new();
        for event in self.of(conversation) {
            let Kind::MemberBanned(it) = kind(event) else {
                continue;
            };
            let member = id_of(it.member.as_ref()).unwrap();
            bans.retain(|(user, _)| *user != member);
            if it.banned {
                bans.push((member, event.seq.get()));
            }
        }
        bans
    }

    /// How a list of who looks after a group is answered.
    pub(super) fn may_list(&self, of: &Player, group: ConversationId) -> Result<(), Refusal> {
        match (
            self.is_member(group, of.id()),
            self.is_admin(group, of.id()),
        ) {
            (false, _) => Err(Refusal::NotFound),
            (true, false) => Err(Refusal::NotAllowed),
            (true, true) => Ok(()),
        }
    }

    pub(super) async fn compare_bans(&self, player: &Player, count: usize) {
        for group in self.groups.iter().copied() {
            let mut bans = self.bans(group);
            bans.retain(|(user, _)| !self.deleted.contains(user));
            let expected = self.may_list(player, group).map(|()| bans);
            let mut listed = Ok(Vec::new());
            loop {
                let last = listed.as_ref().ok().and_then(|it: &Vec<_>| it.last());
                let request = FetchListed {
                    conversation: group,
                    after: seq(last.map_or(0, |(_, seq)| *seq)),
                    limit: u32::try_from(count).unwrap(),
                };
                match self.world.store.bans(player.id(), request).await.unwrap() {
                    Ok(page) => {
                        let users = page.users.iter();
                        let users = users.map(|it| (id_of(it.user.as_ref()).unwrap(), it.seq));
                        listed.as_mut().unwrap().extend(users);
                        if page.complete {
                            break;
                        }
                    }
                    Err(refusal) => {
                        listed = Err(refusal);
                        break;
                    }
                }
            }
            assert_eq!(listed, expected);
        }
    }
}
