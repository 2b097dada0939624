//! Writes down who connected and how far each device has stored, many at a time.
//!
//! Hellos are written at once (with all others that came meanwhile); what devices
//! confirm is written twice a second. A crash repeats a little, which clients
//! drop by seq. Receipts are told only after what they say is durable.

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    seq::Seq,
    wire::v1,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, within},
    hub::{Ending, Letter, Mailbox},
    log::Router,
    push::Answers,
    store::{Confirm, Connect, Generation, Positions, SharedStore, StoreError},
};

/// How often confirmed cursors are written down.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(500);

/// Devices in one transaction: others wait for the store meanwhile.
const BATCH_MAX: usize = 500;

#[derive(Debug)]
struct Confirmed {
    from: Arc<Mailbox>,
    generation: Generation,
    cursor: Positions,
}

#[derive(Debug, Default)]
struct Waiting {
    hellos: Vec<(Connect, Arc<Mailbox>)>,
    confirmed: HashMap<DeviceId, Confirmed>,
    delivered: HashMap<(UserId, ConversationId), Seq>,
    /// Who left, and what they had stored besides what was told before.
    gone: Vec<(Arc<Mailbox>, Option<Positions>)>,
}

impl Waiting {
    /// The hellos to write: those of connections that are there, or that have stored
    /// something before they left.
    fn take_hellos(&mut self) -> Vec<(Connect, Arc<Mailbox>)> {
        let mut hellos = std::mem::take(&mut self.hellos);
        let has_stored = |mailbox: &Arc<Mailbox>| {
            let mut gone = self.gone.iter();
            gone.any(|(it, stored)| stored.is_some() && Arc::ptr_eq(it, mailbox))
        };
        hellos.retain(|(_, mailbox)| !mailbox.has_ended() || has_stored(mailbox));
        hellos
    }
}

/// What keeps the devices' cursors.
pub struct Keeper {
    store: SharedStore,
    router: Arc<Router>,
    clock: Clock,
    answers: Arc<Answers>,
    waiting: Mutex<Waiting>,
    bell: Notify,
}

