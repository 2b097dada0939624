//! Cursors and the arithmetic of places: what is sealed opens as it was and not
//! otherwise, and places in several shards are ordered shard by shard.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use magpie_protocol::{id::DeviceId, seq::Position};
use magpie_server::{
    delivery::{Cursor, CursorKey, Place},
    store::{Positions, Recency, SHARDS_MAX, Shard, SnapshotPlace},
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    key: [u8; 32],
    device: [u8; 16],
    epoch: u64,
    shards: u8,
    one: [u64; SHARDS_MAX],
    two: [u64; SHARDS_MAX],
    below: Option<(i64, u64)>,
    flip: u16,
    raw: &'a [u8],
}

/// Some way behind the origin of each shard, and before the last position of it.
fn places(count: usize, numbers: &[u64]) -> Positions {
    let each: Vec<Position> = Shard::all(count)
        .zip(numbers)
        .map(|(shard, number)| Position::new(shard.origin().get() + (number >> 9)))
        .collect();
    Positions::from_each(&each).expect("one of each shard, in order")
}

fn is_opened_as_sealed(input: &Input, place: Place) {
    let (key, device) = (CursorKey::new(&input.key), DeviceId::new(input.device));
    let cursor = Cursor { epoch: input.epoch, place };
    let sealed = key.seal(device, cursor);
    assert_eq!(key.open(device, &sealed), Some(cursor));
    let bit = usize::from(input.flip) % (sealed.len() * 8);
    let mut changed = sealed.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    assert_eq!(key.open(device, &changed), None);
    assert_eq!(key.open(device, &sealed[..bit / 8]), None);
    let mut other = input.device;
    other[bit % 16] ^= 1;
    assert_eq!(key.open(DeviceId::new(other), &sealed), None);
    assert!(place.seen().reaches(&place.confirmed()) || matches!(place, Place::Snapshot(_)));
}

fn are_ordered(one: Positions, two: Positions) {
    let (later, earlier) = (one.later(&two), one.earlier(&two));
    assert_eq!(later, two.later(&one));
    assert_eq!(earlier, two.earlier(&one));
    for both in [one, two] {
        assert!(later.reaches(&both) && both.reaches(&earlier));
        assert_eq!(both.reaches(&one) && one.reaches(&both), both == one);
        for position in both.each() {
            assert!(both.covers(position) && later.covers(position));
            assert!(!both.covers(position.next()));
            let mut moved = both;
            moved.set(position.next());
            assert!(moved.reaches(&both) && moved != both);
        }
    }
    let sum = u128::from(one.given_out()) + u128::from(two.given_out());
    let merged = u128::from(later.given_out()) + u128::from(earlier.given_out());
    assert_eq!(sum, merged);
}

fuzz_target!(|input: Input| {
    // A stranger's bytes are no cursor, whatever they are.
    let key = CursorKey::new(&input.key);
    assert_eq!(key.open(DeviceId::new(input.device), input.raw), None);
    let count = usize::from(input.shards) % SHARDS_MAX + 1;
    let (one, two) = (places(count, &input.one), places(count, &input.two));
    are_ordered(one, two);
    is_opened_as_sealed(&input, Place::At(one));
    if let Some((committed_at_ms, position)) = input.below {
        let position = Position::new(position);
        let below = Recency { committed_at_ms, position };
        let place = SnapshotPlace { since: one, at: two, below };
        is_opened_as_sealed(&input, Place::Snapshot(place));
    }
});
