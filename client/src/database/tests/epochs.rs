//! Stories of a server that was restored from an older backup.

use super::*;
use crate::model::{ConversationKind, Dropped};

const GROUP: ConversationId = ConversationId::new([0xd; 16]);

/// What a snapshot says of the chat, whose histories have this much in common,
/// and one event of Bob for each of these seqs, other ones than before.
fn snapshot(common: u64, seqs: impl IntoIterator<Item = u64>) -> v1::Page {
    let mut page = events(seqs);
    for event in &mut page.events {
        event.message_id = message_id(1_000 + event.seq).to_wire();
    }
    let head = page.events.last().map_or(common, |event| event.seq);
    page.conversations = vec![v1::Conversation {
        common_seq: Some(common),
        // All are Bob's, and Alice has read none in this history.
        counts: Some(v1::Counts {
            messages: head,
            mentions: 0,
        }),
        ..description(head)
    }];
    page
}

fn caught_up() -> v1::Page {
    v1::Page {
        caught_up: true,
        cursor: Bytes::from_static(b"caught up"),
        ..Default::default()
    }
}

/// A group that Alice has made, her event and one message of hers.
fn group() -> (v1::Page, [MessageId; 2]) {
    let ids = [message_id(71), message_id(72)];
    let created = v1::event_content::Kind::GroupCreated(v1::GroupCreated {
        title: "tea".to_owned(),
        members: vec![user(ALICE, "alice")],
    });
    let mut page = events([1, 2]);
    for (event, id) in page.events.iter_mut().zip(ids) {
        event.conversation_id = GROUP.to_wire();
        event.sender = Some(user(ALICE, "alice"));
        event.message_id = id.to_wire();
    }
    page.events[0].content = Some(v1::EventContent {
        kind: Some(created),
    });
    page.conversations = vec![v1::Conversation {
        conversation_id: GROUP.to_wire(),
        kind: v1::ConversationKind::Group.into(),
        title: "tea".to_owned(),
        first_seq: 1,
        head_seq: 2,
        ..Default::default()
    }];
    (page, ids)
}

impl Device {
    /// One of the first history, with events of Bob, and then messages of Alice that
    /// the server accepts.
    fn begun(bobs: u64, own: u64) -> (Self, Vec<MessageId>) {
        let mut device = device();
        let page = v1::Page {
            conversations: vec![description(bobs)],
            ..events(1..=bobs)
        };
        device.work(vec![welcome(1), Work::Page(parsed(page))]);
        device.page(caught_up());
        let sent = (1..=own).map(|number| {
            let id = device.send(&format!("own {number}"));
            let at = at(bobs + number);
            device.work(vec![Work::Accepted { id, at }]);
            id
        });
        let sent = sent.collect();
        (device, sent)
    }

    fn waiting(&self) -> Vec<MessageId> {
        self.outbox().iter().map(|entry| entry.id).collect()
    }

    fn held(&self) -> (u64, bool) {
        let credential = self.database.credential().unwrap();
        (credential.epoch, credential.takes_over)
    }

    /// The ids of what is shown of the chat, each with its seq.
    fn ids(&mut self) -> Vec<(u64, MessageId)> {
        let history = self.database.history(CHAT, None, 1_000).unwrap();
        let events = history.events.iter();
        events
            .map(|event| (event.seq.get(), event.message_id.unwrap()))
            .collect()
    }
}

