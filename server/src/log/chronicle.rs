//! Which history this process serves, and whether it may.
//!
//! When the log goes back (an older backup was restored), whatever is written
//! takes positions that devices have seen as something else. So nobody is served
//! any more, until the operator has begun a new epoch: then all is read anew.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    hub::{Ending, Hub},
    store::{History, StoreError},
};

/// The history of one process.
pub struct Chronicle {
    hub: Arc<Hub>,
    history: Mutex<History>,
    /// Why nobody is served.
    stopped: Mutex<Option<String>>,
}

impl Chronicle {
    /// Serves this history.
    #[must_use]
    pub fn new(hub: Arc<Hub>, history: History) -> Self {
        Self {
            hub,
            history: Mutex::new(history),
            stopped: Mutex::new(None),
        }
    }

    /// The history that is served.
    #[must_use]
    pub fn history(&self) -> History {
        *self.history.lock()
    }

    /// Why nobody is served, if so; one sentence, for the operator.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.stopped.lock().clone()
    }

    /// Whether nobody is served.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.lock().is_some()
    }

    /// Serves nobody, if this is the error of a log that went back, or of another
    /// epoch, which the tailer will take over.
    pub fn note(&self, error: &StoreError) {
        match error {
            StoreError::WentBack { .. } | StoreError::OtherEpoch { .. } => {
                self.stop(error.to_string());
            }
            StoreError::Unavailable { .. } | StoreError::Corrupt { .. } => {}
        }
    }

    /// Serves nobody from now on.
    pub fn stop(&self, reason: String) {
        let mut stopped = self.stopped.lock();
        if stopped.is_none() {
            tracing::error!(reason, "nobody is served any more");
            *stopped = Some(reason);
        }
        drop(stopped);
        self.hub.end_all(Ending::Unavailable);
    }

    /// Serves this history from now on.
    pub(super) fn begin(&self, history: History) {
        tracing::warn!(epoch = history.epoch, base = %history.base, "a new epoch began");
        *self.history.lock() = history;
        *self.stopped.lock() = None;
    }
}
