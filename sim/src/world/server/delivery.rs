//! What the server sends a device, and what the device confirms.

use std::collections::BTreeMap;

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, UserId},
    wire::{EncodedPage, v1},
};

use super::{Content, Context, Log, Mutant, Place, Sent, ServerLink};
use crate::world::log::Entry;

impl ServerLink {
    /// Sends answers, then a page of what follows the place. Returns how many
    /// events were in it.
    pub(crate) fn deliver(&mut self, count: usize, log: &mut Log, context: Context) -> usize {
        self.flush(context);
        let (true, true, true, Some(user)) = (
            self.session.can_send(),
            self.replies.is_empty(),
            self.rung,
            self.user,
        ) else {
            return 0;
        };
        if let Some((shard, position)) = self.named.take()
            && context.mutant == Mutant::SendsWhatTheBellNames
        {
            self.place.set(shard, position.saturating_sub(1));
        }
        let mut page = EncodedPage {
            conversations: Vec::new(),
            events: Vec::new(),
            marks: Vec::new(),
            cursor: Bytes::new(),
            caught_up: false,
        };
        // A conversation of another history first says what it has in common with
        // this one, each by itself.
        let description = self.describe();
        let describes = description.is_some();
        page.conversations.extend(description);
        let mut events = Vec::new();
        while !describes
            && events.len() < count.max(1)
            && let Some(entry) = self.next_entry(log, user, context)
        {
            page.conversations.extend(joined(&entry, user));
            page.events.push(entry.encode());
            events.push((entry.conversation, entry.seq));
        }
        page.caught_up = !describes && self.place.covers(&log.head());
        let owed = describes || (page.caught_up && self.owes_caught_up);
        self.owes_caught_up &= !page.caught_up;
        self.rung = self.is_behind(log);
        if events.is_empty() && !owed {
            // Nothing for this device: the next page or pong brings the cursor.
            return 0;
        }
        let newest: BTreeMap<_, _> = events.iter().copied().collect();
        page.marks = marks(log, user, &newest);
        page.cursor = self.place.seal(log.epoch());
        let number = self.session.page(&page, &mut self.out);
        let sent_count = events.len();
        self.pages.push_back(Sent {
            number,
            place: self.place.clone(),
            newest,
            events,
            catches_up: page.caught_up,
        });
        if context.mutant == Mutant::ConfirmsWhenSent {
            self.confirm(&self.place.clone(), log, context);
        }
        if page.caught_up && context.mutant == Mutant::OpensGateWhenSent {
            self.held = None;
        }
        if context.mutant == Mutant::TicksWhenSent {
            self.tick(log);
        }
        sent_count
    }

    /// The next entry behind the place that is for this device; the place passes
    /// all before it.
    fn next_entry(&mut self, log: &Log, user: UserId, context: Context) -> Option<Entry> {
        for shard in 0..log.shard_count() {
            while self.place.at(shard) < log.head().at(shard) {
                let position = self.place.at(shard) + 1;
                self.place.set(shard, position);
                if context.mutant == Mutant::OnePositionForAllShards {
                    let head = log.head();
                    (0..log.shard_count())
                        .for_each(|it| self.place.set(it, position.min(head.at(it))));
                }
                // A hole is a mutant's.
                let Some(entry) = log.entry(shard, position) else {
                    continue;
                };
                let is_stood_for = self.own.remove(&(shard, position))
                    || (context.mutant == Mutant::NeverPagesOwn && entry.sender == user);
                let stretches = log.stretches(user, entry.conversation);
                let is_entitled = if context.mutant == Mutant::SendsToLeavers {
                    stretches
                        .first()
                        .is_some_and(|(from, _)| *from <= entry.seq)
                } else {
                    log.is_entitled(user, entry.conversation, entry.seq)
                };
                if is_entitled && !is_stood_for {
                    return Some(*entry);
                }
            }
        }
        None
    }

    /// The device has handled pages: what was in them counts as confirmed.
    /// Returns the events that were in them.
    pub(crate) fn handle_acks(
        &mut self,
        log: &mut Log,
        context: Context,
    ) -> Vec<(ConversationId, u64)> {
        let acked = self.session.acked();
        let mut events = Vec::new();
        while let Some(sent) = self.pages.pop_front_if(|it| it.number <= acked) {
            self.confirm(&sent.place, log, context);
            if sent.catches_up {
                self.held = None;
            }
            if let Some(user) = self.user {
                raise(log, user, &sent.newest);
            }
            events.extend(sent.events);
        }
        events
    }

    fn tick(&self, log: &mut Log) {
        if let (Some(user), Some(sent)) = (self.user, self.pages.back()) {
            raise(log, user, &sent.newest);
        }
    }

    pub(super) fn confirm(&mut self, place: &Place, log: &mut Log, context: Context) {
        self.confirmed = self.confirmed.higher_of(place);
        let Some(row) = self.device.and_then(|it| log.rows.get_mut(&it)) else {
            return;
        };
        // Only the device's newest connection says how far it is.
        if row.generation != self.generation && context.mutant != Mutant::NoFence {
            return;
        }
        row.confirmed = row.confirmed.higher_of(&self.confirmed);
        if context.mutant != Mutant::WakesOnce {
            row.woken.take_if(|woken| row.confirmed.covers(woken));
        }
    }
}

/// The description that comes with the event by which a user became a member.
fn joined(entry: &Entry, user: UserId) -> Option<v1::Conversation> {
    (entry.content == Content::Join(user)).then(|| v1::Conversation {
        conversation_id: entry.conversation.to_wire(),
        first_seq: entry.seq,
        ..Default::default()
    })
}

fn raise(log: &mut Log, user: UserId, newest: &BTreeMap<ConversationId, u64>) {
    for (conversation, seq) in newest {
        let mark = log.delivered.entry((*conversation, user)).or_default();
        *mark = seq.max(mark).to_owned();
    }
}

/// How far the others have stored, in the conversations of a page.
fn marks(log: &Log, user: UserId, newest: &BTreeMap<ConversationId, u64>) -> Vec<v1::Mark> {
    let first = UserId::new([0; 16]);
    newest
        .keys()
        .flat_map(|conversation| {
            let marks = log.delivered.range((*conversation, first)..);
            marks.take_while(|((it, _), _)| *it == *conversation)
        })
        .filter(|((_, other), _)| *other != user)
        .map(|((conversation, other), seq)| v1::Mark {
            conversation_id: conversation.to_wire(),
            user_id: other.to_wire(),
            delivered_seq: *seq,
            read_seq: 0,
            read_counts: None,
        })
        .collect()
}
