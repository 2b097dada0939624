//! The lines of `torture`.

use std::fmt::{self, Write};

use serde::Serialize;

use super::Line;
use crate::paint::{Painter, Part};

/// Of the longest name of a fault.
const KIND_WIDTH: usize = 14;

/// What there is to torture.
#[derive(Debug, Serialize)]
pub(crate) struct BegunFields {
    pub(crate) seed: u64,
    pub(crate) users: u64,
    pub(crate) devices: u64,
    pub(crate) processes: u64,
    pub(crate) conversations: u64,
    pub(crate) directory: String,
}

/// One fault.
#[derive(Debug, Serialize)]
pub(crate) struct StruckFields {
    pub(crate) kind: &'static str,
    pub(crate) at_ms: u64,
    pub(crate) lasted_ms: u64,
}

/// Everybody has what was handed in up to one second after a fault.
#[derive(Debug, Serialize)]
pub(crate) struct HealedFields {
    pub(crate) kind: &'static str,
    pub(crate) after_ms: u64,
}

/// All faults of a kind.
#[derive(Debug, Serialize)]
pub(crate) struct FaultFields {
    pub(crate) kind: &'static str,
    pub(crate) count: u64,
    pub(crate) after_ms_median: u64,
    pub(crate) after_ms_max: u64,
}

/// The totals.
#[derive(Debug, Serialize)]
pub(crate) struct TortureFields {
    pub(crate) seconds: u64,
    pub(crate) faults: u64,
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    pub(crate) recovered: u64,
    pub(crate) stored: u64,
    pub(crate) shown: u64,
    pub(crate) caught_up_ms: Option<u64>,
    pub(crate) violations: u64,
    pub(crate) kept: Option<String>,
}

impl Line {
    /// What is about torture.
    pub(super) fn paint_torture(&self, to: &mut Painter) -> fmt::Result {
        if let Self::TortureBegun(fields) = self {
            fields.paint(to)
        } else if let Self::Fault(fields) = self {
            let StruckFields {
                kind,
                at_ms,
                lasted_ms,
            } = fields;
            to.paint(Part::Aside, format_args!("{:>9} ", seconds(*at_ms)))?;
            to.column(Part::Waits, kind, KIND_WIDTH)?;
            write!(to, " lasted {}", seconds(*lasted_ms))
        } else if let Self::Healed(HealedFields { kind, after_ms }) = self {
            write!(to, "{:9} ", "")?;
            to.column(Part::Done, kind, KIND_WIDTH)?;
            write!(to, " caught up after {}", seconds(*after_ms))
        } else if let Self::Faults(fields) = self {
            fields.paint(to)
        } else if let Self::Violation { message } = self {
            to.paint(Part::Wrong, "broken")?;
            write!(to, ": {message}")
        } else if let Self::Torture(fields) = self {
            fields.paint(to)
        } else {
            Ok(())
        }
    }
}

impl BegunFields {
    fn paint(&self, to: &mut Painter) -> fmt::Result {
        let Self {
            seed,
            users,
            devices,
            processes,
            conversations,
            directory,
        } = self;
        write!(
            to,
            "{users} users with {devices} devices, {processes} of them processes, and \
             {conversations} conversations; --seed {seed}; files in {directory}"
        )
    }
}

impl FaultFields {
    fn paint(&self, to: &mut Painter) -> fmt::Result {
        write!(to, "{:>4} ", self.count)?;
        to.column(Part::Waits, self.kind, KIND_WIDTH)?;
        let (median, max) = (seconds(self.after_ms_median), seconds(self.after_ms_max));
        write!(to, " caught up after {median:>9} (median), {max:>9} (max)")
    }
}

impl TortureFields {
    fn paint(&self, to: &mut Painter) -> fmt::Result {
        let Self {
            seconds: length,
            faults,
            sent,
            accepted,
            refused,
            unanswered,
            recovered,
            stored,
            shown,
            caught_up_ms,
            violations,
            kept,
        } = self;
        write!(
            to,
            "{length} s, {faults} faults: {sent} sent, {accepted} accepted, {refused} refused, \
             {unanswered} without an answer of which {recovered} are in the log; {stored} stored, \
             {shown} shown; "
        )?;
        match caught_up_ms {
            Some(after) => write!(to, "all caught up {} after the end; ", seconds(*after))?,
            None => to.paint(Part::Wrong, "not all caught up; ")?,
        }
        if *violations == 0 {
            to.paint(Part::Done, "every promise is kept")?;
        } else {
            to.paint(Part::Wrong, format_args!("{violations} violations"))?;
        }
        match kept {
            Some(kept) => write!(to, "; files in {kept}"),
            None => Ok(()),
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03} s", milliseconds / 1_000, milliseconds % 1_000)
}
