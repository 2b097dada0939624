//! Epochs: which history the log is of, and what it has in common with others.
//!
//! A history that began at a restored backup shares with the one before it what
//! stood in the backup. The bases are of what is in the backup too, so of a
//! history that a later restore undid this log knows nothing.

use super::Positions;

/// The identity of the server's history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    /// Rises when the history may have gone back.
    pub epoch: u64,
    /// The place at which it began.
    pub base: Positions,
}

/// Which history the log is of, and how far it goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogState {
    /// The identity of the history.
    pub history: History,
    /// The last position given out, in each shard.
    pub heads: Positions,
}

/// A history that was begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewEpoch {
    /// The history and where it begins.
    pub state: LogState,
    /// Devices that may connect to it.
    pub devices: u64,
    /// Devices that were revoked now.
    pub revoked: u64,
}

/// Up to where the history that is served has what the one of the epoch `held`
/// had. `known` are the histories that the log knows, in any order; those before
/// `held` may be left out.
///
/// The lowest base since then: with the last one alone, what a history between
/// had put in place of something else would be taken for it. Of a history that
/// this log does not know, nothing is certain.
pub(in crate::store) fn common(held: u64, known: &[History], shard_count: usize) -> Positions {
    let later = known.iter().filter(|history| history.epoch > held);
    let lowest = later
        .map(|history| history.base)
        .reduce(|lowest, base| lowest.earlier(&base));
    let is_known = known.iter().any(|history| history.epoch == held);
    lowest
        .filter(|_| is_known)
        .unwrap_or_else(|| Positions::origin(shard_count))
}

#[cfg(test)]
mod tests {
    use magpie_protocol::seq::Position;

    use super::*;

    /// D11.
    #[test]
    fn what_two_histories_share_ends_at_the_lowest_base_between_them() {
        let known = [(1, 0), (5, 10), (7, 4), (9, 6)].map(|(epoch, base)| History {
            epoch,
            base: Position::new(base).into(),
        });
        for (held, shared) in [(1, 4), (5, 4), (7, 6), (9, 0), (6, 0), (10, 0)] {
            let found = common(held, &known, 1);
            assert_eq!(
                found.in_shard(super::super::Shard::FIRST).get(),
                shared,
                "{held}"
            );
        }
    }
}
