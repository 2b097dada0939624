//! Time and blocking work, injected: the only place that reads a clock.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use magpie_protocol::moment::Moment;
use tokio::time::Instant;

/// The last date that an HTTP header can hold: the end of the year 9999.
const DATE_MAX: Duration = Duration::from_secs(253_402_300_799);

/// The process's clocks. Under tokio's paused time the monotonic one stands
/// still too.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    ahead_ms: Option<&'static AtomicU64>,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            ahead_ms: None,
        }
    }

    /// A clock that starts now and is so many milliseconds ahead of the machine's,
    /// which may only rise: for tests that cannot wait for a day.
    #[must_use]
    pub fn ahead(ahead_ms: &'static AtomicU64) -> Self {
        Self {
            ahead_ms: Some(ahead_ms),
            ..Self::start()
        }
    }

    fn is_ahead(&self) -> Duration {
        let ahead_ms = self.ahead_ms.map_or(0, |it| it.load(Ordering::Relaxed));
        Duration::from_millis(ahead_ms)
    }

    /// The monotonic time: for every timeout.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::new(self.start.elapsed() + self.is_ahead())
    }

    /// The time of day, milliseconds since 1970: for people, never for order.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let since_1970 = since_1970 + self.is_ahead();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    }

    /// How far the time of day is ahead of a date in an HTTP header, in seconds;
    /// `None` if it is no date.
    #[must_use]
    pub fn ahead_secs(&self, http_date: &str) -> Option<i64> {
        let there = httpdate::parse_http_date(http_date).ok()?;
        let there = there.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let here = self.wall_ms() / 1000;
        Some(here.saturating_sub(i64::try_from(there).ok()?))
    }

    /// A date for an HTTP header.
    #[must_use]
    pub fn http_date(&self, wall_ms: i64) -> String {
        let since_1970 = Duration::from_millis(u64::try_from(wall_ms).unwrap_or(0));
        httpdate::fmt_http_date(UNIX_EPOCH + since_1970.min(DATE_MAX))
    }

    /// The runtime's instant of `moment`, to sleep until.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.since_start().saturating_sub(self.is_ahead())
    }
}

/// Where work that blocks (`SQLite`, argon2) runs.
#[derive(Clone, Copy, Debug)]
pub enum Blocking {
    /// On the runtime's threads for blocking work.
    Pool,
    /// At once, on the caller's thread: for simulations.
    Inline,
}

impl Blocking {
    /// Runs `work`; `None` if it panicked or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self {
            Self::Pool => tokio::task::spawn_blocking(work).await.ok(),
            Self::Inline => Some(work()),
        }
    }
}

/// Runs `future` for at most `limit`; `None` if it took longer.
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}
