//! Lets deleted users leave their groups.
//!
//! Who is deleted is derived from the store, some at a time, so neither a crash nor a
//! large number of groups is in the way: what is not done is found again. All nodes do
//! it, each departure under the same id, so that it is done once.

use std::{sync::Arc, time::Duration};

use magpie_protocol::id::DeviceId;
use tokio_util::sync::CancellationToken;

use super::router::Router;
use crate::{
    clock::{Clock, within},
    store::{Actor, Append, Command, Departure, Outcome, Shard, SharedStore, StoreError},
};

/// How often it is looked for departures of which no bell told.
const INTERVAL: Duration = Duration::from_secs(60);

/// Departures in one batch: less than others wait for.
const BATCH_MAX: usize = 100;

/// What lets deleted users leave.
pub struct Departures {
    store: SharedStore,
    router: Arc<Router>,
    clock: Clock,
}

impl Departures {
    /// Nobody has left yet.
    #[must_use]
    pub fn new(store: SharedStore, router: Arc<Router>, clock: Clock) -> Self {
        Self {
            store,
            router,
            clock,
        }
    }

    /// Looks at once, when a user was deleted, and now and then, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let bell = self.router.deletions();
        while !stop.is_cancelled() {
            let rung = bell.notified();
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "deleted users could not leave their groups; will try again");
            }
            // Whether it rang or not.
            let waited = stop.run_until_cancelled(within(INTERVAL, rung)).await;
            if waited.is_none() {
                return;
            }
        }
    }

    /// Lets everybody leave who is deleted.
    async fn look(&self) -> Result<(), StoreError> {
        loop {
            let departures = self.store.departures(BATCH_MAX).await?;
            if departures.is_empty() {
                return Ok(());
            }
            let batch: Vec<Append> = departures.iter().map(leave).collect();
            let shards = self.store.shards_of(&batch).await?;
            let mut left = 0;
            for shard in Shard::all(self.store.shard_count()) {
                let of_shard = batch.iter().zip(&shards).filter(|(_, of)| **of == shard);
                let part: Arc<[Append]> = of_shard.map(|(append, _)| append.clone()).collect();
                left += self.append(shard, part).await?;
            }
            self.router.look();
            if left == 0 {
                tracing::error!("deleted users may not leave their groups");
                return Ok(());
            }
        }
    }

    /// Returns how many have left.
    async fn append(&self, shard: Shard, part: Arc<[Append]>) -> Result<usize, StoreError> {
        if part.is_empty() {
            return Ok(0);
        }
        let committed = self.store.append(shard, part, self.clock.wall_ms()).await?;
        let outcomes = committed.outcomes.iter();
        let left = outcomes.filter(|it| matches!(it, Outcome::Accepted { .. }));
        Ok(left.count())
    }
}

fn leave(departure: &Departure) -> Append {
    Append {
        actor: Actor {
            user: departure.user,
            // The server itself.
            device: DeviceId::new([0; 16]),
        },
        id: departure.message_id(),
        command: Command::LeaveGroup {
            conversation: departure.conversation,
        },
    }
}
