//! How far users have read, how much there is for them, and who is told.

use magpie_protocol::{
    id::{ConversationId, UserId},
    wire::{CountReaders, v1::event_content::Kind},
};

use super::{Model, blocks::sender, changes::kind};
use crate::store::{
    Counts, MarkRead, MembershipChange, ReadMark, Refusal, Shard,
    conformance::{Player, seq},
};

impl Model<'_> {
    /// By which events somebody joined, and left, one after the other.
    pub(super) fn memberships(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Vec<(u64, Option<u64>)> {
        let mut memberships = Vec::new();
        for event in self.of(conversation) {
            match &event.change {
                Some(MembershipChange::Joined(joined)) if joined.contains(&user) => {
                    memberships.push((event.seq.get(), None));
                }
                Some(MembershipChange::Left(left)) if *left == user => {
                    memberships.last_mut().unwrap().1 = Some(event.seq.get());
                }
                Some(_) | None => {}
            }
        }
        memberships
    }

    /// How much of others there is for a user up to an event.
    pub(super) fn counts(&self, user: UserId, conversation: ConversationId, upto: u64) -> Counts {
        let entries = self.log.iter().filter(|it| {
            it.event.conversation == conversation
                && it.event.seq.get() <= upto
                && it.event.hidden.is_none()
                && sender(&it.event) != user
                && matches!(kind(&it.event), Kind::Message(_))
        });
        let mentioned = entries.clone().filter(|it| it.mentioned.contains(&user));
        Counts {
            messages: entries.count() as u64,
            mentions: mentioned.count() as u64,
        }
    }

    pub(super) fn mark(&self, user: UserId, conversation: ConversationId) -> u64 {
        let mark = self.marks.get(&(user, conversation));
        mark.copied().unwrap_or(0)
    }

    /// Moves a mark, and compares what comes of it.
    pub(super) async fn read(&mut self, by: usize, place: usize, to: u64) {
        let user = self.players[by].id();
        let Some(conversation) = self.place(by, place) else {
            return;
        };
        if self.deleted.contains(&user) {
            return;
        }
        let to = self.at(conversation, to);
        let memberships = self.memberships(user, conversation);
        let expected = memberships.last().map(|(_, end)| {
            let last = end.unwrap_or_else(|| self.head(conversation));
            let mark = self.mark(user, conversation).max(to.min(last));
            self.marks.insert((user, conversation), mark);
            ReadMark {
                seq: seq(mark),
                counts: self.counts(user, conversation, mark),
            }
        });
        let store = &self.world.store;
        let shard = Shard::of_conversation(conversation, store.shard_count());
        let mark = MarkRead {
            user,
            conversation,
            seq: seq(to),
        };
        let marked = store.mark_read(shard, &[mark]).await.unwrap();
        assert_eq!(marked.marks, [expected]);
    }

    /// How far somebody has read, as another one is told.
    pub(super) fn read_seq_told(
        &self,
        to: UserId,
        (user, conversation): (UserId, ConversationId),
    ) -> u64 {
        let mark = self.mark(user, conversation);
        let hiding = &self.settings.hiding_receipts;
        if user == to {
            mark
        } else if hiding.contains(&user)
            || hiding.contains(&to)
            || self.is_request(user, conversation)
        {
            0
        } else {
            match self.settings.blocks.get(&(user, to)) {
                Some(most) if !self.is_group(conversation) => mark.min(*most),
                Some(_) | None => mark,
            }
        }
    }

    /// Who has read what, as a user is told.
    pub(super) async fn compare_readers(&self, player: &Player) {
        for conversation in self.members.keys().copied() {
            let readable = self.readable(player.id(), conversation);
            let seqs: Vec<u64> = readable.map(|event| event.seq.get()).take(50).collect();
            if seqs.is_empty() {
                continue;
            }
            let request = CountReaders {
                conversation,
                seqs: seqs.iter().map(|at| seq(*at)).collect(),
            };
            let counted = self.world.store.count_readers(player.id(), request);
            let counted = counted.await.unwrap();
            let expected = if !self.is_member(conversation, player.id()) {
                Err(Refusal::NotFound)
            } else if !self.is_group(conversation) {
                Err(Refusal::NotPossible)
            } else if self.settings.hiding_receipts.contains(&player.id()) {
                Err(Refusal::ReceiptsHidden)
            } else {
                let count = |at: &u64| self.readers(conversation, *at);
                Ok(seqs.iter().map(count).collect())
            };
            assert_eq!(counted, expected);
        }
    }

    fn readers(&self, conversation: ConversationId, at: u64) -> u64 {
        let event = self.of(conversation).find(|it| it.seq.get() == at);
        let sender = sender(event.unwrap());
        let readers = self.members[&conversation].iter().filter(|user| {
            let (from, _) = *self.memberships(**user, conversation).last().unwrap();
            **user != sender
                && from <= at
                && !self.settings.hiding_receipts.contains(user)
                && self.mark(**user, conversation) >= at
        });
        readers.count() as u64
    }
}
