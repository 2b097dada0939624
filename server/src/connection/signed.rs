//! A signed-in device's part of its connection: what its mailbox brought, and
//! what may leave next.

use std::{collections::VecDeque, sync::Arc};

use bytes::BytesMut;
use magpie_protocol::{
    moment::Moment,
    seq::FrameNumber,
    session::{Reply, ServerSession},
    wire::{EncodedPage, v1},
};

use super::OUTBOUND_FULL;
use crate::{
    delivery::Delivery,
    dispatch::{Dispatch, Reading},
    hub::{Ending, Hub, Letter, MARKS_COUNT_MAX, Mailbox},
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
    pub(super) ending: Option<Ending>,
}

impl Signed {
    pub(super) fn new(
        hub: Arc<Hub>,
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
            ending,
        }
    }

    /// Queues an answer.
    pub(super) fn answer(&mut self, number: FrameNumber, reply: Reply) {
        self.replies.push_back((number, reply));
    }

    /// Queues a request that reads.
    pub(super) fn read(&mut self, reading: Reading, dispatch: &Arc<Dispatch>) {
        self.waiting.push_back(reading);
        self.read_on(dispatch);
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
                Letter::Reply { number, reply } => self.answer(number, reply),
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
        if matches!(self.ending, None | Some(Ending::Draining)) && post.ending.is_some() {
            self.ending = post.ending;
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
        self.read_on(dispatch);
        let Some(ending) = self.ending else { return };
        // In a drain what was asked is answered, if the peer takes the answers.
        let may_answer = session.can_send() && session.unanswered() > 0;
        if ending == Ending::Draining && may_answer {
            return;
        }
        session.goodbye(&dispatch.ended(ending), now, out);
    }

    /// Lets requests read whose turn it is.
    fn read_on(&mut self, dispatch: &Arc<Dispatch>) {
        while self.reading.len() < READING_MAX
            && let Some(next) = self.waiting.pop_front()
        {
            self.reading.push(next.number);
            dispatch.read(&self.mailbox, next);
        }
    }
}

/// Also if the connection's task panicked.
impl Drop for Signed {
    fn drop(&mut self) {
        self.mailbox.close();
        self.hub.leave(&self.mailbox);
        self.delivery.disconnected();
    }
}
