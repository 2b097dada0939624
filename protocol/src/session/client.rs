//! The client's side of a session.

use bytes::{Bytes, BytesMut};

use super::{Hint, Violation};
use crate::{
    frame::{Frame as _, FrameLimits},
    limits::{
        HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL_MIN, PONG_TIMEOUT, PROGRESS_TIMEOUT, WELCOME_TIMEOUT,
    },
    link::{Receive, Send},
    moment::Moment,
    seq::FrameNumber,
    wire::v1,
};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is committed.
    Accepted(v1::Accepted),
    /// It is done.
    Done,
    /// It is refused.
    Error(v1::Error),
    /// Events.
    History(v1::History),
    /// Descriptions of conversations.
    Conversations(v1::Conversations),
    /// Members of a conversation.
    Members(v1::Members),
    /// Who is kept out of a group.
    Bans(v1::Bans),
    /// Invites to a group.
    Invites(v1::Invites),
    /// To which group an invite leads.
    InvitePreview(v1::InvitePreview),
    /// How many have read messages.
    ReaderCounts(v1::ReaderCounts),
    /// Leave to upload.
    MediaToken(v1::MediaToken),
    /// Where photos and files are to be had.
    MediaUrls(v1::MediaUrls),
    /// The user's devices.
    Devices(v1::Devices),
    /// What others say of themselves.
    Profiles(v1::Profiles),
    /// Whether others are there.
    Presences(v1::Presences),
}

/// What a frame from the server means.
///
/// Whoever receives one with a `number` stores its effect, then calls
/// [`ClientSession::handled`] with it (D7).
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The hello was accepted.
    Welcome(v1::Welcome),
    /// The registration or sign-in was accepted.
    SignedIn(v1::SignedIn),
    /// The registration or sign-in was refused.
    Refused(v1::Error),
    /// What follows the device's cursor.
    Page {
        /// To be handled.
        number: FrameNumber,
        /// To be stored, with its cursor.
        page: v1::Page,
    },
    /// The answer to a request.
    Answer {
        /// To be handled.
        number: FrameNumber,
        /// Which request.
        in_reply_to: FrameNumber,
        /// What became of it.
        answer: Answer,
    },
    /// A critical frame that this version does not know: the client must be
    /// updated before it can go on.
    Unsupported,
    /// The server ends the session.
    Goodbye(v1::Goodbye),
    /// What may be lost: nothing is stored or acknowledged for it.
    Hint(Hint),
    /// Nothing for the caller to do.
    Nothing,
}

/// The connection is of no use any more: open another and resume.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Lost {
    /// No Welcome within [`WELCOME_TIMEOUT`].
    #[error("no welcome within {WELCOME_TIMEOUT:?}")]
    Welcome,
    /// No Pong within [`PONG_TIMEOUT`].
    #[error("no pong within {PONG_TIMEOUT:?}")]
    Pong,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Hello, Register or `SignIn` is, or will be, on its way.
    AwaitingWelcome { deadline: Moment },
    /// Frames flow.
    Open,
    /// Somebody said goodbye.
    Closed,
}

/// The client's side of one connection.
#[derive(Debug)]
pub struct ClientSession {
    state: State,
    send: Send,
    receive: Receive,
    /// The ping that is not answered yet: its id and when it left.
    pinged: Option<(u64, Moment)>,
    last_ping: u64,
    /// When the last ping left.
    last_ping_at: Option<Moment>,
    ping_at: Moment,
    /// When the link last progressed: something acknowledged, or a first frame
    /// sent into an idle link, or a pong that said "wait".
    progress_at: Moment,
    checkpoint: Option<v1::Checkpoint>,
    /// The cursor that the device has stored.
    cursor: Bytes,
}

impl ClientSession {
    /// A session on a connection that is ready `now`, of a device that has
    /// stored `cursor`.
    #[must_use]
    pub fn new(cursor: Bytes, now: Moment) -> Self {
        Self {
            state: State::AwaitingWelcome {
                deadline: now + WELCOME_TIMEOUT,
            },
            send: Send::default(),
            receive: Receive::default(),
            pinged: None,
            last_ping: 0,
            last_ping_at: None,
            ping_at: now + HEARTBEAT_INTERVAL,
            progress_at: now,
            checkpoint: None,
            cursor,
        }
    }

