//! All faults, by where they strike.

mod outside;
mod processes;
mod stored;

use super::{Area, Fault};

/// Nothing is known of it yet.
const fn fault(area: Area, name: &'static str) -> Fault {
    Fault {
        area,
        name,
        weights: &[],
        mutants: &[],
        tests: &[],
        remark: "",
    }
}

pub(super) fn all() -> impl Iterator<Item = &'static Fault> {
    let faults = [processes::FAULTS, outside::FAULTS, stored::FAULTS];
    faults.into_iter().flatten()
}
