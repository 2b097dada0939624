//! The store's rules: what survives a crash of the server.

use std::collections::{BTreeMap, BTreeSet};

use magpie_audit::Digest;
use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    wire::v1,
};
use prost::Message as _;

use super::{
    Context, Mutant,
    chronicle::{Backup, Epoch},
    content::{Content, is_refusable},
    place::Place,
};

/// An entry of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
    pub(crate) sender: UserId,
    pub(crate) content: Content,
    /// When it was committed, for people: milliseconds since 1970.
    pub(crate) at_ms: i64,
}

impl Entry {
    pub(crate) fn digest(&self) -> Digest {
        self.content.digest(self.id)
    }

    pub(crate) fn encode(&self) -> bytes::Bytes {
        let text = self.content.text(self.id);
        let message = v1::event_content::Kind::Message(text.into());
        let sender = v1::User {
            user_id: self.sender.to_wire(),
            name: String::new(),
        };
        let event = v1::Event {
            conversation_id: self.conversation.to_wire(),
            seq: self.seq,
            message_id: self.id.to_wire(),
            sender: Some(sender),
            content: Some(v1::EventContent {
                kind: Some(message),
            }),
            committed_at_ms: self.at_ms,
        };
        event.encode_to_vec().into()
    }
}

/// A request, as far as the store needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Append {
    pub(crate) id: MessageId,
    pub(crate) conversation: ConversationId,
    pub(crate) sender: UserId,
    pub(crate) content: Content,
    /// What [`Mutant::NumbersBeforeCommit`] took: position and seq.
    pub(crate) reserved: Option<(u64, u64)>,
}

/// What the store knows of a device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Row {
    /// Of its newest connection.
    pub(crate) generation: u64,
    /// Everything up to here is in its database.
    pub(crate) confirmed: Place,
    /// A hello put `confirmed` back since the last push.
    pub(crate) lowered: bool,
    /// A push that was sent for this place, and not answered.
    pub(crate) woken: Option<Place>,
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// Positions of each shard, from 1 on. A hole is a mutant's.
    shards: Vec<Vec<Option<Entry>>>,
    /// The shard of each entry, in the order of commit.
    order: Vec<usize>,
    by_id: BTreeMap<MessageId, (usize, u64)>,
    pub(super) heads: BTreeMap<ConversationId, u64>,
    pub(super) founders: Vec<(ConversationId, UserId)>,
    /// First and last seq of each stretch of membership.
    members: BTreeMap<(ConversationId, UserId), Vec<(u64, u64)>>,
    pub(crate) rows: BTreeMap<DeviceId, Row>,
    /// How far each user's devices have stored; never falls.
    pub(crate) delivered: BTreeMap<(ConversationId, UserId), u64>,
    /// Those that the store knows, but for the first, in their order.
    pub(super) epochs: Vec<Epoch>,
    /// All that ever began.
    pub(crate) begun: Vec<Epoch>,
    /// A copy of the history that the last restore ended.
    pub(super) former: Option<Box<Backup>>,
    /// The latest time of day that an entry has.
    latest_ms: i64,
    /// What was refused for good. A refusal is as durable as an acceptance: else a
    /// repeat could be decided otherwise, behind what was sent after it (D6).
    pub(crate) refused: BTreeSet<MessageId>,
}

impl Log {
    pub(crate) fn new(shards: usize, founders: Vec<(ConversationId, UserId)>) -> Self {
        let mut log = Self {
            shards: vec![Vec::new(); shards],
            order: Vec::new(),
            by_id: BTreeMap::new(),
            heads: BTreeMap::new(),
            founders,
            members: BTreeMap::new(),
            rows: BTreeMap::new(),
            delivered: BTreeMap::new(),
            epochs: Vec::new(),
            begun: Vec::new(),
            former: None,
            latest_ms: 0,
            refused: BTreeSet::new(),
        };
        log.found();
        log
    }

    fn found(&mut self) {
        self.members = self
            .founders
            .iter()
            .map(|member| (*member, vec![(1, u64::MAX)]))
            .collect();
    }

    pub(crate) fn shard(&self, conversation: ConversationId) -> usize {
        usize::from(conversation.bytes()[0]) % self.shards.len().max(1)
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The end of every shard.
    pub(crate) fn head(&self) -> Place {
        Place(self.shards.iter().map(|it| it.len() as u64).collect())
    }

    pub(crate) fn head_of(&self, conversation: ConversationId) -> u64 {
        self.heads.get(&conversation).copied().unwrap_or_default()
    }

    pub(crate) fn length(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.shards.iter().flatten().flatten()
    }

    pub(crate) fn entry(&self, shard: usize, position: u64) -> Option<&Entry> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        self.shards.get(shard)?.get(index)?.as_ref()
    }

    pub(crate) fn find(&self, id: MessageId) -> Option<&Entry> {
        let (shard, position) = self.by_id.get(&id)?;
        self.entry(*shard, *position)
    }

