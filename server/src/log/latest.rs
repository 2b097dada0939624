//! What changed lately, and for whom: answers "is there news?" without asking the
//! store.

use std::collections::HashMap;

use magpie_protocol::{id::UserId, seq::Position};
use parking_lot::Mutex;

/// Users in memory; when there are more, all are forgotten. About 10 MB.
const USERS_MAX: usize = 200_000;

/// In one shard: the last position that is for each user, of those beyond a
/// floor.
#[derive(Debug)]
pub(super) struct Latest(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// What is beyond it is known.
    floor: Position,
    /// Of all that was noted. A stretch is not noted in the order of positions.
    highest: Position,
    of: HashMap<UserId, Position>,
}

impl Latest {
    pub(super) fn new(floor: Position) -> Self {
        Self(Mutex::new(Inner {
            floor,
            highest: floor,
            of: HashMap::new(),
        }))
    }

    /// Something at this position is for the user. Call it before they are told,
    /// so that who comes meanwhile finds one or the other.
    pub(super) fn note(&self, user: UserId, position: Position) {
        let mut inner = self.0.lock();
        inner.highest = inner.highest.max(position);
        if inner.of.len() >= USERS_MAX {
            inner.floor = inner.highest;
            inner.of.clear();
        }
        let last = inner.of.entry(user).or_default();
        *last = position.max(*last);
    }

    /// Whether something beyond `after` is for the user, or may be.
    pub(super) fn may_have_news(&self, user: UserId, after: Position) -> bool {
        let inner = self.0.lock();
        after < inner.floor || inner.of.get(&user).is_some_and(|last| *last > after)
    }

    /// Begins anew: nothing up to `floor` is known.
    pub(super) fn reset(&self, floor: Position) {
        let mut inner = self.0.lock();
        inner.floor = floor;
        inner.highest = floor;
        inner.of.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: UserId = UserId::new([1; 16]);

    #[test]
    fn what_is_below_the_floor_may_be_news() {
        let latest = Latest::new(Position::new(7));
        assert!(latest.may_have_news(ALICE, Position::new(6)));
        assert!(!latest.may_have_news(ALICE, Position::new(7)));
        latest.note(ALICE, Position::new(9));
        assert!(latest.may_have_news(ALICE, Position::new(8)));
        assert!(!latest.may_have_news(ALICE, Position::new(9)));
    }

    #[test]
    fn an_earlier_position_that_is_noted_later_hides_nothing() {
        let latest = Latest::new(Position::ZERO);
        latest.note(ALICE, Position::new(9));
        latest.note(ALICE, Position::new(5));
        assert!(latest.may_have_news(ALICE, Position::new(7)));
    }

    #[test]
    fn who_was_forgotten_may_have_news() {
        let latest = Latest::new(Position::ZERO);
        latest.note(ALICE, Position::new(1));
        for number in 2..=USERS_MAX as u64 + 2 {
            let user = UserId::new(u128::from(number).to_be_bytes());
            latest.note(user, Position::new(number));
        }
        assert!(latest.may_have_news(ALICE, Position::ZERO));
        let last = Position::new(USERS_MAX as u64 + 2);
        assert!(!latest.may_have_news(ALICE, last));
    }
}
