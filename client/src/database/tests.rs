//! Stories of the local database.

mod again;
mod blocks;
mod doubts;
mod epochs;
mod friends;
mod members;
mod messages;
mod pins;
mod printed;
mod settings;
mod unread;

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    seq::Seq,
    wire::v1,
};
use prost::Message as _;

use super::{Changes, Database, Load, NewEvent, NewPage, OutboxPlace, States, Turn, Work};
use crate::{
    model::{Account, Content, Gap, Refusal},
    request::{Acceptance, NewRequest, OutboxEntry, OutboxState, Outcome, Recipient},
};

const ALICE: UserId = UserId::new([0xa; 16]);
const BOB: UserId = UserId::new([0xb; 16]);
const CHAT: ConversationId = ConversationId::new([0xc; 16]);

struct Device {
    directory: tempfile::TempDir,
    database: Database,
}

/// A device of Alice.
fn device() -> Device {
    let directory = tempfile::tempdir().unwrap();
    let mut database = Database::open(directory.path()).unwrap();
    let account = Account {
        user_id: ALICE,
        name: "alice".to_owned(),
        device_id: DeviceId::new([1; 16]),
        device_name: String::new(),
        server: "localhost:7443".to_owned(),
        signed_in: true,
    };
    database.signed_in(&account, &[7; 32]).unwrap();
    Device {
        directory,
        database,
    }
}

impl Device {
    fn work(&mut self, works: Vec<Work>) -> Changes {
        let load = Load::default();
        self.database.turn(Turn { works, load }).unwrap()
    }

    fn page(&mut self, page: v1::Page) -> Changes {
        self.work(vec![Work::Page(parsed(page))])
    }

    /// What is shown of the chat: seqs, and gaps as (from, to, on demand).
    fn shown(&mut self) -> (Vec<u64>, Vec<(u64, u64, bool)>) {
        let history = self.database.history(CHAT, None, 1_000).unwrap();
        let gaps = history
            .gaps
            .iter()
            .map(|gap| (gap.from.get(), gap.to.get(), gap.on_demand));
        (
            history.events.iter().map(|event| event.seq.get()).collect(),
            gaps.collect(),
        )
    }

    fn unprinted(&mut self) -> Vec<u64> {
        let events = self.database.unprinted(1_000).unwrap();
        events.iter().map(|event| event.seq.get()).collect()
    }

    fn send(&mut self, text: &str) -> MessageId {
        let send = NewRequest::Send {
            to: Recipient::User("bob".parse_name()),
            message: text.try_into().unwrap(),
        };
        self.queue(send)
    }

    fn queue(&mut self, request: NewRequest) -> MessageId {
        self.database.queue_all(vec![request]).unwrap()[0]
    }

    /// In the smallest pages.
    fn outbox(&self) -> Vec<OutboxEntry> {
        let mut place = OutboxPlace::START;
        std::iter::from_fn(|| {
            let (at, entry) = self.database.outbox(place, 1).unwrap().pop()?;
            place = at;
            Some(entry)
        })
        .collect()
    }

    fn cursor(&self) -> Bytes {
        self.database.credential().unwrap().cursor
    }

    /// As after `kill -9`: nothing is closed, everything is opened anew.
    fn reopen(self) -> Self {
        std::mem::forget(self.database);
        Self {
            database: Database::open(self.directory.path()).unwrap(),
            directory: self.directory,
        }
    }
}

trait ParseName {
    fn parse_name(&self) -> magpie_protocol::text::UserName;
}

impl ParseName for str {
    fn parse_name(&self) -> magpie_protocol::text::UserName {
        magpie_protocol::text::UserName::parse(self).unwrap()
    }
}

fn parsed(page: v1::Page) -> NewPage {
    let raw = page.events.iter().map(|event| event.encode_to_vec().into());
    let raw = raw.collect();
    NewPage::parse(page, raw).unwrap()
}

fn user(id: UserId, name: &str) -> v1::User {
    v1::User {
        user_id: id.to_wire(),
        name: name.to_owned(),
    }
}

fn message_id(seq: u64) -> MessageId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&seq.to_be_bytes());
    MessageId::new(bytes)
}

