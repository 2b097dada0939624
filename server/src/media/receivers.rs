//! Requests whose bodies are being received, so that another can ask how far they are:
//! whoever asks has lost the connection of the last one, even if nobody here knows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_protocol::id::MediaId;
use parking_lot::Mutex;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::clock::within;

/// How long writing down what came may take for who asks.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What is being received.
#[derive(Clone, Debug, Default)]
pub(super) struct Receivers(Arc<Mutex<HashMap<MediaId, Arc<Group>>>>);

/// All requests of one upload.
#[derive(Debug, Default)]
struct Group {
    stop: CancellationToken,
    requests: TaskTracker,
}

/// A request that is receiving. Dropped, it is not any more.
#[derive(Debug)]
pub(super) struct Receiver {
    id: MediaId,
    group: Arc<Group>,
    receivers: Receivers,
    _token: TaskTrackerToken,
}

impl Receivers {
    /// A request begins.
    pub(super) fn begin(&self, id: MediaId) -> Receiver {
        let group = Arc::clone(self.0.lock().entry(id).or_default());
        Receiver {
            id,
            _token: group.requests.token(),
            group,
            receivers: self.clone(),
        }
    }

    /// Ends those of an upload, which write down what came.
    pub(super) async fn stop(&self, id: MediaId) {
        let Some(group) = self.0.lock().remove(&id) else {
            return;
        };
        group.stop.cancel();
        group.requests.close();
        if within(STOP_WITHIN, group.requests.wait()).await.is_none() {
            tracing::warn!("what came of an upload takes long to be written down");
        }
    }
}

impl Receiver {
    /// Cancelled when somebody asks how far it is.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.group.stop
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut groups = self.receivers.0.lock();
        let is_ours = groups
            .get(&self.id)
            .is_some_and(|group| Arc::ptr_eq(group, &self.group));
        // The map's and our own.
        if is_ours && Arc::strong_count(&self.group) == 2 {
            groups.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MediaId = MediaId::new([1; 16]);

    #[tokio::test]
    async fn who_asks_waits_until_the_others_have_stopped() {
        let receivers = Receivers::default();
        receivers.stop(ID).await;
        let (first, second) = (receivers.begin(ID), receivers.begin(ID));
        let other = receivers.begin(MediaId::new([2; 16]));
        let receiving = tokio::spawn(async move {
            first.stop().cancelled().await;
            second.stop().cancelled().await;
        });
        receivers.stop(ID).await;
        assert!(receiving.is_finished() || receiving.await.is_ok());
        assert!(!other.stop().is_cancelled());
        let next = receivers.begin(ID);
        assert!(!next.stop().is_cancelled());
        drop((next, other));
        assert!(receivers.0.lock().is_empty());
    }
}
