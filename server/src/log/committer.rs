//! Appends to the log in batches that form by themselves: while one commits, the
//! next one collects. At low load a request commits at once. Each shard of the log
//! has its own lane, so that one's commit does not wait for another's.
//!
//! Batches are committed in a task of their own that no connection can cancel. A
//! connection whose request could not be committed ends, and what it had sent
//! behind it is not committed either, so that its order holds (D6).

use std::sync::Arc;

use magpie_protocol::{limits::MESSAGE_SIZE_MAX, seq::FrameNumber, session::Reply};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    chronicle::Chronicle,
    lane::Lane,
    router::{News, Router},
};
use crate::{
    clock::Clock,
    hub::{Ending, Letter, Mailbox, Wakeups},
    store::{Append, Command, Committed, LogEvent, Outcome, Shard, SharedStore},
};

/// Requests in one batch: beyond 500 a commit takes longer without being cheaper
/// by the request (measured).
const BATCH_MAX: usize = 500;

/// Batches that are committed and not yet routed.
const ROUTING_MAX: usize = 4;

/// Turns an outcome into the answer to its request.
type ToReply = fn(&Append, &Outcome) -> Reply;

/// A request for the log, and where its answer goes.
#[derive(Debug)]
pub struct Submission {
    /// What is asked for.
    pub append: Append,
    /// The number of the request.
    pub number: FrameNumber,
    /// The connection that asked.
    pub from: Arc<Mailbox>,
}

/// A batch that is committed, on its way to those it concerns.
struct Routing {
    batch: Vec<Submission>,
    committed: Committed,
}

/// What appends to the log in this process.
pub struct Committer {
    store: SharedStore,
    router: Arc<Router>,
    chronicle: Arc<Chronicle>,
    clock: Clock,
    to_reply: ToReply,
    /// One for each shard.
    lanes: Vec<Lane>,
    /// Requests that are not in a lane yet. Not used if there is only one.
    unsorted: Lane,
}

impl Committer {
    /// A committer; `to_reply` turns its outcomes into answers.
    #[must_use]
    pub fn new(
        store: SharedStore,
        router: Arc<Router>,
        chronicle: Arc<Chronicle>,
        clock: Clock,
        to_reply: ToReply,
    ) -> Self {
        let lanes = Shard::all(store.shard_count()).map(|_| Lane::default());
        Self {
            lanes: lanes.collect(),
            store,
            router,
            chronicle,
            clock,
            to_reply,
            unsorted: Lane::default(),
        }
    }

    /// Queues a request.
    pub fn submit(&self, submission: Submission) {
        match self.lanes.as_slice() {
            [only] => only.push([submission]),
            _ => self.unsorted.push([submission]),
        }
    }

