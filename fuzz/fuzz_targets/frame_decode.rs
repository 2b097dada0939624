//! Any bytes, split anywhere: the same frames come out; what was decoded encodes
//! to itself; decoding takes no more memory than the limit on elements allows.
#![no_main]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use magpie_protocol::{
    frame::{Codec, Frame, FrameLimits},
    wire::v1,
};
use tokio_util::codec::Decoder as _;

/// Counts what a thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static HIGHEST: Cell<isize> = const { Cell::new(0) };
}

fn count(size: isize) {
    let held = HELD.get() + size;
    HELD.set(held);
    HIGHEST.set(HIGHEST.get().max(held));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that one field may cost at the most: the largest message of the schema,
/// and as much again while a list grows.
const ELEMENT_SIZE_MAX: usize = 3 * 512;

fn decode_all<F: Frame>(bytes: &mut BytesMut, limits: FrameLimits) -> Result<Vec<F>, String> {
    let mut codec = Codec::<F>::new(limits);
    let mut frames = Vec::new();
    loop {
        match codec.decode(bytes) {
            Ok(Some((frame, _))) => frames.push(frame),
            Ok(None) => return Ok(frames),
            Err(error) => return Err(format!("{} frames, then {error}", frames.len())),
        }
    }
}

fn check<F: Frame + PartialEq + std::fmt::Debug>(bytes: &[u8], split: usize, limits: FrameLimits) {
    let at_once = decode_all::<F>(&mut BytesMut::from(bytes), limits);

    let (head, tail) = bytes.split_at(split.min(bytes.len()));
    let mut buffer = BytesMut::from(head);
    let in_two = decode_all::<F>(&mut buffer, limits).and_then(|mut frames| {
        buffer.extend_from_slice(tail);
        let before = frames.len();
        match decode_all::<F>(&mut buffer, limits) {
            Ok(more) => frames.extend(more),
            Err(error) => {
                let (count, rest) = error.split_once(' ').unwrap();
                return Err(format!("{} {rest}", before + count.parse::<usize>().unwrap()));
            }
        }
        Ok(frames)
    });
    assert_eq!(at_once, in_two, "split at {split}");

    for frame in at_once.unwrap_or_default() {
        // Nothing but defaults, written out at length: nobody writes such a frame.
        if frame.encoded_len() == 0 {
            continue;
        }
        let mut out = BytesMut::new();
        frame.write(&mut out);
        // What was decoded may be longer written out than it came (a field may
        // come twice), so it is read back without the limit on its size.
        let unbound = FrameLimits { size_max: usize::MAX, elements_max: usize::MAX };
        assert_eq!(decode_all::<F>(&mut out, unbound), Ok(vec![frame]));
    }

    let body = Bytes::copy_from_slice(bytes);
    HIGHEST.set(HELD.get());
    let before = HELD.get();
    let parsed = F::parse(body, limits.elements_max);
    let used = usize::try_from(HIGHEST.get() - before).unwrap_or(0);
    drop(parsed);
    let allowed = 4_096 + limits.elements_max * ELEMENT_SIZE_MAX + 3 * bytes.len();
    assert!(used <= allowed, "{used} bytes for {} bytes, allowed are {allowed}", bytes.len());
}

fuzz_target!(|input: &[u8]| {
    // The first two bytes say where to split the rest.
    let Some((split, bytes)) = input.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_be_bytes(*split));
    check::<v1::ClientFrame>(bytes, split, FrameLimits::FIRST);
    check::<v1::ClientFrame>(bytes, split, FrameLimits::CLIENT);
    check::<v1::ServerFrame>(bytes, split, FrameLimits::SERVER);
});
