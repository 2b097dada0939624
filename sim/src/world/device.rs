//! A device whose session and outbox are the real ones, around a model of its
//! local database.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{FrameLimits, Split, split},
    id::{ConversationId, DeviceId, MessageId},
    moment::Moment,
    outbox::Outbox,
    seq::FrameNumber,
    session::{Answer, ClientSession, Incoming},
    wire::v1,
};

use super::{Broken, Mutant, TOKEN};

/// What the person handed in and the server has not answered for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) id: MessageId,
    pub(crate) conversation: ConversationId,
    pub(crate) text_size: usize,
}

/// What survives a crash of the device: its local database.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) outbox: VecDeque<Pending>,
    /// Refused for good, kept for the person to see.
    pub(crate) failed: Vec<MessageId>,
    pub(crate) store: BTreeMap<(ConversationId, u64), MessageId>,
    by_id: BTreeMap<MessageId, (ConversationId, u64)>,
    pub(crate) cursor: Bytes,
}

impl Local {
    /// Stores an event; what is there already is left alone.
    fn insert(
        &mut self,
        conversation: ConversationId,
        seq: u64,
        id: MessageId,
    ) -> Result<(), Broken> {
        let place = (conversation, seq);
        let before = self.store.insert(place, id);
        if before.is_some_and(|before| before != id) {
            return Err(Broken::new("D4", format!("two messages at seq {seq}")));
        }
        if self
            .by_id
            .insert(id, place)
            .is_some_and(|before| before != place)
        {
            return Err(Broken::new(
                "D3",
                format!("{id} at two places, one of them {seq}"),
            ));
        }
        // Seen in the log: it need not be sent any more.
        self.outbox.retain(|pending| pending.id != id);
        Ok(())
    }
}

/// The device's end of one connection.
#[derive(Debug)]
pub(crate) struct DeviceLink {
    pub(crate) connection: usize,
    session: ClientSession,
    inbound: BytesMut,
    pub(crate) out: BytesMut,
    /// Frames taken from the network and not stored yet.
    arrived: VecDeque<Incoming>,
}

/// A device: its database, and what it holds in memory while it runs.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) local: Local,
    outbox: Outbox,
    pub(crate) link: Option<DeviceLink>,
    /// How many messages were handed in, the source of ids.
    pub(crate) written: u32,
}

/// What the world must look at after some bytes.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The connection is of no use any more.
    pub(crate) ended: bool,
    pub(crate) violation: Option<String>,
}

impl Device {
    pub(crate) fn new(id: DeviceId) -> Self {
        Self {
            id,
            local: Local::default(),
            outbox: Outbox::default(),
            link: None,
            written: 0,
        }
    }

    /// The person writes a message: it is in the outbox before anything else.
    pub(crate) fn hand_in(&mut self, pending: Pending) {
        self.local.outbox.push_back(pending);
        self.outbox.push(pending.id);
    }

    /// Opens a session on this connection.
    pub(crate) fn connect(&mut self, connection: usize, now: Moment) {
        let cursor = self.local.cursor.clone();
        let mut session = ClientSession::new(cursor.clone(), now);
        let mut out = BytesMut::new();
        let hello = v1::Hello {
            protocol_version: 1,
            client_name: "sim".to_owned(),
            client_version: "1".to_owned(),
            device_id: self.id.to_wire(),
            device_token: Bytes::from_static(&TOKEN),
            epoch: 0,
            base: 0,
            cursor,
            background: false,
        };
        session.introduce(v1::client_frame::Body::Hello(hello), &mut out);
        self.link = Some(DeviceLink {
            connection,
            session,
            inbound: BytesMut::new(),
            out,
            arrived: VecDeque::new(),
        });
    }

