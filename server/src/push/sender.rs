//! Sends wakes that are written down, as fast as it may be, and does what FCM's
//! answers ask for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_protocol::{id::DeviceId, push::Platform, seq::Position};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    answer::Outcome,
    answers::Answers,
    duty::SCHEDULE_MS,
    fcm::Fcm,
    message::{Form, PushMessage, WakeId},
    pace::Pace,
};
use crate::{
    clock::Clock,
    config::Apps,
    metrics::{PUSH_ANSWER_SECONDS, WAKE_SEND_SECONDS, WAKES_SENT},
    store::{Attachment, DueWake, Preview, SYNC_PAUSE_MS, SharedStore, StoreError},
};

/// The try in which Android itself shows something, because the app did not
/// answer two.
const ALERT_TRY: u32 = 3;

/// How long until it is looked again whether something may be sent.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);

/// Requests in flight.
const IN_FLIGHT_MAX: usize = 500;

/// A wake to send.
pub(super) struct Job {
    pub(super) wake: DueWake,
    /// When its message was committed, and how its device was there then; not of a
    /// later try.
    pub(super) fresh: Option<(i64, Attachment)>,
    /// It says that something was read elsewhere: nobody waits for an answer.
    pub(super) is_silent: bool,
}

impl Job {
    /// Who shows something in this try.
    fn form(&self) -> Form {
        let is_android = self.wake.address.platform == Platform::Android;
        match self.is_silent {
            true => Form::Silent,
            false if is_android && self.wake.tries == ALERT_TRY => Form::Alert,
            false => Form::Data,
        }
    }

    /// The name of a try, for metrics.
    fn try_name(&self) -> &'static str {
        match (self.form(), self.wake.tries) {
            (Form::Silent, _) => "silent",
            (Form::Alert, _) => "alert",
            (Form::Data, 1) => "first",
            (Form::Data, _) => "again",
        }
    }

    /// How long FCM keeps it: until the next one.
    fn life(&self) -> Duration {
        let step = usize::try_from(self.wake.tries).unwrap_or(usize::MAX);
        let wait_ms = SCHEDULE_MS.get(step.saturating_sub(1));
        let wait_ms = wait_ms.or(SCHEDULE_MS.last()).copied().unwrap_or(0);
        let wait_ms = if self.is_silent {
            SYNC_PAUSE_MS
        } else {
            wait_ms
        };
        Duration::from_millis(wait_ms.unsigned_abs())
    }
}

/// What sends.
pub(super) struct Sender {
    store: SharedStore,
    fcm: Fcm,
    pace: Pace,
    clock: Clock,
    /// Apps that show what was said before they have synced.
    previews: Apps,
    answers: Arc<Answers>,
    in_flight: Arc<Semaphore>,
    /// What was not sent, to be written down.
    unsent: Mutex<Vec<(DeviceId, u64)>>,
    /// Devices that were to be told silently, and were not.
    untold: Mutex<Vec<DeviceId>>,
}

impl Sender {
    pub(super) fn new(
        store: SharedStore,
        fcm: Fcm,
        pace: Pace,
        clock: Clock,
        previews: Apps,
        answers: Arc<Answers>,
    ) -> Self {
        Self {
            store,
            fcm,
            pace,
            clock,
            previews,
            answers,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            unsent: Mutex::default(),
            untold: Mutex::default(),
        }
    }

