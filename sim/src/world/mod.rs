//! A world: devices with their outboxes and databases, one server with its log,
//! and a network between them that does everything a network may do.
//!
//! Sessions, links and outboxes are the real ones; the log and the local
//! databases are models of what must survive a crash. A run is a list of
//! [`Step`]s: bytes move, batches are stored or committed, things break.
//! Promises are checked at every step, and once more after the network heals:
//! then everything handed in must be in the log once, every device must hold
//! what is for it, and the checker looks at the whole history.
//!
//! Three drivers choose steps: numbers ([`steps_of_seed`]), an exhaustive search
//! ([`crate::search`]) and a clock ([`crate::swarm`]). A checker that finds
//! nothing proves nothing: [`Mutant`] builds mistakes into the world, and each
//! must be caught.

mod apply;
mod check;
mod chronicle;
mod content;
mod device;
mod heal;
mod history;
mod local;
mod log;
mod mutant;
mod network;
mod place;
mod possible;
mod random;
mod server;
mod soon;
mod state;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    moment::Moment,
    wire::v1,
};

pub(crate) use self::random::Random;
use self::{
    check::{check_taken, note_requests},
    content::{Content, message_id},
    device::Device,
    local::Pending,
    log::{Append, Log},
    network::Connection,
    place::Place,
    server::ServerLink,
};
pub use self::{
    mutant::Mutant,
    random::{FAULT_KINDS, Faults, steps_of_seed},
    step::{Act, NoStep, Step},
};

/// The token of every device: what is not under test is simple.
const TOKEN: [u8; 32] = [7; 32];

/// Devices in a world made from numbers.
pub const DEVICES: usize = 2;

/// When worlds begin, by clocks that are right: milliseconds since 1970.
const BEGAN_MS: i64 = 1_700_000_000_000;

/// A promise that was not kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broken {
    /// Which one: D1 to D12, or a rule of the protocol.
    pub promise: &'static str,
    /// What happened instead.
    pub what: String,
}

impl Broken {
    pub(crate) fn new(promise: &'static str, what: impl Into<String>) -> Self {
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

/// How a world begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setup {
    /// The user of each device.
    pub devices: Vec<u8>,
    /// The first members of each conversation.
    pub conversations: Vec<Vec<u8>>,
    /// Shards of the log.
    pub shards: usize,
    /// Every frame is kept and looked at twice; too much for a long run.
    pub strict: bool,
}

impl Setup {
    /// Two users with a device each, two conversations, and everything looked at.
    #[must_use]
    pub fn small() -> Self {
        Self {
            devices: vec![1, 2],
            conversations: vec![vec![1, 2]; 2],
            shards: 1,
            strict: true,
        }
    }
}

/// What a run cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Effort {
    /// Messages handed in.
    pub handed_in: u64,
    /// Requests that reached the server.
    pub requests: u64,
    /// Events that left in pages.
    pub paged: u64,
    /// Connections opened.
    pub connections: u64,
    /// Violations of the protocol found by either side.
    pub violations: u64,
    /// Faults that hit something.
    pub faults: u64,
    /// Times that the server was killed.
    pub kills: u64,
    /// Pushes that the server sent.
    pub wakes: u64,
    /// Pushes that were lost.
    pub wakes_lost: u64,
}

/// What the rules may know of the world around them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) now: Moment,
    /// The server's time of day, milliseconds since 1970.
    pub(crate) server_ms: i64,
    pub(crate) mutant: Mutant,
}

impl Context {
    /// Whose device it is: its id says so.
    #[expect(clippy::unused_self, reason = "what a look-up in the store would be")]
    pub(crate) const fn owner(self, device: DeviceId) -> Option<UserId> {
        let [_, user, ..] = device.bytes();
        Some(UserId::new([user; 16]))
    }
}

