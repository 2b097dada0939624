//! A server whose sessions are the real ones, around a model of the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    id::{ConversationId, DeviceId, MessageId},
    moment::Moment,
    seq::FrameNumber,
    session::{Input, Reply, ServerSession},
    wire::{EncodedPage, Request, SendMessage, Target, v1},
};
use prost::Message as _;

use super::{Broken, Mutant, TOKEN, is_refusable};

/// An entry of the log; its position is its index and one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: u64,
    pub(crate) id: MessageId,
}

/// What survives a crash of the server.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    by_id: BTreeMap<MessageId, usize>,
    heads: BTreeMap<ConversationId, u64>,
    /// The newest connection of each device.
    generations: BTreeMap<DeviceId, u64>,
}

impl Log {
    /// Appends, at most once per id.
    fn append(&mut self, id: MessageId, conversation: ConversationId, forgets: bool) -> usize {
        if let Some(position) = self.by_id.get(&id)
            && !forgets
        {
            return *position;
        }
        let head = self.heads.entry(conversation).or_default();
        *head += 1;
        let seq = *head;
        let entry = Entry {
            conversation,
            seq,
            id,
        };
        self.entries.push(entry);
        self.by_id.insert(id, self.entries.len());
        self.entries.len()
    }

    pub(crate) fn entry(&self, position: usize) -> Option<&Entry> {
        self.entries.get(position.checked_sub(1)?)
    }

    pub(crate) fn contains(&self, id: MessageId) -> bool {
        self.by_id.contains_key(&id)
    }
}

/// A request that waits for the database.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: FrameNumber,
    id: MessageId,
    conversation: ConversationId,
}

/// The server's end of one connection.
#[derive(Debug)]
pub(crate) struct ServerLink {
    session: ServerSession,
    inbound: BytesMut,
    pub(crate) out: BytesMut,
    device: Option<DeviceId>,
    generation: u64,
    /// Everything up to this position is enqueued to this session.
    place: usize,
    waiting: VecDeque<Waiting>,
    replies: VecDeque<(FrameNumber, Reply)>,
    /// Positions beyond `place` whose Accepted stands in for the event.
    own: BTreeSet<usize>,
    /// The pages sent and not acknowledged, with the positions in each.
    pages: VecDeque<(FrameNumber, Vec<usize>)>,
}

/// What the world must look at after a frame.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many requests came.
    pub(crate) requests: u64,
    /// The connection is of no use any more.
    pub(crate) ended: bool,
    /// The peer broke the protocol.
    pub(crate) violation: Option<String>,
}

