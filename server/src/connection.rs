//! Drives one connection: bytes to the session, what it means to the dispatch,
//! and what the mailbox brings back to the socket. One task each.
//!
//! An idle connection holds almost nothing: it reads into a buffer that belongs
//! to its thread, keeps only an incomplete frame, and frees what it has written.
//! All that was queued since the last wake leaves in one write.

mod credential;

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    moment::Moment,
    seq::FrameNumber,
    session::{Input, Reply, ServerSession, TimedOut, Violation},
    wire::{EncodedPage, v1},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::{
    clock::Clock,
    delivery::Delivery,
    dispatch::{self, Dispatch},
    handler::{Accounts, Hellos},
    hub::{Ending, Letter, Mailbox},
    random::Random,
};

/// Bytes read at once, into a buffer shared by the connections of a thread.
const READ_SIZE: usize = 32 * 1024;

/// Bytes that wait to be written, beyond which nothing more is prepared.
const OUTBOUND_FULL: usize = 256 * 1024;

/// Bytes that wait to be written, beyond which the peer is not listened to: it
/// asks (pings, refused requests) and does not read the answers.
const OUTBOUND_MAX: usize = 1024 * 1024;

/// A peer that broke the protocol comes back spread over this many milliseconds.
const VIOLATION_AFTER_MS: u32 = 10_000;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// What connections share.
pub struct Parts {
    /// Answers requests.
    pub dispatch: Arc<Dispatch>,
    /// Registers and signs in.
    pub accounts: Accounts,
    /// Welcomes devices.
    pub hellos: Hellos,
    /// For deadlines and the welcome.
    pub clock: Clock,
    /// Spreads clients over time.
    pub random: Random,
}

/// A signed-in device's part of its connection.
struct Signed {
    mailbox: Arc<Mailbox>,
    delivery: Delivery,
    /// Answers that wait for the window.
    replies: VecDeque<(FrameNumber, Reply)>,
    marks: Vec<v1::Mark>,
    ending: Option<Ending>,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    /// The peer closed it, or it broke.
    Closed,
    /// The peer said goodbye.
    Goodbye,
    /// We said goodbye and the peer did not close.
    NotClosed,
}

/// What woke the connection.
enum Step {
    Rung,
    Read,
    Timeout,
    Over(Over),
}

/// One connection.
struct Connection<S> {
    stream: S,
    parts: Arc<Parts>,
    session: ServerSession,
    /// An incomplete frame, or what came behind a credential that is checked.
    inbound: BytesMut,
    outbound: BytesMut,
    /// Written to TLS and maybe not yet to the socket.
    unflushed: bool,
    credential: Option<Box<Input>>,
    signed: Option<Box<Signed>>,
    timer: Pin<Box<Sleep>>,
    timer_at: Moment,
}

