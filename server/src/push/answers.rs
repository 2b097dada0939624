//! Which wakes brought their devices here, and how soon: for operators. Nothing
//! depends on it.

use std::collections::HashMap;

use magpie_protocol::{id::DeviceId, moment::Moment, seq::Position};
use parking_lot::Mutex;

use crate::{
    clock::Clock,
    metrics::{WAKE_SYNC_SECONDS, WAKES_ANSWERED},
    store::Positions,
};

/// Wakes that are waited for; further ones are not measured.
const WAITED_FOR_MAX: usize = 100_000;

/// A wake that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    position: Position,
    at: Moment,
}

/// Wakes that this process sent and that are not answered yet.
#[derive(Debug)]
pub struct Answers {
    clock: Clock,
    waited_for: Mutex<HashMap<DeviceId, Sent>>,
}

impl Answers {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            waited_for: Mutex::default(),
        }
    }

    /// FCM has taken a wake. The time counts from the first try that it took.
    pub(super) fn sent(&self, device: DeviceId, position: Position) {
        let at = self.clock.now();
        let mut waited_for = self.waited_for.lock();
        if waited_for.len() < WAITED_FOR_MAX || waited_for.contains_key(&device) {
            let sent = waited_for.entry(device).or_insert(Sent { position, at });
            if sent.position != position {
                *sent = Sent { position, at };
            }
        }
    }

    /// Nobody is waited for behind this token any more.
    pub(super) fn forget(&self, device: DeviceId) {
        self.waited_for.lock().remove(&device);
    }

    /// A device has stored everything up to `cursor`, and that is written down.
    pub fn confirmed(&self, device: DeviceId, cursor: &Positions) {
        let mut waited_for = self.waited_for.lock();
        let Some(sent) = waited_for.get(&device).copied() else {
            return;
        };
        if cursor.covers(sent.position) {
            waited_for.remove(&device);
            drop(waited_for);
            let took = self.clock.now().since(sent.at);
            metrics::counter!(WAKES_ANSWERED).increment(1);
            metrics::histogram!(WAKE_SYNC_SECONDS).record(took.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::id::DeviceId;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wake_is_waited_for_until_its_device_has_stored_the_message() {
        let answers = Answers::new(Clock::start());
        let device = DeviceId::new([1; 16]);
        let is_waited_for = || answers.waited_for.lock().contains_key(&device);
        answers.sent(device, Position::new(7));
        answers.confirmed(device, &Position::new(6).into());
        assert!(is_waited_for());
        answers.confirmed(device, &Position::new(7).into());
        assert!(!is_waited_for());
        answers.sent(device, Position::new(9));
        answers.forget(device);
        assert!(!is_waited_for());
    }
}
