//! The server's side of a session.

use std::time::Duration;

use bytes::BytesMut;
use prost::Message;

use super::{
    Violation,
    hint::Hint,
    input::{Input, Reply, sent_message_id},
    tag,
};
use crate::{
    frame::{Frame as _, FrameLimits},
    id::ConversationId,
    limits::{
        GOODBYE_TIMEOUT, HEARTBEAT_BURST, HEARTBEAT_INTERVAL_MIN, HELLO_TIMEOUT, IDLE_TIMEOUT,
        SIGN_IN_TRIES,
    },
    link::{Receive, Send},
    moment::Moment,
    seq::FrameNumber,
    wire::{Authenticate, EncodedHistory, EncodedPage, Hello, parse_request, v1, write_frame},
};

/// The peer was silent for too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TimedOut {
    /// No credential before the deadline.
    #[error("no hello in time")]
    Hello,
    /// Nothing at all within [`IDLE_TIMEOUT`].
    #[error("nothing heard for {IDLE_TIMEOUT:?}")]
    Idle,
    /// Told goodbye, and did not close.
    #[error("still open {GOODBYE_TIMEOUT:?} after the goodbye")]
    Goodbye,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The peer must authenticate before the deadline, a total one.
    AwaitingHello { deadline: Moment, tries: u32 },
    /// The caller checks a credential.
    Authenticating { deadline: Moment, tries: u32 },
    /// The device is known and frames flow.
    Open,
    /// Goodbye is said; the peer has until the deadline to close.
    Closing { deadline: Moment },
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct ServerSession {
    state: State,
    send: Send,
    receive: Receive,
    heard_at: Moment,
    pings_left: u32,
    pings_refilled_at: Moment,
}

