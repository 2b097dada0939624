//! What follows once a turn is written.

use super::connection::Connection;
use crate::{
    client::Event,
    database::{Changes, Waiting},
};

impl Connection<'_> {
    /// Acknowledges what was written, and tells the app.
    pub(super) fn written(&mut self, changes: Changes) {
        self.acknowledge();
        if let Some(cursor) = changes.cursor {
            self.session.stored(cursor);
            // A pong that came before says nothing new any more.
            drop(self.session.take_checkpoint());
        } else {
            self.take_checkpoint();
        }
        if changes.caught_up {
            self.release_outbox();
        }
        let holds = self.holds_outbox;
        self.wait(changes.waiting.filter(|_| !holds).unwrap_or_default());
        if let Some(reads) = changes.reads.filter(|_| !holds) {
            self.reads.extend(reads);
        }
        let is_answered = !changes.accepted.is_empty() || !changes.refused.is_empty();
        self.hold_reads(changes.reads_held, is_answered);
        if let Some(missing) = changes.missing {
            self.missing = missing.into();
            self.filling.clear();
            self.filling.extend(self.asked_gaps());
        }
        self.answer_asks(changes.filled, changes.listed);
        self.caught_up |= changes.caught_up;
        let notices = self.driver.notices.clone();
        if changes.began_anew {
            notices.push(Event::BeganAnew);
        }
        for dropped in changes.dropped {
            notices.push(Event::Dropped(dropped));
        }
        for (id, acceptance) in changes.accepted {
            self.outbox.remove(id);
            self.bodies.remove(&id);
            notices.push(Event::Accepted { id, acceptance });
        }
        for (id, refusal) in changes.refused {
            notices.push(Event::Failed { id, refusal });
        }
        if changes.doubted {
            self.driver.bells.uploads.notify_one();
        }
        for id in changes.nothing_to_do {
            notices.push(Event::NothingToDo { id });
        }
        for id in changes.read {
            notices.push(Event::Read { id });
        }
        for (conversation, (from_seq, to_seq)) in changes.stored {
            notices.push(Event::Stored {
                conversation,
                from_seq,
                to_seq,
            });
        }
        self.settle_people(changes.people);
        for conversation in changes.marks {
            notices.push(Event::Marks { conversation });
        }
        if self.caught_up && self.missing.is_empty() && self.filling.is_empty() {
            self.caught_up = false;
            self.worked = true;
            self.profiles.begin();
            notices.push(Event::CaughtUp);
        }
        self.tell_refreshed();
    }

    fn wait(&mut self, waiting: Vec<Waiting>) {
        for waiting in waiting {
            // A full read means that there may be more.
            self.more_waiting = true;
            self.read_up_to = self.read_up_to.max(waiting.place);
            self.outbox.push(waiting.id);
            self.bodies.insert(waiting.id, waiting.body);
        }
    }

    /// Read marks that waited are looked at again once something of the outbox is answered.
    fn hold_reads(&mut self, hold: bool, is_answered: bool) {
        self.reads_held |= hold;
        if self.reads_held && is_answered {
            self.reads_held = false;
            self.reads_changed = true;
        }
    }

    /// Tells those who asked for events or members what came. They may have gone.
    fn answer_asks(&mut self, filled: Vec<(u64, usize)>, listed: Vec<(u64, bool)>) {
        for (ask, count) in filled {
            if let Some(reply) = self.fill_replies.remove(&ask) {
                drop(reply.send(Ok(count)));
            }
        }
        for (ask, is_whole) in listed {
            if let Some(reply) = self.members_replies.remove(&ask) {
                drop(reply.send(Ok(is_whole)));
            }
        }
    }
}
