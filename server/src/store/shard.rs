//! Shards of the log, and places in all of them at once.
//!
//! Conversations are spread over shards by their ids. Each shard has a head of
//! its own, so that as many batches commit side by side; most logs have one. A
//! position says which shard it is of, in its upper byte, so that the positions
//! of one shard are a range of numbers: what has a position needs no further
//! column for its shard, and no index one for each.

use std::fmt;

use magpie_protocol::{id::ConversationId, seq::Position};

use crate::config::DATABASE_SHARDS_MAX;

/// Shards of one log.
pub const SHARDS_MAX: usize = DATABASE_SHARDS_MAX as usize;

/// Bits of a position below those of its shard: enough for a million events a
/// second in two thousand years.
pub(super) const SHARD_SHIFT: u32 = 56;

// A position is stored as a signed number, and the highest one means "never".
const _: () = assert!((SHARDS_MAX as u64) << SHARD_SHIFT < i64::MAX as u64);

/// One shard of the log: 0, 1, 2, ...
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Shard(u8);

impl Shard {
    /// The one that every log has. What is no conversation's takes its positions
    /// here.
    pub const FIRST: Self = Self(0);

    /// The shard of a position.
    #[must_use]
    pub const fn of(position: Position) -> Self {
        Self((position.get() >> SHARD_SHIFT) as u8)
    }

    /// The shard of a conversation, in a log of so many.
    #[must_use]
    pub fn of_conversation(conversation: ConversationId, count: usize) -> Self {
        // The last bytes of both kinds of ids are random.
        let random = conversation.bytes().last_chunk().copied();
        let random = u64::from_be_bytes(random.unwrap_or_default());
        let shard = random.checked_rem(count as u64).unwrap_or(0);
        Self(u8::try_from(shard).unwrap_or(0))
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The place before its first event.
    #[must_use]
    pub const fn origin(self) -> Position {
        Position::new((self.0 as u64) << SHARD_SHIFT)
    }

    /// The first `count` shards.
    pub fn all(count: usize) -> impl Iterator<Item = Self> + Clone {
        let count = u8::try_from(count.min(SHARDS_MAX)).unwrap_or(0);
        (0..count).map(Self)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A place in each shard of the log: what a cursor holds.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Positions {
    at: [Position; SHARDS_MAX],
    count: usize,
}

impl Positions {
    /// Before everything, in a log of so many shards.
    #[must_use]
    pub fn origin(count: usize) -> Self {
        let mut at = [Position::ZERO; SHARDS_MAX];
        for (shard, place) in Shard::all(count).zip(&mut at) {
            *place = shard.origin();
        }
        let count = count.min(SHARDS_MAX);
        Self { at, count }
    }

    /// From one position of each shard, in their order; `None` if they are not
    /// that.
    #[must_use]
    pub fn from_each(each: &[Position]) -> Option<Self> {
        if each.is_empty() || each.len() > SHARDS_MAX {
            return None;
        }
        let mut places = Self::origin(each.len());
        for (shard, position) in Shard::all(each.len()).zip(each) {
            if Shard::of(*position) != shard {
                return None;
            }
            places.set(*position);
        }
        Some(places)
    }

    /// How many shards the log has.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The place in one shard.
    #[must_use]
    pub fn in_shard(&self, shard: Shard) -> Position {
        let place = self.each().nth(shard.index());
        place.unwrap_or_else(|| shard.origin())
    }

    /// Puts the place in a position's shard there, also downwards.
    pub fn set(&mut self, position: Position) {
        let mut places = self.at.iter_mut().take(self.count);
        if let Some(place) = places.nth(Shard::of(position).index()) {
            *place = position;
        }
    }

    /// Whether the place in the position's shard is there or beyond it.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        self.in_shard(Shard::of(position)) >= position
    }

    /// Whether it is there or beyond in every shard.
    #[must_use]
    pub fn reaches(&self, other: &Self) -> bool {
        other.each().all(|position| self.covers(position))
    }

    /// In each shard the later of two places.
    #[must_use]
    pub fn later(&self, other: &Self) -> Self {
        self.merged(other, Ord::max)
    }

    /// In each shard the earlier of two places.
    #[must_use]
    pub fn earlier(&self, other: &Self) -> Self {
        self.merged(other, Ord::min)
    }

    fn merged(&self, other: &Self, choose: fn(Position, Position) -> Position) -> Self {
        let mut merged = *self;
        for position in self.each() {
            let other = other.in_shard(Shard::of(position));
            merged.set(choose(position, other));
        }
        merged
    }

    /// One position of each shard, in their order.
    pub fn each(&self) -> impl Iterator<Item = Position> + Clone + '_ {
        self.at.iter().copied().take(self.count)
    }

    /// How many positions were given out up to here, in all shards.
    #[must_use]
    pub fn given_out(&self) -> u64 {
        let given = |position: Position| position.get() - Shard::of(position).origin().get();
        self.each().map(given).sum()
    }
}

/// A log of one shard.
impl From<Position> for Positions {
    fn from(position: Position) -> Self {
        let mut places = Self::origin(1);
        places.set(position);
        places
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, position) in self.each().enumerate() {
            let separator = if index == 0 { "" } else { "/" };
            let origin = Shard::of(position).origin();
            write!(formatter, "{separator}{}", position.get() - origin.get())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Positions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(of: &[u64]) -> Positions {
        let at = Shard::all(of.len()).zip(of);
        let each: Vec<Position> = at
            .map(|(shard, number)| Position::new(shard.origin().get() + number))
            .collect();
        Positions::from_each(&each).unwrap()
    }

    #[test]
    fn a_position_knows_its_shard() {
        for shard in Shard::all(SHARDS_MAX) {
            assert_eq!(Shard::of(shard.origin()), shard);
            assert_eq!(Shard::of(shard.origin().next()), shard);
        }
        assert_eq!(Shard::all(SHARDS_MAX).count(), SHARDS_MAX);
    }

    #[test]
    fn one_shard_does_not_stand_in_for_another() {
        let (ahead, behind) = (places(&[9, 2]), places(&[3, 3]));
        assert!(!ahead.reaches(&behind) && !behind.reaches(&ahead));
        assert_eq!(ahead.later(&behind), places(&[9, 3]));
        assert_eq!(ahead.earlier(&behind), places(&[3, 2]));
        assert!(places(&[9, 3]).reaches(&ahead));
        assert_eq!(ahead.given_out(), 11);
        assert_eq!(ahead.to_string(), "9/2");
    }

    #[test]
    fn positions_of_other_shards_are_no_places() {
        let in_second = Shard(1).origin();
        assert_eq!(Positions::from_each(&[in_second]), None);
        assert_eq!(Positions::from_each(&[]), None);
        let mut one = Positions::origin(1);
        one.set(in_second.next());
        assert_eq!(one, Positions::origin(1));
    }

    #[test]
    fn conversations_are_spread_over_all_shards() {
        let mut seen = [0; 4];
        for number in 0..1_000_u128 {
            let id = ConversationId::new(((number << 64) | (number * 7)).to_be_bytes());
            seen[Shard::of_conversation(id, 4).index()] += 1;
            assert_eq!(Shard::of_conversation(id, 1), Shard::FIRST);
        }
        assert!(seen.iter().all(|count| *count > 200), "{seen:?}");
    }
}
