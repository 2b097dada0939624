//! What a seed decides before anything happens.

use std::{collections::BTreeMap, time::Duration};

use crate::world::{Act, Random, Setup};

/// A world, its people, and what goes wrong in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Where all choices come from.
    pub seed: u64,
    /// How the world begins.
    pub setup: Setup,
    /// How long people write and faults strike.
    pub duration: Duration,
    /// The mean time between two messages of a device.
    pub pause: Duration,
    /// One message in so many comes with a fault; 0: none does.
    pub fault_every: usize,
    /// Which faults there are, and how likely each is among them.
    pub weights: BTreeMap<Act, usize>,
    /// Members come and go.
    pub moving: bool,
    /// Devices go to the background.
    pub sleepy: bool,
    /// The longest way of a frame.
    pub latency: Duration,
}

/// Faults that this world can have. What a stranger does to a frame is for the
/// strict worlds, which keep all bytes.
pub const FAULTS: [Act; 17] = [
    Act::CommitFails,
    Act::CommitUnknown,
    Act::CommitLate,
    Act::LoseBell,
    Act::Cut,
    Act::HalfOpen,
    Act::Repeat,
    Act::Lose,
    Act::CrashDevice,
    Act::CrashServer,
    Act::RollBack,
    Act::Restore,
    Act::WakeLost,
    Act::Swallow,
    Act::Dawdle,
    Act::ServerClock,
    Act::DeviceClock,
];

impl Plan {
    /// A plan out of a number: each fault is there or not, and each has a weight.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let users = 2 + random.below(4);
        let user = |random: &mut Random| u8::try_from(1 + random.below(users)).unwrap_or(1);
        let devices: Vec<u8> = (1..=users)
            .map(|it| u8::try_from(it).unwrap_or(1))
            .chain(
                (0..random.below(4))
                    .map(|_| user(&mut random))
                    .collect::<Vec<_>>(),
            )
            .collect();
        let conversations = (0..=random.below(4))
            .map(|_| {
                let mut members = vec![user(&mut random), user(&mut random), user(&mut random)];
                members.sort_unstable();
                members.dedup();
                members
            })
            .collect();
        // A restore takes memberships back as well, which the contract leaves to
        // the operator: who may read what is not told then.
        let restores = random.one_in(3);
        let mut weights = BTreeMap::new();
        for fault in FAULTS {
            let is_on = random.one_in(2);
            if if fault == Act::Restore {
                restores
            } else {
                is_on
            } {
                weights.insert(fault, 1 + random.below(10));
            }
        }
        // It is rare, and takes all with it.
        weights.entry(Act::Restore).and_modify(|it| *it = 1);
        Self {
            seed,
            setup: Setup {
                devices,
                conversations,
                shards: 1 + random.below(2),
                strict: false,
            },
            duration: Duration::from_secs(24 * 3_600),
            pause: Duration::from_secs(30 + random.below(200) as u64),
            fault_every: 2 + random.below(8),
            weights,
            moving: !restores && random.one_in(2),
            sleepy: random.one_in(2),
            latency: Duration::from_millis(20 + random.below(400) as u64),
        }
    }

    /// Eight devices of four users, who chat once a minute, and nothing fails.
    #[must_use]
    pub fn healthy(seed: u64, duration: Duration) -> Self {
        Self {
            seed,
            setup: Setup {
                devices: vec![1, 2, 3, 4, 1, 2, 3, 4],
                conversations: vec![vec![1, 2, 3, 4], vec![1, 2], vec![3, 4]],
                shards: 1,
                strict: false,
            },
            duration,
            pause: Duration::from_secs(60),
            fault_every: 0,
            weights: BTreeMap::new(),
            moving: false,
            sleepy: false,
            latency: Duration::from_millis(100),
        }
    }
}
