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
    let _turn = home.turns().lock();
    let changes = database.turn(turn);
    (Some(database), changes)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
        time::{Duration, Instant},
    };

    use magpie_protocol::{id::ConversationId, seq::Seq};

    use super::*;

    /// SQLite lets who waits try again now and then; somebody who writes one line
    /// after the other would win every time.
    #[tokio::test]
    async fn printing_without_a_pause_does_not_keep_the_driver_from_writing() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(directory.path()).unwrap();
        let id = ConversationId::new([1; 16]);
        let raw = rusqlite::Connection::open(directory.path().join("magpie.db")).unwrap();
        let known = "INSERT INTO conversations (id) VALUES (?1)";
        raw.execute(known, [id.bytes()]).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (printer, is_over) = (home.clone(), over.clone());
        let printing = thread::spawn(move || {
            for seq in (1..)
                .map(Seq::new)
                .take_while(|_| !is_over.load(Ordering::SeqCst))
            {
                printer.mark_printed(&[(id, seq)]).unwrap();
            }
        });
        let mut store = Store::new(home);
        let began_at = Instant::now();
        for _ in 0..20 {
            store.start(Turn::default());
            // Nobody has signed in: it ends as soon as it may write.
            let turn = store.finished().await;
            assert!(matches!(turn, Err(LocalError::NoAccount)), "{turn:?}");
        }
        let took = began_at.elapsed();
        over.store(true, Ordering::SeqCst);
        printing.join().unwrap();
        assert!(took < Duration::from_secs(5), "20 turns took {took:?}");
    }
}