/// Serves one connection whose TLS handshake is done, to its end.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, parts: Arc<Parts>) {
    let clock = parts.clock;
    let session = ServerSession::new(clock.now());
    let timer_at = session.poll_timeout();
    let mut connection = Connection {
        stream,
        session,
        parts,
        inbound: BytesMut::new(),
        outbound: BytesMut::new(),
        unflushed: false,
        credential: None,
        signed: None,
        timer: Box::pin(tokio::time::sleep_until(clock.instant(timer_at))),
        timer_at,
    };
    let over = connection.run().await;
    let reason = match over {
        Over::Closed => "closed",
        Over::Goodbye => "goodbye",
        Over::NotClosed => "not_closed",
    };
    metrics::counter!(crate::metrics::CONNECTIONS_ENDED, "reason" => reason).increment(1);
    if let Some(signed) = connection.signed {
        connection.parts.hellos.hub.leave(&signed.mailbox);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> Over {
        loop {
            self.handle_post();
            self.pump();
            let step = poll_fn(|context| self.poll_step(context)).await;
            match step {
                Step::Rung | Step::Read => {}
                Step::Timeout => {
                    if let Some(over) = self.handle_timeout() {
                        return over;
                    }
                }
                Step::Over(over) => return over,
            }
            if let Some(credential) = self.credential.take() {
                // Boxed, so that an idle connection does not pay for its size.
                Box::pin(self.handle_credential(*credential)).await;
                self.consume_held();
            }
        }
    }

    /// Takes out of the mailbox what came.
    fn handle_post(&mut self) {
        let Some(signed) = &mut self.signed else {
            return;
        };
        let post = signed.mailbox.take();
        for letter in post.letters {
            match letter {
                Letter::Reply { number, reply } => signed.replies.push_back((number, reply)),
                Letter::Connected(generation) => signed.delivery.handle_connected(generation),
                Letter::Page(page) => signed.delivery.handle_page(page),
                Letter::Snapshot(page) => signed.delivery.handle_snapshot(page),
            }
        }
        signed.marks.extend(post.marks);
        signed.ending = signed.ending.or(post.ending);
    }

    /// Prepares all that may leave now.
    fn pump(&mut self) {
        let Some(signed) = &mut self.signed else {
            return;
        };
        let now = self.parts.clock.now();
        while self.session.can_send() && self.outbound.len() < OUTBOUND_FULL {
            // Answers first: an `accepted` stands for an event before the others.
            if let Some((number, reply)) = signed.replies.pop_front() {
                self.session.reply(number, reply, now, &mut self.outbound);
            } else if let Some(mut page) = signed.delivery.next_page() {
                page.marks.append(&mut signed.marks);
                let number = self.session.page(&page, &mut self.outbound);
                signed.delivery.sent(number);
            } else if !signed.marks.is_empty() {
                let marks = std::mem::take(&mut signed.marks);
                let page = EncodedPage {
                    marks,
                    ..Default::default()
                };
                self.session.page(&page, &mut self.outbound);
            } else {
                break;
            }
        }
        let Some(ending) = signed.ending else { return };
        if ending == Ending::Draining && self.session.unanswered() > 0 {
            return;
        }
        let goodbye = self.parts.dispatch.ended(ending);
        self.session.goodbye(&goodbye, now, &mut self.outbound);
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready(Err(_)) = self.poll_write(context) {
            return Poll::Ready(Step::Over(Over::Closed));
        }
        if let Some(signed) = &self.signed
            && !self.session.is_closing()
            && signed.mailbox.poll_rung(context).is_ready()
        {
            return Poll::Ready(Step::Rung);
        }
        if self.may_read()
            && let Poll::Ready(step) = self.poll_read(context)
        {
            return Poll::Ready(step);
        }
        self.poll_timer(context).map(|()| Step::Timeout)
    }

    /// Writes what is queued, as far as the socket takes it.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbound.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.outbound))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbound.advance(written);
            self.unflushed = true;
            if self.outbound.is_empty() {
                self.outbound = BytesMut::new();
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        if self.session.is_closing() {
            // Nothing follows the goodbye: the peer may close.
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        Poll::Ready(Ok(()))
    }

    fn may_read(&self) -> bool {
        let is_draining = self
            .signed
            .as_ref()
            .is_some_and(|it| it.ending == Some(Ending::Draining));
        self.session.is_closing()
            || (self.credential.is_none() && !is_draining && self.outbound.len() < OUTBOUND_MAX)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            let result = ready!(Pin::new(&mut self.stream).poll_read(context, &mut read));
            if result.is_err() || read.filled().is_empty() {
                return Poll::Ready(Step::Over(Over::Closed));
            }
            Poll::Ready(self.consume(read.filled()))
        })
    }

    /// Ready when the session's deadline has passed.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let wanted = self.session.poll_timeout();
            // A deadline that moved away costs nothing until the timer fires.
            if wanted < self.timer_at {
                self.arm(wanted);
            }
            ready!(self.timer.as_mut().poll(context));
            if self.parts.clock.now() >= wanted {
                return Poll::Ready(());
            }
            self.arm(wanted);
        }
    }

    fn arm(&mut self, at: Moment) {
        self.timer_at = at;
        self.timer.as_mut().reset(self.parts.clock.instant(at));
    }

    fn handle_timeout(&mut self) -> Option<Over> {
        let now = self.parts.clock.now();
        match self.session.handle_timeout(now, &mut self.outbound) {
            Ok(()) => None,
            Err(TimedOut::Goodbye) => Some(Over::NotClosed),
            Err(reason @ (TimedOut::Hello | TimedOut::Idle)) => {
                let goodbye = dispatch::timed_out(&reason.to_string());
                self.session.goodbye(&goodbye, now, &mut self.outbound);
                None
            }
        }
    }

    fn consume(&mut self, bytes: &[u8]) -> Step {
        if self.session.is_closing() {
            // Read to its end, so that the goodbye is not lost in a reset.
            return Step::Read;
        }
        if !self.inbound.is_empty() {
            self.inbound.extend_from_slice(bytes);
            return self.consume_held();
        }
        match self.parse(bytes) {
            Ok(rest) => {
                self.inbound.extend_from_slice(rest);
                Step::Read
            }
            Err(stop) => self.stop(&stop),
        }
    }

    fn consume_held(&mut self) -> Step {
        let mut held = std::mem::take(&mut self.inbound);
        match self.parse(&held) {
            Ok(rest) => {
                let taken = held.len() - rest.len();
                held.advance(taken);
                if !held.is_empty() {
                    self.inbound = held;
                }
                Step::Read
            }
            Err(stop) => self.stop(&stop),
        }
    }

    fn stop(&mut self, stop: &Stop) -> Step {
        match stop {
            Stop::Goodbye => Step::Over(Over::Goodbye),
            Stop::Violation(violation) => {
                tracing::info!(%violation, "a peer broke the protocol");
                let after_ms = self.parts.random.up_to(VIOLATION_AFTER_MS);
                let goodbye = dispatch::violated(violation, after_ms);
                let now = self.parts.clock.now();
                self.session.goodbye(&goodbye, now, &mut self.outbound);
                Step::Read
            }
        }
    }

    /// Takes the frames that are whole; returns what is left.
    fn parse<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], Stop> {
        let now = self.parts.clock.now();
        while self.credential.is_none() {
            let size_max = self.session.frame_limits().size_max;
            match split(bytes, size_max).map_err(Violation::from)? {
                Split::Incomplete(_) => break,
                Split::Frame(frame, rest) => {
                    bytes = rest;
                    let input = self.session.handle_frame(frame, now)?;
                    self.handle_input(input)?;
                }
            }
        }
        Ok(bytes)
    }

    fn handle_input(&mut self, input: Input) -> Result<(), Stop> {
        match input {
            Input::Hello(_) | Input::Register(_) | Input::SignIn(_) => {
                self.credential = Some(Box::new(input));
                return Ok(());
            }
            Input::InvalidAuthenticate(reason) => {
                self.session
                    .refuse(&dispatch::invalid(&reason), &mut self.outbound);
                return Ok(());
            }
            Input::Goodbye => return Err(Stop::Goodbye),
            Input::Request { .. }
            | Input::InvalidRequest { .. }
            | Input::Unsupported { .. }
            | Input::Ping { .. }
            | Input::Nothing => {}
        }
        let Some(signed) = &mut self.signed else {
            return Ok(());
        };
        signed.delivery.handle_ack(self.session.acked());
        match input {
            Input::Request { number, request } => {
                self.parts
                    .dispatch
                    .request(&signed.mailbox, number, request);
            }
            Input::InvalidRequest {
                number,
                reason,
                message_id,
            } => {
                let error = v1::Error {
                    message_id,
                    ..dispatch::invalid(&reason)
                };
                signed.replies.push_back((number, Reply::Error(error)));
            }
            Input::Unsupported { number } => {
                signed
                    .replies
                    .push_back((number, Reply::Error(dispatch::unsupported())));
            }
            Input::Ping { id, cursor } => {
                signed.delivery.handle_cursor(&cursor);
                let after_frame = self.session.sent().get();
                let is_sent = signed.replies.is_empty() && signed.ending.is_none();
                let checkpoint = signed
                    .delivery
                    .checkpoint()
                    .filter(|_| is_sent)
                    .map(|cursor| v1::Checkpoint {
                        cursor,
                        after_frame,
                    });
                self.session.pong(id, checkpoint, &mut self.outbound);
            }
            Input::Hello(_)
            | Input::Register(_)
            | Input::SignIn(_)
            | Input::InvalidAuthenticate(_)
            | Input::Goodbye
            | Input::Nothing => {}
        }
        Ok(())
    }
}

/// Why parsing ends.
enum Stop {
    Goodbye,
    Violation(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}
