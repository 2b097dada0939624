//! A device whose session and outbox are the real ones, around its database.

mod crash;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use magpie_audit as audit;
use magpie_audit::Record;
use magpie_protocol::{
    frame::{Frame as _, FrameLimits, Split, split},
    id::{DeviceId, UserId},
    limits::ACK_DELAY,
    moment::Moment,
    outbox::Outbox,
    seq::FrameNumber,
    session::{ClientSession, Incoming},
    wire::v1,
};

use super::{
    Broken, Context, Mutant, TOKEN,
    local::{Local, Notes, Pending, id_of},
    place::Place,
};

/// The device's end of one connection.
#[derive(Debug)]
pub(crate) struct DeviceLink {
    /// Which of the device's connections.
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
    pub(crate) user: UserId,
    pub(crate) local: Local,
    outbox: Outbox,
    pub(crate) link: Option<DeviceLink>,
    /// How many messages were handed in, the source of ids.
    pub(crate) written: u32,
    /// How far the device's clock is ahead, in milliseconds.
    pub(crate) clock_ms: i64,
    /// The app is in the background: it connects when it is woken.
    pub(crate) asleep: bool,
    /// Its database is another one than the server knows: the app stays in front
    /// until it is welcomed.
    pub(crate) fresh: bool,
    /// A copy of the database, and how many notes there were.
    backup: Option<Box<(Local, u64)>>,
    /// What the checker will look at.
    pub(crate) notes: audit::Device,
}

/// What the world must look at after some bytes.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The connection is of no use any more.
    pub(crate) ended: bool,
    pub(crate) violation: Option<String>,
}

impl Device {
    pub(crate) fn new(id: DeviceId, user: UserId, name: String) -> Self {
        Self {
            id,
            user,
            local: Local::default(),
            outbox: Outbox::default(),
            link: None,
            written: 0,
            clock_ms: 0,
            asleep: false,
            fresh: true,
            backup: None,
            notes: audit::Device::new(name, user),
        }
    }

    pub(crate) fn note(&mut self, now: Moment, record: Record) {
        self.notes.note(micros(now), record);
    }

    /// The person writes a message: it is in the outbox before anything else.
    pub(crate) fn hand_in(&mut self, pending: Pending, now: Moment) {
        self.local.outbox.push_back(pending);
        self.outbox.push(pending.id);
        let Pending {
            id,
            conversation,
            content,
        } = pending;
        self.note(
            now,
            Record::Sent {
                message_id: id,
                conversation: Some(conversation),
                digest: content.digest(id),
            },
        );
    }

