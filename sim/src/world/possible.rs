//! What may happen next in a world, for a search through all of it.

use std::time::Duration;

use super::{
    World,
    step::{Act, Step},
};

/// How far clocks go back.
const DAY_SECONDS: usize = 86_400;

impl World {
    /// Every step that would change something, but for those that a person or a
    /// budget decides.
    pub(crate) fn possible(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for device in 0..self.devices.len() {
            self.possible_of_device(device, &mut steps);
            let opened = self.opened.get(device).map_or(0, Vec::len);
            for age in 0..opened {
                self.possible_of_connection(device, age, &mut steps);
            }
        }
        let is_deaf = |it: &super::ServerLink| !it.rung && it.is_behind(&self.log);
        if self.sessions.values().any(is_deaf) {
            steps.push(Step::new(Act::Tail, 0, 0, 0));
        }
        steps.push(Step::wait(Duration::from_millis(1)));
        if !self.orphans.is_empty() {
            steps.push(Step::new(Act::Settle, 0, 0, 0));
        }
        if !self.sessions.is_empty() {
            steps.push(Step::new(Act::CrashServer, 0, 0, 0));
        }
        for lost in 0..=self.log.length().min(2) {
            steps.push(Step::new(Act::Restore, 0, lost, 0));
        }
        if self.log.has_former() {
            steps.extend([0, 1].map(|lost| Step::new(Act::Restore, 0, lost, 1)));
        }
        steps.push(Step::new(Act::ServerClock, 0, DAY_SECONDS, 0));
        steps
    }

    fn possible_of_device(&self, device: usize, steps: &mut Vec<Step>) {
        let Some(it) = self.devices.get(device) else {
            return;
        };
        let mut may = |act| steps.push(Step::new(act, device, usize::MAX, 0));
        may(Act::BackUp);
        may(Act::RollBack);
        may(Act::CrashDevice);
        steps.push(Step::new(Act::DeviceClock, device, DAY_SECONDS, 0));
        let mut may = |act| steps.push(Step::new(act, device, usize::MAX, 0));
        if self.pushes.contains(&device) {
            may(Act::WakeArrives);
            may(Act::WakeLost);
        }
        if it.asleep && !self.pushes.contains(&device) {
            may(Act::Wake);
        }
        let Some(link) = &it.link else { return };
        may(Act::Ping);
        may(Act::Sleep);
        may(Act::HalfOpen);
        if it.has_arrived() {
            may(Act::Store);
        }
        if it.can_send() {
            steps.push(Step::new(Act::Send, device, 1, 0));
        }
        steps.push(Step::new(Act::Cut, device, 0, 0));
        steps.extend([0, 1].map(|b| Step::new(Act::Swallow, device, 0, b)));
        let down = self.connections.get(link.connection).map(|it| &it.down);
        if down.is_some_and(|down| !down.is_empty() || down.is_over()) {
            steps.push(Step::new(Act::Down, device, 0, 0));
        }
    }

    fn possible_of_connection(&self, device: usize, age: usize, steps: &mut Vec<Step>) {
        let mut may = |act, a, b| steps.push(Step::new(act, device, a, b).of_age(age));
        let number = self.connection(Step::new(Act::Up, device, 0, 0).of_age(age));
        let Some(link) = number.and_then(|it| self.sessions.get(&it)) else {
            return;
        };
        let up = number
            .and_then(|it| self.connections.get(it))
            .map(|it| &it.up);
        if up.is_some_and(|up| !up.is_empty() || up.is_over()) {
            may(Act::Up, 0, 0);
        }
        if link.waiting_count() > 0 {
            may(Act::Commit, 1, 0);
            may(Act::CommitFails, 1, 0);
            may(Act::CommitUnknown, 1, 0);
            may(Act::CommitUnknown, 1, 1);
            may(Act::CommitLate, 1, 0);
        }
        if link.rung && link.is_behind(&self.log) {
            may(Act::Deliver, usize::MAX, 0);
            may(Act::LoseBell, 0, 0);
        }
        if link.is_fenced(&self.log) {
            may(Act::Fence, 0, 0);
        }
    }

    /// What the SDK does at once: connects, at most so often, acknowledges what it
    /// has stored, and unless it `dawdles` stores what has arrived and sends what
    /// is in the outbox. Until it is seen, it is as if it had not happened.
    pub(crate) fn settle_devices(
        &mut self,
        connections_max: usize,
        dawdles: bool,
    ) -> Result<(), super::Broken> {
        for device in 0..self.devices.len() {
            let opened = self.opened.get(device).map_or(0, Vec::len);
            if opened < connections_max {
                self.step(Step::new(Act::Connect, device, 0, 0))?;
            }
            let it = self.devices.get(device);
            if !dawdles && it.is_some_and(super::Device::has_arrived) {
                self.step(Step::new(Act::Store, device, usize::MAX, 0))?;
            }
            let it = self.devices.get(device);
            if !dawdles && it.is_some_and(super::Device::can_send) {
                self.step(Step::new(Act::Send, device, usize::MAX, 0))?;
            }
            let it = self.devices.get(device);
            if it.is_some_and(|it| it.owes_ack(self.now)) {
                self.step(Step::new(Act::Ack, device, 0, 0))?;
            }
        }
        Ok(())
    }

    /// On a healthy network nothing is sent twice, in either direction.
    pub(crate) fn check_economy(&self) -> Result<(), super::Broken> {
        let effort = self.effort;
        let readers = self.log.entries().map(|entry| {
            let is_for =
                |it: &&super::Device| self.log.is_entitled(it.user, entry.conversation, entry.seq);
            // The sender's answer stands for its event.
            self.devices.iter().filter(is_for).count() as u64 - 1
        });
        let expected: u64 = readers.sum();
        if effort.requests == effort.handed_in && effort.paged == expected {
            return Ok(());
        }
        let what = format!("{expected} events were to be paged: {effort:?}");
        Err(super::Broken::new("economy", what))
    }
}
