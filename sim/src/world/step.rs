//! What may happen next.

use std::{fmt, str::FromStr, time::Duration};

/// What happens.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Act {
    /// A person writes a message of `b` bytes into conversation `a`.
    HandIn,
    /// A person adds user `b` to conversation `a`.
    Join,
    /// A person removes user `b` from conversation `a`.
    Leave,
    /// A device connects, unless it is connected.
    Connect,
    /// A device sends `a` entries of its outbox.
    Send,
    /// `a` bytes reach the server; 0: the next frame.
    Up,
    /// `a` bytes reach a device; 0: the next frame.
    Down,
    /// `a` requests of a connection are committed.
    Commit,
    /// The server sends a page of at most `a` events.
    Deliver,
    /// A device stores `a` frames that arrived.
    Store,
    /// A device says what it has stored.
    Ack,
    /// A device asks for a sign of life.
    Ping,
    /// `a` microseconds pass.
    Wait,
    /// Every session looks at the log.
    Tail,
    /// The server ends a connection that is not its device's newest.
    Fence,
    /// The database finishes with batch `a` of those whose answer was lost.
    Settle,
    /// A device goes to the background.
    Sleep,
    /// The server sends a push to a device that is owed one.
    Wake,
    /// The push arrives.
    WakeArrives,
    /// A copy of a device's database is made.
    BackUp,

    // Faults.
    /// The database refuses a batch of `a`.
    CommitFails,
    /// The database's answer for a batch of `a` is lost; `b` is 1 if it is committed.
    CommitUnknown,
    /// The server is gone before the database has finished with a batch of `a`.
    CommitLate,
    /// The doorbell was not heard.
    LoseBell,
    /// A device's connection breaks: `a` and `b` bytes up and down still arrive.
    Cut,
    /// A device gives its connection up, and the server does not notice.
    HalfOpen,
    /// A frame to the server (`b` is 1) or to the device arrives twice.
    Repeat,
    /// A frame to the server (`b` is 1) or to the device is lost.
    Lose,
    /// Everything that a connection carried to the server comes once more.
    Replay,
    /// A device is killed and started again.
    CrashDevice,
    /// The server is killed and started again.
    CrashServer,
    /// A device's database is the copy again, or a new one.
    RollBack,
    /// The last `a` commits are lost, of the log or, if `b` is 1, of the one
    /// that the last restore ended; a new epoch begins.
    Restore,
    /// A push is lost.
    WakeLost,
    /// A connection carries nothing more to the server (`b` is 1) or to the device,
    /// and nobody is told.
    Swallow,
    /// A device takes long to store what arrives, for some time.
    Dawdle,
    /// The server's time of day jumps by `a` seconds, ahead if `b` is 1.
    ServerClock,
    /// A device's time of day jumps by `a` seconds, ahead if `b` is 1.
    DeviceClock,
}

impl Act {
    /// What may go wrong.
    pub const FAULTS: [Self; 18] = [
        Self::CommitFails,
        Self::CommitUnknown,
        Self::CommitLate,
        Self::LoseBell,
        Self::Cut,
        Self::HalfOpen,
        Self::Repeat,
        Self::Lose,
        Self::Replay,
        Self::CrashDevice,
        Self::CrashServer,
        Self::RollBack,
        Self::Restore,
        Self::WakeLost,
        Self::Swallow,
        Self::Dawdle,
        Self::ServerClock,
        Self::DeviceClock,
    ];

    const OTHERS: [Self; 20] = [
        Self::HandIn,
        Self::Join,
        Self::Leave,
        Self::Connect,
        Self::Send,
        Self::Up,
        Self::Down,
        Self::Commit,
        Self::Deliver,
        Self::Store,
        Self::Ack,
        Self::Ping,
        Self::Wait,
        Self::Tail,
        Self::Fence,
        Self::Settle,
        Self::Sleep,
        Self::Wake,
        Self::WakeArrives,
        Self::BackUp,
    ];

    /// Whether it is something that goes wrong.
    #[must_use]
    pub fn is_fault(self) -> bool {
        Self::FAULTS.contains(&self)
    }
}

/// One thing that happens. What is not there does nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Step {
    /// What.
    pub act: Act,
    /// On which device, or on whose connection.
    pub device: usize,
    /// On which of its connections: 0 is the newest.
    pub age: usize,
    /// As the act says.
    pub a: usize,
    /// As the act says.
    pub b: usize,
}

impl Step {
    /// A step on a device's newest connection.
    #[must_use]
    pub const fn new(act: Act, device: usize, a: usize, b: usize) -> Self {
        Self {
            act,
            device,
            age: 0,
            a,
            b,
        }
    }

    /// Nothing but time.
    #[must_use]
    pub fn wait(time: Duration) -> Self {
        let micros = usize::try_from(time.as_micros()).unwrap_or(usize::MAX);
        Self::new(Act::Wait, 0, micros, 0)
    }

    /// The same on an older connection.
    #[must_use]
    pub const fn of_age(self, age: usize) -> Self {
        Self { age, ..self }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            act,
            device,
            age,
            a,
            b,
        } = self;
        write!(formatter, "{act:?} {device} {age} {a} {b}")
    }
}

/// A line is no step.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no step: {0:?}")]
pub struct NoStep(String);

impl FromStr for Step {
    type Err = NoStep;

    fn from_str(line: &str) -> Result<Self, NoStep> {
        let no_step = || NoStep(line.to_owned());
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let acts = Act::FAULTS.into_iter().chain(Act::OTHERS);
        let act = acts.into_iter().find(|it| format!("{it:?}") == name);
        let numbers: Vec<usize> = words.map_while(|it| it.parse().ok()).collect();
        match (act, numbers.as_slice()) {
            (Some(act), &[device, age, a, b]) => Ok(Self {
                act,
                device,
                age,
                a,
                b,
            }),
            _ => Err(no_step()),
        }
    }
}