    /// Sends Hello, Register or `SignIn`. Requests may follow a hello at once.
    pub fn introduce(&mut self, body: v1::client_frame::Body, out: &mut BytesMut) {
        self.control(body, out);
    }

    /// Whether the server has welcomed us and nobody said goodbye.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether somebody said goodbye.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Takes one frame, without its length.
    ///
    /// # Errors
    ///
    /// [`Violation`]: the server (or something in between) is broken; close.
    pub fn handle_frame(&mut self, bytes: Bytes, now: Moment) -> Result<Incoming, Violation> {
        use v1::server_frame::Body;
        let size = bytes.len();
        let frame = v1::ServerFrame::parse(bytes, FrameLimits::SERVER.elements_max)?;
        if self.send.handle_ack(FrameNumber::new(frame.ack))? > 0 {
            self.progress_at = now;
        }
        let number = FrameNumber::new(frame.number);
        let what = match &frame.body {
            Some(Body::Welcome(_)) => "welcome",
            Some(Body::SignedIn(_)) => "signed in",
            Some(Body::Refused(_)) => "refused",
            Some(Body::Pong(_)) => "pong",
            Some(Body::Goodbye(_)) => "goodbye",
            Some(Body::ProfileChanged(_) | Body::Typing(_) | Body::Presence(_)) => "a hint",
            _ => return self.handle_sequenced(frame, number, size, now),
        };
        if number != FrameNumber::ZERO {
            return Err(Violation::WronglyNumbered { what, number });
        }
        match (frame.body, self.state) {
            (_, State::Closed) => Ok(Incoming::Nothing),
            (Some(Body::Goodbye(goodbye)), _) => {
                self.state = State::Closed;
                Ok(Incoming::Goodbye(goodbye))
            }
            (Some(Body::Welcome(welcome)), State::AwaitingWelcome { .. }) => {
                self.state = State::Open;
                self.progress_at = now;
                Ok(Incoming::Welcome(welcome))
            }
            (Some(Body::SignedIn(signed_in)), State::AwaitingWelcome { .. }) => {
                self.state = State::AwaitingWelcome {
                    deadline: now + WELCOME_TIMEOUT,
                };
                Ok(Incoming::SignedIn(signed_in))
            }
            (Some(Body::Refused(error)), State::AwaitingWelcome { .. }) => {
                Ok(Incoming::Refused(error))
            }
            (Some(Body::Pong(pong)), State::Open) => {
                self.handle_pong(pong, now)?;
                Ok(Incoming::Nothing)
            }
            (Some(Body::ProfileChanged(it)), State::Open) => {
                Ok(Incoming::Hint(Hint::ProfileChanged(it)))
            }
            (Some(Body::Typing(it)), State::Open) => Ok(Incoming::Hint(Hint::Typing(it))),
            (Some(Body::Presence(it)), State::Open) => Ok(Incoming::Hint(Hint::Presence(it))),
            _ => Err(Violation::OutOfPlace {
                what,
                state: "in this state",
            }),
        }
    }

    fn handle_pong(&mut self, pong: v1::Pong, now: Moment) -> Result<(), Violation> {
        if self.pinged.is_some_and(|(id, _)| id == pong.id) {
            self.pinged = None;
            self.progress_at = now;
        }
        if let Some(checkpoint) = pong.checkpoint {
            let number = FrameNumber::new(checkpoint.after_frame);
            if number > self.receive.received() {
                let what = "the frame of a checkpoint";
                return Err(Violation::WronglyNumbered { what, number });
            }
            self.checkpoint = Some(checkpoint);
        }
        Ok(())
    }

