//! What is read of the log, and how much of it at once.

use magpie_protocol::{
    id::UserId,
    seq::{Position, Seq},
    wire::v1,
};

use super::LogEvent;

/// A stretch of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// Its events, in order of position.
    pub events: Vec<LogEvent>,
    /// Everything up to here is in `events`: the head, or the last event if
    /// there were more than the limit.
    pub upto: Position,
    /// There was nothing beyond `upto` when this was read.
    pub complete: bool,
}

/// How much to read at once. At least one event is read, however large.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadLimit {
    /// Events.
    pub count: usize,
    /// Bytes of encoded events and descriptions.
    pub size: usize,
}

/// A page of what follows a device's cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct UserPage {
    /// For each of the user's memberships that begins in this page, and for
    /// those described by a snapshot: its conversation.
    pub conversations: Vec<v1::Conversation>,
    /// The events of the user's conversations, in order of position, each within
    /// a membership interval of the user.
    pub events: Vec<LogEvent>,
    /// The user's own read marks that were set since the cursor.
    pub marks: Vec<v1::Mark>,
    /// Everything for the user up to here is in this page or an earlier one.
    pub upto: Position,
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
    pub since: Position,
    /// The head when the snapshot began: it shows the log as of then.
    pub at: Position,
    /// Conversations whose last event (at or below `at`) is at or above this
    /// were sent.
    pub below: Position,
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryPage {
    /// The events.
    pub events: Vec<LogEvent>,
    /// There are no more in the direction that was asked for.
    pub complete: bool,
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
