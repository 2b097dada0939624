//! What senders were told against what readers were shown.
//!
//! A history is what the outside saw: nothing of the server or the client is
//! asked. An attempt whose outcome nobody was told is indeterminate: it may be
//! in the log, at most once.

mod order;
mod reader;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use magpie_protocol::{
    id::{ConversationId, MessageId},
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

/// What a sender was told of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is in the log, there.
    Accepted(Place),
    /// It is not in the log and never will be.
    Refused,
    /// Nothing: it may be in the log, at most once.
    Unknown,
}

/// One event that somebody asked for, as its sender knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sending {
    /// The device that sent it; any name that tells devices apart.
    pub device: String,
    /// Its id.
    pub message_id: MessageId,
    /// What it said.
    pub digest: Digest,
    /// What the sender was told.
    pub outcome: Outcome,
}

/// One event as a device showed (or stored) it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Where.
    pub place: Place,
    /// Its id.
    pub message_id: MessageId,
    /// What it said.
    pub digest: Digest,
}

/// One device that read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reader {
    /// Any name that tells devices apart.
    pub device: String,
    /// The conversations that it must show, each from which seq on.
    pub from: BTreeMap<ConversationId, Seq>,
    /// What it showed, in the order in which it showed it, over all its runs.
    pub shown: Vec<Shown>,
}

/// Which promise was broken.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Accepted, and a reader never showed it (D1, D2).
    Lost,
    /// One id at two places, or one event shown twice (D3).
    Duplicated,
    /// Not the order of seq, two orders, or not the sender's order (D4, D6).
    Reordered,
    /// A seq was passed over (D5).
    Gap,
    /// Shown, and nobody sent that, or it was refused (D12).
    Phantom,
    /// Shown to somebody who should not see that conversation (D10).
    Leaked,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Lost => "lost (D1, D2)",
            Self::Duplicated => "duplicated (D3)",
            Self::Reordered => "reordered (D4, D6)",
            Self::Gap => "gap (D5)",
            Self::Phantom => "phantom (D12)",
            Self::Leaked => "leaked (D10)",
        })
    }
}

/// One broken promise, with the shortest story that shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// Two or three sentences, in the order in which they happened.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.story.join("; "))
    }
}

/// Checks what senders were told against what readers were shown.
///
/// `sendings` are in the order in which each device sent; how the lists of
/// several devices are merged does not matter. Every event that a reader may
/// have shown belongs in it, group changes too. Returns every violation found;
/// one fault may break several promises.
#[must_use]
pub fn check(sendings: &[Sending], readers: &[Reader]) -> Vec<Violation> {
    let sent: HashMap<MessageId, &Sending> = sendings
        .iter()
        .map(|sending| (sending.message_id, sending))
        .collect();
    let mut violations = Vec::new();
    let places = order::one_order_for_all(sendings, readers, &mut violations);
    order::senders_order(sendings, &places, &mut violations);
    for reader in readers {
        reader::own_order(reader, &mut violations);
        reader::only_what_was_sent(reader, &sent, &mut violations);
        reader::nothing_lost(reader, sendings, &mut violations);
    }
    violations
}