    /// Sends up to `count` entries of the outbox.
    pub(crate) fn send(&mut self, count: usize, now: Moment) {
        let Some(link) = &mut self.link else { return };
        for _ in 0..count {
            let next = self.outbox.next();
            let Some(id) = next.filter(|_| link.session.can_send()) else {
                return;
            };
            let Some(pending) = self.local.outbox.iter().find(|it| it.id == id) else {
                // Answered meanwhile through an event of the log.
                self.outbox.remove(id);
                continue;
            };
            let message = v1::SendMessage {
                message_id: id.to_wire(),
                to: Some(v1::send_message::To::ConversationId(
                    pending.conversation.to_wire(),
                )),
                text: "x".repeat(pending.text_size),
            };
            let body = v1::client_frame::Body::SendMessage(message);
            let number = link.session.request(body, now, &mut link.out);
            self.outbox.sent(number);
        }
    }

    /// Bytes arrive. `taken` is told each frame that was taken as good.
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        now: Moment,
        mutant: Mutant,
        mut taken: impl FnMut(&[u8]) -> Result<(), Broken>,
    ) -> Result<Heard, Broken> {
        let mut heard = Heard::default();
        let Some(link) = &mut self.link else {
            return Ok(heard);
        };
        link.inbound.extend_from_slice(bytes);
        while !heard.ended {
            let frame = match split(&link.inbound, FrameLimits::SERVER.size_max) {
                Ok(Split::Frame(frame, _)) => Bytes::copy_from_slice(frame),
                Ok(Split::Incomplete(_)) => break,
                Err(error) => {
                    heard.violation = Some(error.to_string());
                    break;
                }
            };
            drop(link.inbound.split_to(4 + frame.len()));
            let incoming = match link.session.handle_frame(frame.clone(), now) {
                Ok(incoming) => incoming,
                Err(violation) => {
                    heard.violation = Some(violation.to_string());
                    break;
                }
            };
            taken(&frame)?;
            if mutant == Mutant::AcksBeforeStoring {
                link.handled(&incoming, now);
            }
            if mutant == Mutant::AppliesCheckpointAtOnce {
                self.local.apply_checkpoint(&frame);
            }
            heard.ended = matches!(incoming, Incoming::Goodbye(_) | Incoming::Unsupported);
            link.arrived.push_back(incoming);
        }
        heard.ended |= heard.violation.is_some();
        Ok(heard)
    }

    /// Stores the effect of up to `count` arrived frames in one transaction, and
    /// acknowledges them after it.
    pub(crate) fn store(
        &mut self,
        count: usize,
        now: Moment,
        mutant: Mutant,
    ) -> Result<(), Broken> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let count = count.min(link.arrived.len());
        let batch: Vec<Incoming> = link.arrived.drain(..count).collect();
        for incoming in &batch {
            match incoming {
                Incoming::Page { page, .. } => {
                    self.local.store_page(page)?;
                    for event in &page.events {
                        self.outbox.remove(id_of(&event.message_id)?);
                    }
                    if !page.cursor.is_empty() {
                        link.session.stored(page.cursor.clone());
                    }
                }
                Incoming::Answer {
                    in_reply_to,
                    answer,
                    ..
                } => {
                    let id = self.outbox.answered(*in_reply_to);
                    if let Some(again) = self.local.store_answer(id, answer)? {
                        self.outbox.push(again);
                    }
                }
                Incoming::Welcome(_)
                | Incoming::SignedIn(_)
                | Incoming::Refused(_)
                | Incoming::Unsupported
                | Incoming::Goodbye(_)
                | Incoming::Nothing => {}
            }
        }
        if mutant != Mutant::AcksBeforeStoring {
            for incoming in &batch {
                link.handled(incoming, now);
            }
        }
        if let Some(cursor) = link.session.take_checkpoint() {
            self.local.cursor = cursor.clone();
            link.session.stored(cursor);
        }
        Ok(())
    }

    /// Asks for a sign of life and a checkpoint.
    pub(crate) fn ping(&mut self, now: Moment) {
        if let Some(link) = &mut self.link {
            link.session.ping(now, &mut link.out);
        }
    }

    /// Time has passed. Whether the connection is still of use.
    pub(crate) fn handle_timeout(&mut self, now: Moment) -> bool {
        self.link.as_mut().is_none_or(|link| {
            link.session.poll_timeout().is_none_or(|at| at > now)
                || link.session.handle_timeout(now, &mut link.out).is_ok()
        })
    }

    /// Nothing waits to be stored or sent.
    pub(crate) fn is_settled(&self) -> bool {
        let arrived = self
            .link
            .as_ref()
            .is_none_or(|link| link.arrived.is_empty());
        arrived && self.local.outbox.is_empty()
    }

    /// The connection is gone; what arrived and was not stored is gone with it.
    pub(crate) fn lose_connection(&mut self, mutant: Mutant) {
        self.link = None;
        if mutant == Mutant::SkipsResend {
            let mut waiting = Vec::new();
            while let Some(id) = self.outbox.next() {
                waiting.push(id);
                self.outbox.remove(id);
            }
            self.outbox = Outbox::default();
            waiting.into_iter().for_each(|id| self.outbox.push(id));
        } else {
            self.outbox.connection_lost();
        }
    }

    /// The process is killed and started again: only the database is left.
    pub(crate) fn crash(&mut self) {
        self.link = None;
        self.outbox = Outbox::default();
        for pending in &self.local.outbox {
            self.outbox.push(pending.id);
        }
    }
}

