//! Requests on their way to one shard of the log.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::committer::Submission;

/// Requests that wait to be committed, in their order.
///
/// Each connection has at most a window of them waiting, which bounds it.
#[derive(Default)]
pub(super) struct Lane {
    waiting: Mutex<Vec<Submission>>,
    bell: Notify,
}

impl Lane {
    pub(super) fn push(&self, submissions: impl IntoIterator<Item = Submission>) {
        let mut waiting = self.waiting.lock();
        let was_empty = waiting.is_empty();
        waiting.extend(submissions);
        let is_first = was_empty && !waiting.is_empty();
        drop(waiting);
        if is_first {
            self.bell.notify_one();
        }
    }

    /// The next ones, at most `count_max`.
    pub(super) fn take(&self, count_max: usize) -> Vec<Submission> {
        let mut waiting = self.waiting.lock();
        // What a connection sent before it ended may fail, and then what it sent
        // later must not succeed.
        waiting.retain(|it| !it.from.has_ended());
        if waiting.len() <= count_max {
            return std::mem::take(&mut *waiting);
        }
        let rest = waiting.split_off(count_max);
        std::mem::replace(&mut *waiting, rest)
    }

    /// Ready once something was pushed onto an empty lane.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}