/// The whole world.
#[derive(Debug)]
pub struct World {
    now: Moment,
    mutant: Mutant,
    strict: bool,
    /// How far the server's clock is ahead, in milliseconds.
    server_clock_ms: i64,
    devices: Vec<Device>,
    log: Log,
    /// All that ever were; the ones that are over keep nothing, unless strict.
    connections: Vec<Connection>,
    /// Those of each device, oldest first.
    opened: Vec<Vec<usize>>,
    /// The server's ends that live.
    sessions: BTreeMap<usize, ServerLink>,
    /// Batches whose answer was lost and which may still be committed.
    orphans: Vec<Vec<Append>>,
    /// Pushes under way, by device.
    pushes: BTreeSet<usize>,
    wakes: Vec<magpie_audit::Wake>,
    /// Commits that a crash forgets: [`Mutant::AnswersBeforeCommit`].
    unsynced: usize,
    /// How far each device's cursor was checked against its store.
    checked: BTreeMap<usize, (u64, Place)>,
    /// Devices whose database was rolled back.
    rolled_back: BTreeSet<usize>,
    /// How far a replayed connection said, falsely, that a user's device has
    /// stored a conversation.
    forged: BTreeMap<(ConversationId, UserId), u64>,
    /// Requests by connection and frame number, to check what an ack promises.
    requests: BTreeMap<(usize, u64), MessageId>,
    effort: Effort,
}

impl World {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new(setup: &Setup, mutant: Mutant) -> Self {
        let devices: Vec<Device> = (0_u8..)
            .zip(&setup.devices)
            .map(|(index, user)| {
                let mut id = [0; 16];
                let (head, _) = id.split_at_mut(2);
                head.copy_from_slice(&[index + 1, *user]);
                let name = format!("device {index} of user {user}");
                Device::new(DeviceId::new(id), UserId::new([*user; 16]), name)
            })
            .collect();
        let founders = (0_u8..).zip(&setup.conversations).flat_map(|(id, users)| {
            let conversation = ConversationId::new([id; 16]);
            users
                .iter()
                .map(move |user| (conversation, UserId::new([*user; 16])))
        });
        Self {
            now: Moment::START,
            mutant,
            strict: setup.strict,
            server_clock_ms: 0,
            opened: vec![Vec::new(); devices.len()],
            devices,
            log: Log::new(setup.shards, founders.collect()),
            connections: Vec::new(),
            sessions: BTreeMap::new(),
            orphans: Vec::new(),
            pushes: BTreeSet::new(),
            wakes: Vec::new(),
            unsynced: 0,
            checked: BTreeMap::new(),
            rolled_back: BTreeSet::new(),
            forged: BTreeMap::new(),
            requests: BTreeMap::new(),
            effort: Effort::default(),
        }
    }

