//! Stories of what is done to messages: edits, deletions, reactions, in whatever order
//! they come.

use super::*;
use crate::message::{Edited, Message, MessagePlace, MessageState, Reaction};

pub(super) fn place(seq: u64) -> MessagePlace {
    MessagePlace {
        conversation: CHAT,
        seq: Seq::new(seq),
    }
}

pub(super) fn with(seq: u64, sender: v1::User, kind: v1::event_content::Kind) -> v1::Event {
    v1::Event {
        sender: Some(sender),
        content: Some(v1::EventContent { kind: Some(kind) }),
        ..event(seq)
    }
}

fn edited(seq: u64, target: u64, text: &str) -> v1::Event {
    let edited = v1::MessageEdited {
        seq: target,
        message: Some(text.into()),
    };
    let kind = v1::event_content::Kind::MessageEdited(edited);
    with(seq, user(BOB, "bob"), kind)
}

fn deleted(seq: u64, target: u64) -> v1::Event {
    let deleted = v1::MessageDeleted { seq: target };
    let kind = v1::event_content::Kind::MessageDeleted(deleted);
    with(seq, user(BOB, "bob"), kind)
}

fn reacted(seq: u64, by: v1::User, target: u64, emoji: &str, removed: bool) -> v1::Event {
    let reacted = v1::Reacted {
        seq: target,
        emoji: emoji.to_owned(),
        removed,
    };
    with(seq, by, v1::event_content::Kind::Reacted(reacted))
}

fn reaction(emoji: &str, count: u32, own: bool) -> Reaction {
    Reaction {
        emoji: emoji.to_owned(),
        count,
        own,
    }
}

fn text(text: &str) -> Message {
    Message {
        text: text.to_owned(),
        ..Message::default()
    }
}

fn page(events: Vec<v1::Event>) -> v1::Page {
    v1::Page {
        events,
        cursor: Bytes::from_static(b"cursor"),
        ..Default::default()
    }
}

fn new(event: v1::Event) -> NewEvent {
    let raw = event.encode_to_vec().into();
    NewEvent::parse(event, raw).unwrap()
}

fn fill_with(gap: Gap, events: Vec<v1::Event>, states: Vec<v1::MessageState>, upto: u64) -> Work {
    Work::Filled {
        gap,
        events: events.into_iter().map(new).collect(),
        complete: false,
        states: States::of(states, upto),
        ask: 1,
    }
}

impl Device {
    fn state(&mut self, seq: u64) -> MessageState {
        let found = self.database.event(place(seq)).unwrap();
        found.expect("it is stored").0.state
    }

    fn content(&mut self, seq: u64) -> Content {
        let found = self.database.event(place(seq)).unwrap();
        found.expect("it is stored").0.content
    }

    /// Whether a word is anywhere in the events of the local database.
    fn holds(&self, word: &str) -> bool {
        let path = self.directory.path().join("magpie.db");
        let raw = rusqlite::Connection::open(path).unwrap();
        let mut ask = raw.prepare("SELECT raw FROM events").unwrap();
        let rows = ask.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        let mut found = rows.map(Result::unwrap);
        found.any(|it| it.windows(word.len()).any(|it| it == word.as_bytes()))
    }

    fn unread(&mut self) -> u64 {
        self.database.conversations().unwrap()[0].unread
    }
}

/// D4.
#[test]
fn what_became_of_a_message_is_shown_with_it_and_its_place_stays() {
    let mut device = device();
    let (alice, bob) = (user(ALICE, "alice"), user(BOB, "bob"));
    device.page(events(1..=2));
    device.page(page(vec![
        edited(3, 1, "better"),
        reacted(4, alice, 1, "👍", false),
        reacted(5, bob.clone(), 1, "👍", false),
        reacted(6, bob.clone(), 1, "❤", false),
        reacted(7, bob, 1, "👍", true),
        edited(8, 1, "best"),
    ]));
    assert_eq!(device.shown(), ((1..=8).collect(), vec![]));
    let state = MessageState {
        edit: Some(Edited {
            at_ms: 1_008,
            message: text("best"),
        }),
        reactions: vec![reaction("👍", 1, true), reaction("❤", 1, false)],
        ..MessageState::default()
    };
    assert_eq!(device.state(1), state);
    assert_eq!(device.state(2), MessageState::default());
    // What it said is its history.
    let (first, edits) = device.database.event(place(1)).unwrap().unwrap();
    assert_eq!(first.content, Content::Message(text("number 1")));
    let seqs: Vec<u64> = edits.iter().map(|edit| edit.seq.get()).collect();
    assert_eq!(seqs, [3, 8]);
    // Two messages, and nothing else, are to be read.
    assert_eq!(device.unread(), 2);
}

