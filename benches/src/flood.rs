//! Messages at a low, fixed rate while others open TLS connections as fast as they
//! can. A third of these finish their handshake and leave, a third leave with the
//! server's answer, and a third never finish and stay until the server closes them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::LocalSet,
    time::timeout,
};

use crate::{
    args,
    dialer::Dialer,
    load::{self, Phase},
    measure::Latencies,
    report::Report,
};

/// How long the server may take to answer one of the flood.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that never finishes is closed by the server long before.
const HELD_TIMEOUT: Duration = Duration::from_secs(60);

/// Seconds of the flood before it is measured.
const WARM_UP: u64 = 2;

/// What all threads of the flood count and share.
struct Flood {
    dialer: Dialer,
    /// The first bytes of a handshake, always the same: they cost nobody but the
    /// server.
    client_hello: Vec<u8>,
    /// Bounds the connections that never finish.
    held: Arc<Semaphore>,
    begun: AtomicU64,
    finished: AtomicU64,
    answered: AtomicU64,
    /// Not answered: refused, closed at once, or too slow.
    unanswered: AtomicU64,
    answer: Latencies,
}

/// Floods the server, and measures the messages of others meanwhile.
///
/// # Errors
///
/// As for [`load::open`]: above all, a connection of the others ended.
pub(crate) async fn run(args: &args::Flood) -> anyhow::Result<Report> {
    magpie_server::limits::raise();
    let dialer = Dialer::new(&args.server)?;
    let flood = Arc::new(Flood {
        client_hello: dialer.client_hello()?,
        dialer,
        held: Arc::new(Semaphore::new(args.held)),
        begun: AtomicU64::new(0),
        finished: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        unanswered: AtomicU64::new(0),
        answer: Latencies::new()?,
    });
    let title = format!(
        "{} messages a second over {} pairs in a flood of handshakes",
        args.rate, args.pairs
    );
    let mut report = Report::new("flood", title);
    report.setting("rate", args.rate);
    let load = args::Load {
        server: args.server.clone(),
        pairs: args.pairs,
        size: 100,
        seconds: args.seconds,
        warm_up: WARM_UP,
    };
    let (threads, lanes) = (args.threads, args.lanes);
    let shared = Arc::clone(&flood);
    let beside = move |phase: watch::Receiver<Phase>| {
        for thread in 0..threads {
            let (flood, phase) = (Arc::clone(&shared), phase.clone());
            // Threads of their own, so that measuring does not wait behind the flood.
            std::thread::spawn(move || flood.run(thread, lanes, &phase));
        }
    };
    let mut report = load::open_beside(&load, report, args.rate, beside).await?;
    flood.fill(&mut report, args.seconds + WARM_UP);
    Ok(report)
}

impl Flood {
    /// One thread of the flood, until the phase ends.
    fn run(self: Arc<Self>, thread: usize, lanes: usize, phase: &watch::Receiver<Phase>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime");
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return eprintln!("{error:#}"),
        };
        let tasks = LocalSet::new();
        for lane in 0..lanes {
            let (flood, phase) = (Arc::clone(&self), phase.clone());
            // Lanes take the kinds in turns, each beginning with another one.
            tasks.spawn_local(flood.lane(thread * lanes + lane, phase));
        }
        runtime.block_on(tasks);
        runtime.shutdown_background();
    }

    async fn lane(self: Arc<Self>, first: usize, phase: watch::Receiver<Phase>) {
        let mut number = first;
        while *phase.borrow() == Phase::Running {
            self.begun.fetch_add(1, Ordering::Relaxed);
            let began = std::time::Instant::now();
            let is_answered = match number % 3 {
                0 => timeout(ANSWER_TIMEOUT, self.finish(number)).await,
                1 => timeout(ANSWER_TIMEOUT, self.abandon(number)).await,
                _ => timeout(ANSWER_TIMEOUT, self.hold(number)).await,
            };
            if matches!(is_answered, Ok(Ok(()))) {
                self.answered.fetch_add(1, Ordering::Relaxed);
                self.answer.record_since(began);
            } else {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                // A refusal costs no time: others may have their turn.
                tokio::task::yield_now().await;
            }
            number = number.wrapping_add(1);
        }
    }

    /// Finishes the handshake, and leaves.
    async fn finish(&self, number: usize) -> anyhow::Result<()> {
        let stream = self.dialer.knock(number).await?;
        drop(self.dialer.encrypt(stream).await?);
        self.finished.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves with the server's answer.
    async fn abandon(&self, number: usize) -> anyhow::Result<()> {
        self.begin(number).await.map(drop)
    }

    /// Never goes on, unless there are too many of this kind: then it leaves.
    async fn hold(&self, number: usize) -> anyhow::Result<()> {
        let stream = self.begin(number).await?;
        if let Ok(place) = Arc::clone(&self.held).try_acquire_owned() {
            tokio::task::spawn_local(outstay(stream, place));
        }
        Ok(())
    }

    /// Begins a handshake, and waits for the server's part of it.
    async fn begin(&self, number: usize) -> anyhow::Result<TcpStream> {
        let mut stream = self.dialer.knock(number).await?;
        stream.write_all(&self.client_hello).await?;
        stream.read_u8().await?;
        Ok(stream)
    }

    fn fill(&self, report: &mut Report, seconds: u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rate = |counter| count(counter) as f64 / seconds.max(1) as f64;
        report.number("flood", "flood_per_second", rate(&self.begun), "/s");
        let answered = rate(&self.answered);
        report.number("… answered", "answered_per_second", answered, "/s");
        let finished = rate(&self.finished);
        report.number("… finished", "finished_per_second", finished, "/s");
        let unanswered = count(&self.unanswered);
        report.count("… not answered", "flood_unanswered", unanswered);
        let answer = self.answer.summary();
        report.percentiles("… answered after", "flood_answer_ms", answer);
    }
}

/// Stays until the server closes the connection.
async fn outstay(mut stream: TcpStream, place: OwnedSemaphorePermit) {
    let end = async {
        let mut buffer = [0; 256];
        while stream.read(&mut buffer).await.is_ok_and(|size| size > 0) {}
    };
    // Whichever it is, the place is free again.
    drop(timeout(HELD_TIMEOUT, end).await);
    drop(place);
}
