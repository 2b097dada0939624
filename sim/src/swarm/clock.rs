//! What happens when: a queue of steps that are due, one of each kind at a time
//! for each connection.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use magpie_protocol::{backoff::Backoff, moment::Moment};

use super::{Figures, Plan, Trace};
use crate::world::{Act, Broken, Mutant, Random, Step, World};

/// How long a device in the background may lack something before it is woken.
const WAKE_AFTER: Duration = Duration::from_secs(20);

/// How long a device dawdles, and how long it then takes to store something.
const DAWDLES_FOR: Duration = Duration::from_secs(120);
const DAWDLES: Duration = Duration::from_secs(15);

/// The longest jumps of clocks, in seconds: a day of the server's, ten years of a
/// device's.
const SERVER_JUMP: usize = 86_400;
const DEVICE_JUMP: usize = 10 * 365 * 86_400;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Due {
    /// A step that the world asked for, on the connection with this number.
    Step(Step, usize),
    /// A person does something.
    Person(usize),
    /// A consequence of what happened a moment ago.
    Then(Step),
    /// Something goes wrong.
    Fault,
    /// It is looked whether a device in the background must be woken.
    Wake(usize),
    /// Somebody's deadline.
    Timer,
}

/// A run.
pub(super) struct Clock<'plan> {
    plan: &'plan Plan,
    random: Random,
    world: World,
    now: Duration,
    /// The number keeps those of one moment in the order in which they came.
    queue: BinaryHeap<Reverse<(Duration, u64, Due)>>,
    count: u64,
    pending: BTreeSet<(Act, usize, usize)>,
    timer_at: Option<Duration>,
    backoffs: BTreeMap<usize, Backoff>,
    /// Until when each device dawdles.
    dawdling: BTreeMap<usize, Duration>,
    /// What becomes of the next commit.
    armed: Vec<Step>,
    pub(super) trace: Trace,
    pub(super) figures: Figures,
}

impl<'plan> Clock<'plan> {
    pub(super) fn new(plan: &'plan Plan, mutant: Mutant) -> Self {
        let mut clock = Self {
            plan,
            random: Random::new(!plan.seed),
            world: World::new(&plan.setup, mutant),
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            count: 0,
            pending: BTreeSet::new(),
            timer_at: None,
            backoffs: BTreeMap::new(),
            dawdling: BTreeMap::new(),
            armed: Vec::new(),
            trace: Trace::new(&plan.setup, mutant),
            figures: Figures::default(),
        };
        for device in 0..plan.setup.devices.len() {
            let after = clock.up_to(plan.pause * 2);
            clock.at(after, Due::Person(device));
            clock.at(WAKE_AFTER, Due::Wake(device));
        }
        clock
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        let micros = usize::try_from(longest.as_micros()).unwrap_or(usize::MAX);
        Duration::from_micros(self.random.below(micros) as u64 + 1)
    }

    fn at(&mut self, after: Duration, due: Due) {
        self.count += 1;
        // Whole microseconds, as traces have them.
        let at = micros(self.now + after);
        self.queue.push(Reverse((at, self.count, due)));
    }

    /// Runs the plan to its end, then heals the world.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        self.pump();
        while let Some(Reverse((at, _, due))) = self.queue.pop()
            && at <= self.plan.duration
        {
            self.now = at;
            self.figures.events += 1;
            match due {
                Due::Step(step, number) => {
                    self.pending.remove(&(step.act, step.device, number));
                    self.due(step, number)?;
                }
                Due::Person(device) => self.person(device)?,
                Due::Then(step) => self.step(step)?,
                Due::Fault => self.fault()?,
                Due::Wake(device) => self.look_after(device)?,
                // One that came earlier has taken its place.
                Due::Timer if self.timer_at != Some(at) => {}
                Due::Timer => {
                    self.timer_at = None;
                    self.step(Step::new(Act::Wait, 0, 0, 0))?;
                }
            }
            self.pump();
        }
        let effort = self.world.effort();
        self.figures.messages = effort.handed_in;
        self.figures.faults = effort.faults;
        self.figures.kills = effort.kills;
        self.figures.wakes = effort.wakes;
        self.figures.wakes_lost = effort.wakes_lost;
        self.figures.connections = effort.connections;
        self.figures.simulated = self.plan.duration;
        self.world.judge(false)?;
        self.world.heal()?;
        if self.plan.fault_every == 0 && !self.plan.sleepy {
            self.world.check_economy()?;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), Broken> {
        self.trace.push(self.now, step);
        self.world.step_at(Moment::new(self.now), step)
    }

    /// A step that was asked for some time ago: connections may have come since.
    fn due(&mut self, step: Step, number: usize) -> Result<(), Broken> {
        let Some(age) = self.world.age(step.device, number) else {
            return Ok(());
        };
        let step = step.of_age(age);
        if step.act == Act::Deliver {
            let a = 1 + self.random.below(64);
            return self.step(Step { a, ..step });
        }
        if step.act != Act::Commit {
            return self.step(step);
        }
        let fate = self.armed.pop();
        let act = fate.map_or(Act::Commit, |it| it.act);
        let b = fate.map_or(0, |it| it.b);
        let a = 1 + self.random.below(8);
        let fated = Step { act, a, b, ..step };
        if act != Act::LoseBell {
            return self.step(fated);
        }
        self.step(Step { a, ..step })?;
        for device in 0..self.plan.setup.devices.len() {
            if self.random.one_in(2) {
                self.step(Step::new(Act::LoseBell, device, 0, 0))?;
            }
        }
        Ok(())
    }