#[test]
fn of_a_deleted_message_nothing_stays_but_its_place() {
    let mut device = device();
    device.page(events(1..=2));
    device.page(page(vec![edited(3, 2, "number two, a secret")]));
    assert!(device.holds("number 2") && device.holds("secret"));
    device.page(page(vec![deleted(4, 2)]));
    assert!(!device.holds("number 2") && !device.holds("secret"));
    assert_eq!(device.content(2), Content::DeletedMessage);
    let edit = Content::MessageEdited {
        seq: Seq::new(2),
        message: None,
    };
    assert_eq!(device.content(3), edit);
    assert_eq!(device.state(2), MessageState::default());
    assert_eq!(device.shown(), ((1..=4).collect(), vec![]));
    // As everywhere: where it is not stored, nobody knows what it was.
    assert_eq!(device.unread(), 2);
    // As the server has it.
    let blank = with(
        2,
        user(BOB, "bob"),
        v1::event_content::Kind::Message(v1::Message::default()),
    );
    let raw: Bytes = blank.encode_to_vec().into();
    let audit = device.database.audit().unwrap();
    assert_eq!(
        audit[0].events[1].digest,
        crate::model::content_digest(&raw)
    );
}

/// A part of the past that was read before the deletion may come after it.
#[test]
fn a_message_that_comes_after_its_deletion_is_blanked_too() {
    let mut device = device();
    let first = v1::Page {
        conversations: vec![description(9)],
        ..page(vec![deleted(9, 2)])
    };
    device.page(first);
    let gap = Gap {
        on_demand: true,
        ..missing(1, 8)
    };
    device.work(vec![fill_with(
        gap,
        vec![event(2), edited(3, 2, "secret")],
        vec![],
        8,
    )]);
    assert_eq!(device.content(2), Content::DeletedMessage);
    assert!(!device.holds("number 2") && !device.holds("secret"));
}

/// History says what became of a message; later events count on top of it, earlier
/// ones are in it, whichever comes first.
#[test]
fn a_fetched_message_comes_with_what_became_of_it() {
    for events_first in [true, false] {
        let mut device = device();
        let (alice, bob) = (user(ALICE, "alice"), user(BOB, "bob"));
        let first = v1::Page {
            conversations: vec![description(20)],
            ..page(vec![event(20)])
        };
        device.page(first);
        let later = page(vec![
            reacted(21, bob.clone(), 2, "👍", false),
            edited(22, 2, "newest"),
            reacted(23, alice.clone(), 2, "👍", false),
            reacted(24, bob, 2, "❤", true),
        ]);
        let gap = Gap {
            on_demand: true,
            ..missing(1, 19)
        };
        // Of the moment when 22 was the newest.
        let state = v1::MessageState {
            seq: 2,
            edited_seq: 12,
            edited_at_ms: 1_012,
            message: Some("newer".into()),
            reactions: vec![
                v1::Reaction {
                    emoji: "❤".to_owned(),
                    count: 2,
                    own: false,
                },
                v1::Reaction {
                    emoji: "👍".to_owned(),
                    count: 5,
                    own: false,
                },
            ],
        };
        let filled = || fill_with(gap, vec![event(2)], vec![state.clone()], 22);
        if events_first {
            device.page(later);
            device.work(vec![filled()]);
        } else {
            device.work(vec![filled()]);
            device.page(later);
        }
        let expected = MessageState {
            edit: Some(Edited {
                at_ms: 1_022,
                message: text("newest"),
            }),
            reactions: vec![reaction("❤", 1, false), reaction("👍", 6, true)],
            ..MessageState::default()
        };
        assert_eq!(device.state(2), expected, "events first: {events_first}");
    }
}

