//! Drives one connection: bytes to the session, what it means to the dispatch,
//! and what the mailbox brings back to the socket. One task each.
//!
//! An idle connection holds almost nothing: it reads into a buffer that belongs
//! to its thread, keeps only an incomplete frame, and frees what it has written.
//! All that was queued since the last wake leaves in one write.

mod credential;
mod signed;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    moment::Moment,
    session::{Input, Reply, ServerSession, TimedOut, Violation},
    wire::v1,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::Sleep,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{Instrument as _, field::Empty};

use self::signed::Signed;
use crate::{
    clock::Clock,
    dispatch::{self, Dispatch},
    handler::{Accounts, Hellos},
    hub::Ending,
    limits::{Limited, Pass},
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
    pub accounts: Arc<Accounts>,
    /// Welcomes devices.
    pub hellos: Hellos,
    /// For deadlines and the welcome.
    pub clock: Clock,
    /// Spreads clients over time.
    pub random: Random,
}

/// A connection whose TLS handshake is done.
#[derive(Debug)]
pub struct Arrival {
    /// For the log.
    pub id: u64,
    /// Where it comes from.
    pub address: IpAddr,
    /// When it was accepted.
    pub accepted_at: Moment,
    /// Its place, or why there is none for it: it is told so.
    pub admission: Result<Pass, (Limited, OwnedSemaphorePermit)>,
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
    address: IpAddr,
    session: ServerSession,
    /// An incomplete frame, or what came behind a credential that is checked.
    inbound: BytesMut,
    outbound: BytesMut,
    /// Written to TLS and maybe not yet to the socket.
    unflushed: bool,
    credential: Option<Box<Input>>,
    signed: Option<Box<Signed>>,
    drain: CancellationToken,
    /// Until the hello; after it the mailbox tells of a drain.
    drained: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    timer: Pin<Box<Sleep>>,
    timer_at: Moment,
}

