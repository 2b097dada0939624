//! Brings what was appended to the connections of those who may read it, in the
//! order of each shard of the log, each stretch exactly once.
//!
//! The committer hands over its own batches; the tailer reads the log itself, now
//! and then and when a batch does not follow the last one (another node appended
//! in between). Both end here, and `published` says how far all live connections
//! were served. The doorbell is the speed; the tailer is the correctness.

mod marks;

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    seq::Position,
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    acquaintances::{Acquaintances, account_change},
    audience::covers,
    chronicle::Chronicle,
    commits::Commits,
    fan_out::{Delivered, MANY},
    presences::Presences,
    routed::{Routed, Routing},
};
use crate::{
    clock::{Clock, within},
    hub::{Ending, Hub, Mailbox, Wakeups},
    store::{
        ChangedDevice, LogEvent, LogState, Membership, MembershipChange, Positions, ReadLimit,
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

/// A turn of those who bring events to many that takes as long says that there is no
/// processor to spare. Timers are no finer, either.
const BUSY: Duration = Duration::from_millis(1);

/// How long they let a commit pass at most.
const LET_PASS_MAX: Duration = Duration::from_millis(5);

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
    /// Users who were deleted.
    pub(super) deleted: Vec<UserId>,
}

impl News {
    /// Who leaves, and at which position.
    fn left(&self) -> HashMap<(ConversationId, UserId), Position> {
        let left = self.events.iter().filter_map(|(event, _)| {
            let Some(MembershipChange::Left(user)) = &event.change else {
                return None;
            };
            Some(((event.conversation, *user), event.position))
        });
        left.collect()
    }
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
    acquaintances: Arc<Acquaintances>,
    presences: Arc<Presences>,
    /// What this process is committing.
    pub(super) commits: Commits,
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
        let shards = heads.each().map(Routed::at);
        let acquaintances = Acquaintances::new(Arc::clone(&store), Arc::clone(&hub));
        let presences = Presences::new(Arc::clone(&store), Arc::clone(&hub), clock);
        Self {
            acquaintances: Arc::new(acquaintances),
            presences: Arc::new(presences),
            shards: shards.collect(),
            store,
            hub,
            tokens,
            chronicle,
            clock,
            bell: Notify::new(),
            news: Arc::default(),
            deletions: Arc::default(),
            commits: Commits::default(),
        }
    }

    /// Rung when the log has grown.
    #[must_use]
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Who tells of changed profiles.
    #[must_use]
    pub fn acquaintances(&self) -> Arc<Acquaintances> {
        Arc::clone(&self.acquaintances)
    }

    /// Who tells who is there.
    #[must_use]
    pub fn presences(&self) -> Arc<Presences> {
        Arc::clone(&self.presences)
    }

    /// What somebody set for themself concerns others.
    fn look_at(&self, event: &LogEvent) {
        if let Some((user, version, change)) = account_change(event) {
            self.acquaintances.look_at(user, version, &change);
            self.presences.look_at(user, &change);
        }
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
        let mut routing = routed.routing.lock().await;
        if news.after != routing.upto {
            // Somebody else appended in between, or the tailer was faster.
            if news.head > routing.upto {
                self.bell.notify_one();
            }
            return;
        }
        if let Err(error) = self.route(routed, &mut routing, &news, wakeups).await {
            // The tailer goes on from what is published.
            tracing::warn!(%error, "events could not be routed; will read the log again");
            self.bell.notify_one();
        }
    }

    /// Brings events to many, for ever, a few members at a time.
    pub async fn fan_out(self: Arc<Self>, stop: CancellationToken) {
        let mut shards = JoinSet::new();
        for shard in 0..self.shards.len() {
            let (router, stop) = (Arc::clone(&self), stop.clone());
            shards.spawn(async move {
                if let Some(routed) = router.shards.get(shard) {
                    stop.run_until_cancelled(router.fan_out_shard(routed)).await;
                }
            });
        }
        while let Some(ended) = shards.join_next().await {
            if ended.is_err() {
                tracing::error!("a task that brings events to many died");
            }
        }
    }

    async fn fan_out_shard(&self, routed: &Routed) {
        loop {
            let mut routing = routed.routing.lock().await;
            if routing.fan_outs.is_empty() {
                drop(routing);
                routed.many.notified().await;
                continue;
            }
            let mut wakeups = Wakeups::default();
            self.turn(routed, &mut routing, &mut wakeups);
            drop(routing);
            let began_at = self.clock.now();
            wakeups.ring();
            // Those who were woken come first, and so does who waits for the lock.
            tokio::task::yield_now().await;
            // If they kept the processor for long, the database lacked it.
            let took = self.clock.now().since(began_at);
            if took >= BUSY {
                self.commits.let_pass(took.min(LET_PASS_MAX)).await;
            }
        }
    }

    fn turn(&self, routed: &Routed, routing: &mut Routing, wakeups: &mut Wakeups) {
        routing
            .fan_outs
            .turn(|delivered| self.put(routed, &delivered, wakeups));
        routed.publish(routing);
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
            let mut routing = routed.routing.lock().await;
            let after = routing.upto;
            let stretch = self.store.stretch(after, STRETCH).await?;
            let events = stretch.events.into_iter();
            let news = News {
                after,
                head: stretch.upto,
                events: events.map(|event| (Arc::new(event), None)).collect(),
                marks: stretch.marks,
                devices: stretch.devices,
                deleted: stretch.deleted,
            };
            let mut wakeups = Wakeups::default();
            let done = self.route(routed, &mut routing, &news, &mut wakeups).await;
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
            let mut routing = routed.routing.lock().await;
            *routing = Routing::at(head);
            routed.latest.reset(head);
            routed.publish(&routing);
        }
        self.tokens.forget_all();
        self.store.serves(state.history.epoch);
        self.chronicle.begin(state.history);
    }

    async fn route(
        &self,
        routed: &Routed,
        routing: &mut Routing,
        news: &News,
        wakeups: &mut Wakeups,
    ) -> Result<(), StoreError> {
        let done = self.route_all(routed, routing, news, wakeups).await;
        match done {
            Ok(()) => routing.upto = news.head,
            // Who has left meanwhile gets what is not published again, too.
            Err(_) => *routing = Routing::at(routed.published()),
        }
        routed.publish(routing);
        done
    }

    async fn route_all(
        &self,
        routed: &Routed,
        routing: &mut Routing,
        news: &News,
        wakeups: &mut Wakeups,
    ) -> Result<(), StoreError> {
        let left = news.left();
        for changed in &news.devices {
            self.tokens.forget(changed.device);
            if changed.is_revoked {
                self.hub.end(changed.user, changed.device, Ending::Revoked);
            }
        }
        if !news.deleted.is_empty() {
            self.deletions.notify_one();
        }
        let mut told_of = Vec::with_capacity(news.marks.len());
        // Before the events, whose pages' cursors pass them.
        for mark in &news.marks {
            routed.latest.note(mark.user, mark.position);
            let members = self
                .audience(routed, routing, mark.conversation, wakeups)
                .await?;
            // The audience is as before this stretch, in which they may have left.
            let told = members.iter().filter(|it| {
                let leaving = (mark.conversation, it.user);
                left.get(&leaving).is_none_or(|at| mark.position < *at)
            });
            let is_small = members.len() <= MARKED_MEMBERS_MAX;
            let told = told.filter(|_| is_small);
            told_of.push((mark, self.others_here(told, mark.user)));
        }
        self.put_read_marks(told_of, wakeups).await?;
        if !news.events.is_empty() {
            self.news.notify_one();
        }
        let mut count = 0;
        for (event, sender) in &news.events {
            self.audience(routed, routing, event.conversation, wakeups)
                .await?;
            routing.audiences.begin(event);
            let members = self
                .audience(routed, routing, event.conversation, wakeups)
                .await?;
            let for_whom = members.iter().filter(|it| covers(it, event.seq));
            if let Some(sender) = sender {
                sender.count_delivered(for_whom.clone().count());
            }
            if members.len() == 1 {
                self.look_at(event);
            }
            if members.len() > MANY {
                self.begin(routed, routing, (event, sender.as_ref()), members, wakeups)
                    .await;
                routing.audiences.end(event);
                continue;
            }
            for membership in for_whom {
                let fan_outs = &mut routing.fan_outs;
                fan_outs.hurry(membership.user, |it| self.put(routed, &it, wakeups));
                let delivered = Delivered {
                    event,
                    membership,
                    sender: sender.as_ref(),
                };
                self.put(routed, &delivered, wakeups);
                count += 1;
                if count % YIELD_AFTER == 0 {
                    wakeups.ring();
                    tokio::task::yield_now().await;
                }
            }
            drop(members);
            routing.audiences.end(event);
        }
        Ok(())
    }

    /// An event begins its way to many.
    async fn begin(
        &self,
        routed: &Routed,
        routing: &mut Routing,
        (event, sender): (&Arc<LogEvent>, Option<&Arc<Mailbox>>),
        members: Arc<Vec<Membership>>,
        wakeups: &mut Wakeups,
    ) {
        while routing.fan_outs.is_full() {
            self.turn(routed, routing, wakeups);
            wakeups.ring();
            tokio::task::yield_now().await;
        }
        routing.fan_outs.begin(event, sender, members);
        routed.many.notify_one();
    }

    fn put(&self, routed: &Routed, delivered: &Delivered<'_>, wakeups: &mut Wakeups) {
        let Delivered {
            event,
            membership,
            sender,
        } = *delivered;
        routed.latest.note(membership.user, event.position);
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
        routing: &mut Routing,
        conversation: ConversationId,
        wakeups: &mut Wakeups,
    ) -> Result<Arc<Vec<Membership>>, StoreError> {
        if let Some(members) = routing.audiences.get(conversation) {
            return Ok(members);
        }
        // Who has got something already does not wait for the store.
        wakeups.ring();
        let members = self
            .store
            .memberships(conversation, routed.published())
            .await?;
        Ok(routing.audiences.insert(conversation, members))
    }
}
