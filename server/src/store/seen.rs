//! How far the log has been: what notices that it went back.
//!
//! A restored backup looks like any other database. What it cannot know is how
//! far its log had come: this node does, and its devices' cursors do.

use parking_lot::Mutex;

use super::{LogState, Positions, StoreError};

/// The furthest that this process knows its log to have come.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<(u64, Positions)>>);

impl Seen {
    /// Remembers how far the log is, unless it is less far than it was, in the
    /// same history or a later one.
    pub(super) fn check(&self, found: &LogState) -> Result<(), StoreError> {
        let mut seen = self.0.lock();
        let epoch = found.history.epoch;
        let reached = match *seen {
            None => found.heads,
            Some((seen_epoch, _)) if seen_epoch < epoch => found.heads,
            Some((seen_epoch, reached)) => {
                if seen_epoch > epoch || !found.heads.reaches(&reached) {
                    return Err(StoreError::WentBack {
                        reached: place(seen_epoch, &reached),
                        found: place(epoch, &found.heads),
                    });
                }
                found.heads
            }
        };
        *seen = Some((epoch, reached));
        Ok(())
    }

    /// The log has been here, in this epoch.
    pub(super) fn note(&self, epoch: u64, reached: &Positions) {
        let mut seen = self.0.lock();
        let reached = match *seen {
            Some((seen_epoch, _)) if seen_epoch > epoch => return,
            Some((seen_epoch, seen)) if seen_epoch == epoch => seen.later(reached),
            Some(_) | None => *reached,
        };
        *seen = Some((epoch, reached));
    }
}

fn place(epoch: u64, heads: &Positions) -> String {
    format!("{heads} in epoch {epoch}")
}

#[cfg(test)]
mod tests {
    use magpie_protocol::seq::Position;

    use super::*;
    use crate::store::History;

    fn state(epoch: u64, head: u64) -> LogState {
        LogState {
            history: History {
                epoch,
                base: Position::ZERO.into(),
            },
            heads: Position::new(head).into(),
        }
    }

    #[test]
    fn a_log_that_goes_back_is_noticed_until_a_new_epoch_begins() {
        let seen = Seen::default();
        seen.check(&state(1, 5)).unwrap();
        seen.note(1, &Position::new(9).into());
        assert!(seen.check(&state(1, 8)).is_err());
        seen.check(&state(1, 9)).unwrap();
        seen.check(&state(2, 7)).unwrap();
        assert!(seen.check(&state(2, 6)).is_err());
        assert!(seen.check(&state(1, 9)).is_err(), "a backup of before");
        seen.note(1, &Position::new(100).into());
        seen.check(&state(2, 7)).unwrap();
    }
}
