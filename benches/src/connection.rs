//! One connection: moves bytes between the socket and the protocol's session.

use std::{
    cell::RefCell,
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    limits::{LENGTH_SIZE, PROTOCOL_VERSION, SERVER_FRAME_SIZE_MAX},
    seq::FrameNumber,
    session::{Answer, ClientSession, Incoming},
    wire::v1::{self, client_frame::Body},
};
use tokio::{
    io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use crate::{clock, credentials::Device, dialer::Dialer};

/// Bytes taken from a socket at a time.
const READ_SIZE: usize = 32 * 1024;

thread_local! {
    /// Shared by all connections of a thread: an idle connection keeps no
    /// buffer of its own.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

/// A connection and its session.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    session: ClientSession,
    /// What was read and is no whole frame yet.
    inbound: BytesMut,
    outbound: BytesMut,
    timer: Pin<Box<Sleep>>,
    reads: u64,
}

impl Connection {
    /// Connects; nothing is said yet.
    ///
    /// # Errors
    ///
    /// As for [`Dialer::dial`].
    pub(crate) async fn open(dialer: &Dialer, cursor: Bytes) -> anyhow::Result<Self> {
        let stream = dialer.dial().await?;
        let now = clock::now();
        Ok(Self {
            stream,
            session: ClientSession::new(cursor, now),
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            timer: Box::pin(tokio::time::sleep_until(clock::instant(now))),
            reads: 0,
        })
    }

    /// Connects with a device's token and waits until it has caught up. The
    /// device keeps the cursor and the history that the server names.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the token is of no use; any other if the server did not
    /// play its part.
    pub(crate) async fn hello(dialer: &Dialer, device: &mut Device) -> anyhow::Result<Self> {
        Self::open(dialer, device.cursor())
            .await?
            .catch_up(device)
            .await
    }

    /// Says hello and waits until the device has caught up.
    ///
    /// # Errors
    ///
    /// As for [`Self::hello`].
    pub(crate) async fn catch_up(mut self, device: &mut Device) -> anyhow::Result<Self> {
        let connection = &mut self;
        let hello = v1::Hello {
            protocol_version: PROTOCOL_VERSION,
            client_name: "magpie-bench".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            device_id: device.id(),
            device_token: device.token(),
            epoch: device.epoch,
            base: device.base,
            cursor: device.cursor(),
            background: false,
        };
        connection.introduce(Body::Hello(hello));
        let mut incoming = Vec::new();
        let mut caught_up = false;
        while !caught_up {
            connection.flush().await?;
            connection.turn(&mut incoming).await?;
            for it in incoming.drain(..) {
                match it {
                    Incoming::Welcome(welcome) => {
                        (device.epoch, device.base) = (welcome.epoch, welcome.base);
                    }
                    Incoming::Page { number, page } => {
                        caught_up |= page.caught_up;
                        connection.store(number, &page, device);
                    }
                    Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
                    // Catching up may take longer than the time to a heartbeat.
                    Incoming::Hint(_) | Incoming::Nothing => {}
                    Incoming::SignedIn(_)
                    | Incoming::Refused(_)
                    | Incoming::Answer { .. }
                    | Incoming::Unsupported => bail!("a {} instead of a welcome", name(&it)),
                }
            }
        }
        Ok(self)
    }

    /// Asks for a checkpoint, as every client does that has been quiet for a
    /// while: a device that only sends gets no other news of where the log is.
    ///
    /// # Errors
    ///
    /// The connection ended.
    pub(crate) async fn checkpoint(&mut self, device: &mut Device) -> anyhow::Result<()> {
        let mut incoming = Vec::new();
        self.ping();
        loop {
            self.flush().await?;
            self.turn(&mut incoming).await?;
            for it in incoming.drain(..) {
                if let Incoming::Page { number, page } = it {
                    self.store(number, &page, device);
                }
            }
            if let Some(cursor) = self.session.take_checkpoint() {
                device.set_cursor(&cursor);
                return Ok(());
            }
        }
    }

    /// Queues Hello, Register or `SignIn`.
    pub(crate) fn introduce(&mut self, body: Body) {
        self.session.introduce(body, &mut self.outbound);
    }

    /// Takes a page at once: there is no database here, so receiving is
    /// handling.
    pub(crate) fn store(&mut self, number: FrameNumber, page: &v1::Page, device: &mut Device) {
        if !page.cursor.is_empty() {
            device.set_cursor(&page.cursor);
            self.session.stored(page.cursor.clone());
        }
        self.handled(number);
    }

    /// The frame needs nothing more.
    pub(crate) fn handled(&mut self, number: FrameNumber) {
        self.session.handled(number, clock::now());
    }

    /// Whether a request may leave now.
    pub(crate) fn can_send(&self) -> bool {
        self.session.can_send()
    }

    /// Queues a request; returns the number that its answer will name.
    pub(crate) fn request(&mut self, body: Body) -> FrameNumber {
        self.session.request(body, clock::now(), &mut self.outbound)
    }

    /// Queues a ping, unless one is under way.
    pub(crate) fn ping(&mut self) {
        self.session.ping(clock::now(), &mut self.outbound);
    }

    /// How often something arrived.
    pub(crate) const fn reads(&self) -> u64 {
        self.reads
    }

    /// Says goodbye and closes, as well as it can.
    pub(crate) async fn close(mut self) {
        self.session.goodbye(&mut self.outbound);
        // The peer may be gone already, which is what we wanted.
        if self.flush().await.is_ok() {
            drop(self.stream.shutdown().await);
        }
    }

    /// Writes what is queued or due, as one piece. Not to be cancelled.
    ///
    /// # Errors
    ///
    /// The connection is gone, or the server has been silent for too long.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.session.handle_timeout(now, &mut self.outbound)?;
        }
        if self.outbound.is_empty() {
            return Ok(());
        }
        self.stream.write_all(&self.outbound).await?;
        self.outbound.clear();
        self.stream.flush().await?;
        Ok(())
    }

    /// Sends a request and waits for its answer; pages that come in between
    /// are stored.
    ///
    /// # Errors
    ///
    /// The connection ended.
    pub(crate) async fn ask(&mut self, body: Body, device: &mut Device) -> anyhow::Result<Answer> {
        let asked = self.request(body);
        let mut incoming = Vec::new();
        loop {
            self.flush().await?;
            self.turn(&mut incoming).await?;
            let mut answered = None;
            for it in incoming.drain(..) {
                match it {
                    Incoming::Page { number, page } => self.store(number, &page, device),
                    Incoming::Answer {
                        number,
                        in_reply_to,
                        answer,
                    } => {
                        self.handled(number);
                        answered = (in_reply_to == asked).then_some(answer).or(answered);
                    }
                    Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
                    Incoming::Hint(_) | Incoming::Nothing => {}
                    Incoming::Welcome(_)
                    | Incoming::SignedIn(_)
                    | Incoming::Refused(_)
                    | Incoming::Unsupported => bail!("a {} instead of an answer", name(&it)),
                }
            }
            if let Some(answer) = answered {
                return Ok(answer);
            }
        }
    }

    /// Sends requests, as many at a time as the window lets, until all of them are
    /// accepted; pages that come in between are stored.
    ///
    /// # Errors
    ///
    /// One was refused, or the connection ended.
    pub(crate) async fn ask_all(
        &mut self,
        bodies: impl IntoIterator<Item = Body>,
        device: &mut Device,
    ) -> anyhow::Result<()> {
        let mut bodies = bodies.into_iter().peekable();
        let (mut asked, mut answered) = (0, 0);
        let mut incoming = Vec::new();
        while bodies.peek().is_some() || answered < asked {
            while self.can_send()
                && let Some(body) = bodies.next()
            {
                self.request(body);
                asked += 1;
            }
            self.flush().await?;
            self.turn(&mut incoming).await?;
            for it in incoming.drain(..) {
                match it {
                    Incoming::Page { number, page } => self.store(number, &page, device),
                    Incoming::Answer { number, answer, .. } => {
                        self.handled(number);
                        accepted(answer)?;
                        answered += 1;
                    }
                    Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
                    Incoming::Hint(_) | Incoming::Nothing => {}
                    Incoming::Welcome(_)
                    | Incoming::SignedIn(_)
                    | Incoming::Refused(_)
                    | Incoming::Unsupported => bail!("a {} instead of an answer", name(&it)),
                }
            }
        }
        Ok(())
    }

    /// Waits for bytes or for a deadline, and appends what came. May be
    /// cancelled: nothing is lost.
    ///
    /// # Errors
    ///
    /// The connection ended, or the server broke the protocol.
    pub(crate) async fn turn(&mut self, incoming: &mut Vec<Incoming>) -> anyhow::Result<()> {
        let due_at = self.session.poll_timeout().map(clock::instant);
        // A timer that rings early does no harm; moving it costs a lock.
        if let Some(due_at) = due_at
            && (due_at < self.timer.deadline() || self.timer.is_elapsed())
        {
            self.timer.as_mut().reset(due_at);
        }
        let (stream, inbound, timer) = (&mut self.stream, &mut self.inbound, &mut self.timer);
        let read = poll_fn(|context| match poll_read(stream, inbound, context) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => timer.as_mut().poll(context).map(|()| None),
        })
        .await;
        // A deadline alone: the next flush does what is due.
        let Some(size) = read else {
            return Ok(());
        };
        if size? == 0 {
            bail!("the server closed the connection");
        }
        self.reads += 1;
        let now = clock::now();
        while let Split::Frame(frame, _) = split(&self.inbound, SERVER_FRAME_SIZE_MAX)? {
            let size = frame.len();
            self.inbound.advance(LENGTH_SIZE);
            let frame = self.inbound.split_to(size).freeze();
            incoming.push(self.session.handle_frame(frame, now)?);
        }
        Ok(())
    }
}

