//! The local database's tables, and how they came about.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::{HomeError, LocalError};

/// "Mgpc": what makes a SQLite file a local database of Magpie.
const APPLICATION_ID: i64 = 0x4d67_7063;

/// How long a process waits for another one's write. Writes are short; a disk
/// that stalls is not.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// One step per version: step 0 makes version 1, and so on. A step never changes
/// once it is released.
const STEPS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// Opens the file, making it if it is absent, and brings it up to date.
pub(super) fn open(path: &Path) -> Result<Connection, HomeError> {
    make_private(path)?;
    let mut connection = Connection::open(path).map_err(|error| explain(path, error))?;
    prepare(&mut connection, path)?;
    Ok(connection)
}

/// Makes the file readable for nobody else before SQLite touches it; its side
/// files take over the mode.
fn make_private(path: &Path) -> Result<(), HomeError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| HomeError::of_file(path, source))
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), HomeError> {
    let explain = |error| explain(path, error);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(explain)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Looked at before anything is changed: a stranger's file stays as it is.
    look(connection, path)?;
    use_write_ahead_log(connection).map_err(explain)?;
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(explain)?;
    migrate(connection, path)
}

/// [`check`] in one transaction: another process may be making the database at
/// this moment.
fn look(connection: &mut Connection, path: &Path) -> Result<usize, HomeError> {
    let transaction = connection
        .transaction()
        .map_err(|error| explain(path, error))?;
    check(&transaction, path)
}

/// Refuses what is no local database, or one of a newer version. Returns its
/// version.
fn check(connection: &Connection, path: &Path) -> Result<usize, HomeError> {
    let explain = |error| explain(path, error);
    let number = |name: &str| -> Result<i64, HomeError> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(explain)
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .map_err(explain)?;
    let is_new = application == 0 && version == 0 && tables == 0;
    let Some(known) = usize::try_from(version)
        .ok()
        .filter(|_| is_new || application == APPLICATION_ID)
    else {
        return Err(HomeError::Damaged {
            path: path.to_owned(),
        });
    };
    if known > STEPS.len() {
        return Err(HomeError::Newer {
            path: path.to_owned(),
            found: version,
            known: i64::try_from(STEPS.len()).unwrap_or(i64::MAX),
        });
    }
    Ok(known)
}

/// Switches to the write-ahead log. SQLite does not wait for others while it
/// switches, so two processes that make one home at once must take turns here.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let mut tries = 0;
    loop {
        let switched = connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
        match switched {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                tries += 1;
                if tries > 200 {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other.map(drop),
        }
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), HomeError> {
    let explain = |error| explain(path, error);
    if look(connection, path)? == STEPS.len() {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(explain)?;
    // Again, now that nobody else can write: another process may have been first.
    let version = check(&transaction, path)?;
    for step in STEPS.iter().skip(version) {
        transaction.execute_batch(step).map_err(explain)?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(explain)?;
    transaction
        .pragma_update(
            None,
            "user_version",
            i64::try_from(STEPS.len()).unwrap_or(i64::MAX),
        )
        .map_err(explain)?;
    transaction.commit().map_err(explain)
}

fn explain(path: &Path, error: rusqlite::Error) -> HomeError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            HomeError::ReadOnly { path }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => HomeError::Damaged { path },
        _ => HomeError::Database {
            path,
            source: LocalError::from(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_database_of_a_newer_version_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("magpie.db");
        open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let refused = open(&path).unwrap_err().to_string();
        assert!(
            refused.ends_with(
                "has version 99, this program knows versions up to 2; use a newer program"
            ),
            "{refused}"
        );
    }

    #[test]
    fn a_file_that_is_no_local_database_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("magpie.db");
        std::fs::write(
            &path,
            "not a database, but long enough to look at".repeat(20),
        )
        .unwrap();
        assert!(matches!(open(&path), Err(HomeError::Damaged { .. })));

        let other = directory.path().join("other.db");
        Connection::open(&other)
            .unwrap()
            .execute_batch("CREATE TABLE cats (name TEXT)")
            .unwrap();
        assert!(matches!(open(&other), Err(HomeError::Damaged { .. })));
    }

    #[test]
    fn two_handles_may_make_one_database_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("magpie.db");
        std::thread::scope(|scope| {
            let both: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| open(&path).map(drop)))
                .collect();
            for one in both {
                one.join().unwrap().unwrap();
            }
        });
    }
}
