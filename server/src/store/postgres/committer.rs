//! The one connection of this node that appends to a shard, and what happens when
//! it fails in the middle.
//!
//! A batch whose outcome is unknown is run again with the same ids on a fresh
//! connection: its lock on the log head waits for the orphaned backend to end
//! either way, and then the look-up of its ids is exact. Asking without the lock
//! ("not found") would be a guess, because the orphan may still commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::ClientWrapper;
use tokio::sync::Mutex;

use super::{
    batch::{self, ShardOf},
    connections::{Link, Warnings},
    known::{Deletions, Known},
    rows,
    session::{Failure, Session, get},
    settings::Settings,
};
use crate::{
    clock::Clock,
    store::{Append, Committed, Positions, StoreError, seen::Seen},
};

/// How long a batch of which nothing is committed is tried. (One of which
/// something may be is tried until it is known.)
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts: doubles up to the second.
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(20);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// For this connection alone: no commit is cancelled because it is slow, and the
/// plan of a statement that is always the same is made once.
const SET_UP: &str = "
    SET statement_timeout = 0;
    SET plan_cache_mode = force_generic_plan";

/// Which backend serves this connection: a process and when it began.
const FIND_BACKEND: &str = "
    SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint
      FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// Ends a backend, unless its process is another one by now.
const END_BACKEND: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2";

/// Appends, one batch after the other.
pub(super) struct Committer(Arc<Shared>);

struct Shared {
    settings: Settings,
    shard: ShardOf,
    seen: Arc<Seen>,
    /// See [`crate::store::Store::bound_groups`].
    members_max: Arc<AtomicU32>,
    deletions: Arc<Deletions>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// What may still be committing for us.
    orphan: Option<Backend>,
}

/// The connection while it works.
struct Open {
    client: ClientWrapper,
    warnings: Warnings,
    backend: Backend,
    epoch: u64,
    known: Known,
}

#[derive(Clone, Copy)]
struct Backend {
    process: i32,
    began_at: i64,
}

/// Why an attempt ended, and what is left of it.
pub(super) struct Ended {
    pub(super) failure: Failure,
    /// It may be committed, now or in a moment.
    pub(super) in_doubt: bool,
}

impl From<Failure> for Ended {
    /// Of what happened before the commit was sent.
    fn from(failure: Failure) -> Self {
        let in_doubt = false;
        Self { failure, in_doubt }
    }
}

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::from(error).into()
    }
}

impl Committer {
    /// Connects when it is first needed.
    pub(super) fn new(
        settings: Settings,
        shard: ShardOf,
        seen: Arc<Seen>,
        members_max: Arc<AtomicU32>,
        deletions: Arc<Deletions>,
    ) -> Self {
        Self(Arc::new(Shared {
            settings,
            shard,
            seen,
            members_max,
            deletions,
            state: Mutex::default(),
        }))
    }

    /// Appends a batch. See [`crate::store::Store::append`].
    pub(super) async fn append(
        &self,
        batch: Arc<[Append]>,
        at_ms: i64,
    ) -> Result<Committed, StoreError> {
        let shared = Arc::clone(&self.0);
        // In a task of its own: who no longer waits must not stop a commit half
        // way.
        let work = tokio::spawn(async move {
            let mut state = shared.state.lock().await;
            state.append(&shared, &batch, at_ms).await
        });
        work.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                reason: "the work was not finished".to_owned(),
            })
        })
    }
}

impl State {
    /// Tries until the outcome is known.
    async fn append(
        &mut self,
        shared: &Shared,
        batch: &[Append],
        at_ms: i64,
    ) -> Result<Committed, StoreError> {
        let clock = Clock::start();
        let give_up_at = clock.now() + PATIENCE;
        let mut in_doubt = false;
        let mut delay = RETRY_DELAY_FIRST;
        loop {
            let ended = match self.attempt(shared, batch, at_ms).await {
                Ok(committed) => return Ok(committed),
                Err(ended) => ended,
            };
            self.hang_up();
            in_doubt |= ended.in_doubt;
            let failure = ended.failure;
            let is_final = failure.is_definite() && !failure.is_passing();
            let error = StoreError::from(failure);
            // What is in doubt then is so for ever; the devices ask again.
            let is_other = matches!(
                error,
                StoreError::WentBack { .. } | StoreError::OtherEpoch { .. }
            );
            if is_other || !in_doubt && (is_final || clock.now() >= give_up_at) {
                return Err(error);
            }
            tracing::warn!(%error, in_doubt, "a batch was not committed; will try again");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    async fn attempt(
        &mut self,
        shared: &Shared,
        batch: &[Append],
        at_ms: i64,
    ) -> Result<Committed, Ended> {
        let is_of_use =
            |open: &Open| !open.is_closed() && shared.seen.is_served(open.epoch).is_ok();
        if !self.open.as_ref().is_some_and(is_of_use) {
            self.hang_up();
            self.open = Some(Open::connect(shared).await?);
        }
        if let Some(open) = &self.open {
            let served = shared.seen.is_served(open.epoch);
            served.map_err(Failure::from)?;
        }
        let Some(open) = &mut self.open else {
            return Err(Failure::Unavailable("not connected".to_owned()).into());
        };
        if let Some(orphan) = self.orphan.take() {
            open.end(orphan).await?;
        }
        let session = Session::over(&open.client);
        open.known.members_max = shared.members_max.load(Ordering::Relaxed).into();
        open.warnings.take();
        open.known.heed(&shared.deletions);
        let committed = batch::append(session, &mut open.known, shared.shard, batch, at_ms).await?;
        if open.warnings.take() {
            return Err(Ended {
                failure: Failure::Unavailable("the commit came with a warning".to_owned()),
                in_doubt: true,
            });
        }
        let mut reached = Positions::origin(shared.shard.count);
        reached.set(committed.head);
        shared.seen.note(open.epoch, &reached);
        Ok(committed)
    }

    /// Closes the connection. Its backend may notice late.
    fn hang_up(&mut self) {
        if let Some(open) = self.open.take() {
            self.orphan = Some(open.backend);
        }
    }
}

impl Open {
    async fn connect(shared: &Shared) -> Result<Self, Failure> {
        let Link {
            client,
            task,
            warnings,
        } = Link::connect(&shared.settings).await?;
        let client = ClientWrapper::new(client, task);
        client.batch_execute(SET_UP).await?;
        let row = client.query_one(FIND_BACKEND, &[]).await?;
        let backend = Backend {
            process: get(&row, 0)?,
            began_at: get(&row, 1)?,
        };
        // A backup is not restored under a living connection.
        let state = rows::state(Session::over(&client), &shared.seen).await?;
        Ok(Self {
            client,
            warnings,
            backend,
            epoch: state.history.epoch,
            known: Known::default(),
        })
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends an orphaned backend. It may be gone already; if it cannot be ended,
    /// the lock on the log head waits for it.
    async fn end(&self, orphan: Backend) -> Result<(), Failure> {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&orphan.process, &orphan.began_at];
        self.client.query(END_BACKEND, &params).await?;
        Ok(())
    }
}
