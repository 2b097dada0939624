//! Whose presence the app watches: asked on every connection, and now and then again, since
//! a hint may be lost.

use std::sync::Arc;

use magpie_protocol::{
    id::UserId,
    limits::{WATCH_INTERVAL, WATCHED_COUNT_MAX},
    moment::Moment,
    session::Answer,
    wire::v1::{self, Action, client_frame::Body},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    connection::{Connection, Purpose, Waiting},
    ending::of_error,
};
use crate::{client::Event, model::Presence};

/// What the app watches, and what is known of it: shared with the driver, and the same over
/// all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    inner: Arc<Mutex<Inner>>,
    pub(super) bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    users: Vec<UserId>,
    /// How often others were watched: an answer about those before is of no use.
    changes: u64,
    /// What the server said on this connection.
    known: Vec<Presence>,
}

impl Watched {
    /// The app looks at these users now, and at no others.
    pub(crate) fn set(&self, users: &[UserId]) {
        let mut inner = self.inner.lock();
        let mut wanted = Vec::new();
        for user in users {
            if wanted.len() < WATCHED_COUNT_MAX && !wanted.contains(user) {
                wanted.push(*user);
            }
        }
        if wanted != inner.users {
            inner.known.retain(|it| wanted.contains(&it.user));
            inner.users = wanted;
            inner.changes += 1;
            self.bell.notify_one();
        }
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Vec<Presence> {
        self.inner.lock().known.clone()
    }

    fn users(&self) -> (Vec<UserId>, u64) {
        let inner = self.inner.lock();
        (inner.users.clone(), inner.changes)
    }

    /// Takes what the server says of a user; true if it is new, and of one who is watched.
    fn take(&self, presence: &Presence) -> bool {
        let mut inner = self.inner.lock();
        if !inner.users.contains(&presence.user) {
            return false;
        }
        let mut known = inner.known.iter_mut();
        match known.find(|it| it.user == presence.user) {
            Some(known) => std::mem::replace(known, presence.clone()) != *presence,
            None => {
                inner.known.push(presence.clone());
                true
            }
        }
    }

    fn is_current(&self, changes: u64) -> bool {
        self.inner.lock().changes == changes
    }

    fn forget(&self) {
        self.inner.lock().known.clear();
    }
}

/// When to ask on this connection.
#[derive(Debug, Default)]
pub(super) struct Watching {
    /// An answer is owed.
    is_busy: bool,
    /// Which change of whom the app watches the server knows; 0: none.
    asked: u64,
    again_at: Option<Moment>,
}

impl Watching {
    /// When it is time to ask again.
    pub(super) const fn next_at(&self) -> Option<Moment> {
        self.again_at
    }

    /// What is known is as good as not asked for once that time has come.
    pub(super) fn come_due(&mut self, now: Moment) {
        if self.again_at.is_some_and(|at| now >= at) {
            self.again_at = None;
            self.asked = 0;
        }
    }
}

impl Connection<'_> {
    /// The next question about who is there, if it is time for one.
    pub(super) fn next_presences(&mut self) -> Option<Waiting> {
        let (users, changes) = self.driver.bells.watched.users();
        if self.watching.is_busy || changes == self.watching.asked {
            return None;
        }
        self.watching = Watching {
            is_busy: true,
            asked: changes,
            again_at: None,
        };
        let user_ids = users.iter().map(|user| user.to_wire()).collect();
        Some(Waiting {
            body: Body::WatchPresence(v1::WatchPresence { user_ids }),
            purpose: Purpose::Watch(changes),
        })
    }

    pub(super) fn answer_to_watch(&mut self, changes: u64, answer: Answer) {
        self.watching.is_busy = false;
        let again_in = if let Answer::Presences(it) = answer {
            let are_watched = !it.presences.is_empty();
            if self.driver.bells.watched.is_current(changes) {
                for presence in &it.presences {
                    self.take_presence(presence);
                }
            }
            are_watched.then_some(WATCH_INTERVAL)
        } else if let Answer::Error(error) = answer {
            let refusal = of_error(error);
            // A server that does not know the question says so once.
            let may_ask = refusal.action != Action::Never;
            may_ask.then_some(refusal.after.max(WATCH_INTERVAL / 10))
        } else {
            None
        };
        self.watching.again_at = again_in.map(|after| self.now() + after);
    }

    /// Whether a user is there, as the server says.
    pub(super) fn take_presence(&self, it: &v1::Presence) {
        if let Some(presence) = Presence::parse(it)
            && self.driver.bells.watched.take(&presence)
        {
            self.driver.notices.push(Event::Presence { presence });
        }
    }

    /// Without a connection nothing is known.
    pub(super) fn forget_presences(&self) {
        self.driver.bells.watched.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PresenceState;

    #[test]
    fn what_is_not_watched_any_more_is_not_known_any_more() {
        let watched = Watched::default();
        let user = |number| UserId::new([number; 16]);
        let online = |number| Presence {
            user: user(number),
            state: PresenceState::Online,
        };
        assert!(!watched.take(&online(1)), "nobody watches");
        watched.set(&[user(1), user(2), user(1)]);
        assert_eq!(watched.users(), (vec![user(1), user(2)], 1));
        assert!(watched.take(&online(1)));
        assert!(!watched.take(&online(1)), "nothing new");
        assert!(watched.take(&online(2)));
        watched.set(&[user(1), user(2)]);
        watched.set(&[user(2)]);
        assert_eq!(watched.known(), [online(2)]);
        assert!(!watched.is_current(1) && watched.is_current(2));
        let many: Vec<UserId> = (0..100).map(user).collect();
        watched.set(&many);
        assert_eq!(watched.users().0.len(), WATCHED_COUNT_MAX);
    }
}