impl Keeper {
    /// A keeper with nothing to write.
    #[must_use]
    pub fn new(store: SharedStore, router: Arc<Router>, clock: Clock) -> Self {
        Self {
            store,
            router,
            clock,
            answers: Arc::new(Answers::new(clock)),
            waiting: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// Who notes which wakes brought their devices.
    #[must_use]
    pub fn answers(&self) -> Arc<Answers> {
        Arc::clone(&self.answers)
    }

    /// A device said hello. Its mailbox is told the generation.
    pub fn connect(&self, hello: Connect, from: Arc<Mailbox>) {
        self.waiting.lock().hellos.push((hello, from));
        self.bell.notify_one();
    }

    /// A device has stored everything up to `cursor`. Bounded: one entry a
    /// connected device.
    pub fn confirm(&self, from: &Arc<Mailbox>, generation: Generation, cursor: Positions) {
        let mut waiting = self.waiting.lock();
        let entry = waiting
            .confirmed
            .entry(from.device)
            .or_insert_with(|| Confirmed {
                from: Arc::clone(from),
                generation,
                cursor,
            });
        if entry.generation < generation {
            entry.from = Arc::clone(from);
            entry.generation = generation;
            entry.cursor = cursor;
        } else if entry.generation == generation {
            entry.cursor = entry.cursor.later(&cursor);
        }
    }

    /// A connection has ended, whose device has `stored` this, if it was not told
    /// before. Written down with the next cursors; if the process dies before, the
    /// device counts as connected, which delays its wakes.
    pub fn disconnected(&self, mailbox: &Arc<Mailbox>, stored: Option<Positions>) {
        let gone = (Arc::clone(mailbox), stored);
        self.waiting.lock().gone.push(gone);
    }

    /// A device's app goes to the background: its wakes do not wait any more.
    /// What it confirmed before is written down first; so its hello is already.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn detach(&self, from: &Mailbox) -> Result<(), StoreError> {
        let Some(generation) = from.generation.get().copied() else {
            let reason = "its hello is not written down yet".to_owned();
            return Err(StoreError::Unavailable { reason });
        };
        let confirmed = self.waiting.lock().confirmed.remove(&from.device);
        if let Some(it) = confirmed {
            let confirm = Confirm {
                device: from.device,
                generation: it.generation,
                cursor: it.cursor,
            };
            self.store.confirm(&[confirm]).await?;
            self.answers.confirmed(from.device, &it.cursor);
        }
        let at_ms = self.clock.wall_ms();
        self.store.detach(&[(from.device, generation)], at_ms).await
    }

    /// A device of this user has stored the conversation up to `seq`. Told to the
    /// other members with the next write.
    pub fn delivered(&self, user: UserId, conversation: ConversationId, seq: Seq) {
        let mut waiting = self.waiting.lock();
        let entry = waiting.delivered.entry((user, conversation)).or_default();
        *entry = seq.max(*entry);
    }

    /// Writes for ever; what is left when `stop` comes is written before the end.
    pub async fn run(&self, stop: CancellationToken) {
        let mut confirm_at = self.clock.now() + CONFIRM_INTERVAL;
        while !stop.is_cancelled() {
            let left = confirm_at.since(self.clock.now());
            let rung = within(left, self.bell.notified());
            // Only the waiting is given up; a write runs to its end.
            let rung = stop.run_until_cancelled(rung).await;
            self.write_hellos().await;
            if rung != Some(Some(())) || self.clock.now() >= confirm_at {
                self.write_confirmed().await;
                confirm_at = self.clock.now() + CONFIRM_INTERVAL;
            }
        }
    }

    async fn write_hellos(&self) {
        let hellos = self.waiting.lock().take_hellos();
        for hellos in hellos.chunks(BATCH_MAX) {
            self.write_hellos_of(hellos).await;
        }
    }

    async fn write_hellos_of(&self, hellos: &[(Connect, Arc<Mailbox>)]) {
        let connects: Vec<Connect> = hellos.iter().map(|(connect, _)| *connect).collect();
        match self.store.connect(&connects).await {
            Ok(generations) => {
                for ((_, mailbox), generation) in hellos.iter().zip(generations) {
                    match generation {
                        Some(generation) => {
                            // Each hello is written down once.
                            drop(mailbox.generation.set(generation));
                            mailbox.deliver(Letter::Connected(generation));
                        }
                        None => mailbox.end(Ending::Revoked),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, devices = hellos.len(), "hellos were not written down");
                for (_, mailbox) in hellos {
                    mailbox.end(Ending::Unavailable);
                }
            }
        }
    }

    async fn write_confirmed(&self) {
        let (confirmed, delivered) = {
            let mut waiting = self.waiting.lock();
            (
                std::mem::take(&mut waiting.confirmed),
                std::mem::take(&mut waiting.delivered),
            )
        };
        let confirms: Vec<Confirm> = confirmed
            .iter()
            .map(|(device, it)| Confirm {
                device: *device,
                generation: it.generation,
                cursor: it.cursor,
            })
            .collect();
        for chunk in confirms.chunks(BATCH_MAX) {
            match self.store.confirm(chunk).await {
                Ok(fenced) => {
                    for it in chunk.iter().filter(|it| !fenced.contains(&it.device)) {
                        self.answers.confirmed(it.device, &it.cursor);
                    }
                    for device in fenced {
                        if let Some(it) = confirmed.get(&device) {
                            self.end_fenced(&it.from).await;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "confirmed cursors were not written down");
                    self.put_back(confirmed, delivered);
                    return;
                }
            }
        }
        self.write_gone().await;
        let silent = match self.router.silent(delivered.keys().copied()).await {
            Ok(silent) => silent,
            Err(error) => {
                tracing::debug!(%error, "receipts were not told");
                return;
            }
        };
        for ((user, conversation), seq) in delivered {
            if silent.contains(&(user, conversation)) {
                continue;
            }
            if let Err(error) = self.announce(user, conversation, seq).await {
                tracing::debug!(%error, "a receipt was not told");
            }
        }
    }

    async fn write_gone(&self) {
        let mut gone = std::mem::take(&mut self.waiting.lock().gone);
        while !gone.is_empty() {
            let count = gone.len().min(BATCH_MAX);
            // A hello that was not written down has left no trace.
            let chunk: Vec<(DeviceId, Generation, Option<Positions>)> = gone
                .iter()
                .take(count)
                .filter_map(|(it, stored)| Some((it.device, *it.generation.get()?, *stored)))
                .collect();
            let stored = chunk.iter().filter_map(|(device, generation, stored)| {
                Some(Confirm {
                    device: *device,
                    generation: *generation,
                    cursor: (*stored)?,
                })
            });
            let stored: Vec<Confirm> = stored.collect();
            let left: Vec<_> = chunk.iter().map(|it| (it.0, it.1)).collect();
            if let Err(error) = self.write_parting(&stored, &left).await {
                tracing::warn!(%error, "it was not written down who left");
                // With the next ones. Nobody comes while the store does not answer, so
                // they are not more than there were connections.
                self.waiting.lock().gone.append(&mut gone);
                return;
            }
            gone.drain(..count);
        }
    }

    async fn write_parting(
        &self,
        stored: &[Confirm],
        left: &[(DeviceId, Generation)],
    ) -> Result<(), StoreError> {
        if !stored.is_empty() {
            let fenced = self.store.confirm(stored).await?;
            for it in stored.iter().filter(|it| !fenced.contains(&it.device)) {
                self.answers.confirmed(it.device, &it.cursor);
            }
        }
        self.store.detach(left, self.clock.wall_ms()).await
    }

    /// Ends a connection of which nothing counts any more: a newer one took over,
    /// or the device was revoked.
    async fn end_fenced(&self, from: &Mailbox) {
        let ending = match self.store.device(from.device).await {
            Ok(Some(_)) => Ending::Replaced,
            Ok(None) => Ending::Revoked,
            Err(_) => Ending::Unavailable,
        };
        from.end(ending);
    }

    /// What could not be written is written with what came meanwhile.
    fn put_back(
        &self,
        confirmed: HashMap<DeviceId, Confirmed>,
        delivered: HashMap<(UserId, ConversationId), Seq>,
    ) {
        for it in confirmed.into_values().filter(|it| !it.from.has_ended()) {
            self.confirm(&it.from, it.generation, it.cursor);
        }
        for ((user, conversation), seq) in delivered {
            self.delivered(user, conversation, seq);
        }
    }

    async fn announce(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<(), StoreError> {
        let mark = v1::Mark {
            conversation_id: conversation.to_wire(),
            user_id: user.to_wire(),
            delivered_seq: seq.get(),
            read_seq: 0,
            read_counts: None,
        };
        self.router.announce(user, conversation, mark).await
    }
}
