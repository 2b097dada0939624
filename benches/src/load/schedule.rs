//! When messages are due in the open loop.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::Phase;
use crate::clock;

/// The moments, in nanoseconds of the clock, at which one sender's next
/// messages were due. Bounded by the length of the run.
#[derive(Default)]
pub(super) struct Schedule {
    due: Mutex<VecDeque<u64>>,
    rung: Notify,
}

impl Schedule {
    fn push(&self, nanos: u64) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.push_back(nanos);
        drop(due);
        self.rung.notify_one();
    }

    /// The oldest message that is due and not sent.
    pub(super) fn pop(&self) -> Option<u64> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.pop_front()
    }

    /// Resolves once something has become due.
    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }
}

/// Hands out `rate` messages a second, evenly, to one sender after the other,
/// until the phase changes. Blocks its thread.
pub(super) fn keep(schedules: &[Arc<Schedule>], rate: u32, phase: &watch::Receiver<Phase>) {
    let start = clock::nanos();
    let mut senders = schedules.iter().cycle();
    let mut handed_out: u64 = 0;
    while *phase.borrow() == Phase::Running {
        let due = start + handed_out * 1_000_000_000 / u64::from(rate);
        let now = clock::nanos();
        if due > now {
            // Looks at the phase often enough, however low the rate is.
            let wait = Duration::from_nanos(due - now).min(Duration::from_millis(50));
            std::thread::sleep(wait);
            continue;
        }
        let Some(sender) = senders.next() else {
            return;
        };
        sender.push(due);
        handed_out += 1;
    }
}
