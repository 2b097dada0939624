//! Stories of what a user sets for themself, on whichever of their devices.

use magpie_protocol::setting::{Notify, NotifyLevel, Setting};

use super::*;

const LOG: ConversationId = ConversationId::new([0xe; 16]);

fn mute(level: NotifyLevel) -> Setting {
    Setting::Notify {
        conversation: Some(CHAT),
        notify: Notify {
            level,
            until_ms: None,
        },
    }
}

fn hide(seq: u64) -> Setting {
    Setting::Hide {
        conversation: CHAT,
        seq: Seq::new(seq),
    }
}

/// An event of the account log.
fn set(seq: u64, setting: &Setting) -> v1::Event {
    let changed = v1::AccountChanged {
        change: Some(setting.to_wire()),
    };
    let kind = v1::event_content::Kind::AccountChanged(changed);
    v1::Event {
        conversation_id: LOG.to_wire(),
        seq,
        sender: Some(user(ALICE, "alice")),
        message_id: message_id(500 + seq).to_wire(),
        committed_at_ms: 1_000,
        content: Some(v1::EventContent { kind: Some(kind) }),
    }
}

fn log(head: u64, common: Option<u64>) -> v1::Conversation {
    v1::Conversation {
        conversation_id: LOG.to_wire(),
        kind: v1::ConversationKind::Account.into(),
        members: vec![v1::Member {
            user: Some(user(ALICE, "alice")),
            ..Default::default()
        }],
        first_seq: 1,
        head_seq: head,
        common_seq: common,
        ..Default::default()
    }
}

fn page(head: u64, events: Vec<v1::Event>) -> v1::Page {
    v1::Page {
        conversations: vec![log(head, None)],
        events,
        cursor: Bytes::from_static(b"cursor"),
        ..Default::default()
    }
}

impl Device {
    fn level(&self) -> NotifyLevel {
        self.database.notify(Some(CHAT)).unwrap().level
    }

    fn set(&mut self, setting: Setting) -> MessageId {
        let request = NewRequest::Set(setting);
        self.database.queue_all(vec![request]).unwrap()[0]
    }
}

fn of_log(seq: u64) -> Acceptance {
    Acceptance {
        conversation: LOG,
        ..at(seq)
    }
}

#[test]
fn a_setting_holds_at_once_and_the_newest_one_in_the_end() {
    let mut device = device();
    let id = device.set(mute(NotifyLevel::None));
    assert_eq!(device.level(), NotifyLevel::None);
    // Another device was first; ours waits still.
    let other = set(1, &mute(NotifyLevel::Mentions));
    device.page(page(1, vec![other]));
    assert_eq!(device.level(), NotifyLevel::None);
    let at = of_log(3);
    device.work(vec![Work::Accepted { id, at }]);
    assert_eq!(device.level(), NotifyLevel::None);
    assert_eq!(device.outbox(), []);
    // In whatever order the events come.
    let own = v1::Event {
        message_id: id.to_wire(),
        ..set(3, &mute(NotifyLevel::None))
    };
    device.page(page(3, vec![set(2, &mute(NotifyLevel::All)), own]));
    assert_eq!(device.level(), NotifyLevel::None);
    device.page(page(4, vec![set(4, &mute(NotifyLevel::All))]));
    assert_eq!(device.level(), NotifyLevel::All);
}

#[test]
fn a_setting_that_is_refused_does_not_hold() {
    let mut device = device();
    let id = device.set(mute(NotifyLevel::None));
    let refusal = Refusal {
        code: v1::ErrorCode::NotFound,
        action: v1::Action::Never,
        after: std::time::Duration::ZERO,
        message: String::new(),
    };
    device.work(vec![Work::Refused { id, refusal }]);
    assert_eq!(device.level(), NotifyLevel::All);
}

