//! What a run leaves behind, for [`judge`](crate::judge) to look at.
//!
//! Each device writes down what it was told, stored and showed, in the order in
//! which it happened to it; somebody adds what the log holds at the end, who was
//! a member when, where an epoch began, and which wakes were sent. Whatever is
//! not known is left out, and what depends on it is not judged.

use std::{collections::BTreeMap, fmt};

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};

use crate::digest::Digest;

/// An event's place.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Where in it.
    pub seq: Seq,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "seq {} of conversation {}",
            self.seq, self.conversation
        )
    }
}

/// An event as somebody holds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Event {
    /// Where.
    pub place: Place,
    /// Its id.
    pub message_id: MessageId,
    /// Who made it, if that is known.
    pub sender: Option<UserId>,
    /// What it says.
    pub digest: Digest,
}

/// One thing that a device notes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Record {
    /// The person asked for it: it is in the outbox.
    Sent {
        /// Its id.
        message_id: MessageId,
        /// Where to, if the device knows.
        conversation: Option<ConversationId>,
        /// What it says.
        digest: Digest,
    },
    /// The server says that it is in the log.
    Accepted {
        /// Its id.
        message_id: MessageId,
        /// Where.
        place: Place,
        /// In which epoch that was said.
        epoch: u64,
    },
    /// The server says that it never will be in the log.
    Refused {
        /// Its id.
        message_id: MessageId,
    },
    /// It is in the local database.
    Stored {
        /// What.
        event: Event,
        /// The epoch of the connection that brought it.
        epoch: u64,
        /// The generation of that connection.
        generation: u64,
    },
    /// The person sees it.
    Shown {
        /// Where.
        place: Place,
        /// Its id.
        message_id: MessageId,
    },
    /// What it held of a conversation above this seq is not part of the history
    /// any more.
    Dropped {
        /// Which conversation.
        conversation: ConversationId,
        /// The last seq that stays.
        above: Seq,
    },
    /// The cursor in the local database, one position per shard of the log.
    Cursor(Vec<u64>),
    /// A connection began with this cursor.
    Hello {
        /// The history that the device knows.
        epoch: u64,
        /// As in [`Record::Cursor`].
        cursor: Vec<u64>,
    },
    /// The server welcomed it.
    Welcome {
        /// The server's history.
        epoch: u64,
        /// Of this connection.
        generation: u64,
    },
    /// The person has read so far.
    ReadSet(Place),
    /// The device shows how far somebody has read.
    ReadSeen {
        /// Who.
        user: UserId,
        /// So far.
        place: Place,
    },
    /// The device shows how far somebody's devices have stored.
    DeliveredSeen {
        /// Who.
        user: UserId,
        /// So far.
        place: Place,
    },
    /// The process started again on the same database.
    Restarted,
    /// The database is again as it was behind the line with this number; 0: it
    /// is a new one.
    RolledBack {
        /// The last line that it remembers.
        to: u64,
    },
}

/// A line of a device's notes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// 1, 2, 3, ... without a hole, so that a cut is noticed.
    pub number: u64,
    /// When, in microseconds of [`History::one_clock`]; else any order.
    pub at: u64,
    /// What.
    pub record: Record,
}

/// A device at the end of the run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct End {
    /// It says that it has everything.
    pub caught_up: bool,
    /// How many lines it wrote.
    pub lines: u64,
    /// What its outbox shows as waiting, or as failed.
    pub waiting: Vec<MessageId>,
    /// Its cursor.
    pub cursor: Vec<u64>,
    /// Seqs, both included, that it knows it has not fetched.
    pub gaps: Vec<(ConversationId, Seq, Seq)>,
}

/// One device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// Any name, for the story.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// What it noted.
    pub lines: Vec<Line>,
    /// `None`: it did not come back.
    pub end: Option<End>,
}

impl Device {
    /// A device with nothing noted.
    #[must_use]
    pub fn new(name: impl Into<String>, user: UserId) -> Self {
        Self {
            name: name.into(),
            user,
            lines: Vec::new(),
            end: None,
        }
    }

    /// Notes one more thing.
    pub fn note(&mut self, at: u64, record: Record) {
        let number = self.lines.len() as u64 + 1;
        self.lines.push(Line { number, at, record });
    }
}

/// A stretch of a conversation that a user may read, and write behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Membership {
    /// Who.
    pub user: UserId,
    /// Which conversation.
    pub conversation: ConversationId,
    /// The first seq.
    pub from: Seq,
    /// The last seq; `None`: still a member.
    pub to: Option<Seq>,
}

/// The beginning of a new history, after one that may have gone back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Epoch {
    /// Its number, above that of the one before.
    pub number: u64,
    /// The history of which the backup was; what began after that one is undone.
    pub of: u64,
    /// The last seq of each conversation that it took over.
    pub upto: BTreeMap<ConversationId, Seq>,
}

/// A push that says: connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wake {
    /// Whose push token: an index into [`History::devices`].
    pub device: usize,
    /// When it was made.
    pub at: u64,
    /// In which epoch.
    pub epoch: u64,
    /// Up to where the device has something to fetch.
    pub owed: u64,
    /// Up to where it had confirmed when the wake was made.
    pub confirmed: u64,
    /// Sent once more, since the first did not help.
    pub again: bool,
}

/// A whole run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// All devices, those that were lost too.
    pub devices: Vec<Device>,
    /// Who may read what.
    pub members: Vec<Membership>,
    /// What the log holds at the end, if somebody read it.
    pub log: Option<Vec<Event>>,
    /// All epochs but the first, ascending.
    pub epochs: Vec<Epoch>,
    /// All wakes, in the order in which they were made.
    pub wakes: Vec<Wake>,
    /// The last position of each shard at the end; empty: not known.
    pub head: Vec<u64>,
    /// All lines carry the time of one clock.
    pub one_clock: bool,
    /// The world was healthy for so long that all must have come right.
    pub settled: bool,
}
