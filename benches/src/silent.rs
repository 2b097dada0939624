//! Connections that say nothing, as many as the server may hold: half of them not a
//! byte, half a TLS handshake and then nothing. What each costs, when the server
//! gives it up, how long somebody waits who signs in meanwhile, and whether the
//! server's memory comes back, round after round.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    args, credentials::Account, dialer::Dialer, measure::Latencies, process, progress::Progress,
    report::Report,
};

/// Files of the server that are no such connections (200, and 64 that it turns
/// away), and room for who signs in meanwhile.
const FILES_OTHER: usize = 400;

/// Connections that are being opened at the same time.
const DIALS_MAX: usize = 64;

/// A connection that is still there after this is never closed.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// After all are open, the server may still have to accept some.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked at what has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// From one sign-in to the next.
const SIGN_IN_PAUSE: Duration = Duration::from_millis(100);

/// What counts as memory that came back: this much above what there was before.
const BACK: f64 = 1.05;

/// What the tasks of all rounds count together.
struct Tally {
    /// Connections that were opened in this round, or could not be.
    tried: AtomicUsize,
    open: AtomicUsize,
    failed: AtomicUsize,
    immortal: AtomicUsize,
    mute_closed: Latencies,
    greeted_closed: Latencies,
    signed_in: Latencies,
    sign_ins_failed: AtomicUsize,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            tried: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            immortal: AtomicUsize::new(0),
            mute_closed: Latencies::new()?,
            greeted_closed: Latencies::new()?,
            signed_in: Latencies::new()?,
            sign_ins_failed: AtomicUsize::new(0),
        })
    }
}

/// What the server's memory said in one round, in KiB.
#[derive(Clone, Copy)]
struct Memory {
    with_all: u64,
    after: u64,
    back_after: Option<Duration>,
}

struct Round {
    open: usize,
    memory: Option<Memory>,
}

/// Opens the connections again and again.
///
/// # Errors
///
/// The server refused, or is not there.
pub(crate) async fn run(args: &args::Silent) -> anyhow::Result<Report> {
    magpie_server::limits::raise();
    let connections = connections(args)?;
    let progress = Progress::new();
    let dialer = Dialer::new(&args.server)?;
    let account = Arc::new(Account::make_up());
    progress.tell("warming up");
    warm_up(&dialer, &account).await?;
    let resident = || args.server.pid.map(process::resident_kib).transpose();
    let before = resident()?;

    let tally = Arc::new(Tally::new()?);
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let title = format!("round {number} of {}", args.rounds);
        let over = Arc::new(AtomicBool::new(false));
        let sign_ins = tokio::spawn(sign_in(
            dialer.clone(),
            Arc::clone(&account),
            Arc::clone(&tally),
            Arc::clone(&over),
        ));
        let round = siege(args, connections, &dialer, &tally, &progress, &title);
        let (open, with_all) = round.await?;
        over.store(true, Ordering::Relaxed);
        sign_ins.await?;
        progress.tell(format!("{title}: waiting for the server's memory"));
        let memory = match (args.server.pid, before, with_all) {
            (Some(pid), Some(before), Some(with_all)) => {
                let (after, back_after) = settle(pid, before, args.settle).await?;
                Some(Memory {
                    with_all,
                    after,
                    back_after,
                })
            }
            (_, _, _) => None,
        };
        rounds.push(Round { open, memory });
    }
    drop(progress);
    Ok(report(connections, before, &rounds, &tally))
}

/// How many are to be opened.
fn connections(args: &args::Silent) -> anyhow::Result<usize> {
    let own = process::files_max(None)?;
    let servers = args.server.pid.map(|pid| process::files_max(Some(pid)));
    let servers = servers.transpose()?.unwrap_or(own);
    let room = own.min(servers).saturating_sub(FILES_OTHER);
    let wanted = args.connections.unwrap_or(room);
    ensure!(
        (2..=room).contains(&wanted),
        "{wanted} connections do not fit: 2 to {room} do, with as many files as this process and \
         the server may open"
    );
    Ok(wanted)
}

