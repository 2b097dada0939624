//! When to try again: full jitter, so that a thousand clients that lost the same
//! server do not come back at the same moment.
//!
//! The rule is "full jitter" of the AWS Architecture Blog, "Exponential Backoff
//! and Jitter" (2015): a uniform share of an exponentially growing, capped delay.

use std::time::Duration;

/// The first delay, before jitter.
pub const FIRST: Duration = Duration::from_millis(200);

/// The longest delay, before jitter.
pub const MAX: Duration = Duration::from_secs(30);

/// How often something failed in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked: the next failure is a first one.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait before the next try. `random` is uniform in
    /// 0..=`u32::MAX`.
    pub fn next_delay(&mut self, random: u32) -> Duration {
        let longest = FIRST
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(MAX);
        self.failures = (self.failures + 1).min(31);
        longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..10).map(|_| backoff.next_delay(u32::MAX)).collect();
        assert_eq!(delays[..3], [200, 400, 800].map(Duration::from_millis));
        assert_eq!(delays[9], MAX);
        backoff.reset();
        assert_eq!(backoff.next_delay(u32::MAX), FIRST);
    }

    #[test]
    fn jitter_takes_any_share_of_the_delay() {
        assert_eq!(Backoff::default().next_delay(0), Duration::ZERO);
        assert!(Backoff::default().next_delay(u32::MAX / 2) < FIRST);
    }
}
