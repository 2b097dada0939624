//! Wakes that are due again, and what was not sent.

use super::{CANDIDATES_MAX, Duty, Job, JoinSet, SCHEDULE_MS};
use crate::{
    metrics::{WAKES_OWED, WAKES_UNANSWERED},
    store::StoreError,
};

/// How many wakes that are due are taken at once. Fewer after each failure: what took
/// the store too long must not be asked for again and again, while everybody behind it
/// waits.
pub(super) struct Again {
    at_once: usize,
}

impl Default for Again {
    fn default() -> Self {
        Self {
            at_once: CANDIDATES_MAX,
        }
    }
}

impl Again {
    fn failed(&mut self) {
        self.at_once = (self.at_once / 4).max(1);
    }

    fn done(&mut self) {
        self.at_once = self.at_once.saturating_mul(2).min(CANDIDATES_MAX);
    }
}

impl Duty {
    /// Sends what is due again, as fast as it may be sent.
    pub(super) async fn try_again(
        &self,
        again: &mut Again,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        self.sender.write_unsent().await;
        loop {
            let may_send = self.sender.take(again.at_once, 0) as usize;
            if may_send == 0 {
                return Ok(());
            }
            let now_ms = self.clock.wall_ms();
            let due = self.store.due_wakes(now_ms, may_send, &SCHEDULE_MS).await;
            let taken = due.as_ref().map_or(0, Vec::len);
            let unused = may_send.saturating_sub(taken);
            self.sender.give_back(unused);
            let due = due.inspect_err(|_| again.failed())?;
            again.done();
            let unanswered = due.iter().filter(|it| it.tries > 1).count() as u64;
            metrics::counter!(WAKES_UNANSWERED).increment(unanswered);
            metrics::counter!(WAKES_OWED).increment(taken as u64 - unanswered);
            let job = |wake| Job {
                wake,
                fresh: None,
                is_silent: false,
            };
            let jobs = due.into_iter().map(job).collect();
            self.sender.send_all(jobs, sending).await?;
            if unused > 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D8.
    #[test]
    fn after_failures_one_wake_is_taken_at_a_time_until_it_goes_well() {
        let mut again = Again::default();
        for _ in 0..10 {
            again.failed();
        }
        assert_eq!(again.at_once, 1);
        for _ in 0..10 {
            again.done();
        }
        assert_eq!(again.at_once, CANDIDATES_MAX);
    }
}
