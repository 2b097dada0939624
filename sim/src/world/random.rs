//! Steps out of numbers.

use std::time::Duration;

use super::{
    DEVICES,
    step::{Act, Step},
};

/// Kinds of faults.
pub const FAULT_KINDS: u8 = 17;

/// What may go wrong in steps made from numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Faults {
    /// Nothing.
    None,
    /// Everything.
    All,
}

impl Step {
    /// A step out of any numbers: what normally happens is likelier than a fault.
    #[must_use]
    pub fn from_numbers(kind: u8, a: u16, b: u16, faults: Faults) -> Self {
        let (this, that) = (usize::from(a), usize::from(b));
        let (device, age) = (this % DEVICES, this / DEVICES % 3);
        if kind >= 200 && faults == Faults::All {
            return Self::fault(kind % FAULT_KINDS, a, b);
        }
        let new = |act, a, b| Self::new(act, device, a, b);
        match kind % 20 {
            0 | 1 => new(Act::HandIn, this / 7 % 2, 1),
            // Rarely enough to fill a window by size.
            2 => new(Act::HandIn, 0, if that % 4 == 3 { 16_000 } else { 10 }),
            3 => new(Act::Connect, 0, 0),
            4 | 5 => new(Act::Send, 1 + that % 400, 0),
            6 | 7 => new(Act::Up, size_of_move(that), 0).of_age(age),
            8 | 9 => new(Act::Down, size_of_move(that), 0),
            10 | 11 => new(Act::Commit, 1 + that % 40, 0).of_age(age),
            12 | 13 => new(Act::Deliver, 1 + that % 20, 0).of_age(age),
            14 => new(Act::Store, 1 + that % 20, 0),
            15 => new(Act::Store, 1 + that % 3, 0),
            16 => new(Act::Ping, 0, 0),
            17 => new(Act::Tail, 0, 0),
            18 => new(Act::Fence, 0, 0).of_age(age),
            _ => Self::wait(Duration::from_millis(u64::from(b) % 30)),
        }
    }

    /// Something that goes wrong; there are [`FAULT_KINDS`] of them.
    #[must_use]
    pub fn fault(kind: u8, a: u16, b: u16) -> Self {
        let (this, that) = (usize::from(a), usize::from(b));
        let (device, age) = (this % DEVICES, this / DEVICES % 3);
        let new = |act, a, b| Self::new(act, device, a, b);
        match kind % FAULT_KINDS {
            0 => new(Act::CommitFails, 1 + that % 3, 0).of_age(age),
            1 => new(Act::CommitUnknown, 1 + that % 3, 1).of_age(age),
            2 => new(Act::CommitUnknown, 1 + that % 3, 0).of_age(age),
            3 => new(Act::CommitLate, 1 + that % 3, 0).of_age(age),
            4 => new(Act::Settle, this, 0),
            5 => Self::wait(Duration::from_secs(u64::from(b) % 130)),
            6 => new(Act::Cut, that % 400, that / 8 % 400),
            7 => new(Act::Cut, 0, that % 2_000),
            8 => new(Act::Repeat, that / 2, that % 2),
            9 => new(Act::Lose, that / 2, that % 2),
            10 => new(Act::Replay, 0, 0).of_age(age),
            11 => new(Act::CrashDevice, 0, 0),
            12 => new(Act::LoseBell, 0, 0).of_age(age),
            13 => new(Act::HalfOpen, 0, 0),
            14 => new(Act::RollBack, 0, 0),
            15 => new(Act::BackUp, 0, 0),
            _ => new(Act::CrashServer, 0, 0),
        }
    }
}

/// Few bytes or many: both a byte at a time and everything at once are likely.
const fn size_of_move(choice: usize) -> usize {
    match choice % 4 {
        0 => choice / 4 % 8 + 1,
        1 => choice / 4 % 200 + 1,
        2 => choice / 4 + 1,
        _ => usize::MAX,
    }
}

/// A long run out of one number.
#[must_use]
pub fn steps_of_seed(seed: u64, count: usize, faults: Faults) -> Vec<Step> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| {
            let [kind, a, b, c, d, ..] = random.next().to_be_bytes();
            let (a, b) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            Step::from_numbers(kind, a, b, faults)
        })
        .collect()
}

/// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    /// Once in `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
