//! When to try again: with jitter, so that a thousand clients that lost the same
//! server do not come back at the same moment.
//!
//! A delay is a uniform share of the time that was waited so far ("full jitter" of the
//! AWS Architecture Blog, "Exponential Backoff and Jitter", 2015, but for what grows).
//! Doubling with each failure instead let small shares in a row use up the short delays:
//! of 300 clients of a server that was away for 4 s the last came 24 s later. By time
//! nobody stays away much longer than the server did.

use std::time::Duration;

/// The first delay, before jitter.
pub const FIRST: Duration = Duration::from_millis(200);

/// The longest delay, before jitter, for the first minute and a half: whoever lost a
/// server that was restarted is back within 10 s after it listens.
pub const SOON: Duration = Duration::from_secs(8);

/// The longest delay, before jitter.
pub const MAX: Duration = Duration::from_secs(30);

/// A delay above [`SOON`] is this part of what was waited, at the most.
const LATE_PART: u32 = 12;

/// How long it was waited since something worked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    waited: Duration,
}

impl Backoff {
    /// It worked: the next failure is a first one.
    pub const fn reset(&mut self) {
        self.waited = Duration::ZERO;
    }

    /// It failed: how long to wait before the next try. `random` is uniform in
    /// 0..=`u32::MAX`.
    pub fn next_delay(&mut self, random: u32) -> Duration {
        let most = (self.waited / LATE_PART).clamp(SOON, MAX);
        let longest = self.waited.clamp(FIRST, most);
        let delay = longest.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.waited = self.waited.saturating_add(delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..60).map(|_| backoff.next_delay(u32::MAX)).collect();
        assert_eq!(delays[..4], [200, 200, 400, 800].map(Duration::from_millis));
        assert_eq!(delays[8], SOON);
        assert_eq!(delays[59], MAX);
        backoff.reset();
        assert_eq!(backoff.next_delay(u32::MAX), FIRST);
    }

    #[test]
    fn jitter_takes_any_share_of_the_delay() {
        assert_eq!(Backoff::default().next_delay(0), Duration::ZERO);
        assert!(Backoff::default().next_delay(u32::MAX / 2) < FIRST);
    }

    #[test]
    fn nobody_waits_longer_than_what_was_waited_however_often_it_failed() {
        // Unlucky shares, which used up the short delays when they doubled by failures.
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            backoff.next_delay(u32::MAX / 20);
        }
        assert!(backoff.next_delay(u32::MAX) <= FIRST + backoff.waited / 2);
        assert!(backoff.waited < Duration::from_secs(1), "{backoff:?}");
    }

    #[test]
    fn an_outage_of_a_minute_is_over_within_seconds() {
        let mut backoff = Backoff::default();
        while backoff.waited < Duration::from_secs(60) {
            assert!(backoff.next_delay(u32::MAX) <= SOON);
        }
    }
}
