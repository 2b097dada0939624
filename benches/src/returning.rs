//! Devices that come back after the server was restarted: how long until all have
//! caught up, and how well those chat meanwhile who are back already.
//!
//! Each comes back as the SDK does: in the slot that the server's goodbye names, or
//! after a back-off with jitter, and with its TLS session if the server still knows it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::{
    process::Command,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    args, clock,
    connection::Connection,
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    load::{Ended, Pair, Phase, acquaint, close, random, text::Template},
    measure::Latencies,
    progress::Progress,
    report::Report,
};

mod returner;

use self::returner::{Returner, Talk};

/// How often it is looked at what has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How often it is tried whether the server listens.
const KNOCK_INTERVAL: Duration = Duration::from_millis(5);

/// Those who are back chat at least this long after the server listens.
const CHAT_MIN: Duration = Duration::from_secs(5);

/// How long messages under way may take to be answered.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What all devices count together.
struct Tally {
    /// Devices whose connection was broken or ended once.
    went: AtomicUsize,
    /// Of those, how many the server told when to come back.
    told: AtomicUsize,
    /// When the first one went, in nanoseconds of the clock; 0 before.
    went_at: AtomicU64,
    /// Devices that are connected and have caught up.
    here: AtomicUsize,
    /// When each that was away was here again.
    back_at: Mutex<Vec<u64>>,
    /// Connections that broke after their device had been back.
    broke_again: AtomicUsize,
    /// Tries at a connection.
    dials: AtomicUsize,
    /// When the server listened again; 0 before.
    listens_at: AtomicU64,
    chat_sent: AtomicU64,
    accept: Latencies,
    deliver: Latencies,
}

impl Tally {
    fn new(here: usize) -> anyhow::Result<Self> {
        Ok(Self {
            went: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            went_at: AtomicU64::new(0),
            here: AtomicUsize::new(here),
            back_at: Mutex::default(),
            broke_again: AtomicUsize::new(0),
            dials: AtomicUsize::new(0),
            listens_at: AtomicU64::new(0),
            chat_sent: AtomicU64::new(0),
            accept: Latencies::new()?,
            deliver: Latencies::new()?,
        })
    }

