use std::collections::BTreeSet;

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};
use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

const DEVICES: [&str; 2] = ["alice", "bob"];

fn conversation() -> ConversationId {
    ConversationId::new([1; 16])
}

fn id(number: u64) -> MessageId {
    let mut bytes = [9; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    MessageId::new(bytes)
}

fn place(seq: u64) -> Place {
    Place {
        conversation: conversation(),
        seq: Seq::new(seq),
    }
}

fn digest(number: u64) -> Digest {
    Digest::of(&number.to_be_bytes())
}

/// Two devices that take turns, and two readers that showed everything.
fn good(count: u64) -> (Vec<Sending>, Vec<Reader>) {
    let sendings = (1..=count)
        .map(|number| Sending {
            device: DEVICES[usize::from(number % 2 == 0)].to_owned(),
            message_id: id(number),
            digest: digest(number),
            outcome: Outcome::Accepted(place(number)),
        })
        .collect();
    let shown: Vec<Shown> = (1..=count)
        .map(|number| Shown {
            place: place(number),
            message_id: id(number),
            digest: digest(number),
        })
        .collect();
    let readers = DEVICES
        .iter()
        .map(|device| Reader {
            device: (*device).to_owned(),
            from: BTreeMap::from([(conversation(), Seq::new(1))]),
            shown: shown.clone(),
        })
        .collect();
    (sendings, readers)
}

fn kinds(sendings: &[Sending], readers: &[Reader]) -> BTreeSet<Kind> {
    check(sendings, readers)
        .iter()
        .map(|violation| violation.kind)
        .collect()
}

#[test]
fn a_history_without_a_fault_has_no_violation() {
    let (sendings, readers) = good(6);
    assert_eq!(check(&sendings, &readers), []);
}

/// D2.
#[test]
fn dropping_the_last_event_of_a_reader_is_a_loss() {
    let (sendings, mut readers) = good(6);
    readers[1].shown.pop();
    assert_eq!(kinds(&sendings, &readers), [Kind::Lost].into());
    let story = check(&sendings, &readers)[0].to_string();
    assert!(
        story.contains("bob never stored it and ended at seq 5"),
        "{story}"
    );
}

/// D5.
#[test]
fn dropping_an_event_in_the_middle_or_at_the_start_is_a_gap_and_a_loss() {
    for index in [0, 2] {
        let (sendings, mut readers) = good(6);
        readers[0].shown.remove(index);
        let found = kinds(&sendings, &readers);
        assert_eq!(found, [Kind::Lost, Kind::Gap].into(), "{index}");
    }
}

/// D4.
#[test]
fn swapping_two_events_is_a_reordering() {
    let (sendings, mut readers) = good(6);
    readers[0].shown.swap(2, 3);
    assert!(kinds(&sendings, &readers).contains(&Kind::Reordered));
}

/// D3.
#[test]
fn showing_an_event_twice_is_a_duplicate() {
    let (sendings, mut readers) = good(6);
    let again = readers[0].shown[2];
    readers[0].shown.insert(3, again);
    assert_eq!(kinds(&sendings, &readers), [Kind::Duplicated].into());
}

/// D3.
#[test]
fn one_id_at_two_places_is_a_duplicate() {
    let (sendings, mut readers) = good(6);
    let mut again = readers[0].shown[2];
    again.place = place(7);
    for reader in &mut readers {
        reader.shown.push(again);
    }
    assert_eq!(kinds(&sendings, &readers), [Kind::Duplicated].into());
}

/// D4.
#[test]
fn renumbering_an_event_on_one_device_is_two_orders() {
    let (sendings, mut readers) = good(6);
    readers[0].shown[2].message_id = id(4);
    readers[0].shown[2].digest = digest(4);
    readers[0].shown[3].message_id = id(3);
    readers[0].shown[3].digest = digest(3);
    let found = kinds(&sendings, &readers);
    assert_eq!(found, [Kind::Duplicated, Kind::Divergent].into());
}

/// D6.
#[test]
fn a_senders_messages_in_another_order_than_sent_are_reordered() {
    let (mut sendings, readers) = good(6);
    sendings.swap(0, 2);
    assert_eq!(kinds(&sendings, &readers), [Kind::Reordered].into());
}

/// D6.
#[test]
fn a_senders_order_holds_for_attempts_without_an_answer_too() {
    let (mut sendings, readers) = good(6);
    sendings.swap(0, 2);
    sendings[0].outcome = Outcome::Unknown;
    sendings[2].outcome = Outcome::Unknown;
    assert_eq!(kinds(&sendings, &readers), [Kind::Reordered].into());
}

/// D12.
#[test]
fn what_nobody_sent_was_refused_or_says_something_else_is_a_phantom() {
    let (sendings, readers) = good(6);
    assert_eq!(kinds(&sendings[..5], &readers), [Kind::Phantom].into());

    let (mut sendings, readers) = good(6);
    sendings[3].outcome = Outcome::Refused;
    assert_eq!(kinds(&sendings, &readers), [Kind::Phantom].into());

    let (sendings, mut readers) = good(6);
    readers[0].shown[3].digest = digest(99);
    assert_eq!(kinds(&sendings, &readers), [Kind::Phantom].into());
}

/// D10.
#[test]
fn an_event_of_somebody_elses_conversation_is_a_leak() {
    let (sendings, mut readers) = good(6);
    readers[1].from.clear();
    assert_eq!(kinds(&sendings, &readers), [Kind::Leak].into());
}

#[test]
fn an_attempt_without_an_answer_may_be_there_or_not() {
    let (mut sendings, mut readers) = good(6);
    sendings[5].outcome = Outcome::Unknown;
    assert_eq!(check(&sendings, &readers), []);
    for reader in &mut readers {
        reader.shown.pop();
    }
    assert_eq!(check(&sendings, &readers), []);
}

#[test]
fn a_reader_that_came_later_owes_nothing_of_what_was_before() {
    let (sendings, mut readers) = good(6);
    readers[1].from.insert(conversation(), Seq::new(4));
    readers[1].shown.drain(..3);
    assert_eq!(check(&sendings, &readers), []);
}

proptest! {
    /// Whatever is dropped, swapped, doubled, renumbered or forged, and
    /// wherever: something is found.
    #[test]
    fn every_mutation_is_caught(
        count in 2_u64..40,
        mutator in 0_usize..5,
        at in any::<prop::sample::Index>(),
    ) {
        let (sendings, mut readers) = good(count);
        let shown = &mut readers[0].shown;
        let index = at.index(shown.len() - 1);
        match mutator {
            0 => { shown.remove(index); }
            1 => shown.swap(index, index + 1),
            2 => { let again = shown[index]; shown.push(again); }
            3 => shown[index].place.seq = Seq::new(count + 1 + index as u64),
            _ => shown[index].digest = digest(0),
        }
        prop_assert_ne!(check(&sendings, &readers), []);
    }
}
