//! One sender: a task that writes to one conversation.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use anyhow::bail;
use bytes::Bytes;
use magpie_protocol::{
    seq::FrameNumber,
    session::{Answer, Incoming},
    wire::v1::{self, client_frame::Body, send_message::To},
};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Ended, Phase, nanos_since,
    schedule::Schedule,
    text::{Stamp, Template},
};
use crate::{
    clock,
    connection::{Connection, Rejected, name},
    credentials::Device,
    measure::Tally,
};

/// What makes the next message leave.
pub(super) enum Pace {
    /// Fewer than this many are unanswered.
    InFlight(usize),
    /// It is due.
    Scheduled(Arc<Schedule>),
}

pub(super) struct Sender {
    device: Device,
    connection: Connection,
    conversation: Bytes,
    text: Template,
    pace: Pace,
    index: u32,
    /// Unanswered messages and when they were queued or due, in their order.
    in_flight: VecDeque<(FrameNumber, u64)>,
    latencies: Vec<u64>,
}

impl Sender {
    pub(super) fn new(
        (device, connection): (Device, Connection),
        conversation: Bytes,
        text: Template,
        pace: Pace,
    ) -> Self {
        Self {
            device,
            connection,
            conversation,
            text,
            pace,
            index: 0,
            in_flight: VecDeque::new(),
            latencies: Vec::new(),
        }
    }

    /// Sends until the phase ends, then waits for the last answers.
    pub(super) async fn run(
        mut self,
        tally: Arc<Tally>,
        mut phase: watch::Receiver<Phase>,
    ) -> Ended {
        let mut incoming = Vec::new();
        loop {
            if *phase.borrow_and_update() == Phase::Running {
                self.fill(&tally);
            } else if self.in_flight.is_empty() {
                return Ok((self.device, self.connection));
            }
            self.connection.flush().await?;
            let rung = async {
                match &self.pace {
                    Pace::InFlight(_) => std::future::pending().await,
                    Pace::Scheduled(schedule) => schedule.rung().await,
                }
            };
            tokio::select! {
                biased;
                turned = self.connection.turn(&mut incoming) => turned?,
                () = rung => {}
                changed = phase.changed() => changed?,
            }
            for it in incoming.drain(..) {
                self.take(it, &tally)?;
            }
            if tally.measures() {
                tally.accept.record(&mut self.latencies);
            }
            self.latencies.clear();
        }
    }

    /// Queues what may leave now.
    fn fill(&mut self, tally: &Tally) {
        let mut sent = 0;
        while self.connection.can_send() {
            let nanos = match &self.pace {
                Pace::InFlight(max) if self.in_flight.len() < *max => clock::nanos(),
                Pace::InFlight(_) => break,
                Pace::Scheduled(schedule) => match schedule.pop() {
                    Some(nanos) => nanos,
                    None => break,
                },
            };
            let index = self.index;
            self.index += 1;
            let message = v1::SendMessage {
                message_id: Bytes::copy_from_slice(Uuid::now_v7().as_bytes()),
                to: Some(To::ConversationId(self.conversation.clone())),
                message: Some(self.text.fill(Stamp { index, nanos }).into()),
            };
            let number = self.connection.request(Body::SendMessage(message));
            self.in_flight.push_back((number, nanos));
            sent += 1;
        }
        if sent > 0 {
            tally.sent.fetch_add(sent, Ordering::Relaxed);
        }
    }

    fn take(&mut self, it: Incoming, tally: &Tally) -> anyhow::Result<()> {
        match it {
            Incoming::Answer {
                number,
                in_reply_to,
                answer,
            } => {
                self.connection.handled(number);
                self.answered(in_reply_to, answer, tally)?;
            }
            // The server may show a sender its own messages.
            Incoming::Page { number, page } => {
                self.connection.store(number, &page, &mut self.device);
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

    fn answered(
        &mut self,
        in_reply_to: FrameNumber,
        answer: Answer,
        tally: &Tally,
    ) -> anyhow::Result<()> {
        // Answers nearly always come in order: the first is the one.
        let index = self
            .in_flight
            .iter()
            .position(|(number, _)| *number == in_reply_to);
        let Some((_, nanos)) = index.and_then(|index| self.in_flight.remove(index)) else {
            bail!("an answer to a message that is not in flight");
        };
        match answer {
            Answer::Accepted(_) => {
                tally.accepted.fetch_add(1, Ordering::Relaxed);
                self.latencies.push(nanos_since(nanos));
                Ok(())
            }
            // A busy server may say "later": the message counts as refused.
            Answer::Error(error)
                if matches!(error.action(), v1::Action::Retry | v1::Action::RetryAfter) =>
            {
                Ok(())
            }
            Answer::Error(error) => Err(Rejected::from(error).into()),
            Answer::Done
            | Answer::History(_)
            | Answer::Conversations(_)
            | Answer::Members(_)
            | Answer::Bans(_)
            | Answer::Invites(_)
            | Answer::InvitePreview(_)
            | Answer::ReaderCounts(_)
            | Answer::MediaToken(_)
            | Answer::MediaUrls(_)
            | Answer::Devices(_)
            | Answer::Profiles(_)
            | Answer::Presences(_) => {
                bail!("an answer to another request")
            }
        }
    }
}
