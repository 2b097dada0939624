//! A signed-in device's part of its connection: what its mailbox brought, and
//! what may leave next.

use std::{collections::VecDeque, sync::Arc};

use bytes::BytesMut;
use magpie_protocol::{
    id::ConversationId,
    moment::Moment,
    seq::FrameNumber,
    session::{Hint, Reply, ServerSession},
    typing::TypingPace,
    wire::{EncodedPage, Request, v1},
};

use super::OUTBOUND_FULL;
use crate::{
    delivery::Delivery,
    dispatch::{Dispatch, Reading, Taken, is_of_one_history},
    hub::{Ending, HINTS_COUNT_MAX, Hub, Letter, MARKS_COUNT_MAX, Mailbox},
    limits::Limiter,
};

/// Requests of one connection that read the store at once, or whose answers wait
/// to leave: an answer is large, and the request for it small.
const READING_MAX: usize = 4;

/// A signed-in device's part of its connection.
pub(super) struct Signed {
    pub(super) hub: Arc<Hub>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) delivery: Delivery,
    /// Answers that wait for the window.
    replies: VecDeque<(FrameNumber, Reply)>,
    /// Requests that read, waiting for their turn.
    waiting: VecDeque<Reading>,
    /// Those whose turn it is: their answers have not left.
    reading: Vec<FrameNumber>,
    marks: Vec<v1::Mark>,
    hints: Vec<Hint>,
    typing: TypingPace,
    pub(super) ending: Option<Ending>,
    limiter: Arc<Limiter>,
    /// Requests whose answers have not come.
    owed: u32,
    acked: FrameNumber,
    /// When the device will have acknowledged nothing for too long.
    pub(super) stalled_at: Option<Moment>,
}

impl Signed {
    pub(super) fn new(
        hub: Arc<Hub>,
        limiter: Arc<Limiter>,
        mailbox: Arc<Mailbox>,
        delivery: Delivery,
        ending: Option<Ending>,
    ) -> Self {
        Self {
            hub,
            mailbox,
            delivery,
            replies: VecDeque::new(),
            waiting: VecDeque::new(),
            reading: Vec::new(),
            marks: Vec::new(),
            hints: Vec::new(),
            typing: TypingPace::default(),
            ending,
            limiter,
            owed: 0,
            acked: FrameNumber::ZERO,
            stalled_at: None,
        }
    }

    /// Takes a request.
    pub(super) fn handle_request(
        &mut self,
        number: FrameNumber,
        request: Request,
        dispatch: &Arc<Dispatch>,
    ) {
        if let Some(Ending::Limited(_) | Ending::OtherHistory) = self.ending {
            // Behind one that was not done: nothing overtakes it (D6).
            return;
        }
        if self.delivery.holds_another_history() && is_of_one_history(&request) {
            // What the device does not know yet that it must send again comes
            // before it (D6, D11).
            self.end(Ending::OtherHistory);
            return;
        }
        match dispatch.request(&self.mailbox, number, request) {
            Taken::Queued => self.owed += 1,
            Taken::Reading(reading) => {
                self.owed += 1;
                self.waiting.push_back(reading);
                self.read_on(dispatch);
            }
            Taken::Refused(error) => self.answer(number, Reply::Error(error)),
            Taken::Limited(limited) => self.end(Ending::Limited(limited)),
        }
    }

    /// The user types, or does not any more. Never answered.
    pub(super) fn handle_typing(
        &mut self,
        conversation: ConversationId,
        typing: bool,
        now: Moment,
        dispatch: &Arc<Dispatch>,
    ) {
        let may_ask = self.ending.is_none() && !self.delivery.holds_another_history();
        if may_ask && self.typing.passes(conversation, typing, now) {
            dispatch.typing(&self.mailbox, conversation, typing);
        }
    }

    /// The device has handled every frame up to `acked`.
    pub(super) fn handle_ack(&mut self, acked: FrameNumber) {
        if acked > self.acked {
            self.acked = acked;
            self.stalled_at = None;
        }
        self.delivery.handle_ack(acked);
    }

    /// The first reason to end counts, and then only one that leaves nothing to
    /// wait for.
    fn end(&mut self, ending: Ending) {
        let is_first = self.ending.is_none();
        if is_first || (self.ending.is_some_and(Ending::lets_answer) && !ending.lets_answer()) {
            self.ending = Some(ending);
        }
    }

