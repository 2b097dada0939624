//! What a clock must know of a world.

use magpie_protocol::moment::Moment;

use super::{
    Broken, World,
    step::{Act, Step},
};

impl World {
    /// One thing happens at this time.
    pub(crate) fn step_at(&mut self, now: Moment, step: Step) -> Result<(), Broken> {
        self.now = now.max(self.now);
        self.step(step)
    }

    /// What may happen by itself, faults apart.
    pub(crate) fn possible_soon(&self) -> Vec<Step> {
        let mut steps = self.possible();
        let by_decision = [
            Act::BackUp,
            Act::Sleep,
            Act::Wake,
            Act::WakeArrives,
            Act::Ping,
            Act::Send,
            Act::Wait,
        ];
        steps.retain(|it| !it.act.is_fault() && !by_decision.contains(&it.act));
        for (device, it) in self.devices.iter().enumerate() {
            if it.link.is_none() && !it.asleep {
                steps.push(Step::new(Act::Connect, device, 0, 0));
            }
            if it.can_send() {
                steps.push(Step::new(Act::Send, device, 1, 0));
            }
        }
        steps
    }

    /// The number of the connection that a step is about.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are about no connection"
    )]
    pub(crate) fn number(&self, step: Step) -> Option<usize> {
        match step.act {
            Act::Up | Act::Commit | Act::Deliver | Act::Fence => self.connection(step),
            _ => None,
        }
    }

    /// The age of a device's connection; 0 for what is about none.
    pub(crate) fn age(&self, device: usize, number: usize) -> Option<usize> {
        if number == usize::MAX {
            return Some(0);
        }
        let opened = self.opened.get(device)?;
        opened.iter().rev().position(|it| *it == number)
    }

    /// The next moment at which somebody's patience ends.
    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        let devices = self.devices.iter().filter_map(super::Device::poll_timeout);
        let sessions = self.sessions.values().map(super::ServerLink::poll_timeout);
        devices.chain(sessions).min()
    }

    pub(crate) fn is_asleep(&self, device: usize) -> bool {
        self.devices.get(device).is_some_and(|it| it.asleep)
    }
}
