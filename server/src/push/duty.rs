//! The duty to wake: derived from the log, behind a durable wake cursor for each
//! shard, so that no crash loses it and nobody who sends pays for it.
//!
//! Whoever holds a shard's duty reads it forward, decides for each message which
//! devices have not confirmed it in time, and writes their wakes down before it
//! sends them. The cursor follows when everybody is decided. While FCM asks for
//! patience nobody is decided and nothing is sent; afterwards the log still says
//! who is owed what, and those who have caught up are owed nothing.

mod addressed;
mod again;
mod silent;

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_protocol::{id::DeviceId, moment::Moment, seq::Position};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::again::Again;
use super::{
    answers::Answers,
    decide::{Deadlines, Decision, decide},
    fcm::Fcm,
    pace::Pace,
    pending::Pending,
    sender::{Job, Sender},
};
use crate::{
    clock::{Clock, within},
    config::Apps,
    metrics::{WAKES_OWED, WAKES_SUPPRESSED},
    random::Random,
    store::{
        Addressed, Attachment, Candidate, CandidatePage, CandidatePlace, DueWake, NewWake, Shard,
        SharedStore, StoreError, WorthyEvent,
    },
};

/// After each try, how long until the next.
pub(super) const SCHEDULE_MS: [i64; 6] = [
    30_000,
    2 * 60_000,
    10 * 60_000,
    60 * 60_000,
    6 * 60 * 60_000,
    24 * 60 * 60_000,
];

/// How long a duty is held without being prolonged.
const LEASE_MS: i64 = 10_000;

/// How often a duty is prolonged.
const PROLONG_INTERVAL: Duration = Duration::from_secs(3);

/// How often it is looked for other nodes' events and for tries that are due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long events collect before it is looked who is owed something.
const COLLECT: Duration = Duration::from_millis(20);

/// How many times longer than a look that found nobody its conversation is left
/// alone: such looks take a tenth of the store's time at most, however many
/// members sleep.
const REST_TIMES: u32 = 10;

/// The longest that it is left alone.
const REST_MAX: Duration = Duration::from_secs(1);

/// How long answers are waited for at the end.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// Events that are read at once.
const EVENTS_MAX: usize = 2_000;

/// Devices that are looked at in one statement: others wait meanwhile.
const CANDIDATES_MAX: usize = 250;

/// Conversations that are looked at side by side.
const LOOKS_MAX: usize = 16;

/// How long ago a device may have said hello to be about to answer its wake.
const LATELY_MS: i64 = 60_000;

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
    /// Apps that are sent what was said.
    pub previews: Apps,
    /// Who notes which wakes brought their devices.
    pub answers: Arc<Answers>,
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

/// A device that is owed a wake now.
struct Owed {
    device: DeviceId,
    attachment: Attachment,
    event: WorthyEvent,
}

/// The duty to wake, as far as this process holds it.
pub struct Duty {
    store: SharedStore,
    sender: Arc<Sender>,
    deadlines: Deadlines,
    clock: Clock,
    random: Random,
    news: Arc<Notify>,
    holder: u64,
}

