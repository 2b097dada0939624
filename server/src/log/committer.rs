//! Appends to the log in batches that form by themselves: while one commits, the
//! next one collects. At low load a request commits at once.
//!
//! Batches are committed in a task of their own that no connection can cancel. A
//! connection whose request could not be committed ends, and what it had sent
//! behind it is not committed either, so that its order holds (D6).

use std::sync::Arc;

use magpie_protocol::{limits::TEXT_SIZE_MAX, seq::FrameNumber, session::Reply};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::router::Router;
use crate::{
    clock::Clock,
    hub::{Ending, Letter, Mailbox, Wakeups},
    store::{Append, Command, Committed, LogEvent, Outcome, SharedStore},
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
    clock: Clock,
    to_reply: ToReply,
    queue: Mutex<Vec<Submission>>,
    bell: Notify,
}

impl Committer {
    /// A committer; `to_reply` turns its outcomes into answers.
    #[must_use]
    pub fn new(store: SharedStore, router: Arc<Router>, clock: Clock, to_reply: ToReply) -> Self {
        Self {
            store,
            router,
            clock,
            to_reply,
            queue: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// Queues a request. Each connection has at most a window of them in the
    /// queue, which bounds it.
    pub fn submit(&self, submission: Submission) {
        let mut queue = self.queue.lock();
        queue.push(submission);
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.bell.notify_one();
        }
    }

    /// Commits batches until `stop`, and then what is still queued.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (routings, routed) = mpsc::channel(ROUTING_MAX);
        let route = tokio::spawn(Arc::clone(&self).route(routed));
        loop {
            let batch = self.next_batch();
            if !batch.is_empty() {
                self.commit(batch, &routings).await;
            } else if stop
                .run_until_cancelled(self.bell.notified())
                .await
                .is_none()
            {
                break;
            }
        }
        drop(routings);
        if route.await.is_err() {
            tracing::error!("the routing task died");
        }
    }

    fn next_batch(&self) -> Vec<Submission> {
        let mut queue = self.queue.lock();
        // What a connection sent before it ended may fail, and then what it sent
        // later must not succeed.
        queue.retain(|it| !it.from.has_ended());
        if queue.len() <= BATCH_MAX {
            return std::mem::take(&mut *queue);
        }
        let rest = queue.split_off(BATCH_MAX);
        std::mem::replace(&mut *queue, rest)
    }

    async fn commit(&self, batch: Vec<Submission>, routings: &mpsc::Sender<Routing>) {
        let appends: Arc<[Append]> = batch.iter().map(|it| it.append.clone()).collect();
        metrics::histogram!(crate::metrics::COMMIT_BATCH_SIZE).record(batch_size(&batch));
        let started_at = self.clock.now();
        let result = self.store.append(appends, self.clock.wall_ms()).await;
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
                end_all(batch);
            }
        }
    }

    async fn route(self: Arc<Self>, mut routings: mpsc::Receiver<Routing>) {
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
            self.router
                .publish(after, head, events, &senders, &mut wakeups)
                .await;
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

// A batch of the longest texts stays far below what a database takes at once.
const _: () = assert!(BATCH_MAX * TEXT_SIZE_MAX <= 16 * 1024 * 1024);
