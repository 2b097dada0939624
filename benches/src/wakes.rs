//! Pushes to devices that sleep: how soon after the commit they are on the wire,
//! how many a second, and what they cost those who send.

mod sleepers;

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use magpie_fcm_emulator::Delivered;
use magpie_protocol::{
    seq::FrameNumber,
    session::Incoming,
    wire::v1::{self, client_frame::Body, send_message::To},
};
use uuid::Uuid;

use self::sleepers::Sleepers;
use crate::{
    args, clock,
    connection::{Connection, Rejected, accepted, name},
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    fan_out::make_group,
    measure::Latencies,
    process,
    report::Report,
};

/// Members of the small group, besides the sender.
const FEW: usize = 10;

/// Messages a second into groups.
const GROUP_RATE: u32 = 20;

/// In turns, so that what else the machine does meanwhile meets both groups alike:
/// their medians are compared, and lie closer together than two runs do.
const TURNS: usize = 10;

/// Messages that go, in each turn, while a group's wakes are being sent: so long do
/// those of 1,000 devices take.
const FRESH_COUNT: usize = 6;

/// A message that was accepted.
struct Sent {
    /// The server's time of day.
    committed_at_ms: i64,
    /// From its moment in the schedule to the answer.
    took_nanos: u64,
}

/// What the parts add up to.
struct Figures {
    wire: Latencies,
    few: Latencies,
    fresh: Latencies,
    outstanding: Latencies,
    /// Wakes of the bursts, and how long they took from the first to the last.
    burst_wakes: u64,
    burst_ms: u64,
    /// Devices that got another number of pushes than one for a message.
    wrong: u64,
}

/// Lets devices sleep, sends to them, and asks the emulator when what came.
///
/// # Errors
///
/// The server or the emulator refused, or is not there.
pub(crate) async fn run(args: &args::Wakes) -> anyhow::Result<Report> {
    let devices = args.devices as usize;
    ensure!(devices > FEW, "--devices is more than {FEW}");
    let mut crowd = Crowd::load(&args.server, "wakes", Users::OneDeviceEach)?;
    let dialer = Dialer::new(&args.server)?;
    let mut connected = crowd.connect(&dialer, devices + 1).await?;
    let mut sender = connected.pop().context("no sender")?;
    let mut sleepers = Sleepers::new(dialer, &args.emulator, connected).await?;

    let mut figures = Figures {
        wire: Latencies::new()?,
        few: Latencies::new()?,
        fresh: Latencies::new()?,
        outstanding: Latencies::new()?,
        burst_wakes: 0,
        burst_ms: 0,
        wrong: 0,
    };
    let server_cpu = || args.server.pid.map(process::cpu_micros).transpose();
    let cpu_before = server_cpu()?;
    let mut wakes = 0;
    for _ in 0..args.rounds {
        to_each(&mut figures, &mut sender, &mut sleepers, args.rate).await?;
        burst(&mut figures, &mut sender, &mut sleepers).await?;
        wakes += 2 * devices as u64;
    }
    let cpu = server_cpu()?.zip(cpu_before).map(|(now, then)| now - then);
    for _ in 0..args.rounds {
        to_groups(
            &mut figures,
            &mut sender,
            &mut sleepers,
            args.sends as usize,
        )
        .await?;
    }
    let mut kept = sleepers.into_devices();
    sender.1.close().await;
    kept.push(sender.0);
    crowd.keep(kept)?;
    Ok(report(args, &figures, wakes, cpu))
}

fn report(args: &args::Wakes, figures: &Figures, wakes: u64, cpu: Option<u64>) -> Report {
    let title = format!("{} devices that sleep", args.devices);
    let mut report = Report::new("wakes", title);
    report.setting("devices", args.devices);
    report.setting("rate", args.rate);
    report.setting("sends", args.sends);
    report.setting("rounds", args.rounds);
    let wire = figures.wire.summary();
    let label = format!("commit to push, {} a second", args.rate);
    report.percentiles(&label, "wire_ms", wire);
    let rate = figures.burst_wakes as f64 * 1_000.0 / figures.burst_ms.max(1) as f64;
    report.number("pushes, all at once", "wakes_per_second", rate, "/s");
    let (few, fresh) = (figures.few.summary(), figures.fresh.summary());
    let outstanding = figures.outstanding.summary();
    report.percentiles("send to accept, 10 sleep", "few_ms", few);
    report.percentiles("… all sleep, being woken", "fresh_ms", fresh);
    report.percentiles("… all sleep, woken", "outstanding_ms", outstanding);
    let of_few = |it: f64| it / few.p50.max(0.001);
    let (fresh, outstanding) = (of_few(fresh.p50), of_few(outstanding.p50));
    report.number("being woken, to 10", "fresh_ratio", fresh, "x");
    report.number("woken, to 10", "outstanding_ratio", outstanding, "x");
    report.count("devices pushed wrongly", "wrong", figures.wrong);
    let each = cpu.map(|micros| micros as f64 / wakes.max(1) as f64);
    report.maybe("server's CPU", "server_cpu_us", each, "µs a wake");
    report
}

