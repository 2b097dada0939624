//! How far this machine's clock is from that of whoever answers over HTTP: Google
//! takes no assertion that was signed minutes away from now.

use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::{Response, header::DATE};

use crate::clock::Clock;

/// The last difference that was seen.
#[derive(Clone)]
pub(super) struct Skew {
    clock: Clock,
    ahead_secs: Arc<Mutex<Option<i64>>>,
}

impl Skew {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            ahead_secs: Arc::default(),
        }
    }

    /// An answer says what time it is there.
    pub(super) fn note(&self, answer: &Response) {
        let date = answer.headers().get(DATE).and_then(|it| it.to_str().ok());
        if let Some(ahead_secs) = date.and_then(|it| self.clock.ahead_secs(it)) {
            *self.ahead_secs.lock() = Some(ahead_secs);
        }
    }

    /// How far this machine's clock is ahead, in seconds; `None` while nobody has
    /// said what time it is.
    pub(super) fn ahead_secs(&self) -> Option<i64> {
        *self.ahead_secs.lock()
    }
}
