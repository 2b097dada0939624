//! Batches that are being committed, so that what can wait lets them pass.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use crate::clock::within;

/// The batches of one process.
#[derive(Debug, Default)]
pub(super) struct Commits {
    under_way: AtomicUsize,
    ended: Notify,
}

/// A batch that is being committed, until this is dropped.
pub(super) struct UnderWay<'a>(&'a Commits);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.notify_waiters();
    }
}

impl Commits {
    /// One begins.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Until one has ended, or `limit` is over. At once if there is none.
    pub(super) async fn let_pass(&self, limit: Duration) {
        let ended = self.ended.notified();
        if self.under_way.load(Ordering::Relaxed) > 0 {
            within(limit, ended).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_commit_is_let_pass_and_not_waited_for_for_ever() {
        let commits = Commits::default();
        commits.let_pass(LONG).await;
        let first = commits.begin();
        let second = commits.begin();
        commits.let_pass(Duration::from_millis(1)).await;
        let both = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let passed = within(LONG / 2, async {
            tokio::join!(commits.let_pass(LONG), both)
        });
        assert!(passed.await.is_some());
        drop(second);
        let passed = within(LONG / 2, commits.let_pass(LONG));
        assert!(passed.await.is_some());
    }
}
