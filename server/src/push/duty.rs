//! The duty to wake: derived from the log, behind a durable wake cursor for each
//! shard, so that no crash loses it and nobody who sends pays for it.
//!
//! Whoever holds a shard's duty reads it forward, decides for each message which
//! devices have not confirmed it in time, and writes their wakes down before it
//! sends them. The cursor follows when everybody is decided. While FCM asks for
//! patience nobody is decided and nothing is sent; afterwards the log still says
//! who is owed what, and those who have caught up are owed nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_protocol::{id::DeviceId, moment::Moment, push::Platform, seq::Position};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    answer::Outcome,
    decide::{Deadlines, Decision, decide},
    fcm::Fcm,
    message::{Form, PushMessage, Urgency, WakeId},
    pace::Pace,
    pending::Pending,
};
use crate::{
    clock::{Clock, within},
    metrics::{WAKES_ANSWER_SECONDS, WAKES_OWED},
    random::Random,
    store::{
        Candidate, CandidatePlace, DueWake, NewWake, Shard, SharedStore, StoreError, WorthyEvent,
    },
};

/// After each try, how long until the next.
const SCHEDULE_MS: [i64; 6] = [
    30_000,
    2 * 60_000,
    10 * 60_000,
    60 * 60_000,
    6 * 60 * 60_000,
    24 * 60 * 60_000,
];

/// The try in which Android itself shows something, because the app did not
/// answer two.
const ALERT_TRY: u32 = 3;

/// How long a duty is held without being prolonged.
const LEASE_MS: i64 = 10_000;

/// How often a duty is prolonged.
const PROLONG_INTERVAL: Duration = Duration::from_secs(3);

/// How often it is looked for other nodes' events and for tries that are due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long events collect before it is looked who is owed something.
const COLLECT: Duration = Duration::from_millis(20);

/// How long until it is looked again whether something may be sent.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);

/// How many times longer than a look that found nobody its conversation is left
/// alone: such looks take a tenth of the store's time at most, however many
/// members sleep.
const REST_TIMES: u32 = 10;

/// The longest that it is left alone.
const REST_MAX: Duration = Duration::from_secs(1);

/// How long answers are waited for at the end.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// Events that are read at once, and that may be undecided.
const EVENTS_MAX: usize = 2_000;

/// Devices that are looked at in one statement: others wait meanwhile.
const CANDIDATES_MAX: usize = 250;

/// How long ago a device may have said hello to be about to answer its wake.
const LATELY_MS: i64 = 60_000;

/// Requests in flight.
const IN_FLIGHT_MAX: usize = 500;

/// What the duty needs.
pub struct Parts {
    /// Where everything is written down.
    pub store: SharedStore,
    /// Sends.
    pub fcm: Fcm,
    /// How fast.
    pub pace: Pace,
    /// How long devices have.
    pub deadlines: Deadlines,
    /// Time.
    pub clock: Clock,
    /// For wakes' identities.
    pub random: Random,
    /// Rung when the log has grown.
    pub news: Arc<Notify>,
}

/// A shard whose duty this process has.
struct Held {
    pending: Pending,
    /// The wake cursor, as it is written down.
    cursor: Position,
    prolong_at: Moment,
}

/// The duty to wake, as far as this process holds it.
pub struct Duty {
    parts: Parts,
    holder: u64,
    in_flight: Arc<Semaphore>,
    /// What was not sent, to be written down.
    unsent: Mutex<Vec<(DeviceId, u64)>>,
}

