//! Brings what was appended to the connections of those who may read it, in the
//! order of each shard of the log, each stretch exactly once.
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

use super::{
    audience::{Audiences, covers},
    chronicle::Chronicle,
    latest::Latest,
};
use crate::{
    clock::{Clock, within},
    hub::{Ending, Hub, Mailbox, Wakeups},
    store::{
        ChangedDevice, LogEvent, LogState, MARKED_MEMBERS_MAX, Membership, Positions, ReadLimit,
        Shard, SharedStore, StoreError, UserMark,
    },
    tokens::Tokens,
};

/// How often the log is read for what no doorbell told of.
const TAIL_INTERVAL: Duration = Duration::from_secs(1);

/// How much of the log is read and routed at once.
const STRETCH: ReadLimit = ReadLimit {
    count: 1_000,
    size: 4 * 1024 * 1024,
};

/// Events routed before other tasks get a turn.
const YIELD_AFTER: usize = 256;

/// What a stretch of a shard brings.
#[derive(Default)]
pub(super) struct News {
    /// Where it begins.
    pub(super) after: Position,
    /// Where it ends.
    pub(super) head: Position,
    /// In order of position; each with the connection whose message it is, if it
    /// is here: that one is told `accepted` and needs no page.
    pub(super) events: Vec<(Arc<LogEvent>, Option<Arc<Mailbox>>)>,
    pub(super) marks: Vec<UserMark>,
    pub(super) devices: Vec<ChangedDevice>,
}

/// One shard, as far as it is routed.
struct Routed {
    /// Held while a stretch is routed: one after the other.
    audiences: Mutex<Audiences>,
    published: AtomicU64,
    latest: Latest,
}

/// The router of one process.
pub struct Router {
    store: SharedStore,
    hub: Arc<Hub>,
    tokens: Arc<Tokens>,
    chronicle: Arc<Chronicle>,
    clock: Clock,
    /// One for each shard.
    shards: Vec<Routed>,
    bell: Notify,
    news: Arc<Notify>,
    deletions: Arc<Notify>,
}

impl Router {
    /// A router that has served everything up to `heads`: nobody is connected yet.
    #[must_use]
    pub fn new(
        store: SharedStore,
        hub: Arc<Hub>,
        tokens: Arc<Tokens>,
        chronicle: Arc<Chronicle>,
        clock: Clock,
        heads: &Positions,
    ) -> Self {
        let shards = heads.each().map(|head| Routed {
            audiences: Mutex::default(),
            published: AtomicU64::new(head.get()),
            latest: Latest::new(head),
        });
        Self {
            shards: shards.collect(),
            store,
            hub,
            tokens,
            chronicle,
            clock,
            bell: Notify::new(),
            news: Arc::default(),
            deletions: Arc::default(),
        }
    }

    /// Rung when the log has grown.
    #[must_use]
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Rung when a user was deleted.
    pub(super) fn deletions(&self) -> Arc<Notify> {
        Arc::clone(&self.deletions)
    }

    /// The log has grown, and nobody here has told of it.
    pub(super) fn look(&self) {
        self.bell.notify_one();
    }

    /// Everything up to here was put into the mailboxes of all it is for.
    #[must_use]
    pub fn published(&self) -> Positions {
        let mut published = Positions::origin(self.shards.len());
        for shard in &self.shards {
            published.set(shard.published());
        }
        published
    }

    /// Whether something beyond `after` is for the user, or may be. Ask once the
    /// connection is in the hub: what comes from then on is in its mailbox.
    #[must_use]
    pub fn may_have_news(&self, user: UserId, after: &Positions) -> bool {
        let shards = self.shards.iter().zip(after.each());
        let mut news = shards.map(|(shard, after)| shard.latest.may_have_news(user, after));
        after.count() != self.shards.len() || news.any(|may_have_news| may_have_news)
    }

