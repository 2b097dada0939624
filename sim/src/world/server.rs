//! A server whose sessions are the real ones, around the store's rules.

mod delivery;
mod hello;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    id::{ConversationId, DeviceId, MessageId, UserId},
    moment::Moment,
    seq::FrameNumber,
    session::{Input, Reply, ServerSession},
    wire::{Request, SendMessage, Target, v1},
};

use super::{
    Broken, Context, Mutant,
    content::Content,
    log::{Append, Log},
    place::Place,
};

/// A request that waits for the database.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: FrameNumber,
    append: Append,
}

/// A page that was sent and is not acknowledged.
#[derive(Debug)]
struct Sent {
    number: FrameNumber,
    place: Place,
    /// The newest event of each conversation in it.
    newest: BTreeMap<ConversationId, u64>,
    events: Vec<(ConversationId, u64)>,
    catches_up: bool,
}

/// The server's end of one connection.
#[derive(Debug)]
pub(crate) struct ServerLink {
    session: ServerSession,
    inbound: BytesMut,
    pub(crate) out: BytesMut,
    device: Option<DeviceId>,
    user: Option<UserId>,
    generation: u64,
    /// Of the history whose events the device holds, if it is another one: until
    /// it has stored the page that says that it has caught up with this one.
    held: Option<u64>,
    /// What is still to be said of that: conversation, its first seq, and the last
    /// that is common.
    descriptions: VecDeque<(ConversationId, u64, u64)>,
    /// A page is owed that says caught up, whether there is news or not.
    owes_caught_up: bool,
    /// Everything up to here is enqueued to this session.
    pub(crate) place: Place,
    confirmed: Place,
    waiting: VecDeque<Waiting>,
    replies: VecDeque<(FrameNumber, Reply)>,
    /// Positions beyond `place` whose Accepted stands in for the event.
    own: BTreeSet<(usize, u64)>,
    pages: VecDeque<Sent>,
    /// The doorbell was rung since the log was looked at.
    pub(crate) rung: bool,
    /// What [`Mutant::SendsWhatTheBellNames`] was told.
    named: Option<(usize, u64)>,
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
    pub(crate) fn new(context: Context) -> Self {
        Self {
            session: ServerSession::new(context.now),
            inbound: BytesMut::new(),
            out: BytesMut::new(),
            device: None,
            user: None,
            generation: 0,
            held: None,
            descriptions: VecDeque::new(),
            owes_caught_up: false,
            place: Place::default(),
            confirmed: Place::default(),
            waiting: VecDeque::new(),
            replies: VecDeque::new(),
            own: BTreeSet::new(),
            pages: VecDeque::new(),
            rung: false,
            named: None,
        }
    }

    pub(crate) const fn device(&self) -> Option<DeviceId> {
        self.device
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes arrive. `taken` is told each frame that was taken as good.
    pub(crate) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        log: &mut Log,
        context: Context,
        mut taken: impl FnMut(&[u8]) -> Result<(), Broken>,
    ) -> Result<Seen, Broken> {
        self.inbound.extend_from_slice(bytes);
        let mut seen = Seen::default();
        while !seen.ended && seen.violation.is_none() {
            let frame = match split(&self.inbound, self.session.frame_limits().size_max) {
                Ok(Split::Frame(frame, _)) => Bytes::copy_from_slice(frame),
                Ok(Split::Incomplete(_)) => break,
                Err(error) => {
                    seen.violation = Some(error.to_string());
                    break;
                }
            };
            drop(self.inbound.split_to(4 + frame.len()));
            match self.session.handle_frame(&frame, context.now) {
                Ok(input) => {
                    if !self.session.is_closing() {
                        taken(&frame)?;
                    }
                    self.handle_input(input, log, context, &mut seen);
                }
                Err(violation) => seen.violation = Some(violation.to_string()),
            }
        }
        if seen.violation.is_some() {
            self.end(v1::ErrorCode::Violation, context);
            seen.ended = true;
        }
        Ok(seen)
    }

    fn handle_input(&mut self, input: Input, log: &mut Log, context: Context, seen: &mut Seen) {
        match input {
            Input::Hello(hello) => self.greet(&hello, log, context),
            Input::Request { number, request } => {
                self.enqueue(number, request, log, context, seen);
            }
            Input::Ping { id, cursor } => self.answer_ping(id, &cursor, log, context),
            Input::Goodbye => seen.ended = true,
            Input::Nothing => {}
            Input::Register(_)
            | Input::SignIn(_)
            | Input::InvalidAuthenticate(_)
            | Input::InvalidRequest { .. }
            | Input::Typing { .. }
            | Input::Unsupported { .. } => {
                seen.violation = Some("a frame that no device of this world sends".to_owned());
            }
        }
    }

    /// A pong carries this session's place, never the log's head: what is behind
    /// the place is not sent yet.
    fn answer_ping(&mut self, id: u64, cursor: &[u8], log: &mut Log, context: Context) {
        let (epoch, stored) = Place::open(cursor);
        if epoch == log.epoch() && self.place.covers(&stored) {
            self.confirm(&stored, log, context);
        }
        let place = if context.mutant == Mutant::PongOvertakes {
            log.head()
        } else {
            self.place.clone()
        };
        // Not while a history is taken over: the page before may still be to come.
        let checkpoint = (!self.owes_caught_up).then(|| v1::Checkpoint {
            cursor: place.seal(log.epoch()),
            after_frame: self.session.sent().get(),
        });
        self.session.pong(id, checkpoint, &mut self.out);
    }

