//! One connection while it works for us, and what it can fail with.

use deadpool_postgres::{ClientWrapper, StatementCache, Transaction};
use tokio_postgres::{
    Client, Row,
    error::{Severity, SqlState},
    types::{FromSql, ToSql},
};
use uuid::Uuid;

use super::{
    rows::{LOCK_HEAD, number},
    settings::reason,
};
use crate::store::{Shard, StoreError};

/// What every connection is told first.
///
/// The server's, the database's and the role's settings may say otherwise; our
/// promises do not depend on them. What bounds a statement also bounds what the
/// backend of a dead node can hold. No statement of ours wants to read a whole
/// table, whatever the planner believes about one that it has never looked at.
pub(super) const SET_UP: &str = "
    SET synchronous_commit = on;
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET default_transaction_deferrable = off;
    SET statement_timeout = '30s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = '20s';
    SET client_min_messages = 'warning';
    SET jit = off;
    SET enable_seqscan = off";

/// Why work on the database ended.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database said no, or the connection broke.
    Database(tokio_postgres::Error),
    /// There is no connection to be had.
    Unavailable(String),
    /// It is not what it was, or holds something impossible: again will not help.
    Final(StoreError),
}

impl Failure {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Final(StoreError::Corrupt { what: what.into() })
    }

    /// Whether the database said so and undid everything. If not, it may have
    /// done it or not.
    pub(super) fn is_definite(&self) -> bool {
        match self {
            Self::Database(error) => error
                .as_db_error()
                .is_some_and(|said| said.parsed_severity() == Some(Severity::Error)),
            Self::Unavailable(_) => false,
            Self::Final(_) => true,
        }
    }

    /// Whether a change that may be repeated is worth repeating: it failed in
    /// passing, or its outcome is unknown.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::Database(_) => self.is_passing() || !self.is_definite(),
            Self::Unavailable(_) | Self::Final(_) => false,
        }
    }

    /// Whether the same again, at once, may well succeed.
    pub(super) fn is_passing(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        error.code().is_some_and(|code| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
                // The same id in another shard, committed at the same time: it is
                // a conflict, and found the next time.
                SqlState::UNIQUE_VIOLATION,
            ]
            .contains(code)
        })
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { reason } => Self::Unavailable(reason),
            error @ (StoreError::Corrupt { .. }
            | StoreError::WentBack { .. }
            | StoreError::OtherEpoch { .. }) => Self::Final(error),
        }
    }
}

impl From<deadpool_postgres::PoolError> for Failure {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        use deadpool_postgres::PoolError;
        match error {
            PoolError::Backend(error) => Self::Database(error),
            error @ (PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_)) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(error) => {
                let code = error.code();
                let damaged = [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED];
                if code.is_some_and(|code| damaged.contains(code)) {
                    let what = reason(&error);
                    return Self::Corrupt { what };
                }
                let reason = reason(&error);
                Self::Unavailable { reason }
            }
            Failure::Unavailable(reason) => Self::Unavailable { reason },
            Failure::Final(error) => error,
        }
    }
}

/// When a statement under a lock failed.
#[derive(Debug)]
pub(super) enum UnderLock {
    /// Before anything was sent.
    Before(tokio_postgres::Error),
    /// When the commit was sent already.
    Sent(tokio_postgres::Error),
}

impl From<UnderLock> for Failure {
    fn from(failed: UnderLock) -> Self {
        match failed {
            UnderLock::Before(error) | UnderLock::Sent(error) => Self::Database(error),
        }
    }
}

/// A connection, in whatever transaction it is.
#[derive(Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) client: &'a Client,
    pub(super) statements: &'a StatementCache,
}

/// What a statement is given.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl<'a> Session<'a> {
    pub(super) fn of(transaction: &'a Transaction<'_>) -> Self {
        Self {
            client: transaction.client(),
            statements: &transaction.statement_cache,
        }
    }

    /// Each statement a transaction of its own.
    pub(super) fn over(taken: &'a ClientWrapper) -> Self {
        Self {
            client: taken,
            statements: &taken.statement_cache,
        }
    }

    pub(super) async fn rows(self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let statement = self.statements.prepare(self.client, sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    /// The first row.
    pub(super) async fn first(self, sql: &str, params: Params<'_>) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// The one row that there must be.
    pub(super) async fn one(self, sql: &str, params: Params<'_>) -> Result<Row, Failure> {
        let row = self.first(sql, params).await?;
        row.ok_or_else(|| Failure::corrupt("a row that is always there is missing"))
    }

    /// Runs a statement in a transaction under the lock of a shard's head, all in
    /// one round trip: the lock is never held across a network wait. Returns the
    /// head's row as [`LOCK_HEAD`] reads it, and the statement's rows.
    ///
    /// The statement's snapshot is taken behind the lock.
    pub(super) async fn under_lock(
        self,
        shard: Shard,
        sql: &str,
        params: Params<'_>,
    ) -> Result<(Row, Vec<Row>), UnderLock> {
        let lock = self.statements.prepare(self.client, LOCK_HEAD).await;
        let lock = lock.map_err(UnderLock::Before)?;
        let statement = self.statements.prepare(self.client, sql).await;
        let statement = statement.map_err(UnderLock::Before)?;
        let shard = number(shard);
        let of_shard: Params<'_> = &[&shard];
        // Polled in this order, so that they are sent in this order, and all of
        // them at once.
        let (begun, locked, done, committed) = tokio::join!(
            biased;
            self.client.batch_execute("BEGIN"),
            self.client.query_one(&lock, of_shard),
            self.client.query(&statement, params),
            self.client.batch_execute("COMMIT"),
        );
        let outcome = begun
            .and_then(|()| Ok((locked?, done?)))
            .and_then(|done| committed.map(|()| done));
        outcome.map_err(UnderLock::Sent)
    }

    /// Returns how many rows it changed.
    pub(super) async fn execute(self, sql: &str, params: Params<'_>) -> Result<u64, Failure> {
        let statement = self.statements.prepare(self.client, sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }
}

/// A column of a row.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Failure> {
    row.try_get(column)
        .map_err(|error| Failure::corrupt(reason(&error)))
}

/// A column that holds an id.
pub(super) fn get_id(row: &Row, column: usize) -> Result<[u8; 16], Failure> {
    get::<Uuid>(row, column).map(Uuid::into_bytes)
}

/// A column that holds a number that is never negative.
pub(super) fn get_count(row: &Row, column: usize) -> Result<u64, Failure> {
    let number: i64 = get(row, column)?;
    u64::try_from(number).map_err(|_| Failure::corrupt(format!("{number}, which is negative")))
}

/// `PostgreSQL` has signed numbers only. No counter ever comes near the limit;
/// what a client made up may.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An id, as a parameter.
pub(super) const fn uuid(bytes: [u8; 16]) -> Uuid {
    Uuid::from_bytes(bytes)
}

/// A number for `LIMIT`.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