    /// Queues an answer.
    pub(super) fn answer(&mut self, number: FrameNumber, reply: Reply) {
        self.replies.push_back((number, reply));
    }

    /// The cursor behind all that was sent, unless something waits to be sent.
    pub(super) fn checkpoint(&mut self, after_frame: FrameNumber) -> Option<v1::Checkpoint> {
        if !self.replies.is_empty() || !self.marks.is_empty() || self.ending.is_some() {
            return None;
        }
        let cursor = self.delivery.checkpoint()?;
        Some(v1::Checkpoint {
            cursor,
            after_frame: after_frame.get(),
        })
    }

    /// Takes out of the mailbox what came.
    pub(super) fn handle_post(&mut self) {
        let post = self.mailbox.take();
        for letter in post.letters {
            match letter {
                Letter::Reply { number, reply } => {
                    self.owed = self.owed.saturating_sub(1);
                    self.limiter.answered(1);
                    self.answer(number, reply);
                }
                Letter::Connected(generation) => self.delivery.handle_connected(generation),
                Letter::Page(page) => self.delivery.handle_page(page),
                Letter::Snapshot(page) => self.delivery.handle_snapshot(page),
            }
        }
        let room = MARKS_COUNT_MAX.saturating_sub(self.marks.len());
        if post.marks.len() > room {
            // The log has what is left out of the user's own.
            // Its own task is awake.
            let _must_wake = self.mailbox.put_detour();
        }
        self.marks.extend(post.marks.into_iter().take(room));
        let room = HINTS_COUNT_MAX.saturating_sub(self.hints.len());
        self.hints.extend(post.hints.into_iter().take(room));
        if let Some(ending) = post.ending {
            self.end(ending);
        }
    }

    /// Prepares all that may leave now.
    pub(super) fn pump(
        &mut self,
        session: &mut ServerSession,
        dispatch: &Arc<Dispatch>,
        now: Moment,
        out: &mut BytesMut,
    ) {
        while session.can_send() && out.len() < OUTBOUND_FULL {
            // Answers first: an `accepted` stands for an event before the others.
            if let Some((number, reply)) = self.replies.pop_front() {
                self.reading.retain(|reading| *reading != number);
                session.reply(number, reply, now, out);
            } else if let Some(mut page) = self.delivery.next_page() {
                page.marks.append(&mut self.marks);
                let number = session.page(&page, out);
                self.delivery.sent(number);
            } else if !self.marks.is_empty() {
                let marks = std::mem::take(&mut self.marks);
                let page = EncodedPage {
                    marks,
                    ..Default::default()
                };
                session.page(&page, out);
            } else {
                break;
            }
        }
        // Where what counts is waiting, they are dropped.
        for hint in std::mem::take(&mut self.hints) {
            if session.can_send() && out.len() < OUTBOUND_FULL {
                session.hint(&hint, out);
            }
        }
        self.read_on(dispatch);
        if self.stalled_at.is_none() && !session.is_all_acked() {
            self.stalled_at = Some(now + self.limiter.limits.ack_timeout);
        }
        let Some(ending) = self.ending else { return };
        // What was asked is answered, if the peer takes the answers.
        let is_owed = self.owed > 0 || !self.replies.is_empty();
        if ending.lets_answer() && is_owed && session.can_send() {
            return;
        }
        session.goodbye(&dispatch.ended(ending), now, out);
    }

    /// Lets requests read whose turn it is. Who wants to go waits until it counts what
    /// they have stored.
    fn read_on(&mut self, dispatch: &Arc<Dispatch>) {
        let is_known = self.delivery.is_written_down();
        while self.reading.len() < READING_MAX
            && let Some(next) = self.waiting.pop_front_if(|it| is_known || !it.is_detach())
        {
            self.reading.push(next.number);
            dispatch.read(&self.mailbox, next);
        }
    }
}

/// Also if the connection's task panicked.
impl Drop for Signed {
    fn drop(&mut self) {
        self.limiter.answered(self.owed);
        self.mailbox.close();
        self.hub.leave(&self.mailbox);
        self.delivery.disconnected();
    }
}
