//! The way from the driver to the app: bounded, and never in the driver's way.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::client::Event;

/// Events that may wait. Beyond it they are dropped: the database has it all.
const WAITING_MAX: usize = 1_024;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    missed: bool,
    ended: bool,
}

/// Both ends of the event stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices {
    queue: Arc<Mutex<Queue>>,
    ready: Arc<Notify>,
}

impl Notices {
    /// Tells the app, merging with what waits where that says the same.
    pub(crate) fn push(&self, event: Event) {
        let mut queue = self.queue.lock();
        if !merge(queue.events.back_mut(), &event) {
            let is_end = event.is_end();
            if queue.events.len() >= WAITING_MAX && !is_end {
                queue.missed = true;
            } else {
                queue.events.push_back(event);
            }
        }
        drop(queue);
        self.ready.notify_one();
    }

    /// No more will come.
    pub(crate) fn end(&self) {
        self.queue.lock().ended = true;
        self.ready.notify_one();
    }

    /// The next one; `None` at the end.
    pub(crate) async fn next(&self) -> Option<Event> {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.ready.notified().await;
        }
    }

    fn take(&self) -> Option<Option<Event>> {
        let mut queue = self.queue.lock();
        if let Some(event) = queue.events.pop_front() {
            return Some(Some(event));
        }
        if std::mem::take(&mut queue.missed) {
            return Some(Some(Event::Missed));
        }
        queue.ended.then_some(None)
    }
}

fn merge(last: Option<&mut Event>, new: &Event) -> bool {
    match (last, new) {
        (
            Some(Event::Stored {
                conversation,
                from_seq,
                to_seq,
            }),
            Event::Stored {
                conversation: same,
                from_seq: from,
                to_seq: to,
            },
        ) if conversation == same => {
            *from_seq = (*from_seq).min(*from);
            *to_seq = (*to_seq).max(*to);
            true
        }
        (
            Some(Event::Uploading { id, sent, .. }),
            Event::Uploading {
                id: same,
                sent: now,
                ..
            },
        ) if id == same => {
            *sent = *now;
            true
        }
        (
            Some(Event::Downloading {
                media, received, ..
            }),
            Event::Downloading {
                media: same,
                received: now,
                ..
            },
        ) if media == same => {
            *received = *now;
            true
        }
        (Some(Event::Marks { conversation }), Event::Marks { conversation: same }) => {
            conversation == same
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::{id::ConversationId, seq::Seq};

    use super::*;

    fn stored(byte: u8, seq: u64) -> Event {
        let seq = Seq::new(seq);
        Event::Stored {
            conversation: ConversationId::new([byte; 16]),
            from_seq: seq,
            to_seq: seq,
        }
    }

    /// D9.
    #[tokio::test]
    async fn events_that_nobody_fetches_are_merged_or_dropped_and_that_is_said() {
        let notices = Notices::default();
        for seq in 1..=10 {
            notices.push(stored(1, seq));
        }
        for seq in 0..3_000 {
            notices.push(stored((seq % 2) as u8, seq));
        }
        notices.end();
        let mut events = Vec::new();
        while let Some(event) = notices.next().await {
            events.push(event);
        }
        assert_eq!(events.len(), WAITING_MAX + 1);
        assert!(matches!(&events[0], Event::Stored { to_seq, .. } if *to_seq == Seq::new(10)));
        assert_eq!(events.last(), Some(&Event::Missed));
    }
}
