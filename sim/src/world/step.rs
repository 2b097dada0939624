//! What may happen next.

use std::time::Duration;

use magpie_protocol::wire::v1;

use super::{
    Broken, CONVERSATIONS, DEVICES, World,
    network::{Connection, Pipe},
    server::ServerLink,
};

/// One thing that happens. Numbers choose among what there is; a choice of
/// something that is not there does nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A person writes messages.
    HandIn {
        /// On which device.
        device: usize,
        /// How many.
        count: usize,
        /// Into which conversation.
        conversation: u8,
        /// Bytes of each text.
        text_size: usize,
    },
    /// A device connects, unless it is connected.
    Connect(usize),
    /// A device sends from its outbox.
    Send(usize, usize),
    /// Bytes reach the server, on any connection that ever was.
    Up(usize, usize),
    /// Bytes reach a device.
    Down(usize, usize),
    /// Requests of a connection are committed.
    Commit(usize, usize),
    /// The database refuses a batch.
    CommitFails(usize, usize),
    /// The database's answer is lost, the batch is or is not committed.
    CommitUnknown(usize, usize, bool),
    /// The server is gone before the database has finished with a batch.
    CommitLate(usize, usize),
    /// The database finishes with such a batch.
    Settle(usize),
    /// The server sends a page.
    Deliver(usize, usize),
    /// A device stores what arrived.
    Store(usize, usize),
    /// A device asks for a sign of life.
    Ping(usize),
    /// Time passes.
    Wait(Duration),
    /// A device's connection breaks: this many bytes each way still arrive.
    Cut(usize, usize, usize),
    /// A frame to the server (true) or to the device arrives twice.
    Repeat(usize, usize, bool),
    /// A frame to the server (true) or to the device is lost.
    Lose(usize, usize, bool),
    /// Everything that a connection carried to the server comes once more.
    Replay(usize),
    /// A device is killed and started again.
    CrashDevice(usize),
    /// The server is killed and started again.
    CrashServer,
}

/// Kinds of faults.
pub const FAULT_KINDS: u8 = 13;

/// What may go wrong in steps made from numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Faults {
    /// Nothing.
    None,
    /// Everything.
    All,
}

impl Step {
    /// A step out of three numbers, so that any numbers are a run. One step in
    /// thirteen is a fault: more often, and nothing would get far enough to break.
    #[must_use]
    pub fn from_numbers(kind: u8, a: u16, b: u16, faults: Faults) -> Self {
        match faults {
            Faults::All if kind >= 236 => Self::fault(kind - 236, a, b),
            Faults::All | Faults::None => Self::healthy(kind, a, b),
        }
    }

    /// Something that happens every day.
    fn healthy(kind: u8, a: u16, b: u16) -> Self {
        let (this, that) = (usize::from(a), usize::from(b));
        let device = this % DEVICES;
        match kind % 18 {
            0 | 1 => Self::HandIn {
                device,
                count: 1 + that % 5,
                conversation: u8::try_from(this / 7 % CONVERSATIONS).unwrap_or_default(),
                text_size: 1,
            },
            2 => Self::HandIn {
                device,
                // Rarely enough to fill a window, by count or by size.
                count: if this % 16 == 7 { 1 + that % 300 } else { 1 },
                conversation: 0,
                text_size: if that % 4 == 3 { 16_000 } else { 10 },
            },
            3 => Self::Connect(device),
            4 | 5 => Self::Send(device, 1 + that % 400),
            6 | 7 => Self::Up(this, size_of_move(that)),
            8 | 9 => Self::Down(device, size_of_move(that)),
            10 | 11 => Self::Commit(this, 1 + that % 40),
            12 | 13 => Self::Deliver(this, 1 + that % 20),
            14 => Self::Store(device, 1 + that % 20),
            15 => Self::Store(device, 1 + that % 3),
            16 => Self::Ping(device),
            _ => Self::Wait(Duration::from_millis(u64::from(b) % 30)),
        }
    }

    /// Something that goes wrong; there are [`FAULT_KINDS`] of them.
    #[must_use]
    pub fn fault(kind: u8, a: u16, b: u16) -> Self {
        let (this, that) = (usize::from(a), usize::from(b));
        let device = this % DEVICES;
        match kind % FAULT_KINDS {
            0 => Self::CommitFails(this, 1 + that % 3),
            1 => Self::CommitUnknown(this, 1 + that % 3, true),
            2 => Self::CommitUnknown(this, 1 + that % 3, false),
            3 => Self::CommitLate(this, 1 + that % 3),
            4 => Self::Settle(this),
            5 => Self::Wait(Duration::from_secs(u64::from(b) % 130)),
            6 => Self::Cut(device, that % 400, that / 8 % 400),
            7 => Self::Cut(device, 0, that % 2_000),
            8 => Self::Repeat(device, that / 2, that % 2 == 0),
            9 => Self::Lose(device, that / 2, that % 2 == 0),
            10 => Self::Replay(this),
            11 => Self::CrashDevice(device),
            _ => Self::CrashServer,
        }
    }
}

/// What becomes of a connection's oldest requests, or of its next events.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Commit(usize),
    Fail(usize),
    LoseAnswer(usize),
    Deliver(usize),
}

/// Few bytes or many: both a byte at a time and everything at once are likely.
const fn size_of_move(choice: usize) -> usize {
    match choice % 4 {
        0 => choice / 4 % 8,
        1 => choice / 4 % 200,
        2 => choice / 4,
        _ => usize::MAX,
    }
}

