//! What a device is told of conversations besides their events.

use magpie_protocol::{
    id::{ConversationId, UserId},
    wire::{FetchMembers, v1},
};

use super::Model;
use crate::store::{
    MembershipChange,
    conformance::{ALL, Player},
};

impl Model<'_> {
    pub(super) async fn compare_described(&self, player: &Player) {
        let store = &self.world.store;
        let described = store.conversations(player.id(), None, ALL).await;
        let (described, complete) = described.unwrap();
        assert!(complete);
        let ids = self.members.keys();
        let mut expected: Vec<_> = ids.filter_map(|id| self.description(player, *id)).collect();
        expected.sort_by(|one, other| one.conversation_id.cmp(&other.conversation_id));
        assert_eq!(described, expected);
        for conversation in self.members.keys().copied() {
            let request = FetchMembers {
                conversation,
                after: None,
                limit: 100,
            };
            let members = store.members(player.id(), request).await.unwrap();
            let members = members.map(|it| it.members);
            let is_member = self.is_member(conversation, player.id());
            let expected = is_member.then(|| self.told_members(player, conversation, None));
            assert_eq!(members, expected);
        }
    }

    /// Who was a member behind an event, in the order in which they were registered.
    fn members_behind(&self, conversation: ConversationId, at: u64) -> Vec<UserId> {
        let mut members = Vec::new();
        for event in self.of(conversation).filter(|it| it.seq.get() <= at) {
            match &event.change {
                Some(MembershipChange::Joined(joined)) => members.extend(joined),
                Some(MembershipChange::Left(left)) => members.retain(|user| user != left),
                None => {}
            }
        }
        let players = self.players.iter().map(Player::id);
        players.filter(|user| members.contains(user)).collect()
    }

    /// The members as a user is told: now, or when they had left.
    fn told_members(
        &self,
        to: &Player,
        conversation: ConversationId,
        left: Option<u64>,
    ) -> Vec<v1::Member> {
        let head = left.unwrap_or_else(|| self.head(conversation));
        let members = self.members_behind(conversation, head).into_iter();
        let members = members.map(|user| {
            let mut players = self.players.iter();
            let player = players.find(|it| it.id() == user).unwrap();
            let role = self.role(conversation, user);
            let role = role.filter(|_| left.is_none() && self.is_group(conversation));
            let name = player.name().as_str().to_owned();
            v1::Member {
                user: Some(v1::User {
                    user_id: user.to_wire(),
                    name: if self.deleted.contains(&user) {
                        String::new()
                    } else {
                        name
                    },
                }),
                // No device stores anything.
                delivered_seq: 0,
                read_seq: self.read_seq_told(to.id(), (user, conversation)).min(head),
                role: role.map_or(0, |role| role.to_wire().into()),
            }
        });
        members.collect()
    }

    /// A conversation, as its user is told in whole; none if they were never in it.
    fn description(&self, of: &Player, id: ConversationId) -> Option<v1::Conversation> {
        let user = of.id();
        let (from, left) = *self.memberships(user, id).last()?;
        let first = self.readable(user, id).next()?;
        let (head, is_open) = (left.unwrap_or_else(|| self.head(id)), left.is_none());
        let said = self.said(id, head);
        let read = self.mark(user, id).min(head).max(from - 1);
        let peer = self.peer(user, id);
        let kind_of = match (self.is_group(id), peer) {
            (true, _) => v1::ConversationKind::Group,
            (false, Some(_)) => v1::ConversationKind::Direct,
            (false, None) => v1::ConversationKind::Account,
        };
        let (friendship, friendship_seq) = match peer.filter(|peer| *peer != user) {
            Some(peer) => self.friendship(user, peer),
            None => Default::default(),
        };
        let may_read = |at: &u64| self.readable(user, id).any(|it| it.seq.get() == *at);
        let pinned = self.pinned(user, id).into_keys();
        let pinned = pinned.filter(|at| is_open && may_read(at));
        Some(v1::Conversation {
            conversation_id: id.to_wire(),
            kind: kind_of.into(),
            title: said.title,
            members: self.told_members(of, id, left),
            first_seq: first.seq.get(),
            last_seq: left.unwrap_or(0),
            head_seq: head,
            common_seq: None,
            member_count: self.members_behind(id, head).len() as u64,
            description: String::new(),
            announcement_only: is_open && said.announcement_only,
            friendship: i32::from(friendship.number()),
            friendship_seq,
            answered: peer.is_some() && self.writes(user, id),
            counts: Some(self.counts(user, id, head).to_wire()),
            read_counts: Some(self.counts(user, id, read).to_wire()),
            photo: bytes::Bytes::new(),
            history_for_newcomers: is_open && said.history_for_newcomers,
            pinned_seqs: pinned.collect(),
            joined_seq: from,
        })
    }
}