    /// Runs `steps` in a world, heals the network, and checks every promise.
    ///
    /// # Errors
    ///
    /// The first promise that is [`Broken`].
    pub fn run(setup: &Setup, mutant: Mutant, steps: &[Step]) -> Result<Self, Broken> {
        let mut world = Self::new(setup, mutant);
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

    /// Entries in the log.
    #[must_use]
    pub fn log_length(&self) -> usize {
        self.log.length()
    }

    fn context(&self) -> Context {
        Context {
            now: self.now,
            server_ms: self.time_of_day(self.server_clock_ms),
            mutant: self.mutant,
        }
    }

    /// Milliseconds since 1970, by a clock that is so far ahead.
    fn time_of_day(&self, ahead_ms: i64) -> i64 {
        let since_start = i64::try_from(self.now.since_start().as_millis());
        since_start
            .unwrap_or(i64::MAX)
            .saturating_add(BEGAN_MS + ahead_ms)
    }

    fn hand_in(&mut self, device: usize, conversation: usize, content: Content) {
        let now = self.now;
        let ahead_ms = self.devices.get(device).map_or(0, |it| it.clock_ms);
        let at_ms = self.time_of_day(ahead_ms);
        let Some(it) = self.devices.get_mut(device) else {
            return;
        };
        it.written += 1;
        it.asleep = false;
        let pending = Pending {
            id: message_id(it.id, at_ms, it.written),
            conversation: conversation_id(conversation),
            content,
        };
        it.hand_in(pending, now);
        self.effort.handed_in += 1;
    }

    fn connect(&mut self, device: usize) -> Result<bool, Broken> {
        let context = self.context();
        let connection = self.connections.len();
        let Some(it) = self.devices.get_mut(device) else {
            return Ok(false);
        };
        if it.link.is_some() || it.asleep {
            return Ok(false);
        }
        it.connect(connection, context);
        self.open(device, Connection::new(self.strict));
        self.effort.connections += 1;
        self.flush_device(device)?;
        Ok(true)
    }

    fn open(&mut self, device: usize, connection: Connection) {
        let number = self.connections.len();
        self.connections.push(connection);
        if let Some(opened) = self.opened.get_mut(device) {
            if !self.strict {
                opened.retain(|it| self.sessions.contains_key(it));
            }
            opened.push(number);
        }
        self.sessions
            .insert(number, ServerLink::new(self.context()));
    }

    /// What the device has written goes onto its connection.
    fn flush_device(&mut self, device: usize) -> Result<(), Broken> {
        let Some(link) = self.devices.get_mut(device).and_then(|it| it.link.as_mut()) else {
            return Ok(());
        };
        let connection = link.connection;
        if self.strict {
            note_requests(connection, &link.out, &mut self.requests)?;
        }
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
        let context = self.context();
        let Some(it) = self.connections.get_mut(connection) else {
            return Ok(());
        };
        let size = if size == 0 { it.up.first_size() } else { size };
        let bytes = it.up.take(size);
        let over = it.up.is_over();
        if let Some(link) = self.sessions.get_mut(&connection) {
            let Connection { up, down, .. } = it;
            let taken = |frame: &[u8]| check_taken::<v1::ClientFrame>(frame, up, down).map(drop);
            let seen = link.handle_bytes(&bytes, &mut self.log, context, taken)?;
            it.generation = link.generation();
            let tampered = it.tampered;
            self.effort.requests += seen.requests;
            self.check_stored(connection)?;
            self.flush_server(connection)?;
            if let Some(violation) = seen.violation {
                self.blame(tampered, "device", &violation)?;
            }
            if seen.ended {
                self.end_session(connection);
            }
        }
        if over {
            self.end_session(connection);
        }
        Ok(())
    }

    fn end_session(&mut self, connection: usize) {
        if self.sessions.remove(&connection).is_some()
            && let Some(it) = self.connections.get_mut(connection)
        {
            it.down.ended = true;
        }
    }

    /// Up to `size` bytes reach the device.
    fn move_down(&mut self, device: usize, size: usize) -> Result<(), Broken> {
        let context = self.context();
        let Some(it) = self.devices.get_mut(device) else {
            return Ok(());
        };
        let Some(connection) = it.link.as_ref().map(|link| link.connection) else {
            return Ok(());
        };
        let Some(network) = self.connections.get_mut(connection) else {
            return Ok(());
        };
        let size = if size == 0 {
            network.down.first_size()
        } else {
            size
        };
        let bytes = network.down.take(size);
        let over = network.down.is_over();
        let Connection { up, down, .. } = network;
        let mut acks = Vec::new();
        let heard = it.handle_bytes(&bytes, context, |frame| {
            acks.push(check_taken::<v1::ServerFrame>(frame, down, up)?);
            Ok(())
        })?;
        let tampered = network.tampered;
        for ack in acks {
            self.check_committed(connection, ack)?;
        }
        if let Some(violation) = heard.violation {
            self.blame(tampered, "server", &violation)?;
        }
        self.flush_device(device)?;
        if heard.ended || over {
            // What came before the end counts.
            self.store(device, usize::MAX)?;
            self.hang_up(device);
        }
        Ok(())
    }

    fn store(&mut self, device: usize, count: usize) -> Result<(), Broken> {
        let context = self.context();
        let Some(it) = self.devices.get_mut(device) else {
            return Ok(());
        };
        let connection = it.link.as_ref().map(|link| link.connection);
        let network = connection.and_then(|it| self.connections.get(it));
        let generation = network.map_or(0, |it| it.generation);
        let refused_before = it.local.failed.len();
        it.store(count, generation, context)?;
        for id in it.local.failed.iter().skip(refused_before) {
            if self.log.find(*id).is_some() {
                let what = format!("{id} is refused for good, and in the log");
                return Err(Broken::new("D12", what));
            }
        }
        self.flush_device(device)
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
            if !self.strict {
                network.down = network::Pipe::default();
            }
        }
    }

    /// A peer that follows the rules is never accused of breaking them.
    fn blame(&mut self, tampered: bool, who: &str, violation: &str) -> Result<(), Broken> {
        self.effort.violations += 1;
        if tampered {
            return Ok(());
        }
        let what = format!("an honest {who} is accused: {violation}");
        Err(Broken::new("link", what))
    }
}

fn conversation_id(number: usize) -> ConversationId {
    ConversationId::new([u8::try_from(number).unwrap_or(u8::MAX); 16])
}
