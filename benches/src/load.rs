//! Pairs of a sender and a receiver, in a closed or an open loop.
//!
//! In the closed loop a sender keeps so many messages in flight and latency
//! counts from the moment a message is queued. In the open loop messages are
//! due at a fixed rate whatever the server does, and latency counts from the
//! moment a message was due, so that a server that stalls cannot hide it
//! (coordinated omission).

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use magpie_protocol::wire::v1::{self, client_frame::Body, send_message::To};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use uuid::Uuid;

use crate::{
    args, clock,
    connection::{Connection, accepted},
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    measure::{Sample, Tally},
    process,
    report::Report,
};

mod receiver;
mod schedule;
mod sender;
pub(crate) mod text;

use self::{
    receiver::Receiver,
    schedule::Schedule,
    sender::{Pace, Sender},
};

/// How long what is under way may take to arrive after the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a checkpoint may take, and a connection to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the tasks are to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Go on.
    Running,
    /// Send nothing more; wait for what is under way.
    Draining,
    /// Everything has arrived, or will not.
    Done,
}

/// A task's connection, to be closed, and its device, to be kept.
pub(crate) type Ended = anyhow::Result<(Device, Connection)>;

/// Runs the closed loop.
///
/// # Errors
///
/// The server refused, ended a connection or is not there.
pub(crate) async fn pairs(args: &args::Pairs) -> anyhow::Result<Report> {
    let title = format!(
        "{} pairs, {} in flight, texts of {} bytes",
        args.load.pairs, args.in_flight, args.load.size
    );
    let mut report = Report::new("pairs", title);
    report.setting("in_flight", args.in_flight);
    let in_flight = args.in_flight.max(1);
    run(
        &args.load,
        report,
        |_| Pace::InFlight(in_flight),
        |_| std::future::pending(),
    )
    .await
}

/// Runs the open loop.
///
/// # Errors
///
/// As for [`pairs`].
pub(crate) async fn open(args: &args::Open) -> anyhow::Result<Report> {
    let title = format!(
        "{} messages a second over {} pairs, texts of {} bytes",
        args.rate, args.load.pairs, args.load.size
    );
    let mut report = Report::new("open", title);
    report.setting("rate", args.rate);
    open_beside(&args.load, report, args.rate, |_| ()).await
}

/// The open loop, with something else beside it: `beside` is called when it begins,
/// and learns when it ends.
///
/// # Errors
///
/// As for [`pairs`].
pub(crate) async fn open_beside(
    load: &args::Load,
    report: Report,
    rate: u32,
    beside: impl FnOnce(watch::Receiver<Phase>),
) -> anyhow::Result<Report> {
    let schedules: Vec<_> = (0..load.pairs)
        .map(|_| Arc::new(Schedule::default()))
        .collect();
    let pace = |pair: usize| Pace::Scheduled(schedules.get(pair).cloned().unwrap_or_default());
    let (rate, paced) = (rate.max(1), schedules.clone());
    let pacing = move |phase: watch::Receiver<Phase>| {
        beside(phase.clone());
        async move {
            // A thread of its own: the runtime's timers tick in milliseconds.
            let pacing = tokio::task::spawn_blocking(move || schedule::keep(&paced, rate, &phase));
            pacing.await.context("the pacing thread ended")
        }
    };
    run(load, report, pace, pacing).await
}

