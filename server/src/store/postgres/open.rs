//! Opening the store, and everything that can be wrong with a database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio_postgres::{Client, error::SqlState};

use super::{
    Postgres,
    batch::ShardOf,
    committer::Committer,
    connections::{Connections, Link},
    epoch,
    known::Deletions,
    migrations::{MIGRATIONS, MigrateError, Migrated, Migration, migrate},
    routes::Routes,
    session::Failure,
    settings::{Settings, SettingsError, reason},
};
use crate::{
    clock::within,
    store::{NewEpoch, Shard, StoreError, ahead::Ahead, seen::Seen},
};

/// How long the database may be absent at start: it may be starting as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts to reach it.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// The oldest that is tested, as `server_version_num` has it.
const VERSION_MIN: i32 = 140_000;

/// Why the store cannot be opened. For the operator, who must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A wrong URL.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It does not answer.
    #[error("PostgreSQL at {place} cannot be reached: {reason}")]
    Unreachable {
        /// Host, port and database.
        place: String,
        /// The last thing that happened.
        reason: String,
    },
    /// It answers, and refuses.
    #[error("PostgreSQL at {place} refuses: {reason}")]
    Refused {
        /// Host, port and database.
        place: String,
        /// What it says.
        reason: String,
    },
    /// It is too old.
    #[error("PostgreSQL at {place} has version {version}, but magpied needs 14 or newer")]
    TooOld {
        /// Host, port and database.
        place: String,
        /// As it says.
        version: String,
    },
    /// It would lose acknowledged messages.
    #[error(
        "PostgreSQL at {place} runs with fsync=off and would lose messages when its machine \
         fails; set fsync = on"
    )]
    NotDurable {
        /// Host, port and database.
        place: String,
    },
    /// Nothing can be written there.
    #[error("PostgreSQL at {place} is a standby; give the URL of the primary")]
    Standby {
        /// Host, port and database.
        place: String,
    },
    /// Names and titles may hold any character.
    #[error("the database {place} has the encoding {encoding}, but magpied needs UTF8")]
    Encoding {
        /// Host, port and database.
        place: String,
        /// As it says.
        encoding: String,
    },
    /// A newer server was here and has changed the schema.
    #[error(
        "the database {place} was changed by a newer magpied: its schema has version {version}, \
         this one knows up to {known}"
    )]
    Newer {
        /// Host, port and database.
        place: String,
        /// Of its schema.
        version: i32,
        /// The newest that this server knows.
        known: i32,
    },
    /// The schema must be changed, and the role may not.
    #[error(
        "the schema of the database {place} has version {version}, but magpied needs {known} and \
         its role may not create tables there; run `magpied migrate` as a role that may"
    )]
    Older {
        /// Host, port and database.
        place: String,
        /// Of its schema; 0 if there is none.
        version: i32,
        /// What this server needs.
        known: i32,
    },
    /// The server was built from a changed migration.
    #[error("the database {place} was made with another migration {version} than this magpied's")]
    ChangedMigration {
        /// Host, port and database.
        place: String,
        /// Of the migration.
        version: i32,
    },
    /// The log was made with another number of shards.
    #[error(
        "the log in the database {place} has {found} shard(s), not {asked}: their number is fixed \
         when the database is made"
    )]
    Shards {
        /// Host, port and database.
        place: String,
        /// How many there are.
        found: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// What is in it does not fit together: restore a backup.
    #[error("the database {place} is damaged: {reason}")]
    Damaged {
        /// Host, port and database.
        place: String,
        /// What was found.
        reason: String,
    },
}

/// Opens the store at this URL and brings its schema up to date, if the URL's
/// role may.
///
/// `shards`: how many shards the log gets if it is made now, by default one; one
/// that is there must have so many. `fresh_key` is random: the key of cursors, if
/// there is none yet. A database that is absent is waited for, 10 s.
///
/// # Errors
///
/// [`OpenError`]: nothing is open then, and no message was changed.
pub async fn open(
    url: &str,
    shards: Option<usize>,
    fresh_key: [u8; 32],
) -> Result<Arc<Postgres>, OpenError> {
    open_with(url, shards, fresh_key, MIGRATIONS).await
}

