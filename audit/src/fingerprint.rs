//! A sum over a stretch of a conversation, to compare two copies without
//! sending them.

use magpie_protocol::{id::MessageId, seq::Seq};

use crate::digest::Digest;

/// The sum of its events, whatever their order, wherever they begin.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of one event.
    #[must_use]
    pub fn of(seq: Seq, message_id: Option<MessageId>, digest: Digest) -> Self {
        let mut bytes = Vec::with_capacity(56);
        bytes.extend(seq.get().to_be_bytes());
        bytes.extend(message_id.map_or([0; 16], |id| id.bytes()));
        bytes.extend(digest.bytes());
        Self(Digest::hash(&bytes))
    }

    /// Of both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Of what is in this one and not in `other`, which is a part of it.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}

/// Running sums over entries in the order of seq.
pub(crate) struct Sums(Vec<(Seq, Fingerprint)>);

impl Sums {
    pub(crate) fn new(entries: impl Iterator<Item = (Seq, Fingerprint)>) -> Self {
        let mut sum = Fingerprint::default();
        Self(
            entries
                .map(|(seq, fingerprint)| {
                    sum = sum.with(fingerprint);
                    (seq, sum)
                })
                .collect(),
        )
    }

    /// The sum of `from..=to`.
    fn of(&self, from: Seq, to: Seq) -> Fingerprint {
        self.upto(to).without(self.upto(from.previous()))
    }

    fn upto(&self, seq: Seq) -> Fingerprint {
        let end = self.0.partition_point(|(it, _)| *it <= seq);
        let last = end.checked_sub(1).and_then(|index| self.0.get(index));
        last.map_or_else(Fingerprint::default, |(_, sum)| *sum)
    }

    /// The first seq at which two copies of `from..=to` differ, found by halves.
    pub(crate) fn first_difference(&self, other: &Self, from: Seq, to: Seq) -> Option<Seq> {
        if from > to || self.of(from, to) == other.of(from, to) {
            return None;
        }
        let (mut low, mut high) = (from.get(), to.get());
        while low < high {
            let middle = low + (high - low) / 2;
            let (start, end) = (Seq::new(low), Seq::new(middle));
            if self.of(start, end) == other.of(start, end) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(Seq::new(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(numbers: impl Iterator<Item = (u64, u64)>) -> Sums {
        Sums::new(numbers.map(|(seq, content)| {
            let (seq, digest) = (Seq::new(seq), Digest::of(&content.to_be_bytes()));
            (seq, Fingerprint::of(seq, None, digest))
        }))
    }

    #[test]
    fn a_difference_is_narrowed_to_its_seq() {
        let (from, to) = (Seq::new(1), Seq::new(100));
        let whole = sums((1..=100).map(|it| (it, it)));
        for wrong in 1..=100 {
            let other = sums((1..=100).map(|it| (it, if it == wrong { 0 } else { it })));
            let found = whole.first_difference(&other, from, to);
            assert_eq!(found, Some(Seq::new(wrong)));
            let part = whole.first_difference(&other, Seq::new(wrong + 1), to);
            assert_eq!(part, None);
        }
    }
}
