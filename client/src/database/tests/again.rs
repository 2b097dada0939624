//! Stories of a server that is restored again, and of what was deleted in a history that
//! is gone.

use super::*;
use crate::{
    message::{MessagePlace, MessageState},
    request::Operation,
};

fn place(seq: u64) -> MessagePlace {
    MessagePlace {
        conversation: CHAT,
        seq: Seq::new(seq),
    }
}

fn with(seq: u64, sender: v1::User, kind: v1::event_content::Kind) -> v1::Event {
    v1::Event {
        sender: Some(sender),
        content: Some(v1::EventContent { kind: Some(kind) }),
        ..event(seq)
    }
}

fn page(events: Vec<v1::Event>) -> v1::Page {
    v1::Page {
        events,
        cursor: Bytes::from_static(b"cursor"),
        ..Default::default()
    }
}

fn deleted(seq: u64, target: u64) -> v1::Event {
    let deleted = v1::MessageDeleted { seq: target };
    let kind = v1::event_content::Kind::MessageDeleted(deleted);
    with(seq, user(BOB, "bob"), kind)
}

/// A history that has this much in common with the one before, and no more.
fn restored(common: u64) -> v1::Page {
    v1::Page {
        conversations: vec![v1::Conversation {
            common_seq: Some(common),
            ..description(common)
        }],
        caught_up: true,
        cursor: Bytes::from_static(b"caught up"),
        ..Default::default()
    }
}

/// D11. Another message may have the seq by the time at which it would be sent.
#[test]
fn what_was_put_back_is_not_sent_if_what_it_is_about_goes_as_well() {
    use v1::event_content::Kind;
    let mut device = device();
    let first = v1::Page {
        conversations: vec![description(9)],
        ..events(1..=9)
    };
    device.work(vec![welcome(1), Work::Page(parsed(first))]);
    let alice = || user(ALICE, "alice");
    let answer = v1::Message {
        reply_to_seq: 9,
        .."yes".into()
    };
    let edit = v1::MessageEdited {
        seq: 2,
        message: Some("better".into()),
    };
    device.page(page(vec![
        with(
            10,
            alice(),
            Kind::MessageDeleted(v1::MessageDeleted { seq: 9 }),
        ),
        with(11, alice(), Kind::Message(answer)),
        with(12, alice(), Kind::MessageEdited(edit)),
    ]));

    device.work(vec![welcome(2), Work::Page(parsed(restored(9)))]);
    let ids = [message_id(10), message_id(11), message_id(12)];
    let waiting = |device: &Device| -> Vec<_> {
        let entries = device.outbox().into_iter();
        entries
            .map(|it| (it.id, it.state == OutboxState::Pending))
            .collect()
    };
    assert_eq!(waiting(&device), ids.map(|id| (id, true)));
    // Shown as what waits is.
    let (second, _) = device.database.event(place(2)).unwrap().unwrap();
    assert!(second.state.is_pending);
    assert_eq!(second.state.edit.unwrap().message.text, "better");
    // What was deleted in the history that is gone is fetched again.
    assert_eq!(device.shown().1, [(9, 9, false)]);

    device.work(vec![welcome(3), Work::Page(parsed(restored(8)))]);
    let expected = [(ids[0], false), (ids[1], true), (ids[2], true)];
    assert_eq!(waiting(&device), expected);
    let outbox = device.outbox();
    let Operation::Send { message, .. } = &outbox[1].operation else {
        panic!("{outbox:?}");
    };
    assert_eq!(message.reply_to, None);
}

/// D11, D2. A device that was away gets a message blank, long before its deletion.
#[test]
fn what_came_blank_is_fetched_again_unless_the_history_has_its_deletion() {
    use v1::event_content::Kind;
    let blank = |seq| with(seq, user(BOB, "bob"), Kind::Message(v1::Message::default()));
    let blank_edit = |seq, target| {
        let edited = v1::MessageEdited {
            seq: target,
            message: None,
        };
        with(seq, user(BOB, "bob"), Kind::MessageEdited(edited))
    };
    let mut device = device();
    device.work(vec![welcome(1)]);
    device.page(page(vec![
        blank(1),
        event(2),
        blank_edit(3, 2),
        blank(4),
        blank_edit(5, 4),
        deleted(6, 1),
        event(7),
    ]));
    // The deletions of 2 and of 4 were above, and had not come.
    device.work(vec![welcome(2), Work::Page(parsed(restored(6)))]);
    let gaps: Vec<_> = [3, 4, 5].map(|seq| (seq, seq, false)).into();
    assert_eq!(device.shown().1, gaps);
    let gone = device.database.event(place(1)).unwrap().unwrap().0;
    assert_eq!(gone.content, Content::DeletedMessage);
    assert_eq!(gone.state, MessageState::default());
}
