//! What is read of the log, and how much of it at once.

use std::collections::{BTreeMap, HashMap};

use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    limits::SERVER_FRAME_SIZE_MAX,
    seq::{Position, Seq},
    wire::v1,
};
use prost::Message as _;

use super::{LogEvent, Positions};

/// A stretch of a shard of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// Its events, in order of position.
    pub events: Vec<LogEvent>,
    /// Read marks that were moved in it and not again since.
    pub marks: Vec<UserMark>,
    /// Devices whose credential changed in it and not again since.
    pub devices: Vec<ChangedDevice>,
    /// Users who were deleted in it.
    pub deleted: Vec<UserId>,
    /// Everything up to here is in this stretch: the head, or the last event if
    /// there were more than the limit.
    pub upto: Position,
    /// There was nothing beyond `upto` when this was read.
    pub complete: bool,
}

/// How far a user has read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UserMark {
    /// The place that moving it took.
    pub position: Position,
    /// Who.
    pub user: UserId,
    /// What.
    pub conversation: ConversationId,
    /// The last event that they have read.
    pub read: ReadMark,
}

impl UserMark {
    /// As the user's own devices are told; nobody else learns the counts.
    #[must_use]
    pub fn to_wire(&self) -> v1::Mark {
        v1::Mark {
            conversation_id: self.conversation.to_wire(),
            user_id: self.user.to_wire(),
            delivered_seq: 0,
            read_seq: self.read.seq.get(),
            read_counts: Some(self.read.counts.to_wire()),
        }
    }
}

/// A read mark, and what there is for its user up to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadMark {
    /// The last event that the user has read.
    pub seq: Seq,
    /// Up to there.
    pub counts: Counts,
}

/// How many messages of others than a user a conversation has up to an event, deleted
/// ones too. Every one was numbered when it was written, so this never changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// All of them.
    pub messages: u64,
    /// Those that mention the user, or everybody.
    pub mentions: u64,
}

impl Counts {
    /// For the user's devices.
    #[must_use]
    pub const fn to_wire(self) -> v1::Counts {
        v1::Counts {
            messages: self.messages,
            mentions: self.mentions,
        }
    }
}

/// How far a page may go from `after` towards `head`, so that it has room for the
/// user's own marks: these are the first of them, at most `room`.
pub(in crate::store) fn end_for_marks(
    marks: &[UserMark],
    room: usize,
    after: Position,
    head: Position,
) -> Position {
    if marks.len() < room {
        return head;
    }
    // There may be more at the last one's position.
    let last = marks.last().map_or(after, |last| last.position.previous());
    last.max(after)
}

/// A device that was revoked, or was given another token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChangedDevice {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
    /// It may not connect any more.
    pub is_revoked: bool,
}

/// How much to read at once. At least one event is read, however large.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadLimit {
    /// Events.
    pub count: usize,
    /// Bytes of encoded events and descriptions.
    pub size: usize,
}

impl Stretch {
    /// Ends the stretch before marks that were not read, if some were not.
    pub(in crate::store) fn cut_marks(&mut self) {
        if self.marks.len() >= STRETCH_MARKS_MAX
            && let Some(last) = self.marks.last()
        {
            self.cut_at(last.position.previous());
        }
    }

    /// Ends the stretch here: events up to here were read, and all marks.
    pub(in crate::store) fn cut_at(&mut self, position: Position) {
        self.marks.retain(|mark| mark.position <= position);
        self.upto = position;
        self.complete = false;
    }
}

/// Read marks in one stretch: many more than take one position.
pub(in crate::store) const STRETCH_MARKS_MAX: usize = 10_000;

/// Positions that one page of a user looks at. Who is further behind gets pages
/// that may be empty, so that no single one takes long. (In tests few, so that
/// short logs have several.)
pub(in crate::store) const WINDOW_COUNT: u64 = if cfg!(test) { 20 } else { 20_000 };

/// This near to the head, the log is read without a question for what else could
/// be cheaper.
pub(in crate::store) const NEAR_COUNT: u64 = if cfg!(test) { 3 } else { 64 };

/// A stretch of the log this many times as long as the list of a user's
/// conversations takes longer to read than to ask each of them whether it
/// changed.
pub(in crate::store) const FAR_FACTOR: u64 = 2;

/// Read marks in one page, which leave room for its events in a frame. More than
/// take one position (`log::marks`), so that every page is progress.
pub(in crate::store) const MARK_COUNT_MAX: usize = if cfg!(test) { 8 } else { 1_000 };

