//! One message to a large group, some or all of whose members are online, while
//! others talk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    args,
    beside::{Beside, Measured},
    clock,
    connection::{Connection, Rejected, accepted, new_id},
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    load::{Ended, Phase, close},
    measure::Latencies,
    precedence::Background,
    process,
    report::Report,
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

/// How long one message may take to reach everybody.
const ROUND_TIMEOUT: Duration = Duration::from_secs(120);

/// Members of the small group, besides the sender.
const FEW: usize = 9;

/// From one message to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// What the members' tasks count together.
struct Round {
    /// The text of the message that everybody waits for.
    awaited: watch::Sender<(u32, u64)>,
    arrived: AtomicU64,
    all: u64,
    complete: Notify,
    measures: AtomicBool,
    each: Latencies,
}

/// What the rounds measure, besides when each member has a message.
struct Figures {
    accept: Latencies,
    few: Latencies,
    all: Latencies,
    /// The first message to the new group, until all have it.
    first_ms: f64,
    server_cpu: Option<u64>,
}

/// Sends messages one after the other, each when everybody has the last; before that
/// as many to a group of ten, while others talk.
///
/// # Errors
///
/// The server refused, or is not there, or a member lacks a message.
pub(crate) async fn run(args: &args::FanOut) -> anyhow::Result<Report> {
    let members = args.members as usize;
    let online = (args.online.unwrap_or(args.members) as usize).min(members);
    magpie_server::limits::raise();
    let mut crowd = Crowd::load(&args.server, "fan-out", Users::OneDeviceEach)?;
    let dialer = Dialer::new(&args.server)?;
    crowd.grow_to(&dialer, members).await?;
    let sender = crowd.connect_those(&dialer, 0..1).await?.pop();
    let mut sender = sender.context("no members")?;
    let background = Background::begin()?;
    let (mut crowd, others) = {
        let dialer = dialer.clone();
        let connect = async move {
            let others = crowd.connect_those(&dialer, 1..online).await;
            (crowd, others)
        };
        background.run(connect).await?
    };
    let others = others?;
    let names: Vec<String> = crowd.names(members).skip(1).collect();
    let few = make_group(&mut sender, names.get(..FEW).unwrap_or(&names)).await?;
    let many = make_group(&mut sender, &names).await?;

    let round = Arc::new(Round {
        awaited: watch::channel((0, 0)).0,
        arrived: AtomicU64::new(0),
        all: others.len() as u64,
        complete: Notify::new(),
        measures: AtomicBool::new(false),
        each: Latencies::new()?,
    });
    let (phase, phases) = watch::channel(Phase::Running);
    let mut tasks = JoinSet::new();
    for member in others {
        let member = receive(member, round.clone(), phases.clone());
        tasks.spawn_on(member, background.handle()?);
    }
    let mut rounds = Rounds {
        args,
        sender,
        round: round.clone(),
    };
    let (figures, measured) = rounds.run(&dialer, &few, &many).await?;
    phase.send_replace(Phase::Done);
    let mut ended = vec![rounds.sender];
    while let Some(member) = tasks.join_next().await {
        ended.push(member??);
    }
    crowd.keep(close(ended).await)?;
    Ok(report(args, online, &figures, &round, &measured))
}

/// Who sends, and who waits.
struct Rounds<'a> {
    args: &'a args::FanOut,
    sender: (Device, Connection),
    round: Arc<Round>,
}

