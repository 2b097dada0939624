//! One life of a server: its part of the duty, and a store that devices reach
//! through it. Nothing but the database outlives it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::AtomicU64,
        mpsc::{self, Receiver},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use magpie_fcm_emulator::Emulator;
use magpie_server::{
    clock::{Blocking, Clock},
    config::Apps,
    push::{Answers, Deadlines, Duty, Endpoints, Pace, Parts},
    random::Random,
    store::{SharedStore, embedded, postgres},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::Notify};
use tokio_util::sync::CancellationToken;

use crate::sender;

/// How long a process may take to end, and its files to be free.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// Positions that differ by their shard must not be mixed up.
const SHARDS: usize = 2;

/// Where the store is.
pub(super) enum Files {
    Embedded(TempDir),
    Postgres { url: String },
}

impl Files {
    fn open(&self, runtime: &Runtime) -> SharedStore {
        let _entered = runtime.enter();
        match self {
            Self::Embedded(dir) => {
                let until = Instant::now() + END_TIMEOUT;
                loop {
                    match embedded::open(dir.path(), Blocking::Pool, [7; 32]) {
                        Ok(store) => return store,
                        Err(error) => assert!(Instant::now() < until, "{error}"),
                    }
                    std::thread::yield_now();
                }
            }
            Self::Postgres { url } => runtime
                .block_on(postgres::open(url, Some(SHARDS), [7; 32]))
                .unwrap(),
        }
    }
}

/// Runs until it has been polled so often, and is dropped then: whatever it awaits
/// at that moment never comes.
struct Mortal<F> {
    alive: Pin<Box<F>>,
    polls_left: u64,
}

impl<F: Future<Output = ()>> Future for Mortal<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.polls_left.checked_sub(1) else {
            return Poll::Ready(());
        };
        self.polls_left = left;
        self.alive.as_mut().poll(context)
    }
}

/// A running server.
pub(super) struct Node {
    runtime: Runtime,
    pub(super) store: SharedStore,
    pub(super) clock: Clock,
    /// Rings the duty.
    pub(super) news: Arc<Notify>,
    /// Says when its duty has died.
    pub(super) died: Receiver<()>,
}

impl Node {
    /// A server without a duty.
    pub(super) fn idle(files: &Files, ahead_ms: &'static AtomicU64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let store = files.open(&runtime);
        let (_, died) = mpsc::channel();
        Self {
            runtime,
            store,
            clock: Clock::ahead(ahead_ms),
            news: Arc::new(Notify::new()),
            died,
        }
    }

    /// A server whose duty dies when it has been polled so often.
    pub(super) fn start(
        files: &Files,
        ahead_ms: &'static AtomicU64,
        emulator: &Emulator,
        polls: u64,
    ) -> Self {
        let mut node = Self::idle(files, ahead_ms);
        let clock = node.clock;
        let duty = Duty::new(Parts {
            store: Arc::clone(&node.store),
            fcm: sender(emulator, Endpoints::default()).unwrap(),
            pace: Pace::new(3_000, clock, Random::system()),
            deadlines: Deadlines {
                foreground: Duration::from_secs(15),
                background: Duration::from_secs(8),
            },
            previews: Apps::default(),
            answers: Arc::new(Answers::new(clock)),
            clock,
            random: Random::system(),
            news: Arc::clone(&node.news),
        });
        let mortal = Mortal {
            alive: Box::pin(Arc::new(duty).run(CancellationToken::new())),
            polls_left: polls,
        };
        let (dies, died) = mpsc::channel();
        node.died = died;
        drop(node.runtime.spawn(async move {
            mortal.await;
            drop(dies);
        }));
        node
    }

    /// Something that happens on its own, and is cut off by a kill.
    pub(super) fn spawn(&self, what: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(what));
    }

    /// Something that is waited for.
    pub(super) fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// Ends it as `kill -9` does: every task where it waits just now. What the
    /// database was told before may still be done.
    pub(super) fn kill(self) {
        self.runtime.shutdown_timeout(END_TIMEOUT);
    }
}
