//! What snapshots have looked up and not shown yet.
//!
//! In which order a snapshot shows a user's conversations is not written down: to
//! find out takes a look-up of each of them, which is too much for every page of
//! an account with thousands. So a look-up serves the next pages too. It may be
//! forgotten at any moment, and is done again then.

use std::collections::VecDeque;

use magpie_protocol::id::UserId;
use parking_lot::Mutex;

use super::{Recency, SnapshotPlace};

/// Conversations that one look-up is good for. (In tests few, so that there are
/// several look-ups.)
pub(super) const UPCOMING_MAX: usize = if cfg!(test) { 3 } else { 1_000 };

/// Snapshots whose next conversations are held: about 3 MB.
const SNAPSHOTS_MAX: usize = 64;

/// A conversation that a snapshot is going to show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Upcoming {
    /// Its key.
    pub(super) conversation: i64,
    /// Where the user's latest membership of it begins. Whether that has ended by now
    /// is asked when it is shown.
    pub(super) from_seq: i64,
    /// The last event that the user may read, of those the snapshot shows.
    pub(super) last_seq: i64,
    pub(super) last: Recency,
}

/// The next conversations of a snapshot, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Looked {
    pub(super) upcoming: VecDeque<Upcoming>,
    /// There are no others behind them.
    pub(super) is_all: bool,
}

impl Looked {
    /// Takes as many as a look-up may hold; there may be one more, which tells that
    /// there are others.
    pub(super) fn of(upcoming: impl IntoIterator<Item = Upcoming>) -> Self {
        let mut upcoming: VecDeque<Upcoming> =
            upcoming.into_iter().take(UPCOMING_MAX + 1).collect();
        let is_all = upcoming.len() <= UPCOMING_MAX;
        upcoming.truncate(UPCOMING_MAX);
        Self { upcoming, is_all }
    }
}

/// The look-ups of the snapshots that went on lately.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    served: Served,
    looked: VecDeque<(UserId, SnapshotPlace, Looked)>,
}

/// Which of the histories that were served, one after the other, is looked up in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Served(u64);

impl Ahead {
    /// What was looked up for the page at this place, and in which history what is
    /// looked up from now on is.
    pub(super) fn take(&self, user: UserId, place: &SnapshotPlace) -> (Served, Option<Looked>) {
        let Held { served, looked } = &mut *self.0.lock();
        let index = looked.iter().position(|it| it.0 == user && it.1 == *place);
        let taken = index.and_then(|index| looked.remove(index));
        (*served, taken.map(|(.., looked)| looked))
    }

    /// Keeps what is left for the page at this place, if that history is served still.
    pub(super) fn put(&self, during: Served, user: UserId, place: SnapshotPlace, left: Looked) {
        let Held { served, looked } = &mut *self.0.lock();
        if left.upcoming.is_empty() || during != *served {
            return;
        }
        if looked.len() >= SNAPSHOTS_MAX {
            looked.pop_front();
        }
        looked.push_back((user, place, left));
    }

    /// Another history is served: the same places are others in it.
    pub(super) fn clear(&self) {
        let Held { served, looked } = &mut *self.0.lock();
        served.0 = served.0.wrapping_add(1);
        looked.clear();
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::seq::Position;

    use super::*;
    use crate::store::Positions;

    fn place(at: u64) -> SnapshotPlace {
        SnapshotPlace {
            since: Positions::origin(1),
            at: Position::new(at).into(),
            below: Recency::LAST,
        }
    }

    fn looked(count: usize) -> Looked {
        Looked::of((0..count).map(|number| Upcoming {
            conversation: number as i64,
            from_seq: 1,
            last_seq: 1,
            last: Recency::LAST,
        }))
    }

    #[test]
    fn a_look_up_says_whether_there_is_more() {
        assert!(looked(UPCOMING_MAX).is_all);
        let more = looked(UPCOMING_MAX + 1);
        assert_eq!((more.upcoming.len(), more.is_all), (UPCOMING_MAX, false));
    }

    /// D9.
    #[test]
    fn the_oldest_look_up_is_forgotten_when_there_are_too_many() {
        let (ahead, alice) = (Ahead::default(), UserId::new([1; 16]));
        for at in 0..=SNAPSHOTS_MAX as u64 {
            ahead.put(Served::default(), alice, place(at), looked(1));
        }
        let found = |user, at| ahead.take(user, &place(at)).1.is_some();
        assert!(!found(alice, 0));
        assert!(!found(UserId::new([2; 16]), 1));
        assert!(found(alice, 1));
        assert!(!found(alice, 1), "taken once");
        ahead.clear();
        assert!(!found(alice, 2));
    }

    /// D11.
    #[test]
    fn what_was_looked_up_in_another_history_is_not_kept() {
        let (ahead, alice) = (Ahead::default(), UserId::new([1; 16]));
        let (before, _) = ahead.take(alice, &place(1));
        ahead.clear();
        ahead.put(before, alice, place(1), looked(1));
        let (now, found) = ahead.take(alice, &place(1));
        assert!(found.is_none());
        ahead.put(now, alice, place(1), looked(1));
        assert!(ahead.take(alice, &place(1)).1.is_some());
    }
}
