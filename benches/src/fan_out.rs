//! One message to a large group whose members are all online.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use magpie_protocol::{
    limits::NAMES_MAX,
    session::Incoming,
    wire::v1::{self, client_frame::Body, event_content::Kind, send_message::To},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    args, clock,
    connection::{Connection, Rejected, accepted},
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    load::{Ended, Phase, close},
    measure::Latencies,
    process,
    report::Report,
};

/// How long one message may take to reach everybody.
const ROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// What the members' tasks count together.
struct Round {
    /// The text of the message that everybody waits for.
    awaited: watch::Sender<(u32, u64)>,
    arrived: AtomicU64,
    all: u64,
    complete: Notify,
    each: Latencies,
}

/// Sends messages one after the other, each when everybody has the last.
///
/// # Errors
///
/// The server refused, or is not there, or a member lacks a message.
pub(crate) async fn run(args: &args::FanOut) -> anyhow::Result<Report> {
    let members = args.members as usize;
    let mut crowd = Crowd::load(&args.server, "fan-out", Users::OneDeviceEach)?;
    let dialer = Dialer::new(&args.server)?;
    let mut connected = crowd.connect(&dialer, members).await?.into_iter();
    let mut sender = connected.next().context("no members")?;
    let others: Vec<_> = connected.collect();
    let names: Vec<String> = others.iter().map(|(it, _)| it.name.clone()).collect();
    let group = make_group(&mut sender, &names).await?;

    let round = Arc::new(Round {
        awaited: watch::channel((0, 0)).0,
        arrived: AtomicU64::new(0),
        all: others.len() as u64,
        complete: Notify::new(),
        each: Latencies::new()?,
    });
    let (phase, phases) = watch::channel(Phase::Running);
    let mut tasks = JoinSet::new();
    for member in others {
        tasks.spawn(receive(member, round.clone(), phases.clone()));
    }
    let (accept, all) = (Latencies::new()?, Latencies::new()?);
    let server_cpu = || args.server.pid.map(process::cpu_micros).transpose();
    let cpu_before = server_cpu()?;
    for index in 1..=args.messages {
        let sent = clock::nanos();
        round.arrived.store(0, Ordering::Relaxed);
        round.awaited.send_replace((index, sent));
        send(&mut sender, &group, index, args.size).await?;
        accept.record(&mut vec![clock::nanos() - sent]);
        timeout(ROUND_TIMEOUT, round.complete.notified())
            .await
            .with_context(|| format!("not everybody has message {index} in {ROUND_TIMEOUT:?}"))?;
        all.record(&mut vec![clock::nanos() - sent]);
    }
    let cpu = server_cpu()?.zip(cpu_before).map(|(now, then)| now - then);
    phase.send_replace(Phase::Done);
    let mut ended = vec![sender];
    while let Some(member) = tasks.join_next().await {
        ended.push(member??);
    }
    crowd.keep(close(ended).await)?;

    let title = format!("{} messages to a group of {members}", args.messages);
    let mut report = Report::new("fan_out", title);
    report.setting("members", members);
    report.setting("messages", args.messages);
    report.setting("size", args.size);
    report.percentiles("send to accept", "accept_ms", accept.summary());
    report.percentiles("send to each member", "deliver_ms", round.each.summary());
    report.percentiles("send to the last member", "all_ms", all.summary());
    let copies = f64::from(args.messages.max(1)) * round.all.max(1) as f64;
    let cpu = cpu.map(|micros| micros as f64 / copies);
    report.maybe("server's CPU", "server_cpu_us", cpu, "µs a member");
    Ok(report)
}

/// Makes a group of the sender and those of these names.
///
/// # Errors
///
/// The server refused, or is not there.
pub(crate) async fn make_group(
    (device, connection): &mut (Device, Connection),
    names: &[String],
) -> anyhow::Result<Bytes> {
    let mut chunks = names.chunks(NAMES_MAX);
    let group = new_id();
    let create = Body::CreateGroup(v1::CreateGroup {
        message_id: group.clone(),
        title: "magpie-bench".to_owned(),
        user_names: chunks.next().unwrap_or_default().to_vec(),
    });
    accepted(connection.ask(create, device).await?)?;
    for names in chunks {
        let add = Body::AddMembers(v1::AddMembers {
            message_id: new_id(),
            conversation_id: group.clone(),
            user_names: names.to_vec(),
        });
        accepted(connection.ask(add, device).await?)?;
    }
    Ok(group)
}

async fn send(
    (device, connection): &mut (Device, Connection),
    group: &Bytes,
    index: u32,
    size: u32,
) -> anyhow::Result<()> {
    let mut text = format!("{index:08x}");
    text.push_str(&".".repeat((size as usize).saturating_sub(text.len())));
    let message = Body::SendMessage(v1::SendMessage {
        message_id: new_id(),
        to: Some(To::ConversationId(group.clone())),
        message: Some(text.into()),
    });
    accepted(connection.ask(message, device).await?)?;
    Ok(())
}

fn new_id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}

/// A member that takes what comes and counts the awaited message.
async fn receive(
    (mut device, mut connection): (Device, Connection),
    round: Arc<Round>,
    mut phase: watch::Receiver<Phase>,
) -> Ended {
    let mut incoming = Vec::new();
    while *phase.borrow_and_update() != Phase::Done {
        connection.flush().await?;
        tokio::select! {
            biased;
            turned = connection.turn(&mut incoming) => turned?,
            changed = phase.changed() => changed?,
        }
        for it in incoming.drain(..) {
            match it {
                Incoming::Page { number, page } => {
                    connection.store(number, &page, &mut device);
                    page.events.iter().for_each(|event| round.take(event));
                }
                Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
                Incoming::Nothing => {}
                Incoming::Welcome(_)
                | Incoming::SignedIn(_)
                | Incoming::Refused(_)
                | Incoming::Answer { .. }
                | Incoming::Unsupported => bail!("a member got what it did not ask for"),
            }
        }
    }
    Ok((device, connection))
}

impl Round {
    fn take(&self, event: &v1::Event) {
        let content = event.content.as_ref().and_then(|it| it.kind.as_ref());
        let Some(Kind::Message(message)) = content else {
            return;
        };
        let index = message.text.get(..8);
        let (awaited, sent) = *self.awaited.borrow();
        if index.and_then(|it| u32::from_str_radix(it, 16).ok()) != Some(awaited) {
            return;
        }
        self.each
            .record(&mut vec![clock::nanos().saturating_sub(sent)]);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.all {
            self.complete.notify_one();
        }
    }
}