    /// Opens a session on this connection.
    pub(crate) fn connect(&mut self, connection: usize, context: Context) {
        let now = context.now;
        let cursor = self.local.cursor.clone();
        let mut session = ClientSession::new(cursor.clone(), now);
        let mut out = BytesMut::new();
        self.note(
            now,
            Record::Hello {
                epoch: self.local.served(),
                cursor: Place::open(&cursor).1.0,
            },
        );
        let hello = v1::Hello {
            protocol_version: 1,
            client_name: "sim".to_owned(),
            client_version: "1".to_owned(),
            device_id: self.id.to_wire(),
            device_token: Bytes::from_static(&TOKEN),
            epoch: self.local.named(context.mutant),
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

    /// Sends up to `count` entries of the outbox. Returns how many left.
    pub(crate) fn send(&mut self, count: usize, context: Context) -> usize {
        let mut left = 0;
        let may = !self.local.takes_over();
        let Some(link) = self.link.as_mut().filter(|_| may) else {
            return left;
        };
        while left < count
            && let Some(id) = self.outbox.next().filter(|_| link.session.can_send())
        {
            let Some(pending) = self.local.outbox.iter().find(|it| it.id == id) else {
                // Answered meanwhile through an event of the log.
                self.outbox.remove(id);
                continue;
            };
            let body = request(pending);
            let number = link.session.request(body, context.now, &mut link.out);
            self.outbox.sent(number);
            left += 1;
        }
        left
    }

    /// Whether something could be sent now.
    pub(crate) fn can_send(&self) -> bool {
        let can = self.link.as_ref().is_some_and(|it| it.session.can_send());
        can && !self.local.takes_over() && self.outbox.next().is_some()
    }

    /// [`Mutant::ResendsOnTimer`].
    pub(crate) fn resend(&mut self, context: Context) {
        let Some(link) = &mut self.link else { return };
        for pending in &self.local.outbox {
            if link.session.can_send() {
                let body = request(pending);
                link.session.request(body, context.now, &mut link.out);
            }
        }
    }

    /// Bytes arrive. `taken` is told each frame that was taken as good.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a mutant is an exception to a rule for all others"
    )]
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        context: Context,
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
            let incoming = match link.session.handle_frame(frame.clone(), context.now) {
                Ok(incoming) => incoming,
                Err(violation) => {
                    heard.violation = Some(violation.to_string());
                    break;
                }
            };
            taken(&frame)?;
            match context.mutant {
                Mutant::AcksBeforeStoring => link.handled(&incoming, context.now),
                Mutant::AppliesCheckpointAtOnce => self.local.apply_checkpoint(&frame),
                Mutant::CursorBeforeEvents => {
                    if let Incoming::Page { page, .. } = &incoming {
                        self.local.cursor = page.cursor.clone();
                    }
                }
                _ => {}
            }
            heard.ended = matches!(incoming, Incoming::Goodbye(_) | Incoming::Unsupported);
            link.arrived.push_back(incoming);
        }
        heard.ended |= heard.violation.is_some();
        Ok(heard)
    }

    /// Whether something waits to be stored.
    pub(crate) fn has_arrived(&self) -> bool {
        self.link.as_ref().is_some_and(|it| !it.arrived.is_empty())
    }

    /// Whether an acknowledgement is due.
    pub(crate) fn owes_ack(&self, now: Moment) -> bool {
        let due = self.link.as_ref().and_then(|it| it.session.poll_timeout());
        due.is_some_and(|at| at <= now + ACK_DELAY)
    }

    /// Stores the effect of up to `count` arrived frames in one transaction, and
    /// acknowledges them after it. `generation` is what the log knows of this
    /// connection.
    pub(crate) fn store(
        &mut self,
        count: usize,
        generation: u64,
        context: Context,
    ) -> Result<(), Broken> {
        let held = self.local.named(Mutant::None);
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let count = count.min(link.arrived.len());
        let batch: Vec<Incoming> = link.arrived.drain(..count).collect();
        let mut notes = Notes {
            device: &mut self.notes,
            at: micros(context.now),
        };
        for incoming in &batch {
            match incoming {
                Incoming::Page { page, .. } => {
                    self.local.store_page(page, self.user, &mut notes)?;
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
                    let again = self
                        .local
                        .store_answer(id, answer, self.user, context, &mut notes)?;
                    if let Some(again) = again {
                        self.outbox.push(again);
                    }
                }
                Incoming::Welcome(welcome) => {
                    let epoch = welcome.epoch;
                    self.fresh = false;
                    self.local.welcome(epoch, generation, context, &mut notes);
                }
                Incoming::SignedIn(_)
                | Incoming::Refused(_)
                | Incoming::Unsupported
                | Incoming::Goodbye(_)
                | Incoming::Hint(_)
                | Incoming::Nothing => {}
            }
        }
        if context.mutant != Mutant::AcksBeforeStoring {
            for incoming in &batch {
                link.handled(incoming, context.now);
            }
        }
        if let Some(cursor) = link.session.take_checkpoint() {
            self.local.set_cursor(cursor.clone(), &mut notes);
            link.session.stored(cursor);
        }
        if held != 0 && held != self.local.named(Mutant::None) {
            // What the history forgot waits again, in front of what was handed in.
            self.read_outbox(context.mutant);
        }
        Ok(())
    }

    /// Asks for a sign of life and a checkpoint.
    pub(crate) fn ping(&mut self, now: Moment) {
        if let Some(link) = &mut self.link {
            link.session.ping(now, &mut link.out);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        self.link.as_ref()?.session.poll_timeout()
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
        !self.has_arrived() && self.local.outbox.is_empty()
    }
}

fn request(pending: &Pending) -> v1::client_frame::Body {
    v1::client_frame::Body::SendMessage(v1::SendMessage {
        message_id: pending.id.to_wire(),
        to: Some(v1::send_message::To::ConversationId(
            pending.conversation.to_wire(),
        )),
        message: Some(pending.content.text(pending.id).into()),
    })
}

impl Local {
    fn apply_checkpoint(&mut self, frame: &Bytes) {
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
        | Incoming::Hint(_)
        | Incoming::Nothing => None,
    }
}

/// A moment as the checker wants it.
pub(crate) fn micros(now: Moment) -> u64 {
    u64::try_from(now.since_start().as_micros()).unwrap_or(u64::MAX)
}

impl Device {
    /// What decides its future, for a fingerprint of the world.
    pub(crate) fn write_state(&self, sink: &mut impl std::fmt::Write) -> std::fmt::Result {
        let link = self.link.as_ref();
        let link = link.map(|it| (&it.session, &it.inbound, &it.arrived));
        let Self {
            local,
            outbox,
            written,
            clock_ms,
            asleep,
            fresh,
            backup,
            ..
        } = self;
        write!(sink, "{local:?}{outbox:?}{written}{asleep}{fresh}{link:?}")?;
        write!(sink, "{clock_ms}")?;
        write!(sink, "{:?}", backup.as_ref().map(|it| &it.0))
    }
}