impl Rounds<'_> {
    async fn run(
        &mut self,
        dialer: &Dialer,
        few: &Bytes,
        many: &Bytes,
    ) -> anyhow::Result<(Figures, Arc<Measured>)> {
        let mut figures = Figures {
            accept: Latencies::new()?,
            few: Latencies::new()?,
            all: Latencies::new()?,
            first_ms: 0.0,
            server_cpu: None,
        };
        // The members are told of their group first, which takes what it takes.
        let sent = clock::nanos();
        self.tell(many, 1).await?;
        figures.first_ms = (clock::nanos() - sent) as f64 / 1e6;

        let beside =
            Beside::begin(&self.args.server, (self.args.pairs, self.args.rate), dialer).await?;
        let messages = self.args.messages;
        for _ in 0..messages {
            let sent = clock::nanos();
            send(&mut self.sender, few, 0, self.args.size).await?;
            figures.few.record(&mut vec![clock::nanos() - sent]);
            tokio::time::sleep(PAUSE).await;
        }
        self.round.measures.store(true, Ordering::Relaxed);
        let server_cpu = || self.args.server.pid.map(process::cpu_micros).transpose();
        let cpu_before = server_cpu()?;
        for index in 2..=messages.saturating_add(1) {
            beside.measured.is_busy.store(true, Ordering::Relaxed);
            let sent = clock::nanos();
            let accepted = self.tell(many, index).await?;
            figures.all.record(&mut vec![clock::nanos() - sent]);
            figures.accept.record(&mut vec![accepted]);
            beside.measured.is_busy.store(false, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
        figures.server_cpu = server_cpu()?.zip(cpu_before).map(|(now, then)| now - then);
        Ok((figures, beside.end().await?))
    }

    /// Sends one message, and waits until all have it. After how many nanoseconds it
    /// was accepted.
    async fn tell(&mut self, group: &Bytes, index: u32) -> anyhow::Result<u64> {
        let sent = clock::nanos();
        self.round.arrived.store(0, Ordering::Relaxed);
        self.round.awaited.send_replace((index, sent));
        send(&mut self.sender, group, index, self.args.size).await?;
        let accepted = clock::nanos() - sent;
        if self.round.all > 0 {
            timeout(ROUND_TIMEOUT, self.round.complete.notified())
                .await
                .with_context(|| {
                    format!("not everybody has message {index} in {ROUND_TIMEOUT:?}")
                })?;
        }
        Ok(accepted)
    }
}

fn report(
    args: &args::FanOut,
    online: usize,
    figures: &Figures,
    round: &Round,
    measured: &Measured,
) -> Report {
    let (messages, members) = (args.messages, args.members);
    let title = format!("{messages} messages to a group of {members}, of whom {online} are online");
    let mut report = Report::new("fan_out", title);
    report.setting("members", members);
    report.setting("online", online);
    report.setting("messages", messages);
    report.setting("size", args.size);
    report.setting("pairs", args.pairs);
    report.setting("rate", args.rate);
    let (few, accept) = (figures.few.summary(), figures.accept.summary());
    report.percentiles("send to accept, a group of 10", "few_ms", few);
    report.percentiles("send to accept", "accept_ms", accept);
    let of = |it: f64, other: f64| it / other.max(0.001);
    report.number(
        "… to a group of 10",
        "accept_ratio",
        of(accept.p50, few.p50),
        "x",
    );
    report.percentiles("send to each member", "deliver_ms", round.each.summary());
    report.percentiles("send to the last member", "all_ms", figures.all.summary());
    report.number(
        "… the first, of a new group",
        "first_ms",
        figures.first_ms,
        "ms",
    );
    let (idle, meanwhile) = (measured.idle.summary(), measured.meanwhile.summary());
    report.percentiles("others, idle", "idle_ms", idle);
    report.percentiles("others, meanwhile", "meanwhile_ms", meanwhile);
    report.number(
        "… to idle",
        "meanwhile_ratio",
        of(meanwhile.p50, idle.p50),
        "x",
    );
    let copies = f64::from(messages.max(1)) * round.all.max(1) as f64;
    let cpu = figures.server_cpu.map(|micros| micros as f64 / copies);
    report.maybe("server's CPU", "server_cpu_us", cpu, "µs a member online");
    report
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
                Incoming::Hint(_) | Incoming::Nothing => {}
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
        if self.measures.load(Ordering::Relaxed) {
            self.each
                .record(&mut vec![clock::nanos().saturating_sub(sent)]);
        }
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.all {
            self.complete.notify_one();
        }
    }
}
