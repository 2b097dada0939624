//! An answer that is owed.

use std::sync::Arc;

use super::{Ending, Letter, Mailbox};

/// A letter that somebody waits for. Dropped without one (its task died), it
/// ends the connection, so that nobody waits for ever.
#[derive(Debug)]
pub struct Promise(Option<Arc<Mailbox>>);

impl Promise {
    /// A promise to this connection.
    #[must_use]
    pub fn new(mailbox: &Arc<Mailbox>) -> Self {
        Self(Some(Arc::clone(mailbox)))
    }

    /// Keeps it.
    pub fn keep(mut self, letter: Letter) {
        if let Some(mailbox) = self.0.take() {
            mailbox.deliver(letter);
        }
    }

    /// Nobody waits any more.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(mailbox) = self.0.take() {
            mailbox.end(Ending::Unavailable);
        }
    }
}