    fn enqueue(
        &mut self,
        number: FrameNumber,
        request: Request,
        log: &mut Log,
        context: Context,
        seen: &mut Seen,
    ) {
        let Request::SendMessage(SendMessage {
            id,
            to: Target::Conversation(conversation),
            message,
        }) = request
        else {
            seen.violation = Some("a request that no device of this world makes".to_owned());
            return;
        };
        let (Some(sender), Some(content)) = (self.user, Content::parse(message.text(), id)) else {
            seen.violation = Some("a text that no device of this world writes".to_owned());
            return;
        };
        seen.requests += 1;
        if self.holds_write(context) {
            return;
        }
        let early = context.mutant == Mutant::NumbersBeforeCommit && log.find(id).is_none();
        self.waiting.push_back(Waiting {
            number,
            append: Append {
                id,
                conversation,
                sender,
                content,
                reserved: early.then(|| log.reserve(conversation)),
            },
        });
    }

    /// The oldest `count` requests are committed in one batch and answered.
    /// Returns where their events stand.
    pub(crate) fn commit(
        &mut self,
        count: usize,
        log: &mut Log,
        context: Context,
    ) -> Vec<(usize, u64)> {
        let mut appended = Vec::new();
        for waiting in self.take_batch(count) {
            let length = log.length();
            let at = log.append(&waiting.append, context);
            let reply = match at.and_then(|at| Some((at, log.entry(at.0, at.1)?))) {
                Some((at, entry)) => {
                    let is_own = waiting.append.content.is_text();
                    if is_own && at.1 > self.place.at(at.0) {
                        self.own.insert(at);
                    }
                    Reply::Accepted(accepted(&waiting.append, entry.seq))
                }
                None => refused(waiting.append.id),
            };
            if log.length() > length {
                appended.extend(at);
            }
            self.replies.push_back((waiting.number, reply));
        }
        self.flush(context);
        appended
    }

    fn take_batch(&mut self, count: usize) -> Vec<Waiting> {
        self.waiting
            .drain(..count.min(self.waiting.len()))
            .collect()
    }

    /// The database refuses: nothing of the batch is committed. The connection
    /// ends there, so that nothing overtakes what was refused for now (D6).
    pub(crate) fn commit_fails(&mut self, count: usize, context: Context) {
        let batch = self.take_batch(count);
        if batch.is_empty() {
            return;
        }
        if context.mutant == Mutant::GoesOnAfterFailure {
            for waiting in batch {
                let error = v1::Error {
                    code: v1::ErrorCode::Unavailable.into(),
                    action: v1::Action::Retry.into(),
                    message_id: waiting.append.id.to_wire(),
                    ..Default::default()
                };
                self.replies
                    .push_back((waiting.number, Reply::Error(error)));
            }
            self.flush(context);
        } else {
            self.end(v1::ErrorCode::Unavailable, context);
        }
    }

    /// The answer of the database is lost. What it had to do is returned: it may
    /// have happened, may happen later, or never.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a mutant is an exception to a rule for all others"
    )]
    pub(crate) fn commit_unknown(
        &mut self,
        count: usize,
        log: &Log,
        context: Context,
    ) -> Vec<Append> {
        let batch = self.take_batch(count);
        for Waiting { number, append } in &batch {
            let reply = match context.mutant {
                Mutant::UnknownIsRefused => refused(append.id),
                Mutant::UnknownIsAccepted => {
                    Reply::Accepted(accepted(append, log.head_of(append.conversation) + 1))
                }
                _ => {
                    self.end(v1::ErrorCode::Unavailable, context);
                    break;
                }
            };
            self.replies.push_back((*number, reply));
        }
        self.flush(context);
        batch.into_iter().map(|it| it.append).collect()
    }

    /// Sends answers, as far as the window allows.
    pub(crate) fn flush(&mut self, context: Context) {
        while self.session.can_send()
            && let Some((number, reply)) = self.replies.pop_front()
        {
            self.session
                .reply(number, reply, context.now, &mut self.out);
        }
    }

    /// The doorbell: an event stands there.
    pub(crate) fn ring(&mut self, at: (usize, u64)) {
        self.rung = true;
        self.named = Some(at);
    }

    /// Whether there is something behind the place, or to be said.
    pub(crate) fn is_behind(&self, log: &Log) -> bool {
        self.device.is_some() && (self.owes_caught_up || !self.place.covers(&log.head()))
    }

    /// Says goodbye.
    pub(crate) fn end(&mut self, code: v1::ErrorCode, context: Context) {
        let goodbye = v1::Goodbye {
            code: code.into(),
            action: v1::Action::Reconnect.into(),
            ..Default::default()
        };
        self.session.goodbye(&goodbye, context.now, &mut self.out);
    }

    pub(crate) const fn is_ending(&self) -> bool {
        self.session.is_closing()
    }

    /// Whether a newer connection of the device exists.
    pub(crate) fn is_fenced(&self, log: &Log) -> bool {
        self.device
            .and_then(|device| log.rows.get(&device))
            .is_some_and(|row| self.generation < row.generation)
    }

    pub(crate) fn poll_timeout(&self) -> Moment {
        self.session.poll_timeout()
    }

    /// Time has passed. Whether the connection is still of use.
    pub(crate) fn handle_timeout(&mut self, now: Moment) -> bool {
        self.session.poll_timeout() > now || self.session.handle_timeout(now, &mut self.out).is_ok()
    }
}

fn accepted(append: &Append, seq: u64) -> v1::Accepted {
    v1::Accepted {
        message_id: append.id.to_wire(),
        conversation_id: append.conversation.to_wire(),
        seq,
        ..Default::default()
    }
}

fn refused(id: MessageId) -> Reply {
    Reply::Error(v1::Error {
        code: v1::ErrorCode::InvalidArgument.into(),
        action: v1::Action::Never.into(),
        message_id: id.to_wire(),
        ..Default::default()
    })
}