/// A message of Bob.
fn event(seq: u64) -> v1::Event {
    let text = format!("number {seq}");
    v1::Event {
        conversation_id: CHAT.to_wire(),
        seq,
        sender: Some(user(BOB, "bob")),
        message_id: message_id(seq).to_wire(),
        committed_at_ms: 1_000 + i64::try_from(seq).unwrap(),
        content: Some(v1::EventContent {
            kind: Some(v1::event_content::Kind::Message(text.into())),
        }),
    }
}

fn events(seqs: impl IntoIterator<Item = u64>) -> v1::Page {
    v1::Page {
        events: seqs.into_iter().map(event).collect(),
        cursor: Bytes::from_static(b"cursor"),
        ..Default::default()
    }
}

fn description(head: u64) -> v1::Conversation {
    let member = |user| v1::Member {
        user: Some(user),
        ..Default::default()
    };
    v1::Conversation {
        conversation_id: CHAT.to_wire(),
        kind: v1::ConversationKind::Direct.into(),
        members: vec![member(user(ALICE, "alice")), member(user(BOB, "bob"))],
        first_seq: 1,
        head_seq: head,
        ..Default::default()
    }
}

fn at(seq: u64) -> Acceptance {
    Acceptance {
        conversation: CHAT,
        seq: Seq::new(seq),
        committed_at_ms: 1_000 + i64::try_from(seq).unwrap(),
    }
}

fn welcome(epoch: u64) -> Work {
    Work::Welcome {
        epoch,
        base: 0,
        starts_anew: false,
    }
}

fn missing(from: u64, to: u64) -> Gap {
    Gap {
        conversation: CHAT,
        from: Seq::new(from),
        to: Seq::new(to),
        on_demand: false,
    }
}

fn fill(gap: Gap, seqs: impl IntoIterator<Item = u64>, complete: bool) -> Work {
    let events = seqs.into_iter().map(|seq| {
        let event = event(seq);
        let raw = event.encode_to_vec().into();
        NewEvent::parse(event, raw).unwrap()
    });
    Work::Filled {
        gap,
        events: events.collect(),
        complete,
        states: States::default(),
        ask: 1,
    }
}

/// D7.
#[test]
fn a_page_and_its_cursor_are_stored_together_or_not_at_all() {
    let mut device = device();
    device.page(events(1..=2));
    assert_eq!(device.cursor(), "cursor");

    let mut next = events(3..=3);
    next.cursor = Bytes::from_static(b"next");
    // The second page of the turn cannot be written.
    device
        .database
        .connection
        .execute_batch(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON events WHEN new.seq = 4
             BEGIN SELECT raise(ABORT, 'disk full'); END",
        )
        .unwrap();
    let works = vec![Work::Page(parsed(next)), Work::Page(parsed(events(4..=4)))];
    let load = Load::default();
    assert!(device.database.turn(Turn { works, load }).is_err());
    let mut device = device.reopen();
    assert_eq!(device.cursor(), "cursor");
    assert_eq!(device.shown(), (vec![1, 2], vec![]));
}

/// D3.
#[test]
fn a_page_that_comes_again_changes_nothing() {
    let mut device = device();
    device.page(events(1..=3));
    let changes = device.page(events(2..=4));
    assert_eq!(device.shown(), (vec![1, 2, 3, 4], vec![]));
    assert_eq!(changes.missing, None);
    assert_eq!(device.unprinted(), [1, 2, 3, 4]);
}

/// D3.
#[test]
fn an_accepted_message_moves_from_the_outbox_to_the_history() {
    let mut device = device();
    let id = device.send("hello");
    assert_eq!(device.database.outcome(id).unwrap(), None);
    assert_eq!(device.outbox()[0].state, OutboxState::Pending);

    let changes = device.work(vec![Work::Accepted { id, at: at(1) }]);
    assert_eq!(changes.accepted, [(id, at(1))]);
    let mut device = device.reopen();
    assert_eq!(device.outbox(), []);
    let outcome = device.database.outcome(id).unwrap();
    assert_eq!(outcome, Some(Outcome::Accepted(at(1))));
    let history = device.database.history(CHAT, None, 10).unwrap();
    let message = crate::message::Message {
        text: "hello".to_owned(),
        ..Default::default()
    };
    assert_eq!(history.events[0].content, Content::Message(message));
    assert_eq!(history.events[0].message_id, Some(id));
    let bob = Recipient::User("bob".parse_name());
    assert_eq!(device.database.resolve(&bob).unwrap(), Some(CHAT));
    // Said again after a lost connection.
    let changes = device.work(vec![Work::Accepted { id, at: at(1) }]);
    assert_eq!(changes.accepted, []);
}

