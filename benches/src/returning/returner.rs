//! One device: connected, away, back again.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::bail;
use bytes::Bytes;
use magpie_protocol::{
    backoff::Backoff,
    seq::FrameNumber,
    session::Incoming,
    wire::v1::{self, client_frame::Body, event_content::Kind, send_message::To},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::Tally;
use crate::{
    clock,
    connection::{Connection, Rejected, accepted, name},
    credentials::Device,
    dialer::Dialer,
    load::{
        Ended, Phase, nanos_since, random,
        text::{self, Stamp, Template},
    },
};

/// As in the SDK: for the connection and the handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// From one message of a device to its next.
const CHAT_INTERVAL: Duration = Duration::from_secs(1);

/// What a device does once it is back.
pub(super) enum Talk {
    /// Sends a message a second.
    Speak(Box<Speech>),
    /// Receives what its partner sends.
    Listen { run: u32 },
    /// Nothing.
    Quiet,
}

pub(super) struct Speech {
    conversation: Bytes,
    template: Template,
    index: u32,
    /// When the next message is due, in nanoseconds of the clock.
    due_at: u64,
    /// Unanswered messages, and when they were due.
    in_flight: VecDeque<(FrameNumber, u64)>,
}

impl Talk {
    pub(super) fn speak(conversation: Bytes, template: Template) -> Self {
        Self::Speak(Box::new(Speech {
            conversation,
            template,
            index: 0,
            due_at: 0,
            in_flight: VecDeque::new(),
        }))
    }
}

pub(super) struct Returner {
    device: Device,
    dialer: Dialer,
    talk: Talk,
    tally: Arc<Tally>,
    phase: watch::Receiver<Phase>,
    backoff: Backoff,
    /// When it was back; `None` before it has been away.
    back_at: Option<u64>,
}

impl Returner {
    pub(super) fn new(
        device: Device,
        dialer: Dialer,
        talk: Talk,
        tally: Arc<Tally>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            device,
            dialer,
            talk,
            tally,
            phase,
            backoff: Backoff::default(),
            back_at: None,
        }
    }

    /// Stays connected, and comes back whenever it is not, until all is done.
    pub(super) async fn run(mut self, mut connection: Connection) -> Ended {
        loop {
            let Err(error) = self.stay(&mut connection).await else {
                return Ok((self.device, connection));
            };
            let mut after = self.left(&error);
            drop(connection);
            connection = loop {
                sleep(self.backoff.next_delay(random()).max(after)).await;
                self.tally.dials.fetch_add(1, Ordering::Relaxed);
                match self.connect().await {
                    Ok(connection) => break connection,
                    Err(error) => after = wait(&error),
                }
                if *self.phase.borrow() == Phase::Done {
                    bail!("not back before the end");
                }
            };
            self.backoff.reset();
            self.returned();
        }
    }

    /// Its connection is over; returns how long the server wants it to stay away.
    fn left(&mut self, error: &anyhow::Error) -> Duration {
        let tally = &self.tally;
        tally.here.fetch_sub(1, Ordering::Relaxed);
        let now = clock::nanos();
        if self.back_at.is_some() {
            tally.broke_again.fetch_add(1, Ordering::Relaxed);
        } else {
            // Of all that go, the first one sets it.
            let _first =
                tally
                    .went_at
                    .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            tally.went.fetch_add(1, Ordering::Relaxed);
            if error.is::<Rejected>() {
                tally.told.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Talk::Speak(speech) = &mut self.talk {
            speech.in_flight.clear();
        }
        wait(error)
    }

    async fn connect(&mut self) -> anyhow::Result<Connection> {
        let cursor = self.device.cursor();
        let opened = timeout(CONNECT_TIMEOUT, Connection::open(&self.dialer, cursor)).await??;
        opened.catch_up(&mut self.device).await
    }

    fn returned(&mut self) {
        let now = clock::nanos();
        self.back_at = Some(now);
        self.tally.is_back(now);
        if let Talk::Speak(speech) = &mut self.talk {
            // Not all at the same moment of each second.
            let share = f64::from(random()) / f64::from(u32::MAX);
            let share = CHAT_INTERVAL.mul_f64(share);
            speech.due_at = now + u64::try_from(share.as_nanos()).unwrap_or_default();
        }
    }

    /// Takes what comes, and talks once it has been away, until all is done.
    async fn stay(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let mut incoming = Vec::new();
        loop {
            let phase = *self.phase.borrow_and_update();
            if self.is_done(phase) {
                return Ok(());
            }
            let due_at = self.speak(connection, phase);
            connection.flush().await?;
            let due = async {
                match due_at {
                    Some(nanos) => {
                        sleep(Duration::from_nanos(nanos - clock::nanos().min(nanos))).await
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                turned = connection.turn(&mut incoming) => turned?,
                () = due => {}
                changed = self.phase.changed() => changed?,
            }
            for it in incoming.drain(..) {
                self.take(it, connection)?;
            }
        }
    }

    fn is_done(&self, phase: Phase) -> bool {
        let is_answered = match &self.talk {
            Talk::Speak(speech) => speech.in_flight.is_empty(),
            Talk::Listen { .. } | Talk::Quiet => true,
        };
        phase == Phase::Done && is_answered
    }

    /// Sends what is due; returns when the next message is.
    fn speak(&mut self, connection: &mut Connection, phase: Phase) -> Option<u64> {
        let Talk::Speak(speech) = &mut self.talk else {
            return None;
        };
        if self.back_at.is_none() || phase != Phase::Running {
            return None;
        }
        while speech.due_at <= clock::nanos() && connection.can_send() {
            let stamp = Stamp {
                index: speech.index,
                nanos: speech.due_at,
            };
            let message = v1::SendMessage {
                message_id: Bytes::copy_from_slice(Uuid::now_v7().as_bytes()),
                to: Some(To::ConversationId(speech.conversation.clone())),
                message: Some(speech.template.fill(stamp).into()),
            };
            let number = connection.request(Body::SendMessage(message));
            speech.in_flight.push_back((number, speech.due_at));
            speech.index += 1;
            speech.due_at += CHAT_INTERVAL.as_secs() * 1_000_000_000;
            self.tally.chat_sent.fetch_add(1, Ordering::Relaxed);
        }
        Some(speech.due_at)
    }

    fn take(&mut self, it: Incoming, connection: &mut Connection) -> anyhow::Result<()> {
        match it {
            Incoming::Page { number, page } => {
                connection.store(number, &page, &mut self.device);
                self.listen(&page.events);
            }
            Incoming::Answer {
                number,
                in_reply_to,
                answer,
            } => {
                connection.handled(number);
                accepted(answer)?;
                self.heard(in_reply_to);
            }
            Incoming::Hint(_) | Incoming::Nothing => {}
            Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
            Incoming::Welcome(_)
            | Incoming::SignedIn(_)
            | Incoming::Refused(_)
            | Incoming::Unsupported => bail!("an unexpected {}", name(&it)),
        }
        Ok(())
    }

    /// A message was accepted.
    fn heard(&mut self, in_reply_to: FrameNumber) {
        let Talk::Speak(speech) = &mut self.talk else {
            return;
        };
        let index = speech
            .in_flight
            .iter()
            .position(|(number, _)| *number == in_reply_to);
        if let Some((_, nanos)) = index.and_then(|index| speech.in_flight.remove(index)) {
            self.tally.accept.record(&mut vec![nanos_since(nanos)]);
        }
    }

    /// Messages of the partner; those count that were due while this device was here.
    fn listen(&self, events: &[v1::Event]) {
        let (Talk::Listen { run }, Some(back_at)) = (&self.talk, self.back_at) else {
            return;
        };
        for event in events {
            let Some(Kind::Message(message)) =
                event.content.as_ref().and_then(|it| it.kind.as_ref())
            else {
                continue;
            };
            let stamp = text::read(*run, &message.text);
            if let Some(stamp) = stamp.filter(|stamp| stamp.nanos >= back_at) {
                self.tally
                    .deliver
                    .record(&mut vec![nanos_since(stamp.nanos)]);
            }
        }
    }
}

/// How long the server wants the device to stay away.
fn wait(error: &anyhow::Error) -> Duration {
    error
        .downcast_ref::<Rejected>()
        .map_or(Duration::ZERO, |rejected| rejected.after)
}
