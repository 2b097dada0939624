//! Brings what was appended to the connections of those who may read it, in the
//! order of the log, each stretch exactly once.
//!
//! The committer hands over its own batches; the tailer reads the log itself, now
//! and then and when a batch does not follow the last one (another node appended
//! in between). Both end here, and `published` says how far all live connections
//! were served. The doorbell is the speed; the tailer is the correctness.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Position,
    wire::v1,
};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::audience::{Audiences, covers};
use crate::{
    clock::within,
    hub::{Hub, Mailbox, Wakeups},
    store::{LogEvent, Membership, ReadLimit, SharedStore, StoreError},
};

/// How often the log is read for what no doorbell told of.
const TAIL_INTERVAL: Duration = Duration::from_secs(1);

/// How much of the log is read and routed at once.
const STRETCH: ReadLimit = ReadLimit {
    count: 1_000,
    size: 4 * 1024 * 1024,
};

/// Members of a conversation up to which everybody is told at once how far one
/// of them has come; in larger ones it is asked for.
const MARKED_MEMBERS_MAX: usize = 64;

/// Events routed before other tasks get a turn.
const YIELD_AFTER: usize = 256;

/// The router of one process.
pub struct Router {
    store: SharedStore,
    hub: Arc<Hub>,
    /// Held while a stretch is routed: one after the other.
    audiences: Mutex<Audiences>,
    published: AtomicU64,
    bell: Notify,
}

impl Router {
    /// A router that has served everything up to `head`: nobody is connected yet.
    #[must_use]
    pub fn new(store: SharedStore, hub: Arc<Hub>, head: Position) -> Self {
        Self {
            store,
            hub,
            audiences: Mutex::default(),
            published: AtomicU64::new(head.get()),
            bell: Notify::new(),
        }
    }

    /// Everything up to here was put into the mailboxes of all it is for.
    #[must_use]
    pub fn published(&self) -> Position {
        Position::new(self.published.load(Ordering::Acquire))
    }

    /// Routes a batch that this process committed. `senders` has, for each event,
    /// the connection whose message it is: it is told `accepted` and needs no page.
    pub async fn publish(
        &self,
        after: Position,
        head: Position,
        events: Vec<LogEvent>,
        senders: &[Option<Arc<Mailbox>>],
        wakeups: &mut Wakeups,
    ) {
        let mut audiences = self.audiences.lock().await;
        if after != self.published() {
            // Somebody else appended in between, or the tailer was faster.
            if head > self.published() {
                self.bell.notify_one();
            }
            return;
        }
        let senders = senders.iter().cloned().chain(std::iter::repeat(None));
        let events = events
            .into_iter()
            .map(Arc::new)
            .zip(senders)
            .collect::<Vec<_>>();
        if let Err(error) = self.route(&mut audiences, &events, wakeups).await {
            // The tailer goes on from what is published.
            tracing::warn!(%error, "events could not be routed; will read the log again");
            self.bell.notify_one();
            return;
        }
        self.published.store(head.get(), Ordering::Release);
    }

    /// Reads the log forward for ever: now and then, and when the bell rings.
    pub async fn tail(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let rung = self.bell.notified();
            if let Some(Some(())) = stop.run_until_cancelled(within(TAIL_INTERVAL, rung)).await {
                tracing::debug!("the log is ahead of what was routed");
            }
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "the log could not be read; will try again");
            }
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        loop {
            let mut audiences = self.audiences.lock().await;
            let stretch = self.store.stretch(self.published(), STRETCH).await?;
            let mut wakeups = Wakeups::default();
            let events = stretch
                .events
                .into_iter()
                .map(|event| (Arc::new(event), None))
                .collect::<Vec<_>>();
            let routed = self.route(&mut audiences, &events, &mut wakeups).await;
            if routed.is_ok() {
                self.published
                    .fetch_max(stretch.upto.get(), Ordering::AcqRel);
            }
            // Also for what was routed before an error.
            wakeups.ring();
            routed?;
            if stretch.complete {
                return Ok(());
            }
        }
    }

    async fn route(
        &self,
        audiences: &mut Audiences,
        events: &[(Arc<LogEvent>, Option<Arc<Mailbox>>)],
        wakeups: &mut Wakeups,
    ) -> Result<(), StoreError> {
        let mut routed = 0;
        for (event, sender) in events {
            self.audience(audiences, event.conversation).await?;
            audiences.begin(event);
            let members = self.audience(audiences, event.conversation).await?;
            let before = routed;
            for membership in members.iter().filter(|it| covers(it, event.seq)) {
                self.put(event, membership, sender.as_ref(), wakeups);
                routed += 1;
                if routed % YIELD_AFTER == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if let Some(sender) = sender {
                sender.count_delivered(routed - before);
            }
            audiences.end(event);
        }
        Ok(())
    }

    fn put(
        &self,
        event: &Arc<LogEvent>,
        membership: &Membership,
        sender: Option<&Arc<Mailbox>>,
        wakeups: &mut Wakeups,
    ) {
        // Somebody's first event of a conversation comes behind its description,
        // which is in the store alone.
        let is_first = membership.from_seq == event.seq;
        self.hub.each_of(membership.user, |mailbox| {
            if is_first {
                wakeups.note(mailbox, mailbox.put_detour());
            } else if sender.is_none_or(|sender| !Arc::ptr_eq(sender, mailbox)) {
                wakeups.note(mailbox, mailbox.put_event(event));
            }
        });
    }

    async fn audience(
        &self,
        audiences: &mut Audiences,
        conversation: ConversationId,
    ) -> Result<Arc<Vec<Membership>>, StoreError> {
        if let Some(members) = audiences.get(conversation) {
            return Ok(members);
        }
        let members = self
            .store
            .memberships(conversation, self.published())
            .await?;
        let members = Arc::new(members);
        audiences.insert(conversation, Arc::clone(&members));
        Ok(members)
    }

    /// Tells the members who are connected how far one of them has come. May be
    /// lost: the description of a conversation carries the current marks.
    pub async fn announce(
        &self,
        user: UserId,
        conversation: ConversationId,
        mark: v1::Mark,
    ) -> Result<(), StoreError> {
        let members = {
            let mut audiences = self.audiences.lock().await;
            self.audience(&mut audiences, conversation).await?
        };
        let mut wakeups = Wakeups::default();
        let is_small = members.len() <= MARKED_MEMBERS_MAX;
        for member in members.iter() {
            if is_small || member.user == user {
                self.hub.each_of(member.user, |mailbox| {
                    wakeups.note(mailbox, mailbox.put_mark(&mark));
                });
            }
        }
        wakeups.ring();
        Ok(())
    }
}
