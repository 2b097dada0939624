//! The receiving half: takes frames in order, acknowledges what is handled.

use std::collections::VecDeque;

use super::LinkViolation;
use crate::{
    limits::{ACK_COUNT, ACK_DELAY, SERVER_FRAME_SIZE_MAX, WINDOW_COUNT, WINDOW_SIZE},
    moment::Moment,
    seq::FrameNumber,
};

/// What the peer sent and this side has not handled, or not acknowledged.
#[derive(Debug, Default)]
pub struct Receive {
    received: FrameNumber,
    handled: FrameNumber,
    /// The last `handled` that the peer was told.
    told: FrameNumber,
    /// (size, handled) of the frames after `handled`, up to `received`.
    pending: VecDeque<(usize, bool)>,
    pending_size: usize,
    ack_due_at: Option<Moment>,
}

impl Receive {
    /// Takes the next frame, of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`LinkViolation`] if it is not the next, or the peer ignores the window.
    pub fn take(&mut self, number: FrameNumber, size: usize) -> Result<(), LinkViolation> {
        if number != self.received.next() || number == self.received {
            return Err(LinkViolation::OutOfOrder {
                number,
                received: self.received,
            });
        }
        let count = self.pending.len() + 1;
        // The last frame may overshoot: see `Send::is_open`.
        let size_max = WINDOW_SIZE + SERVER_FRAME_SIZE_MAX;
        if count > WINDOW_COUNT || self.pending_size + size > size_max {
            let size = self.pending_size + size;
            return Err(LinkViolation::WindowExceeded { count, size });
        }
        self.received = number;
        self.pending.push_back((size, false));
        self.pending_size += size;
        Ok(())
    }

    /// The effect of `number` is durable on this side (D7).
    pub fn handled(&mut self, number: FrameNumber, now: Moment) {
        // Our own caller: a wrong value is a bug, so say which promise it broke.
        debug_assert!(
            number <= self.received,
            "handled {number}, but received only {}",
            self.received
        );
        let Some(index) = number
            .get()
            .checked_sub(self.handled.next().get())
            .and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        if let Some((_, handled)) = self.pending.get_mut(index) {
            *handled = true;
        }
        while let Some((size, true)) = self.pending.front().copied() {
            self.pending.pop_front();
            self.pending_size -= size;
            self.handled = self.handled.next();
        }
        if self.pending.is_empty() {
            // An idle connection holds no buffers.
            self.pending = VecDeque::new();
        }
        if self.handled > self.told {
            let many = self.handled.get() - self.told.get() >= ACK_COUNT;
            let due_at = if many { now } else { now + ACK_DELAY };
            self.ack_due_at = Some(self.ack_due_at.map_or(due_at, |at| at.min(due_at)));
        }
    }

    /// Frames taken and not handled yet.
    #[must_use]
    pub fn unhandled(&self) -> usize {
        self.pending.len()
    }

    /// The highest number such that all up to it are handled.
    #[must_use]
    pub const fn handled_up_to(&self) -> FrameNumber {
        self.handled
    }

    /// The last number taken.
    #[must_use]
    pub const fn received(&self) -> FrameNumber {
        self.received
    }

    /// When an acknowledgement must leave at the latest, alone if need be.
    #[must_use]
    pub const fn ack_due_at(&self) -> Option<Moment> {
        self.ack_due_at
    }

    /// The acknowledgement to put into the frame that leaves now.
    pub const fn ack(&mut self) -> FrameNumber {
        self.told = self.handled;
        self.ack_due_at = None;
        self.handled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No number is given out or taken twice, however long a connection lives.
    #[test]
    fn at_the_last_number_a_link_ends_and_does_not_begin_anew() {
        let last = FrameNumber::new(u64::MAX);
        let mut receive = Receive {
            received: last.previous(),
            handled: last.previous(),
            told: last.previous(),
            ..Receive::default()
        };
        receive.take(last, 10).unwrap();
        receive.handled(last, Moment::START);
        assert_eq!(receive.ack(), last);
        for number in [last, FrameNumber::ZERO, FrameNumber::new(1)] {
            let refused = LinkViolation::OutOfOrder {
                number,
                received: last,
            };
            assert_eq!(receive.take(number, 10), Err(refused));
        }
    }
}