/// D3.
#[test]
fn an_own_message_that_a_page_brings_leaves_the_outbox() {
    let mut device = device();
    let id = device.send("hello");
    let mut page = events([1]);
    page.events[0].sender = Some(user(ALICE, "alice"));
    page.events[0].message_id = id.to_wire();
    let changes = device.page(page);
    assert_eq!(changes.accepted, [(id, at(1))]);
    assert_eq!(device.outbox(), []);
    device.work(vec![Work::Accepted { id, at: at(1) }]);
    assert_eq!(device.shown(), (vec![1], vec![]));
}

/// D12.
#[test]
fn a_refused_message_stays_marked_until_it_is_discarded() {
    let mut device = device();
    let id = device.send("hello");
    let refusal = Refusal {
        code: v1::ErrorCode::NotFound,
        action: v1::Action::Never,
        after: std::time::Duration::ZERO,
        message: "nobody is called bob".to_owned(),
    };
    device.work(vec![Work::Refused {
        id,
        refusal: refusal.clone(),
    }]);
    let mut device = device.reopen();
    let entry = device.outbox().remove(0);
    assert_eq!(entry.state, OutboxState::Failed(refusal.clone()));
    assert_eq!(
        device.database.outcome(id).unwrap(),
        Some(Outcome::Failed(refusal))
    );
    assert!(device.database.discard(id).unwrap().0);
    assert_eq!(device.outbox(), []);
}

/// D5, D4.
#[test]
fn a_missing_event_is_noticed_and_nothing_above_it_is_shown_before_it_comes() {
    let mut device = device();
    device.page(events([1, 2]));
    let changes = device.page(events([5, 6]));
    assert_eq!(changes.missing, Some(vec![missing(3, 4)]));
    assert!(changes.stored.is_empty());
    assert_eq!(device.shown(), (vec![1, 2], vec![(3, 4, false)]));
    assert_eq!(device.unprinted(), [1, 2]);

    let changes = device.work(vec![fill(missing(3, 4), [3, 4], false)]);
    assert_eq!(changes.missing, Some(vec![]));
    assert_eq!(changes.stored[&CHAT], (Seq::new(3), Seq::new(6)));
    assert_eq!(device.shown(), ((1..=6).collect(), vec![]));
    assert_eq!(device.unprinted(), [1, 2, 3, 4, 5, 6]);
}

/// D5.
#[test]
fn a_missing_event_that_the_server_does_not_give_stays_a_visible_gap() {
    let mut device = device();
    device.page(events([1, 4]));
    device.work(vec![fill(missing(2, 3), [3], true)]);
    assert_eq!(device.shown(), (vec![1, 3, 4], vec![(2, 2, true)]));
}

/// D4.
#[test]
fn the_history_of_a_new_device_is_a_gap_that_is_filled_on_demand_and_never_printed() {
    let mut device = device();
    let described = v1::Page {
        conversations: vec![description(100)],
        ..Default::default()
    };
    device.page(described);
    let changes = device.page(events(99..=100));
    assert_eq!(changes.missing, Some(vec![]));
    assert_eq!(device.shown(), (vec![99, 100], vec![(1, 98, true)]));
    assert_eq!(device.unprinted(), [99, 100]);

    let gap = Gap {
        on_demand: true,
        ..missing(1, 98)
    };
    let changes = device.work(vec![fill(gap, 97..=98, false)]);
    assert_eq!(changes.filled, [(1, 2)]);
    assert_eq!(device.shown(), (vec![97, 98, 99, 100], vec![(1, 96, true)]));
    assert_eq!(device.unprinted(), [99, 100]);
    device.page(events([101]));
    assert_eq!(device.unprinted(), [99, 100, 101]);
}