/// Serves one connection whose TLS handshake is done, to its end.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    arrival: Arrival,
    parts: Arc<Parts>,
    drain: CancellationToken,
) {
    let clock = parts.clock;
    let hello_at = arrival.accepted_at + parts.dispatch.limiter.limits.hello_timeout;
    let session = ServerSession::with_hello_deadline(clock.now(), hello_at);
    let timer_at = session.poll_timeout();
    let mut connection = Connection {
        stream,
        address: arrival.address,
        session,
        parts,
        inbound: BytesMut::new(),
        outbound: BytesMut::new(),
        unflushed: false,
        credential: None,
        signed: None,
        drained: Some(Box::pin(drain.clone().cancelled_owned())),
        drain,
        timer: Box::pin(tokio::time::sleep_until(clock.instant(timer_at))),
        timer_at,
    };
    if let Err((limited, _)) = &arrival.admission {
        let goodbye = connection.parts.dispatch.turned_away(*limited);
        let out = &mut connection.outbound;
        connection.session.goodbye(&goodbye, clock.now(), out);
    }
    let over = match connection.wait_for_credential().await {
        Some(over) => over,
        // Not before: what is known of a span is remembered for as many as there
        // ever were at once, and those who say nothing are to cost nothing.
        None => {
            let span = tracing::info_span!("connection", id = arrival.id, device = Empty);
            connection.run().instrument(span).await
        }
    };
    let reason = match over {
        Over::Closed => "closed",
        Over::Goodbye => "goodbye",
        Over::NotClosed => "not_closed",
    };
    metrics::counter!(crate::metrics::CONNECTIONS_ENDED, "reason" => reason).increment(1);
    tracing::debug!(connection = arrival.id, reason, "the connection ended");
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Waits until the peer says who it is, unless it is over before.
    async fn wait_for_credential(&mut self) -> Option<Over> {
        while self.credential.is_none() {
            if let Some(over) = self.step().await {
                return Some(over);
            }
        }
        None
    }

    async fn run(&mut self) -> Over {
        loop {
            while let Some(credential) = self.credential.take() {
                // Boxed, so that an idle connection does not pay for its size.
                Box::pin(self.handle_credential(*credential)).await;
                if let Step::Over(over) = self.consume_held() {
                    return over;
                }
            }
            if let Some(signed) = &mut self.signed {
                signed.handle_post();
                let (dispatch, now) = (&self.parts.dispatch, self.parts.clock.now());
                signed.pump(&mut self.session, dispatch, now, &mut self.outbound);
            }
            if let Some(over) = self.step().await {
                return over;
            }
        }
    }

    /// Waits until there is something to do; or it is over.
    async fn step(&mut self) -> Option<Over> {
        match poll_fn(|context| self.poll_step(context)).await {
            Step::Rung | Step::Read => None,
            Step::Timeout => self.handle_timeout(),
            Step::Over(over) => Some(over),
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        let was_full = self.outbound.len() >= OUTBOUND_FULL;
        if let Poll::Ready(Err(_)) = self.poll_write(context) {
            return Poll::Ready(Step::Over(Over::Closed));
        }
        if was_full && self.outbound.len() < OUTBOUND_FULL {
            // There is room again for what was held back.
            return Poll::Ready(Step::Rung);
        }
        if self.poll_drained(context) {
            return Poll::Ready(Step::Rung);
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

    /// Says goodbye to a peer that has not said hello when the server drains.
    fn poll_drained(&mut self, context: &mut Context<'_>) -> bool {
        let Some(drained) = &mut self.drained else {
            return false;
        };
        if drained.as_mut().poll(context).is_pending() {
            return false;
        }
        self.drained = None;
        let now = self.parts.clock.now();
        let goodbye = self.parts.dispatch.ended(Ending::Draining);
        self.session.goodbye(&goodbye, now, &mut self.outbound);
        true
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
        let is_ending = self
            .signed
            .as_ref()
            .is_some_and(|it| it.ending.is_some_and(Ending::lets_answer));
        self.session.is_closing()
            || (self.credential.is_none() && !is_ending && self.outbound.len() < OUTBOUND_MAX)
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
            let wanted = self.deadline();
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

    /// When [`Self::handle_timeout`] has something to do.
    fn deadline(&self) -> Moment {
        let wanted = self.session.poll_timeout();
        let stalled_at = self.signed.as_ref().and_then(|it| it.stalled_at);
        stalled_at
            .filter(|_| !self.session.is_closing())
            .map_or(wanted, |at| at.min(wanted))
    }

    fn arm(&mut self, at: Moment) {
        self.timer_at = at;
        self.timer.as_mut().reset(self.parts.clock.instant(at));
    }

    fn handle_timeout(&mut self) -> Option<Over> {
        let now = self.parts.clock.now();
        let is_stalled = self
            .signed
            .as_ref()
            .is_some_and(|it| it.stalled_at.is_some_and(|at| now >= at));
        if is_stalled && !self.session.is_closing() {
            let goodbye = self.parts.dispatch.stalled();
            self.session.goodbye(&goodbye, now, &mut self.outbound);
            return None;
        }
        match self.session.handle_timeout(now, &mut self.outbound) {
            Ok(()) => None,
            Err(TimedOut::Goodbye) => Some(Over::NotClosed),
            Err(reason @ (TimedOut::Hello | TimedOut::Idle)) => {
                let goodbye = dispatch::timed_out(&reason);
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
        if let Some(signed) = &mut self.signed {
            signed.handle_ack(self.session.acked());
        }
        let dispatch = &self.parts.dispatch;
        match (input, &mut self.signed) {
            (input @ (Input::Hello(_) | Input::Register(_) | Input::SignIn(_)), _) => {
                self.credential = Some(Box::new(input));
            }
            (Input::InvalidAuthenticate(reason), _) => {
                let refused = dispatch::invalid(&reason);
                self.session.refuse(&refused, &mut self.outbound);
            }
            (Input::Goodbye, _) => return Err(Stop::Goodbye),
            (Input::Request { number, request }, Some(signed)) => {
                signed.handle_request(number, request, dispatch);
            }
            (
                Input::InvalidRequest {
                    number,
                    reason,
                    message_id,
                },
                Some(signed),
            ) => {
                let error = v1::Error {
                    message_id,
                    ..dispatch::invalid(&reason)
                };
                signed.answer(number, Reply::Error(error));
            }
            (Input::Unsupported { number }, Some(signed)) => {
                signed.answer(number, Reply::Error(dispatch::unsupported()));
            }
            (
                Input::Typing {
                    conversation,
                    typing,
                },
                Some(signed),
            ) => {
                let now = self.parts.clock.now();
                signed.handle_typing(conversation, typing, now, dispatch);
            }
            (Input::Ping { id, cursor }, Some(signed)) => {
                signed.delivery.handle_cursor(&cursor);
                let checkpoint = signed.checkpoint(self.session.sent());
                self.session.pong(id, checkpoint, &mut self.outbound);
            }
            // The session gives these to a signed-in device alone.
            (
                Input::Request { .. }
                | Input::InvalidRequest { .. }
                | Input::Unsupported { .. }
                | Input::Typing { .. }
                | Input::Ping { .. },
                None,
            )
            | (Input::Nothing, _) => {}
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
