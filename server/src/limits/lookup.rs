//! Names that users name: whether one exists is told, so how many may be tried is
//! limited. Whom somebody named lately they may name again for nothing.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use magpie_protocol::{id::UserId, moment::Moment, text::UserName};
use parking_lot::Mutex;

use super::{Limited, bucket::Buckets};

/// Pairs of a user and a name that are remembered, twice: about 10 MB.
const RECENT_MAX: usize = 250_000;

/// The look-ups of all users.
#[derive(Debug)]
pub(super) struct LookUps {
    buckets: Buckets<UserId>,
    hasher: RandomState,
    recent: Mutex<Recent>,
}

/// Hashes of who named whom: `newer` fills up, then becomes `older`.
#[derive(Debug, Default)]
struct Recent {
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

impl LookUps {
    pub(super) fn new(buckets: Buckets<UserId>) -> Self {
        Self {
            buckets,
            hasher: RandomState::new(),
            recent: Mutex::default(),
        }
    }

    /// The user names these: those that are new to them count, and so many look-ups of
    /// others.
    pub(super) fn take(
        &self,
        user: UserId,
        names: &[UserName],
        others: u32,
        now: Moment,
    ) -> Result<(), Limited> {
        let mut recent = self.recent.lock();
        let pairs = names.iter().map(|name| self.hasher.hash_one((user, name)));
        let fresh: HashSet<u64> = pairs.filter(|pair| !recent.knows(*pair)).collect();
        let count = u32::try_from(fresh.len()).unwrap_or(u32::MAX);
        let count = count.saturating_add(others);
        if count == 0 {
            return Ok(());
        }
        self.buckets.take(&user, count, now)?;
        recent.learn(fresh);
        Ok(())
    }
}

impl Recent {
    fn knows(&self, pair: u64) -> bool {
        self.newer.contains(&pair) || self.older.contains(&pair)
    }

    fn learn(&mut self, pairs: HashSet<u64>) {
        if self.newer.len() + pairs.len() > RECENT_MAX {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.extend(pairs);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Rate;

    fn names(names: &[&str]) -> Vec<UserName> {
        let parse = |it: &&str| UserName::parse(it).unwrap();
        names.iter().map(parse).collect()
    }

    #[test]
    fn only_names_that_are_new_to_the_user_count() {
        let rate = Rate::new(2, 1, Duration::from_secs(3_600));
        let lookups = LookUps::new(Buckets::new("test", Some(rate), 10));
        let (alice, bob) = (UserId::new([1; 16]), UserId::new([2; 16]));
        let take = |user, them: &[&str]| lookups.take(user, &names(them), 0, Moment::START);
        for _ in 0..5 {
            assert_eq!(take(alice, &["carol", "dave", "carol"]), Ok(()));
        }
        assert!(take(alice, &["erin"]).is_err());
        assert!(take(alice, &["carol", "erin"]).is_err());
        assert_eq!(take(alice, &["dave"]), Ok(()));
        assert_eq!(take(bob, &["carol"]), Ok(()));
    }

    /// D9.
    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for pair in 0..3 * RECENT_MAX as u64 {
            recent.learn(HashSet::from([pair]));
        }
        assert!(recent.newer.len() + recent.older.len() <= 2 * RECENT_MAX);
        assert!(recent.knows(3 * RECENT_MAX as u64 - 1) && !recent.knows(0));
    }
}
