//! One connection: what arrives is collected, written in turns, and only then
//! acknowledged; what waits is sent as far as the window allows.
//!
//! While a turn is written, frames go on being read, so heartbeats are answered
//! and the next turn grows by itself: many pages cost one write to the disk. The
//! window bounds what can collect.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use bytes::BytesMut;
use magpie_protocol::{
    frame::{FrameLimits, Split, split},
    id::{ConversationId, MessageId, UserId},
    limits::{GOODBYE_TIMEOUT, LENGTH_SIZE, PROTOCOL_VERSION},
    moment::Moment,
    outbox::Outbox,
    seq::{FrameNumber, Seq},
    session::ClientSession,
    typing::TypingPace,
    wire::v1::{self, client_frame::Body},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split as halves},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{
    Answered, Command, Device, Driver, End, Reply, Stream, connect::system_reason,
    presence::Watching, profiles::Profiles, typing::Typists,
};
use crate::{
    database::{Credential, Load, Turn, Work},
    error::DisconnectReason,
    model::{Gap, MembersPlace},
};

/// Bytes to make room for before each read.
const READ_SIZE: usize = 16 * 1024;

/// What had come when a write failed is read within this time.
const REST_WITHIN: Duration = Duration::from_millis(200);

/// What an answer is for.
pub(super) enum Purpose {
    Read(ConversationId, Seq),
    Fill {
        gap: Gap,
        ask: u64,
    },
    Members {
        place: MembersPlace,
        ask: u64,
    },
    Profiles(Vec<UserId>),
    /// Which change of whom the app watches.
    Watch(u64),
    Ask(Reply<Answered>),
    SignOut(Reply<()>),
}

/// A request of the moment that waits for the window.
pub(super) struct Waiting {
    pub(super) body: Body,
    pub(super) purpose: Purpose,
}

