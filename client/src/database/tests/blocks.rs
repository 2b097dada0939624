//! Stories of somebody who is blocked.

use magpie_protocol::setting::Setting;

use super::*;

/// What stands where Bob did something while he was blocked.
fn hidden(seq: u64) -> v1::Event {
    let kind = v1::event_content::Kind::Hidden(v1::Hidden {});
    v1::Event {
        conversation_id: CHAT.to_wire(),
        seq,
        content: Some(v1::EventContent { kind: Some(kind) }),
        ..Default::default()
    }
}

fn page(events: Vec<v1::Event>) -> v1::Page {
    v1::Page {
        conversations: vec![description(0)],
        events,
        ..Default::default()
    }
}

/// D4, D5. It takes its place, and nothing is missing and nothing is shown.
#[test]
fn what_is_hidden_keeps_its_place_and_is_not_shown() {
    let mut device = device();
    device.page(page(vec![event(1), hidden(2), hidden(3), event(4)]));
    assert_eq!(device.shown(), (vec![1, 4], vec![]));
    assert_eq!(device.unprinted(), [1, 4]);
    let line = device.database.conversations().unwrap().remove(0);
    assert_eq!((line.unread, line.head_seq), (2, Seq::new(4)));
    // Nor is it what happened last.
    device.page(events([5]));
    device.page(page(vec![hidden(6)]));
    let line = device.database.conversations().unwrap().remove(0);
    assert_eq!((line.last_event_at_ms, line.unread), (Some(1_005), 3));
}

#[test]
fn who_was_blocked_before_they_said_anything_is_not_listed() {
    let mut device = device();
    device.page(page(vec![hidden(1), hidden(2)]));
    assert_eq!(device.database.conversations().unwrap(), []);
    // It is here for all that.
    assert_eq!(device.database.heads().unwrap(), [(CHAT, Seq::new(2))]);
    device.page(events([3]));
    assert_eq!(device.database.conversations().unwrap().len(), 1);
}

/// At once, and as long as it is so.
#[test]
fn messages_of_somebody_blocked_are_marked() {
    let mut device = device();
    device.page(page(vec![event(1)]));
    let blocked = |device: &mut Device| {
        let history = device.database.history(CHAT, None, 10).unwrap();
        let unprinted = device.database.unprinted(10).unwrap();
        let contacts = device.database.contacts().unwrap();
        let [is_blocked, again] =
            [history.events, unprinted].map(|events| events[0].state.is_blocked);
        assert_eq!(is_blocked, again);
        assert_eq!(contacts.iter().any(|it| it.blocked), is_blocked);
        let line = device.database.conversations().unwrap().remove(0);
        assert_eq!(line.contact.is_some_and(|it| it.blocked), is_blocked);
        is_blocked
    };
    assert!(!blocked(&mut device));
    for expected in [true, false] {
        let setting = Setting::Block {
            user: BOB,
            blocked: expected,
        };
        let request = NewRequest::Set(setting);
        device.database.queue_all(vec![request]).unwrap();
        assert_eq!(blocked(&mut device), expected);
    }
}
