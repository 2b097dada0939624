//! Lets deleted users leave their groups.
//!
//! Who is deleted is derived from the store, some at a time, so neither a crash nor a
//! large number of groups is in the way: what is not done is found again. All nodes do
//! it: who has left already is not there any more for the others. Each try has a random
//! id, because nobody can have used that for something else before they were deleted.

use std::{sync::Arc, time::Duration};

use magpie_protocol::id::{DeviceId, MessageId};
use tokio_util::sync::CancellationToken;

use super::router::Router;
use crate::{
    clock::{Clock, within},
    random::Random,
    store::{Actor, Append, Command, Departure, Outcome, Refusal, Shard, SharedStore, StoreError},
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
    random: Random,
}

impl Departures {
    /// Nobody has left yet.
    #[must_use]
    pub fn new(store: SharedStore, router: Arc<Router>, clock: Clock, random: Random) -> Self {
        Self {
            store,
            router,
            clock,
            random,
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
        let mut after = None;
        loop {
            // Past those who may not leave: they are not in the way of the others.
            let departures = self.store.departures(after, BATCH_MAX).await?;
            after = departures.last().copied();
            if after.is_none() {
                return Ok(());
            }
            let batch = departures.iter().map(|departure| self.leave(departure));
            let batch: Vec<Append> = batch.collect::<Result<_, _>>()?;
            let shards = self.store.shards_of(&batch).await?;
            for shard in Shard::all(self.store.shard_count()) {
                let of_shard = batch.iter().zip(&shards).filter(|(_, of)| **of == shard);
                let part: Arc<[Append]> = of_shard.map(|(append, _)| append.clone()).collect();
                self.append(shard, part).await?;
            }
            self.router.look();
        }
    }

    async fn append(&self, shard: Shard, part: Arc<[Append]>) -> Result<(), StoreError> {
        if part.is_empty() {
            return Ok(());
        }
        let committed = self.store.append(shard, part, self.clock.wall_ms()).await?;
        for outcome in committed.outcomes {
            match outcome {
                // Another node was faster.
                Outcome::Accepted { .. } | Outcome::Refused(Refusal::NotFound) => {}
                Outcome::Refused(refusal) => {
                    tracing::error!(%refusal, "a deleted user may not leave a group");
                }
            }
        }
        Ok(())
    }

    fn leave(&self, departure: &Departure) -> Result<Append, StoreError> {
        let id = self
            .random
            .bytes()
            .map_err(|none| StoreError::Unavailable {
                reason: none.to_string(),
            })?;
        Ok(Append {
            actor: Actor {
                user: departure.user,
                // The server itself.
                device: DeviceId::new([0; 16]),
            },
            id: MessageId::new(id),
            command: Command::LeaveGroup {
                conversation: departure.conversation,
            },
        })
    }
}