    /// Commits batches until `stop`, and then what is still queued.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let sorted = CancellationToken::new();
        let mut lanes = JoinSet::new();
        for shard in Shard::all(self.lanes.len()) {
            lanes.spawn(Arc::clone(&self).run_lane(shard, sorted.clone()));
        }
        self.sort(stop).await;
        sorted.cancel();
        while let Some(ended) = lanes.join_next().await {
            if ended.is_err() {
                tracing::error!("a committing task died");
            }
        }
    }

    /// Puts requests into their lanes, in their order.
    async fn sort(&self, stop: CancellationToken) {
        loop {
            let unsorted = self.unsorted.take(BATCH_MAX);
            if !unsorted.is_empty() {
                self.sort_batch(unsorted).await;
            } else if stop
                .run_until_cancelled(self.unsorted.rung())
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn sort_batch(&self, batch: Vec<Submission>) {
        let appends: Vec<Append> = batch.iter().map(|it| it.append.clone()).collect();
        let shards = match self.store.shards_of(&appends).await {
            Ok(shards) => shards,
            Err(error) => {
                tracing::warn!(%error, requests = batch.len(), "no shard was found for requests");
                return end_all(batch);
            }
        };
        for (submission, shard) in batch.into_iter().zip(shards) {
            match self.lanes.get(shard.index()) {
                Some(lane) => lane.push([submission]),
                None => submission.from.end(Ending::Unavailable),
            }
        }
    }

    async fn run_lane(self: Arc<Self>, shard: Shard, stop: CancellationToken) {
        let Some(lane) = self.lanes.get(shard.index()) else {
            return;
        };
        let (routings, routed) = mpsc::channel(ROUTING_MAX);
        let route = tokio::spawn(Arc::clone(&self).route(shard, routed));
        loop {
            // Connections that are ready to run come first: what they have read
            // belongs into this batch, and a batch costs as much as dozens of its
            // requests.
            tokio::task::yield_now().await;
            let batch = lane.take(BATCH_MAX);
            if !batch.is_empty() {
                self.commit(shard, batch, &routings).await;
            } else if stop.run_until_cancelled(lane.rung()).await.is_none() {
                break;
            }
        }
        drop(routings);
        if route.await.is_err() {
            tracing::error!("the routing task died");
        }
    }

    async fn commit(&self, shard: Shard, batch: Vec<Submission>, routings: &mpsc::Sender<Routing>) {
        if self.chronicle.is_stopped() {
            return end_all(batch);
        }
        let appends: Arc<[Append]> = batch.iter().map(|it| it.append.clone()).collect();
        metrics::histogram!(crate::metrics::COMMIT_BATCH_SIZE).record(batch_size(&batch));
        let under_way = self.router.commits.begin();
        let started_at = self.clock.now();
        let result = self
            .store
            .append(shard, appends, self.clock.wall_ms())
            .await;
        drop(under_way);
        let took = self.clock.now().since(started_at);
        metrics::histogram!(crate::metrics::COMMIT_SECONDS).record(took);
        match result {
            Ok(committed) => {
                if let Err(lost) = routings.send(Routing { batch, committed }).await {
                    tracing::error!("the routing task is gone");
                    end_all(lost.0.batch);
                }
            }
            Err(error) => {
                tracing::error!(%error, requests = batch.len(), "a batch was not committed");
                metrics::counter!(crate::metrics::COMMITS_FAILED).increment(1);
                self.chronicle.note(&error);
                end_all(batch);
            }
        }
    }

    async fn route(self: Arc<Self>, shard: Shard, mut routings: mpsc::Receiver<Routing>) {
        while let Some(Routing { batch, committed }) = routings.recv().await {
            let mut wakeups = Wakeups::default();
            // The answers first: whoever sees the events published has its answer.
            for (submission, outcome) in batch.iter().zip(&committed.outcomes) {
                let reply = (self.to_reply)(&submission.append, outcome);
                let letter = Letter::Reply {
                    number: submission.number,
                    reply,
                };
                wakeups.note(&submission.from, submission.from.put(letter));
            }
            let senders = senders(&batch, &committed);
            let Committed {
                after,
                head,
                events,
                ..
            } = committed;
            metrics::counter!(crate::metrics::EVENTS_COMMITTED).increment(events.len() as u64);
            let events = events.into_iter().map(Arc::new);
            let news = News {
                after,
                head,
                events: events.zip(senders).collect(),
                ..News::default()
            };
            self.router.publish(shard, news, &mut wakeups).await;
            wakeups.ring();
        }
    }
}

/// Nobody will answer these: their connections end, and their devices ask again.
fn end_all(batch: Vec<Submission>) {
    for submission in batch {
        submission.from.end(Ending::Unavailable);
    }
}

/// For each event of the batch, the connection that needs no page of it, because
/// its `accepted` says everything: the one whose message it is.
fn senders(batch: &[Submission], committed: &Committed) -> Vec<Option<Arc<Mailbox>>> {
    // Events come in the order of the requests that made them; a repeated request
    // is accepted and makes none.
    let mut accepted = batch.iter().zip(&committed.outcomes);
    let sender = |event: &LogEvent| {
        let (submission, _) = accepted.find(|(_, outcome)| {
            matches!(outcome, Outcome::Accepted { conversation, seq, .. }
                if *conversation == event.conversation && *seq == event.seq)
        })?;
        let is_message = matches!(submission.append.command, Command::SendMessage { .. });
        is_message.then(|| Arc::clone(&submission.from))
    };
    committed.events.iter().map(sender).collect()
}

#[expect(clippy::cast_precision_loss, reason = "at most BATCH_MAX")]
fn batch_size(batch: &[Submission]) -> f64 {
    batch.len() as f64
}

// A batch of the longest messages stays far below what a database takes at once.
const _: () = assert!(BATCH_MAX * MESSAGE_SIZE_MAX <= 32 * 1024 * 1024);
