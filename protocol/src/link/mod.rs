//! The reliability of one connection: its frames are numbered per direction and
//! acknowledged cumulatively.
//!
//! One link lives as long as its connection. TCP brings frames in order or not
//! at all, so a receiver takes the next number and no other: a repeated or a
//! skipped one is a violation, and a perfect oracle for bugs. Nothing is sent
//! again on a live connection; a slow database would otherwise make every
//! healthy client repeat itself at the worst moment. What a connection loses,
//! the outbox and the cursor bring back on the next one, which costs one round
//! trip and no table to keep.

mod receive;
mod send;

pub use self::{receive::Receive, send::Send};
use crate::{
    limits::{WINDOW_COUNT, WINDOW_SIZE},
    seq::FrameNumber,
};

/// The peer broke the rules of the link. The connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkViolation {
    /// Numbers rise by one.
    #[error("frame {number} follows frame {received}")]
    OutOfOrder {
        /// What came.
        number: FrameNumber,
        /// What had come before it.
        received: FrameNumber,
    },
    /// More frames or bytes than the window allows.
    #[error(
        "{count} frames of {size} bytes are unacknowledged, allowed are {WINDOW_COUNT} of {WINDOW_SIZE}"
    )]
    WindowExceeded {
        /// Frames taken and not acknowledged.
        count: usize,
        /// Their bytes.
        size: usize,
    },
    /// An acknowledgement of what was never sent.
    #[error("peer acknowledges frame {ack}, but the last frame sent is {sent}")]
    AckOfUnsent {
        /// What came.
        ack: FrameNumber,
        /// The last one sent.
        sent: FrameNumber,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::ACK_DELAY, moment::Moment};

    const NOW: Moment = Moment::START;

    fn number(number: u64) -> FrameNumber {
        FrameNumber::new(number)
    }

    /// D7.
    #[test]
    fn ack_waits_until_the_frame_is_handled() {
        let mut receive = Receive::default();
        receive.take(number(1), 100).unwrap();
        assert_eq!(receive.ack_due_at(), None);
        assert_eq!(receive.ack(), number(0));

        receive.handled(number(1), NOW);
        assert_eq!(receive.ack_due_at(), Some(NOW + ACK_DELAY));
        assert_eq!(receive.ack(), number(1));
        assert_eq!(receive.ack_due_at(), None, "it has just been said");
    }

    #[test]
    fn frames_handled_out_of_order_are_acknowledged_in_order() {
        let mut receive = Receive::default();
        for it in 1..=4 {
            receive.take(number(it), 10).unwrap();
        }
        receive.handled(number(3), NOW);
        receive.handled(number(2), NOW);
        assert_eq!(receive.ack(), number(0));
        receive.handled(number(1), NOW);
        assert_eq!(receive.ack(), number(3));
        receive.handled(number(4), NOW);
        assert_eq!(receive.ack(), number(4));
    }

    #[test]
    fn a_repeated_or_skipped_number_is_a_violation() {
        let mut receive = Receive::default();
        receive.take(number(1), 10).unwrap();
        for wrong in [0, 1, 3] {
            let (number, received) = (number(wrong), number(1));
            assert_eq!(
                receive.take(number, 10),
                Err(LinkViolation::OutOfOrder { number, received })
            );
        }
    }

    #[test]
    fn a_peer_that_ignores_the_window_is_a_violation() {
        let mut receive = Receive::default();
        for it in 1..=WINDOW_COUNT {
            receive.take(number(it as u64), 10).unwrap();
        }
        let next = number(WINDOW_COUNT as u64 + 1);
        assert!(matches!(
            receive.take(next, 10),
            Err(LinkViolation::WindowExceeded { .. })
        ));
    }

    /// D9.
    #[test]
    fn the_window_closes_by_count_and_by_size_and_opens_with_acks() {
        let mut send = Send::default();
        for _ in 0..WINDOW_COUNT {
            assert!(send.is_open());
            send.number(10);
        }
        assert!(!send.is_open());
        assert_eq!(send.handle_ack(number(1)), Ok(1));
        assert!(send.is_open());

        let mut send = Send::default();
        assert_eq!(send.number(WINDOW_SIZE), number(1));
        assert!(!send.is_open());
        assert_eq!(send.handle_ack(number(1)), Ok(1));
        assert!(send.is_open());
        assert!(send.is_idle());
    }

    #[test]
    fn an_ack_of_what_was_never_sent_is_a_violation_and_an_old_one_is_nothing() {
        let mut send = Send::default();
        send.number(10);
        send.number(10);
        assert_eq!(send.handle_ack(number(2)), Ok(2));
        assert_eq!(send.handle_ack(number(1)), Ok(0));
        let (ack, sent) = (number(3), number(2));
        assert_eq!(
            send.handle_ack(ack),
            Err(LinkViolation::AckOfUnsent { ack, sent })
        );
    }
}
