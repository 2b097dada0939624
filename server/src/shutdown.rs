//! When the server ends: a signal begins the drain, a second one ends it at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The signals that end the server.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens for SIGTERM and SIGINT.
    ///
    /// # Errors
    ///
    /// If the operating system does not allow it.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The three steps of an end, in order.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Accept no more connections; say goodbye to those that are there.
    pub drain: CancellationToken,
    /// Commit what is queued and stop the log's tasks: nobody asks for anything
    /// any more.
    pub stop: CancellationToken,
}