impl ServerLink {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            session: ServerSession::new(now),
            inbound: BytesMut::new(),
            out: BytesMut::new(),
            device: None,
            generation: 0,
            place: 0,
            waiting: VecDeque::new(),
            replies: VecDeque::new(),
            own: BTreeSet::new(),
            pages: VecDeque::new(),
        }
    }

    pub(crate) const fn device(&self) -> Option<DeviceId> {
        self.device
    }

    /// Bytes arrive. `taken` is told each frame that was taken as good.
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        log: &mut Log,
        now: Moment,
        mutant: Mutant,
        mut taken: impl FnMut(&[u8]) -> Result<(), Broken>,
    ) -> Result<Seen, Broken> {
        self.inbound.extend_from_slice(bytes);
        let mut seen = Seen::default();
        while !seen.ended {
            let frame = match split(&self.inbound, self.session.frame_limits().size_max) {
                Ok(Split::Frame(frame, _)) => Bytes::copy_from_slice(frame),
                Ok(Split::Incomplete(_)) => break,
                Err(error) => {
                    seen.violation = Some(error.to_string());
                    break;
                }
            };
            drop(self.inbound.split_to(4 + frame.len()));
            match self.session.handle_frame(&frame, now) {
                Ok(input) => {
                    if !self.session.is_closing() {
                        taken(&frame)?;
                    }
                    self.handle_input(input, log, now, mutant, &mut seen);
                }
                Err(violation) => seen.violation = Some(violation.to_string()),
            }
            if seen.violation.is_some() {
                break;
            }
        }
        if seen.violation.is_some() {
            self.end(v1::ErrorCode::Violation, now);
            seen.ended = true;
        }
        Ok(seen)
    }

    fn handle_input(
        &mut self,
        input: Input,
        log: &mut Log,
        now: Moment,
        mutant: Mutant,
        seen: &mut Seen,
    ) {
        match input {
            Input::Hello(hello) => {
                let generation = log.generations.entry(hello.device).or_default();
                *generation += 1;
                self.generation = *generation;
                self.device = Some(hello.device);
                self.place = position_of(&hello.cursor);
                debug_assert_eq!(hello.token, TOKEN, "devices know their token");
                self.session
                    .welcome(&v1::Welcome::default(), now, &mut self.out);
            }
            Input::Request { number, request } => self.enqueue(number, request, now, seen),
            Input::Ping { id, .. } => {
                let place = if mutant == Mutant::PongOvertakes {
                    log.entries.len()
                } else {
                    self.place
                };
                let checkpoint = v1::Checkpoint {
                    cursor: cursor_of(place),
                    after_frame: self.session.sent().get(),
                };
                self.session.pong(id, Some(checkpoint), &mut self.out);
            }
            Input::Goodbye => seen.ended = true,
            Input::Nothing => {}
            Input::Register(_)
            | Input::SignIn(_)
            | Input::InvalidAuthenticate(_)
            | Input::InvalidRequest { .. }
            | Input::Unsupported { .. } => {
                seen.violation = Some("a frame that no device of this world sends".to_owned());
            }
        }
    }

    fn enqueue(&mut self, number: FrameNumber, request: Request, now: Moment, seen: &mut Seen) {
        let Request::SendMessage(SendMessage {
            id,
            to: Target::Conversation(conversation),
            ..
        }) = request
        else {
            self.replies.push_back((number, Reply::Done));
            self.flush(now);
            return;
        };
        seen.requests += 1;
        self.waiting.push_back(Waiting {
            number,
            id,
            conversation,
        });
    }

    /// The oldest `count` requests are committed in one batch and answered.
    pub(crate) fn commit(&mut self, count: usize, log: &mut Log, now: Moment, mutant: Mutant) {
        for waiting in self.take_batch(count) {
            let reply = match self.apply(&waiting, log, mutant) {
                Some(accepted) => Reply::Accepted(accepted),
                None => Reply::Error(v1::Error {
                    code: v1::ErrorCode::InvalidArgument.into(),
                    action: v1::Action::Never.into(),
                    message_id: waiting.id.to_wire(),
                    ..Default::default()
                }),
            };
            self.replies.push_back((waiting.number, reply));
        }
        self.flush(now);
    }

    fn take_batch(&mut self, count: usize) -> Vec<Waiting> {
        self.waiting
            .drain(..count.min(self.waiting.len()))
            .collect()
    }

    fn apply(&mut self, waiting: &Waiting, log: &mut Log, mutant: Mutant) -> Option<v1::Accepted> {
        if is_refusable(waiting.id) {
            return None;
        }
        let forgets = mutant == Mutant::ForgetsIds;
        let position = log.append(waiting.id, waiting.conversation, forgets);
        if position > self.place {
            self.own.insert(position);
        }
        Some(v1::Accepted {
            message_id: waiting.id.to_wire(),
            conversation_id: waiting.conversation.to_wire(),
            seq: log.entry(position)?.seq,
            ..Default::default()
        })
    }

    /// The database refuses: nothing of the batch is committed. The connection
    /// ends there, so that nothing overtakes what was refused for now (D6).
    pub(crate) fn commit_fails(&mut self, count: usize, now: Moment, mutant: Mutant) {
        let batch = self.take_batch(count);
        if batch.is_empty() {
            return;
        }
        if mutant == Mutant::GoesOnAfterFailure {
            for waiting in batch {
                let error = v1::Error {
                    code: v1::ErrorCode::Unavailable.into(),
                    action: v1::Action::Retry.into(),
                    message_id: waiting.id.to_wire(),
                    ..Default::default()
                };
                self.replies
                    .push_back((waiting.number, Reply::Error(error)));
            }
            self.flush(now);
        } else {
            self.end(v1::ErrorCode::Unavailable, now);
        }
    }

    /// The answer of the database is lost. What it had to do is returned: it may
    /// have happened, may happen later, or never.
    pub(crate) fn commit_unknown(&mut self, count: usize) -> Vec<(MessageId, ConversationId)> {
        let batch = self.take_batch(count);
        batch
            .into_iter()
            .map(|it| (it.id, it.conversation))
            .collect()
    }

    /// Sends answers, as far as the window allows.
    fn flush(&mut self, now: Moment) {
        while self.session.can_send()
            && let Some((number, reply)) = self.replies.pop_front()
        {
            self.session.reply(number, reply, now, &mut self.out);
        }
    }

    /// Sends answers, then a page of what follows the place.
    pub(crate) fn deliver(&mut self, count: usize, log: &Log, now: Moment) {
        self.flush(now);
        if !self.session.can_send() || !self.replies.is_empty() || self.device.is_none() {
            return;
        }
        let mut events = Vec::new();
        let mut positions = Vec::new();
        while positions.len() < count.max(1)
            && let Some(entry) = log.entry(self.place + 1)
        {
            self.place += 1;
            if self.own.remove(&self.place) {
                continue;
            }
            positions.push(self.place);
            let event = v1::Event {
                conversation_id: entry.conversation.to_wire(),
                seq: entry.seq,
                message_id: entry.id.to_wire(),
                ..Default::default()
            };
            events.push(event.encode_to_vec().into());
        }
        if positions.is_empty() {
            // Own messages alone: the next page or pong brings the cursor.
            return;
        }
        let page = EncodedPage {
            conversations: Vec::new(),
            events,
            marks: Vec::new(),
            cursor: cursor_of(self.place),
            caught_up: self.place == log.entries.len(),
        };
        let number = self.session.page(&page, &mut self.out);
        self.pages.push_back((number, positions));
    }

    /// The positions of pages that the device has acknowledged since the last call.
    pub(crate) fn take_acked(&mut self) -> Vec<usize> {
        let acked = self.session.acked();
        let mut positions = Vec::new();
        while let Some((number, _)) = self.pages.front()
            && *number <= acked
        {
            positions.extend(self.pages.pop_front().into_iter().flat_map(|(_, it)| it));
        }
        positions
    }

    /// Says goodbye.
    pub(crate) fn end(&mut self, code: v1::ErrorCode, now: Moment) {
        let goodbye = v1::Goodbye {
            code: code.into(),
            action: v1::Action::Reconnect.into(),
            ..Default::default()
        };
        self.session.goodbye(&goodbye, now, &mut self.out);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.session.is_closing()
    }

    /// Whether a newer connection of the device exists.
    pub(crate) fn is_fenced(&self, log: &Log) -> bool {
        self.device
            .and_then(|device| log.generations.get(&device))
            .is_some_and(|newest| self.generation < *newest)
    }

    /// Time has passed. Whether the connection is still of use.
    pub(crate) fn handle_timeout(&mut self, now: Moment) -> bool {
        self.session.poll_timeout() > now || self.session.handle_timeout(now, &mut self.out).is_ok()
    }
}

/// Applies what a lost answer was about.
pub(crate) fn commit_orphan(batch: &[(MessageId, ConversationId)], log: &mut Log, mutant: Mutant) {
    for (id, conversation) in batch {
        if !is_refusable(*id) {
            log.append(*id, *conversation, mutant == Mutant::ForgetsIds);
        }
    }
}

fn cursor_of(position: usize) -> Bytes {
    Bytes::copy_from_slice(&(position as u64).to_be_bytes())
}

/// The position that a cursor of this world stands for.
pub(crate) fn position_of(cursor: &[u8]) -> usize {
    let bytes = cursor.first_chunk::<8>().copied().unwrap_or_default();
    usize::try_from(u64::from_be_bytes(bytes)).unwrap_or(usize::MAX)
}