#[test]
fn a_hidden_message_is_not_shown_whichever_comes_first() {
    let mut device = device();
    device.page(page(1, vec![set(1, &hide(3))]));
    device.page(events(1..=4));
    assert_eq!(device.shown().0, [1, 2, 4]);
    assert_eq!(device.unprinted(), [1, 2, 4]);
    device.set(hide(1));
    assert_eq!(device.shown().0, [2, 4]);
    let lines = device.database.conversations().unwrap();
    let unread: Vec<u64> = lines.iter().map(|line| line.unread).collect();
    assert_eq!(
        unread,
        [4],
        "hidden ones count, the account log is not listed"
    );
}

#[test]
fn all_of_the_account_log_is_fetched_at_once() {
    let mut device = device();
    let mut begins = page(5, vec![set(4, &hide(1)), set(5, &hide(2))]);
    begins.caught_up = true;
    let changes = device.page(begins);
    let gap = |to| Gap {
        conversation: LOG,
        ..missing(1, to)
    };
    assert_eq!(changes.missing, Some(vec![gap(3)]));
    let mut device = super::device();
    let mut alone = page(5, vec![]);
    alone.caught_up = true;
    assert_eq!(device.page(alone).missing, Some(vec![gap(5)]));
}

/// D11.
#[test]
fn settings_that_the_server_forgot_are_made_again() {
    let mut device = device();
    device.work(vec![welcome(1)]);
    let levels = [NotifyLevel::Mentions, NotifyLevel::None];
    let sets = [set(1, &mute(levels[0])), set(2, &mute(levels[1]))];
    device.page(page(2, sets.to_vec()));
    device.work(vec![welcome(2)]);
    let taken_over = v1::Page {
        conversations: vec![log(1, Some(1))],
        ..Default::default()
    };
    let dropped = device.page(taken_over).dropped;
    assert_eq!(
        (dropped[0].events, dropped[0].resent, dropped[0].changes),
        (1, 1, 0)
    );
    assert_eq!(device.outbox()[0].id, message_id(502));
    assert_eq!(device.level(), NotifyLevel::None);
    let (id, at) = (message_id(502), of_log(2));
    device.work(vec![Work::Accepted { id, at }]);
    assert_eq!(device.level(), NotifyLevel::None);
}

/// Else others would learn how far the user has read who has just said that they are not to.
#[test]
fn read_marks_wait_behind_hidden_receipts() {
    let mut device = device();
    device.page(events(1..=4));
    let id = device.set(Setting::Receipts { hidden: true });
    assert!(device.database.hides_receipts().unwrap(), "at once");
    let mark = NewRequest::MarkRead {
        to: Recipient::Conversation(CHAT),
        seq: None,
    };
    device.database.queue_all(vec![mark]).unwrap();
    let reads = |device: &mut Device, works| {
        let load = Load {
            reads: true,
            ..Load::default()
        };
        let changes = device.database.turn(Turn { works, load }).unwrap();
        (changes.reads, changes.reads_held)
    };
    assert_eq!(reads(&mut device, vec![]), (None, true));
    let at = of_log(1);
    let taken = reads(&mut device, vec![Work::Accepted { id, at }]);
    assert_eq!(taken, (Some(vec![(CHAT, Seq::new(4))]), false));
    assert!(device.database.hides_receipts().unwrap());
    let shown = set(2, &Setting::Receipts { hidden: false });
    device.page(page(2, vec![shown]));
    assert!(!device.database.hides_receipts().unwrap());
}

/// Whoever signs in there next finds nothing of the one before.
#[test]
fn what_is_forgotten_is_nowhere() {
    let mut device = device();
    let one = page(1, vec![set(1, &mute(NotifyLevel::None))]);
    device.page(one);
    device.page(events([1]));
    device.set(hide(1));
    device.database.forget().unwrap();
    let connection = &device.database.connection;
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(tables.len() > 10, "{tables:?}");
    for table in tables {
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 = connection.query_row(&count, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{table}");
    }
}
