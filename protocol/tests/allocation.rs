//! What decoding a hostile frame takes, as the allocator counts it. A program of its
//! own with one test: the allocator counts whoever allocates.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Frame as _, Split, split},
    limits::{
        CLIENT_ELEMENTS_MAX, CLIENT_FRAME_SIZE_MAX, ELEMENTS_FIRST_MAX, FRAME_SIZE_FIRST_MAX,
    },
    moment::Moment,
    session::{Input, ServerSession, Violation},
    wire::v1::{self, client_frame::Body},
};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const NOW: Moment = Moment::START;

/// Field numbers of frame.proto.
const NUMBER: u32 = 1;
const HELLO: u32 = 10;
const REGISTER: u32 = 11;
const SIGN_IN: u32 = 12;
const PING: u32 = 13;
const SEND_MESSAGE: u32 = 20;
const CREATE_GROUP: u32 = 21;
const ADD_MEMBERS: u32 = 22;
const FETCH_HISTORY: u32 = 26;
const SET_PUSH: u32 = 31;
/// One that no version has.
const UNKNOWN: u32 = 1_000;

/// Bytes that decoding a frame of `size` bytes may hold at once.
fn allowed(size: usize) -> usize {
    (8 * size).max(512 * 1024)
}

/// The most bytes of the heap that `work` holds at once, its result included.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let _counting = dhat::Profiler::builder().testing().build();
    let done = work();
    (dhat::HeapStats::get().max_bytes, done)
}

/// A field with its length in front.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::Varint, &mut bytes);
    encode_varint(value, &mut bytes);
    bytes
}

/// `content` inside `depth` messages of the unknown field.
fn nested(depth: usize, content: Vec<u8>) -> Vec<u8> {
    (0..depth).fold(content, |inner, _| field(UNKNOWN, &inner))
}

/// As often as it fits into a frame, in the elements that are allowed, or in all.
fn repeated(part: &[u8], size_max: usize, count_max: usize) -> Vec<u8> {
    let room = size_max - 32;
    part.repeat((room / part.len()).min(count_max))
}

/// Frames that are to take much: what they are, and their body.
fn hostile(size_max: usize, elements_max: usize) -> Vec<(String, Vec<u8>)> {
    let mut frames = many(size_max, elements_max);
    frames.extend(deep(size_max));
    frames.extend(long(size_max));
    // The deepest do not fit into a stranger's frame, nor a number in front.
    frames.retain(|(_, body)| body.len() + 2 <= size_max);
    frames
}

/// Of very many elements.
fn many(size_max: usize, elements_max: usize) -> Vec<(String, Vec<u8>)> {
    let small = field(3, b"ab");
    let mut frames = Vec::new();
    let mut add = |what: &str, body: Vec<u8>| frames.push((what.to_owned(), body));
    for count in [elements_max - 8, usize::MAX] {
        let which = if count == usize::MAX { "all" } else { "few" };
        for body in [HELLO, REGISTER, SEND_MESSAGE, CREATE_GROUP, ADD_MEMBERS] {
            let empty = repeated(&field(body, b""), size_max, count);
            add(&format!("empty messages {body}, {which}"), empty);
        }
        for body in [CREATE_GROUP, ADD_MEMBERS] {
            let names = repeated(&field(3, b""), size_max, count);
            add(
                &format!("empty names in {body}, {which}"),
                field(body, &names),
            );
            let names = repeated(&field(3, &[b'a'; 40]), size_max, count);
            add(&format!("names in {body}, {which}"), field(body, &names));
        }
        let mut both = field(CREATE_GROUP, &repeated(&small, size_max / 2, count / 2));
        both.extend(field(
            ADD_MEMBERS,
            &repeated(&small, size_max / 2 - 32, count / 2),
        ));
        add(&format!("one body after another, {which}"), both);
        let texts = repeated(&field(4, &[b'x'; 50]), size_max, count);
        add(
            &format!("a text again and again, {which}"),
            field(SEND_MESSAGE, &texts),
        );
        let integers = repeated(&varint(UNKNOWN, u64::MAX), size_max, count);
        add(&format!("unknown integers, {which}"), integers);
        let mut entry = field(1, b"key");
        entry.extend(varint(2, 7));
        let entries = repeated(&field(UNKNOWN, &entry), size_max, count);
        add(&format!("map entries, {which}"), entries);
        let groups = repeated(&[(UNKNOWN << 3 | 3) as u8 | 0x80, 0x3e], size_max, count);
        add(&format!("groups, {which}"), groups);
    }
    frames
}

/// Packed, or one in another.
fn deep(size_max: usize) -> Vec<(String, Vec<u8>)> {
    let large = size_max - 32;
    let mut frames = Vec::new();
    let mut add = |what: &str, body: Vec<u8>| frames.push((what.to_owned(), body));
    let packed = vec![0x01; large];
    add("packed integers, unknown", field(UNKNOWN, &packed));
    add("packed integers, for a number", field(NUMBER, &packed));
    add(
        "packed integers in history",
        field(FETCH_HISTORY, &field(2, &packed)),
    );
    for depth in [1, 8, 9, 100, 2_000] {
        let unknown = nested(depth, varint(1, 1));
        add(&format!("{depth} unknown messages deep"), unknown);
        let known = (0..depth).fold(Vec::new(), |inner, _| field(SEND_MESSAGE, &inner));
        add(&format!("{depth} known messages deep"), known);
    }
    frames
}