/// D11, D6, D3.
#[test]
fn what_the_server_forgot_is_dropped_and_own_messages_wait_again_before_all_others() {
    let (mut device, own) = Device::begun(2, 2);
    device.page(events([5]));
    let waiting = device.send("waiting");
    device.work(vec![welcome(2)]);
    let changes = device.page(snapshot(3, [4]));
    assert_eq!(
        changes.dropped,
        [Dropped {
            conversation: CHAT,
            kind: ConversationKind::Direct,
            title: "bob".to_owned(),
            above: Seq::new(3),
            events: 2,
            resent: 1,
            changes: 0,
        }]
    );
    device.page(caught_up());
    let ids = [message_id(1), message_id(2), own[0], message_id(1_004)];
    let expected: Vec<_> = (1..).zip(ids).collect();
    assert_eq!(device.ids(), expected);
    assert_eq!(device.waiting(), [own[1], waiting]);
    assert_eq!(device.database.outcome(own[1]).unwrap(), None);

    device.work(vec![Work::Accepted {
        id: own[1],
        at: at(5),
    }]);
    assert_eq!(
        device.database.outcome(own[1]).unwrap(),
        Some(Outcome::Accepted(at(5)))
    );
    assert_eq!(device.ids().last(), Some(&(5, own[1])));
    let again = device.page(snapshot(3, [4]));
    assert_eq!(again.dropped, []);
    assert_eq!(device.ids().len(), 5);
}

/// D11, D3. A message of photos alone is one, and was not deleted.
#[test]
fn a_photo_without_words_waits_again_as_well() {
    let (mut device, _) = Device::begun(2, 1);
    let photo = v1::Media {
        media_id: vec![7; 16].into(),
        size: 1,
        sha256: vec![7; 32].into(),
        content_type: "image/jpeg".to_owned(),
        ..Default::default()
    };
    let message = v1::Message {
        media: vec![photo],
        ..Default::default()
    };
    let request = NewRequest::Send {
        to: Recipient::Conversation(CHAT),
        message: message.try_into().unwrap(),
    };
    let ids = device.database.queue_all(vec![request]).unwrap();
    device.work(vec![Work::Accepted {
        id: ids[0],
        at: at(4),
    }]);
    device.work(vec![welcome(2)]);
    device.page(snapshot(3, [4]));
    device.page(caught_up());
    assert_eq!(device.waiting(), ids);
}

/// D11, D6. A device of the same user may be the first to bring it back.
#[test]
fn messages_of_the_users_other_devices_wait_as_well_but_not_behind_a_hole() {
    let mut device = device();
    device.work(vec![welcome(1)]);
    let mut page = events([1, 2, 3, 6, 7]);
    for event in &mut page.events {
        event.sender = Some(user(ALICE, "alice"));
    }
    device.page(page);
    device.work(vec![welcome(2)]);
    device.page(snapshot(1, [2]));
    assert_eq!(device.waiting(), [message_id(2), message_id(3)]);
}

/// D11, D12.
#[test]
fn a_conversation_that_the_history_does_not_show_is_gone_once_all_has_come() {
    let (mut device, own) = Device::begun(0, 1);
    let (page, ids) = group();
    device.page(page);
    device.work(vec![welcome(2)]);
    let before = device.database.conversations().unwrap().len();
    assert_eq!(before, 2);
    let mut device = device.reopen();
    let changes = device.page(caught_up());
    let counts: Vec<_> = changes
        .dropped
        .iter()
        .map(|it| (it.conversation, it.events, it.resent, it.changes))
        .collect();
    assert_eq!(counts, [(CHAT, 1, 1, 0), (GROUP, 2, 1, 1)]);
    assert_eq!(device.database.conversations().unwrap(), []);
    // Each made anew by its first message, or refused.
    let to: Vec<_> = device
        .outbox()
        .into_iter()
        .map(|entry| {
            let crate::request::Operation::Send { to, .. } = entry.operation else {
                panic!("{entry:?}");
            };
            (entry.id, to)
        })
        .collect();
    let expected = [
        (ids[1], Recipient::Conversation(GROUP)),
        (own[0], Recipient::User("bob".parse_name())),
    ];
    assert_eq!(to, expected);
}

