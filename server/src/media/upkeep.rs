//! What is of no use any more goes: uploads that stopped, what nobody refers to, and the
//! objects of both.

use std::{future::ready, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::Media;
use crate::store::{StoreError, Trash};

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(60);

/// How much at once.
const BATCH_MAX: usize = 200;

/// Objects that are deleted at the same time.
const DELETIONS_MAX: usize = 16;

/// Objects that nothing refers to any more stay so long for those who read or write them.
const TRASH_AFTER: Duration = Duration::from_secs(3_600);

/// A blob that takes longer to be made is made again.
pub(super) const BLOB_MADE_WITHIN: Duration = Duration::from_secs(6 * 3_600);

impl Media {
    /// When objects to which nothing refers from now on may go.
    pub(super) fn trash_ms(&self) -> i64 {
        self.in_ms(TRASH_AFTER)
    }

    /// Removes what is of no use, now and then, until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // What is broken off in the middle is found again, as after a crash.
            if let Some(Err(error)) = stop.run_until_cancelled(self.look()).await {
                tracing::warn!(%error, "old media could not be removed; will try again");
            }
            let pause = tokio::time::sleep(INTERVAL);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let (store, now_ms) = (&self.parts.store, self.parts.clock.wall_ms());
        while store
            .expire_media(now_ms, self.trash_ms(), BATCH_MAX)
            .await?
            > 0
        {}
        loop {
            let trash = store.trash(now_ms, BATCH_MAX).await?;
            let deletions = trash.into_iter().map(|it| self.delete(it));
            let deletions = stream::iter(deletions).buffer_unordered(DELETIONS_MAX);
            let gone: Vec<Trash> = deletions.filter_map(ready).collect().await;
            store.emptied(&gone).await?;
            // Those that stay are found again with the next look.
            if gone.len() < BATCH_MAX {
                return Ok(());
            }
        }
    }

    /// What is gone then.
    async fn delete(&self, trash: Trash) -> Option<Trash> {
        match self.depot.delete(trash).await {
            Ok(()) => Some(trash),
            Err(error) => {
                tracing::warn!(%error, "an object cannot be deleted; will try again");
                None
            }
        }
    }
}
