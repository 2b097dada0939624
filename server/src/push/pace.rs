//! How fast the server pushes: at most so many a second, and not at all while
//! FCM asks for patience or does not answer.

use std::time::Duration;

use magpie_protocol::moment::Moment;
use parking_lot::Mutex;

use super::answer::Outcome;
use crate::{clock::Clock, random::Random};

/// The first wait after a failure; FCM asks for at least 10 s:
/// <https://firebase.google.com/docs/cloud-messaging/scale-fcm>.
const BACKOFF_MIN: Duration = Duration::from_secs(10);

/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);

/// How much is sent at once after a quiet time, as a part of a second's.
const BURST_PARTS: u32 = 10;

/// A bound for all pushes of this process.
pub struct Pace {
    rate_max: u32, // a second
    clock: Clock,
    random: Random,
    state: Mutex<State>,
}

struct State {
    /// Pushes that may be sent now, in millionths.
    left: u64,
    counted_at: Moment,
    /// Nothing is sent before.
    closed_until: Moment,
    /// Failures since the last success.
    failures: u32,
}

impl Pace {
    /// A pace of at most `rate_max` pushes a second.
    #[must_use]
    pub fn new(rate_max: u32, clock: Clock, random: Random) -> Self {
        let state = State {
            left: 0,
            counted_at: clock.now(),
            closed_until: clock.now(),
            failures: 0,
        };
        Self {
            rate_max: rate_max.max(1),
            clock,
            random,
            state: Mutex::new(state),
        }
    }

    /// Takes leave for at most `count` pushes; 0 while there is none.
    pub fn take(&self, count: u32) -> u32 {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let passed = u64::try_from(now.since(state.counted_at).as_micros()).unwrap_or(u64::MAX);
        state.counted_at = now;
        let burst = u64::from(self.rate_max.div_ceil(BURST_PARTS)) * 1_000_000;
        let grown = passed.saturating_mul(u64::from(self.rate_max));
        state.left = state.left.saturating_add(grown).min(burst);
        if now < state.closed_until {
            return 0;
        }
        let whole = u32::try_from(state.left / 1_000_000).unwrap_or(u32::MAX);
        let taken = whole.min(count);
        state.left -= u64::from(taken) * 1_000_000;
        taken
    }

    /// Gives back leave that was not used.
    pub fn give_back(&self, count: u32) {
        let mut state = self.state.lock();
        state.left = state.left.saturating_add(u64::from(count) * 1_000_000);
    }

    /// When to ask again: once there is leave for one, and the sender is open.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        let state = self.state.lock();
        let one = Duration::from_secs(1) / self.rate_max;
        state.closed_until.since(self.clock.now()).max(one)
    }

    /// Learns from an answer. A failure closes the sender for all, for longer
    /// each time; a success opens it.
    pub fn note(&self, outcome: &Outcome) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        match outcome {
            Outcome::Sent | Outcome::TokenGone | Outcome::BadMessage { .. } => state.failures = 0,
            Outcome::Misconfigured { .. } => {}
            Outcome::SlowDown { after } => {
                let until = now + self.spread(*after);
                state.closed_until = state.closed_until.max(until);
            }
            // Many that were in flight together fail together: one failure.
            Outcome::Unavailable { after, .. } if now >= state.closed_until => {
                let backoff = backoff(state.failures).max(after.unwrap_or_default());
                state.closed_until = now + self.spread(backoff);
                state.failures = state.failures.saturating_add(1);
            }
            Outcome::Unavailable { .. } => {}
        }
    }

    /// At least so long, and up to a quarter longer.
    fn spread(&self, wait: Duration) -> Duration {
        let quarter_ms = u32::try_from(wait.as_millis() / 4).unwrap_or(u32::MAX);
        wait + Duration::from_millis(self.random.up_to(quarter_ms).into())
    }
}

fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failures.min(16));
    doubled.min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate_max: u32) -> Pace {
        Pace::new(rate_max, Clock::start(), Random::seeded(7))
    }

    async fn pass(secs: f64) {
        tokio::time::advance(Duration::from_secs_f64(secs)).await;
    }

    fn failed() -> Outcome {
        Outcome::Unavailable {
            after: None,
            reason: String::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_hour_gives_no_burst() {
        let pace = pace(100);
        pass(3600.0).await;
        assert_eq!(pace.take(1000), 10);
        assert_eq!(pace.take(1000), 0);
        pass(0.05).await;
        assert_eq!(pace.take(1000), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn over_time_the_rate_is_exact() {
        let pace = pace(30);
        let mut sent = 0;
        for _ in 0..1000 {
            pass(0.01).await;
            sent += pace.take(1000);
        }
        assert_eq!(sent, 300);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_at_least_ten_seconds_and_longer_each_time() {
        let pace = pace(100);
        for expected in [10, 20, 40, 80, 160, 300, 300] {
            // All that were in flight fail: it counts once.
            pace.note(&failed());
            pace.note(&failed());
            let wait = pace.ready_after();
            assert!(wait >= Duration::from_secs(expected), "{wait:?}");
            assert!(wait <= Duration::from_secs(expected) * 5 / 4, "{wait:?}");
            assert_eq!(pace.take(1), 0);
            pass(wait.as_secs_f64()).await;
            assert_eq!(pace.take(1), 1);
        }
        pace.note(&Outcome::Sent);
        pace.note(&failed());
        assert!(pace.ready_after() < Duration::from_secs(13));
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_closes_the_whole_sender_for_as_long_as_it_says() {
        let pace = pace(100);
        let after = Duration::from_secs(60);
        pace.note(&Outcome::SlowDown { after });
        pass(59.0).await;
        assert_eq!(pace.take(1), 0);
        pass(17.0).await;
        assert_eq!(pace.take(1), 1);
    }
}