/// D11. The event of a change comes behind its acceptance, and may not have come.
#[test]
fn a_change_that_was_accepted_and_is_forgotten_is_told_to_the_person() {
    let (mut device, _) = Device::begun(2, 0);
    let leave = NewRequest::Leave { conversation: CHAT };
    let id = device.database.queue_all(vec![leave]).unwrap()[0];
    device.work(vec![Work::Accepted { id, at: at(3) }]);
    device.work(vec![welcome(2)]);
    let dropped = device.page(snapshot(2, [3])).dropped;
    assert_eq!((dropped[0].events, dropped[0].changes), (0, 1));
    assert_eq!(device.database.outcome(id).unwrap(), None);
    assert_eq!(device.waiting(), []);
}

/// D11, D7. The device says of which history it is, until it holds nothing of it.
#[test]
fn a_device_that_is_killed_in_between_asks_for_the_same_comparison_again() {
    let (mut device, own) = Device::begun(2, 1);
    let (page, _) = group();
    device.page(page);
    device.work(vec![welcome(2)]);
    assert_eq!(device.cursor(), "");
    device.page(snapshot(2, [3]));
    let mut device = device.reopen();
    assert_eq!(device.held(), (1, true));
    assert_eq!(device.cursor(), "cursor");
    assert!(!device.work(vec![welcome(2)]).began_anew);
    device.page(caught_up());
    assert_eq!(device.held(), (2, false));
    assert_eq!(device.shown().0, [1, 2, 3]);
    assert_eq!(device.waiting().last(), Some(&own[0]));
    assert!(!device.work(vec![welcome(2)]).began_anew);
}

/// D11. The third history may have been begun from a backup that knows nothing of the
/// second, and has more in common with the first.
#[test]
fn what_was_taken_over_of_a_history_that_is_gone_is_dropped_before_the_next() {
    let (mut device, _) = Device::begun(6, 0);
    device.work(vec![welcome(2)]);
    device.page(snapshot(2, [3, 4]));
    let changes = device.work(vec![welcome(3)]);
    assert!(changes.began_anew);
    assert_eq!(device.held(), (1, true));
    device.page(snapshot(4, [5]));
    device.page(caught_up());
    assert_eq!(device.held(), (3, false));
    let shown: Vec<_> = device.ids();
    assert_eq!(
        shown,
        [
            (1, message_id(1)),
            (2, message_id(2)),
            (5, message_id(1_005))
        ]
    );
    assert_eq!(device.shown().1, [(3, 4, true)]);
}

/// D5, D11. A gap of one history is not filled with events of another.
#[test]
fn a_gap_is_not_filled_before_its_conversation_is_taken_over() {
    let mut device = device();
    device.work(vec![welcome(1)]);
    device.page(events([1, 2, 5]));
    device.work(vec![welcome(2)]);
    device.work(vec![fill(missing(3, 4), [3, 4], true)]);
    assert_eq!(device.shown(), (vec![1, 2], vec![(3, 4, false)]));
    device.page(snapshot(1, [2]));
    device.page(caught_up());
    assert_eq!(device.ids(), [(1, message_id(1)), (2, message_id(1_002))]);
    assert_eq!(device.shown().1, []);
}

/// D11. What was read stays read as far as it is there, and the server is told again.
#[test]
fn a_read_mark_goes_no_further_than_what_the_histories_share() {
    let (mut device, _) = Device::begun(6, 0);
    let mark = |seq| NewRequest::MarkRead {
        to: Recipient::Conversation(CHAT),
        seq: Some(Seq::new(seq)),
    };
    device.database.queue_all(vec![mark(4)]).unwrap();
    let conversation = CHAT;
    let seq = Seq::new(4);
    device.work(vec![Work::ReadTaken { conversation, seq }]);
    let marked = v1::Page {
        marks: vec![v1::Mark {
            conversation_id: CHAT.to_wire(),
            user_id: ALICE.to_wire(),
            delivered_seq: 6,
            read_seq: 4,
            ..v1::Mark::default()
        }],
        ..Default::default()
    };
    device.page(marked);
    device.database.queue_all(vec![mark(6)]).unwrap();
    device.work(vec![welcome(2)]);
    device.page(snapshot(3, [4, 5, 6]));
    assert_eq!(device.database.conversations().unwrap()[0].unread, 3);
    device.page(caught_up());
    let load = Load {
        reads: true,
        ..Load::default()
    };
    let works = Vec::new();
    let changes = device.database.turn(Turn { works, load }).unwrap();
    assert_eq!(changes.reads, Some(vec![(CHAT, Seq::new(3))]));
}

