//! What is pinned, and what who joins a group may read.

use magpie_protocol::wire::v1::{self, event_content::Kind};

use super::{CHAT, Device, description, device, event, events, missing};
use crate::request::{NewRequest, Recipient};

fn pinned(at: u64, target: u64, pinned: bool) -> v1::Event {
    let kind = Kind::Pinned(v1::Pinned {
        seq: target,
        pinned,
    });
    change(at, kind)
}

fn change(at: u64, kind: Kind) -> v1::Event {
    v1::Event {
        content: Some(v1::EventContent { kind: Some(kind) }),
        ..event(at)
    }
}

fn page(of: impl IntoIterator<Item = v1::Event>) -> v1::Page {
    v1::Page {
        events: of.into_iter().collect(),
        ..events([])
    }
}

const fn counts(messages: u64) -> v1::Counts {
    v1::Counts {
        messages,
        mentions: 0,
    }
}

fn pins(device: &mut Device) -> Vec<(u64, bool)> {
    let pins = device.database.pins(CHAT).unwrap().into_iter();
    pins.map(|it| (it.seq.get(), it.event.is_some())).collect()
}

#[test]
fn what_is_pinned_is_followed_in_its_order() {
    let mut device = device();
    let described = v1::Conversation {
        pinned_seqs: vec![2, 4],
        ..description(6)
    };
    device.page(v1::Page {
        conversations: vec![described],
        // What the description has taken in comes behind it.
        events: vec![event(4), pinned(5, 4, true), pinned(6, 3, false)],
        ..events([])
    });
    assert_eq!(pins(&mut device), [(2, false), (4, true)]);
    device.page(page([event(7), pinned(8, 7, true)]));
    device.page(page([pinned(10, 2, true)]));
    device.page(page([pinned(9, 2, false)]));
    let mut device = device.reopen();
    assert_eq!(pins(&mut device), [(2, false), (4, true), (7, true)]);
    let deleted = Kind::MessageDeleted(v1::MessageDeleted { seq: 4 });
    device.page(page([change(11, deleted)]));
    assert_eq!(pins(&mut device), [(2, false), (7, true)]);
}

/// D5.
#[test]
fn what_came_before_who_joined_is_a_gap_and_not_unread() {
    let mut device = device();
    let described = v1::Conversation {
        joined_seq: 5,
        counts: Some(counts(5)),
        read_counts: Some(counts(4)),
        ..description(5)
    };
    device.page(v1::Page {
        conversations: vec![described],
        events: vec![event(5)],
        ..events([])
    });
    let (shown, gaps) = device.shown();
    assert_eq!((shown, gaps), (vec![5], vec![(1, 4, true)]));
    device.work(vec![super::fill(missing(1, 4), 1..=4, true)]);
    assert_eq!(device.shown().0, [1, 2, 3, 4, 5]);
    let unread = |device: &mut Device| {
        let lines = device.database.conversations().unwrap();
        lines.first().map(|line| line.unread)
    };
    assert_eq!(unread(&mut device), Some(1));
    // Nor is it read once somebody looks at it.
    let to = Recipient::Conversation(CHAT);
    let seq = Some(magpie_protocol::seq::Seq::new(2));
    let read = NewRequest::MarkRead { to, seq };
    device.database.queue_all(vec![read]).unwrap();
    assert_eq!(unread(&mut device), Some(1));
}
