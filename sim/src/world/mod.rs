//! Small worlds: devices with their outboxes, one server with its log, and a
//! network between them that does everything a network may do.
//!
//! Sessions, links and outboxes are the real ones; the log and the local
//! databases are models of what must survive a crash. A run is a list of
//! [`Step`]s: bytes move, batches are stored or committed, things break. The
//! promises are checked at every step, and once more after the network heals:
//! then everything handed in must be in the log once, in its sender's order, and
//! every device must hold the log.
//!
//! A checker that finds nothing proves nothing: [`Mutant`] builds well-known
//! mistakes into the world, and each must be caught.

mod check;
mod device;
mod heal;
mod network;
mod server;
mod step;

use std::{collections::BTreeMap, fmt, time::Duration};

use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId},
    moment::Moment,
    wire::v1,
};

pub use self::step::{FAULT_KINDS, Faults, Step, steps_of_seed};
use self::{
    check::check_taken,
    device::{Device, Pending},
    network::Connection,
    server::{Log, ServerLink, commit_orphan},
};

/// The token of every device: what is not under test is simple.
const TOKEN: [u8; 32] = [7; 32];

/// Devices in a world.
pub const DEVICES: usize = 2;

/// Conversations in a world; all devices read all of them.
pub const CONVERSATIONS: usize = 2;

/// A promise that was not kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// Which one: D1 to D12, or a rule of the protocol.
    pub promise: &'static str,
    /// What happened instead.
    pub what: String,
}

impl Broken {
    fn new(promise: &'static str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { promise, what }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is broken: {}", self.promise, self.what)
    }
}

impl std::error::Error for Broken {}

/// A mistake built into the world, to see that it is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// No mistake.
    None,
    /// The device acknowledges a frame when it arrives.
    AcksBeforeStoring,
    /// The server appends again what it knows already.
    ForgetsIds,
    /// The device sends only once what a connection loses.
    SkipsResend,
    /// The device stores a pong's cursor before the frames that it stands behind.
    AppliesCheckpointAtOnce,
    /// The server goes on with a connection behind a request that it could not do.
    GoesOnAfterFailure,
    /// The server puts the log's head into pongs instead of the session's place.
    PongOvertakes,
}

/// What a run cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Effort {
    /// Messages handed in.
    pub handed_in: u64,
    /// Requests that reached the server.
    pub requests: u64,
    /// Connections opened.
    pub connections: u64,
    /// Violations of the protocol found by either side.
    pub violations: u64,
}

/// The whole world.
#[derive(Debug)]
pub struct World {
    now: Moment,
    mutant: Mutant,
    devices: Vec<Device>,
    log: Log,
    /// All that ever were, by number; over ones keep their bytes for replay.
    connections: Vec<Connection>,
    /// The server's ends that live.
    sessions: BTreeMap<usize, ServerLink>,
    /// Batches whose answer was lost and which may still be committed.
    orphans: Vec<Vec<(MessageId, ConversationId)>>,
    /// All messages in the order in which they were handed in.
    handed_in: Vec<(DeviceId, Pending)>,
    /// How far each device's cursor was checked against its store.
    checked: BTreeMap<DeviceId, usize>,
    /// Requests by connection and frame number, to check what an ack promises.
    requests: BTreeMap<(usize, u64), MessageId>,
    effort: Effort,
    trace: String,
}

impl World {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new(mutant: Mutant) -> Self {
        let devices = (0..DEVICES)
            .map(|index| Device::new(DeviceId::new([index as u8 + 1; 16])))
            .collect();
        Self {
            now: Moment::START,
            mutant,
            devices,
            log: Log::default(),
            connections: Vec::new(),
            sessions: BTreeMap::new(),
            orphans: Vec::new(),
            handed_in: Vec::new(),
            checked: BTreeMap::new(),
            requests: BTreeMap::new(),
            effort: Effort::default(),
            trace: String::new(),
        }
    }

    /// Runs `steps`, heals the network, and checks every promise.
    ///
    /// # Errors
    ///
    /// The first promise that is [`Broken`].
    pub fn run(mutant: Mutant, steps: &[Step]) -> Result<Self, Broken> {
        let mut world = Self::new(mutant);
        for step in steps {
            world.step(*step)?;
        }
        world.heal()?;
        Ok(world)
    }

    /// What it cost so far.
    #[must_use]
    pub const fn effort(&self) -> Effort {
        self.effort
    }