impl Duty {
    /// The duty of a process that begins.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let holder = parts.random.bytes().map_or(1, u64::from_ne_bytes);
        let sender = Sender::new(
            Arc::clone(&parts.store),
            parts.fcm,
            parts.pace,
            parts.clock,
            parts.previews,
            parts.answers,
        );
        Self {
            store: parts.store,
            sender: Arc::new(sender),
            deadlines: parts.deadlines,
            clock: parts.clock,
            random: parts.random,
            news: parts.news,
            holder,
        }
    }

    /// Wakes whoever is owed it, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut shards: HashMap<Shard, Held> = HashMap::new();
        let mut sending = JoinSet::new();
        let mut again = Again::default();
        while !stop.is_cancelled() {
            for shard in Shard::all(self.store.shard_count()) {
                if let Err(error) = self.look(shard, &mut shards, &mut sending).await {
                    // The log still says who is owed what.
                    tracing::warn!(%error, %shard, "the duty to wake waits");
                }
            }
            if let Err(error) = self.try_again(&mut again, &mut sending).await {
                tracing::warn!(%error, "wakes that are due wait");
            }
            if let Err(error) = self.sync_silently(&mut sending).await {
                tracing::warn!(%error, "silent syncs that are due wait");
            }
            while sending.try_join_next().is_some() {}
            let wait = self.next_look(&shards);
            let rung = within(wait, self.news.notified());
            if stop.run_until_cancelled(rung).await == Some(Some(())) {
                stop.run_until_cancelled(tokio::time::sleep(COLLECT)).await;
            }
        }
        // What is not answered by then is due again by the schedule.
        let answered = async { while sending.join_next().await.is_some() {} };
        within(END_TIMEOUT, answered).await;
        self.sender.write_unsent().await;
    }

    /// How long nothing is to be done, unless news come.
    fn next_look(&self, shards: &HashMap<Shard, Held>) -> Duration {
        if shards.values().any(|held| held.pending.is_behind()) {
            return self.sender.ready_after().min(LOOK_INTERVAL);
        }
        let now_ms = self.clock.wall_ms();
        let looks = shards.values().filter_map(|it| it.pending.next_look_ms());
        let wait_ms = looks.min().map_or(u64::MAX, |at_ms| {
            u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0)
        });
        let wait = Duration::from_millis(wait_ms).min(LOOK_INTERVAL);
        // Not sooner than something may be sent.
        wait.max(self.sender.ready_after().min(LOOK_INTERVAL))
    }

    /// Reads a shard forward and decides what can be decided.
    async fn look(
        &self,
        shard: Shard,
        shards: &mut HashMap<Shard, Held>,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        let store = &self.store;
        let now = self.clock.now();
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
        if let Err(error) = self.decide_pending(&mut held.pending, sending).await {
            // Wakes of events that were decided may not be written down: they are
            // read again, behind the wake cursor.
            shards.remove(&shard);
            return Err(error);
        }
        let decided = held.pending.decided_upto();
        if decided > held.cursor {
            held.cursor = decided;
            if !store.advance_wakes(shard, self.holder, decided).await? {
                shards.remove(&shard);
            }
        }
        Ok(())
    }

    /// Reads on, and decides what is to be looked at. When it returns, the wakes of
    /// all that is decided are written down.
    async fn decide_pending(
        &self,
        pending: &mut Pending,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        // One stretch, then decisions: what has waited longest is decided first.
        if !pending.is_full() {
            let before = pending.read_upto();
            let stretch = self.store.worthy_events(before, EVENTS_MAX).await?;
            pending.add(stretch, self.clock.wall_ms());
            self.owe_syncs(before, pending.read_upto()).await?;
        }
        let mut owed = Vec::new();
        for events in pending.to_look_at(self.clock.wall_ms()).chunks(LOOKS_MAX) {
            let began = self.clock.now();
            let pages = self.first_pages(events).await?;
            let took = self.clock.now().since(began) / u32::try_from(events.len()).unwrap_or(1);
            for (events, page) in events.iter().zip(pages) {
                self.look_at(events, page, took, pending, &mut owed).await?;
            }
            if owed.len() >= CANDIDATES_MAX {
                self.record(std::mem::take(&mut owed), sending).await?;
            }
        }
        self.record(owed, sending).await
    }

    /// The first candidates of each of these conversations, asked for side by side.
    async fn first_pages(
        &self,
        events: &[Vec<WorthyEvent>],
    ) -> Result<Vec<CandidatePage>, StoreError> {
        let mut asked = JoinSet::new();
        for (index, events) in events.iter().enumerate() {
            let (store, last) = (Arc::clone(&self.store), events.last().copied());
            let now_ms = self.clock.wall_ms();
            asked.spawn(async move {
                let page = match &last {
                    Some(last) => candidates(&store, last, CandidatePlace::default(), now_ms).await,
                    None => Ok(CandidatePage::default()),
                };
                (index, page)
            });
        }
        let mut pages: Vec<(usize, CandidatePage)> = Vec::new();
        while let Some(answered) = asked.join_next().await {
            // A task that panicked is one that has found nothing out.
            let (index, page) = answered.map_err(|error| StoreError::Unavailable {
                reason: error.to_string(),
            })?;
            pages.push((index, page?));
        }
        pages.sort_by_key(|(index, _)| *index);
        Ok(pages.into_iter().map(|(_, page)| page).collect())
    }

    /// Decides about one conversation's events for all its members' devices, and
    /// adds those that are owed a wake now, with leave to send it.
    async fn look_at(
        &self,
        events: &[WorthyEvent],
        first: CandidatePage,
        took: Duration,
        pending: &mut Pending,
        all_owed: &mut Vec<Owed>,
    ) -> Result<(), StoreError> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let now_ms = self.clock.wall_ms();
        let mut seen = Seen::default();
        let mut page = first;
        loop {
            self.find_addressed(events, &page.candidates, &mut seen)
                .await?;
            let mut owed = self.decide_all(events, &page.candidates, now_ms, &mut seen);
            let may_send = self.sender.take(owed.len(), all_owed.len()) as usize;
            for it in owed.split_off(owed.len().min(may_send)) {
                let at_ms = now_ms.saturating_add(self.sender.room_after_ms());
                seen.undecided(it.event.position, at_ms);
            }
            all_owed.append(&mut owed);
            let Some(place) = page.next else { break };
            page = candidates(&self.store, last, place, now_ms).await?;
        }
        if seen.found == 0 {
            let until_ms = now_ms.saturating_add(ms((took * REST_TIMES).min(REST_MAX)));
            pending.rest(last.conversation, now_ms, until_ms);
        }
        let confirmed = pending.waited(last.conversation, seen.waiting, seen.owed);
        metrics::counter!(WAKES_SUPPRESSED, "reason" => "confirmed").increment(confirmed);
        metrics::counter!(WAKES_SUPPRESSED, "reason" => "woken").increment(seen.woken);
        if seen.undecided.is_none() {
            metrics::counter!(WAKES_SUPPRESSED, "reason" => "muted").increment(seen.muted);
        }
        for event in events {
            match seen.undecided {
                Some((first, at_ms)) if event.position >= first => {
                    pending.look_again(event.position, at_ms);
                }
                _ => pending.decided(event.position),
            }
        }
        Ok(())
    }

    /// Which of these devices are owed a wake now; notes what became of the others.
    fn decide_all(
        &self,
        events: &[WorthyEvent],
        candidates: &[Candidate],
        now_ms: i64,
        seen: &mut Seen,
    ) -> Vec<Owed> {
        let mut owed = Vec::new();
        for device in candidates {
            let decision = self.first_decision(events, device, now_ms, seen);
            // Where all are muted nobody is found.
            seen.found += usize::from(!matches!(decision, Some((_, Decision::Muted))));
            match decision {
                Some((event, Decision::Owed)) => owed.push(Owed {
                    device: device.device,
                    attachment: device.attachment,
                    event,
                }),
                Some((event, Decision::NotYet { at_ms })) => {
                    seen.waiting += 1;
                    seen.undecided(event.position, at_ms);
                }
                Some((_, Decision::Muted)) => seen.muted += 1,
                Some((_, Decision::Not)) | None => {
                    let is_for_it = events.iter().any(|it| it.sender != device.user);
                    seen.woken += u64::from(device.is_woken && is_for_it);
                }
            }
        }
        seen.owed += owed.len();
        owed
    }

    /// The first event for which a device is woken, now or later; else one for which it
    /// is muted.
    fn first_decision(
        &self,
        events: &[WorthyEvent],
        device: &Candidate,
        now_ms: i64,
        seen: &Seen,
    ) -> Option<(WorthyEvent, Decision)> {
        let mut muted = None;
        for event in events {
            let addressed = seen.addressed.as_ref();
            let addressed = addressed.and_then(|all| all.get(&event.position));
            let decision = decide((event, addressed), device, &self.deadlines, now_ms);
            match decision {
                Decision::Not => {}
                Decision::Muted => muted = Some((*event, decision)),
                Decision::Owed | Decision::NotYet { .. } => return Some((*event, decision)),
            }
        }
        muted
    }

    /// Writes wakes down, then sends them.
    async fn record(&self, owed: Vec<Owed>, sending: &mut JoinSet<()>) -> Result<(), StoreError> {
        let count = owed.len();
        let mut of: HashMap<DeviceId, Owed> = HashMap::new();
        for it in owed {
            // One that is owed to a device for another conversation stands for both.
            of.entry(it.device).or_insert(it);
        }
        if of.is_empty() {
            return Ok(());
        }
        let new = |it: &Owed| NewWake {
            device: it.device,
            position: it.event.position,
            id: self.random.bytes().map_or(0, u64::from_ne_bytes),
        };
        let wakes: Vec<NewWake> = of.values().map(new).collect();
        let now_ms = self.clock.wall_ms();
        let recorded = self
            .store
            .record_wakes(&wakes, now_ms, &SCHEDULE_MS)
            .await?;
        // The others have confirmed meanwhile, or another node was first.
        self.sender.give_back(count.saturating_sub(recorded.len()));
        metrics::counter!(WAKES_OWED).increment(recorded.len() as u64);
        let job = |wake: DueWake| Job {
            fresh: of
                .get(&wake.device)
                .map(|it| (it.event.committed_at_ms, it.attachment)),
            wake,
            is_silent: false,
        };
        let jobs = recorded.into_iter().map(job).collect();
        self.sender.send_all(jobs, sending).await
    }
}

