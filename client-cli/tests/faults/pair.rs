//! Those to whom faults happen: two people, of whom one writes and one listens,
//! or a group.

use crate::{
    listener::Listener,
    plan::{Plan, until},
    town::Town,
    verdict::Verdict,
    writer::Writer,
};

/// Alice writes to Bob.
pub(crate) struct Pair {
    pub(crate) town: Town,
    pub(crate) writer: Writer,
    pub(crate) listener: Listener,
}

impl Pair {
    /// Registers both and lets them begin.
    pub(crate) fn start(town: Town) -> Self {
        let alice = town.register("alice");
        let bob = town.register("bob");
        let mut it = Self {
            town,
            writer: Writer::new(&alice, "@bob"),
            listener: Listener::new(&bob),
        };
        it.writer.start();
        it.listener.start();
        it
    }

    /// Waits until so many more lines have been accepted.
    pub(crate) fn accepts(&self, count: usize) {
        let goal = self.writer.answered() + count;
        until("more is accepted", || self.writer.answered() >= goal);
    }

    /// Waits until so many more lines have been heard.
    pub(crate) fn hears(&self, count: usize) {
        let goal = self.listener.heard() + count;
        until("more is heard", || self.listener.heard() >= goal);
    }

    /// The faults are over: every line is answered, every device catches up.
    pub(crate) fn verdict(mut self, plan: &Plan) -> Verdict {
        self.writer.finish();
        self.judged(plan)
    }

    /// The same, after the writer has finished.
    pub(crate) fn judged(self, plan: &Plan) -> Verdict {
        Verdict::reach(plan, self.town, vec![self.writer], vec![self.listener])
    }
}

/// A group of three users, one with two devices: one device only writes, one
/// only listens, two do both from one home.
pub(crate) struct Group {
    pub(crate) writers: [Writer; 3],
    pub(crate) listeners: [Listener; 3],
}

impl Group {
    /// Registers all and lets them begin.
    pub(crate) fn start(town: &Town) -> Self {
        let alice = town.register("alice");
        let tablet = town.sign_in("alice", "tablet");
        let bob = town.register("bob");
        let carol = town.register("carol");
        let group = town.create_group(&alice, "bird watching", &["@bob", "@carol"]);
        let mut it = Self {
            writers: [&alice, &bob, &carol].map(|home| Writer::new(home, &group)),
            listeners: [&tablet, &bob, &carol].map(Listener::new),
        };
        it.listeners.iter_mut().for_each(Listener::start);
        it.writers.iter_mut().for_each(Writer::start);
        it
    }

    /// How many lines have been accepted, if no writer was killed.
    pub(crate) fn accepted(&self) -> u64 {
        let answered = self.writers.iter().map(Writer::answered);
        answered.sum::<usize>() as u64
    }

    /// The faults are over: every line is answered, every device catches up.
    pub(crate) fn verdict(mut self, plan: &Plan, town: Town) -> Verdict {
        for writer in &mut self.writers {
            // Who was unlucky often waits long before the next attempt; people
            // start the program again.
            writer.kill();
            writer.start();
        }
        self.writers.iter_mut().for_each(Writer::finish);
        Verdict::reach(plan, town, self.writers.into(), self.listeners.into())
    }
}