    /// What happened, a line each: the same steps give the same lines.
    #[must_use]
    pub fn trace(&self) -> &str {
        &self.trace
    }

    /// Entries in the log.
    #[must_use]
    pub fn log_length(&self) -> usize {
        self.log.entries.len()
    }

    fn note(&mut self, line: fmt::Arguments<'_>) {
        use fmt::Write as _;
        if writeln!(self.trace, "{:?} {line}", self.now.since_start()).is_err() {
            self.trace.clear();
        }
    }

    fn hand_in(&mut self, device: usize, count: usize, conversation: u8, text_size: usize) {
        let Some(it) = self.devices.get_mut(device) else {
            return;
        };
        for _ in 0..count {
            it.written += 1;
            let pending = Pending {
                id: message_id(it.id, it.written),
                conversation: ConversationId::new([conversation; 16]),
                text_size,
            };
            it.hand_in(pending);
            self.handed_in.push((it.id, pending));
            self.effort.handed_in += 1;
        }
    }

    fn connect(&mut self, device: usize) -> Result<(), Broken> {
        let now = self.now;
        let connection = self.connections.len();
        let Some(it) = self.devices.get_mut(device) else {
            return Ok(());
        };
        if it.link.is_some() {
            return Ok(());
        }
        it.connect(connection, now);
        self.connections.push(Connection::default());
        self.sessions.insert(connection, ServerLink::new(now));
        self.effort.connections += 1;
        self.note(format_args!(
            "device {device} opens connection {connection}"
        ));
        self.flush_device(device)
    }

    /// What the device has written goes onto its connection.
    fn flush_device(&mut self, device: usize) -> Result<(), Broken> {
        let Some(link) = self.devices.get_mut(device).and_then(|it| it.link.as_mut()) else {
            return Ok(());
        };
        let connection = link.connection;
        note_requests(connection, &link.out, &mut self.requests)?;
        match self.connections.get_mut(connection) {
            Some(it) => it.up.write::<v1::ClientFrame>(&mut link.out),
            None => Ok(()),
        }
    }

    fn flush_server(&mut self, connection: usize) -> Result<(), Broken> {
        let Some(link) = self.sessions.get_mut(&connection) else {
            return Ok(());
        };
        let Some(it) = self.connections.get_mut(connection) else {
            return Ok(());
        };
        it.down.write::<v1::ServerFrame>(&mut link.out)?;
        if link.is_ending() {
            // Goodbye is the last frame; what is under way still arrives.
            it.down.ended = true;
            self.sessions.remove(&connection);
        }
        Ok(())
    }

    /// Up to `size` bytes reach the server.
    fn move_up(&mut self, connection: usize, size: usize) -> Result<(), Broken> {
        let Some(it) = self.connections.get_mut(connection) else {
            return Ok(());
        };
        let bytes = it.up.take(size);
        let over = it.up.is_over();
        if let Some(link) = self.sessions.get_mut(&connection) {
            let Connection { up, down, .. } = it;
            let taken = |frame: &[u8]| check_taken::<v1::ClientFrame>(frame, up, down).map(drop);
            let seen = link.handle_bytes(&bytes, &mut self.log, self.now, self.mutant, taken)?;
            self.effort.requests += seen.requests;
            let tampered = it.tampered;
            self.check_stored(connection)?;
            self.flush_server(connection)?;
            if let Some(violation) = seen.violation {
                self.blame(connection, tampered, "device", &violation)?;
            }
            if seen.ended {
                self.sessions.remove(&connection);
                self.end_down(connection);
            }
            self.fence()?;
        }
        if over && self.sessions.remove(&connection).is_some() {
            self.end_down(connection);
        }
        Ok(())
    }

    fn end_down(&mut self, connection: usize) {
        if let Some(it) = self.connections.get_mut(connection) {
            it.down.ended = true;
        }
    }

    /// A connection older than its device's newest is told goodbye.
    fn fence(&mut self) -> Result<(), Broken> {
        let fenced: Vec<usize> = self
            .sessions
            .iter()
            .filter(|(_, link)| link.is_fenced(&self.log))
            .map(|(connection, _)| *connection)
            .collect();
        for connection in fenced {
            if let Some(link) = self.sessions.get_mut(&connection) {
                link.end(v1::ErrorCode::Replaced, self.now);
            }
            self.flush_server(connection)?;
        }
        Ok(())
    }

