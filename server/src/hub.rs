//! Which devices are connected to this process, and their doorbells.
//!
//! A mailbox is what the rest of the server knows of a connection: answers to
//! its requests, events that just committed, a word to end. It is bounded: events
//! that do not fit are dropped from the mailbox, not from the log, and the
//! connection reads on from the log when it can.

mod mailbox;
mod promise;
#[cfg(test)]
mod tests;
mod wakeups;
mod watches;

use std::{collections::HashMap, sync::Arc};

use magpie_protocol::id::{DeviceId, UserId};
use parking_lot::Mutex;

use self::mailbox::Room;
pub use self::{
    mailbox::{Collected, Ending, HINTS_COUNT_MAX, Letter, MARKS_COUNT_MAX, Mailbox, Post},
    promise::Promise,
    wakeups::Wakeups,
    watches::{Note, Told, Watches},
};
use crate::config::Limits;

/// Shards of the table of connections, so that they seldom wait for each other.
const SHARDS: usize = 64;

/// The connections of this process, by user.
#[derive(Debug)]
pub struct Hub {
    shards: Vec<Mutex<HashMap<UserId, Vec<Arc<Mailbox>>>>>,
    room: Room,
    /// Whose presence they watch.
    pub watches: Watches,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

impl Hub {
    /// Nobody is connected. Each mailbox will hold as much as `limits` say.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            room: Room::of(limits),
            watches: Watches::default(),
        }
    }

    fn with<T>(
        &self,
        user: UserId,
        work: impl FnOnce(&mut HashMap<UserId, Vec<Arc<Mailbox>>>) -> T,
    ) -> Option<T> {
        // The last byte of a UUIDv7 and of a random id is random.
        let index = usize::from(user.bytes().last().copied().unwrap_or_default()) % SHARDS;
        self.shards.get(index).map(|shard| work(&mut shard.lock()))
    }

    /// A device is connected. An older connection of it ends.
    pub fn join(&self, mailbox: &Arc<Mailbox>) {
        mailbox.set_room(self.room);
        let older = self.with(mailbox.user, |users| {
            let of_user = users.entry(mailbox.user).or_default();
            let older = of_user
                .iter()
                .position(|other| other.device == mailbox.device)
                .map(|index| of_user.swap_remove(index));
            of_user.push(Arc::clone(mailbox));
            older
        });
        if let Some(older) = older.flatten() {
            older.end(Ending::Replaced);
        }
        if mailbox.is_looked_at() {
            self.watches.note(mailbox.user, Note::Came);
        }
    }

    /// Nobody looks at the app any more, and the connection will go.
    pub fn looks_away(&self, mailbox: &Arc<Mailbox>) {
        mailbox.looks_away();
        self.watches.watch(mailbox, &[]);
        self.watches.note(mailbox.user, Note::Left);
    }

    /// The connection is gone.
    pub fn leave(&self, mailbox: &Arc<Mailbox>) {
        self.with(mailbox.user, |users| {
            if let Some(of_user) = users.get_mut(&mailbox.user) {
                of_user.retain(|other| !Arc::ptr_eq(other, mailbox));
                if of_user.is_empty() {
                    users.remove(&mailbox.user);
                }
            }
        });
        self.watches.watch(mailbox, &[]);
        self.watches.note(mailbox.user, Note::Left);
    }

    /// Whether the user looks at the app on a device that is connected here.
    #[must_use]
    pub fn is_looked_at(&self, user: UserId) -> bool {
        let mut is_looked_at = false;
        self.each_of(user, |mailbox| is_looked_at |= mailbox.is_looked_at());
        is_looked_at
    }

    /// The user may be told other things than before, and others of them.
    pub fn note_change(&self, user: UserId) {
        self.watches.note(user, Note::Change);
        self.each_of(user, |mailbox| {
            for watched in mailbox.watched.lock().iter() {
                self.watches.note(*watched, Note::Change);
            }
        });
    }

    /// Calls `visit` with each connection of the user.
    pub fn each_of(&self, user: UserId, mut visit: impl FnMut(&Arc<Mailbox>)) {
        self.with(user, |users| {
            for mailbox in users.get(&user).into_iter().flatten() {
                visit(mailbox);
            }
        });
    }

    /// Ends all connections.
    pub fn end_all(&self, ending: Ending) {
        for shard in &self.shards {
            let mailboxes: Vec<_> = shard.lock().values().flatten().cloned().collect();
            for mailbox in mailboxes {
                mailbox.end(ending);
            }
        }
    }

    /// How many devices are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().values().map(Vec::len).sum::<usize>())
            .sum()
    }

    /// Ends the connection of this device, if there is one here.
    pub fn end(&self, user: UserId, device: DeviceId, ending: Ending) {
        let mut found = None;
        self.each_of(user, |mailbox| {
            if mailbox.device == device {
                found = Some(Arc::clone(mailbox));
            }
        });
        if let Some(mailbox) = found {
            mailbox.end(ending);
        }
    }
}
