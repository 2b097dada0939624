//! How much is unread, whatever is stored.

use super::*;

fn counts(messages: u64, mentions: u64) -> Option<v1::Counts> {
    Some(v1::Counts { messages, mentions })
}

/// The conversation as the server describes it to Alice: so much up to its head, and
/// up to her mark.
fn described(head: u64, there: u64, (read_seq, read): (u64, u64)) -> v1::Conversation {
    let mut it = v1::Conversation {
        counts: counts(there, 0),
        read_counts: counts(read, 0),
        ..description(head)
    };
    it.members[0].read_seq = read_seq;
    it
}

fn with(it: v1::Conversation, events: v1::Page) -> v1::Page {
    v1::Page {
        conversations: vec![it],
        ..events
    }
}

fn mark(read_seq: u64, messages: u64, mentions: u64) -> v1::Page {
    let mark = v1::Mark {
        conversation_id: CHAT.to_wire(),
        user_id: ALICE.to_wire(),
        delivered_seq: 0,
        read_seq,
        read_counts: counts(messages, mentions),
    };
    v1::Page {
        marks: vec![mark],
        ..v1::Page::default()
    }
}

fn own(seq: u64) -> v1::Event {
    v1::Event {
        sender: Some(user(ALICE, "alice")),
        ..event(seq)
    }
}

fn naming(seq: u64, whom: UserId) -> v1::Event {
    let mention = v1::Mention {
        user_id: whom.to_wire(),
        start: 0,
        length: 1,
    };
    let message = v1::Message {
        mentions: vec![mention],
        ..v1::Message::from("@ you")
    };
    v1::Event {
        content: Some(v1::EventContent {
            kind: Some(v1::event_content::Kind::Message(message)),
        }),
        ..event(seq)
    }
}

impl Device {
    fn counts(&mut self) -> (u64, u64) {
        let line = self.database.conversations().unwrap().remove(0);
        (line.unread, line.unread_mentions)
    }

    fn read(&mut self, seq: u64) {
        let mark = NewRequest::MarkRead {
            to: Recipient::Conversation(CHAT),
            seq: Some(Seq::new(seq)),
        };
        self.database.queue_all(vec![mark]).unwrap();
    }
}

/// Of a hundred events three are stored here, and fifty are own.
#[test]
fn with_a_gap_the_number_is_the_same_as_where_all_is_stored() {
    let mut device = device();
    device.page(with(described(100, 50, (20, 10)), events(98..=100)));
    assert_eq!(device.counts(), (40, 0));
    device.page(v1::Page {
        events: vec![own(101), naming(102, ALICE), naming(103, BOB)],
        ..v1::Page::default()
    });
    assert_eq!(device.counts(), (42, 1));
    // Another device has read a part that is not stored here.
    device.page(mark(60, 31, 0));
    assert_eq!(device.counts(), (21, 1));
    device.page(mark(40, 20, 0));
    assert_eq!(device.counts(), (21, 1), "an older one changes nothing");
    device.page(mark(102, 51, 1));
    assert_eq!(device.counts(), (1, 0));
}

#[test]
fn what_is_read_here_counts_before_the_server_says_so() {
    let mut device = device();
    device.page(with(described(100, 50, (20, 10)), events(91..=100)));
    device.read(93);
    assert_eq!(
        device.counts(),
        (37, 0),
        "what is not stored is not known to be read"
    );
    device.page(mark(93, 43, 0));
    assert_eq!(device.counts(), (7, 0));
    device.read(100);
    assert_eq!(device.counts(), (0, 0));
    device.page(events([101]));
    assert_eq!(device.counts(), (1, 0));
}

/// Nobody sent more than the description yet, and nothing is stored.
#[test]
fn a_description_alone_says_how_much_is_unread() {
    let mut device = device();
    device.page(with(described(100, 50, (20, 10)), v1::Page::default()));
    assert_eq!(device.counts(), (40, 0));
    let line = super::super::conversations::line(ALICE, described(100, 50, (20, 10))).unwrap();
    assert_eq!(line.unread, 40);
}

/// What was read of an earlier membership is nothing of this one.
#[test]
fn who_left_keeps_what_is_unread() {
    let mut device = device();
    device.page(with(described(3, 3, (1, 1)), events(1..=3)));
    let left = v1::Conversation {
        last_seq: 3,
        ..described(3, 3, (0, 1))
    };
    device.page(with(left, v1::Page::default()));
    assert_eq!(device.counts(), (2, 0));
}

#[test]
fn a_mention_that_was_deleted_mentions_nobody() {
    let mut device = device();
    device.page(with(described(0, 0, (0, 0)), events([1])));
    device.page(v1::Page {
        events: vec![naming(2, ALICE)],
        ..v1::Page::default()
    });
    assert_eq!(device.counts(), (2, 1));
    let deleted = v1::event_content::Kind::MessageDeleted(v1::MessageDeleted { seq: 2 });
    device.page(v1::Page {
        events: vec![v1::Event {
            content: Some(v1::EventContent {
                kind: Some(deleted),
            }),
            ..event(3)
        }],
        ..v1::Page::default()
    });
    assert_eq!(device.counts(), (2, 0));
}
