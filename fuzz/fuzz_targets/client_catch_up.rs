//! A device that catches up: pages with holes, repeats and nonsense go into a
//! real local database. What is shown is dense or says where it is not; what is
//! printed is printed once and in order; and when every question is answered,
//! everything is there (D3, D4, D5).
#![no_main]

use std::{collections::BTreeMap, path::PathBuf};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use magpie_client::{ConversationId, Gap, UserId, fuzzing::Device};
use magpie_protocol::wire::v1;

const ALICE: UserId = UserId::new([0xa; 16]);
const CONVERSATIONS: u8 = 3;
/// So many events each conversation has.
const EVENTS: u64 = 40;

#[derive(Arbitrary, Debug)]
enum Step {
    Page {
        /// Conversation and seq; what is beyond the end is left out.
        events: Vec<(u8, u8)>,
        /// Conversation and head.
        described: Option<(u8, u8)>,
        marks: Vec<(u8, u8, u8)>,
        cursor: u8,
        caught_up: bool,
    },
    /// Anything at all.
    Nonsense { id_size: u8, seq: u64, content: Vec<u8> },
    /// The first missing stretch (or another), or a part of it.
    Fill { which: u8, count: u8, complete: bool },
    Print(u8),
    Reopen,
}

fn conversation(number: u8) -> ConversationId {
    ConversationId::new([0x10 + number % CONVERSATIONS; 16])
}

/// The first seq that Alice may read: she was not in all from the beginning.
fn first(conversation: ConversationId) -> u64 {
    u64::from(conversation.bytes()[0] - 0x10) * 5 + 1
}

/// The server has one truth.
fn event(conversation: ConversationId, seq: u64) -> v1::Event {
    let kind = v1::event_content::Kind::Message(format!("number {seq}").into());
    let mut id = conversation.bytes();
    id[8..].copy_from_slice(&seq.to_be_bytes());
    v1::Event {
        conversation_id: conversation.to_wire(),
        seq,
        message_id: id.to_vec().into(),
        sender: Some(v1::User { user_id: vec![0xb; 16].into(), name: "bob".to_owned() }),
        committed_at_ms: 1_700_000_000_000 + seq as i64,
        content: Some(v1::EventContent { kind: Some(kind) }),
        ..Default::default()
    }
}

/// Where a conversation is printed up to.
type Printed = BTreeMap<ConversationId, u64>;

fn print(device: &mut Device, limit: usize, printed: &mut Printed) {
    for event in device.print(limit) {
        let last = printed.entry(event.conversation).or_default();
        assert!(event.seq.get() > *last, "printed {} behind {last}", event.seq);
        *last = event.seq.get();
    }
}

/// D5: between what is shown there is no hole that is not named; above a stretch
/// that the device is about to ask for nothing is shown at all.
fn assert_dense(device: &mut Device) {
    for id in (0..CONVERSATIONS).map(conversation) {
        let history = device.shown(id);
        assert!(history.events.is_sorted_by(|one, two| one.seq < two.seq));
        let missing = history.gaps.iter().filter(|it| !it.on_demand);
        let end = missing.map(|it| it.from.get()).min().unwrap_or(u64::MAX);
        let events = history.events.iter().map(|it| (it.seq.get(), it.seq.get()));
        let gaps = history.gaps.iter().map(|it| (it.from.get(), it.to.get()));
        let mut spans: Vec<(u64, u64)> = events.clone().chain(gaps).collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let (before, behind) = (pair[0], pair[1]);
            assert!(before.1 < behind.0, "an overlap: {spans:?}");
            assert!(before.1 + 1 == behind.0 || behind.0 > end, "a hole: {spans:?}");
        }
        assert!(events.last().is_none_or(|(seq, _)| seq < end), "above {end}: {spans:?}");
    }
}

fn answer(device: &mut Device, gap: Gap, count: u64, complete: bool) {
    let to = gap.to.get().min(EVENTS);
    // The newest of them, as history is given.
    let least = gap.from.get().max(first(gap.conversation));
    let from = least.max((to + 1).saturating_sub(count));
    let events = (from..=to).map(|seq| event(gap.conversation, seq)).collect();
    device.fill(gap, events, complete || from <= least);
}

fn page(device: &mut Device, step: Step) {
    let Step::Page { events, described, marks, cursor, caught_up } = step else { return };
    let place = |(number, seq): &(u8, u8)| (conversation(*number), u64::from(*seq));
    let events = events.iter().map(place);
    let events = events.filter(|(id, seq)| (first(*id)..=EVENTS).contains(seq));
    let describe = |(number, head): (u8, u8)| v1::Conversation {
        conversation_id: conversation(number).to_wire(),
        first_seq: first(conversation(number)),
        head_seq: u64::from(head).min(EVENTS),
        ..Default::default()
    };
    let mark = |(number, delivered, read): (u8, u8, u8)| v1::Mark {
        conversation_id: conversation(number).to_wire(),
        user_id: vec![0xb; 16].into(),
        delivered_seq: delivered.into(),
        read_seq: read.into(),
        ..Default::default()
    };
    device.page(v1::Page {
        conversations: described.map(describe).into_iter().collect(),
        events: events.map(|(id, seq)| event(id, seq)).collect(),
        marks: marks.into_iter().map(mark).collect(),
        cursor: vec![cursor; usize::from(cursor % 4)].into(),
        caught_up,
    });
}

fuzz_target!(|steps: Vec<Step>| {
    let directory = PathBuf::from("/dev/shm");
    let directory = if directory.is_dir() { directory } else { std::env::temp_dir() };
    let directory = directory.join(format!("magpie-fuzz-client-{}", std::process::id()));
    let mut device = Device::new(&directory, ALICE);
    let mut printed = Printed::new();
    let mut is_nonsense = false;
    for step in steps.into_iter().take(40) {
        match step {
            Step::Page { .. } => page(&mut device, step),
            Step::Nonsense { id_size, seq, content } => {
                is_nonsense = true;
                let it = v1::Event {
                    conversation_id: vec![0x10; usize::from(id_size)].into(),
                    seq,
                    message_id: content.into(),
                    ..Default::default()
                };
                device.page(v1::Page { events: vec![it], ..Default::default() });
            }
            Step::Fill { which, count, complete } => {
                let missing = device.missing();
                if let Some(gap) = missing.get(usize::from(which) % missing.len().max(1)) {
                    answer(&mut device, *gap, count.into(), complete);
                }
            }
            Step::Print(limit) => print(&mut device, usize::from(limit) + 1, &mut printed),
            Step::Reopen => device.reopen(),
        }
        assert_dense(&mut device);
    }
    // Every question is answered, in full: nothing is asked for again and again.
    for _ in 0..200 {
        let Some(gap) = device.missing().first().copied() else { break };
        answer(&mut device, gap, EVENTS, true);
    }
    assert_eq!(device.missing(), [], "it asks for ever");
    assert_dense(&mut device);
    if !is_nonsense {
        print(&mut device, 100_000, &mut printed);
        assert_eq!(device.print(100_000), [], "printed twice");
    }
    drop(std::fs::remove_dir_all(&directory));
});