    fn is_back(&self, nanos: u64) {
        let mut back_at = self.back_at.lock().unwrap_or_else(PoisonError::into_inner);
        back_at.push(nanos);
        drop(back_at);
        self.here.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connects everybody, has the server restarted, and waits for all.
///
/// # Errors
///
/// The server is not there to begin with, or the command fails.
pub(crate) async fn run(args: &args::Return) -> anyhow::Result<Report> {
    magpie_server::limits::raise();
    ensure!(
        args.pairs * 2 <= args.connections,
        "{} pairs are more than {} devices",
        args.pairs,
        args.connections
    );
    let progress = Progress::new();
    progress.tell("connecting");
    let dialer = Dialer::new(&args.server)?;
    let mut chatting = Crowd::load(&args.server, "pairs", Users::OneDeviceEach)?;
    let mut quiet = Crowd::load(&args.server, "idle", Users::ManyDevices(args.devices))?;
    let pairs = acquaint(chatting.connect(&dialer, args.pairs * 2).await?).await?;
    let others = args.connections - pairs.len() * 2;
    let others = quiet.connect(&dialer, others).await?;

    let total = pairs.len() * 2 + others.len();
    let tally = Arc::new(Tally::new(total)?);
    let (phase, phases) = watch::channel(Phase::Running);
    let mut tasks = spawn(pairs, others, &dialer, &tally, &phases);
    let watcher = tokio::spawn(knock(dialer.clone(), Arc::clone(&tally)));
    let returned = timeout(
        Duration::from_secs(args.timeout),
        restart(args, total, &tally, &progress, &mut tasks),
    );
    let is_complete = match returned.await {
        Ok(returned) => {
            returned?;
            true
        }
        Err(_) => false,
    };
    watcher.abort();
    let missing = total.saturating_sub(tally.here.load(Ordering::Relaxed));
    if !is_complete {
        eprintln!("{missing} of {total} devices were not back in time");
    }
    phase.send_replace(Phase::Done);
    let mut ended = Vec::with_capacity(total);
    let all = async {
        while let Some(task) = tasks.join_next().await {
            ended.push(task??);
        }
        anyhow::Ok(())
    };
    if let Ok(joined) = timeout(DRAIN_TIMEOUT, all).await {
        joined?;
    } else {
        eprintln!("some devices were not done within {DRAIN_TIMEOUT:?}");
    }
    progress.tell("closing");
    let devices = close(ended).await;
    chatting.keep(devices.clone())?;
    quiet.keep(devices)?;
    drop(progress);
    Ok(report(args, total, missing, &tally))
}

/// A task for each device.
fn spawn(
    pairs: Vec<Pair>,
    others: Vec<(Device, Connection)>,
    dialer: &Dialer,
    tally: &Arc<Tally>,
    phases: &watch::Receiver<Phase>,
) -> JoinSet<Ended> {
    let mut tasks = JoinSet::new();
    let mut live = |(device, connection), talk| {
        // A device remembers its own TLS session.
        let dialer = dialer.remembering();
        let tally = Arc::clone(tally);
        let returner = Returner::new(device, dialer, talk, tally, phases.clone());
        tasks.spawn(returner.run(connection));
    };
    let run = random();
    for pair in pairs {
        let template = Template::new(run, 100);
        live(pair.sender, Talk::speak(pair.conversation, template));
        live(pair.receiver, Talk::Listen { run });
    }
    for other in others {
        live(other, Talk::Quiet);
    }
    tasks
}

/// Has the server restarted; returns when everybody has been away and is back.
async fn restart(
    args: &args::Return,
    total: usize,
    tally: &Tally,
    progress: &Progress,
    tasks: &mut JoinSet<Ended>,
) -> anyhow::Result<()> {
    let mut restarting = match &args.restart_command {
        Some(command) => {
            let child = Command::new("sh").arg("-c").arg(command).spawn();
            Some(child.context("the command cannot be run")?)
        }
        None => {
            progress.tell("restart the server now");
            eprintln!("{total} devices are connected: restart the server now");
            None
        }
    };
    let began = Instant::now();
    loop {
        if let Some(child) = &mut restarting
            && let Some(status) = child.try_wait()?
        {
            ensure!(status.success(), "the command to restart failed: {status}");
            restarting = None;
        }
        if let Some(ended) = tasks.try_join_next() {
            ended??;
        }
        let went = tally.went.load(Ordering::Relaxed);
        let here = tally.here.load(Ordering::Relaxed);
        let listens_at = tally.listens_at.load(Ordering::Relaxed);
        let chatted = clock::nanos().saturating_sub(listens_at);
        if went == total
            && here == total
            && restarting.is_none()
            && Duration::from_nanos(chatted) >= CHAT_MIN
        {
            return Ok(());
        }
        if went > 0 {
            progress.tell(format!(
                "{here} of {total} here, {:.1} s",
                began.elapsed().as_secs_f64()
            ));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Notes when the server listens again.
async fn knock(dialer: Dialer, tally: Arc<Tally>) {
    let mut was_refused = false;
    loop {
        sleep(KNOCK_INTERVAL).await;
        if tally.went.load(Ordering::Relaxed) == 0 {
            continue;
        }
        match dialer.knock(0).await {
            Ok(_) if was_refused => break,
            Ok(_) => {}
            Err(_) => was_refused = true,
        }
    }
    tally.listens_at.store(clock::nanos(), Ordering::Relaxed);
}

fn report(args: &args::Return, total: usize, missing: usize, tally: &Tally) -> Report {
    let title = format!("{total} devices come back after a restart");
    let mut report = Report::new("return", title);
    report.setting("connections", total);
    report.setting("pairs", args.pairs);
    let told = tally.told.load(Ordering::Relaxed);
    report.setting("announced", told * 2 > total);
    let back_at = tally.back_at.lock().unwrap_or_else(PoisonError::into_inner);
    let first = back_at.iter().copied().min().unwrap_or_default();
    // A socket that stayed open while the server was away refuses nobody.
    let listens_at = match tally.listens_at.load(Ordering::Relaxed) {
        0 => first,
        nanos => nanos.min(first),
    };
    let mut returned: Vec<u64> = back_at.iter().map(|at| at - listens_at).collect();
    drop(back_at);
    let last = returned.iter().copied().max().unwrap_or_default();
    if let Ok(back) = Latencies::new() {
        back.record(&mut returned);
        report.percentiles("listening to caught up", "back_ms", back.summary());
    }
    report.number("all back after", "all_back_seconds", last as f64 / 1e9, "s");
    let away = listens_at.saturating_sub(tally.went_at.load(Ordering::Relaxed));
    report.number("server away", "away_seconds", away as f64 / 1e9, "s");
    report.count("not back", "missing", missing as u64);
    let again = tally.broke_again.load(Ordering::Relaxed) as u64;
    report.count("away again", "broke_again", again);
    let dials = tally.dials.load(Ordering::Relaxed) as f64;
    report.number("tries", "dials_each", dials / total.max(1) as f64, "each");
    let sent = tally.chat_sent.load(Ordering::Relaxed);
    report.count("messages meanwhile", "messages_meanwhile", sent);
    report.percentiles("send to accept", "accept_ms", tally.accept.summary());
    report.percentiles("send to deliver", "deliver_ms", tally.deliver.summary());
    report
}