/// Brings the schema of the database at this URL up to date. `shards` as for
/// [`open`].
///
/// # Errors
///
/// [`OpenError`]: nothing has changed then.
pub async fn migrate_schema(url: &str, shards: Option<usize>) -> Result<Migrated, OpenError> {
    let (client, _, migrated) = connect(&Settings::read(url)?, shards, MIGRATIONS).await?;
    drop(client);
    Ok(migrated)
}

/// Begins a new epoch of the log in the database at this URL: the history may
/// have gone back. Fences all connections, and revokes all devices if
/// `sign_out_all`.
///
/// # Errors
///
/// [`OpenError`]: nothing has changed then.
pub async fn begin_epoch(url: &str, sign_out_all: bool) -> Result<NewEpoch, OpenError> {
    let settings = Settings::read(url)?;
    let (mut client, _, _) = connect(&settings, None, MIGRATIONS).await?;
    let begun = epoch::begin(&mut client, sign_out_all).await;
    begun.map_err(|failure| match failure {
        Failure::Database(error) => refused(&settings.place(), &error),
        other @ (Failure::Unavailable(_) | Failure::Final(_)) => OpenError::Refused {
            place: settings.place(),
            reason: StoreError::from(other).to_string(),
        },
    })
}

pub(super) async fn open_with(
    url: &str,
    shards: Option<usize>,
    fresh_key: [u8; 32],
    migrations: &[Migration],
) -> Result<Arc<Postgres>, OpenError> {
    let settings = Settings::read(url)?;
    let place = settings.place();
    let (client, count, _) = connect(&settings, shards, migrations).await?;
    let refused = |error: tokio_postgres::Error| refused(&place, &error);
    keep_cursor_key(&client, fresh_key).await.map_err(refused)?;
    check_log(&client, &place).await?;
    let connections = Connections::new(&settings).map_err(|reason| OpenError::Unreachable {
        place: place.clone(),
        reason,
    })?;
    let seen = Arc::new(Seen::default());
    let members_max = Arc::new(AtomicU32::new(u32::MAX));
    let deletions = Arc::new(Deletions::default());
    let committer = |shard| {
        let (shard, max) = (ShardOf { shard, count }, Arc::clone(&members_max));
        let (seen, deletions) = (Arc::clone(&seen), Arc::clone(&deletions));
        Committer::new(settings.clone(), shard, seen, max, deletions)
    };
    Ok(Arc::new(Postgres {
        connections,
        committers: Shard::all(count).map(committer).collect(),
        routes: Routes::default(),
        deletions,
        seen: Arc::clone(&seen),
        members_max: Arc::clone(&members_max),
        node: AtomicI64::new(0),
        ahead: Ahead::default(),
    }))
}

/// Connects to a database that can be used, with its schema up to date. Says how
/// many shards its log has.
async fn connect(
    settings: &Settings,
    shards: Option<usize>,
    migrations: &[Migration],
) -> Result<(Client, usize, Migrated), OpenError> {
    let place = settings.place();
    let mut client = reach(settings, &place, PATIENCE).await?;
    check_server(&client, &place).await?;
    let migrated = migrate(&mut client, migrations, shards.unwrap_or(1)).await;
    let migrated = migrated.map_err(|error| migrate_error(place.clone(), error))?;
    let sql = "SELECT count(*) FROM log_head";
    let count = client.query_one(sql, &[]).await;
    let count = count.and_then(|row| row.try_get::<_, i64>(0));
    let count = count.map_err(|error| refused(&place, &error))?;
    let found = usize::try_from(count).unwrap_or(0);
    match shards {
        Some(asked) if asked != found => Err(OpenError::Shards {
            place,
            found,
            asked,
        }),
        Some(_) | None => Ok((client, found, migrated)),
    }
}

