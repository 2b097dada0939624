//! Buckets that limit a rate, one for each key: an address, a user, a device.

use std::{collections::HashMap, hash::Hash, time::Duration};

use magpie_protocol::moment::Moment;
use parking_lot::Mutex;

use super::Limited;
use crate::config::Rate;

/// How often all keys in use are gone through for one that is not, at the most.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);

/// Keys among which no unused ones are looked for.
const FEW_KEYS: usize = 1_000;

/// How long who comes new stays away when all keys are in use.
const NO_KEY_AFTER: Duration = Duration::from_secs(10);

/// A debt is forgiven as far as it would take longer than this to pay off.
const DEBT_MAX: Duration = Duration::from_secs(3_600);

/// The buckets of one rate.
///
/// Of each only the moment is kept at which it will be full again (the "theoretical
/// arrival time" of GCRA, ITU-T I.371): a full bucket needs no memory.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    limit: &'static str,
    rate: Option<Rate>,
    keys_max: usize,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    full_at: HashMap<K, Moment>,
    pruned_at: Moment,
    /// So many keys are worth going through: twice what the last time left.
    prune_count: usize,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// Full buckets, of at most `keys_max` keys. Without a rate there is no limit.
    pub(super) fn new(limit: &'static str, rate: Option<Rate>, keys_max: u32) -> Self {
        let state = State {
            full_at: HashMap::new(),
            pruned_at: Moment::START,
            prune_count: FEW_KEYS,
        };
        Self {
            limit,
            rate,
            keys_max: keys_max as usize,
            state: Mutex::new(state),
        }
    }

    /// Takes `count` out of the key's bucket; a bucket that is full always has
    /// enough.
    ///
    /// # Errors
    ///
    /// [`Limited`] if there is not enough in it, or no room for another key: fails
    /// closed. Nothing is taken then.
    pub(super) fn take(&self, key: &K, count: u32, now: Moment) -> Result<(), Limited> {
        let Some(rate) = self.rate else { return Ok(()) };
        let cost = cost(rate, count.min(rate.burst));
        let mut state = self.state.lock();
        let full_at = state.full_at.get(key).copied().unwrap_or(now).max(now) + cost;
        let missing = full_at
            .since(now)
            .saturating_sub(self::cost(rate, rate.burst));
        if !missing.is_zero() {
            return Err(Limited::new(self.limit, missing));
        }
        if !state.has_room(key, self.keys_max, now) {
            return Err(Limited::new(self.limit, NO_KEY_AFTER));
        }
        if full_at > now {
            state.full_at.insert(key.clone(), full_at);
        }
        Ok(())
    }

    /// Takes `count` out of the key's bucket whatever is in it: what is missing
    /// must come back before more can be taken.
    pub(super) fn charge(&self, key: &K, count: u32, now: Moment) {
        let Some(rate) = self.rate else { return };
        let mut state = self.state.lock();
        if state.has_room(key, self.keys_max, now) {
            let full_at = state.full_at.get(key).copied().unwrap_or(now).max(now);
            let latest = now + cost(rate, rate.burst) + DEBT_MAX;
            let full_at = (full_at + cost(rate, count)).min(latest);
            state.full_at.insert(key.clone(), full_at);
        }
    }

    /// Puts `count` back that was taken.
    pub(super) fn give_back(&self, key: &K, count: u32) {
        let Some(rate) = self.rate else { return };
        if let Some(full_at) = self.state.lock().full_at.get_mut(key) {
            *full_at = Moment::new(full_at.since_start().saturating_sub(cost(rate, count)));
        }
    }
}

impl<K: Eq + Hash> State<K> {
    /// Whether the key has a bucket or may get one.
    fn has_room(&mut self, key: &K, keys_max: usize, now: Moment) -> bool {
        if self.full_at.contains_key(key) {
            return true;
        }
        let is_due = self.full_at.len() >= keys_max.min(self.prune_count);
        if is_due && now.since(self.pruned_at) >= PRUNE_INTERVAL {
            self.prune(now);
        }
        self.full_at.len() < keys_max
    }

    /// Forgets the buckets that are full again.
    fn prune(&mut self, now: Moment) {
        self.full_at.retain(|_, full_at| *full_at > now);
        self.prune_count = FEW_KEYS.max(self.full_at.len().saturating_mul(2));
        self.full_at.shrink_to(self.prune_count);
        self.pruned_at = now;
    }
}

