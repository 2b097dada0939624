//! Opening the store, and everything that can be wrong with a data directory.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::{
    Embedded, Shared,
    checkpoint::Checkpoints,
    migrations::{MIGRATIONS, MigrateError, migrate},
    readers::{READER_COUNT, Readers},
    rows,
    writer::Writer,
};
use crate::{
    clock::Blocking,
    store::{DEADLINE_MS_MAX, NewEpoch, StoreError, seen::Seen},
};

/// The database inside the data directory.
pub(super) const DATABASE_FILE: &str = "magpie.db";

/// Locked while a server uses the directory. Empty.
const LOCK_FILE: &str = "magpie.lock";

/// How long a connection waits for another one that holds the database's lock.
/// Only a checkpoint ever does, for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements that a connection keeps prepared: more than there are.
const STATEMENT_COUNT: usize = 64;

/// Why the store cannot be opened. For the operator, who must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made.
    #[error("the data directory {} cannot be made: {reason}", path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// There is no log.
    #[error("there is no database {}", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// Nothing can be written there.
    #[error("{} cannot be written: {reason}", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Two servers on one file would lose messages.
    #[error("the data directory {} is in use by another magpied", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A newer server was here and has changed the schema.
    #[error(
        "{} was written by a newer magpied: its schema has version {version}, this one knows up \
         to {known}", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Of its schema.
        version: u32,
        /// The newest that this server knows.
        known: u32,
    },
    /// The server was built from a changed migration.
    #[error("{} was made with another migration {version} than this magpied's", path.display())]
    ChangedMigration {
        /// The database.
        path: PathBuf,
        /// Of the migration.
        version: u32,
    },
    /// Another program's file.
    #[error("{} is not a database of magpied", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged: restore a backup.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// No space is left.
    #[error("the disk that holds {} is full", path.display())]
    DiskFull {
        /// The database.
        path: PathBuf,
    },
    /// Anything else that the database says.
    #[error("{} cannot be opened: {reason}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
}

/// Opens the store in the directory `dir`, which is made if need be, and brings
/// its schema up to date.
///
/// `fresh_key` is random: the key of cursors, if there is none yet.
///
/// # Errors
///
/// [`OpenError`]: nothing is open then, and no message was changed.
pub fn open(
    dir: &Path,
    blocking: Blocking,
    fresh_key: [u8; 32],
) -> Result<Arc<Embedded>, OpenError> {
    let lock = lock_directory(dir)?;
    let path = dir.join(DATABASE_FILE);
    create_private(&path)?;
    let refused = |error: rusqlite::Error| database_error(&path, error);
    let mut connection = connect(&path, true).map_err(refused)?;
    write_ahead(&connection, &path)?;
    migrate(&mut connection, MIGRATIONS).map_err(|error| migrate_error(&path, error))?;
    keep_cursor_key(&connection, fresh_key).map_err(refused)?;
    check(&connection, &path)?;
    let readers = (0..READER_COUNT)
        .map(|_| connect(&path, false))
        .collect::<Result<_, _>>()
        .map_err(refused)?;
    let checkpoints = connect(&path, true).map_err(refused)?;
    let shared = Shared {
        writer: Mutex::new(Writer::new(connection)),
        readers: Readers::new(readers),
        checkpoints: Checkpoints::new(checkpoints),
        _lock: lock,
    };
    let shared = Arc::new(shared);
    Ok(Arc::new(Embedded {
        shared,
        blocking,
        seen: Seen::default(),
        members_max: AtomicU32::new(u32::MAX),
        node: AtomicI64::new(0),
        ahead: Arc::default(),
    }))
}

