//! After the faults: everything must come right without anybody's help.

use std::time::Duration;

use super::{
    Broken, Mutant, World,
    content::is_refusable,
    network::Connection,
    place::Place,
    step::{Act, Step},
};

/// Rounds of a healthy world within which everything must come right.
const ROUNDS_MAX: usize = 2_000;

impl World {
    /// Ends all faults, lets the world run until nothing is left to do, and
    /// checks the promises over the whole history.
    ///
    /// # Errors
    ///
    /// The first promise that is [`Broken`].
    pub fn heal(&mut self) -> Result<(), Broken> {
        // What the network did to a connection does not heal: it breaks.
        for connection in &mut self.connections {
            let Connection { up, down, .. } = &*connection;
            if connection.tampered || up.silent || up.swallows || down.swallows {
                connection.cut(usize::MAX, usize::MAX);
            }
        }
        while !self.orphans.is_empty() {
            self.settle(0);
        }
        // First whoever sleeps must be woken for what they lack (D8).
        self.run_until(Self::has_nothing_to_fetch, "D8")?;
        for device in 0..self.devices.len() {
            self.check_sleeper(device)?;
        }
        self.devices.iter_mut().for_each(|it| it.asleep = false);
        self.run_until(Self::is_settled, "D2")?;
        self.judge(true)
    }

    fn run_until(
        &mut self,
        done: impl Fn(&Self) -> bool,
        promise: &'static str,
    ) -> Result<(), Broken> {
        for _ in 0..ROUNDS_MAX {
            self.healthy_round()?;
            if done(self) {
                return Ok(());
            }
        }
        let open: usize = self.devices.iter().map(|it| it.local.outbox.len()).sum();
        let what = format!("a healthy world does not come right; {open} messages are unanswered");
        Err(Broken::new(promise, what))
    }

    /// D8: a device in the background to which nothing is owed lacks nothing.
    pub(crate) fn check_sleeper(&self, device: usize) -> Result<(), Broken> {
        let sleeper = self.devices.get(device).filter(|it| it.asleep);
        let is_owed = |it: &&super::Device| {
            self.log.is_owed(it.id, it.user) && self.mutant != Mutant::WakesOnce
        };
        let Some(it) = sleeper.filter(|it| !is_owed(it)) else {
            return Ok(());
        };
        let lacks = self.lacks(it);
        if lacks == 0 {
            return Ok(());
        }
        let what = format!("{} sleeps, and lacks {lacks} events", it.notes.name);
        Err(Broken::new("D8", what))
    }

    /// Events that are for a device and that it does not hold.
    fn lacks(&self, device: &super::Device) -> usize {
        let entries = self.log.entries();
        entries
            .filter(|it| self.log.is_entitled(device.user, it.conversation, it.seq))
            .filter(|it| device.local.store.get(&(it.conversation, it.seq)) != Some(&it.id))
            .count()
    }

    /// Everybody does what they can, once.
    fn healthy_round(&mut self) -> Result<(), Broken> {
        self.tail();
        for device in 0..self.devices.len() {
            if self.devices.get(device).is_some_and(|it| it.asleep) {
                self.wake(device);
                self.wake_arrives(device);
            }
            self.connect(device)?;
            let context = self.context();
            if let Some(it) = self.devices.get_mut(device) {
                it.send(usize::MAX, context);
                it.ping(context.now);
            }
            self.flush_device(device)?;
        }
        for connection in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.move_up(connection, usize::MAX)?;
        }
        let sessions: Vec<Step> = self.steps_of_sessions();
        for session in &sessions {
            self.step(Step {
                act: Act::Fence,
                ..*session
            })?;
            self.step(Step {
                act: Act::Commit,
                a: usize::MAX,
                ..*session
            })?;
        }
        for session in &sessions {
            self.step(Step {
                act: Act::Deliver,
                a: 64,
                ..*session
            })?;
        }
        for device in 0..self.devices.len() {
            self.move_down(device, usize::MAX)?;
            self.store(device, usize::MAX)?;
        }
        self.check_cursors()?;
        self.wait(Duration::from_millis(1_001))
    }

    /// A step on each session, to be given an act.
    pub(super) fn steps_of_sessions(&self) -> Vec<Step> {
        let devices = self.opened.iter().enumerate();
        devices
            .flat_map(|(device, opened)| {
                let live = opened.iter().rev().enumerate();
                live.filter(|(_, it)| self.sessions.contains_key(it))
                    .map(move |(age, _)| Step::new(Act::Tail, device, 0, 0).of_age(age))
            })
            .collect()
    }

    /// Nothing is left to do for those who are awake, and nothing that is owed to
    /// those who are not.
    fn has_nothing_to_fetch(&self) -> bool {
        let awake = |it: &super::Device| self.is_device_settled(it);
        let owed = |it: &super::Device| {
            let is_woken_once = self.mutant == Mutant::WakesOnce;
            self.log.is_owed(it.id, it.user) && !is_woken_once
        };
        let devices = self.devices.iter();
        devices
            .into_iter()
            .all(|it| if it.asleep { !owed(it) } else { awake(it) })
    }

    fn is_device_settled(&self, device: &super::Device) -> bool {
        let (epoch, place) = Place::open(&device.local.cursor);
        device.link.is_some()
            && device.is_settled()
            && !device.local.takes_over()
            && epoch == self.log.epoch()
            && place.covers(&self.log.head())
    }

    /// Outboxes are empty, cursors at the head.
    fn is_settled(&self) -> bool {
        let is_settled = |it| self.is_device_settled(it);
        self.devices.iter().all(is_settled)
            && self
                .sessions
                .keys()
                .filter_map(|it| self.connections.get(*it))
                .all(|it| !it.tampered || it.up.is_empty())
    }

    /// What was refused and is not kept as failed, or is kept and in the log.
    pub(super) fn check_refused(&self) -> Result<(), Broken> {
        for device in &self.devices {
            for id in &device.local.failed {
                if is_refusable(*id) && self.log.find(*id).is_some() {
                    let what = format!("{id} was refused and is in the log");
                    return Err(Broken::new("D12", what));
                }
            }
        }
        Ok(())
    }
}
