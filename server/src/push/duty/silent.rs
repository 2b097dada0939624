//! Devices that were woken show what their user may have read on another one since:
//! they are told to sync, silently.
//!
//! What is to be told is derived from read marks behind the wake cursor, as wakes
//! are from messages, and written down before the cursor passes. Whether it still is
//! to be told is asked again when it is time.

use magpie_protocol::seq::Position;

use super::{CANDIDATES_MAX, Duty, Job, JoinSet};
use crate::store::{DueSync, DueWake, StoreError};

/// How long read marks collect before their user's other devices are told: people
/// read more than one conversation, and the next time is far away.
const READING_MS: i64 = 10_000;

impl Duty {
    /// Writes down who is to be told of the marks in this stretch.
    pub(super) async fn owe_syncs(
        &self,
        after: Position,
        upto: Position,
    ) -> Result<(), StoreError> {
        if upto <= after {
            return Ok(());
        }
        let at_ms = self.clock.wall_ms().saturating_add(READING_MS);
        self.store.owe_syncs(after, upto, at_ms).await
    }

    /// Tells those that are due, as fast as it may be.
    pub(super) async fn sync_silently(&self, sending: &mut JoinSet<()>) -> Result<(), StoreError> {
        loop {
            let may_send = self.sender.take(CANDIDATES_MAX, 0) as usize;
            if may_send == 0 {
                return Ok(());
            }
            let due = self.store.due_syncs(self.clock.wall_ms(), may_send).await;
            let unused = may_send.saturating_sub(due.as_ref().map_or(0, Vec::len));
            self.sender.give_back(unused);
            let jobs = due?.into_iter().map(|it| self.silent_job(it)).collect();
            self.sender.send_all(jobs, sending).await?;
            if unused > 0 {
                return Ok(());
            }
        }
    }

    fn silent_job(&self, due: DueSync) -> Job {
        Job {
            wake: DueWake {
                device: due.device,
                address: due.address,
                id: self.random.bytes().map_or(0, u64::from_ne_bytes),
                tries: 1,
                position: Position::ZERO,
            },
            fresh: None,
            is_silent: true,
        }
    }
}