/// With one long field.
fn long(size_max: usize) -> Vec<(String, Vec<u8>)> {
    let large = size_max - 32;
    let text = "x".repeat(large).into_bytes();
    let not_text = vec![0xff; large];
    // Combining marks: many bytes that are one character, and grow when shown.
    let marks = "\u{0301}".repeat(large / 2).into_bytes();
    let mut frames = Vec::new();
    let mut add = |what: &str, body: Vec<u8>| frames.push((what.to_owned(), body));
    for (which, content) in [("text", text), ("no text", not_text), ("marks", marks)] {
        let content = &content[..large.min(content.len()) - 16];
        for (body, numbers) in [
            (HELLO, 2..=8),
            (REGISTER, 1..=5),
            (SIGN_IN, 1..=4),
            (PING, 2..=2),
            (SEND_MESSAGE, 1..=4),
            (CREATE_GROUP, 1..=3),
            (ADD_MEMBERS, 1..=3),
            (SET_PUSH, 2..=3),
        ] {
            for number in numbers {
                let large = field(body, &field(number, content));
                add(&format!("{which} as field {number} of {body}"), large);
                let halves = field(number, &content[..content.len() / 2]).repeat(2);
                add(
                    &format!("{which} twice in {number} of {body}"),
                    field(body, &halves),
                );
            }
        }
    }
    frames
}

/// Random fields with random content, nested, of which many are of the schema.
fn soup(random: &mut Random, size_max: usize, depth: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < size_max {
        let number = match random.below(8) {
            0 => UNKNOWN,
            1..=4 if depth == 0 => 10 + random.below(24),
            _ => 1 + random.below(9),
        };
        let room = size_max - bytes.len();
        bytes.extend(match random.below(4) {
            0 => varint(number, random.next()),
            1 if depth < 10 => {
                let room = random.below(room as u32 + 1) as usize;
                field(number, &soup(random, room, depth + 1))
            }
            _ => {
                let size = random.below(64.min(room as u32) + 1) as usize;
                field(number, &vec![b'a' + random.below(26) as u8; size])
            }
        });
    }
    bytes
}

/// `SplitMix64`, so that every run tries the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound.max(1))) as u32
    }
}

fn stranger() -> ServerSession {
    ServerSession::new(NOW)
}

fn signed_in() -> ServerSession {
    let mut server = stranger();
    let hello = v1::Hello {
        protocol_version: 1,
        client_name: "test".to_owned(),
        client_version: "1".to_owned(),
        device_id: vec![1; 16].into(),
        device_token: vec![2; 32].into(),
        ..Default::default()
    };
    let mut out = BytesMut::new();
    v1::ClientFrame {
        body: Some(Body::Hello(hello)),
        ..Default::default()
    }
    .write(&mut out);
    let input = server.handle_frame(&out[4..], NOW);
    assert!(matches!(input, Ok(Input::Hello(_))));
    server.welcome(&v1::Welcome::default(), NOW, &mut BytesMut::new());
    server
}

/// Bytes from the socket to what the server takes them for.
fn take(server: &mut ServerSession, stream: &[u8]) -> Option<Result<Input, Violation>> {
    match split(stream, server.frame_limits().size_max) {
        Ok(Split::Frame(frame, _)) => Some(server.handle_frame(frame, NOW)),
        Ok(Split::Incomplete(_)) | Err(_) => None,
    }
}

struct Most {
    bytes: usize,
    what: String,
    frames: usize,
    decoded: usize,
}

/// Gives a fresh session the frame, and looks at what that took.
fn check(most: &mut Most, mut server: ServerSession, what: &str, body: &[u8]) {
    let stream = [&(body.len() as u32).to_be_bytes(), body].concat();
    let (bytes, input) = peak(|| take(&mut server, &stream));
    let input = input.unwrap_or_else(|| panic!("{what}: {} bytes are no frame", body.len()));
    assert!(
        bytes <= allowed(body.len()),
        "{what}: {} bytes took {bytes}",
        body.len()
    );
    most.frames += 1;
    most.decoded += usize::from(!matches!(input, Err(Violation::Frame(_))));
    if bytes > most.bytes {
        most.bytes = bytes;
        most.what = what.to_owned();
    }
}

/// D9. The second half shows that the first can fail: the same frames decoded without
/// being counted take more.
#[test]
fn no_frame_takes_more_than_8_times_its_size_or_512_kib() {
    let mut most = Most {
        bytes: 0,
        what: String::new(),
        frames: 0,
        decoded: 0,
    };
    for (what, body) in hostile(FRAME_SIZE_FIRST_MAX, ELEMENTS_FIRST_MAX) {
        check(&mut most, stranger(), &format!("stranger: {what}"), &body);
    }
    for (what, body) in hostile(CLIENT_FRAME_SIZE_MAX, CLIENT_ELEMENTS_MAX) {
        // Sequenced, so that it is decoded to its end.
        let body = [varint(NUMBER, 1), body].concat();
        check(&mut most, signed_in(), &what, &body);
    }
    let mut random = Random(7);
    for number in 0..500 {
        let size = 1 + random.below(CLIENT_FRAME_SIZE_MAX as u32 / 4) as usize;
        let body = [varint(NUMBER, 1), soup(&mut random, size, 0)].concat();
        check(&mut most, signed_in(), &format!("soup {number}"), &body);
    }
    println!(
        "{} frames, {} of them within the count; the most: {} bytes, {}",
        most.frames, most.decoded, most.bytes, most.what
    );
    assert!(most.decoded * 4 > most.frames, "too few are decoded at all");

    let uncounted = hostile(CLIENT_FRAME_SIZE_MAX, CLIENT_ELEMENTS_MAX)
        .into_iter()
        .map(|(_, body)| {
            let (size, body) = (body.len(), Bytes::from(body));
            let (bytes, _) = peak(|| v1::ClientFrame::decode(body).is_ok());
            bytes.saturating_sub(allowed(size))
        });
    assert!(uncounted.max().unwrap() > 0, "no frame here is hostile");
}
