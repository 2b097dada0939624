//! How long, and which faults: schedules out of a seed.

use std::{
    cell::{OnceCell, RefCell},
    ops::RangeInclusive,
    thread::{panicking, sleep},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use magpie_sim::proxy::{Direction, Random};

use crate::{
    schedule::{Client, Fault, Net, Schedule},
    stage::lasts,
};

/// Run this schedule, and not one out of the seed.
const SCHEDULE: &str = "MAGPIE_FAULT_SCHEDULE";

/// Faults that belong together, each so many milliseconds behind the one before.
pub(crate) type Draw = fn(&mut Random) -> Vec<(u64, Fault)>;

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
    /// To be told if the test fails.
    schedule: RefCell<Option<Schedule>>,
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
            schedule: RefCell::default(),
        }
    }

    /// No faults.
    pub(crate) fn calm(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seed: 0,
            length: Duration::ZERO,
            ends_at: OnceCell::new(),
            schedule: RefCell::default(),
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

    /// A schedule of these faults, with such pauses (in milliseconds) between
    /// them: each of them once, in any order, before any comes again; or the one
    /// in the file that `MAGPIE_FAULT_SCHEDULE` names.
    pub(crate) fn schedule(&self, pauses: RangeInclusive<u64>, draws: &[Draw]) -> Schedule {
        self.scheduled(&self.drawn(pauses, draws).to_string())
    }

    /// This schedule, or the one in the file.
    pub(crate) fn scheduled(&self, text: &str) -> Schedule {
        let asked = std::env::var(SCHEDULE).ok();
        let text = asked.map_or_else(
            || text.to_owned(),
            |path| {
                let text = std::fs::read_to_string(&path);
                text.unwrap_or_else(|error| panic!("{SCHEDULE}: {path}: {error}"))
            },
        );
        let schedule: Schedule = text.parse().unwrap();
        self.schedule.replace(Some(schedule.clone()));
        schedule
    }

    fn drawn(&self, pauses: RangeInclusive<u64>, draws: &[Draw]) -> Schedule {
        let mut random = self.random();
        let mut at = 0;
        let mut left = Vec::new();
        let mut schedule = Schedule::default();
        let mut count = 0;
        while Duration::from_millis(at) < self.length || count < draws.len() {
            count += 1;
            at += random.between(*pauses.start(), *pauses.end());
            if left.is_empty() {
                left = draws.to_vec();
            }
            let draw = left.swap_remove(random.between(0, left.len() as u64 - 1) as usize);
            for (after, fault) in draw(&mut random) {
                at += after;
                schedule.0.push((Duration::from_millis(at), fault));
                at += lasts(fault).as_millis() as u64;
            }
        }
        schedule
    }

    /// Lets the world run; nothing is expected to have happened after it.
    pub(crate) fn pass(&self, milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds));
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        if let Some(schedule) = self.schedule.take().filter(|_| panicking()) {
            let name = &self.name;
            println!("{name}: its schedule, for {SCHEDULE}=FILE:\n{schedule}");
        }
    }
}

/// Something that happens to networks.
fn weather(net: Net, random: &mut Random) -> Vec<(u64, Fault)> {
    let direction = match random.between(0, 1) {
        0 => Direction::Up,
        _ => Direction::Down,
    };
    let mut milliseconds = |least, most| Duration::from_millis(random.between(least, most));
    let (short, long) = (milliseconds(50, 300), milliseconds(50, 1_000));
    let by = milliseconds(1, 100);
    let fault = match random.between(0, 5) {
        0 => Fault::Cut(net),
        1 => Fault::CutInMidFrame(net, long),
        2 => Fault::Stall(net, direction, long),
        3 => Fault::Delay(net, direction, by, long),
        4 => Fault::Refuse(net, short),
        // Nobody is told; the ends must find out by themselves, which takes
        // clients up to PROGRESS_TIMEOUT and PONG_TIMEOUT.
        _ => Fault::HalfOpen(net),
    };
    vec![(0, fault)]
}

pub(crate) fn weather_of_clients(random: &mut Random) -> Vec<(u64, Fault)> {
    weather(Net::Clients, random)
}

/// What is half-open is cut: the server's system would need longer to find out.
pub(crate) fn weather_of_database(random: &mut Random) -> Vec<(u64, Fault)> {
    let mut faults = weather(Net::Database, random);
    faults.push((random.between(0, 400), Fault::Cut(Net::Database)));
    faults
}

pub(crate) fn kill_server(_: &mut Random) -> Vec<(u64, Fault)> {
    vec![(0, Fault::KillServer)]
}

pub(crate) fn stop_server(random: &mut Random) -> Vec<(u64, Fault)> {
    let lasts = random.between(10, 1_500);
    vec![(0, Fault::StopServer), (lasts, Fault::ContinueServer)]
}

/// One of so many that write, or of as many that listen.
pub(crate) fn kill_client<const COUNT: u64>(random: &mut Random) -> Vec<(u64, Fault)> {
    let index = random.between(0, COUNT - 1) as usize;
    let client = match random.between(0, 1) {
        0 => Client::Writer(index),
        _ => Client::Listener(index),
    };
    vec![(0, Fault::Kill(client))]
}

pub(crate) fn roll_back_client<const COUNT: u64>(random: &mut Random) -> Vec<(u64, Fault)> {
    let index = random.between(0, COUNT - 1) as usize;
    let client = match random.between(0, 1) {
        0 => Client::Writer(index),
        _ => Client::Listener(index),
    };
    let after = random.between(100, 800);
    vec![(0, Fault::Save(client)), (after, Fault::RollBack(client))]
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