/// Offline: what is queued is shown at once, and waits durably.
#[test]
fn what_is_queued_is_shown_at_once_and_survives_a_crash() {
    let (device, ids) = queued();
    let mut device = device.reopen();
    let state = device.state(1);
    assert_eq!(state.reactions, [reaction("👍", 1, true)]);
    assert!(state.is_pending);
    assert_eq!(device.state(2).edit.unwrap().message, text("better"));
    assert!(device.state(3).is_deleted);
    let waiting: Vec<_> = device.outbox().iter().map(|entry| entry.id).collect();
    assert_eq!(waiting, ids);
}

/// D12. What is refused is not shown any more, and stays to be seen.
#[test]
fn a_refused_edit_is_not_shown() {
    let (mut device, ids) = queued();
    let refusal = Refusal {
        code: v1::ErrorCode::NotAllowed,
        action: v1::Action::Never,
        after: std::time::Duration::ZERO,
        message: String::new(),
    };
    device.work(vec![Work::Refused {
        id: ids[1],
        refusal,
    }]);
    assert_eq!(device.state(2), MessageState::default());
    assert_eq!(device.outbox().len(), 3);
}

/// D12. What another device of the user did first is done, and no failure.
#[test]
fn what_is_so_already_is_done_and_leaves_the_outbox() {
    let (mut device, ids) = queued();
    let refusal = Refusal {
        code: v1::ErrorCode::NothingToDo,
        action: v1::Action::Never,
        after: std::time::Duration::ZERO,
        message: String::new(),
    };
    let invite = NewRequest::AddMembers {
        conversation: CHAT,
        names: vec!["bob".parse_name()],
    };
    let invite = device.queue(invite);
    let refused = [ids[0], ids[2], invite].map(|id| Work::Refused {
        id,
        refusal: refusal.clone(),
    });
    let changes = device.work(refused.into());
    assert_eq!(changes.nothing_to_do, [ids[0], ids[2]]);
    let left: Vec<_> = device.outbox().iter().map(|entry| entry.id).collect();
    assert_eq!(left, [ids[1], invite]);
    for (id, seq) in [(ids[0], 1), (ids[2], 3)] {
        let outcome = device.database.outcome(id).unwrap();
        assert_eq!(outcome, Some(Outcome::NothingToDo(place(seq))));
    }
    // About no message: somebody is to know.
    let outcome = device.database.outcome(invite).unwrap();
    assert_eq!(outcome, Some(Outcome::Failed(refusal)));
    // Until its event comes.
    assert_eq!(device.state(1), MessageState::default());
}

/// D3. What was shown while it waited is not counted again when its event comes.
#[test]
fn an_accepted_change_counts_once() {
    let (mut device, ids) = queued();
    let own = |seq, id: MessageId, kind| v1::Event {
        message_id: id.to_wire(),
        ..with(seq, user(ALICE, "alice"), kind)
    };
    let reacted = v1::Reacted {
        seq: 1,
        emoji: "👍".to_owned(),
        removed: false,
    };
    let deleted = v1::MessageDeleted { seq: 3 };
    let accepted = Work::Accepted {
        id: ids[0],
        at: at(4),
    };
    let events = page(vec![
        own(4, ids[0], v1::event_content::Kind::Reacted(reacted)),
        own(5, ids[2], v1::event_content::Kind::MessageDeleted(deleted)),
    ]);
    device.work(vec![accepted, Work::Page(parsed(events))]);
    let state = device.state(1);
    assert_eq!(state.reactions, [reaction("👍", 1, true)]);
    assert!(!state.is_pending);
    assert_eq!(device.content(3), Content::DeletedMessage);
    assert_eq!(device.outbox().len(), 1);
}

/// Three messages of Bob, and a reaction, an edit and a deletion that wait.
fn queued() -> (Device, [MessageId; 3]) {
    let mut device = device();
    device.page(events(1..=3));
    let message = crate::NewMessage::try_from("better").unwrap();
    let ids = [
        NewRequest::React {
            place: place(1),
            emoji: "👍".to_owned().try_into().unwrap(),
            removed: false,
        },
        NewRequest::Edit {
            place: place(2),
            message: message.try_into().unwrap(),
        },
        NewRequest::Delete { place: place(3) },
    ]
    .map(|request| device.queue(request));
    (device, ids)
}
