//! The one place that reads the clock.

use std::{sync::OnceLock, time::Instant};

use magpie_protocol::moment::Moment;

static START: OnceLock<Instant> = OnceLock::new();

fn start() -> Instant {
    *START.get_or_init(Instant::now)
}

/// Now, on a clock that all tasks of this process share.
pub(crate) fn now() -> Moment {
    Moment::new(start().elapsed())
}

/// Nanoseconds of that clock.
pub(crate) fn nanos() -> u64 {
    u64::try_from(start().elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// `moment` for the runtime's timers.
pub(crate) fn instant(moment: Moment) -> tokio::time::Instant {
    tokio::time::Instant::from_std(start() + moment.since_start())
}
