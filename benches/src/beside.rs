//! Pairs that talk at a steady rate beside something else: how long their messages take
//! while nothing else happens, and meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use magpie_protocol::{
    session::Incoming,
    wire::v1::{self, client_frame::Body, event_content::Kind, send_message::To},
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    args, clock,
    connection::{Connection, Rejected, accepted, name, new_id},
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    load::{Pair, Phase, acquaint, close},
    measure::Latencies,
};

/// What the pairs measure.
pub(crate) struct Measured {
    /// The other thing is under way.
    pub(crate) is_busy: AtomicBool,
    pub(crate) idle: Latencies,
    pub(crate) meanwhile: Latencies,
}

/// The pairs while they talk.
pub(crate) struct Beside {
    crowd: Crowd,
    phase: watch::Sender<Phase>,
    talks: JoinSet<anyhow::Result<Pair>>,
    pub(crate) measured: Arc<Measured>,
}

impl Beside {
    /// They begin: so many pairs, each with one message at a time, all together so many a
    /// second.
    ///
    /// # Errors
    ///
    /// The server refused, or is not there.
    pub(crate) async fn begin(
        server: &args::Server,
        (count, rate): (usize, u32),
        dialer: &Dialer,
    ) -> anyhow::Result<Self> {
        let mut crowd = Crowd::load(server, "beside", Users::OneDeviceEach)?;
        let pairs = acquaint(crowd.connect(dialer, count * 2).await?).await?;
        let measured = Arc::new(Measured {
            is_busy: AtomicBool::new(false),
            idle: Latencies::new()?,
            meanwhile: Latencies::new()?,
        });
        let interval = 1_000_000_000 * pairs.len() as u64 / u64::from(rate.max(1));
        let (phase, phases) = watch::channel(Phase::Running);
        let mut talks = JoinSet::new();
        for (index, pair) in (0..).zip(pairs) {
            // Not all at the same moment.
            let first = interval * index / count.max(1) as u64;
            let (measured, phases) = (Arc::clone(&measured), phases.clone());
            talks.spawn(talk(pair, (first, interval), measured, phases));
        }
        Ok(Self {
            crowd,
            phase,
            talks,
            measured,
        })
    }

    /// They end.
    ///
    /// # Errors
    ///
    /// One of them could not go on.
    pub(crate) async fn end(mut self) -> anyhow::Result<Arc<Measured>> {
        self.phase.send_replace(Phase::Done);
        let mut ended = Vec::new();
        while let Some(pair) = self.talks.join_next().await {
            let pair = pair??;
            ended.extend([pair.sender, pair.receiver]);
        }
        self.crowd.keep(close(ended).await)?;
        Ok(self.measured)
    }
}

/// One message after the other, each when it is due; the latency counts from then.
async fn talk(
    mut pair: Pair,
    (first, interval): (u64, u64),
    measured: Arc<Measured>,
    phase: watch::Receiver<Phase>,
) -> anyhow::Result<Pair> {
    let mut due = clock::nanos() + first;
    while *phase.borrow() != Phase::Done {
        let wait = Duration::from_nanos(due.saturating_sub(clock::nanos()));
        tokio::time::sleep(wait).await;
        let was_busy = measured.is_busy.load(Ordering::Relaxed);
        say(&mut pair).await?;
        let took = clock::nanos().saturating_sub(due);
        // One that has met it counts as such.
        let is_busy = was_busy || measured.is_busy.load(Ordering::Relaxed);
        let latencies = match is_busy {
            true => &measured.meanwhile,
            false => &measured.idle,
        };
        latencies.record(&mut vec![took]);
        due = (due + interval).max(clock::nanos());
    }
    Ok(pair)
}

/// Sends a message, and waits until the other one has it.
async fn say(pair: &mut Pair) -> anyhow::Result<()> {
    let text = format!("{:016x}", clock::nanos());
    let message = Body::SendMessage(v1::SendMessage {
        message_id: new_id(),
        to: Some(To::ConversationId(pair.conversation.clone())),
        message: Some(text.as_str().into()),
    });
    let (device, connection) = &mut pair.sender;
    let answer = async { accepted(connection.ask(message, device).await?).map(drop) };
    let arrival = arrival(&mut pair.receiver, &text);
    let (answer, arrival) = tokio::join!(answer, arrival);
    answer.and(arrival)
}

async fn arrival(
    (device, connection): &mut (Device, Connection),
    text: &str,
) -> anyhow::Result<()> {
    let is_it = |event: &v1::Event| {
        let content = event.content.as_ref().and_then(|it| it.kind.as_ref());
        matches!(content, Some(Kind::Message(message)) if message.text == text)
    };
    let mut incoming = Vec::new();
    loop {
        connection.flush().await?;
        connection.turn(&mut incoming).await?;
        let mut is_here = false;
        for it in incoming.drain(..) {
            match it {
                Incoming::Page { number, page } => {
                    connection.store(number, &page, device);
                    is_here |= page.events.iter().any(is_it);
                }
                Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
                Incoming::Hint(_) | Incoming::Nothing => {}
                Incoming::Welcome(_)
                | Incoming::SignedIn(_)
                | Incoming::Refused(_)
                | Incoming::Answer { .. }
                | Incoming::Unsupported => {
                    return Err(anyhow::anyhow!("a {} instead of a message", name(&it)));
                }
            }
        }
        if is_here {
            connection.flush().await.context("no acknowledgement")?;
            return Ok(());
        }
    }
}