    pub(crate) fn is_entitled(&self, user: UserId, conversation: ConversationId, seq: u64) -> bool {
        self.stretches(user, conversation)
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&seq))
    }

    pub(crate) fn stretches(&self, user: UserId, conversation: ConversationId) -> &[(u64, u64)] {
        self.members
            .get(&(conversation, user))
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn members(
        &self,
    ) -> impl Iterator<Item = ((ConversationId, UserId), &[(u64, u64)])> {
        self.members.iter().map(|(key, it)| (*key, it.as_slice()))
    }

    pub(crate) fn is_member(&self, user: UserId, conversation: ConversationId) -> bool {
        self.stretches(user, conversation)
            .last()
            .is_some_and(|(_, to)| *to == u64::MAX)
    }

    /// Appends, at most once per id, if the sender may. Returns where it stands;
    /// `None`: refused.
    pub(crate) fn append(&mut self, append: &Append, context: Context) -> Option<(usize, u64)> {
        let mutant = context.mutant;
        if mutant != Mutant::ForgetsIds
            && let Some(at) = self.by_id.get(&append.id)
        {
            return Some(*at);
        }
        let Append {
            conversation,
            sender,
            content,
            ..
        } = *append;
        let may = self.is_member(sender, conversation) || mutant == Mutant::TakesFromLeavers;
        let sensible = match content {
            Content::Text(_) => true,
            Content::Join(user) => !self.is_member(user, conversation),
            Content::Leave(user) => self.is_member(user, conversation),
        };
        let was_refused = self.refused.contains(&append.id);
        if is_refusable(append.id) || was_refused || !may || !sensible {
            self.refused.insert(append.id);
            return None;
        }
        let shard = self.shard(conversation);
        let (position, seq) = append
            .reserved
            .unwrap_or_else(|| self.reserve(conversation));
        self.heads
            .insert(conversation, seq.max(self.head_of(conversation)));
        let entry = Entry {
            conversation,
            seq,
            id: append.id,
            sender,
            content,
            at_ms: self.commit_time(context),
        };
        self.place(shard, position, entry);
        Some((shard, position))
    }

    /// A clock that went back does not turn the log around.
    fn commit_time(&self, context: Context) -> i64 {
        if context.mutant == Mutant::LetsTimeFall {
            context.server_ms
        } else {
            context.server_ms.max(self.latest_ms)
        }
    }

    pub(super) fn place(&mut self, shard: usize, position: u64, entry: Entry) {
        self.latest_ms = self.latest_ms.max(entry.at_ms);
        let index = usize::try_from(position.saturating_sub(1)).unwrap_or(usize::MAX);
        if let Some(slot) = self.shards.get_mut(shard).and_then(|it| it.get_mut(index)) {
            *slot = Some(entry);
        }
        self.order.push(shard);
        self.by_id.insert(entry.id, (shard, position));
        self.follow_members(&entry);
    }

    /// Takes the next position and seq.
    pub(crate) fn reserve(&mut self, conversation: ConversationId) -> (u64, u64) {
        let shard = self.shard(conversation);
        let seq = self.head_of(conversation) + 1;
        self.heads.insert(conversation, seq);
        let Some(entries) = self.shards.get_mut(shard) else {
            return (0, seq);
        };
        entries.push(None);
        (entries.len() as u64, seq)
    }

    fn follow_members(&mut self, entry: &Entry) {
        let key = |user| (entry.conversation, user);
        match entry.content {
            Content::Text(_) => {}
            Content::Join(user) => self
                .members
                .entry(key(user))
                .or_default()
                .push((entry.seq, u64::MAX)),
            Content::Leave(user) => {
                if let Some((_, to)) = self
                    .members
                    .get_mut(&key(user))
                    .and_then(|it| it.last_mut())
                {
                    *to = entry.seq;
                }
            }
        }
    }

    pub(super) fn entries_in_order(&self) -> impl Iterator<Item = Entry> {
        let mut next: Vec<_> = self
            .shards
            .iter()
            .map(|entries| entries.iter().flatten())
            .collect();
        self.order
            .iter()
            .filter_map(move |shard| next.get_mut(*shard)?.next().copied())
    }

    /// The first position behind what the device has confirmed, of an event that
    /// is for its user.
    pub(crate) fn is_owed(&self, device: DeviceId, user: UserId) -> bool {
        let confirmed = self.rows.get(&device).map(|row| &row.confirmed);
        (0..self.shards.len()).any(|shard| {
            let after = confirmed.map_or(0, |it| it.at(shard));
            let skip = usize::try_from(after).unwrap_or(usize::MAX);
            let entries = self.shards.get(shard).into_iter().flatten();
            entries
                .skip(skip)
                .flatten()
                .any(|entry| self.is_entitled(user, entry.conversation, entry.seq))
        })
    }
}
