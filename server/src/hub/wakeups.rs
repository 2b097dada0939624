//! Whom to wake.

use std::sync::Arc;

use super::Mailbox;

/// The connections to wake when a batch is done: each once.
#[derive(Debug, Default)]
pub struct Wakeups(Vec<Arc<Mailbox>>);

impl Wakeups {
    /// Remembers the mailbox if putting something in said that it must be woken.
    pub fn note(&mut self, mailbox: &Arc<Mailbox>, must_wake: bool) {
        if must_wake {
            self.0.push(Arc::clone(mailbox));
        }
    }

    /// Wakes those who are noted so far.
    pub fn ring(&mut self) {
        for mailbox in self.0.drain(..) {
            mailbox.wake();
        }
    }
}