    /// Everything that may happen now is given a time, unless it has one.
    fn pump(&mut self) {
        for step in self.world.possible_soon() {
            let number = self.world.number(step).unwrap_or(usize::MAX);
            if !self.pending.insert((step.act, step.device, number)) {
                continue;
            }
            let after = self.delay(step);
            self.at(after, Due::Step(step, number));
        }
        if let Some(at) = self.world.next_timeout().map(Moment::since_start)
            && self.timer_at.is_none_or(|it| at < it)
        {
            // What is due between two microseconds is due at the second.
            let at = micros(at.max(self.now) + Duration::from_nanos(999));
            self.timer_at = Some(at);
            self.at(at.saturating_sub(self.now), Due::Timer);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others take as long as each other"
    )]
    fn delay(&mut self, step: Step) -> Duration {
        let latency = self.plan.latency;
        match step.act {
            Act::Up | Act::Down => self.up_to(latency),
            Act::Commit => self.up_to(Duration::from_millis(20)),
            Act::Store => {
                let until = self.dawdling.get(&step.device);
                let dawdles = until.is_some_and(|until| self.now < *until);
                self.up_to(if dawdles {
                    DAWDLES
                } else {
                    Duration::from_millis(30)
                })
            }
            Act::Tail => Duration::from_secs(1),
            Act::Fence | Act::Settle => self.up_to(Duration::from_secs(30)),
            Act::Connect => {
                let random = u32::try_from(self.random.next() >> 32).unwrap_or_default();
                self.backoffs
                    .entry(step.device)
                    .or_default()
                    .next_delay(random)
            }
            Act::Send => self.up_to(Duration::from_millis(40)),
            _ => self.up_to(Duration::from_millis(2)),
        }
    }

    fn person(&mut self, device: usize) -> Result<(), Broken> {
        let conversation = self.random.below(self.plan.setup.conversations.len());
        let mut user = 0;
        if let Some(it) = self
            .plan
            .setup
            .devices
            .get(self.random.below(self.plan.setup.devices.len()))
        {
            user = usize::from(*it);
        }
        let size = 36 + self.random.below(200);
        self.backoffs.remove(&device);
        let step = if self.plan.sleepy && self.random.one_in(8) {
            Step::new(Act::Sleep, device, 0, 0)
        } else if self.plan.moving && self.random.one_in(20) {
            let act = if self.random.one_in(2) {
                Act::Join
            } else {
                Act::Leave
            };
            Step::new(act, device, conversation, user)
        } else {
            Step::new(Act::HandIn, device, conversation, size)
        };
        self.step(step)?;
        if step.act == Act::HandIn && self.random.one_in(10) {
            for _ in 0..4 {
                let soon = self.up_to(Duration::from_millis(100));
                self.at(soon, Due::Then(step));
            }
        }
        if self.plan.fault_every > 0 && self.random.one_in(self.plan.fault_every) {
            let after = self.up_to(Duration::from_millis(600));
            self.at(after, Due::Fault);
        }
        if self.plan.weights.contains_key(&Act::RollBack) && self.random.one_in(40) {
            self.step(Step::new(Act::BackUp, device, 0, 0))?;
        }
        let after = self.up_to(self.plan.pause * 2);
        self.at(after, Due::Person(device));
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others strike at once")]
    fn fault(&mut self) -> Result<(), Broken> {
        let total: usize = self.plan.weights.values().sum();
        let mut choice = self.random.below(total);
        let chosen = self.plan.weights.iter().find(|(_, weight)| {
            let is_it = choice < **weight;
            choice = choice.saturating_sub(**weight);
            is_it
        });
        let Some((act, _)) = chosen else {
            return Ok(());
        };
        let device = self.random.below(self.plan.setup.devices.len());
        let (a, b) = (self.random.below(600), self.random.below(2));
        if self.plan.sleepy && self.random.one_in(3) {
            let soon = self.up_to(self.plan.latency * 4);
            self.at(soon, Due::Then(Step::new(Act::Sleep, device, 0, 0)));
        }
        let step = Step::new(*act, device, a, b);
        match act {
            // These strike when something is committed next.
            Act::CommitFails | Act::CommitUnknown | Act::CommitLate | Act::LoseBell => {
                self.armed.push(step);
                Ok(())
            }
            Act::Restore => self.step(Step {
                a: 1 + a % 20,
                // Seldom an older backup: then all is fetched anew.
                b: usize::from(a.is_multiple_of(4)),
                ..step
            }),
            Act::ServerClock => {
                let a = self.random.below(SERVER_JUMP);
                self.step(Step { a, ..step })
            }
            Act::DeviceClock => {
                let a = self.random.below(DEVICE_JUMP);
                self.step(Step { a, ..step })
            }
            Act::Dawdle => {
                self.dawdling.insert(device, self.now + DAWDLES_FOR);
                self.step(step)
            }
            _ => self.step(step),
        }
    }

    fn look_after(&mut self, device: usize) -> Result<(), Broken> {
        if self.world.is_asleep(device) {
            self.step(Step::new(Act::Wake, device, 0, 0))?;
            let is_lost = self.plan.weights.contains_key(&Act::WakeLost) && self.random.one_in(3);
            let act = if is_lost {
                Act::WakeLost
            } else {
                Act::WakeArrives
            };
            self.step(Step::new(act, device, 0, 0))?;
            // Not always: it looks at the whole log.
            if self.random.one_in(8) {
                self.world.check_sleeper(device)?;
            }
        }
        self.at(WAKE_AFTER, Due::Wake(device));
        Ok(())
    }
}

fn micros(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