impl Local {
    fn store_page(&mut self, page: &v1::Page) -> Result<(), Broken> {
        for event in &page.events {
            let conversation = conversation_of(&event.conversation_id)?;
            let place = (conversation, event.seq - 1);
            if event.seq > 1 && !self.store.contains_key(&place) {
                let what = format!("seq {} comes without the one before it", event.seq);
                return Err(Broken::new("D5", what));
            }
            self.insert(conversation, event.seq, id_of(&event.message_id)?)?;
        }
        if !page.cursor.is_empty() {
            self.cursor = page.cursor.clone();
        }
        Ok(())
    }

    /// Returns the entry that must be sent again.
    fn store_answer(
        &mut self,
        id: Option<MessageId>,
        answer: &Answer,
    ) -> Result<Option<MessageId>, Broken> {
        match answer {
            Answer::Accepted(accepted) => {
                let message = id_of(&accepted.message_id)?;
                if id.is_some_and(|id| id != message) {
                    let what = format!("the answer for {message} names another request");
                    return Err(Broken::new("D1", what));
                }
                let conversation = conversation_of(&accepted.conversation_id)?;
                self.insert(conversation, accepted.seq, message)?;
            }
            Answer::Error(error) if error.action == i32::from(v1::Action::Never) => {
                if let Some(id) = id {
                    self.outbox.retain(|pending| pending.id != id);
                    self.failed.push(id);
                }
            }
            Answer::Error(_) => return Ok(id),
            Answer::Done | Answer::History(_) | Answer::Conversations(_) | Answer::Devices(_) => {}
        }
        Ok(None)
    }

    fn apply_checkpoint(&mut self, frame: &Bytes) {
        use magpie_protocol::frame::Frame as _;
        let frame = v1::ServerFrame::parse(frame.clone(), usize::MAX);
        if let Ok(Some(v1::server_frame::Body::Pong(pong))) = frame.map(|it| it.body)
            && let Some(checkpoint) = pong.checkpoint
        {
            self.cursor = checkpoint.cursor;
        }
    }
}

impl DeviceLink {
    fn handled(&mut self, incoming: &Incoming, now: Moment) {
        if let Some(number) = number_of(incoming) {
            self.session.handled(number, now);
        }
    }
}

const fn number_of(incoming: &Incoming) -> Option<FrameNumber> {
    match incoming {
        Incoming::Page { number, .. } | Incoming::Answer { number, .. } => Some(*number),
        Incoming::Welcome(_)
        | Incoming::SignedIn(_)
        | Incoming::Refused(_)
        | Incoming::Unsupported
        | Incoming::Goodbye(_)
        | Incoming::Nothing => None,
    }
}

fn id_of(bytes: &[u8]) -> Result<MessageId, Broken> {
    MessageId::try_from(bytes).map_err(|error| Broken::new("wire", error.to_string()))
}

fn conversation_of(bytes: &[u8]) -> Result<ConversationId, Broken> {
    ConversationId::try_from(bytes).map_err(|error| Broken::new("wire", error.to_string()))
}
