//! Cursors: opaque to clients, authenticated, bound to their device.
//!
//! Layout: format (1 byte), epoch (8), kind (1), shards (1), for each place a
//! position in each shard (8 each), tag (16); all big-endian. The tag is HMAC-SHA256, cut to 16 bytes (RFC 2104, section 5, allows
//! half the hash), over the device's id and everything before it. A cursor of
//! another device, another server or another time is not one that helps.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use magpie_protocol::{id::DeviceId, seq::Position};

use crate::store::{Positions, Recency, SHARDS_MAX, SnapshotPlace};

const FORMAT: u8 = 2;
const KIND_POSITION: u8 = 0;
const KIND_SNAPSHOT: u8 = 1;
const TAG_SIZE: usize = 16;
/// Of a cursor in the middle of a snapshot of the most shards.
const SIZE_MAX: usize = 1 + 8 + 1 + 1 + 2 * 8 * SHARDS_MAX + 2 * 8 + TAG_SIZE;

/// A place in the history, as a device stores it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Everything up to here is in the device's database.
    At(Positions),
    /// In the middle of a snapshot.
    Snapshot(SnapshotPlace),
}

impl Place {
    /// The furthest place that it tells of.
    #[must_use]
    pub const fn seen(&self) -> Positions {
        match self {
            Self::At(position) => *position,
            Self::Snapshot(place) => place.at,
        }
    }

    /// Up to where the device certainly has everything.
    #[must_use]
    pub const fn confirmed(&self) -> Positions {
        match self {
            Self::At(position) => *position,
            Self::Snapshot(place) => place.since,
        }
    }
}

/// A cursor that was opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor {
    /// The history that it is of.
    pub epoch: u64,
    /// The place in it.
    pub place: Place,
}

/// Seals and opens cursors.
#[derive(Clone, Debug)]
pub struct CursorKey(hmac::Key);

impl CursorKey {
    /// A key that all nodes of one log share.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Writes a cursor down for this device.
    #[must_use]
    pub fn seal(&self, device: DeviceId, cursor: Cursor) -> Bytes {
        let mut bytes = BytesMut::with_capacity(SIZE_MAX);
        bytes.put_u8(FORMAT);
        bytes.put_u64(cursor.epoch);
        match cursor.place {
            Place::At(places) => {
                bytes.put_u8(KIND_POSITION);
                put_count(&mut bytes, &places);
                put_each(&mut bytes, &places);
            }
            Place::Snapshot(SnapshotPlace { since, at, below }) => {
                bytes.put_u8(KIND_SNAPSHOT);
                put_count(&mut bytes, &since);
                put_each(&mut bytes, &since);
                put_each(&mut bytes, &at);
                bytes.put_i64(below.committed_at_ms);
                bytes.put_u64(below.position.get());
            }
        }
        let tag = self.tag(device, &bytes);
        bytes.put_slice(tag.as_ref().get(..TAG_SIZE).unwrap_or_default());
        bytes.freeze()
    }

    /// Reads a cursor of this device; `None` if it is not one.
    #[must_use]
    pub fn open(&self, device: DeviceId, cursor: &[u8]) -> Option<Cursor> {
        let (mut body, tag) = cursor.split_at_checked(cursor.len().checked_sub(TAG_SIZE)?)?;
        let expected = self.tag(device, body);
        verify_slices_are_equal(expected.as_ref().get(..TAG_SIZE)?, tag).ok()?;
        if body.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let epoch = body.try_get_u64().ok()?;
        let kind = body.try_get_u8().ok()?;
        let count = usize::from(body.try_get_u8().ok()?);
        let place = match kind {
            KIND_POSITION => Place::At(take_each(&mut body, count)?),
            KIND_SNAPSHOT => Place::Snapshot(SnapshotPlace {
                since: take_each(&mut body, count)?,
                at: take_each(&mut body, count)?,
                below: Recency {
                    committed_at_ms: body.try_get_i64().ok()?,
                    position: Position::new(body.try_get_u64().ok()?),
                },
            }),
            _ => return None,
        };
        body.is_empty().then_some(Cursor { epoch, place })
    }

    fn tag(&self, device: DeviceId, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&device.bytes());
        context.update(body);
        context.sign()
    }
}

fn put_count(bytes: &mut BytesMut, places: &Positions) {
    // At most SHARDS_MAX.
    bytes.put_u8(u8::try_from(places.count()).unwrap_or(0));
}

fn put_each(bytes: &mut BytesMut, places: &Positions) {
    for position in places.each() {
        bytes.put_u64(position.get());
    }
}

fn take_each(body: &mut &[u8], count: usize) -> Option<Positions> {
    let mut each = Vec::with_capacity(count.min(SHARDS_MAX));
    for _ in 0..count {
        each.push(Position::new(body.try_get_u64().ok()?));
    }
    Positions::from_each(&each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Shard;

    const DEVICE: DeviceId = DeviceId::new([7; 16]);

    fn key() -> CursorKey {
        CursorKey::new(&[1; 32])
    }

    fn cursors() -> impl Iterator<Item = Cursor> {
        let places = |count, number| {
            let each: Vec<_> = Shard::all(count)
                .map(|shard| Position::new(shard.origin().get() + number))
                .collect();
            Positions::from_each(&each).unwrap()
        };
        let of = move |count| {
            let snapshot = SnapshotPlace {
                since: places(count, 3),
                at: places(count, 90),
                below: Recency {
                    committed_at_ms: 1_700_000_000_000,
                    position: Position::new(70),
                },
            };
            [Place::At(places(count, 90)), Place::Snapshot(snapshot)]
        };
        let places = [1, 2, SHARDS_MAX].into_iter().flat_map(of);
        places.map(|place| Cursor { epoch: 2, place })
    }

    #[test]
    fn a_cursor_opens_as_it_was_sealed() {
        for cursor in cursors() {
            assert_eq!(
                key().open(DEVICE, &key().seal(DEVICE, cursor)),
                Some(cursor)
            );
        }
    }

    #[test]
    fn a_cursor_that_was_changed_cut_or_moved_to_another_device_does_not_open() {
        for cursor in cursors() {
            let sealed = key().seal(DEVICE, cursor);
            assert_eq!(key().open(DeviceId::new([8; 16]), &sealed), None);
            assert_eq!(CursorKey::new(&[2; 32]).open(DEVICE, &sealed), None);
            for length in 0..sealed.len() {
                assert_eq!(key().open(DEVICE, &sealed[..length]), None);
            }
            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key().open(DEVICE, &changed), None, "bit {bit}");
            }
        }
    }
}
