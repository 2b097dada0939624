//! When the server ends: a signal begins the drain, a second one ends it at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// SIGTERM or SIGINT: end.
    End,
    /// SIGHUP: read the certificate again.
    Reload,
}

/// The signals that the server heeds.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens for SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    ///
    /// If the operating system does not allow it.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::End,
            _ = self.interrupt.recv() => Wanted::End,
            _ = self.hang_up.recv() => Wanted::Reload,
        }
    }

    /// Waits for one that ends the server; others mean nothing any more.
    pub async fn end(&mut self) {
        while self.next().await != Wanted::End {}
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
