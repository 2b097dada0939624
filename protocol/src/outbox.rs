//! The order in which a device sends what it has not sent yet.
//!
//! The durable queue is in the device's local database; this decides what leaves
//! next. Entries leave in the person's order, and after a lost connection all
//! that was not answered leaves again, in the same order, with the same ids
//! (D3, D6). The server does each at most once, so sending again is always right.

use std::collections::{BTreeSet, VecDeque};

use crate::{id::MessageId, seq::FrameNumber};

/// What a device still has to send, and what is under way.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<MessageId>,
    /// In the order in which they left.
    in_flight: VecDeque<(FrameNumber, MessageId)>,
    /// All of them: an outbox may hold many thousands.
    known: BTreeSet<MessageId>,
}

impl Outbox {
    /// Adds an entry behind all others. One that is there already stays where
    /// it is.
    pub fn push(&mut self, id: MessageId) {
        if self.known.insert(id) {
            self.waiting.push_back(id);
        }
    }

    /// The entry that leaves next.
    #[must_use]
    pub fn next(&self) -> Option<MessageId> {
        self.waiting.front().copied()
    }

    /// The entry that was next has left as this frame.
    pub fn sent(&mut self, number: FrameNumber) {
        if let Some(id) = self.waiting.pop_front() {
            self.in_flight.push_back((number, id));
        }
    }

    /// The answer to this frame is here, accepted or refused for good: which
    /// entry was it?
    pub fn answered(&mut self, number: FrameNumber) -> Option<MessageId> {
        let index = self
            .in_flight
            .iter()
            .position(|(other, _)| *other == number)?;
        let (_, id) = self.in_flight.remove(index)?;
        self.known.remove(&id);
        Some(id)
    }

    /// The entry was seen in the log, or taken back by the person: it need not
    /// be sent (again).
    pub fn remove(&mut self, id: MessageId) {
        if !self.known.remove(&id) {
            return;
        }
        self.waiting.retain(|other| *other != id);
        self.in_flight.retain(|(_, other)| *other != id);
    }

    /// The connection is gone: what was under way waits again, in front.
    pub fn connection_lost(&mut self) {
        while let Some((_, id)) = self.in_flight.pop_back() {
            self.waiting.push_front(id);
        }
    }

    /// Entries not answered yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether everything was answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> MessageId {
        MessageId::new([byte; 16])
    }

    /// D6.
    #[test]
    fn what_was_not_answered_leaves_again_in_the_same_order() {
        let mut outbox = Outbox::default();
        for byte in 1..=4 {
            outbox.push(id(byte));
        }
        for number in 1..=3 {
            outbox.sent(FrameNumber::new(number));
        }
        assert_eq!(outbox.answered(FrameNumber::new(2)), Some(id(2)));
        outbox.connection_lost();
        let mut order = Vec::new();
        while let Some(next) = outbox.next() {
            order.push(next);
            outbox.sent(FrameNumber::new(order.len() as u64));
        }
        assert_eq!(order, [id(1), id(3), id(4)]);
    }

    /// D3.
    #[test]
    fn an_entry_is_queued_once_and_answered_once() {
        let mut outbox = Outbox::default();
        outbox.push(id(1));
        outbox.push(id(1));
        outbox.sent(FrameNumber::new(1));
        outbox.push(id(1));
        assert_eq!(outbox.len(), 1);
        assert_eq!(outbox.answered(FrameNumber::new(1)), Some(id(1)));
        assert_eq!(outbox.answered(FrameNumber::new(1)), None);
        assert!(outbox.is_empty());
    }
}