    /// Takes leave to send at most `count` pushes, beside so many that have it and
    /// are not sent yet.
    pub(super) fn take(&self, count: usize, taken: usize) -> u32 {
        let turns = self.in_flight.available_permits().saturating_sub(taken);
        let count = count.min(turns);
        self.pace.take(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Gives back leave that was not used.
    pub(super) fn give_back(&self, count: usize) {
        self.pace
            .give_back(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// How long until there may be leave again.
    pub(super) fn ready_after(&self) -> Duration {
        self.pace.ready_after()
    }

    /// When to look for leave again, in milliseconds.
    pub(super) fn room_after_ms(&self) -> i64 {
        let wait = self.pace.ready_after().max(ROOM_INTERVAL);
        i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
    }

    /// Sends wakes for which there is leave. If it cannot be told what to send, none
    /// was sent.
    pub(super) async fn send_all(
        self: &Arc<Self>,
        jobs: Vec<Job>,
        sending: &mut JoinSet<()>,
    ) -> Result<(), StoreError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let (epoch, previews) = match self.content(&jobs).await {
            Ok(content) => content,
            Err(error) => {
                self.give_back(jobs.len());
                jobs.iter().for_each(|job| self.not_sent(job));
                return Err(error);
            }
        };
        for job in jobs {
            let shows = self.shows(&job);
            let preview = previews.get(&job.wake.position).filter(|_| shows).cloned();
            // There is a turn: only as many are written down as there are.
            let Ok(turn) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return Ok(());
            };
            let sender = Arc::clone(self);
            sending.spawn(async move {
                sender.send(&job, epoch, preview).await;
                drop(turn);
            });
        }
        Ok(())
    }

    /// What pushes say: the epoch, and what was said.
    async fn content(&self, jobs: &[Job]) -> Result<(u64, HashMap<Position, Preview>), StoreError> {
        let epoch = self.store.state().await?.history.epoch;
        Ok((epoch, self.previews_of(jobs).await?))
    }

    /// It does not count, and is to be written down so.
    fn not_sent(&self, job: &Job) {
        let wake = &job.wake;
        match job.is_silent {
            true => self.untold.lock().push(wake.device),
            false => self.unsent.lock().push((wake.device, wake.id)),
        }
    }

    /// Whether the app is one that shows what was said.
    fn shows(&self, job: &Job) -> bool {
        job.form() == Form::Data && self.previews.hold(job.wake.address.app.as_str())
    }

    async fn previews_of(&self, jobs: &[Job]) -> Result<HashMap<Position, Preview>, StoreError> {
        let shown = jobs.iter().filter(|job| self.shows(job));
        let mut positions: Vec<Position> = shown.map(|job| job.wake.position).collect();
        if positions.is_empty() {
            return Ok(HashMap::new());
        }
        positions.sort_unstable();
        positions.dedup();
        let previews = self.store.previews(&positions).await?;
        Ok(previews.into_iter().map(|it| (it.position, it)).collect())
    }

    async fn send(&self, job: &Job, epoch: u64, preview: Option<Preview>) {
        let wake = &job.wake;
        if let Some((committed_at_ms, attachment)) = job.fresh {
            let waited_ms = self.clock.wall_ms().saturating_sub(committed_at_ms);
            let waited = Duration::from_millis(u64::try_from(waited_ms).unwrap_or(0));
            metrics::histogram!(WAKE_SEND_SECONDS, "attachment" => attachment.name())
                .record(waited.as_secs_f64());
        }
        let began = self.clock.now();
        let outcome = self.fcm.send(&self.message(job, epoch, preview)).await;
        let took = self.clock.now().since(began);
        metrics::histogram!(PUSH_ANSWER_SECONDS).record(took.as_secs_f64());
        self.pace.note(&outcome);
        match outcome {
            Outcome::Sent => {
                metrics::counter!(WAKES_SENT, "try" => job.try_name()).increment(1);
                if !job.is_silent {
                    self.answers.sent(wake.device, wake.position);
                }
            }
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
            Outcome::SlowDown { .. } | Outcome::Unavailable { .. } => self.not_sent(job),
        }
    }

    fn message(&self, job: &Job, epoch: u64, preview: Option<Preview>) -> PushMessage {
        let wake = &job.wake;
        PushMessage {
            platform: wake.address.platform,
            token: wake.address.token.clone(),
            wake: WakeId(wake.id),
            epoch,
            form: job.form(),
            preview,
            life: job.life(),
            now_ms: self.clock.wall_ms(),
        }
    }

    /// The token is dead, unless the device has another one by now.
    async fn forget(&self, wake: &DueWake) {
        let token = Some(&wake.address.token);
        match self.store.clear_push(wake.device, token).await {
            Ok(was_there) => {
                self.answers.forget(wake.device);
                tracing::info!(device = %wake.device, was_there, "a push token is dead");
            }
            Err(error) => tracing::warn!(%error, "a dead push token was not forgotten"),
        }
    }

    /// What was not sent is due again when something may be sent: it is asked
    /// again then whether it is owed.
    pub(super) async fn write_unsent(&self) {
        let unsent = std::mem::take(&mut *self.unsent.lock());
        let untold = std::mem::take(&mut *self.untold.lock());
        let now_ms = self.clock.wall_ms();
        let due_at_ms = now_ms.saturating_add(self.room_after_ms());
        if !unsent.is_empty()
            && let Err(error) = self.store.postpone_wakes(&unsent, due_at_ms).await
        {
            // They are due anyway, by the schedule.
            tracing::warn!(%error, "unsent wakes were not written down");
        }
        if !untold.is_empty()
            && let Err(error) = self.store.postpone_syncs(&untold, due_at_ms).await
        {
            tracing::warn!(%error, "unsent silent syncs were not written down");
        }
    }
}