fn poll_read(
    stream: &mut TlsStream<TcpStream>,
    inbound: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    READ_BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        inbound.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

/// The server does not want this device.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// What to do about it.
    pub(crate) action: v1::Action,
    /// How long to stay away.
    pub(crate) after: Duration,
    code: v1::ErrorCode,
    message: String,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.as_str_name();
        write!(formatter, "the server says {code}: {}", self.message)
    }
}

impl std::error::Error for Rejected {}

impl From<v1::Goodbye> for Rejected {
    fn from(goodbye: v1::Goodbye) -> Self {
        Self {
            action: goodbye.action(),
            after: Duration::from_millis(goodbye.after_ms.into()),
            code: goodbye.code(),
            message: goodbye.message,
        }
    }
}

impl From<v1::Error> for Rejected {
    fn from(error: v1::Error) -> Self {
        Self {
            action: error.action(),
            after: Duration::from_millis(error.after_ms.into()),
            code: error.code(),
            message: error.message,
        }
    }
}

/// What to call it in an error.
pub(crate) const fn name(incoming: &Incoming) -> &'static str {
    match incoming {
        Incoming::Welcome(_) => "welcome",
        Incoming::SignedIn(_) => "signed in",
        Incoming::Refused(_) => "refusal",
        Incoming::Page { .. } => "page",
        Incoming::Answer { .. } => "answer",
        Incoming::Unsupported => "frame of a newer version",
        Incoming::Goodbye(_) => "goodbye",
        Incoming::Hint(_) => "hint",
        Incoming::Nothing => "control frame",
    }
}

/// The accepted place of a message.
///
/// # Errors
///
/// It was refused, or answered with something else.
pub(crate) fn accepted(answer: Answer) -> anyhow::Result<v1::Accepted> {
    match answer {
        Answer::Accepted(accepted) => Ok(accepted),
        Answer::Error(error) => Err(Rejected::from(error)).context("a request was refused"),
        Answer::Done
        | Answer::History(_)
        | Answer::Conversations(_)
        | Answer::Members(_)
        | Answer::Bans(_)
        | Answer::Invites(_)
        | Answer::InvitePreview(_)
        | Answer::ReaderCounts(_)
        | Answer::MediaToken(_)
        | Answer::MediaUrls(_)
        | Answer::Devices(_)
        | Answer::Profiles(_)
        | Answer::Presences(_) => {
            bail!("an answer to another request")
        }
    }
}

/// The id of a request, or of a group, as clients make them.
pub(crate) fn new_id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}
