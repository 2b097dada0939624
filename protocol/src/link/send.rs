//! The sending half: numbers frames and keeps the window.

use std::collections::VecDeque;

use super::LinkViolation;
use crate::{
    limits::{WINDOW_COUNT, WINDOW_SIZE},
    seq::FrameNumber,
};

/// What this side sent and the peer has not acknowledged.
#[derive(Debug, Default)]
pub struct Send {
    sent: FrameNumber,
    acked: FrameNumber,
    /// Sizes of the frames after `acked`, up to `sent`.
    sizes: VecDeque<usize>,
    in_flight: usize,
}

impl Send {
    /// Whether one more frame may be sent.
    ///
    /// A frame may overshoot the window's bytes by its own size, so that no
    /// frame is too large ever to be sent: the bound is `WINDOW_SIZE` and one
    /// frame.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sizes.len() < WINDOW_COUNT && self.in_flight < WINDOW_SIZE
    }

    /// Whether everything sent is acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The last number given out.
    #[must_use]
    pub const fn sent(&self) -> FrameNumber {
        self.sent
    }

    /// The last number that the peer acknowledged.
    #[must_use]
    pub const fn acked(&self) -> FrameNumber {
        self.acked
    }

    /// The number that [`Self::number`] will give next.
    #[must_use]
    pub const fn upcoming(&self) -> FrameNumber {
        self.sent.next()
    }

    /// Numbers a frame of `size` bytes that goes out now.
    pub fn number(&mut self, size: usize) -> FrameNumber {
        debug_assert!(self.is_open(), "frame sent into a closed window");
        self.sent = self.sent.next();
        self.sizes.push_back(size);
        self.in_flight += size;
        self.sent
    }

    /// Takes an acknowledgement; returns how many frames it newly covers.
    ///
    /// # Errors
    ///
    /// [`LinkViolation::AckOfUnsent`].
    pub fn handle_ack(&mut self, ack: FrameNumber) -> Result<usize, LinkViolation> {
        if ack > self.sent {
            return Err(LinkViolation::AckOfUnsent {
                ack,
                sent: self.sent,
            });
        }
        let mut covered = 0;
        while self.acked < ack {
            self.acked = self.acked.next();
            self.in_flight -= self.sizes.pop_front().unwrap_or_default();
            covered += 1;
        }
        if self.sizes.is_empty() {
            // An idle connection holds no buffers.
            self.sizes = VecDeque::new();
        }
        Ok(covered)
    }
}
