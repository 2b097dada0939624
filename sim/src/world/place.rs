//! A place in the log: a position for each shard.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// Everything up to these positions.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Place(pub(crate) Vec<u64>);

impl Place {
    pub(crate) fn at(&self, shard: usize) -> u64 {
        self.0.get(shard).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, shard: usize, position: u64) {
        if self.0.len() <= shard {
            self.0.resize(shard + 1, 0);
        }
        if let Some(it) = self.0.get_mut(shard) {
            *it = position;
        }
    }

    fn both(&self, other: &Self, pick: impl Fn(u64, u64) -> u64) -> Self {
        let shards = 0..self.0.len().max(other.0.len());
        Self(
            shards
                .map(|shard| pick(self.at(shard), other.at(shard)))
                .collect(),
        )
    }

    pub(crate) fn lower_of(&self, other: &Self) -> Self {
        self.both(other, u64::min)
    }

    pub(crate) fn higher_of(&self, other: &Self) -> Self {
        self.both(other, u64::max)
    }

    /// Whether no shard is behind the other's.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        (0..other.0.len()).all(|shard| self.at(shard) >= other.at(shard))
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// As devices store it, with the epoch that it is of.
    pub(crate) fn seal(&self, epoch: u64) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64(epoch);
        self.0.iter().for_each(|it| bytes.put_u64(*it));
        bytes.freeze()
    }

    /// Epoch and place of a cursor; an empty one is the beginning.
    pub(crate) fn open(mut cursor: &[u8]) -> (u64, Self) {
        let epoch = cursor.try_get_u64().unwrap_or_default();
        let mut positions = Vec::new();
        while let Ok(position) = cursor.try_get_u64() {
            positions.push(position);
        }
        (epoch, Self(positions))
    }
}
