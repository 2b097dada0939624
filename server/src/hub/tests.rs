use bytes::Bytes;
use magpie_protocol::{
    id::ConversationId,
    seq::{Position, Seq},
    session::Hint,
    wire::v1,
};

use super::*;
use crate::store::LogEvent;

fn mailbox(device: u8) -> Arc<Mailbox> {
    Arc::new(Mailbox::new(
        UserId::new([1; 16]),
        DeviceId::new([device; 16]),
    ))
}

fn event(position: u64) -> Arc<LogEvent> {
    Arc::new(LogEvent {
        position: Position::new(position),
        conversation: ConversationId::new([2; 16]),
        seq: Seq::new(position),
        encoded: Bytes::from_static(&[0; 100]),
        change: None,
        hidden: None,
    })
}

#[test]
fn a_newer_connection_of_a_device_ends_the_older_and_no_other() {
    let hub = Hub::default();
    let (older, other, newer) = (mailbox(1), mailbox(2), mailbox(1));
    for mailbox in [&older, &other, &newer] {
        hub.join(mailbox);
    }
    assert_eq!(older.take().ending, Some(Ending::Replaced));
    assert!(!other.has_ended() && !newer.has_ended());
    hub.leave(&older);
    let mut left = 0;
    hub.each_of(newer.user, |_| left += 1);
    assert_eq!(left, 2);
}

/// D9: what does not fit is read from the log, not dropped in silence.
#[test]
fn a_full_mailbox_says_that_the_log_must_be_read() {
    let mailbox = mailbox(1);
    for position in 1..=u64::from(Limits::default().mailbox_events_max) {
        mailbox.put_event(&event(position));
    }
    assert!(!mailbox.is_quiet());
    mailbox.put_event(&event(10_000));
    assert_eq!(mailbox.take_events(), Collected::Overflowed);
    mailbox.collect();
    assert_eq!(mailbox.take_events(), Collected::Events(Vec::new()));
}

#[test]
fn ringing_twice_is_ringing_once() {
    let mailbox = mailbox(1);
    assert!(mailbox.put_event(&event(1)));
    assert!(!mailbox.put_event(&event(2)));
    assert!(mailbox.take().letters.is_empty());
    assert!(mailbox.put_event(&event(3)));
}

fn typing(conversation: u8, typing: bool) -> Hint {
    Hint::Typing(v1::Typing {
        conversation_id: vec![conversation; 16].into(),
        typing,
        ..Default::default()
    })
}

/// D9.
#[test]
fn hints_are_few_and_the_later_of_two_stands_for_both() {
    let mailbox = mailbox(1);
    assert!(mailbox.put_hint(&typing(0, true)), "it must be woken");
    assert!(!mailbox.put_hint(&typing(0, false)), "it is awake");
    for conversation in 1..200 {
        let _is_awake = mailbox.put_hint(&typing(conversation, true));
    }
    let hints = mailbox.take().hints;
    assert_eq!(hints.len(), HINTS_COUNT_MAX);
    assert_eq!(hints[0], typing(0, false));
    assert_eq!(hints[1], typing(1, true));
    // What must arrive is not behind them.
    assert!(mailbox.is_quiet());
}

#[test]
fn an_app_that_nobody_looks_at_gets_no_hints() {
    let mailbox = mailbox(1);
    mailbox.looks_away();
    assert!(!mailbox.put_hint(&typing(0, true)));
    assert_eq!(mailbox.take().hints, []);
}
