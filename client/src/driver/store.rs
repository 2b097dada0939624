//! The local database, off the thread that serves the socket.

use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    database::{Changes, Database, Turn},
    error::LocalError,
    home::Home,
};

/// The handle comes back unless it could not be opened.
type Written = (Option<Database>, Result<Changes, LocalError>);

/// One turn at a time; while it is written, the next one collects.
pub(super) struct Store {
    home: Home,
    idle: Option<Database>,
    running: Option<JoinHandle<Written>>,
}

impl Store {
    pub(super) const fn new(home: Home) -> Self {
        Self {
            home,
            idle: None,
            running: None,
        }
    }

    /// Whether a turn is being written.
    pub(super) const fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Begins to write; call only while not busy.
    pub(super) fn start(&mut self, turn: Turn) {
        debug_assert!(!self.is_busy(), "a turn begun inside another");
        let (home, database) = (self.home.clone(), self.idle.take());
        self.running = Some(spawn_blocking(move || write(&home, database, turn)));
    }

    /// The turn under way is written; waits for ever if there is none. May be
    /// cancelled without loss.
    pub(super) async fn finished(&mut self) -> Result<Changes, LocalError> {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let written = running.await;
        self.running = None;
        let (database, changes) = written.map_err(|_| LocalError::Closed)?;
        self.idle = database;
        changes
    }

    /// Whether another handle has written since this was `seen`.
    pub(super) fn has_changed(&self, seen: &mut u64) -> bool {
        let Some(database) = &self.idle else {
            return false;
        };
        // A database that cannot be read now says so at the next turn.
        let version = database.data_version().unwrap_or(*seen);
        std::mem::replace(seen, version) != version
    }
}

fn write(home: &Home, database: Option<Database>, turn: Turn) -> Written {
    let mut database = match database {
        Some(database) => database,
        None => match home.open_again() {
            Ok(database) => database,
            Err(error) => return (None, Err(error.into())),
        },
    };
    let changes = database.turn(turn);
    (Some(database), changes)
}