/// A page of what follows a device's cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct UserPage {
    /// For each of the user's memberships that begins in this page, and for
    /// those described by a snapshot: its conversation.
    pub conversations: Vec<v1::Conversation>,
    /// The events of the user's conversations, shard by shard in order of
    /// position, each within a membership interval of the user.
    pub events: Vec<LogEvent>,
    /// The user's own read marks that were moved since the cursor.
    pub marks: Vec<v1::Mark>,
    /// Everything for the user up to here is in this page or an earlier one.
    pub upto: Positions,
    /// There was nothing for the user beyond `upto` when this was read.
    pub complete: bool,
}

/// Where a snapshot is.
///
/// A device that is new, or was away for very long, gets the recent events of
/// each conversation that changed since its cursor, the most recently changed
/// conversation first; what it did not get is history to be fetched on demand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotPlace {
    /// The device holds everything up to here already.
    pub since: Positions,
    /// The heads when the snapshot began: it shows the log as of then.
    pub at: Positions,
    /// Conversations whose last event (at or below `at`) was then or later were
    /// sent.
    pub below: Recency,
}

/// When an event was committed: an order over all shards.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Recency {
    /// Milliseconds since 1970.
    pub committed_at_ms: i64,
    /// Of events of the same millisecond.
    pub position: Position,
}

impl Recency {
    /// Later than all events.
    pub const LAST: Self = Self {
        committed_at_ms: i64::MAX,
        position: Position::new(i64::MAX.unsigned_abs()),
    };
}

/// A page of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotPage {
    /// Described conversations; a whole number of them.
    pub conversations: Vec<v1::Conversation>,
    /// Their recent events: by conversation, then by seq.
    pub events: Vec<LogEvent>,
    /// Where to go on; `None` behind the last page.
    pub next: Option<SnapshotPlace>,
}

/// Since when and until when a user may read a conversation. A user who left
/// and came back has several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Membership {
    /// Who.
    pub user: UserId,
    /// The first event that they may read.
    pub from_seq: Seq,
    /// The last event that they may read, once they left.
    pub to_seq: Option<Seq>,
}

/// Events of one conversation, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// The events.
    pub events: Vec<LogEvent>,
    /// There are no more in the direction that was asked for.
    pub complete: bool,
    /// Of the messages among them that were edited or have reactions, in ascending
    /// order of seq: what became of them up to `states_seq`, as far as the user may
    /// read it.
    pub states: Vec<v1::MessageState>,
    /// See `states`.
    pub states_seq: Seq,
}

impl HistoryPage {
    /// Leaves events out at the far end until the others fit into an answer with
    /// their states. One is left however large.
    pub(in crate::store) fn fit(&mut self, is_down: bool) {
        let states: HashMap<u64, usize> = self
            .states
            .iter()
            .map(|state| (state.seq, state.encoded_len()))
            .collect();
        let mut room = Room::new(ReadLimit {
            count: self.events.len(),
            size: HISTORY_SIZE_MAX,
        });
        let mut fits = |event: &&LogEvent| {
            let state_size = states.get(&event.seq.get()).copied().unwrap_or(0);
            room.take(1, event.encoded.len() + state_size)
        };
        let count = if is_down {
            self.events.iter().rev().take_while(&mut fits).count()
        } else {
            self.events.iter().take_while(&mut fits).count()
        };
        let left_out = self.events.len().saturating_sub(count);
        if left_out == 0 {
            return;
        }
        self.complete = false;
        if is_down {
            self.events.drain(..left_out);
        } else {
            self.events.truncate(count);
        }
        let first = self.events.first().map_or(0, |event| event.seq.get());
        let last = self.events.last().map_or(0, |event| event.seq.get());
        self.states
            .retain(|state| (first..=last).contains(&state.seq));
    }
}

/// Bytes of events and states in one answer: they fit into a frame with room to
/// spare.
pub(in crate::store) const HISTORY_SIZE_MAX: usize = SERVER_FRAME_SIZE_MAX * 3 / 4;