/// Connects, as soon as the database is there.
pub(super) async fn reach(
    settings: &Settings,
    place: &str,
    patience: Duration,
) -> Result<Client, OpenError> {
    let last = parking_lot::Mutex::new(None);
    let said = AtomicBool::new(false);
    let attempts = async {
        loop {
            let error = match Link::connect(settings).await {
                // The task ends with the client.
                Ok(link) => return Ok(link.client),
                Err(error) => error,
            };
            if !is_absent(&error) {
                return Err(refused(place, &error));
            }
            if !said.swap(true, Ordering::Relaxed) {
                let reason = reason(&error);
                tracing::warn!(place, reason, "the database is not there; will try again");
            }
            *last.lock() = Some(reason(&error));
            tokio::time::sleep(RETRY_DELAY).await;
        }
    };
    if let Some(done) = within(patience, attempts).await {
        return done;
    }
    let reason = last.lock().take();
    Err(OpenError::Unreachable {
        place: place.to_owned(),
        reason: reason.unwrap_or_else(|| "no answer".to_owned()),
    })
}

/// Whether the database may be there in a moment.
fn is_absent(error: &tokio_postgres::Error) -> bool {
    let passing = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
    ];
    match error.code() {
        Some(code) => passing.contains(code),
        // A certificate that is not trusted now is not trusted in a moment.
        None => !is_mistrusted(error),
    }
}

fn is_mistrusted(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error);
    cause
        .and_then(|cause| cause.downcast_ref::<std::io::Error>())
        .and_then(std::io::Error::get_ref)
        .is_some_and(|cause| cause.is::<rustls::Error>())
}

async fn check_server(client: &Client, place: &str) -> Result<(), OpenError> {
    let refused = |error: tokio_postgres::Error| refused(place, &error);
    let sql = "
        SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
               current_setting('fsync'), current_setting('server_encoding'), pg_is_in_recovery()";
    let row = client.query_one(sql, &[]).await.map_err(refused)?;
    let place = place.to_owned();
    if row.try_get::<_, i32>(0).map_err(refused)? < VERSION_MIN {
        let version = row.try_get(1).map_err(refused)?;
        return Err(OpenError::TooOld { place, version });
    }
    if row.try_get::<_, &str>(2).map_err(refused)? != "on" {
        return Err(OpenError::NotDurable { place });
    }
    let encoding: String = row.try_get(3).map_err(refused)?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding { place, encoding });
    }
    if row.try_get(4).map_err(refused)? {
        return Err(OpenError::Standby { place });
    }
    Ok(())
}

async fn keep_cursor_key(
    client: &Client,
    fresh_key: [u8; 32],
) -> Result<(), tokio_postgres::Error> {
    // The first one stays.
    let sql = "INSERT INTO facts (name, value) VALUES ('cursor_key', $1) ON CONFLICT DO NOTHING";
    client.execute(sql, &[&fresh_key.as_slice()]).await?;
    Ok(())
}

/// A cheap sign of damage, in one statement: other nodes append meanwhile.
async fn check_log(client: &Client, place: &str) -> Result<(), OpenError> {
    let sql = "
        SELECT h.shard, h.position & ~(255::bigint << 56), last.position & ~(255::bigint << 56)
          FROM log_head h
         CROSS JOIN LATERAL (
               SELECT e.position FROM events e
                WHERE e.position < (h.shard + 1)::bigint << 56
                ORDER BY e.position DESC LIMIT 1) last
         WHERE last.position > h.position";
    let row = client.query_opt(sql, &[]).await;
    let Some(row) = row.map_err(|error| refused(place, &error))? else {
        return Ok(());
    };
    let read = || -> Result<(i32, i64, i64), tokio_postgres::Error> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    };
    let (shard, head, last) = read().map_err(|error| refused(place, &error))?;
    Err(OpenError::Damaged {
        place: place.to_owned(),
        reason: format!(
            "the last event of shard {shard} is at position {last}, beyond its head at {head}"
        ),
    })
}

fn refused(place: &str, error: &tokio_postgres::Error) -> OpenError {
    OpenError::Refused {
        place: place.to_owned(),
        reason: error
            .as_db_error()
            .map_or_else(|| reason(error), |said| said.message().to_owned()),
    }
}

fn migrate_error(place: String, error: MigrateError) -> OpenError {
    match error {
        MigrateError::Newer { version, known } => OpenError::Newer {
            place,
            version,
            known,
        },
        MigrateError::Older { version, known } => OpenError::Older {
            place,
            version,
            known,
        },
        MigrateError::Changed { version } => OpenError::ChangedMigration { place, version },
        MigrateError::Database(error) => refused(&place, &error),
    }
}