impl ServerSession {
    /// A session on a connection that is ready `now`.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self::with_hello_deadline(now, now + HELLO_TIMEOUT)
    }

    /// The same, with another deadline for the peer's credential.
    #[must_use]
    pub fn with_hello_deadline(now: Moment, deadline: Moment) -> Self {
        Self {
            state: State::AwaitingHello { deadline, tries: 0 },
            send: Send::default(),
            receive: Receive::default(),
            heard_at: now,
            pings_left: HEARTBEAT_BURST,
            pings_refilled_at: now,
        }
    }

    /// The bounds of the next frame.
    #[must_use]
    pub const fn frame_limits(&self) -> FrameLimits {
        match self.state {
            State::AwaitingHello { .. } | State::Authenticating { .. } => FrameLimits::FIRST,
            State::Open | State::Closing { .. } => FrameLimits::CLIENT,
        }
    }

    /// Whether the caller owes an answer to a credential.
    #[must_use]
    pub const fn is_authenticating(&self) -> bool {
        matches!(self.state, State::Authenticating { .. })
    }

    /// Whether the device is known and nobody has said goodbye.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether goodbye was said.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    /// Takes one frame, without its length.
    ///
    /// # Errors
    ///
    /// [`Violation`]: say goodbye with it.
    pub fn handle_frame(&mut self, bytes: &[u8], now: Moment) -> Result<Input, Violation> {
        let limits = self.frame_limits();
        let frame = v1::ClientFrame::parse(bytes, limits.elements_max)?;
        self.heard_at = now;
        match self.state {
            State::AwaitingHello { deadline, tries } => self.handle_first(frame, deadline, tries),
            State::Authenticating { .. } => Err(Violation::OutOfPlace {
                what: "a frame",
                state: "while the credential is being checked",
            }),
            State::Open => self.handle_open(frame, bytes.len(), now),
            // What crosses our goodbye means nothing any more.
            State::Closing { .. } => Ok(Input::Nothing),
        }
    }

    fn handle_first(
        &mut self,
        frame: v1::ClientFrame,
        deadline: Moment,
        tries: u32,
    ) -> Result<Input, Violation> {
        use v1::client_frame::Body;
        if frame.number != 0 {
            let number = FrameNumber::new(frame.number);
            return Err(Violation::WronglyNumbered {
                what: "the first frame",
                number,
            });
        }
        let input = match frame.body {
            Some(Body::Hello(hello)) => {
                self.state = State::Authenticating { deadline, tries };
                return Hello::try_from(hello)
                    .map(Input::Hello)
                    .map_err(Violation::Hello);
            }
            Some(Body::Register(it)) => Authenticate::try_from(it).map(Input::Register),
            Some(Body::SignIn(it)) => Authenticate::try_from(it).map(Input::SignIn),
            Some(Body::Goodbye(_)) => return Ok(Input::Goodbye),
            _ => {
                return Err(Violation::OutOfPlace {
                    what: "the frame",
                    state: "before hello",
                });
            }
        };
        if tries >= SIGN_IN_TRIES {
            return Err(Violation::TooManyTries);
        }
        self.state = State::Authenticating {
            deadline,
            tries: tries + 1,
        };
        Ok(input.unwrap_or_else(Input::InvalidAuthenticate))
    }

    fn handle_open(
        &mut self,
        frame: v1::ClientFrame,
        size: usize,
        now: Moment,
    ) -> Result<Input, Violation> {
        use v1::client_frame::Body;
        self.send.handle_ack(FrameNumber::new(frame.ack))?;
        let number = FrameNumber::new(frame.number);
        let what = match &frame.body {
            Some(Body::Hello(_)) => "hello",
            Some(Body::Register(_)) => "register",
            Some(Body::SignIn(_)) => "sign in",
            Some(Body::Ping(_)) => "ping",
            Some(Body::Typing(_)) => "typing",
            Some(Body::Goodbye(_)) => "goodbye",
            _ => return self.handle_sequenced(frame, number, size, now),
        };
        if number != FrameNumber::ZERO {
            return Err(Violation::WronglyNumbered { what, number });
        }
        match frame.body {
            Some(Body::Ping(ping)) => {
                self.count_ping(now)?;
                Ok(Input::Ping {
                    id: ping.id,
                    cursor: ping.cursor,
                })
            }
            // Of no conversation: nobody is told, as of one that is not there.
            Some(Body::Typing(it)) => Ok(ConversationId::try_from(it.conversation_id.as_ref())
                .map_or(Input::Nothing, |conversation| Input::Typing {
                    conversation,
                    typing: it.typing,
                })),
            Some(Body::Goodbye(_)) => Ok(Input::Goodbye),
            _ => Err(Violation::OutOfPlace {
                what,
                state: "after hello",
            }),
        }
    }

    fn handle_sequenced(
        &mut self,
        frame: v1::ClientFrame,
        number: FrameNumber,
        size: usize,
        now: Moment,
    ) -> Result<Input, Violation> {
        if number == FrameNumber::ZERO {
            return match frame.body {
                Some(_) => Err(Violation::WronglyNumbered {
                    what: "a request",
                    number,
                }),
                // A newer version's, and silence would be wrong.
                None if frame.critical => Err(Violation::OutOfPlace {
                    what: "a critical frame of an unknown kind",
                    state: "in this version of the protocol",
                }),
                // An acknowledgement alone, or a control frame of a newer version.
                None => Ok(Input::Nothing),
            };
        }
        self.receive.take(number, size)?;
        let Some(body) = frame.body else {
            if frame.critical {
                return Ok(Input::Unsupported { number });
            }
            self.receive.handled(number, now);
            return Ok(Input::Nothing);
        };
        let message_id = sent_message_id(&body);
        Ok(match parse_request(body) {
            Some(Ok(request)) => Input::Request { number, request },
            Some(Err(reason)) => Input::InvalidRequest {
                number,
                reason,
                message_id,
            },
            None => Input::Nothing,
        })
    }

    fn count_ping(&mut self, now: Moment) -> Result<(), Violation> {
        let passed = now.since(self.pings_refilled_at);
        if passed >= HEARTBEAT_INTERVAL_MIN {
            let refill = u32::try_from(passed.as_secs()).unwrap_or(u32::MAX);
            self.pings_left = self.pings_left.saturating_add(refill).min(HEARTBEAT_BURST);
            self.pings_refilled_at = now;
        }
        self.pings_left = self.pings_left.checked_sub(1).ok_or(Violation::PingFlood)?;
        Ok(())
    }

    /// The hello is good: frames flow from here on.
    pub fn welcome(&mut self, welcome: &v1::Welcome, now: Moment, out: &mut BytesMut) {
        self.state = State::Open;
        self.heard_at = now;
        self.control(tag::WELCOME, welcome, out);
    }

    /// The password is good, or the registration done. Hello may follow.
    pub fn signed_in(&mut self, signed_in: &v1::SignedIn, out: &mut BytesMut) {
        self.await_hello();
        self.control(tag::SIGNED_IN, signed_in, out);
    }

    /// The registration or sign-in is refused. Another try may follow.
    pub fn refuse(&mut self, error: &v1::Error, out: &mut BytesMut) {
        self.await_hello();
        self.control(tag::REFUSED, error, out);
    }

    fn await_hello(&mut self) {
        if let State::Authenticating { deadline, tries } = self.state {
            self.state = State::AwaitingHello { deadline, tries };
        }
    }

    /// Whether a sequenced frame may leave now.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.is_open() && self.send.is_open()
    }

    /// Whether everything sent is acknowledged.
    #[must_use]
    pub fn is_all_acked(&self) -> bool {
        self.send.is_idle()
    }

    /// The last frame that the client has handled.
    #[must_use]
    pub const fn acked(&self) -> FrameNumber {
        self.send.acked()
    }

    /// The last sequenced frame sent.
    #[must_use]
    pub const fn sent(&self) -> FrameNumber {
        self.send.sent()
    }

    /// Requests taken and not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.receive.unhandled()
    }

    /// Answers a request; call only while [`Self::can_send`].
    pub fn reply(
        &mut self,
        in_reply_to: FrameNumber,
        reply: Reply,
        now: Moment,
        out: &mut BytesMut,
    ) {
        self.receive.handled(in_reply_to, now);
        let in_reply_to = in_reply_to.get();
        match reply {
            Reply::Accepted(it) => {
                self.sequenced(tag::ACCEPTED, &v1::Accepted { in_reply_to, ..it }, out)
            }
            Reply::Done => self.sequenced(tag::DONE, &v1::Done { in_reply_to }, out),
            Reply::Error(it) => self.sequenced(tag::ERROR, &v1::Error { in_reply_to, ..it }, out),
            Reply::History(it) => {
                self.sequenced(tag::HISTORY, &EncodedHistory { in_reply_to, ..it }, out)
            }
            Reply::Conversations(it) => self.sequenced(
                tag::CONVERSATIONS,
                &v1::Conversations { in_reply_to, ..it },
                out,
            ),
            Reply::Members(it) => {
                self.sequenced(tag::MEMBERS, &v1::Members { in_reply_to, ..it }, out)
            }
            Reply::Bans(it) => self.sequenced(tag::BANS, &v1::Bans { in_reply_to, ..it }, out),
            Reply::Invites(it) => {
                self.sequenced(tag::INVITES, &v1::Invites { in_reply_to, ..it }, out)
            }
            Reply::InvitePreview(it) => self.sequenced(
                tag::INVITE_PREVIEW,
                &v1::InvitePreview { in_reply_to, ..it },
                out,
            ),
            Reply::ReaderCounts(it) => self.sequenced(
                tag::READER_COUNTS,
                &v1::ReaderCounts { in_reply_to, ..it },
                out,
            ),
            Reply::MediaToken(it) => {
                self.sequenced(tag::MEDIA_TOKEN, &v1::MediaToken { in_reply_to, ..it }, out)
            }
            Reply::MediaUrls(it) => {
                self.sequenced(tag::MEDIA_URLS, &v1::MediaUrls { in_reply_to, ..it }, out)
            }
            Reply::Devices(it) => {
                self.sequenced(tag::DEVICES, &v1::Devices { in_reply_to, ..it }, out)
            }
            Reply::Profiles(it) => {
                self.sequenced(tag::PROFILES, &v1::Profiles { in_reply_to, ..it }, out)
            }
            Reply::Presences(it) => {
                self.sequenced(tag::PRESENCES, &v1::Presences { in_reply_to, ..it }, out)
            }
        };
    }

    /// Sends what follows the device's cursor; call only while
    /// [`Self::can_send`]. Returns the frame's number.
    pub fn page(&mut self, page: &EncodedPage, out: &mut BytesMut) -> FrameNumber {
        self.sequenced(tag::PAGE, page, out)
    }

    /// Answers a ping. The checkpoint must not name a frame that was not sent.
    pub fn pong(&mut self, id: u64, checkpoint: Option<v1::Checkpoint>, out: &mut BytesMut) {
        self.control(tag::PONG, &v1::Pong { id, checkpoint }, out);
    }

    /// Tells what may be lost; call only while [`Self::is_open`].
    pub fn hint(&mut self, hint: &Hint, out: &mut BytesMut) {
        match hint {
            Hint::ProfileChanged(it) => self.control(tag::PROFILE_CHANGED, it, out),
            Hint::Typing(it) => self.control(tag::TYPING, it, out),
            Hint::Presence(it) => self.control(tag::PRESENCE, it, out),
        }
    }

    /// Says goodbye; the peer has [`GOODBYE_TIMEOUT`] to close.
    pub fn goodbye(&mut self, goodbye: &v1::Goodbye, now: Moment, out: &mut BytesMut) {
        if !self.is_closing() {
            self.control(tag::GOODBYE, goodbye, out);
            self.state = State::Closing {
                deadline: now + GOODBYE_TIMEOUT,
            };
        }
    }

    fn control(&mut self, tag: u32, body: &impl Message, out: &mut BytesMut) {
        let ack = self.receive.ack();
        write_frame(FrameNumber::ZERO, ack, tag, body, out);
    }

    fn sequenced(&mut self, tag: u32, body: &impl Message, out: &mut BytesMut) -> FrameNumber {
        let ack = self.receive.ack();
        let size = write_frame(self.send.upcoming(), ack, tag, body, out);
        self.send.number(size)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Moment {
        match self.state {
            State::AwaitingHello { deadline, .. }
            | State::Authenticating { deadline, .. }
            | State::Closing { deadline } => deadline,
            State::Open => {
                let idle_at = self.heard_at + IDLE_TIMEOUT;
                self.receive
                    .ack_due_at()
                    .map_or(idle_at, |at| at.min(idle_at))
            }
        }
    }

    /// Time has passed: writes an acknowledgement that is due.
    ///
    /// # Errors
    ///
    /// [`TimedOut`]: close the connection.
    pub fn handle_timeout(&mut self, now: Moment, out: &mut BytesMut) -> Result<(), TimedOut> {
        match self.state {
            State::AwaitingHello { deadline, .. } | State::Authenticating { deadline, .. }
                if now >= deadline =>
            {
                return Err(TimedOut::Hello);
            }
            State::Closing { deadline } if now >= deadline => return Err(TimedOut::Goodbye),
            State::Open if now >= self.heard_at + IDLE_TIMEOUT => return Err(TimedOut::Idle),
            State::AwaitingHello { .. }
            | State::Authenticating { .. }
            | State::Open
            | State::Closing { .. } => {}
        }
        if self.receive.ack_due_at().is_some_and(|at| now >= at) {
            let ack = self.receive.ack().get();
            v1::ServerFrame {
                ack,
                ..Default::default()
            }
            .write(out);
        }
        Ok(())
    }

    /// How long the peer has been silent.
    #[must_use]
    pub fn silent_for(&self, now: Moment) -> Duration {
        now.since(self.heard_at)
    }
}