/// A message to each at a steady rate: how long from its commit to its push.
async fn to_each(
    figures: &mut Figures,
    sender: &mut (Device, Connection),
    sleepers: &mut Sleepers,
    rate: u32,
) -> anyhow::Result<()> {
    let sent = send(sender, sleepers.each(), Some(rate)).await?;
    for (sent, pushes) in sent.iter().zip(sleepers.pushes().await?) {
        figures.wrong += u64::from(pushes.len() != 1);
        if let Some(push) = pushes.first() {
            let came = i64::try_from(push.came_at_ms)?;
            let took_ms = u64::try_from(came - sent.committed_at_ms).unwrap_or(0);
            figures.wire.record(&mut vec![took_ms * 1_000_000]);
        }
    }
    sleepers.answer(usize::MAX).await
}

/// A message to each as fast as they are accepted: how many pushes a second.
async fn burst(
    figures: &mut Figures,
    sender: &mut (Device, Connection),
    sleepers: &mut Sleepers,
) -> anyhow::Result<()> {
    send(sender, sleepers.each(), None).await?;
    let pushes = sleepers.pushes().await?;
    figures.wrong += pushes.iter().filter(|it| it.len() != 1).count() as u64;
    let came = || pushes.iter().flatten().map(|it: &Delivered| it.came_at_ms);
    let (first, last) = (came().min(), came().max());
    let took_ms = last.unwrap_or(0) - first.unwrap_or(0);
    figures.burst_ms += took_ms;
    figures.burst_wakes += came().count() as u64;
    sleepers.answer(usize::MAX).await
}

/// Messages into a group of few, and into one of all while its wakes are being sent
/// and while all have one.
async fn to_groups(
    figures: &mut Figures,
    sender: &mut (Device, Connection),
    sleepers: &mut Sleepers,
    sends: usize,
) -> anyhow::Result<()> {
    let names = sleepers.names();
    let few = make_group(sender, names.get(..FEW).unwrap_or_default()).await?;
    let all = make_group(sender, &names).await?;
    let to = |group: &Bytes, count| vec![To::ConversationId(group.clone()); count];
    // What is found out once for each conversation.
    send(
        sender,
        vec![
            To::ConversationId(few.clone()),
            To::ConversationId(all.clone()),
        ],
        None,
    )
    .await?;
    sleepers.pushes().await?;
    sleepers.answer(usize::MAX).await?;
    let sends = sends.div_ceil(TURNS);
    for _ in 0..TURNS {
        record(&figures.few, sender, to(&few, sends)).await?;
        sleepers.answer(FEW).await?;
        record(&figures.fresh, sender, to(&all, FRESH_COUNT)).await?;
        sleepers.pushes().await?;
        record(&figures.outstanding, sender, to(&all, sends)).await?;
        sleepers.answer(usize::MAX).await?;
    }
    Ok(())
}

async fn record(
    latencies: &Latencies,
    sender: &mut (Device, Connection),
    to: Vec<To>,
) -> anyhow::Result<()> {
    let sent = send(sender, to, Some(GROUP_RATE)).await?;
    latencies.record(&mut sent.iter().map(|it| it.took_nanos).collect());
    Ok(())
}

/// Sends a message to each, so many a second or as fast as the window lets; waits
/// until all are accepted.
async fn send(
    (device, connection): &mut (Device, Connection),
    to: Vec<To>,
    rate: Option<u32>,
) -> anyhow::Result<Vec<Sent>> {
    let began = clock::nanos();
    let due_at = |index: usize| match rate {
        Some(rate) => began + index as u64 * 1_000_000_000 / u64::from(rate),
        None => began,
    };
    let mut asked: HashMap<FrameNumber, usize> = HashMap::new();
    let mut sent: Vec<Option<Sent>> = to.iter().map(|_| None).collect();
    let (mut next, mut answered, all) = (0, 0, to.len());
    let mut to = to.into_iter().peekable();
    let mut incoming = Vec::new();
    while answered < all {
        while to.peek().is_some() && clock::nanos() >= due_at(next) && connection.can_send() {
            if let Some(to) = to.next() {
                asked.insert(connection.request(message(to)), next);
                next += 1;
            }
        }
        connection.flush().await?;
        // Looks at the clock again in time.
        let wait = Duration::from_nanos(due_at(next).saturating_sub(clock::nanos()));
        let waits = to.peek().is_some() && connection.can_send();
        if waits {
            let turned = tokio::time::timeout(wait, connection.turn(&mut incoming)).await;
            turned.unwrap_or(Ok(()))?;
        } else {
            connection.turn(&mut incoming).await?;
        }
        for it in incoming.drain(..) {
            match it {
                Incoming::Page { number, page } => connection.store(number, &page, device),
                Incoming::Answer {
                    number,
                    in_reply_to,
                    answer,
                } => {
                    connection.handled(number);
                    let index = asked.remove(&in_reply_to).context("an answer too many")?;
                    let place = sent.get_mut(index).context("an answer too many")?;
                    *place = Some(Sent {
                        committed_at_ms: accepted(answer)?.committed_at_ms,
                        took_nanos: clock::nanos().saturating_sub(due_at(index)),
                    });
                    answered += 1;
                }
                Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
                Incoming::Hint(_) | Incoming::Nothing => {}
                Incoming::Welcome(_)
                | Incoming::SignedIn(_)
                | Incoming::Refused(_)
                | Incoming::Unsupported => anyhow::bail!("a {} instead of an answer", name(&it)),
            }
        }
    }
    Ok(sent.into_iter().flatten().collect())
}

fn message(to: To) -> Body {
    Body::SendMessage(v1::SendMessage {
        message_id: Bytes::copy_from_slice(Uuid::now_v7().as_bytes()),
        to: Some(to),
        message: Some(
            "a hundred bytes, more or less, of what people write to each other all day".into(),
        ),
    })
}
