//! The connections that read.

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use crate::store::StoreError;

/// How many read at the same time; more wait.
pub(super) const READER_COUNT: usize = 4;

/// Connections that are free, and a bell for who waits for one.
pub(super) struct Readers {
    free: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let free = Mutex::new(connections);
        let returned = Condvar::new();
        Self { free, returned }
    }

    /// Runs `work` on one snapshot of the database.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reader = self.take();
        // The first statement inside takes the snapshot; dropping it ends it.
        let snapshot = reader.connection()?.unchecked_transaction()?;
        work(&snapshot)
    }

    fn take(&self) -> Taken<'_> {
        let mut free = self.free.lock();
        loop {
            if let Some(connection) = free.pop() {
                let connection = Some(connection);
                return Taken {
                    readers: self,
                    connection,
                };
            }
            self.returned.wait(&mut free);
        }
    }
}

/// A connection that comes back even if the work panics.
struct Taken<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Taken<'_> {
    fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection
            .as_ref()
            .ok_or_else(|| StoreError::Unavailable {
                reason: "no connection to read with".to_owned(),
            })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.readers.free.lock().extend(self.connection.take());
        self.readers.returned.notify_one();
    }
}