    /// Up to `size` bytes reach the device.
    fn move_down(&mut self, device: usize, size: usize) -> Result<(), Broken> {
        let Some(it) = self.devices.get_mut(device) else {
            return Ok(());
        };
        let Some(connection) = it.link.as_ref().map(|link| link.connection) else {
            return Ok(());
        };
        let Some(network) = self.connections.get_mut(connection) else {
            return Ok(());
        };
        let bytes = network.down.take(size);
        let over = network.down.is_over();
        let Connection { up, down, .. } = network;
        let mut acks = Vec::new();
        let heard = it.handle_bytes(&bytes, self.now, self.mutant, |frame| {
            acks.push(check_taken::<v1::ServerFrame>(frame, down, up)?);
            Ok(())
        })?;
        let tampered = network.tampered;
        for ack in acks {
            self.check_committed(connection, ack)?;
        }
        if let Some(violation) = heard.violation {
            self.blame(connection, tampered, "server", &violation)?;
        }
        self.flush_device(device)?;
        if heard.ended || over {
            self.hang_up(device);
        }
        Ok(())
    }

    /// The device gives its connection up.
    fn hang_up(&mut self, device: usize) {
        let Some(it) = self.devices.get_mut(device) else {
            return;
        };
        let Some(link) = &it.link else { return };
        let connection = link.connection;
        it.lose_connection(self.mutant);
        if let Some(network) = self.connections.get_mut(connection) {
            network.up.ended = true;
        }
        self.note(format_args!(
            "device {device} leaves connection {connection}"
        ));
    }

    /// A peer that follows the rules is never accused of breaking them.
    fn blame(
        &mut self,
        connection: usize,
        tampered: bool,
        who: &str,
        violation: &str,
    ) -> Result<(), Broken> {
        self.effort.violations += 1;
        self.note(format_args!(
            "connection {connection}: {who} accused: {violation}"
        ));
        if tampered {
            return Ok(());
        }
        Err(Broken::new(
            "link",
            format!("an honest {who} is accused: {violation}"),
        ))
    }

    fn wait(&mut self, time: Duration) -> Result<(), Broken> {
        self.now = self.now + time;
        for device in 0..self.devices.len() {
            let it = self.devices.get_mut(device);
            let alive = it.is_none_or(|it| it.handle_timeout(self.now));
            self.flush_device(device)?;
            if !alive {
                self.hang_up(device);
            }
        }
        for connection in self.sessions.keys().copied().collect::<Vec<_>>() {
            let link = self.sessions.get_mut(&connection);
            let alive = link.is_none_or(|link| link.handle_timeout(self.now));
            self.flush_server(connection)?;
            if !alive {
                self.sessions.remove(&connection);
                self.end_down(connection);
            }
        }
        Ok(())
    }

    fn commit_orphan(&mut self, choice: usize) {
        if !self.orphans.is_empty() {
            let batch = self.orphans.remove(choice % self.orphans.len());
            commit_orphan(&batch, &mut self.log, self.mutant);
        }
    }
}

/// Remembers which frame carries which message.
fn note_requests(
    connection: usize,
    out: &[u8],
    requests: &mut BTreeMap<(usize, u64), MessageId>,
) -> Result<(), Broken> {
    use magpie_protocol::frame::{Frame as _, Split, split};
    let mut rest = out;
    while let Ok(Split::Frame(frame, behind)) = split(rest, usize::MAX) {
        rest = behind;
        let frame = v1::ClientFrame::parse(frame, usize::MAX)
            .map_err(|error| Broken::new("wire", error.to_string()))?;
        if let Some(v1::client_frame::Body::SendMessage(message)) = frame.body
            && let Ok(id) = MessageId::try_from(message.message_id.as_ref())
        {
            requests.insert((connection, frame.number), id);
        }
    }
    Ok(())
}

/// The id of a device's message: whose, and its place in the person's order.
fn message_id(device: DeviceId, place: u32) -> MessageId {
    let mut bytes = device.bytes();
    let (_, tail) = bytes.split_at_mut(12);
    tail.copy_from_slice(&place.to_be_bytes());
    MessageId::new(bytes)
}

/// Every 16th message of a device is one that the server refuses for good.
fn is_refusable(id: MessageId) -> bool {
    id.bytes().last().is_some_and(|last| last % 16 == 15)
}