/// Lets the server do once what it does in each round: afterwards it holds what
/// every server holds that has served anybody.
async fn warm_up(dialer: &Dialer, account: &Arc<Account>) -> anyhow::Result<()> {
    account
        .register(dialer, Uuid::now_v7().into_bytes())
        .await
        .context("no registration")?;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (dialer, account) = (dialer.clone(), Arc::clone(account));
        tasks.spawn(async move {
            let device = Uuid::now_v7().into_bytes();
            account.sign_in(&dialer, device).await.map(drop)
        });
    }
    for _ in 0..DIALS_MAX {
        let dialer = dialer.clone();
        tasks.spawn(async move { dialer.dial().await.map(drop) });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    sleep(ACCEPT_PAUSE).await;
    Ok(())
}

/// One round: opens all, and waits until the server has closed all. Returns how many
/// were open at once, and the server's memory then.
async fn siege(
    args: &args::Silent,
    connections: usize,
    dialer: &Dialer,
    tally: &Arc<Tally>,
    progress: &Progress,
    title: &str,
) -> anyhow::Result<(usize, Option<u64>)> {
    let dials = Arc::new(Semaphore::new(DIALS_MAX));
    tally.tried.store(0, Ordering::Relaxed);
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        // Handshakes first: they take longer, and their deadline is the later one.
        let greets = number < connections / 2;
        let (dialer, dials, tally) = (dialer.clone(), Arc::clone(&dials), Arc::clone(tally));
        tasks.spawn(async move {
            // Never closed.
            let turn = dials.acquire().await;
            let began = Instant::now();
            if greets {
                let dialled = match dialer.knock(number).await {
                    Ok(stream) => dialer.encrypt(stream).await,
                    Err(error) => Err(error),
                };
                drop(turn);
                outlive(dialled, began, &tally.greeted_closed, &tally).await;
            } else {
                let knocked = dialer.knock(number).await;
                drop(turn);
                outlive(knocked, began, &tally.mute_closed, &tally).await;
            }
        });
    }
    let tried = || tally.tried.load(Ordering::Relaxed);
    while tried() < connections {
        progress.tell(format!("{title}: {} of {connections} opened", tried()));
        sleep(LOOK_INTERVAL).await;
    }
    sleep(ACCEPT_PAUSE).await;
    let open = tally.open.load(Ordering::Relaxed);
    let with_all = args.server.pid.map(process::resident_kib).transpose()?;
    while !tasks.is_empty() {
        let open = tally.open.load(Ordering::Relaxed);
        progress.tell(format!("{title}: {open} still open"));
        let next = timeout(LOOK_INTERVAL, tasks.join_next()).await;
        if let Ok(Some(ended)) = next {
            ended?;
        }
        while let Some(ended) = tasks.try_join_next() {
            ended?;
        }
    }
    Ok((open, with_all))
}

/// Keeps a connection until the server closes it.
async fn outlive<S: AsyncRead + Unpin>(
    opened: anyhow::Result<S>,
    began: Instant,
    closed: &Latencies,
    tally: &Tally,
) {
    tally.tried.fetch_add(1, Ordering::Relaxed);
    let Ok(mut stream) = opened else {
        tally.failed.fetch_add(1, Ordering::Relaxed);
        return;
    };
    tally.open.fetch_add(1, Ordering::Relaxed);
    let end = async {
        let mut buffer = [0; 256];
        // The goodbye, and then the end.
        while stream.read(&mut buffer).await.is_ok_and(|size| size > 0) {}
    };
    if timeout(LIFE_MAX, end).await.is_ok() {
        closed.record_since(began);
    } else {
        tally.immortal.fetch_add(1, Ordering::Relaxed);
    }
    tally.open.fetch_sub(1, Ordering::Relaxed);
}