    fn handle_sequenced(
        &mut self,
        frame: v1::ServerFrame,
        number: FrameNumber,
        size: usize,
        now: Moment,
    ) -> Result<Incoming, Violation> {
        use v1::server_frame::Body;
        if number == FrameNumber::ZERO {
            return match frame.body {
                Some(_) => Err(Violation::WronglyNumbered {
                    what: "a sequenced frame",
                    number,
                }),
                None if frame.critical => Ok(Incoming::Unsupported),
                None => Ok(Incoming::Nothing),
            };
        }
        if !self.is_open() {
            let (what, state) = ("a sequenced frame", "outside the session");
            return Err(Violation::OutOfPlace { what, state });
        }
        self.receive.take(number, size)?;
        let (in_reply_to, answer) = match frame.body {
            Some(Body::Page(page)) => {
                if !page.cursor.is_empty() {
                    // It lies behind the checkpoint's: the device must not go back.
                    self.checkpoint = None;
                }
                return Ok(Incoming::Page { number, page });
            }
            Some(Body::Accepted(it)) => (it.in_reply_to, Answer::Accepted(it)),
            Some(Body::Done(it)) => (it.in_reply_to, Answer::Done),
            Some(Body::Error(it)) => (it.in_reply_to, Answer::Error(it)),
            Some(Body::History(it)) => (it.in_reply_to, Answer::History(it)),
            Some(Body::Conversations(it)) => (it.in_reply_to, Answer::Conversations(it)),
            Some(Body::Members(it)) => (it.in_reply_to, Answer::Members(it)),
            Some(Body::Bans(it)) => (it.in_reply_to, Answer::Bans(it)),
            Some(Body::Invites(it)) => (it.in_reply_to, Answer::Invites(it)),
            Some(Body::InvitePreview(it)) => (it.in_reply_to, Answer::InvitePreview(it)),
            Some(Body::ReaderCounts(it)) => (it.in_reply_to, Answer::ReaderCounts(it)),
            Some(Body::MediaToken(it)) => (it.in_reply_to, Answer::MediaToken(it)),
            Some(Body::MediaUrls(it)) => (it.in_reply_to, Answer::MediaUrls(it)),
            Some(Body::Devices(it)) => (it.in_reply_to, Answer::Devices(it)),
            Some(Body::Profiles(it)) => (it.in_reply_to, Answer::Profiles(it)),
            Some(Body::Presences(it)) => (it.in_reply_to, Answer::Presences(it)),
            Some(
                Body::Welcome(_)
                | Body::SignedIn(_)
                | Body::Refused(_)
                | Body::Pong(_)
                | Body::Goodbye(_)
                | Body::ProfileChanged(_)
                | Body::Typing(_)
                | Body::Presence(_),
            ) => return Ok(Incoming::Nothing),
            None if frame.critical => return Ok(Incoming::Unsupported),
            None => {
                self.receive.handled(number, now);
                return Ok(Incoming::Nothing);
            }
        };
        let in_reply_to = FrameNumber::new(in_reply_to);
        Ok(Incoming::Answer {
            number,
            in_reply_to,
            answer,
        })
    }

    /// The effect of the server's frame is in the local database (D7).
    pub fn handled(&mut self, number: FrameNumber, now: Moment) {
        self.receive.handled(number, now);
    }

    /// A cursor from a pong that may be stored now, since every frame that it
    /// stands behind is handled. Tell [`Self::stored`] after that.
    pub fn take_checkpoint(&mut self) -> Option<Bytes> {
        let handled = self.receive.handled_up_to().get();
        self.checkpoint
            .take_if(|checkpoint| checkpoint.after_frame <= handled)
            .map(|checkpoint| checkpoint.cursor)
    }

    /// The device has stored this cursor; the next ping says so.
    pub fn stored(&mut self, cursor: Bytes) {
        self.cursor = cursor;
    }

    /// Whether a request may leave now.
    #[must_use]
    pub fn can_send(&self) -> bool {
        !self.is_closed() && self.send.is_open()
    }

    /// Requests sent and not acknowledged.
    #[must_use]
    pub fn is_all_acked(&self) -> bool {
        self.send.is_idle()
    }