    /// Routes what this process committed.
    pub(super) async fn publish(&self, shard: Shard, news: News, wakeups: &mut Wakeups) {
        let Some(routed) = self.shards.get(shard.index()) else {
            return;
        };
        let mut audiences = routed.audiences.lock().await;
        if news.after != routed.published() {
            // Somebody else appended in between, or the tailer was faster.
            if news.head > routed.published() {
                self.bell.notify_one();
            }
            return;
        }
        if let Err(error) = self.route(routed, &mut audiences, &news, wakeups).await {
            // The tailer goes on from what is published.
            tracing::warn!(%error, "events could not be routed; will read the log again");
            self.bell.notify_one();
            return;
        }
        routed.publish(news.head);
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
                self.chronicle.note(&error);
            }
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        let began_at = self.clock.now();
        let state = self.store.state().await?;
        if state.history.epoch != self.chronicle.history().epoch {
            self.begin_epoch(&state).await;
        }
        if self.chronicle.is_stopped() {
            return Ok(());
        }
        for shard in &self.shards {
            self.catch_up_shard(shard).await?;
        }
        self.tokens.log_was_read(began_at);
        Ok(())
    }

    async fn catch_up_shard(&self, routed: &Routed) -> Result<(), StoreError> {
        loop {
            let mut audiences = routed.audiences.lock().await;
            let after = routed.published();
            let stretch = self.store.stretch(after, STRETCH).await?;
            let events = stretch.events.into_iter();
            let news = News {
                after,
                head: stretch.upto,
                events: events.map(|event| (Arc::new(event), None)).collect(),
                marks: stretch.marks,
                devices: stretch.devices,
            };
            let mut wakeups = Wakeups::default();
            let done = self
                .route(routed, &mut audiences, &news, &mut wakeups)
                .await;
            if done.is_ok() {
                routed.publish(news.head);
            }
            // Also for what was routed before an error.
            wakeups.ring();
            done?;
            if stretch.complete {
                return Ok(());
            }
        }
    }

    /// Forgets the history that was, and serves another one.
    async fn begin_epoch(&self, state: &LogState) {
        self.chronicle
            .stop("a new epoch begins; all devices connect anew".to_owned());
        for (routed, head) in self.shards.iter().zip(state.heads.each()) {
            let mut audiences = routed.audiences.lock().await;
            *audiences = Audiences::default();
            routed.latest.reset(head);
            routed.publish(head);
        }
        self.tokens.forget_all();
        self.store.serves(state.history.epoch);
        self.chronicle.begin(state.history);
    }

    async fn route(
        &self,
        routed: &Routed,
        audiences: &mut Audiences,
        news: &News,
        wakeups: &mut Wakeups,
    ) -> Result<(), StoreError> {
        for changed in &news.devices {
            self.tokens.forget(changed.device);
            if changed.is_revoked {
                self.hub.end(changed.user, changed.device, Ending::Revoked);
            }
            if changed.is_users_end {
                self.deletions.notify_one();
            }
        }
        // Before the events, whose pages' cursors pass them.
        for mark in &news.marks {
            routed.latest.note(mark.user, mark.position);
            let members = self.audience(routed, audiences, mark.conversation).await?;
            self.put_mark(&members, mark.user, &mark.to_wire(), wakeups);
        }
        if !news.events.is_empty() {
            self.news.notify_one();
        }
        let mut count = 0;
        for (event, sender) in &news.events {
            self.audience(routed, audiences, event.conversation).await?;
            audiences.begin(event);
            let members = self.audience(routed, audiences, event.conversation).await?;
            let before = count;
            for membership in members.iter().filter(|it| covers(it, event.seq)) {
                routed.latest.note(membership.user, event.position);
                self.put(event, membership, sender.as_ref(), wakeups);
                count += 1;
                if count % YIELD_AFTER == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if let Some(sender) = sender {
                sender.count_delivered(count - before);
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
        routed: &Routed,
        audiences: &mut Audiences,
        conversation: ConversationId,
    ) -> Result<Arc<Vec<Membership>>, StoreError> {
        if let Some(members) = audiences.get(conversation) {
            return Ok(members);
        }
        let members = self
            .store
            .memberships(conversation, routed.published())
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
        let shard = Shard::of_conversation(conversation, self.shards.len());
        let Some(routed) = self.shards.get(shard.index()) else {
            return Ok(());
        };
        let members = {
            let mut audiences = routed.audiences.lock().await;
            self.audience(routed, &mut audiences, conversation).await?
        };
        let mut wakeups = Wakeups::default();
        self.put_mark(&members, user, &mark, &mut wakeups);
        wakeups.ring();
        Ok(())
    }

    fn put_mark(
        &self,
        members: &[Membership],
        user: UserId,
        mark: &v1::Mark,
        wakeups: &mut Wakeups,
    ) {
        let is_small = members.len() <= MARKED_MEMBERS_MAX;
        // Who left may still read, and has other devices.
        let own = std::iter::once(user);
        let others = members.iter().map(|member| member.user);
        let others = others.filter(|other| is_small && *other != user);
        for member in own.chain(others) {
            self.hub.each_of(member, |mailbox| {
                wakeups.note(mailbox, mailbox.put_mark(mark, member == user));
            });
        }
    }
}

impl Routed {
    fn published(&self) -> Position {
        Position::new(self.published.load(Ordering::Acquire))
    }

    /// Called with the audiences locked.
    fn publish(&self, head: Position) {
        self.published.store(head.get(), Ordering::Release);
    }
}