/// Signs in with a password, one time after the other, until it is over.
async fn sign_in(dialer: Dialer, account: Arc<Account>, tally: Arc<Tally>, over: Arc<AtomicBool>) {
    let device = Uuid::now_v7().into_bytes();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        match account.sign_in(&dialer, device).await {
            Ok(_) => tally.signed_in.record_since(began),
            Err(error) => {
                tally.sign_ins_failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("a sign-in failed: {error:#}");
            }
        }
        sleep(SIGN_IN_PAUSE).await;
    }
}

/// Watches the memory for so many seconds; returns what it is then, and after how long
/// it had come back, if it had.
async fn settle(pid: u32, before: u64, seconds: u64) -> anyhow::Result<(u64, Option<Duration>)> {
    let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
    let mut back_after = None;
    loop {
        let now = process::resident_kib(pid)?;
        let elapsed = began.elapsed();
        if now as f64 <= before as f64 * BACK {
            back_after = back_after.or(Some(elapsed));
        }
        if elapsed >= limit {
            return Ok((now, back_after));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn report(connections: usize, before: Option<u64>, rounds: &[Round], tally: &Tally) -> Report {
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
    let title = format!("{connections} silent connections, {} times", rounds.len());
    let mut report = Report::new("silent", title);
    report.setting("connections", connections);
    report.setting("rounds", rounds.len());
    let open = rounds.iter().map(|round| round.open).min();
    let open = open.unwrap_or_default() as u64;
    report.count("open at once, at least", "open", open);
    fill_memory(&mut report, before, rounds);
    let closed = tally.mute_closed.summary();
    report.percentiles("no byte: closed after", "mute_closed_ms", closed);
    let closed = tally.greeted_closed.summary();
    report.percentiles("TLS alone: closed after", "greeted_closed_ms", closed);
    report.count("never closed", "immortal", count(&tally.immortal));
    report.count("not opened", "failed", count(&tally.failed));
    let signed_in = tally.signed_in.summary();
    report.percentiles("sign-in meanwhile", "sign_in_ms", signed_in);
    let failed = count(&tally.sign_ins_failed);
    report.count("… that failed", "sign_ins_failed", failed);
    report
}

fn fill_memory(report: &mut Report, before: Option<u64>, rounds: &[Round]) {
    let memories = rounds
        .iter()
        .filter_map(|round| Some((round.open, round.memory?)));
    let memories: Vec<(usize, Memory)> = memories.collect();
    let (Some(before), Some((_, first)), Some((_, last))) =
        (before, memories.first(), memories.last())
    else {
        return;
    };
    let mib = |kib: u64| kib as f64 / 1_024.0;
    let percent = |kib: u64, of: u64| (kib as f64 / of.max(1) as f64 - 1.0) * 100.0;
    let each = memories.iter().map(|(open, memory)| {
        memory.with_all.saturating_sub(before) as f64 / (*open).max(1) as f64
    });
    let each = each.fold(0.0, f64::max);
    let above = memories.iter().map(|(_, it)| percent(it.after, before));
    let above = above.fold(f64::NEG_INFINITY, f64::max);
    report.number("memory before", "resident_before_mib", mib(before), "MiB");
    report.number("each, at most", "resident_kib_each", each, "KiB");
    let after = mib(last.after);
    report.number("memory afterwards", "resident_after_mib", after, "MiB");
    report.number("… above before, at most", "above_percent", above, "%");
    let drift = percent(last.after, first.after);
    report.number("… first round to last", "drift_percent", drift, "%");
    // Said only if it came back in every round.
    let back: Option<Vec<Duration>> = memories.iter().map(|(_, it)| it.back_after).collect();
    let longest = back.and_then(|back| back.into_iter().max());
    let longest = longest.map(|it| it.as_secs_f64());
    report.maybe("… within 5 % after, at most", "back_seconds", longest, "s");
}