    /// Sends a request; call only while [`Self::can_send`]. Returns the number
    /// that its answer will name.
    pub fn request(
        &mut self,
        body: v1::client_frame::Body,
        now: Moment,
        out: &mut BytesMut,
    ) -> FrameNumber {
        if self.send.is_idle() {
            self.progress_at = now;
        }
        let number = self.send.upcoming();
        let before = out.len();
        v1::ClientFrame {
            number: number.get(),
            ack: self.receive.ack().get(),
            critical: true,
            body: Some(body),
        }
        .write(out);
        self.send
            .number(out.len() - before - crate::limits::LENGTH_SIZE)
    }

    /// Says goodbye.
    pub fn goodbye(&mut self, out: &mut BytesMut) {
        let goodbye = v1::Goodbye {
            code: v1::ErrorCode::Closed.into(),
            ..Default::default()
        };
        self.control(v1::client_frame::Body::Goodbye(goodbye), out);
        self.state = State::Closed;
    }

    fn control(&mut self, body: v1::client_frame::Body, out: &mut BytesMut) {
        v1::ClientFrame {
            ack: self.receive.ack().get(),
            body: Some(body),
            ..Default::default()
        }
        .write(out);
    }

    /// Tells that the user types, or does not any more; call only while
    /// [`Self::is_open`]. It may be lost.
    pub fn typing(&mut self, typing: v1::Typing, out: &mut BytesMut) {
        self.control(v1::client_frame::Body::Typing(typing), out);
    }

    /// Asks for a sign of life, and for a checkpoint, unless a ping is under way.
    /// What comes too soon after the last one leaves as soon as it may.
    pub fn ping(&mut self, now: Moment, out: &mut BytesMut) {
        if let Some(last_at) = self.last_ping_at
            && now.since(last_at) < HEARTBEAT_INTERVAL_MIN
        {
            self.ping_at = self.ping_at.min(last_at + HEARTBEAT_INTERVAL_MIN);
            return;
        }
        if self.is_open() && self.pinged.is_none() {
            self.last_ping += 1;
            self.last_ping_at = Some(now);
            self.pinged = Some((self.last_ping, now));
            self.ping_at = now + HEARTBEAT_INTERVAL;
            let ping = v1::Ping {
                id: self.last_ping,
                cursor: self.cursor.clone(),
            };
            self.control(v1::client_frame::Body::Ping(ping), out);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        match self.state {
            State::AwaitingWelcome { deadline } => Some(deadline),
            State::Open => {
                let ping_at = match self.pinged {
                    Some((_, at)) => at + PONG_TIMEOUT,
                    None if self.send.is_idle() => self.ping_at,
                    None => self.ping_at.min(self.progress_at + PROGRESS_TIMEOUT),
                };
                Some(
                    self.receive
                        .ack_due_at()
                        .map_or(ping_at, |at| at.min(ping_at)),
                )
            }
            State::Closed => None,
        }
    }

    /// Time has passed: writes the acknowledgement or the ping that is due.
    ///
    /// # Errors
    ///
    /// [`Lost`]: close the connection and open another.
    pub fn handle_timeout(&mut self, now: Moment, out: &mut BytesMut) -> Result<(), Lost> {
        match self.state {
            State::AwaitingWelcome { deadline } if now >= deadline => return Err(Lost::Welcome),
            State::AwaitingWelcome { .. } | State::Closed => return Ok(()),
            State::Open => {}
        }
        if self.pinged.is_some_and(|(_, at)| now >= at + PONG_TIMEOUT) {
            return Err(Lost::Pong);
        }
        let stuck = !self.send.is_idle() && now >= self.progress_at + PROGRESS_TIMEOUT;
        if stuck || now >= self.ping_at {
            self.ping(now, out);
        }
        if self.receive.ack_due_at().is_some_and(|at| now >= at) {
            let ack = self.receive.ack().get();
            v1::ClientFrame {
                ack,
                ..Default::default()
            }
            .write(out);
        }
        Ok(())
    }
}
