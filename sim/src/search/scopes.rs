//! Which small worlds are searched.

use super::Scope;
use crate::world::{
    Act::{
        self, BackUp, CommitFails, CommitLate, CommitUnknown, CrashDevice, CrashServer, Cut,
        DeviceClock, HalfOpen, Leave, LoseBell, Ping, Restore, RollBack, ServerClock, Sleep,
        Swallow, Wait, Wake, WakeLost,
    },
    Setup, Step,
};

/// A message of a device into a conversation.
const fn says(device: usize, conversation: usize) -> Step {
    Step::new(Act::HandIn, device, conversation, 36)
}

/// A device comes back to a restored server, takes its history over, and then says
/// something that is accepted.
fn comes_back_and_says(device: usize) -> Vec<Step> {
    let all = |act| Step::new(act, device, usize::MAX, 0);
    let hears = [all(Act::Deliver), all(Act::Down), all(Act::Store)];
    let mut steps = vec![all(Act::Down), all(Act::Connect), all(Act::Up)];
    steps.extend(hears);
    steps.extend(hears);
    steps.extend([says(device, 0), all(Act::Send), all(Act::Up)]);
    steps.extend([all(Act::Commit), all(Act::Down), all(Act::Store)]);
    steps
}

/// One device that talks to itself.
fn alone() -> Setup {
    Setup {
        devices: vec![1],
        conversations: vec![vec![1]],
        ..Setup::small()
    }
}

impl Scope {
    fn new(name: &'static str, script: &[Step], at_most: &[(Act, usize)]) -> Self {
        Self {
            name,
            setup: Setup {
                conversations: vec![vec![1, 2]],
                ..Setup::small()
            },
            before: Vec::new(),
            begun: Vec::new(),
            script: script.to_vec(),
            at_most: at_most.iter().copied().collect(),
            connections_max: 2,
            dawdles: false,
            faults_max: 1,
            delays_max: 1,
            worlds_max: 3_000,
        }
    }

    /// The scopes of the test command; with a larger `size` they grow.
    #[must_use]
    pub fn all(size: usize) -> Vec<Self> {
        let mut scopes = Self::of_senders().to_vec();
        scopes.extend(Self::of_readers());
        scopes.extend(Self::of_servers());
        scopes.extend(Self::of_histories());
        scopes.extend(Self::of_clocks());
        for scope in &mut scopes {
            scope.faults_max *= size;
            scope.delays_max *= size;
            if size > 1 {
                scope.worlds_max = usize::MAX;
            }
        }
        scopes
    }

    fn of_senders() -> [Self; 3] {
        [
            Self {
                faults_max: 0,
                connections_max: 1,
                ..Self::new(
                    "healthy",
                    &[says(0, 0), says(1, 0)],
                    &[(Ping, 1), (Wait, 1)],
                )
            },
            Self {
                setup: alone(),
                connections_max: 3,
                ..Self::new(
                    "the sender's side",
                    &[says(0, 0), says(0, 0)],
                    &[
                        (CommitFails, 1),
                        (CommitUnknown, 1),
                        (CommitLate, 1),
                        (Cut, 2),
                        (HalfOpen, 2),
                        (CrashDevice, 1),
                        (CrashServer, 1),
                    ],
                )
            },
            Self {
                dawdles: true,
                setup: alone(),
                ..Self::new("sent late", &[says(0, 0), says(0, 0)], &[(Cut, 1)])
            },
        ]
    }

    fn of_readers() -> [Self; 5] {
        [
            Self {
                before: vec![says(1, 0)],
                dawdles: true,
                ..Self::new("stored late", &[says(0, 0)], &[(CrashDevice, 1), (Ping, 1)])
            },
            Self {
                before: vec![says(1, 0)],
                ..Self::new(
                    "the reader's side",
                    &[says(0, 0)],
                    &[(Ping, 1), (LoseBell, 1), (Cut, 1), (HalfOpen, 1)],
                )
            },
            Self {
                before: vec![says(0, 0)],
                ..Self::new(
                    "asleep",
                    &[says(0, 0)],
                    &[(Sleep, 1), (Wake, 2), (WakeLost, 1)],
                )
            },
            Self {
                before: vec![says(0, 0)],
                connections_max: 3,
                ..Self::new(
                    "asleep and rolled back",
                    &[],
                    &[(Sleep, 1), (BackUp, 1), (RollBack, 1), (HalfOpen, 1)],
                )
            },
            Self {
                before: vec![says(1, 0)],
                begun: vec![says(0, 0)],
                delays_max: 0,
                ..Self::new("rolled back and asleep", &[], &[(Sleep, 1), (RollBack, 1)])
            },
        ]
    }

    fn of_servers() -> [Self; 2] {
        [
            Self {
                setup: Setup {
                    shards: 2,
                    conversations: vec![vec![1, 2]; 2],
                    ..Setup::small()
                },
                ..Self::new(
                    "two shards",
                    &[says(0, 0), says(0, 1)],
                    &[(Ping, 1), (LoseBell, 1), (Cut, 1)],
                )
            },
            Self::new(
                "somebody leaves",
                &[says(1, 0), Step::new(Leave, 0, 0, 2), says(0, 0)],
                &[(Cut, 1)],
            ),
        ]
    }

    fn of_histories() -> [Self; 5] {
        [
            Self {
                connections_max: 3,
                ..Self::new(
                    "restored",
                    &[says(0, 0), says(0, 0), says(1, 0)],
                    &[(Restore, 1)],
                )
            },
            Self {
                before: vec![says(1, 0), says(0, 0)],
                begun: vec![Step::new(Sleep, 1, 0, 0)],
                faults_max: 2,
                connections_max: 4,
                ..Self::new("restored twice", &[], &[(Restore, 2)])
            },
            // The second time from a backup of the history that the first one ended.
            Self {
                before: vec![says(0, 0)],
                begun: vec![Step::new(Sleep, 0, 0, 0), Step::new(Restore, 0, 1, 0)],
                connections_max: 4,
                delays_max: 0,
                ..Self::new("undone", &[says(1, 0)], &[(Restore, 1)])
            },
            Self {
                before: vec![says(1, 0)],
                begun: [vec![Step::new(Restore, 0, 1, 0)], comes_back_and_says(0)].concat(),
                connections_max: 4,
                delays_max: 0,
                ..Self::new("undone and asleep", &[], &[(Restore, 1), (Sleep, 1)])
            },
            Self {
                setup: Setup {
                    conversations: vec![vec![1, 2]; 2],
                    ..Setup::small()
                },
                before: vec![says(0, 0), says(0, 1)],
                begun: vec![Step::new(Restore, 0, 2, 0)],
                connections_max: 4,
                faults_max: 2,
                ..Self::new(
                    "killed while it takes over",
                    &[],
                    &[(CrashDevice, 2), (Restore, 1)],
                )
            },
        ]
    }

    fn of_clocks() -> [Self; 2] {
        [
            Self {
                faults_max: 2,
                ..Self::new(
                    "clocks go back",
                    &[says(0, 0), says(0, 0)],
                    &[(ServerClock, 1), (DeviceClock, 1), (CrashDevice, 1)],
                )
            },
            Self::new("one way", &[says(0, 0), says(1, 0)], &[(Swallow, 1)]),
        ]
    }
}