/// Sets up the pairs, runs them, and reports; `pacing` runs beside them.
async fn run<P: Future<Output = anyhow::Result<()>> + Send + 'static>(
    args: &args::Load,
    mut report: Report,
    pace: impl Fn(usize) -> Pace,
    pacing: impl FnOnce(watch::Receiver<Phase>) -> P,
) -> anyhow::Result<Report> {
    let mut crowd = Crowd::load(&args.server, "pairs", Users::OneDeviceEach)?;
    let dialer = Dialer::new(&args.server)?;
    let connected = crowd.connect(&dialer, args.pairs * 2).await?;
    let pairs = acquaint(connected).await?;

    let tally = Arc::new(Tally::new()?);
    let (phase, phases) = watch::channel(Phase::Running);
    let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
    let run = random();
    for (index, pair) in pairs.into_iter().enumerate() {
        let receiver = Receiver::new(pair.receiver, run, tally.clone(), phases.clone());
        receivers.spawn(receiver.run());
        let text = text::Template::new(run, args.size);
        let sender = Sender::new(pair.sender, pair.conversation, text, pace(index));
        senders.spawn(sender.run(tally.clone(), phases.clone()));
    }
    let pacing = tokio::spawn(pacing(phases.clone()));

    undisturbed(args.warm_up, &mut senders, &mut receivers).await?;
    tally.measures.store(true, Ordering::Relaxed);
    let before = Sample::take(&tally, &args.server)?;
    undisturbed(args.seconds, &mut senders, &mut receivers).await?;
    let after = Sample::take(&tally, &args.server)?;
    tally.measures.store(false, Ordering::Relaxed);
    let resident = args.server.pid.map(process::resident_kib).transpose()?;

    phase.send_replace(Phase::Draining);
    let mut ended = join(&mut senders).await?;
    pacing.abort();
    let all_here = async {
        while tally.delivered.load(Ordering::Relaxed) < tally.accepted.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // What is not here by then is lost, and reported so.
    let arrived = timeout(DRAIN_TIMEOUT, all_here).await.is_ok();
    phase.send_replace(Phase::Done);
    ended.extend(join(&mut receivers).await?);
    if !arrived {
        eprintln!("not everything that was accepted arrived within {DRAIN_TIMEOUT:?}");
    }
    crowd.keep(close(ended).await)?;
    fill(&mut report, args, &tally, &before, &after, resident);
    Ok(report)
}

fn fill(
    report: &mut Report,
    args: &args::Load,
    tally: &Tally,
    before: &Sample,
    after: &Sample,
    resident: Option<u64>,
) {
    let span = after.since(before);
    report.setting("pairs", args.pairs);
    report.setting("size", args.size);
    report.setting("seconds", span.seconds);
    report.number(
        "accepted",
        "accepted_per_second",
        span.accepted_per_second,
        "/s",
    );
    report.number(
        "delivered",
        "delivered_per_second",
        span.delivered_per_second,
        "/s",
    );
    report.percentiles("send to accept", "accept_ms", tally.accept.summary());
    report.percentiles("send to deliver", "deliver_ms", tally.deliver.summary());
    let accepted = tally.accepted.load(Ordering::Relaxed);
    let delivered = tally.delivered.load(Ordering::Relaxed);
    let refused = tally.sent.load(Ordering::Relaxed).saturating_sub(accepted);
    report.count("refused", "refused", refused);
    report.count("lost", "lost", accepted.saturating_sub(delivered));
    report.count(
        "doubled or disordered",
        "disordered",
        tally.disordered.load(Ordering::Relaxed),
    );
    let cpu = span.server_cpu_micros;
    report.maybe("server's CPU", "server_cpu_us", cpu, "µs a message");
    let cpu = span.database_cpu_micros;
    report.maybe("database's CPU", "database_cpu_us", cpu, "µs a message");
    let resident = resident.map(|kib| kib as f64 / 1_024.0);
    report.maybe("server's memory", "server_resident_mib", resident, "MiB");
    report.number("own CPU", "own_cpu_us", span.own_cpu_micros, "µs a message");
}

/// A sender, whom it writes to, and where.
pub(crate) struct Pair {
    pub(crate) sender: (Device, Connection),
    pub(crate) receiver: (Device, Connection),
    pub(crate) conversation: Bytes,
}

/// Makes each pair's direct conversation with a first message.
///
/// # Errors
///
/// The server refused, or a connection ended.
pub(crate) async fn acquaint(connected: Vec<(Device, Connection)>) -> anyhow::Result<Vec<Pair>> {
    let mut connected = connected.into_iter();
    let mut greetings = JoinSet::new();
    while let (Some(mut sender), Some(receiver)) = (connected.next(), connected.next()) {
        greetings.spawn(async move {
            let greeting = Body::SendMessage(v1::SendMessage {
                message_id: Bytes::copy_from_slice(Uuid::now_v7().as_bytes()),
                to: Some(To::UserName(receiver.0.name.clone())),
                message: Some("hello".into()),
            });
            let (device, connection) = &mut sender;
            let answer = connection.ask(greeting, device).await?;
            let conversation = accepted(answer)?.conversation_id;
            anyhow::Ok(Pair {
                sender,
                receiver,
                conversation,
            })
        });
    }
    let mut pairs = Vec::new();
    while let Some(pair) = greetings.join_next().await {
        pairs.push(pair??);
    }
    Ok(pairs)
}

/// Lets `seconds` pass, in which no task may end.
async fn undisturbed(
    seconds: u64,
    senders: &mut JoinSet<Ended>,
    receivers: &mut JoinSet<Ended>,
) -> anyhow::Result<()> {
    let ended = tokio::select! {
        biased;
        Some(ended) = senders.join_next() => ended,
        Some(ended) = receivers.join_next() => ended,
        () = tokio::time::sleep(Duration::from_secs(seconds)) => return Ok(()),
    };
    ended??;
    bail!("a connection ended before its time")
}

async fn join(tasks: &mut JoinSet<Ended>) -> anyhow::Result<Vec<(Device, Connection)>> {
    let mut ended = Vec::with_capacity(tasks.len());
    let all = async {
        while let Some(task) = tasks.join_next().await {
            ended.push(task??);
        }
        anyhow::Ok(())
    };
    timeout(DRAIN_TIMEOUT, all).await.with_context(|| {
        format!("messages under way were not answered within {DRAIN_TIMEOUT:?}")
    })??;
    Ok(ended)
}

/// Ends the sessions; their devices are kept for the next run.
pub(crate) async fn close(ended: Vec<(Device, Connection)>) -> Vec<Device> {
    let mut closing = JoinSet::new();
    for (mut device, mut connection) in ended {
        closing.spawn(async move {
            // Without it the next run reads this one's log first.
            drop(timeout(CLOSE_TIMEOUT, connection.checkpoint(&mut device)).await);
            // A connection that does not close in time ends with the process.
            drop(timeout(CLOSE_TIMEOUT, connection.close()).await);
            device
        });
    }
    closing.join_all().await
}

/// The random end of an id.
pub(crate) fn random() -> u32 {
    (Uuid::now_v7().as_u128() & u128::from(u32::MAX)) as u32
}

/// Nanoseconds from `then` to now.
pub(crate) fn nanos_since(then: u64) -> u64 {
    clock::nanos().saturating_sub(then)
}