pub(super) struct Connection<'a> {
    pub(super) driver: &'a mut Driver,
    pub(super) session: ClientSession,
    started: Instant,
    pub(super) out: BytesMut,
    /// What was written may still be inside the TLS layer.
    unflushed: bool,
    inbound: BytesMut,

    pub(super) outbox: Outbox,
    pub(super) bodies: HashMap<MessageId, Body>,
    /// The outbox was read up to here.
    pub(super) read_up_to: i64,
    pub(super) more_waiting: bool,
    pub(super) reads_changed: bool,
    /// They wait for an answer to something of the outbox.
    pub(super) reads_held: bool,
    pub(super) reads: VecDeque<(ConversationId, Seq)>,
    pub(super) reads_sent: HashMap<ConversationId, Seq>,
    /// The history whose events are held, as the hello names it.
    pub(super) held: (u64, u64),
    /// Another one is being taken over.
    pub(super) holds_outbox: bool,
    pub(super) missing: VecDeque<Gap>,
    pub(super) filling: HashSet<(ConversationId, Seq)>,
    pub(super) asks: VecDeque<Waiting>,
    pub(super) purposes: HashMap<FrameNumber, Purpose>,
    pub(super) fill_replies: HashMap<u64, Reply<usize>>,
    pub(super) members_replies: HashMap<u64, Reply<bool>>,
    pub(super) last_ask: u64,
    pub(super) profiles: Profiles,
    pub(super) watching: Watching,
    pub(super) typists: Typists,
    pub(super) typing_pace: TypingPace,

    /// What came and is not being written yet, and the frames it came in.
    pub(super) works: Vec<Work>,
    pub(super) numbers: Vec<FrameNumber>,
    writing: Vec<FrameNumber>,
    pub(super) caught_up: bool,
    pub(super) worked: bool,
    pub(super) forget: Option<Reply<()>>,
    /// Nothing is begun any more: what came is written, and that is all.
    pub(super) has_ended: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn new(driver: &'a mut Driver, credential: &Credential) -> Self {
        Self {
            driver,
            session: ClientSession::new(credential.cursor.clone(), Moment::START),
            started: Instant::now(),
            out: BytesMut::new(),
            unflushed: false,
            inbound: BytesMut::new(),
            outbox: Outbox::default(),
            bodies: HashMap::new(),
            read_up_to: i64::MIN,
            more_waiting: true,
            reads_changed: true,
            reads_held: false,
            reads: VecDeque::new(),
            reads_sent: HashMap::new(),
            held: (credential.epoch, credential.base),
            holds_outbox: credential.takes_over,
            missing: VecDeque::new(),
            filling: HashSet::new(),
            asks: VecDeque::new(),
            purposes: HashMap::new(),
            fill_replies: HashMap::new(),
            members_replies: HashMap::new(),
            last_ask: 0,
            profiles: Profiles::default(),
            watching: Watching::default(),
            typists: Typists::default(),
            typing_pace: TypingPace::default(),
            works: Vec::new(),
            numbers: Vec::new(),
            writing: Vec::new(),
            caught_up: false,
            worked: false,
            forget: None,
            has_ended: false,
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::new(self.started.elapsed())
    }

    /// Runs until it ends. Also says whether it was of any use: whether a failure
    /// after this is a first one.
    pub(super) async fn run(
        mut self,
        stream: Box<dyn Stream>,
        device: &Device,
        credential: &Credential,
    ) -> (End, bool) {
        let (mut from, mut to) = halves(stream);
        self.introduce(device, credential);
        let end = self.serve(&mut from, &mut to).await;
        self.forget_typists();
        self.forget_presences();
        let end = match self.write_the_rest().await {
            Ok(()) => end,
            Err(error) => match end {
                End::Stop(_) | End::Replaced(_) => end,
                End::Again { .. } => error,
            },
        };
        self.say_goodbye(&mut to).await;
        let end = self.forget_home(end).await;
        (end, self.worked)
    }

    fn introduce(&mut self, device: &Device, credential: &Credential) {
        let options = &self.driver.options;
        let hello = v1::Hello {
            protocol_version: PROTOCOL_VERSION,
            client_name: options.client_name.clone(),
            client_version: options.client_version.clone(),
            device_id: device.id.to_wire(),
            device_token: device.token.clone(),
            epoch: credential.epoch,
            base: credential.base,
            cursor: credential.cursor.clone(),
            background: options.background,
        };
        self.session.introduce(Body::Hello(hello), &mut self.out);
    }

    async fn serve(
        &mut self,
        from: &mut ReadHalf<Box<dyn Stream>>,
        to: &mut WriteHalf<Box<dyn Stream>>,
    ) -> End {
        let mut seen = 0;
        let mut watch = self.driver.options.watch_interval.map(interval);
        if let Some(watch) = &mut watch {
            watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        self.start_turn(Load {
            gaps: true,
            ..self.load()
        });
        loop {
            let input = self.input(from, to, watch.as_mut(), &mut seen).await;
            if let Err(end) = input.and_then(|()| self.output()) {
                return end;
            }
        }
    }

    /// Waits for one input and takes it.
    async fn input(
        &mut self,
        from: &mut ReadHalf<Box<dyn Stream>>,
        to: &mut WriteHalf<Box<dyn Stream>>,
        watch: Option<&mut tokio::time::Interval>,
        seen: &mut u64,
    ) -> Result<(), End> {
        let due_at = [
            self.session.poll_timeout(),
            self.typists.next_at(),
            self.watching.next_at(),
        ];
        let due_at = due_at.into_iter().flatten().min();
        let due_at = due_at.map(|at| self.started + at.since_start());
        self.inbound.reserve(READ_SIZE);
        let has_room = self.asks.len() < super::COMMANDS_MAX;
        let bells = self.driver.bells.clone();
        let Self {
            driver,
            inbound,
            out,
            unflushed,
            ..
        } = self;
        let must_write = *unflushed || !out.is_empty();
        tokio::select! {
            biased;
            () = bells.stop.notified() => Err(End::Stop(None)),
            changes = driver.store.finished() => match changes {
                Ok(changes) => {
                    self.written(changes);
                    Ok(())
                }
                Err(error) => Err(End::local(&error)),
            },
            read = from.read_buf(inbound) => match read {
                Ok(0) => Err(End::soon(DisconnectReason::Closed)),
                Ok(_) => self.take_frames(),
                Err(error) => Err(broken(&error)),
            },
            written = write_some(to, out, unflushed), if must_write => match written {
                Ok(()) => Ok(()),
                Err(error) => Err(self.hear_the_rest(from).await.unwrap_or(broken(&error))),
            },
            command = driver.commands.recv(), if has_room => {
                // The app has dropped its end.
                self.command(command.ok_or(End::Stop(None))?);
                Ok(())
            }
            () = bells.outbox.notified() => {
                self.look_into_outbox();
                Ok(())
            }
            // What is asked for follows from what is watched.
            () = bells.watched.bell.notified() => Ok(()),
            () = tick(watch) => {
                if self.driver.store.has_changed(seen) {
                    self.look_into_outbox();
                }
                Ok(())
            }
            () = at(due_at) => Ok(()),
        }
    }

    /// What the server said before nothing could be said to it any more: why, maybe.
    async fn hear_the_rest(&mut self, from: &mut ReadHalf<Box<dyn Stream>>) -> Option<End> {
        loop {
            self.inbound.reserve(READ_SIZE);
            let read = timeout(REST_WITHIN, from.read_buf(&mut self.inbound)).await;
            if !matches!(read, Ok(Ok(1..))) {
                return None;
            }
            if let Err(end) = self.take_frames() {
                return Some(end);
            }
        }
    }

    pub(super) fn look_into_outbox(&mut self) {
        self.more_waiting = true;
        self.reads_changed = true;
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Ask { body, reply } => self.asks.push_back(Waiting {
                body: *body,
                purpose: Purpose::Ask(reply),
            }),
            Command::Fill { gap, limit, reply } => self.ask_for_gap(gap, limit, reply),
            Command::Members { rest, reply } => self.ask_for_members(rest, reply),
            Command::Typing {
                conversation,
                typing,
                reply,
            } => self.type_in(conversation, typing, reply),
            Command::SignOut { body, reply } => self.asks.push_back(Waiting {
                body: *body,
                purpose: Purpose::SignOut(reply),
            }),
        }
    }

    fn take_frames(&mut self) -> Result<(), End> {
        loop {
            let limits = FrameLimits::SERVER;
            let size = match split(&self.inbound, limits.size_max) {
                Ok(Split::Frame(frame, _)) => frame.len(),
                Ok(Split::Incomplete(_)) => return Ok(()),
                Err(error) => {
                    return Err(End::soon(DisconnectReason::Violation(error.into())));
                }
            };
            let mut frame = self.inbound.split_to(LENGTH_SIZE + size);
            let frame = frame.split_off(LENGTH_SIZE).freeze();
            self.take_frame(frame)?;
        }
    }

    /// Everything that can leave or be written now.
    fn output(&mut self) -> Result<(), End> {
        self.expire_typists();
        let now = self.now();
        self.watching.come_due(now);
        self.session
            .handle_timeout(now, &mut self.out)
            .map_err(|lost| End::soon(DisconnectReason::Lost(lost)))?;
        let load = self.load();
        let has_work = !self.works.is_empty() || !self.numbers.is_empty();
        if !self.driver.store.is_busy() && (has_work || load.any()) {
            self.start_turn(load);
        }
        self.send_what_waits();
        Ok(())
    }

    fn start_turn(&mut self, load: Load) {
        self.more_waiting &= load.outbox.is_none();
        self.reads_changed &= !load.reads;
        self.profiles.loading(load.profiles);
        self.writing = std::mem::take(&mut self.numbers);
        let works = std::mem::take(&mut self.works);
        self.driver.store.start(Turn { works, load });
    }

    /// D7: acknowledged once it is in the local database.
    pub(super) fn acknowledge(&mut self) {
        let now = self.now();
        for number in self.writing.drain(..) {
            self.session.handled(number, now);
        }
    }

    /// The connection has ended: what has come is not thrown away. Afterwards no
    /// turn is under way, so the next connection may begin one.
    async fn write_the_rest(&mut self) -> Result<(), End> {
        self.has_ended = true;
        loop {
            if self.driver.store.is_busy() {
                match self.driver.store.finished().await {
                    Ok(changes) => self.written(changes),
                    Err(error) => return Err(End::local(&error)),
                }
            }
            if self.works.is_empty() {
                return Ok(());
            }
            self.start_turn(Load::default());
        }
    }

    /// Tells the server how far everything is stored. It may be gone already.
    async fn say_goodbye(&mut self, to: &mut WriteHalf<Box<dyn Stream>>) {
        if self.session.is_open() {
            self.session.goodbye(&mut self.out);
        }
        let leaving = async {
            to.write_all_buf(&mut self.out).await?;
            to.flush().await?;
            to.shutdown().await
        };
        let left = timeout(GOODBYE_TIMEOUT, leaving).await;
        tracing::trace!(?left, "connection closed");
    }

    /// The server has ended the credential because the person asked for it.
    async fn forget_home(&mut self, end: End) -> End {
        let Some(reply) = self.forget.take() else {
            return end;
        };
        let home = self.driver.home.clone();
        let forgotten = tokio::task::spawn_blocking(move || home.forget()).await;
        let answer = match forgotten {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(crate::error::RequestError::Local(error.to_string())),
            Err(_) => Err(crate::error::RequestError::NotConnected),
        };
        drop(reply.send(answer));
        End::Stop(None)
    }
}

/// A server that was killed does not say goodbye to TLS either.
fn broken(error: &std::io::Error) -> End {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return End::soon(DisconnectReason::Closed);
    }
    End::soon(DisconnectReason::Broken(system_reason(error)))
}

/// Writes as much as the stream takes, then pushes it on. May be cancelled
/// without loss.
async fn write_some(
    to: &mut WriteHalf<Box<dyn Stream>>,
    out: &mut BytesMut,
    unflushed: &mut bool,
) -> std::io::Result<()> {
    if out.is_empty() {
        to.flush().await?;
        *unflushed = false;
        return Ok(());
    }
    if to.write_buf(out).await? == 0 {
        return Err(std::io::ErrorKind::WriteZero.into());
    }
    *unflushed = true;
    if out.is_empty() {
        // An idle connection holds no buffers.
        *out = BytesMut::new();
    }
    Ok(())
}

async fn tick(watch: Option<&mut tokio::time::Interval>) {
    match watch {
        Some(watch) => drop(watch.tick().await),
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => sleep_until(Instant::now() + Duration::from_secs(3600)).await,
    }
}
