//! Whose presence those watch who are connected here, and what they were told of it.
//!
//! Nobody is told of everybody: a connection watches the few people whom it shows. What
//! comes and goes unwatched costs a look into a table.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use magpie_protocol::{id::UserId, wire::v1};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Mailbox;

/// What a watcher believes of a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// Whether they are there.
    pub state: v1::PresenceState,
    /// When they were last, milliseconds since 1970, if they are not; 0 if it is not told.
    pub last_seen_at_ms: i64,
}

/// Why a watched user may have to be told of: the later, the more has to be asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Note {
    /// What is not seen from here may become otherwise.
    Unseen,
    /// A connection of theirs has left, or nobody looks at it any more.
    Left,
    /// Somebody looks at a new one.
    Came,
    /// Others may know of them what they could not before, or no more.
    Change,
}

#[derive(Debug)]
struct Watch {
    by: Arc<Mailbox>,
    /// `None` until its answer has left.
    told: Option<Told>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Watched users, and by whom. One entry and one watch for each that a connection
    /// watches, which are at most 64.
    watched: HashMap<UserId, Vec<Watch>>,
    /// Of watched users alone.
    noted: HashMap<UserId, Note>,
}

/// Who watches whom.
#[derive(Debug, Default)]
pub struct Watches {
    inner: Mutex<Inner>,
    bell: Notify,
}

impl Watches {
    /// The connection watches these users, and no others any more. Nothing is told of them
    /// before it was told once ([`Self::tell`]).
    pub fn watch(&self, by: &Arc<Mailbox>, users: &[UserId]) {
        let mut watched = by.watched.lock();
        if watched.is_empty() && users.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        for user in watched.drain(..) {
            inner.forget(by, user);
        }
        // Whoever ends is taken out behind that, and never put in again.
        if by.has_ended() {
            return;
        }
        for user in users {
            if !watched.contains(user) {
                watched.push(*user);
                let (by, told) = (Arc::clone(by), None);
                let watches = inner.watched.entry(*user).or_default();
                watches.push(Watch { by, told });
            }
        }
    }

    /// Something happened to a user. Rung if anybody watches them.
    pub fn note(&self, user: UserId, note: Note) {
        let mut inner = self.inner.lock();
        if !inner.watched.contains_key(&user) {
            return;
        }
        let noted = inner.noted.entry(user).or_insert(note);
        *noted = note.max(*noted);
        drop(inner);
        self.bell.notify_one();
    }

    /// Something may have happened to anybody.
    pub fn note_all(&self, note: Note) {
        let mut inner = self.inner.lock();
        let Inner { watched, noted } = &mut *inner;
        for user in watched.keys() {
            noted.entry(*user).or_insert(note);
        }
    }

    /// Waits until something was noted.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// What was noted since the last time.
    #[must_use]
    pub fn take_noted(&self) -> HashMap<UserId, Note> {
        std::mem::take(&mut self.inner.lock().noted)
    }

    /// Who watches the user, and what each was told.
    #[must_use]
    pub fn watchers(&self, user: UserId) -> Vec<(Arc<Mailbox>, Option<Told>)> {
        let inner = self.inner.lock();
        let watches = inner.watched.get(&user).into_iter().flatten();
        let watchers = watches.map(|watch| (Arc::clone(&watch.by), watch.told));
        watchers.collect()
    }

    /// The connection was told this of a user. False if it does not watch them any more.
    pub fn tell(&self, by: &Arc<Mailbox>, user: UserId, told: Told) -> bool {
        let mut inner = self.inner.lock();
        let watches = inner.watched.get_mut(&user).into_iter().flatten();
        let mut watches = watches.filter(|watch| Arc::ptr_eq(&watch.by, by));
        let watch = watches.next();
        watch.map(|watch| watch.told = Some(told)).is_some()
    }

    /// How many users are watched.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.lock().watched.len()
    }
}

impl Inner {
    fn forget(&mut self, by: &Arc<Mailbox>, user: UserId) {
        let Entry::Occupied(mut entry) = self.watched.entry(user) else {
            return;
        };
        entry.get_mut().retain(|watch| !Arc::ptr_eq(&watch.by, by));
        if entry.get().is_empty() {
            entry.remove();
            self.noted.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::id::DeviceId;

    use super::*;

    fn user(number: u8) -> UserId {
        UserId::new([number; 16])
    }

    fn mailbox(number: u8) -> Arc<Mailbox> {
        Arc::new(Mailbox::new(user(number), DeviceId::new([number; 16])))
    }

    const ONLINE: Told = Told {
        state: v1::PresenceState::Online,
        last_seen_at_ms: 0,
    };

    #[test]
    fn nobody_is_noted_whom_nobody_watches() {
        let watches = Watches::default();
        let (alice, bob) = (mailbox(1), mailbox(2));
        watches.note(user(7), Note::Came);
        assert_eq!(watches.take_noted(), HashMap::new());
        watches.watch(&alice, &[user(7), user(7)]);
        watches.watch(&bob, &[user(7), user(8)]);
        for note in [Note::Change, Note::Came, Note::Left] {
            watches.note(user(7), note);
        }
        let noted = HashMap::from([(user(7), Note::Change)]);
        assert_eq!(watches.take_noted(), noted);
        assert_eq!(watches.watchers(user(7)).len(), 2);
        // Others instead, and the end: nothing is left.
        watches.watch(&alice, &[user(9)]);
        watches.note(user(7), Note::Came);
        watches.watch(&bob, &[]);
        assert_eq!(watches.take_noted(), HashMap::new());
        assert_eq!(watches.count(), 1);
        alice.close();
        watches.watch(&alice, &[user(9)]);
        assert_eq!(watches.count(), 0);
    }

    #[test]
    fn a_watch_remembers_what_it_was_told() {
        let watches = Watches::default();
        let alice = mailbox(1);
        assert!(!watches.tell(&alice, user(7), ONLINE));
        watches.watch(&alice, &[user(7)]);
        let told = || watches.watchers(user(7))[0].1;
        assert_eq!(told(), None);
        assert!(watches.tell(&alice, user(7), ONLINE));
        assert_eq!(told(), Some(ONLINE));
        watches.watch(&alice, &[user(7)]);
        assert_eq!(told(), None, "its answer is to come");
    }
}
