//! Says to everybody what operators want said: a direct message to each user, from a
//! user whom they chose, over a device that is made for it and revoked afterwards.
//!
//! How far a broadcast has come is in the store, and each message's id follows from it
//! and from its recipient, so neither a crash nor a second node makes anybody get it
//! twice, or not at all.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use magpie_protocol::{
    id::{DeviceId, MessageId},
    message::NewMessage,
    text::{DeviceName, MessageText, UserName},
    wire::Target,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::router::Router;
use crate::{
    clock::{Clock, within},
    random::{NoRandomness, Random},
    store::{
        Account, Actor, Append, Broadcast, Command, NewBroadcast, NewDevice, Outcome, PutDevice,
        Recipient, Refusal, Shard, SharedStore, StoreError,
    },
};

/// How often it is looked for broadcasts of which no bell told.
const INTERVAL: Duration = Duration::from_secs(60);

/// Messages in one batch: less than others wait for.
const BATCH_MAX: usize = 100;

/// As its sender's list of devices shows it.
const DEVICE_NAME: &str = "broadcast";

/// Broadcasts under way at once.
const OPEN_MAX: usize = 10;

/// What says it.
pub struct Broadcasts {
    store: SharedStore,
    router: Arc<Router>,
    bell: Notify,
    clock: Clock,
    random: Random,
}

/// How far a page of recipients came.
enum Went {
    On,
    /// Nobody is left, or the sender may not say it any more.
    ToTheEnd,
}

impl Broadcasts {
    /// Nothing is said yet.
    #[must_use]
    pub fn new(store: SharedStore, router: Arc<Router>, clock: Clock, random: Random) -> Self {
        Self {
            store,
            router,
            bell: Notify::new(),
            clock,
            random,
        }
    }

    /// Begins to say something to everybody who is there now, from a device of this
    /// account that is made for it. Returns false if the account may not sign in, or has
    /// changed meanwhile.
    ///
    /// # Errors
    ///
    /// The store did not take it, or there is no randomness.
    pub async fn begin(&self, from: &Account, text: MessageText) -> Result<bool, StoreError> {
        let no_random = |none: NoRandomness| StoreError::Unavailable {
            reason: none.to_string(),
        };
        let device = NewDevice {
            id: DeviceId::new(self.random.bytes().map_err(no_random)?),
            name: DeviceName::try_from(DEVICE_NAME.to_owned()).map_err(|reason| {
                StoreError::Unavailable {
                    reason: reason.to_string(),
                }
            })?,
            // Nobody knows a token that has it.
            token_hash: self.random.bytes().map_err(no_random)?,
        };
        let at_ms = self.clock.wall_ms();
        if self.store.put_device(from, &device, at_ms).await? != PutDevice::Done {
            return Ok(false);
        }
        let broadcast = NewBroadcast {
            sender: from.user.id,
            device: device.id,
            secret: self.random.bytes().map_err(no_random)?,
            text,
            at_ms,
        };
        self.store.add_broadcast(&broadcast).await?;
        self.bell.notify_one();
        Ok(true)
    }

    /// Looks at once when the bell rings, and now and then, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let rung = self.bell.notified();
            if let Err(error) = self.look(&stop).await {
                tracing::warn!(%error, "a broadcast waits; will try again");
            }
            // Whether it rang or not.
            let waited = stop.run_until_cancelled(within(INTERVAL, rung)).await;
            if waited.is_none() {
                return;
            }
        }
    }

    async fn look(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        for broadcast in self.store.broadcasts(true, OPEN_MAX).await? {
            while !stop.is_cancelled() {
                match self.say(&broadcast).await? {
                    Went::On => {}
                    Went::ToTheEnd => {
                        self.end(&broadcast).await?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Says it to the next users.
    async fn say(&self, broadcast: &Broadcast) -> Result<Went, StoreError> {
        let recipients = self.store.recipients(broadcast.id, BATCH_MAX).await?;
        let Some(last) = recipients.last() else {
            return Ok(Went::ToTheEnd);
        };
        let text = MessageText::try_from(broadcast.text.clone());
        let text = text.map_err(|reason| StoreError::Corrupt {
            what: format!("the text of a broadcast: {reason}"),
        })?;
        let message = NewMessage::from(text);
        let batch = recipients.iter().map(|it| append(broadcast, &message, it));
        let batch: Vec<Append> = batch.collect();
        let shards = self.store.shards_of(&batch).await?;
        let mut sent = 0;
        for shard in Shard::all(self.store.shard_count()) {
            let of_shard = batch.iter().zip(&shards).filter(|(_, of)| **of == shard);
            let part: Arc<[Append]> = of_shard.map(|(append, _)| append.clone()).collect();
            if part.is_empty() {
                continue;
            }
            let committed = self.store.append(shard, part, self.clock.wall_ms()).await?;
            for outcome in committed.outcomes {
                match outcome {
                    Outcome::Accepted { .. } => sent += 1,
                    Outcome::Refused(Refusal::DeviceRevoked) => {
                        tracing::warn!(
                            broadcast = broadcast.id,
                            "a broadcast ends early: its sender was suspended, deleted or signed out"
                        );
                        return Ok(Went::ToTheEnd);
                    }
                    // Deleted meanwhile, or wants nothing from the sender.
                    Outcome::Refused(_) => {}
                }
            }
        }
        self.store
            .broadcast_reached(broadcast.id, last.key, sent)
            .await?;
        self.router.look();
        Ok(Went::On)
    }

    async fn end(&self, broadcast: &Broadcast) -> Result<(), StoreError> {
        let (sender, _) = &broadcast.sender;
        self.store.revoke_device(*sender, broadcast.device).await?;
        let at_ms = self.clock.wall_ms();
        self.store.end_broadcast(broadcast.id, at_ms).await?;
        tracing::info!(broadcast = broadcast.id, "a broadcast has ended");
        Ok(())
    }
}

fn append(broadcast: &Broadcast, message: &NewMessage, to: &Recipient) -> Append {
    Append {
        actor: Actor {
            user: broadcast.sender.0,
            device: broadcast.device,
        },
        id: message_id(&broadcast.secret, &to.name),
        command: Command::SendMessage {
            to: Target::User(to.name.clone()),
            message: message.clone(),
        },
    }
}

/// The same at every try; nobody who does not know the secret can have used it.
fn message_id(secret: &[u8; 16], to: &UserName) -> MessageId {
    let mut input = secret.to_vec();
    input.extend_from_slice(to.as_str().as_bytes());
    let hash = digest(&SHA256, &input);
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    MessageId::new(id)
}
