//! The schema, step by step.
//!
//! A step that was released never changes: the database remembers each one's
//! checksum. It also remembers the oldest version of the schema that can work
//! with what the step made, so that a server may be set back after a step that
//! only adds, and two versions may run beside each other.

use aws_lc_rs::digest::{SHA256, digest};
use tokio_postgres::{Client, Transaction};

use crate::store::SHARDS_MAX;

/// One step.
pub(super) struct Migration {
    /// 1, 2, 3, ...
    pub(super) version: i32,
    /// The oldest version that can work with the schema behind this step.
    pub(super) oldest: i32,
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
        version: i32,
        /// The newest that we know.
        known: i32,
    },
    /// It is older, and the role may not change it.
    Older {
        /// The schema's version; 0 if there is none.
        version: i32,
        /// The newest that we know.
        known: i32,
    },
    /// A step was applied with another text.
    Changed {
        /// Which one.
        version: i32,
    },
    /// The database refused.
    Database(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

/// One node after the other: of two that start at the same time, one waits and
/// finds everything done. The number is `magpie` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(120282490759525)";

const CREATE_MIGRATIONS: &str = "
    CREATE TABLE IF NOT EXISTS magpie_migrations (
        version  integer PRIMARY KEY,
        oldest   integer NOT NULL,
        checksum bytea NOT NULL
    )";

const IS_THERE: &str = "SELECT to_regclass('magpie_migrations') IS NOT NULL";

const FIND_APPLIED: &str = "
    SELECT version, oldest, checksum FROM magpie_migrations ORDER BY version";

const NOTE_APPLIED: &str = "
    INSERT INTO magpie_migrations (version, oldest, checksum) VALUES ($1, $2, $3)";

const MAY_CREATE: &str = "
    SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";

/// What became of the schema.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Migrated {
    /// The version that it had; 0 if there was none.
    pub from: i32,
    /// The version that it has now.
    pub to: i32,
}

/// Makes the heads of a new log, and its first epoch.
const MAKE_HEADS: &str = "
    WITH made AS (
        INSERT INTO log_head (shard, position, committed_at_ms)
        SELECT shard, shard::bigint << 56, 0 FROM generate_series(0, $1::integer - 1) AS shard
        RETURNING shard, position
    )
    INSERT INTO epochs (epoch, base) SELECT 1, array_agg(position ORDER BY shard) FROM made";

/// Brings the schema to the newest version, in one transaction: all of it is
/// done or nothing. A log that is made gets so many shards.
pub(super) async fn migrate(
    client: &mut Client,
    migrations: &[Migration],
    shards: usize,
) -> Result<Migrated, MigrateError> {
    let known = migrations.last().map_or(0, |migration| migration.version);
    let from = check(client, migrations, known).await?;
    if from >= known {
        return Ok(Migrated { from, to: from });
    }
    if !client.query_one(MAY_CREATE, &[]).await?.try_get(0)? {
        return Err(MigrateError::Older {
            version: from,
            known,
        });
    }
    let transaction = client.transaction().await?;
    transaction.execute(LOCK, &[]).await?;
    transaction.batch_execute(CREATE_MIGRATIONS).await?;
    // Another node may have been faster.
    let applied = transaction.query(FIND_APPLIED, &[]).await?.len();
    for migration in migrations.iter().skip(applied) {
        apply(&transaction, migration).await?;
    }
    if applied == 0 {
        let shards = i32::try_from(shards.clamp(1, SHARDS_MAX)).unwrap_or(1);
        transaction.execute(MAKE_HEADS, &[&shards]).await?;
    }
    transaction.commit().await?;
    let to = check(client, migrations, known).await?;
    Ok(Migrated { from, to })
}

async fn apply(transaction: &Transaction<'_>, migration: &Migration) -> Result<(), MigrateError> {
    transaction.batch_execute(migration.sql).await?;
    let checksum = digest(&SHA256, migration.sql.as_bytes());
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
        [&migration.version, &migration.oldest, &checksum.as_ref()];
    transaction.execute(NOTE_APPLIED, &params).await?;
    Ok(())
}

/// Checks what was applied. Returns the schema's version; 0 if there is none.
async fn check(client: &Client, migrations: &[Migration], known: i32) -> Result<i32, MigrateError> {
    if !client.query_one(IS_THERE, &[]).await?.try_get(0)? {
        return Ok(0);
    }
    let (mut newest, mut oldest) = (0, 0);
    for row in client.query(FIND_APPLIED, &[]).await? {
        (newest, oldest) = (row.try_get(0)?, row.try_get(1)?);
        let ours = migrations.iter().find(|it| it.version == newest);
        let checksum: &[u8] = row.try_get(2)?;
        if ours.is_some_and(|it| digest(&SHA256, it.sql.as_bytes()).as_ref() != checksum) {
            return Err(MigrateError::Changed { version: newest });
        }
    }
    if oldest > known {
        return Err(MigrateError::Newer {
            version: newest,
            known,
        });
    }
    Ok(newest)
}
