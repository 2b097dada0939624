//! A network that splits, delays, cuts, repeats and loses.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Frame, Split, split},
    limits::{LENGTH_SIZE, SERVER_FRAME_SIZE_MAX, WINDOW_COUNT, WINDOW_SIZE},
    wire::v1,
};

use super::Broken;

/// Number and acknowledgement of a frame, either direction's.
pub(crate) trait Header: Frame {
    fn header(&self) -> (u64, u64);
}

impl Header for v1::ClientFrame {
    fn header(&self) -> (u64, u64) {
        (self.number, self.ack)
    }
}

impl Header for v1::ServerFrame {
    fn header(&self) -> (u64, u64) {
        (self.number, self.ack)
    }
}

/// One direction of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Whether all is kept and looked at: a long run cannot.
    pub(super) strict: bool,
    /// What is under way, a frame each with its length; of the first, some bytes
    /// may have arrived already.
    frames: VecDeque<Bytes>,
    first_begun: bool,
    /// Nothing more will be written; what is under way may still arrive.
    pub(crate) ended: bool,
    /// Nothing more will be written, and the reader does not learn of it.
    pub(crate) silent: bool,
    /// What is written from now on is lost, and nobody learns of it.
    pub(crate) swallows: bool,
    /// All bytes ever written, to be replayed.
    pub(crate) written: BytesMut,
    /// The sequenced frames as they were written: number 1 is the first.
    originals: Vec<Bytes>,
    /// Sizes of the sequenced frames that the writer has not seen acknowledged.
    unacked: VecDeque<usize>,
    acked: u64,
    /// How many sequenced frames the reader has taken.
    taken: u64,
}

impl Pipe {
    /// Sends what is in `out`; checks that the writer keeps within its window.
    pub(crate) fn write<F: Header>(&mut self, out: &mut BytesMut) -> Result<(), Broken> {
        let bytes = out.split().freeze();
        if self.ended || self.swallows {
            return Ok(());
        }
        if self.strict {
            self.written.extend_from_slice(&bytes);
        }
        let mut rest = bytes;
        while let Ok(Split::Frame(frame, _)) = split(&rest, SERVER_FRAME_SIZE_MAX) {
            let whole = rest.split_to(LENGTH_SIZE + frame.len());
            self.write_frame::<F>(whole)?;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Broken::new("wire", "a writer leaves half a frame behind"))
        }
    }

    fn write_frame<F: Header>(&mut self, whole: Bytes) -> Result<(), Broken> {
        if !self.strict {
            self.frames.push_back(whole);
            return Ok(());
        }
        let frame = whole.slice(LENGTH_SIZE..);
        let size = frame.len();
        let (number, _) = F::parse(frame, usize::MAX)
            .map_err(|error| Broken::new("wire", format!("a writer writes no frame: {error}")))?
            .header();
        if number != 0 {
            let in_flight: usize = self.unacked.iter().sum();
            if self.unacked.len() >= WINDOW_COUNT || in_flight >= WINDOW_SIZE {
                let count = self.unacked.len();
                let what = format!("{count} frames of {in_flight} bytes unacked, and one more");
                return Err(Broken::new("D9", what));
            }
            self.unacked.push_back(size);
            self.originals.push(whole.clone());
        }
        self.frames.push_back(whole);
        Ok(())
    }

    /// The writer has seen this acknowledgement.
    pub(crate) fn handle_ack(&mut self, ack: u64) {
        while self.acked < ack && self.unacked.pop_front().is_some() {
            self.acked += 1;
        }
    }

    /// The reader has taken a frame as good: it must be the next one, as written.
    pub(crate) fn check_taken(&mut self, number: u64, frame: &[u8]) -> Result<(), Broken> {
        if number == 0 || !self.strict {
            return Ok(());
        }
        let index = usize::try_from(self.taken).unwrap_or(usize::MAX);
        self.taken += 1;
        let written = self
            .originals
            .get(index)
            .and_then(|it| it.get(LENGTH_SIZE..));
        if number == self.taken && written == Some(frame) {
            return Ok(());
        }
        let what = format!(
            "frame {number} taken as the {}. of its connection",
            self.taken
        );
        Err(Broken::new("link", what))
    }

    /// Bytes of the first frame under way, or what is left of it.
    pub(crate) fn first_size(&self) -> usize {
        self.frames.front().map_or(0, Bytes::len)
    }

    /// The frames under way, for a fingerprint of the world.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter()
    }

    /// Up to `size` bytes arrive.
    pub(crate) fn take(&mut self, size: usize) -> BytesMut {
        let mut arrived = BytesMut::new();
        while arrived.len() < size {
            let Some(first) = self.frames.front_mut() else {
                break;
            };
            let part = first.split_to((size - arrived.len()).min(first.len()));
            arrived.extend_from_slice(&part);
            self.first_begun = !first.is_empty();
            if first.is_empty() {
                self.frames.pop_front();
            }
        }
        arrived
    }

    /// The connection breaks here: of what is under way, only the first `keep`
    /// bytes will arrive.
    pub(crate) fn cut(&mut self, keep: usize) {
        if self.ended {
            return;
        }
        self.ended = true;
        let begun = self.first_begun;
        let kept = self.take(keep).freeze();
        self.frames.clear();
        if !kept.is_empty() {
            self.frames.push_back(kept);
        }
        self.first_begun = begun;
    }

    /// Whether the reader will never see another byte.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.frames.is_empty()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Brings a whole frame that is under way twice. Whether there was one.
    pub(crate) fn repeat(&mut self, choice: usize) -> bool {
        let Some(index) = self.whole_frame(choice) else {
            return false;
        };
        if let Some(frame) = self.frames.get(index).cloned() {
            self.frames.insert(index, frame);
        }
        true
    }

    /// Loses a whole frame that is under way. Whether there was one.
    pub(crate) fn lose(&mut self, choice: usize) -> bool {
        self.whole_frame(choice)
            .is_some_and(|index| self.frames.remove(index).is_some())
    }

    fn whole_frame(&self, choice: usize) -> Option<usize> {
        if self.ended {
            return None;
        }
        let first = usize::from(self.first_begun);
        let count = self.frames.len().checked_sub(first).filter(|it| *it > 0)?;
        Some(first + choice % count)
    }

    /// A pipe in which all that was ever written to `other` is under way once
    /// more, and nothing else will be.
    pub(crate) fn replay(other: &Self) -> Self {
        Self {
            frames: VecDeque::from([other.written.clone().freeze()]),
            ended: true,
            strict: true,
            originals: other.originals.clone(),
            ..Self::default()
        }
    }
}

/// One connection between a device and the server.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// As the server welcomed it.
    pub(crate) generation: u64,
    /// Frames were repeated, lost or replayed: a violation is right.
    pub(crate) tampered: bool,
}

impl Connection {
    pub(crate) fn new(strict: bool) -> Self {
        let pipe = || Pipe {
            strict,
            ..Pipe::default()
        };
        Self {
            up: pipe(),
            down: pipe(),
            ..Self::default()
        }
    }

    /// All that was sent to the server on this one comes once more.
    pub(crate) fn replay(&self) -> Self {
        Self {
            up: Pipe::replay(&self.up),
            tampered: true,
            ..Self::default()
        }
    }

    /// Breaks both directions.
    pub(crate) fn cut(&mut self, keep_up: usize, keep_down: usize) {
        self.up.cut(keep_up);
        self.down.cut(keep_down);
    }
}
