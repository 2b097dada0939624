//! Long runs in virtual time: many devices, groups whose members come and go,
//! and faults, each there or not as the seed says.
//!
//! Nothing waits: a queue holds what is due, and time jumps to it. Promises are
//! checked at every step, the checker looks at the whole history when the faults
//! end, and again when everything has come right. A run is its trace: the same
//! seed gives the same one, and a trace can be run again and made shorter.

mod clock;
mod plan;
mod trace;

use std::{fmt, ops::AddAssign, time::Duration};

use self::clock::Clock;
pub use self::{
    plan::{FAULTS, Plan},
    trace::{NoTrace, Trace},
};
use crate::world::{Broken, Mutant};

/// What a run was worth.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Simulated time.
    pub simulated: Duration,
    /// Messages and changes of members that people asked for.
    pub messages: u64,
    /// Faults that hit something.
    pub faults: u64,
    /// Of those, kills of the server.
    pub kills: u64,
    /// Pushes to devices that slept.
    pub wakes: u64,
    /// Of those, lost ones, which are faults too.
    pub wakes_lost: u64,
    /// Connections opened.
    pub connections: u64,
    /// Things that happened at some time.
    pub events: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.simulated += other.simulated;
        self.messages += other.messages;
        self.faults += other.faults;
        self.kills += other.kills;
        self.wakes += other.wakes;
        self.wakes_lost += other.wakes_lost;
        self.connections += other.connections;
        self.events += other.events;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.simulated.as_secs_f64() / 86_400.0;
        write!(
            formatter,
            "{days:.1} simulated days, {} messages, {} faults ({} kills of the server, {} of {} \
             pushes lost), {} connections, {} events",
            self.messages,
            self.faults,
            self.kills,
            self.wakes_lost,
            self.wakes,
            self.connections,
            self.events
        )
    }
}

/// A run that broke a promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Which plan's.
    pub seed: u64,
    /// What is broken.
    pub broken: Broken,
    /// What happened until then.
    pub trace: Trace,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {}: {}", self.seed, self.broken)
    }
}

impl Plan {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// The first promise that is broken, with the trace up to there.
    pub fn run(&self, mutant: Mutant) -> Result<(Figures, Trace), Box<Failure>> {
        let mut clock = Clock::new(self, mutant);
        match clock.run() {
            Ok(()) => Ok((clock.figures, clock.trace)),
            Err(broken) => Err(Box::new(Failure {
                seed: self.seed,
                broken,
                trace: clock.trace,
            })),
        }
    }
}