/// Begins a new epoch of the log in the directory `dir`: the history may have
/// gone back. Fences all connections, and revokes all devices if `sign_out_all`.
///
/// # Errors
///
/// [`OpenError`]: nothing has changed then.
pub fn begin_epoch(dir: &Path, sign_out_all: bool) -> Result<NewEpoch, OpenError> {
    let path = dir.join(DATABASE_FILE);
    if !path.exists() {
        return Err(OpenError::Absent { path });
    }
    let _lock = lock_directory(dir)?;
    let refused = |error: rusqlite::Error| database_error(&path, error);
    let mut connection = connect(&path, true).map_err(refused)?;
    write_ahead(&connection, &path)?;
    migrate(&mut connection, MIGRATIONS).map_err(|error| migrate_error(&path, error))?;
    let transaction = connection.transaction().map_err(refused)?;
    let run = |sql: &str| transaction.execute(sql, []).map_err(refused);
    // Not simply the next number: a backup that is restored twice would give out
    // the same one twice, for two histories.
    run("INSERT INTO epochs (epoch, base)
         SELECT (SELECT max(max(epoch) + 1, unixepoch()) FROM epochs), position FROM log_head")?;
    // What a device had confirmed of the history before says nothing of what it
    // holds of this one: whoever sleeps is woken, and asks.
    run("UPDATE cursors SET generation = generation + 1, cursor = 0")?;
    let look_at_all = format!(
        "INSERT INTO wakes (device, wake_id, position, tries, due_at_ms)
         SELECT device, 0, 0, 0, unixepoch() * 1000 + {DEADLINE_MS_MAX} FROM push_addresses WHERE true
             ON CONFLICT (device) DO UPDATE
            SET position = 0, tries = 0, due_at_ms = min(due_at_ms, excluded.due_at_ms)"
    );
    run(&look_at_all)?;
    let mut revoked = 0;
    if sign_out_all {
        revoked = run("UPDATE devices SET is_revoked = 1 WHERE NOT is_revoked")?;
    }
    let state = rows::state(&transaction).map_err(|error| OpenError::Damaged {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    let sql = "SELECT count(*) FROM devices WHERE NOT is_revoked";
    let devices: i64 = transaction
        .query_row(sql, [], |row| row.get(0))
        .map_err(refused)?;
    transaction.commit().map_err(refused)?;
    Ok(NewEpoch {
        state,
        devices: rows::unsigned(devices),
        revoked: revoked as u64,
    })
}

fn lock_directory(dir: &Path) -> Result<File, OpenError> {
    // A directory that is there keeps the mode that the operator gave it.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|reason| OpenError::Directory {
            path: dir.to_owned(),
            reason,
        })?;
    let path = dir.join(LOCK_FILE);
    let file = create_private(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(reason)) => Err(not_writable(&path, &reason)),
    }
}

/// Makes a file that only we may read, if there is none yet. `SQLite` gives the
/// files beside its database the same mode.
fn create_private(path: &Path) -> Result<File, OpenError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|reason| not_writable(path, &reason))
}

fn not_writable(path: &Path, reason: &io::Error) -> OpenError {
    let path = path.to_owned();
    if reason.kind() == io::ErrorKind::StorageFull {
        return OpenError::DiskFull { path };
    }
    let reason = reason.to_string();
    OpenError::NotWritable { path, reason }
}

fn connect(path: &Path, writes: bool) -> rusqlite::Result<Connection> {
    let access = if writes {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_COUNT);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // KiB, if negative.
    connection.pragma_update(None, "cache_size", if writes { -65_536 } else { -16_384 })?;
    Ok(connection)
}

fn write_ahead(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let set = || -> rusqlite::Result<String> {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        // NORMAL loses acknowledged messages in a power cut.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Another connection does it: it would make the commit wait.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(mode)
    };
    let mode = set().map_err(|error| database_error(path, error))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(OpenError::Database {
        path: path.to_owned(),
        reason: format!("its file system allows the journal mode {mode} only, not wal"),
    })
}

fn keep_cursor_key(connection: &Connection, fresh_key: [u8; 32]) -> rusqlite::Result<()> {
    // The first one stays.
    connection.execute(
        "INSERT INTO facts (name, value) VALUES ('cursor_key', ?1) ON CONFLICT DO NOTHING",
        params![fresh_key],
    )?;
    Ok(())
}

/// Cheap signs of damage. (A full check reads the whole file.)
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |reason: String| OpenError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let read = || -> Result<_, StoreError> {
        let sql = "SELECT coalesce(max(position), 0) FROM events";
        let last: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        Ok((rows::log_head(connection)?.position, rows::unsigned(last)))
    };
    let (head, last) = read().map_err(|error| damaged(error.to_string()))?;
    if last <= head.get() {
        return Ok(());
    }
    Err(damaged(format!(
        "the log's last event is at position {last}, beyond its head at {head}"
    )))
}

fn migrate_error(path: &Path, error: MigrateError) -> OpenError {
    let path = path.to_owned();
    match error {
        MigrateError::Newer { version, known } => OpenError::Newer {
            path,
            version,
            known,
        },
        MigrateError::Changed { version } => OpenError::ChangedMigration { path, version },
        MigrateError::Foreign => OpenError::Foreign { path },
        MigrateError::Database(error) => database_error(&path, error),
    }
}

fn database_error(path: &Path, error: rusqlite::Error) -> OpenError {
    let reason = error.to_string();
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path, reason }
        }
        Some(ErrorCode::DiskFull) => OpenError::DiskFull { path },
        Some(ErrorCode::ReadOnly) => OpenError::NotWritable { path, reason },
        _ => OpenError::Database { path, reason },
    }
}