/// How long `count` takes to come back.
fn cost(rate: Rate, count: u32) -> Duration {
    rate.period.saturating_mul(count) / rate.count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    /// 3 at once, then 1 every hour.
    fn buckets(keys_max: u32) -> Buckets<u8> {
        Buckets::new("test", Some(Rate::new(3, 1, HOUR)), keys_max)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_says_when_there_is_more() {
        let buckets = buckets(10);
        for _ in 0..3 {
            assert_eq!(buckets.take(&1, 1, at(0)), Ok(()));
        }
        let after = |seconds| Err(Limited::new("test", Duration::from_secs(seconds)));
        assert_eq!(buckets.take(&1, 1, at(0)), after(3_600));
        assert_eq!(buckets.take(&1, 1, at(600)), after(3_000));
        assert_eq!(buckets.take(&1, 1, at(3_600)), Ok(()));
        assert_eq!(buckets.take(&1, 1, at(3_600)), after(3_600));
        // Another key has a bucket of its own.
        assert_eq!(buckets.take(&2, 3, at(3_600)), Ok(()));
    }

    #[test]
    fn what_is_more_than_the_burst_needs_a_full_bucket_and_empties_it() {
        let buckets = buckets(10);
        assert_eq!(buckets.take(&1, 100, at(0)), Ok(()));
        assert!(buckets.take(&1, 100, at(3_600)).is_err());
        assert_eq!(buckets.take(&1, 100, at(3 * 3_600)), Ok(()));
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let buckets = buckets(10);
        for _ in 0..20 {
            assert_eq!(buckets.take(&1, 1, at(0)), Ok(()));
            buckets.give_back(&1, 1);
        }
        buckets.give_back(&1, 1_000);
        assert_eq!(buckets.take(&1, 3, at(0)), Ok(()));
        assert!(buckets.take(&1, 1, at(0)).is_err());
    }

    #[test]
    fn a_debt_is_paid_off_before_more_may_be_taken_but_not_for_ever() {
        let buckets = buckets(10);
        buckets.charge(&1, 4, at(0));
        assert!(buckets.take(&1, 0, at(3_599)).is_err());
        assert_eq!(buckets.take(&1, 0, at(3_600)), Ok(()));
        buckets.charge(&2, u32::MAX, at(0));
        assert!(buckets.take(&2, 0, at(3_599)).is_err());
        assert_eq!(buckets.take(&2, 0, at(3_600)), Ok(()));
    }

    /// D9.
    #[test]
    fn there_are_never_more_keys_than_allowed_and_a_new_one_is_refused_then() {
        let buckets = buckets(2);
        assert_eq!(buckets.take(&1, 1, at(10)), Ok(()));
        assert_eq!(buckets.take(&2, 2, at(10)), Ok(()));
        assert!(buckets.take(&3, 1, at(10)).is_err());
        assert_eq!(buckets.take(&1, 1, at(10)), Ok(()));
        buckets.charge(&4, 1, at(10));
        assert_eq!(buckets.state.lock().full_at.len(), 2);
        // Full buckets are forgotten.
        assert_eq!(buckets.take(&3, 1, at(10 + 2 * 3_600)), Ok(()));
        assert_eq!(buckets.state.lock().full_at.len(), 1);
    }

    #[test]
    fn keys_that_are_not_used_any_more_are_forgotten_long_before_the_table_is_full() {
        let buckets = Buckets::new("test", Some(Rate::new(1, 1, HOUR)), u32::MAX);
        for key in 0..10 * FEW_KEYS {
            // Each is full again two hours later.
            let now = Moment::new(HOUR * u32::try_from(2 * key).unwrap());
            assert_eq!(buckets.take(&key, 1, now), Ok(()));
        }
        assert!(buckets.state.lock().full_at.len() <= FEW_KEYS);
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let buckets = Buckets::new("test", None, 0);
        for _ in 0..1_000 {
            assert_eq!(buckets.take(&1, u32::MAX, at(0)), Ok(()));
        }
        buckets.charge(&1, u32::MAX, at(0));
        assert_eq!(buckets.state.lock().full_at.len(), 0);
    }
}