/// D3. A person sees at its new place what comes again, and nothing is marked as shown
/// that was not.
#[test]
fn what_takes_the_place_of_what_was_dropped_is_printed() {
    let (mut device, _) = Device::begun(4, 0);
    let print = |device: &mut Device, seq| {
        let marks = [(CHAT, Seq::new(seq))];
        device.database.mark_printed(&marks).unwrap();
    };
    print(&mut device, 4);
    device.work(vec![welcome(2)]);
    device.page(snapshot(2, []));
    print(&mut device, 4);
    device.page(events([3, 4]));
    assert_eq!(device.unprinted(), [3, 4]);
}

/// D11. A revoked device that signs in again still knows of which history it is.
#[test]
fn signing_in_again_keeps_the_name_of_the_history() {
    let (mut device, _) = Device::begun(1, 0);
    let account = Account {
        device_id: DeviceId::new([2; 16]),
        ..device.database.account().unwrap().unwrap()
    };
    device.database.signed_in(&account, &[8; 32]).unwrap();
    assert_eq!(device.held(), (1, false));
    assert_eq!(device.cursor(), "");
}

/// D11. Own changes of messages that are still there are made again; what waits about
/// those that are not is refused, since others may stand in their place.
#[test]
fn changes_of_messages_follow_what_they_are_about() {
    use crate::message::MessagePlace;
    let place = |seq| MessagePlace {
        conversation: CHAT,
        seq: Seq::new(seq),
    };
    let (mut device, own) = Device::begun(2, 1);
    let kinds = [
        v1::event_content::Kind::Reacted(v1::Reacted {
            seq: 1,
            emoji: "👍".to_owned(),
            removed: false,
        }),
        v1::event_content::Kind::Reacted(v1::Reacted {
            seq: 3,
            emoji: "👍".to_owned(),
            removed: false,
        }),
        v1::event_content::Kind::MessageDeleted(v1::MessageDeleted { seq: 2 }),
    ];
    let mut page = events(4..=6);
    for (event, kind) in page.events.iter_mut().zip(kinds) {
        event.sender = Some(user(ALICE, "alice"));
        event.content = Some(v1::EventContent { kind: Some(kind) });
    }
    // The last one is Bob's.
    page.events[2].sender = Some(user(BOB, "bob"));
    device.page(page);
    let waiting = [1, 3].map(|seq| NewRequest::Delete { place: place(seq) });
    let answer = NewRequest::Send {
        to: Recipient::Conversation(CHAT),
        message: crate::NewMessage::try_from("yes")
            .unwrap()
            .answering(Seq::new(3)),
    };
    let waiting = device
        .database
        .queue_all(waiting.into_iter().chain([answer]).collect())
        .unwrap();

    device.work(vec![welcome(2)]);
    let changes = device.page(snapshot(2, []));
    // The message, and the reaction to what is still there.
    assert_eq!(changes.dropped[0].resent, 2);
    assert_eq!(changes.dropped[0].changes, 1);
    let entries: Vec<_> = device
        .outbox()
        .into_iter()
        .map(|entry| (entry.id, entry.state == OutboxState::Pending))
        .collect();
    let expected = [
        (own[0], true),
        (message_id(4), true),
        (waiting[0], true),
        (waiting[1], false),
        (waiting[2], true),
    ];
    assert_eq!(entries, expected);
    let answer = device.outbox().pop().unwrap();
    let crate::request::Operation::Send { message, .. } = answer.operation else {
        panic!("{answer:?}");
    };
    assert_eq!(message.reply_to, None);
    // What Bob deleted is not deleted in this history: it is fetched again.
    assert_eq!(changes.missing, Some(vec![missing(2, 2)]));
}
