//! Stories of what a person was shown already.

use super::*;

#[test]
fn printed_marks_never_fall_and_survive() {
    let mut device = device();
    device.page(events(1..=5));
    for seq in [3, 2] {
        device
            .database
            .mark_printed(&[(CHAT, Seq::new(seq))])
            .unwrap();
    }
    let mut device = device.reopen();
    assert_eq!(device.unprinted(), [4, 5]);
}

/// D4. Whatever the server says of the time.
#[test]
fn what_is_printed_keeps_the_order_of_its_conversation() {
    let mut device = device();
    let at = [5, 9, 0, 7].into_iter().zip(1..);
    let events = at.map(|(committed_at_ms, seq)| v1::Event {
        committed_at_ms,
        ..event(seq)
    });
    device.page(v1::Page {
        events: events.collect(),
        cursor: Bytes::from_static(b"cursor"),
        ..Default::default()
    });
    assert_eq!(device.unprinted(), [1, 2, 3, 4]);
}
