//! From a history to a verdict: the invariants, each a pass over the notes.

mod device;
mod end;
mod facts;
mod loss;
mod order;
mod outside;

#[cfg(test)]
mod mutators;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

pub use self::outside::{Outcome, Reader, Sending, Shown, check};
use crate::history::History;
pub use crate::history::Place;

/// What went wrong, in one word.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Accepted, and not there; or silently gone.
    Lost,
    /// One id at two places, or one event shown twice.
    Duplicated,
    /// Nobody sent that, or it was refused, or it did not happen yet.
    Phantom,
    /// Two that must agree do not.
    Divergent,
    /// A seq was passed over.
    Gap,
    /// Not the order of seq, of the sender, or of cause and effect.
    Reordered,
    /// Somebody has what is not for them.
    Leak,
    /// Nothing is in the way and it does not go on.
    Stuck,
    /// A push that had no reason.
    UnsoundWake,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Phantom => "phantom",
            Self::Divergent => "divergent",
            Self::Gap => "gap",
            Self::Reordered => "reordered",
            Self::Leak => "leak",
            Self::Stuck => "stuck",
            Self::UnsoundWake => "unsound wake",
        })
    }
}

/// What must hold in every history, and by that which promise.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Invariant {
    /// Accepted is in the log, and with everyone entitled (D1, D2).
    I1,
    /// One id has one place and is shown once (D3).
    I2,
    /// What is stored was sent so (D12).
    I3,
    /// One order for all (D4).
    I4,
    /// Shown only when everything below is there (D5).
    I5,
    /// A sender's order (D6).
    I6,
    /// An answer stands behind what it answers (D4).
    I7,
    /// All is well some time after the faults have ended (D2).
    I8,
    /// Refused is final (D12).
    I9,
    /// Marks rise, and say only what happened (D7).
    I10,
    /// Wakes have a reason (D8).
    I11,
    /// Only members (D10).
    I12,
    /// Epochs rise, by a welcome alone (D11).
    I13,
    /// The newest connection wins (D7).
    I14,
    /// A cursor survives a restart (D7).
    I15,
    /// All copies of a stretch are the same (D4).
    I16,
    /// Nothing vanishes silently (D12).
    I17,
}

impl Invariant {
    /// The promise of the contract that it stands for.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::I1 => "D1, D2",
            Self::I8 => "D2",
            Self::I2 => "D3",
            Self::I4 | Self::I7 | Self::I16 => "D4",
            Self::I5 => "D5",
            Self::I6 => "D6",
            Self::I10 | Self::I14 | Self::I15 => "D7",
            Self::I11 => "D8",
            Self::I12 => "D10",
            Self::I13 => "D11",
            Self::I3 | Self::I9 | Self::I17 => "D12",
        }
    }
}

/// One broken promise, with the shortest story that shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// What it looks like.
    pub kind: Kind,
    /// Which invariant is broken.
    pub invariant: Invariant,
    /// Two or three sentences, in the order in which they happened.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            invariant,
            story,
        } = self;
        let promise = invariant.promise();
        write!(
            formatter,
            "{kind} ({promise}; {invariant:?}): {}",
            story.join("; ")
        )
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Requests that somebody made.
    pub sent: u64,
    /// Of these, accepted.
    pub accepted: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Of these, without an answer, and in the log.
    pub recovered: u64,
    /// Events stored, over all devices.
    pub stored: u64,
    /// Events shown, over all devices.
    pub shown: u64,
}

/// What a history proves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// All that is wrong; of one invariant at most [`VIOLATIONS_MAX`].
    pub violations: Vec<Violation>,
    /// What was looked at.
    pub tally: Tally,
}

/// One fault breaks an invariant a thousand times; so many are told.
pub const VIOLATIONS_MAX: usize = 100;

impl Verdict {
    /// Nothing is wrong.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            sent,
            accepted,
            refused,
            recovered,
            stored,
            shown,
        } = self.tally;
        let silent = sent.saturating_sub(accepted + refused);
        write!(
            formatter,
            "{sent} sent, {accepted} accepted, {refused} refused, {silent} without an answer \
             of which {recovered} are in the log; {stored} stored, {shown} shown: "
        )?;
        match self.violations.as_slice() {
            [] => formatter.write_str("every promise is kept"),
            violations => {
                write!(formatter, "{} violations", violations.len())?;
                violations
                    .iter()
                    .try_for_each(|it| write!(formatter, "\n  {it}"))
            }
        }
    }
}

/// Violations as they are found.
#[derive(Debug, Default)]
struct Findings {
    violations: Vec<Violation>,
    counts: BTreeMap<Invariant, usize>,
}

impl Findings {
    fn push(&mut self, kind: Kind, invariant: Invariant, story: impl FnOnce() -> Vec<String>) {
        let count = self.counts.entry(invariant).or_default();
        *count += 1;
        if *count <= VIOLATIONS_MAX {
            self.violations.push(Violation {
                kind,
                invariant,
                story: story(),
            });
        }
    }
}

/// Looks at a whole history.
#[must_use]
pub fn judge(history: &History) -> Verdict {
    let facts = facts::Facts::new(history);
    let mut findings = Findings::default();
    let walked: Vec<device::Walked> = history
        .devices
        .iter()
        .map(|device| device::walk(&facts, device, &mut findings))
        .collect();
    let places = order::one_order_for_all(&facts, &mut findings);
    order::senders_order(&facts, &places, &mut findings);
    order::causes_come_first(&facts, &places, &walked, &mut findings);
    loss::nothing_lost(&facts, &walked, &mut findings);
    end::comes_right(&facts, &walked, &mut findings);
    end::marks_say_what_happened(&facts, &mut findings);
    end::wakes_have_a_reason(&facts, &mut findings);
    let mut tally = facts.tally();
    tally.stored = walked.iter().map(|it| it.stored_count).sum();
    tally.shown = walked.iter().map(|it| it.shown_count).sum();
    Verdict {
        violations: findings.violations,
        tally,
    }
}