/// Candidates for a conversation's last event.
async fn candidates(
    store: &SharedStore,
    last: &WorthyEvent,
    place: CandidatePlace,
    now_ms: i64,
) -> Result<CandidatePage, StoreError> {
    let (conversation, position) = (last.conversation, last.position);
    let (count, since_ms) = (CANDIDATES_MAX, now_ms - LATELY_MS);
    store
        .wake_candidates(conversation, position, place, count, since_ms, now_ms)
        .await
}

/// What a look at a conversation has found.
#[derive(Default)]
struct Seen {
    /// Candidates.
    found: usize,
    /// Those that are owed a wake.
    owed: usize,
    /// Those that have time left.
    waiting: usize,
    /// Those that are about to answer another wake.
    woken: u64,
    /// Those whose users want none for it.
    muted: u64,
    /// For whom the messages are meant, if that was asked for.
    addressed: Option<HashMap<Position, Addressed>>,
    /// The first event for which somebody is not decided, and when to look.
    undecided: Option<(Position, i64)>,
}

impl Seen {
    /// The earliest of both.
    fn undecided(&mut self, position: Position, at_ms: i64) {
        let (first, look_at_ms) = self.undecided.unwrap_or((position, at_ms));
        self.undecided = Some((first.min(position), look_at_ms.min(at_ms)));
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
