//! How long, and which faults.

use std::{
    cell::OnceCell,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use magpie_sim::proxy::Random;

/// Seconds of faults in the test command.
const SHORT: u64 = 4;

/// How long anything may take once the faults are over, or before it is
/// certain that it will not happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The faults of one test.
pub(crate) struct Plan {
    name: String,
    seed: u64,
    length: Duration,
    /// Known when the first fault is due.
    ends_at: OnceCell<Instant>,
}

impl Plan {
    /// `MAGPIE_FAULT_SECONDS` of faults from `MAGPIE_FAULT_SEED`, else a few
    /// from a new seed.
    pub(crate) fn from_environment(name: &str) -> Self {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = asked("MAGPIE_FAULT_SEED").unwrap_or(moment.as_micros() as u64);
        let seconds = asked("MAGPIE_FAULT_SECONDS").unwrap_or(SHORT);
        // Shown by the test runner if the test fails.
        println!("{name}: MAGPIE_FAULT_SEED={seed} MAGPIE_FAULT_SECONDS={seconds}");
        Self {
            name: name.to_owned(),
            seed,
            length: Duration::from_secs(seconds),
            ends_at: OnceCell::new(),
        }
    }

    /// No faults.
    pub(crate) fn calm(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seed: 0,
            length: Duration::ZERO,
            ends_at: OnceCell::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Other numbers for each test.
    pub(crate) fn random(&self) -> Random {
        let name = self.name.bytes().fold(0, |sum: u64, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        Random::new(self.seed ^ name)
    }

    /// Whether there is time for another fault.
    pub(crate) fn goes_on(&self) -> bool {
        Instant::now() < *self.ends_at.get_or_init(|| Instant::now() + self.length)
    }

    /// Lets the world run; nothing is expected to have happened after it.
    pub(crate) fn pass(&self, milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds));
    }
}

/// A number from the environment.
pub(crate) fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is {text:?}, expected a number")))
}

/// Waits until `happened`, with a deadline.
pub(crate) fn until(what: &str, happened: impl FnMut() -> bool) {
    until_or(what, happened, String::new);
}

/// The same; `else_say` tells more if it does not happen.
pub(crate) fn until_or(
    what: &str,
    mut happened: impl FnMut() -> bool,
    else_say: impl Fn() -> String,
) {
    let deadline = Instant::now() + DEADLINE;
    while !happened() {
        let in_time = Instant::now() < deadline;
        assert!(in_time, "not within {DEADLINE:?}: {what}\n{}", else_say());
        sleep(Duration::from_millis(5));
    }
}
