//! Moves read marks, many at a time.
//!
//! A mark takes a position, under the lock that appending needs too. So those
//! that come within a moment are moved together: reading is not writing, and
//! need not be as quick.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::router::{News, Router};
use crate::{
    clock::within,
    hub::Wakeups,
    store::{MarkRead, Marked, ReadMark, Shard, SharedStore, StoreError, UserMark},
};

/// From one batch of marks to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// Marks in one transaction.
const BATCH_MAX: usize = 500;

type Moved = Result<Option<ReadMark>, StoreError>;

/// Marks of one shard that wait. Each connection has only a few.
#[derive(Default)]
struct Waiting {
    marks: Mutex<Vec<(MarkRead, oneshot::Sender<Moved>)>>,
    bell: Notify,
}

/// What moves read marks in this process.
pub struct Marks {
    store: SharedStore,
    router: Arc<Router>,
    /// One for each shard.
    waiting: Vec<Waiting>,
}

impl Marks {
    /// With nothing to move yet.
    #[must_use]
    pub fn new(store: SharedStore, router: Arc<Router>) -> Self {
        let waiting = Shard::all(store.shard_count()).map(|_| Waiting::default());
        Self {
            waiting: waiting.collect(),
            store,
            router,
        }
    }

    /// Moves a mark, durably. Returns where it is now; `None` if there is no such
    /// conversation for this user.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it may have moved or not.
    pub async fn move_mark(&self, mark: MarkRead) -> Moved {
        let shard = Shard::of_conversation(mark.conversation, self.waiting.len());
        let (moved, answer) = oneshot::channel();
        if let Some(waiting) = self.waiting.get(shard.index()) {
            waiting.marks.lock().push((mark, moved));
            waiting.bell.notify_one();
        }
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                reason: "the work was not finished".to_owned(),
            })
        })
    }

    /// Moves marks until `stop`, and then those that still wait.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut shards = JoinSet::new();
        for shard in Shard::all(self.waiting.len()) {
            shards.spawn(Arc::clone(&self).run_shard(shard, stop.clone()));
        }
        while let Some(ended) = shards.join_next().await {
            if ended.is_err() {
                tracing::error!("a task that moves read marks died");
            }
        }
    }

    async fn run_shard(self: Arc<Self>, shard: Shard, stop: CancellationToken) {
        let Some(waiting) = self.waiting.get(shard.index()) else {
            return;
        };
        loop {
            let marks = {
                let mut marks = waiting.marks.lock();
                let count = marks.len().min(BATCH_MAX);
                marks.drain(..count).collect::<Vec<_>>()
            };
            if !marks.is_empty() {
                self.move_all(shard, marks).await;
                within(INTERVAL, stop.cancelled()).await;
            } else if stop
                .run_until_cancelled(waiting.bell.notified())
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn move_all(&self, shard: Shard, waiting: Vec<(MarkRead, oneshot::Sender<Moved>)>) {
        let (marks, answers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let answer = |to: oneshot::Sender<Moved>, moved| {
            // Who asked may be gone.
            drop(to.send(moved));
        };
        match self.store.mark_read(shard, &marks).await {
            Ok(marked) => {
                self.publish(shard, &marks, &marked).await;
                for (to, moved) in answers.into_iter().zip(marked.marks) {
                    answer(to, Ok(moved));
                }
            }
            Err(error) => {
                for to in answers {
                    answer(to, Err(error.clone()));
                }
            }
        }
    }

    async fn publish(&self, shard: Shard, marks: &[MarkRead], marked: &Marked) {
        let moved = marks.iter().zip(&marked.marks).filter_map(|(mark, now)| {
            Some(UserMark {
                position: marked.head,
                user: mark.user,
                conversation: mark.conversation,
                read: (*now)?,
            })
        });
        let news = News {
            after: marked.after,
            head: marked.head,
            marks: moved.collect(),
            ..News::default()
        };
        let mut wakeups = Wakeups::default();
        self.router.publish(shard, news, &mut wakeups).await;
        wakeups.ring();
    }
}