/// D4.
#[test]
fn what_was_described_and_not_sent_is_a_gap_once_all_was_sent() {
    let mut device = device();
    device.page(v1::Page {
        conversations: vec![description(7)],
        caught_up: true,
        ..Default::default()
    });
    assert_eq!(device.shown(), (vec![], vec![(1, 7, true)]));
    device.page(events([8]));
    assert_eq!(device.shown(), (vec![8], vec![(1, 7, true)]));
}

/// D4, D5.
#[test]
fn an_own_message_waits_for_the_pages_before_it() {
    let mut device = device();
    device.page(events([1]));
    let id = device.send("hello");
    device.work(vec![Work::Accepted { id, at: at(4) }]);
    assert_eq!(device.shown(), (vec![1], vec![]));
    assert_eq!(device.unprinted(), [1]);
    device.page(events([2, 3]));
    assert_eq!(device.shown(), (vec![1, 2, 3, 4], vec![]));

    // The server goes on without the page: then it is missing.
    let id = device.send("again");
    device.work(vec![Work::Accepted { id, at: at(6) }]);
    let cursor = Bytes::from_static(b"later");
    let changes = device.work(vec![Work::Checkpoint(cursor)]);
    assert_eq!(changes.missing, Some(vec![missing(5, 5)]));
    device.work(vec![fill(missing(5, 5), [5], false)]);
    assert_eq!(device.shown(), ((1..=6).collect(), vec![]));
}

#[test]
fn read_marks_leave_as_one_and_answer_all() {
    let mut device = device();
    device.page(v1::Page {
        conversations: vec![description(0)],
        ..events(1..=5)
    });
    assert_eq!(device.database.conversations().unwrap()[0].unread, 5);
    let to = Recipient::Conversation(CHAT);
    let mark = |seq: Option<u64>| NewRequest::MarkRead {
        to: to.clone(),
        seq: seq.map(Seq::new),
    };
    let ids = device
        .database
        .queue_all(vec![mark(Some(2)), mark(None)])
        .unwrap();
    let message = device.send("behind the marks, listed before them");
    let listed: Vec<_> = device.outbox().iter().map(|entry| entry.id).collect();
    assert_eq!(listed, [message, ids[0], ids[1]]);
    assert_eq!(device.database.conversations().unwrap()[0].unread, 0);
    let load = Load {
        reads: true,
        ..Load::default()
    };
    let works = Vec::new();
    let changes = device.database.turn(Turn { works, load }).unwrap();
    assert_eq!(changes.reads, Some(vec![(CHAT, Seq::new(5))]));
    let taken = Work::ReadTaken {
        conversation: CHAT,
        seq: Seq::new(5),
    };
    assert_eq!(device.work(vec![taken]).read, ids);
}

/// D11.
#[test]
fn a_new_history_forgets_the_cursor_and_keeps_events_and_outbox() {
    let mut device = device();
    assert!(!device.work(vec![welcome(1)]).began_anew);
    device.page(events(1..=2));
    device.send("hello");
    assert!(!device.work(vec![welcome(1)]).began_anew);
    assert_eq!(device.cursor(), "cursor");
    assert!(device.work(vec![welcome(2)]).began_anew);
    assert_eq!(device.cursor(), "");
    assert_eq!(device.shown().0, [1, 2]);
    assert_eq!(device.outbox().len(), 1);
}

/// D6.
#[test]
fn what_waits_is_read_in_the_order_in_which_it_was_queued() {
    let mut device = device();
    let ids: Vec<_> = (0..20).map(|it| device.send(&it.to_string())).collect();
    let load = |behind| Load {
        outbox: Some((behind, 15)),
        ..Load::default()
    };
    let mut read = Vec::new();
    let mut behind = i64::MIN;
    for _ in 0..2 {
        let turn = Turn {
            works: Vec::new(),
            load: load(behind),
        };
        for waiting in device.database.turn(turn).unwrap().waiting.unwrap() {
            behind = waiting.place;
            read.push(waiting.id);
        }
    }
    assert_eq!(read, ids);
}