/// A long run out of one number.
#[must_use]
pub fn steps_of_seed(seed: u64, count: usize, faults: Faults) -> Vec<Step> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            let random = next_random(&mut state).to_be_bytes();
            let [kind, a, b, c, d, ..] = random;
            let (a, b) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            Step::from_numbers(kind, a, b, faults)
        })
        .collect()
}

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl World {
    /// One thing happens.
    ///
    /// # Errors
    ///
    /// The first promise that is [`Broken`].
    pub fn step(&mut self, step: Step) -> Result<(), Broken> {
        self.note(format_args!("{step:?}"));
        match step {
            Step::HandIn {
                device,
                count,
                conversation,
                text_size,
            } => {
                self.hand_in(device, count, conversation, text_size);
            }
            Step::Connect(device) => self.connect(device)?,
            Step::Send(device, count) => {
                if let Some(it) = self.devices.get_mut(device) {
                    it.send(count, self.now);
                }
                self.flush_device(device)?;
            }
            Step::Up(choice, size) => {
                if let Some(index) = choice.checked_rem(self.connections.len()) {
                    // Recent connections are where things happen.
                    let index = self.connections.len() - 1 - index.min(choice % 3);
                    self.move_up(index, size)?;
                }
            }
            Step::Down(device, size) => self.move_down(device, size)?,
            Step::Store(device, count) => {
                if let Some(it) = self.devices.get_mut(device) {
                    it.store(count, self.now, self.mutant)?;
                }
                self.flush_device(device)?;
            }
            Step::Ping(device) => {
                if let Some(it) = self.devices.get_mut(device) {
                    it.ping(self.now);
                }
                self.flush_device(device)?;
            }
            Step::Wait(time) => self.wait(time)?,
            Step::Settle(choice) => self.commit_orphan(choice),
            Step::Commit(choice, count) => self.step_server(choice, Fate::Commit(count))?,
            Step::CommitFails(choice, count) => self.step_server(choice, Fate::Fail(count))?,
            Step::CommitLate(choice, count) => self.step_server(choice, Fate::LoseAnswer(count))?,
            Step::CommitUnknown(choice, count, done) => self.commit_unknown(choice, count, done)?,
            Step::Deliver(choice, count) => self.step_server(choice, Fate::Deliver(count))?,
            Step::Cut(device, keep_up, keep_down) => self.cut(device, keep_up, keep_down),
            Step::Repeat(device, choice, up) => self.tamper(device, up, |it| it.repeat(choice)),
            Step::Lose(device, choice, up) => self.tamper(device, up, |it| it.lose(choice)),
            Step::Replay(choice) => self.replay(choice)?,
            Step::CrashDevice(device) => self.crash_device(device),
            Step::CrashServer => self.crash_server(),
        }
        self.check_cursors()
    }

    fn step_server(&mut self, choice: usize, fate: Fate) -> Result<(), Broken> {
        let Some(choice) = choice.checked_rem(self.sessions.len()) else {
            return Ok(());
        };
        let (now, mutant) = (self.now, self.mutant);
        let Some((connection, link)) = self.sessions.iter_mut().nth(choice) else {
            return Ok(());
        };
        let connection = *connection;
        match fate {
            Fate::Commit(count) => link.commit(count, &mut self.log, now, mutant),
            Fate::Fail(count) => link.commit_fails(count, now, mutant),
            Fate::Deliver(count) => link.deliver(count, &self.log, now),
            Fate::LoseAnswer(count) => {
                let batch = link.commit_unknown(count);
                if !batch.is_empty() {
                    self.orphans.push(batch);
                    link.end(v1::ErrorCode::Unavailable, now);
                }
            }
        }
        self.flush_server(connection)
    }

    /// The answer to a batch is lost; at once it is, or is not, committed.
    fn commit_unknown(&mut self, choice: usize, count: usize, done: bool) -> Result<(), Broken> {
        let before = self.orphans.len();
        self.step_server(choice, Fate::LoseAnswer(count))?;
        if self.orphans.len() > before
            && let Some(batch) = self.orphans.pop()
            && done
        {
            super::commit_orphan(&batch, &mut self.log, self.mutant);
        }
        Ok(())
    }

    fn connection_of(&mut self, device: usize) -> Option<&mut Connection> {
        let link = self.devices.get(device)?.link.as_ref()?;
        self.connections.get_mut(link.connection)
    }

    fn cut(&mut self, device: usize, keep_up: usize, keep_down: usize) {
        if let Some(connection) = self.connection_of(device) {
            connection.cut(keep_up, keep_down);
        }
    }

    fn tamper(&mut self, device: usize, up: bool, how: impl Fn(&mut Pipe) -> bool) {
        if let Some(connection) = self.connection_of(device) {
            let Connection {
                up: to_server,
                down,
                tampered,
            } = connection;
            *tampered |= how(if up { to_server } else { down });
        }
    }

    fn replay(&mut self, choice: usize) -> Result<(), Broken> {
        let Some(former) = choice
            .checked_rem(self.connections.len())
            .and_then(|index| self.connections.get(index))
        else {
            return Ok(());
        };
        let connection = self.connections.len();
        let up = Pipe::replay(&former.up);
        self.connections.push(Connection {
            up,
            down: Pipe::default(),
            tampered: true,
        });
        self.sessions.insert(connection, ServerLink::new(self.now));
        Ok(())
    }

    fn crash_device(&mut self, device: usize) {
        let Some(it) = self.devices.get_mut(device) else {
            return;
        };
        let connection = it.link.as_ref().map(|link| link.connection);
        it.crash();
        if let Some(network) = connection.and_then(|index| self.connections.get_mut(index)) {
            network.up.ended = true;
            network.down.cut(0);
        }
    }

    /// Only the log is left. A batch under way may still be committed.
    fn crash_server(&mut self) {
        for (connection, _) in std::mem::take(&mut self.sessions) {
            self.end_down(connection);
        }
    }
}
