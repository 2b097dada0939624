//! Copying the write-ahead log into the database file, behind the writer's back.
//!
//! Done by the committing connection it is the tail of all latencies (10 to
//! 45 ms), so another connection does it. A PASSIVE checkpoint disturbs nobody,
//! but under constant load it never catches up with the writer, and the file
//! would grow for ever: beyond a bound the writer has to wait once, for the
//! little that the passive one has left.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::Shared;
use crate::clock::Blocking;

/// A checkpoint is due after about this many written pages: 16 MiB.
const CHECKPOINT_PAGES: u64 = 4_096;

/// The write-ahead log is emptied beyond this many pages: 64 MiB.
const TRUNCATE_PAGES: u64 = 16_384;

/// What is still to be copied.
pub(super) struct Checkpoints {
    connection: Mutex<Connection>,
    written: AtomicU64,
    running: AtomicBool,
}

impl Checkpoints {
    pub(super) const fn new(connection: Connection) -> Self {
        Self {
            connection: Mutex::new(connection),
            written: AtomicU64::new(0),
            running: AtomicBool::new(false),
        }
    }

    /// Counts pages; whether the caller has to start a checkpoint.
    pub(super) fn is_due(&self, pages: u64) -> bool {
        let written = self.written.fetch_add(pages, Ordering::Relaxed);
        let due = written.saturating_add(pages) >= CHECKPOINT_PAGES;
        due && !self.running.swap(true, Ordering::AcqRel)
    }
}

/// Starts one; without a runtime to do it behind the caller's back, does it.
pub(super) async fn start(shared: Arc<Shared>, blocking: Blocking) {
    let work = async move {
        let done = blocking.run(move || run(&shared)).await;
        if done.is_none() {
            tracing::warn!("checkpoint not finished; the next commits will start another");
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn(work)),
        Err(_) => work.await,
    }
}

fn run(shared: &Shared) {
    // Cleared even if this panics.
    let _running = Running(&shared.checkpoints.running);
    shared.checkpoints.written.store(0, Ordering::Relaxed);
    let done = checkpoint(shared);
    if let Err(error) = done {
        tracing::warn!(%error, "checkpoint not done; will try again");
    }
}

fn checkpoint(shared: &Shared) -> rusqlite::Result<()> {
    let connection = shared.checkpoints.connection.lock();
    let pages = pragma(&connection, "PRAGMA wal_checkpoint(PASSIVE)")?;
    if pages < TRUNCATE_PAGES {
        return Ok(());
    }
    // The writer would poll for the database's lock; here it queues for ours.
    let _writer = shared.writer.lock();
    pragma(&connection, "PRAGMA wal_checkpoint(TRUNCATE)").map(drop)
}

/// Returns the pages in the write-ahead log.
fn pragma(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    let pages: i64 = connection.query_row(sql, [], |row| row.get(1))?;
    Ok(u64::try_from(pages).unwrap_or(0))
}

struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
