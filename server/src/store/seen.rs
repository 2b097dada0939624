//! How far the log has been: what notices that it went back.
//!
//! A restored backup looks like any other database. What it cannot know is how
//! far its log had come: this node does, and its devices' cursors do.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{LogState, Positions, StoreError};

/// The furthest that this process knows its log to have come.
#[derive(Debug, Default)]
pub(super) struct Seen {
    place: Mutex<Place>,
    /// The epoch that devices were told; 0 at first.
    served: AtomicU64,
}

/// An epoch, and how far the log has been in it; nothing at first.
type Place = Option<(u64, Positions)>;

/// How far the log had come when a reading of it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before(Place);

impl Seen {
    /// Call it before the log is read: while it is read it may go on, and others
    /// may know of it first.
    pub(super) fn before(&self) -> Before {
        Before(*self.place.lock())
    }

    /// Remembers how far the log is, unless that is less far than it was when the
    /// reading began, in the same history or a later one.
    pub(super) fn check(&self, before: Before, found: &LogState) -> Result<(), Reached> {
        let epoch = found.history.epoch;
        if let Some((seen_epoch, places)) = before.0
            && (seen_epoch > epoch || seen_epoch == epoch && !found.heads.reaches(&places))
        {
            return Err(Reached {
                epoch: seen_epoch,
                places,
            });
        }
        self.note(epoch, &found.heads);
        Ok(())
    }

    /// Devices are told that this is the epoch.
    pub(super) fn serve(&self, epoch: u64) {
        self.served.store(epoch, Ordering::Relaxed);
    }

    /// Whether devices were told that `found` is the epoch, or nothing.
    ///
    /// What was asked for in the history of before must not overtake what its
    /// sender has yet to learn is forgotten (D6).
    pub(super) fn is_served(&self, found: u64) -> Result<(), StoreError> {
        match self.served.load(Ordering::Relaxed) {
            0 => Ok(()),
            served if served == found => Ok(()),
            served => Err(StoreError::OtherEpoch { served, found }),
        }
    }

    /// The log has been here, in this epoch.
    pub(super) fn note(&self, epoch: u64, reached: &Positions) {
        let mut seen = self.place.lock();
        let reached = match *seen {
            Some((seen_epoch, _)) if seen_epoch > epoch => return,
            Some((seen_epoch, seen)) if seen_epoch == epoch => seen.later(reached),
            Some(_) | None => *reached,
        };
        *seen = Some((epoch, reached));
    }
}

/// How far the log had come once, and in which epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    pub(super) epoch: u64,
    pub(super) places: Positions,
}

/// The error of a log that had come so far, and is here now.
pub(super) fn went_back(epoch: u64, reached: &Positions, found: &LogState) -> StoreError {
    StoreError::WentBack {
        reached: place(epoch, reached),
        found: place(found.history.epoch, &found.heads),
    }
}

fn place(epoch: u64, heads: &Positions) -> String {
    format!("{heads} in epoch {epoch}")
}

#[cfg(test)]
mod tests {
    use magpie_protocol::seq::Position;

    use super::*;
    use crate::store::History;

    fn state(epoch: u64, head: u64) -> LogState {
        LogState {
            history: History {
                epoch,
                base: Position::ZERO.into(),
            },
            heads: Position::new(head).into(),
        }
    }

    #[test]
    fn a_log_that_goes_back_is_noticed_until_a_new_epoch_begins() {
        let seen = Seen::default();
        let check = |state: LogState| seen.check(seen.before(), &state);
        check(state(1, 5)).unwrap();
        seen.note(1, &Position::new(9).into());
        assert!(check(state(1, 8)).is_err());
        check(state(1, 9)).unwrap();
        check(state(2, 7)).unwrap();
        assert!(check(state(2, 6)).is_err());
        assert!(check(state(1, 9)).is_err(), "a backup of before");
        seen.note(1, &Position::new(100).into());
        check(state(2, 7)).unwrap();
    }

    #[test]
    fn nothing_is_done_in_an_epoch_that_nobody_was_told() {
        let seen = Seen::default();
        seen.is_served(2).unwrap();
        seen.serve(1);
        seen.is_served(1).unwrap();
        let other = StoreError::OtherEpoch {
            served: 1,
            found: 2,
        };
        assert_eq!(seen.is_served(2), Err(other));
        seen.serve(2);
        seen.is_served(2).unwrap();
    }

    #[test]
    fn what_others_learn_during_a_reading_does_not_count_against_it() {
        let seen = Seen::default();
        seen.note(1, &Position::new(5).into());
        let before = seen.before();
        seen.note(1, &Position::new(9).into());
        seen.check(before, &state(1, 6)).unwrap();
        assert!(seen.check(seen.before(), &state(1, 8)).is_err());
    }
}
