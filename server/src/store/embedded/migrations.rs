//! The schema, step by step.
//!
//! A step that was released never changes: the database remembers each one's
//! checksum. It also remembers the oldest version of the schema that can work
//! with what the step made, so that a server may be set back after a step that
//! only adds.

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

/// One step.
pub(super) struct Migration {
    /// 1, 2, 3, ...
    pub(super) version: u32,
    /// The oldest version that can work with the schema behind this step.
    pub(super) oldest: u32,
    /// What it does.
    pub(super) sql: &'static str,
}

/// All steps, in their order.
pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    oldest: 1,
    sql: include_str!("migrations/0001_log.sql"),
}];

/// Why the schema cannot be used.
#[derive(Debug)]
pub(super) enum MigrateError {
    /// It is newer than this version can work with.
    Newer {
        /// The schema's version.
        version: u32,
        /// The newest that we know.
        known: u32,
    },
    /// A step was applied with another text.
    Changed {
        /// Which one.
        version: u32,
    },
    /// Something else is in the file.
    Foreign,
    /// The database refused.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

const CREATE_MIGRATIONS: &str = "
    CREATE TABLE migrations (
        version  INTEGER PRIMARY KEY,
        oldest   INTEGER NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT";

/// Brings the schema to the newest version, each step in a transaction.
pub(super) fn migrate(
    connection: &mut Connection,
    migrations: &[Migration],
) -> Result<(), MigrateError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    begin(&transaction)?;
    transaction.commit()?;
    let known = migrations.last().map_or(0, |migration| migration.version);
    let newest: Option<(u32, u32)> = connection
        .query_row(
            "SELECT version, oldest FROM migrations ORDER BY version DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    if let Some((version, oldest)) = newest
        && oldest > known
    {
        return Err(MigrateError::Newer { version, known });
    }
    for migration in migrations {
        apply(connection, migration)?;
    }
    Ok(())
}

/// Makes the table of migrations in an empty file.
fn begin(connection: &Connection) -> Result<(), MigrateError> {
    let tables = "SELECT count(*), count(*) FILTER (WHERE name = 'migrations') FROM sqlite_schema";
    let (all, ours): (u32, u32) =
        connection.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    match (all, ours) {
        (0, _) => Ok(connection.execute_batch(CREATE_MIGRATIONS)?),
        (_, 0) => Err(MigrateError::Foreign),
        (_, _) => Ok(()),
    }
}

/// Applies a step, or checks that it was applied as it is.
fn apply(connection: &mut Connection, migration: &Migration) -> Result<(), MigrateError> {
    let version = migration.version;
    let checksum = digest(&SHA256, migration.sql.as_bytes());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let applied: Option<Vec<u8>> = transaction
        .query_row(
            "SELECT checksum FROM migrations WHERE version = ?1",
            [version],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(applied) = applied {
        if applied != checksum.as_ref() {
            return Err(MigrateError::Changed { version });
        }
        return Ok(());
    }
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO migrations (version, oldest, checksum) VALUES (?1, ?2, ?3)",
        params![version, migration.oldest, checksum.as_ref()],
    )?;
    Ok(transaction.commit()?)
}