impl Duty {
    /// The duty of a process that begins.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let holder = parts.random.bytes().map_or(1, u64::from_ne_bytes);
        Self {
            parts,
            holder,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            unsent: Mutex::default(),
        }
    }

    /// Wakes whoever is owed it, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut shards: HashMap<Shard, Held> = HashMap::new();
        let mut sending = JoinSet::new();
        while !stop.is_cancelled() {
            for shard in Shard::all(self.parts.store.shard_count()) {
                if let Err(error) = self.look(shard, &mut shards, &mut sending).await {
                    // The log still says who is owed what.
                    tracing::warn!(%error, %shard, "the duty to wake waits");
                }
            }
            if let Err(error) = self.try_again(&mut sending).await {
                tracing::warn!(%error, "wakes that are due wait");
            }
            while sending.try_join_next().is_some() {}
            let wait = self.next_look(&shards);
            let rung = within(wait, self.parts.news.notified());
            if stop.run_until_cancelled(rung).await == Some(Some(())) {
                stop.run_until_cancelled(tokio::time::sleep(COLLECT)).await;
            }
        }
        // What is not answered by then is due again by the schedule.
        let answered = async { while sending.join_next().await.is_some() {} };
        within(END_TIMEOUT, answered).await;
        self.write_unsent().await;
    }

    /// How long nothing is to be done, unless news come.
    fn next_look(&self, shards: &HashMap<Shard, Held>) -> Duration {
        let now_ms = self.parts.clock.wall_ms();
        let looks = shards.values().filter_map(|it| it.pending.next_look_ms());
        let wait_ms = looks.min().map_or(u64::MAX, |at_ms| {
            u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0)
        });
        let wait = Duration::from_millis(wait_ms).min(LOOK_INTERVAL);
        // Not sooner than something may be sent.
        wait.max(self.parts.pace.ready_after().min(LOOK_INTERVAL))
    }

    /// Reads a shard forward and decides what can be decided.
    async fn look(
        self: &Arc<Self>,
        shard: Shard,
        shards: &mut HashMap<Shard, Held>,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let now = self.parts.clock.now();
        if shards.get(&shard).is_none_or(|held| now >= held.prolong_at) {
            let Some(cursor) = store.lease_wakes(shard, self.holder, LEASE_MS).await? else {
                shards.remove(&shard);
                return Ok(());
            };
            let held = shards.entry(shard).or_insert_with(|| Held {
                pending: Pending::new(cursor),
                cursor,
                prolong_at: now,
            });
            held.prolong_at = now + PROLONG_INTERVAL;
        }
        let Some(held) = shards.get_mut(&shard) else {
            return Ok(());
        };
        let pending = &mut held.pending;
        while pending.count() < EVENTS_MAX {
            let before = pending.read_upto();
            pending.add(store.worthy_events(before, EVENTS_MAX).await?);
            if pending.read_upto() == before {
                break;
            }
        }
        for events in pending.to_look_at(self.parts.clock.wall_ms()) {
            self.look_at(&events, pending, sending).await?;
        }
        let decided = pending.decided_upto();
        if decided > held.cursor {
            held.cursor = decided;
            if !store.advance_wakes(shard, self.holder, decided).await? {
                shards.remove(&shard);
            }
        }
        Ok(())
    }

    /// Decides about one conversation's events for all its members' devices.
    async fn look_at(
        self: &Arc<Self>,
        events: &[WorthyEvent],
        pending: &mut Pending,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let (began, now_ms) = (self.parts.clock.now(), self.parts.clock.wall_ms());
        let mut found_count = 0;
        // The first event for which somebody is not decided, and when to look.
        let mut undecided: Option<(Position, i64)> = None;
        let mut place = Some(CandidatePlace::default());
        while let Some(at) = place {
            let page = self
                .parts
                .store
                .wake_candidates(
                    last.conversation,
                    last.position,
                    at,
                    CANDIDATES_MAX,
                    now_ms - LATELY_MS,
                )
                .await?;
            place = page.next;
            found_count += page.candidates.len();
            let mut owed = Vec::new();
            for device in &page.candidates {
                match self.first_decision(events, device, now_ms) {
                    Some((position, Decision::Owed)) => owed.push((device.device, position)),
                    Some((position, Decision::NotYet { at_ms })) => {
                        note(&mut undecided, position, at_ms);
                    }
                    Some((_, Decision::Not)) | None => {}
                }
            }
            let may_send = self.take(owed.len());
            for (_, position) in owed.split_off(owed.len().min(may_send as usize)) {
                note(
                    &mut undecided,
                    position,
                    now_ms.saturating_add(self.room_after_ms()),
                );
            }
            self.record(&owed, now_ms, sending).await?;
        }
        if found_count == 0 {
            let took = self.parts.clock.now().since(began);
            let until_ms = now_ms.saturating_add(ms((took * REST_TIMES).min(REST_MAX)));
            pending.rest(last.conversation, now_ms, until_ms);
        }
        for event in events {
            match undecided {
                Some((first, at_ms)) if event.position >= first => {
                    pending.look_again(event.position, at_ms);
                }
                _ => pending.decided(event.position),
            }
        }
        Ok(())
    }

    /// Takes leave to send at most `count` pushes.
    fn take(&self, count: usize) -> u32 {
        let count = count.min(self.in_flight.available_permits());
        self.parts
            .pace
            .take(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// How long until there may be leave again.
    fn room_after_ms(&self) -> i64 {
        ms(self.parts.pace.ready_after().max(ROOM_INTERVAL))
    }

    /// The first event for which a device is woken, now or later.
    fn first_decision(
        &self,
        events: &[WorthyEvent],
        device: &Candidate,
        now_ms: i64,
    ) -> Option<(Position, Decision)> {
        let deadlines = &self.parts.deadlines;
        let decisions = events
            .iter()
            .map(|event| (event.position, decide(event, device, deadlines, now_ms)));
        let mut decisions = decisions.filter(|(_, it)| *it != Decision::Not);
        decisions.next()
    }

    /// Writes wakes down, then sends them.
    async fn record(
        self: &Arc<Self>,
        owed: &[(DeviceId, Position)],
        now_ms: i64,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        if owed.is_empty() {
            return Ok(());
        }
        let wakes: Vec<NewWake> = owed
            .iter()
            .map(|(device, position)| NewWake {
                device: *device,
                position: *position,
                id: self.parts.random.bytes().map_or(0, u64::from_ne_bytes),
            })
            .collect();
        let store = &self.parts.store;
        let recorded = store.record_wakes(&wakes, now_ms, &SCHEDULE_MS).await?;
        let unused = owed.len().saturating_sub(recorded.len());
        self.parts
            .pace
            .give_back(u32::try_from(unused).unwrap_or(0));
        self.send_all(recorded, sending).await
    }

    /// Sends what is due again, as fast as it may be sent.
    async fn try_again(self: &Arc<Self>, sending: &mut JoinSet<()>) -> Result<(), StoreError> {
        self.write_unsent().await;
        loop {
            let may_send = self.take(CANDIDATES_MAX);
            if may_send == 0 {
                return Ok(());
            }
            let now_ms = self.parts.clock.wall_ms();
            let store = &self.parts.store;
            let due = store
                .due_wakes(now_ms, may_send as usize, &SCHEDULE_MS)
                .await;
            let taken = due.as_ref().map_or(0, Vec::len);
            let unused = may_send.saturating_sub(u32::try_from(taken).unwrap_or(0));
            self.parts.pace.give_back(unused);
            self.send_all(due?, sending).await?;
            if unused > 0 {
                return Ok(());
            }
        }
    }

    async fn send_all(
        self: &Arc<Self>,
        wakes: Vec<DueWake>,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        if wakes.is_empty() {
            return Ok(());
        }
        let epoch = self.parts.store.state().await?.history.epoch;
        metrics::counter!(WAKES_OWED).increment(wakes.len() as u64);
        for wake in wakes {
            // There is a turn: only as many are written down as there are.
            let Ok(turn) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return Ok(());
            };
            let duty = Arc::clone(self);
            sending.spawn(async move {
                duty.send(&wake, epoch).await;
                drop(turn);
            });
        }
        Ok(())
    }

    async fn send(&self, wake: &DueWake, epoch: u64) {
        let began = self.parts.clock.now();
        let outcome = self.parts.fcm.send(&self.message(wake, epoch)).await;
        let took = self.parts.clock.now().since(began);
        metrics::histogram!(WAKES_ANSWER_SECONDS).record(took.as_secs_f64());
        self.parts.pace.note(&outcome);
        match outcome {
            Outcome::Sent => {}
            Outcome::TokenGone => self.forget(wake).await,
            Outcome::Misconfigured { code } => {
                tracing::error!(
                    code,
                    app = wake.address.app.as_str(),
                    "FCM does not accept this server's pushes to an app: the service account, the \
                     app's project or its keys for Apple or the web are wrong"
                );
            }
            Outcome::BadMessage { reason } => {
                tracing::error!(
                    reason,
                    "FCM does not understand a push: a bug of this server"
                );
            }
            Outcome::SlowDown { .. } | Outcome::Unavailable { .. } => {
                self.unsent.lock().push((wake.device, wake.id));
            }
        }
    }

    fn message(&self, wake: &DueWake, epoch: u64) -> PushMessage {
        let step = usize::try_from(wake.tries).unwrap_or(usize::MAX);
        let wait_ms = SCHEDULE_MS.get(step.saturating_sub(1));
        let wait_ms = wait_ms.or(SCHEDULE_MS.last()).copied().unwrap_or(0);
        let is_android = wake.address.platform == Platform::Android;
        PushMessage {
            platform: wake.address.platform,
            token: wake.address.token.clone(),
            wake: WakeId(wake.id),
            epoch,
            urgency: Urgency::Notify,
            form: match is_android && wake.tries == ALERT_TRY {
                true => Form::Alert,
                false => Form::Data,
            },
            life: Duration::from_millis(wait_ms.unsigned_abs()),
            now_ms: self.parts.clock.wall_ms(),
        }
    }

    /// The token is dead, unless the device has another one by now.
    async fn forget(&self, wake: &DueWake) {
        let token = Some(&wake.address.token);
        match self.parts.store.clear_push(wake.device, token).await {
            Ok(was_there) => {
                tracing::info!(device = %wake.device, was_there, "a push token is dead")
            }
            Err(error) => tracing::warn!(%error, "a dead push token was not forgotten"),
        }
    }

    /// What was not sent is due again when something may be sent: it is asked
    /// again then whether it is owed.
    async fn write_unsent(&self) {
        let unsent = std::mem::take(&mut *self.unsent.lock());
        if unsent.is_empty() {
            return;
        }
        let now_ms = self.parts.clock.wall_ms();
        let due_at_ms = now_ms.saturating_add(self.room_after_ms());
        if let Err(error) = self.parts.store.postpone_wakes(&unsent, due_at_ms).await {
            // They are due anyway, by the schedule.
            tracing::warn!(%error, "unsent wakes were not written down");
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The earliest of both.
fn note(undecided: &mut Option<(Position, i64)>, position: Position, at_ms: i64) {
    let (first, look_at_ms) = undecided.unwrap_or((position, at_ms));
    *undecided = Some((first.min(position), look_at_ms.min(at_ms)));
}