/// Puts together what became of messages: their newest edits, and their reactions.
pub(in crate::store) fn states(
    edits: Vec<Edited>,
    reactions: Vec<(Seq, v1::Reaction)>,
) -> Vec<v1::MessageState> {
    let mut states: BTreeMap<u64, v1::MessageState> = BTreeMap::new();
    for edit in edits {
        let state = states.entry(edit.seq.get()).or_default();
        state.edited_seq = edit.edited_seq.get();
        state.edited_at_ms = edit.edited_at_ms;
        state.message = Some(edit.message);
    }
    for (seq, reaction) in reactions {
        let state = states.entry(seq.get()).or_default();
        state.reactions.push(reaction);
    }
    states
        .into_iter()
        .map(|(seq, state)| v1::MessageState { seq, ..state })
        .collect()
}

/// Messages of a conversation, by the keys of an engine, for one who may read them.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Messages {
    pub(in crate::store) conversation: i64,
    pub(in crate::store) user: i64,
    /// The first and the last.
    pub(in crate::store) range: (i64, i64),
    /// No event above this one is taken in.
    pub(in crate::store) upto: i64,
}

/// The newest edit of a message.
pub(in crate::store) struct Edited {
    /// The message's place.
    pub(in crate::store) seq: Seq,
    /// The edit's own.
    pub(in crate::store) edited_seq: Seq,
    /// Milliseconds since 1970.
    pub(in crate::store) edited_at_ms: i64,
    /// What it says.
    pub(in crate::store) message: v1::Message,
}

/// What a user may read of a conversation, by their memberships in the order in which they
/// began: the same, each part once. The first event and the last one of each.
pub(in crate::store) fn apart(memberships: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    let mut parts: Vec<(i64, i64)> = Vec::with_capacity(memberships.len());
    for (mut from, to) in memberships {
        // Who may read what came before their membership may have been there.
        while let Some((first, _)) = parts.pop_if(|(_, last)| *last >= from) {
            from = from.min(first);
        }
        parts.push((from, to));
    }
    parts
}

/// How many have read messages, while it is counted.
pub(in crate::store) struct Readers {
    /// Rising, and never empty.
    seqs: Vec<Seq>,
    counts: Vec<u64>,
}

impl Readers {
    pub(in crate::store) fn of(seqs: &[Seq]) -> Self {
        Self {
            counts: vec![0; seqs.len()],
            seqs: seqs.to_vec(),
        }
    }

    /// The lowest seq: who has read less has read none of them.
    pub(in crate::store) fn first(&self) -> Seq {
        self.seqs.first().copied().unwrap_or(Seq::ZERO)
    }

    /// A member since `from_seq` who has read up to `read_seq`.
    pub(in crate::store) fn add(&mut self, from_seq: i64, read_seq: i64) {
        let (from, read) = (from_seq.unsigned_abs(), read_seq.unsigned_abs());
        let begin = self.seqs.partition_point(|seq| seq.get() < from);
        let end = self.seqs.partition_point(|seq| seq.get() <= read);
        self.add_many(begin, end, 1);
    }

    /// So many members who have read those from one index up to another.
    pub(in crate::store) fn add_many(&mut self, begin: usize, end: usize, count: u64) {
        for counted in self.counts.get_mut(begin..end).unwrap_or_default() {
            *counted = counted.saturating_add(count);
        }
    }

    /// One of the readers of this event is its sender.
    pub(in crate::store) fn without_sender(&mut self, of: Seq) {
        let counts = self.seqs.iter().zip(&mut self.counts);
        for (_, counted) in counts.filter(|(seq, _)| **seq == of) {
            *counted = counted.saturating_sub(1);
        }
    }

    /// For each seq, in their order.
    pub(in crate::store) fn counts(self) -> Vec<u64> {
        self.counts
    }
}

/// What is left of a [`ReadLimit`].
pub(in crate::store) struct Room {
    limit: ReadLimit,
    count: usize,
    size: usize,
}

impl Room {
    pub(in crate::store) const fn new(limit: ReadLimit) -> Self {
        Self {
            limit,
            count: 0,
            size: 0,
        }
    }

    /// Takes room for so much; whether there was. For the first there always is.
    pub(in crate::store) const fn take(&mut self, count: usize, size: usize) -> bool {
        let count = self.count.saturating_add(count);
        let size = self.size.saturating_add(size);
        let is_first = self.count == 0 && self.size == 0;
        if !is_first && (count > self.limit.count || size > self.limit.size) {
            return false;
        }
        self.count = count;
        self.size = size;
        true
    }

    /// What is left. One more than that tells whether there is more.
    pub(in crate::store) const fn left(&self) -> ReadLimit {
        ReadLimit {
            count: self.limit.count.saturating_sub(self.count),
            size: self.limit.size.saturating_sub(self.size),
        }
    }
}
