//! How long, and which faults.

use std::{
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use magpie_sim::proxy::Random;

/// Seconds of faults in the test command.
const SHORT: u64 = 6;

/// How long anything may take once the faults are over, or before it is
/// certain that it will not happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The faults of one test.
pub(crate) struct Plan {
    name: &'static str,
    seed: u64,
    ends_at: Instant,
}

impl Plan {
    /// `MAGPIE_FAULT_SECONDS` of faults from `MAGPIE_FAULT_SEED`, else a few
    /// from a new seed.
    pub(crate) fn from_environment(name: &'static str) -> Self {
        let number = |variable: &str| {
            let text = std::env::var(variable).ok()?;
            let number = text.parse::<u64>();
            Some(number.unwrap_or_else(|_| panic!("{variable} is {text:?}, expected a number")))
        };
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = number("MAGPIE_FAULT_SEED").unwrap_or(moment.as_micros() as u64);
        let seconds = number("MAGPIE_FAULT_SECONDS").unwrap_or(SHORT);
        // Shown by the test runner if the test fails.
        println!("{name}: MAGPIE_FAULT_SEED={seed} MAGPIE_FAULT_SECONDS={seconds}");
        Self {
            name,
            seed,
            ends_at: Instant::now() + Duration::from_secs(seconds),
        }
    }

    /// No faults.
    pub(crate) fn calm(name: &'static str) -> Self {
        Self {
            name,
            seed: 0,
            ends_at: Instant::now(),
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Other numbers for each test.
    pub(crate) fn random(&self) -> Random {
        let name = self
            .name
            .bytes()
            .fold(0, |sum, byte| sum * 31 + u64::from(byte));
        Random::new(self.seed ^ name)
    }

    /// Whether there is time for another fault.
    pub(crate) fn goes_on(&self) -> bool {
        Instant::now() < self.ends_at
    }

    /// Lets the world run; nothing is expected to have happened after it.
    pub(crate) fn pass(&self, milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds));
    }

    /// Waits until `happened`.
    pub(crate) fn until(&self, what: &str, happened: impl Fn() -> bool) {
        until(what, happened);
    }
}

/// Waits until `happened`, with a deadline.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(5));
    }
}
